"""From counts to probabilities, in one pass a level over the sorted n-grams, piece by piece (`model` has the equations).

What grows with the n-grams is the model itself; all else is a few numbers an n-gram, in memory where there is room for
it and else in files (`counts.Room`).

N n-grams of the highest order · N_k n-grams of k words
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretext.disk import forget
from foretext.models.ngram.counts import Packing, Room, Run
from foretext.types import Bits, Floats, Ints

HEAD = "heads.ngram"
SHIFT = 24
"""Bits of a word in a key; what remains numbers 2^39 parents."""
FALLBACK = (0.5, 1.0, 1.5)
"""Discounts where counts of counts give none (a text so small that some n-gram count from 1 to 4 does not occur)."""
_PIECE = 1 << 16
"""N-grams looked at together."""
_WINDOW = 1 << 19
"""Contexts at least whose sums are held at once: 8 MB. They are met in any order, and so must not lie in files; where there
are more, all n-grams are gone through once for each window of contexts."""


def discounts(adjusted: Ints) -> Floats:
    """D₁, D₂, D₃₊ [3] from counts of counts (Chen and Goodman 1998, equation 26): Y = n₁/(n₁+2n₂), D_i = i −
    (i+1)·Y·n_{i+1}/n_i; FALLBACK where one is not above 0 or exceeds i."""
    parts = (np.bincount(np.minimum(adjusted[i : i + _PIECE], 5), minlength=6) for i in range(0, len(adjusted), _PIECE))
    n = sum(parts, np.zeros(6, np.int64)).astype(np.float64)
    if not n[1:5].all():
        return np.array(FALLBACK)
    share = n[1] / (n[1] + 2 * n[2])
    found = np.array([i - (i + 1) * share * n[i + 1] / n[i] for i in (1, 2, 3)])
    return found if (found > 0).all() and (found <= (1, 2, 3)).all() else np.array(FALLBACK)


def estimate(run: Run, packing: Packing, room: Room | None = None) -> dict[str, Any]:
    """The arrays of a model, under their names on disk, from the counts of the longest n-grams (`run`).

    `order_k.keys` [N_k]; `order_k.counts` adjusted; `order_k.log` log-probability (nats); below the highest order
    `order_k.backoff` = log γ (0 where nothing follows); `base` [1] = log of p(w|) for a word never seen; `discounts`
    [order, 3]. `room`: of the working arrays; None: memory."""
    room = room or Room(sys.maxsize)
    rows = _Rows(run, packing, room)
    arrays: dict[str, Any] = {}
    found = np.zeros((packing.order, 3))
    size, probability = 1, room.array(1, np.float64)
    for k in range(1, packing.order + 1):
        keys, counts = rows.counted(k)
        D = found[k - 1] = discounts(counts)
        logs, nats = np.empty(len(keys), np.float32), room.array(len(keys), np.float64)
        backoff, uniform = np.empty(size, np.float32), 1.0 / packing.size
        if k == 1:
            probability[0] = uniform  # of the one context that all have, the empty one
        for window in _parts(size, max(_WINDOW, room.left // 16)):
            mass, gamma = rows.summed(k, counts, D, window)
            backoff[window] = np.log(gamma)
            rows.estimated(k, counts, D, window, mass, gamma, probability, nats, logs)
            if k == 1:
                arrays[f"{HEAD}.base"] = np.log(gamma * uniform)
            del mass, gamma  # before the next window's are made
        arrays[f"{HEAD}.order_{k}.keys"], arrays[f"{HEAD}.order_{k}.counts"] = keys, counts
        arrays[f"{HEAD}.order_{k}.log"] = logs
        if k > 1:
            arrays[f"{HEAD}.order_{k - 1}.backoff"] = backoff
        if k < packing.order:
            rows.deeper(k, keys)
        room.back(probability)
        size, probability = len(keys), nats
    arrays[f"{HEAD}.discounts"] = found.astype(np.float32)
    return arrays


def _parts(size: int, piece: int) -> Iterator[slice]:
    for start in range(0, size, piece):
        yield slice(start, min(start + piece, size))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows `part` of the run at a level: `codes` of their k-th words from the end, which of them begin an n-gram of k
    words, and where these stand among all of them, `out`."""

    part: slice
    codes: Ints
    begins: Bits
    out: slice

    @property
    def number(self) -> Ints:
        """The number of each row's n-gram of k words; that of the one before, where it has none."""
        found: Ints = self.out.start - 1 + np.cumsum(self.begins)
        return found


class _Rows:
    """The rows of a run, and for each where it stands at the level that is being looked at: `changed` [N], whether its
    last k words are others than the row's before; `rank` [N], the number of its n-gram of k − 1 words; `context` [N], the
    number of that n-gram's context."""

    def __init__(self, run: Run, packing: Packing, room: Room) -> None:
        self._run, self._packing = run, packing
        self._changed = room.array(len(run), np.bool_)
        self._rank, self._context = (room.array(len(run), np.int64) for _ in range(2))

    def _column(self, part: slice, place: int) -> tuple[Ints, Bits]:
        """Word codes at `place`, and whether each is another than the row's before."""
        start = max(0, part.start - 1)
        codes = self._packing.column(self._run.high[start : part.stop], self._run.low[start : part.stop], place)
        differs = np.ones(part.stop - part.start, np.bool_)
        differs[len(differs) - len(codes) + 1 :] = codes[1:] != codes[:-1]
        return codes[part.start - start :], differs

    def _pieces(self, k: int, *, fresh: bool = False) -> Iterator[_Piece]:
        """All rows, at level `k`; `fresh`: for the first time."""
        filled = 0
        for part in _parts(len(self._run), _PIECE):
            codes, differs = self._column(part, k - 1)
            if fresh:
                self._changed[part] |= differs
            begins = self._changed[part] & (codes > 0)
            out = slice(filled, filled + int(np.count_nonzero(begins)))
            yield _Piece(part, codes, begins, out)
            filled = out.stop
            forget(self._run.high, self._run.low, self._run.counts, self._changed, self._rank, self._context)

    def counted(self, k: int) -> tuple[Ints, Ints]:
        """Keys and adjusted counts [N_k]: at the highest order, and of an n-gram that begins its unit, how often it is
        there; of any other how many different words stand before it."""
        size = sum(piece.out.stop - piece.out.start for piece in self._pieces(k, fresh=True))
        keys, counts = np.empty(size, np.int64), np.zeros(size, np.int64)
        for piece in self._pieces(k):
            part, begins, out = piece.part, piece.begins, piece.out
            keys[out] = (self._rank[part][begins] << SHIFT) | (piece.codes[begins] - 1)
            whole = np.ones(out.stop - out.start, np.bool_)
            if k < self._packing.order:
                deeper, differs = self._column(part, k)
                before = (self._changed[part] | differs) & (deeper > 0)
                first = max(0, out.start - 1)  # rows of the n-gram that the piece before began may be here
                counts[first : out.stop] += np.bincount(piece.number[before] - first, minlength=out.stop - first)
                whole = deeper[begins] == 0
            counts[out][whole] = self._run.counts[part][begins][whole]
        return keys, counts

    def _inside(self, k: int, window: slice) -> Iterator[tuple[Ints, Ints, Ints]]:
        """Of the n-grams of level `k` whose context is one of `window`: their numbers, the contexts' places in it, and
        the ranks."""
        for piece in self._pieces(k):
            at = self._context[piece.part][piece.begins] - window.start
            here = np.flatnonzero((at >= 0) & (at < window.stop - window.start))
            yield piece.out.start + here, at[here], self._rank[piece.part][piece.begins][here]

    def summed(self, k: int, counts: Ints, D: Floats, window: slice) -> tuple[Floats, Floats]:
        """Of every context of a window: Σ a, and γ = Σ D(a) / Σ a, 1 where nothing follows."""
        mass, gamma = (np.zeros(window.stop - window.start) for _ in range(2))
        for numbers, at, _ in self._inside(k, window):
            np.add.at(mass, at, counts[numbers])
            np.add.at(gamma, at, D[np.minimum(counts[numbers], 3) - 1])
        np.divide(gamma, mass, out=gamma, where=mass > 0)
        gamma[mass == 0] = 1.0
        return mass, gamma

    def estimated(
        self, k: int, counts: Ints, D: Floats, window: slice, mass: Floats, gamma: Floats, lower: Floats, nats: Floats,
        logs: Floats,
    ) -> None:  # fmt: skip
        """p(w|h) of each n-gram of level `k` with such a context into `nats`, its logarithm into `logs`; `lower`: p of
        the level below."""
        for numbers, at, rank in self._inside(k, window):
            cut = D[np.minimum(counts[numbers], 3) - 1]
            found = (counts[numbers] - cut) / mass[at] + gamma[at] * lower[rank]
            nats[numbers], logs[numbers] = found, np.log(found)
            forget(lower, nats)

    def deeper(self, k: int, keys: Ints) -> None:
        """Rank and context of every row, for the level after `k`, whose keys are `keys`."""
        for piece in self._pieces(k):
            word = np.maximum(self._column(piece.part, k)[0] - 1, 0)
            self._context[piece.part] = find(keys, (self._context[piece.part] << SHIFT) | word)
            self._rank[piece.part] = piece.number


def find(keys: Ints, wanted: Ints) -> Ints:
    """Where each of `wanted` stands in `keys` (ascending); −1 where it does not."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    at = np.searchsorted(keys, wanted)
    at[at == len(keys)] = 0
    return np.where(keys[at] == wanted, at, -1)
