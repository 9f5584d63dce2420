"""A pretrained folder and a new text: `--from` adds its words, and a first layer that stands still."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext.bundle import STATIC_TABLE, Pretrained
from foretext.config import override
from foretext.models.word2vec.train import TREE
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch

ONE = Setting(threads=1, device="cpu", workers=0)
OLD = [f"the river {i} runs to the sea and the sea is wide" for i in range(30)]
NEW = [f"the ship {i} sails to the harbour and the sea is wide" for i in range(30)]
FAMILY = {"width": 8, "min_count": 3, "block": 100, "epochs": 2.0, "sample": 0.0}


def small(name: str, **family: object) -> Recipe:
    return override(find(name), {"family": {**FAMILY, **family}, "held_out": 0.1})


def trained(recipe: Recipe, texts: list[str], out: Path, source: Pretrained | None = None) -> Pretrained:
    setting = replace(ONE, cache=out.parent / "cache")
    return pretrain(recipe, strings_corpus(texts), out, source=source, limits=Limits(evaluations=1), setting=setting, watch=SilentWatch())


@pytest.mark.parametrize("name", ["word2vec", "word2vec-cbow-hs"])
def test_going_on_adds_the_words_of_the_new_text_after_the_old(name: str, tmp_path: Path) -> None:
    first = trained(small(name), OLD, tmp_path / "a")
    second = trained(small(name, frozen="given"), NEW, tmp_path / "b", first)
    old, new = list(first.tokenizer.pieces), list(second.tokenizer.pieces)
    assert new[: len(old)] == old
    assert {"ship", "sails", "harbour"} <= set(new[len(old) :])
    assert not {"ship", "harbour"} & set(old)
    before, after = first.arrays[STATIC_TABLE], second.arrays[STATIC_TABLE]
    assert np.array_equal(after[: len(old)], before)
    assert after.shape == (len(new), 8)
    assert after[new.index("ship")].any()
    assert second.provenance.source == first.key
    if name.endswith("hs"):
        assert np.array_equal(second.arrays[TREE][: len(first.arrays[TREE])], first.arrays[TREE])
    third = trained(small(name, extends=False), NEW, tmp_path / "c", first)
    assert list(third.tokenizer.pieces) == old
    assert (third.arrays[STATIC_TABLE][new.index("sea")] != before[new.index("sea")]).any()


def test_a_first_layer_that_stands_still_keeps_its_rows_and_one_that_learns_moves_them(tmp_path: Path) -> None:
    """What the essays say of Q: initialise with it and freeze, and it is unchanged; fine-tune, and it moves."""
    given = trained(small("word2vec"), OLD, tmp_path / "a")
    lent = override(small("word2vec", frozen="given"), {"init_embeddings": str(tmp_path / "a")})
    still = trained(lent, NEW, tmp_path / "b")
    free = trained(override(lent, {"family": {"frozen": "nothing"}}), NEW, tmp_path / "c")
    for word in ("the", "sea", "wide"):
        row = given.arrays[STATIC_TABLE][list(given.tokenizer.pieces).index(word)]
        place = list(still.tokenizer.pieces).index(word)
        assert np.array_equal(still.arrays[STATIC_TABLE][place], row)
        assert not np.array_equal(free.arrays[STATIC_TABLE][place], row)
