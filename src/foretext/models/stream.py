"""Text as a language model reads it from left to right: units (sentences, or whole documents) one after the other.

A unit of n words is n + 1 places: its words, and its end. The end is a word like any other to whoever predicts; the
same symbol, the boundary, is what stands before a unit's first word. Sentence models call the two </s> and <s>
(Chen and Goodman 1998, section 1.1: the probability of a sentence needs its end); one symbol serves for both, as in
nothing that is predicted it stands before a word, and in no context it stands after one.

M places · N units · n order
"""

from typing import Literal, Protocol

import numpy as np

from foretext.errors import DataError, UsageError
from foretext.models.stepping import Store
from foretext.types import Bits, Floats, Ints, Tokenizer

Unit = Literal["sentence", "document"]
NOTHING = -1
"""What stands in a context before its unit's boundary."""
_EVERY = 1024
"""Units for which one number is kept."""


class Scorer(Protocol):
    """A language model at rest. `unit`: what it was trained to see as one text; `boundary`: the id of its ends."""

    unit: Unit
    boundary: int

    def nats(self, stream: "Stream") -> Floats:
        """Log-probability [M] of every place of `stream`, ends included, each given what stands before it in its unit."""
        ...


class Stream:
    """Units of a flat array of ids, and where their places are. Any stretch of places can be read by itself.

    Unit u is ids[borders[u] : borders[u + 1]]; where `held` [N] is given, only units for which it is `which` count. Both
    may be maps of files: one number in memory stands for `_EVERY` units.
    """

    def __init__(self, ids: Ints, borders: Ints, boundary: int, held: Bits | None = None, which: bool = False) -> None:
        self._ids, self._borders, self._held, self._which, self.boundary = ids, borders, held, which, boundary
        sums, self.units = [np.zeros(1, np.int64)], 0
        for first in range(0, len(borders) - 1, _EVERY * _EVERY):
            places = self._places(first, first + _EVERY * _EVERY)[1]
            self.units += int(np.count_nonzero(places))
            sums.append(np.add.reduceat(places, np.arange(0, len(places), _EVERY)))
        self._index = np.cumsum(np.concatenate(sums))
        """Places before unit 0, `_EVERY`, 2 · `_EVERY`, …, and all of them."""

    def __len__(self) -> int:
        return int(self._index[-1])

    @property
    def ends(self) -> Ints:
        """The places [units] of the units' ends."""
        places = self._places(0, len(self._borders) - 1)[1]
        found: Ints = np.cumsum(places[places > 0]) - 1
        return found

    def _places(self, first: int, last: int) -> tuple[Ints, Ints]:
        """The borders of units [first, last), and how many places each has, 0 where it does not count."""
        borders = np.asarray(self._borders[first : last + 1], np.int64)
        places = np.diff(borders) + 1
        if self._held is not None:
            places *= np.asarray(self._held[first:last]) == self._which
        return borders, places

    def read(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """The words [m] at places [start, stop), and for each how many words of its unit stand before it [m]."""
        part, beyond = (int(np.searchsorted(self._index, place, side="right")) for place in (start, stop - 1))
        borders, counted = self._places((part - 1) * _EVERY, min(beyond * _EVERY, len(self._borders) - 1))
        stops, lengths = self._index[part - 1] + np.cumsum(counted), np.diff(borders)
        places = np.arange(start, stop, dtype=np.int64)
        unit = np.searchsorted(stops, places, side="right")
        before = places - (stops[unit] - lengths[unit] - 1)
        ends = before == lengths[unit]
        where = borders[unit] + before - ends  # an end has no word of its own; the one before it is there to read
        words = np.asarray(self._ids[np.maximum(where, 0)]).astype(np.int64)
        words[ends] = self.boundary
        return words, before

    def contexts(self, start: int, stop: int, size: int) -> tuple[Ints, Ints]:
        """The words [m] at places [start, stop), and the `size` symbols before each [m, size], nearest first: words of
        the unit, its boundary, then NOTHING."""
        first = max(0, start - size)
        words, before = self.read(first, stop)
        padded = np.concatenate([np.full(size, self.boundary), words])  # before place 0 there is a boundary
        at = np.arange(start - first, stop - first)[:, None] + size - 1 - np.arange(size)[None, :]
        context = padded[at]
        context[np.arange(size)[None, :] > before[start - first :][:, None]] = NOTHING
        return words[start - first :], context


def of_store(store: Store, unit: Unit, boundary: int, *, held_out: bool) -> Stream:
    """The training part (or the held-out part) of a store."""
    if unit == "sentence":
        return Stream(store.ids, store.sentences, boundary, store.held_out, held_out)
    parts = [store.sections(held)[:, 0] for held in (False, True)]
    first = np.sort(np.concatenate(parts))
    borders = np.asarray(store.sentences)[np.append(first, len(store.held_out))]
    return Stream(store.ids, borders, boundary, np.asarray(store.held_out)[first], held_out)


def of_texts(texts: "list[Ints]", boundary: int) -> Stream:
    """Each array of ids as one unit."""
    lengths = np.array([len(ids) for ids in texts], np.int64)
    flat = np.concatenate([*texts, np.zeros(1, np.int64)]).astype(np.int64)
    return Stream(flat, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64), boundary)


def boundary_of(tokenizer: Tokenizer, name: str) -> int:
    """The id of the boundary; UsageError where the tokenizer has none."""
    if name not in tokenizer.special:
        raise UsageError(
            f"a language model needs the special token {name!r} for the ends of texts; this tokenizer has not got it",
            place="tokenizer.special",
            remedy=f"add {name!r} to tokenizer.special, or set family.boundary to one of {sorted(tokenizer.special)}",
        )
    return tokenizer.special[name]


def require_words(store: Store, name: str) -> None:
    """DataError where the training part has no known word: nothing is left to learn from."""
    counts = np.array(store.counts)
    unknown = int(counts[[i for i in store.tokenizer.special.values() if i < len(counts)]].sum())
    if int(counts.sum()) > unknown:
        return
    why = f"all of its {unknown:,} tokens are unknown words" if unknown else "it is empty"
    raise DataError(
        f"{name} has no word to learn from in the training part: {why}",
        remedy="lower tokenizer.min_count, or give more text" if unknown else "give more text, or set held_out lower",
    )


def sample(stream: Stream, words: int) -> list[tuple[int, int]]:
    """Stretches of places of about `words` in all, spread evenly over the stream: all of it where it is shorter."""
    total, piece = len(stream), 512
    if total <= words:
        return [(0, total)] if total else []
    starts = np.linspace(0, total - piece, max(1, words // piece)).astype(np.int64).tolist()
    return [(start, start + piece) for start in starts]
