"""Many threads, the same bits: parts of the text are trained apart, each on copies of the rows that it needs.

A round is a fixed number of parts, all started from the same tables, and their changes are summed in the order of the
text: what comes out does not depend on who computed what, or when. It is local SGD (Zinkevich et al. 2010; Stich 2019)
over rows: a row that one part needs learns as if it were alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foretext.kernels import jit
from foretext.models.word2vec.kernel import Table
from foretext.models.word2vec.objectives import Objective, Planned, Trained
from foretext.types import Bits, Floats, Ints

WORDS = 2_000
"""Corpus words a part, about, at most: few enough that parts seldom need the same rare row."""
PARTS = 8
"""Parts of a round, at most: more keep more threads busy, and start from tables that are older."""
_NUMBERS, _LEAST = 200_000, 250
"""Words times numbers a vector of a part, about, and its least words: all parts of a round, copied, stay within tens of
megabytes."""
OFTEN = 32
"""A row that a round meets more often has learnt in every part what the others learnt too: its changes are not summed
whole (their sum would overshoot without end) but approach their mean the more often it was met."""


def words(width: int) -> int:
    """About how many corpus words make a part, where vectors have `width` numbers."""
    return min(WORDS, max(_LEAST, _NUMBERS // width))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Changes [n,D] of the table's rows `ids` [n], ascending or not but each once, and how often the part met each."""

    ids: Ints
    change: Floats
    met: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a part did: `rows`, of each table in their order."""

    rows: tuple[Rows, ...]
    trained: Trained


def apart(
    objective: Objective, inward: Table, outward: Table, planned: Planned, rates: Any, state: Any, still: Bits
) -> Change:
    """Train one planned part, of at least one word, on copies of its rows; the tables are only read."""
    stream, low, high, n = planned
    ins, outs, local = objective.part(stream[:n], state)
    numbers = np.searchsorted(ins, stream[:n]).astype(np.int32)
    mine, theirs = inward[ins], outward[outs]
    here = still[ins] if len(still) else still
    trained = local.train(mine, theirs, (numbers, low[:n], high[:n], n), rates, state, here)
    met_in, met_out = local.met(numbers)
    return Change(rows=(moved(inward, ins, mine, met_in), moved(outward, outs, theirs, met_out)), trained=trained)


def nothing(tables: Sequence[Table]) -> Change:
    """What a part without words does."""
    none = np.zeros(0, np.int64)
    return Change(rows=tuple(moved(table, none, table[none], none) for table in tables), trained=(0.0, 0, True))


def moved(table: Table, ids: Ints, copies: Table, met: Ints) -> Rows:
    """What became of `copies` [n,D] of the rows `ids` [n] of `table`, which has not changed; `copies` is used up."""
    _less(copies, table, ids)
    return Rows(ids=ids, change=copies, met=met)


def put_together(table: Table, parts: Sequence[Rows]) -> None:
    """Add the parts' changes to `table`, in their order."""
    ids = np.concatenate([part.ids for part in parts])
    used, place = np.unique(ids, return_inverse=True)
    met = np.bincount(place, np.concatenate([part.met for part in parts]))
    weight = np.maximum(1.0 / np.bincount(place), np.minimum(1.0, OFTEN / np.maximum(met, 1.0))).astype(np.float32)
    for part in parts:
        _more(table, part.ids, part.change, weight[np.searchsorted(used, part.ids)])


@jit
def _less(copies: Table, table: Table, ids: Ints) -> None:
    for i in range(ids.shape[0]):
        row = ids[i]
        for d in range(copies.shape[1]):
            copies[i, d] -= table[row, d]


@jit
def _more(table: Table, ids: Ints, change: Floats, weight: Floats) -> None:
    for i in range(ids.shape[0]):
        row, share = ids[i], weight[i]
        for d in range(change.shape[1]):
            table[row, d] += share * change[i, d]
