"""Documents cut into sequences, and sequences packed into rows."""

import numpy as np

from foretext.data.plan import Plan, offsets, spread
from foretext.types import Ints


def cut(starts: Ints, lengths: Ints, room: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Stretches of text [n] cut into pieces of `room` tokens; what is left over is one shorter piece, which stands at
    a random place among them, so that the cuts fall elsewhere in another epoch. Returns first tokens and lengths."""
    full, rest = np.divmod(lengths, room)
    counts = full + (rest > 0)
    tail = np.where(rest > 0, np.floor(rng.random(len(lengths)) * (full + 1)), full).astype(np.int64)
    section = np.repeat(np.arange(len(lengths)), counts)
    piece = spread(np.zeros(len(lengths), np.int64), counts)
    after = piece > tail[section]
    is_tail = piece == tail[section]
    first = starts[section] + piece * room - np.where(after, room - rest[section], 0)
    return first, np.where(is_tail & (rest[section] > 0), rest[section], room)


def best_fit(lengths: Ints, room: int) -> Ints:
    """Best fit, longest first: the row of each sequence [S], rows numbered from 0 and holding at most `room` tokens.

    Best-fit decreasing (Johnson et al. 1974). Free spaces are whole numbers ≤ `room`, so the fullest row that still
    fits is one look at a bit mask of the spaces that occur, whatever the number of rows.
    """
    order = np.argsort(-lengths, kind="stable")
    waiting: list[list[int]] = [[] for _ in range(room + 1)]  # rows by free space
    occurs = 0
    rows = 0
    least = int(lengths.min()) if len(lengths) else 0
    row_of = []
    for length in lengths[order].tolist():
        fits = occurs >> length
        if fits:
            space = length + (fits & -fits).bit_length() - 1
            row = waiting[space].pop()
            if not waiting[space]:
                occurs &= ~(1 << space)
        else:
            space, row = room, rows
            rows += 1
        row_of.append(row)
        if space - length >= least:
            waiting[space - length].append(row)
            occurs |= 1 << (space - length)
    answer = np.empty(len(lengths), np.int64)
    answer[order] = row_of
    return answer


def packed(starts: Ints, lengths: Ints, specials: int, length: int, rng: np.random.Generator) -> Plan:
    """Rows of `length` tokens: sequences cut from the stretches, `specials` special tokens each, several a row."""
    first, size = cut(starts, lengths, length - specials, rng)
    row_of = best_fit(size + specials, length)
    order = np.argsort(row_of, kind="stable")
    return _plan(first[order], size[order], offsets(np.bincount(row_of)))


def single(starts: Ints, lengths: Ints, specials: int, length: int, rng: np.random.Generator) -> Plan:
    """The sequences that `packed` makes, one a row."""
    first, size = cut(starts, lengths, length - specials, rng)
    return _plan(first, size, np.arange(len(first) + 1))


def _plan(first: Ints, size: Ints, rows: Ints) -> Plan:
    none = np.zeros_like(first)
    return Plan(rows=rows, runs=np.stack([first, size, none, none], 1), random=np.zeros(len(first), np.bool_))
