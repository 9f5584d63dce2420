"""Every static family holds its model, the pages of the text that it reads, and 64 MB: nothing that grows with the corpus.

Counting co-occurrences and n-grams holds the memory that its recipe allows in place of, or beside, a model.
"""

import sys
from pathlib import Path
from typing import Any

import pytest

from models.footprint import SPARE, spent

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
TREE = {"loss": "hierarchical-softmax", "updates": "synchronous"}


@pytest.mark.parametrize(
    ("kind", "words", "changes"),
    [
        ("word2vec", 60_000, {"width": 400}),
        ("word2vec", 60_000, {"width": 400, **TREE}),
        ("fasttext", 60_000, {"updates": "synchronous"}),
        ("nnlm", 60_000, {"width": 400, "hidden": 400, "order": 2, "direct": False, "batch": 16, "block": 256, "steps": 2}),
        ("n-grams", 300_000, {"memory": 1}),
        ("ngram", 300_000, {"memory": 1, "order": 3}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_memory_is_the_model_the_text_and_64_mb(kind: str, words: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """Models so large that a copy of one table would be seen."""
    found = spent(kind, tmp_path, words, 40_000, **changes)
    assert found.model > 2 * SPARE * 0.9 or "gram" in kind
    assert found.spent <= found.model + found.text + SPARE


def test_memory_of_glove_is_its_limit_and_then_its_tables(tmp_path: Path) -> None:
    counting = spent("counting", tmp_path, 150_000, 40_000, memory=8.0)
    assert counting.spent <= counting.model + counting.text + SPARE
    training = spent("glove", tmp_path, 150_000, 40_000, width=200)
    assert training.model > 2 * SPARE
    assert training.spent <= training.model + SPARE


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("kind", "vocabulary", "changes"),
    [
        ("word2vec", 375_000, {}),
        ("fasttext", 200_000, {}),
        ("fasttext", 200_000, {"updates": "synchronous"}),
        ("nnlm", 100_000, {"softmax": "sampled", "batch": 128, "steps": 40}),
        ("n-grams", 100_000, {"memory": 64}),
        ("ngram", 100_000, {"memory": 64, "order": 4}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_memory_does_not_grow_with_the_corpus(kind: str, vocabulary: int, changes: dict[str, Any], tmp_path: Path) -> None:
    """20M words: 80 MB of ids."""
    found = spent(kind, tmp_path, 20_000_000, vocabulary, **changes)
    assert found.text > 80_000_000
    assert found.spent <= found.model + found.text + SPARE


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_memory_of_glove_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    counting = spent("counting", tmp_path, 20_000_000, 200_000, memory=64.0)
    assert counting.spent <= counting.model + counting.text + SPARE
    training = spent("glove", tmp_path, 20_000_000, 200_000)
    assert training.spent <= training.model + SPARE
