"""Token stores held in memory, small enough to look at."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np


@dataclass
class MiniStore:
    """A token store held in memory; id 0 is [UNK]."""

    ids: np.ndarray
    sentences: np.ndarray
    held_out: np.ndarray
    counts: np.ndarray
    key: str = "mini"
    tokenizer: Any = field(default_factory=lambda: SimpleNamespace(special={"[UNK]": 0}))

    def let_go(self) -> None:
        """It has no files."""


def store(lengths: list[int], ids: np.ndarray, held_out: list[bool] | None = None, dtype: Any = np.uint8) -> MiniStore:
    sentences = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    held = np.zeros(len(lengths), bool) if held_out is None else np.array(held_out)
    counts = np.bincount(ids[np.repeat(~held, lengths)], minlength=int(ids.max(initial=0)) + 1)
    return MiniStore(ids.astype(dtype), sentences, held, counts)


def two_topics(sentences: int = 600, seed: int = 0) -> MiniStore:
    """Sentences of words 1–8 or of words 9–16, never mixed; every ninth is held out."""
    rng = np.random.default_rng(seed)
    ids = np.concatenate([rng.integers(1, 9, 12) + 8 * (s % 2) for s in range(sentences)])
    return store([12] * sentences, ids, [s % 9 == 0 for s in range(sentences)])


def finish(run: Any) -> Any:
    while run.done < run.total:
        run.step()
    return run
