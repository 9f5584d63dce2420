"""The Brown corpus as Bengio et al. 2003 (section 4) prepared it: split by words, rare words merged, nothing else touched."""

import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from foretext.datasets import find
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import train_tokenizer

DATA = "en/brown/brown.zip"
TRAIN, DEV = 800_000, 200_000
"""Words: the first 800,000 to train on, the next 200,000 to choose by, the rest to test on."""


@dataclass(frozen=True, kw_only=True)
class Brown:
    """`store` of the training and dev parts (held out: dev); `test` texts as ids; `words` [3] of the parts."""

    store: TokenStore
    test: list[Any]
    words: tuple[int, int, int]
    kept: int
    """Distinct words that are entries of their own."""
    unknown: float
    """Share of the test part's words that are merged into one."""


def texts(file: Path) -> list[list[str]]:
    """The 500 texts, each its sentences as words with spaces between them; tags are taken off."""
    made = []
    with zipfile.ZipFile(file) as archive:
        for name in sorted(n for n in archive.namelist() if re.fullmatch(r"brown/c[a-r]\d\d", n)):
            lines = archive.read(name).decode("utf-8").splitlines()
            made.append([" ".join(token.rpartition("/")[0] for token in line.split()) for line in lines if line.strip()])
    return made


def prepare(recipe: Recipe, cache: Path, documents: Sequence[Sequence[str]] | None = None, *, train: int = TRAIN, dev: int = DEV) -> Brown:
    """The corpus in three parts; a border inside a text cuts it after the sentence in which it falls.

    The vocabulary is counted over the whole corpus, as in the paper; frequencies are those of the training part."""
    documents = texts(find(DATA)) if documents is None else documents
    corpus = strings_corpus(["\n".join(document) for document in documents])
    tokenizer = train_tokenizer(recipe.tokenizer, corpus, workers=0)
    store = build_store(corpus, tokenizer, cache, held_out=0.0, workers=0)
    sentences = np.asarray(store.sentences)
    first = int(np.searchsorted(sentences, train))
    last = int(np.searchsorted(sentences, train + dev))
    held = np.zeros(len(sentences) - 1, np.bool_)
    held[first:last] = True
    counts = np.bincount(np.asarray(store.ids[: sentences[first]]), minlength=tokenizer.size)
    ids = np.asarray(store.ids)
    documents_at = np.asarray(store.documents)
    test = [
        ids[sentences[max(a, last)] : sentences[b]].astype(np.int64)
        for a, b in pairwise(documents_at)
        if b > last
    ]
    # What the run sees of the store ends where the test part begins.
    cut = np.append(documents_at[documents_at < last], last)
    seen = replace(
        store, ids=store.ids[: sentences[last]], sentences=sentences[: last + 1], documents=cut, held_out=held[:last],
        counts=counts, key=f"{store.key}-{first}-{last}",
    )  # fmt: skip
    unknown = tokenizer.special["[UNK]"]
    words = (int(sentences[first]), int(sentences[last] - sentences[first]), int(sentences[-1] - sentences[last]))
    share = float(np.mean(np.concatenate(test) == unknown))
    return Brown(store=seen, test=test, words=words, kept=tokenizer.size - len(tokenizer.special), unknown=share)
