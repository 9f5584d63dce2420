"""A plan: which stretches of the token store stand in which row. No token is read to make or to hold one."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretext.data.hashing import mix
from foretext.types import Bits, Ints

# R rows, S sequences


def spread(starts: Ints, lengths: Ints) -> Ints:
    """The ranges [start, start + length) one after the other: [Σ lengths]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(total)


def offsets(lengths: Ints) -> Ints:
    """0 and the running sums: where each of n stretches starts, and the end [n+1]."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def scatter(shape: tuple[int, int], flat: Ints, values: Ints, padding: int) -> Ints:
    """A rectangle [R,T] with `values` [N] at the places `flat` [N]."""
    rectangle = np.full(shape[0] * shape[1], padding, np.int64)
    rectangle[flat] = values
    return rectangle.reshape(shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """`rows` [R+1]: which sequences stand in each row. `runs` [S,4]: first token and length of A, the same of B
    (length 0: no B). `random` [S]: B comes from another document."""

    rows: Ints
    runs: Ints
    random: Bits

    def __len__(self) -> int:
        return len(self.rows) - 1

    @property
    def tokens(self) -> int:
        """Corpus tokens in the plan (special tokens are not counted)."""
        return int(self.runs[:, 1].sum() + self.runs[:, 3].sum())

    def select(self, rows: Ints) -> "Plan":
        """The plan of these rows, in this order."""
        counts = self.rows[rows + 1] - self.rows[rows]
        which = spread(self.rows[rows], counts)
        return Plan(rows=offsets(counts), runs=self.runs[which], random=self.random[which])

    def keys(self, key: int) -> Ints:
        """A 64-bit number a sequence [S] that `key` and the sequence's own tokens decide, whatever batch it is in."""
        state = np.full(len(self.runs), key, np.uint64)
        for column in self.runs.T:
            state = mix(state ^ column.astype(np.uint64))
        return state


def join(plans: Sequence[Plan]) -> Plan:
    """One plan of all rows, in order."""
    counts = np.concatenate([np.diff(p.rows) for p in plans])
    runs = np.concatenate([p.runs for p in plans])
    return Plan(rows=offsets(counts), runs=runs, random=np.concatenate([p.random for p in plans]))
