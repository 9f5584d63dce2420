"""A miniature corpus for GloVe: uneven documents of words drawn by Zipf's law, some of them held out."""

from pathlib import Path
from typing import Any

import numpy as np

from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer

WORDS = TokenizerConfig(kind="words", special=("[UNK]",))


def corpus(seed: int = 0, documents: int = 80, words: int = 60) -> Any:
    """Documents of one to five lines of one to thirty words."""
    rng = np.random.default_rng(seed)
    lines = [[rng.zipf(1.3, size=rng.integers(1, 30)) % words for _ in range(rng.integers(1, 6))] for _ in range(documents)]
    return strings_corpus(["\n".join(" ".join(f"w{word}" for word in line) + "." for line in document) for document in lines])


def store(folder: Path, **which: int) -> TokenStore:
    """Its token store, a tenth held out."""
    text = corpus(**which)
    return build_store(text, train_tokenizer(WORDS, text, workers=0), folder, held_out=0.1, workers=0)
