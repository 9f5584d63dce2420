"""`similarity`: the cosines of words with one another.

W words · D width
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import UsageError
from foretext.evaluation.words import seen, unit, word_table
from foretext.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Similarities:
    """`cosines` [W][W] of `words` with one another, in their order."""

    words: tuple[str, ...]
    counts: tuple[int | None, ...]
    cosines: tuple[tuple[float, ...], ...]
    remarks: tuple[str, ...]
    about: str

    def pairs(self) -> list[tuple[str, str, float]]:
        """Every pair of two, the most similar first."""
        found = [
            (first, second, self.cosines[i][j])
            for i, first in enumerate(self.words)
            for j, second in enumerate(self.words)
            if i < j
        ]
        return sorted(found, key=lambda pair: -pair[2])

    def text(self) -> str:
        """For people."""
        lines = ["  ".join(seen(word, count) for word, count in zip(self.words, self.counts, strict=True))]
        lines += [f"  {cosine:6.3f}  {first} – {second}" for first, second, cosine in self.pairs()]
        return "\n".join([*lines, *self.remarks, self.about])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "words": list(self.words),
            "counts": list(self.counts),
            "cosines": [list(row) for row in self.cosines],
            "remarks": list(self.remarks),
            "about": self.about,
        }


def similarity(pretrained: Pretrained, words: Sequence[str]) -> Similarities:
    """Cosines between at least two words. UsageError: fewer, or a word that the model has no vector for."""
    if len(words) < 2:
        raise UsageError(f"a similarity needs two words or more, found {len(words)}")
    table = word_table(pretrained, "similarity")
    asked = [table.known(word) for word in words]
    directions = unit(np.stack([one.vector for one in asked]))
    cosines = np.clip(directions @ directions.T, -1, 1)
    return Similarities(
        words=tuple(words),
        counts=tuple(one.count for one in asked),
        cosines=tuple(tuple(row) for row in cosines.tolist()),
        remarks=tuple(table.remarks(asked)[1:]),  # nothing was searched
        about=table.about,
    )
