"""Words between white space, numbered in one look at the bytes: what a dictionary of strings does, without strings.

A word of up to 16 bytes is its own key, two 64-bit numbers in a table that is probed from a hash of them; a longer one
adds a hash of the rest, and is compared byte by byte with the one found. So numbers are exact, whatever the hash. The table
outlives a block, so Python meets a word once in a text and not once in every few megabytes of it.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit, mixed
from foretext.text.lines import CONTINUED, Block
from foretext.types import Bits, Ints

_LF, _SPACE, _CONTINUED = 10, 32, ord(CONTINUED)
_GOLDEN, _PRIME = np.uint64(0x9E3779B97F4A7C15), np.uint64(0x100000001B3)
_ZERO, _ONE, _S32, _S63, _ALL = (np.uint64(n) for n in (0, 1, 32, 63, (1 << 64) - 1))
_LOW = np.uint64(0xFFFFFFFF)
_FIRST_SLOTS = 1 << 16
_SLOT = 4
"""Numbers a slot: a word's key (two), its number + 1 with its length above it (0: the slot is free), and nothing."""
_PADDING = 32
"""Zeros after the text, so that eight bytes may be read from wherever a word starts."""
MOST_WORDS = 1 << 20
MOST_BYTES = 1 << 26
"""Distinct words that a lexicon holds, and their bytes, about (it is looked at between blocks): then another begins. A
million words take 64 MiB of table, and Python's strings of them as much again."""

Bytes = NDArray[np.uint8]
Table = NDArray[np.uint64]
Words = NDArray[np.int32]


class Lexicon:
    """The distinct words met so far, `words`, in the order of their first sight."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._table = np.zeros(_SLOT * _FIRST_SLOTS, np.uint64)
        self._spelt, self._ends = np.empty(1 << 16, np.uint8), np.zeros(_FIRST_SLOTS + 1, np.int64)

    def full(self) -> bool:
        """Whether the next block should begin another."""
        return len(self.words) >= MOST_WORDS or int(self._ends[len(self.words)]) >= MOST_BYTES

    def number(self, lined: "Lined") -> "Numbered":
        """Number a block's words; new ones get the next numbers."""
        known, count = len(self.words), len(lined.places)
        numbers, state = np.empty(count, np.int32), np.array([0, known])
        data = lined.data
        self._spelt = _longer(self._spelt, int(self._ends[known]) + len(data))
        while not _number(data, data.view(np.uint64), lined.places, self._table, self._spelt, self._ends, numbers, state):
            self._table = _grown(self._table)
            self._ends = _longer(self._ends, len(self._table) // _SLOT + 1)
        new = self._spelt[self._ends[known] : self._ends[state[1]]].tobytes().decode()
        self.words += new.split("\n")[:-1]
        return Numbered(
            block=lined.block, lexicon=self, distinct=len(self.words), numbers=numbers, lines=lined.lines, blank=lined.blank
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lined:
    """A block cut into lines and words: its bytes with zeros after them, `places` [N,2] where each word starts and stops, and
    what `Numbered` says of lines."""

    block: Block
    data: Bytes
    places: Words
    lines: Words
    blank: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """The N words of a block, in the L lines that hold any.

    `numbers` [N] in the words of `lexicon`, which had the first `distinct` of them then; `lines` [L,4]: where a line's text
    starts and stops in bytes, its words, and what is before it: nothing (0), a blank line (1), or the first part of the same
    line (2). `blank`: a blank line follows the last."""

    block: Block
    lexicon: Lexicon
    distinct: int
    numbers: Words
    lines: Words
    blank: bool

    @property
    def counts(self) -> Ints:
        """How often each word of the lexicon occurs in the block, [distinct]."""
        return np.bincount(self.numbers, minlength=self.distinct)

    def characters(self) -> Ints:
        """Of each line's text, [L]."""
        counts = np.diff(self.lines[:, :2], axis=1)[:, 0].astype(np.int64)
        if not self.block.text.isascii():
            _count(np.frombuffer(self.block.text, np.uint8), self.lines, counts)
        return counts

    def texts(self, rows: Ints) -> Iterator[bytes]:
        """The texts of these lines in UTF-8, without the white space around them; one at a time, so that no more is held."""
        text, starts, stops = self.block.text, self.lines[rows, 0].tolist(), self.lines[rows, 1].tolist()
        return (text[start:stop] for start, stop in zip(starts, stops, strict=True))

    def starts(self, due: bool) -> tuple[Bits, bool]:
        """Which lines [L] start a document (`due`: the first one does, whatever it says), and whether the next block's
        first line is due to."""
        kind, before = self.block.documents, self.lines[:, 3]
        first: Bits = before != 2 if kind == "line" else before == 1 if kind == "blank" else np.zeros(len(before), np.bool_)
        after = kind == "blank" and self.blank
        if not len(first):
            return first, due or after
        first[0] |= due
        return first, after


def number_blocks(blocks: Iterable[Block], threads: int) -> Iterator[Numbered]:
    """Each block numbered, in order, in one lexicon after another; they are cut in `threads` threads, which need no
    interpreter."""
    lexicon = Lexicon()
    for lined in _cut_blocks(blocks, threads):
        if lexicon.full():
            lexicon = Lexicon()
        yield lexicon.number(lined)


def _cut_blocks(blocks: Iterable[Block], threads: int) -> Iterator[Lined]:
    if threads < 2:
        yield from map(cut_block, blocks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Lined]] = deque()
        for block in blocks:
            waiting.append(pool.submit(cut_block, block))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def cut_block(block: Block) -> Lined:
    """The words and lines of one block, of fewer than 2³¹ bytes."""
    size = len(block.text)
    data = np.frombuffer(block.text + bytes(_PADDING + -size % 8), np.uint8)
    most = size // 2 + 1
    places, lines = np.empty((most, 2), np.int32), np.empty((most, 4), np.int32)
    count, filled, blank = _split(data, size, places, lines)
    return Lined(block=block, data=data, places=places[:count], lines=lines[:filled].copy(), blank=bool(blank))


def _longer(values: Any, length: int) -> Any:
    """`values` with room for `length` of them; what is asked for at least doubles, so that growing stays cheap."""
    if length <= len(values):
        return values
    longer = np.empty(max(length, 2 * len(values)), values.dtype)
    longer[: len(values)] = values
    return longer


@jit
def white(data: Bytes, i: int) -> int:
    """Bytes of the white space that starts at i, 0 where none does: what `str.isspace` says of clean text, in UTF-8."""
    c = data[i]
    if c <= _SPACE:
        return 1
    if c < 0xC2 or c > 0xE3:
        return 0
    if c == 0xC2:
        return 2 if data[i + 1] == 0xA0 else 0
    if c < 0xE1:
        return 0
    second, third = data[i + 1], data[i + 2]
    if c == 0xE3:
        found = second == 0x80 and third == 0x80
    elif c == 0xE1:
        found = second == 0x9A and third == 0x80
    else:
        found = (second == 0x80 and (0x80 <= third <= 0x8A or third == 0xAF)) or (second == 0x81 and third == 0x9F)
    return 3 if found else 0


@jit
def _count(data: Bytes, lines: Words, counts: Ints) -> None:
    """Into `counts` [L]: the UTF-8 characters of each of the `lines`."""
    for row in range(len(lines)):
        count = 0
        for j in range(lines[row, 0], lines[row, 1]):
            count += (data[j] & 0xC0) != 0x80
        counts[row] = count


@jit
def _grown(table: Table) -> Table:
    """The same slots in a table of twice the size."""
    wider = np.zeros(2 * len(table), np.uint64)
    last = len(wider) // _SLOT - 1
    for old in range(0, len(table), _SLOT):
        if table[old + 2] != _ZERO:
            at = np.int64(mixed(table[old] + table[old + 1] * _GOLDEN) & np.uint64(last))
            while wider[_SLOT * at + 2] != _ZERO:
                at = (at + 1) & last
            wider[_SLOT * at : _SLOT * at + 3] = table[old : old + 3]
    return wider


# A call counts references to every array that it is given: in these two loops that would cost as much as the rest.


@jit
def _split(data: Bytes, size: int, places: Words, lines: Words) -> tuple[int, int, bool]:
    """Into `places` where each word starts and stops, into `lines` what `Numbered` says of them. Answers words, lines, and
    whether a blank line follows the last."""
    count = filled = before = begin = i = 0
    blank = continued = False
    while i < size:
        c = data[i]
        if c == _LF:
            if count > before:
                lines[filled, 0], lines[filled, 1], lines[filled, 2] = begin, places[count - 1, 1], count - before
                lines[filled, 3] = 2 if continued else 1 if blank else 0
                filled += 1
                blank = False
            else:
                blank = blank or not continued
            before, continued = count, False
            i += 1
        elif c <= _SPACE:
            continued = continued or c == _CONTINUED
            i += 1
        elif c >= 0xC2 and white(data, i):
            i += white(data, i)
        else:
            begin = i if count == before else begin
            places[count, 0] = i
            while c > _SPACE and not (c >= 0xC2 and white(data, i)):
                i += 1
                c = data[i]
            places[count, 1] = i
            count += 1
    return count, filled, blank


@jit
def _number(
    data: Bytes, eights: Table, places: Words, table: Table, spelt: Bytes, ends: Ints, numbers: Words, state: Ints
) -> bool:
    """Go on with word `state[0]` of `places`, `state[1]` words being known, until all have `numbers` (True) or the table is
    half full (False). `eights`: the bytes eight by eight. Word n is `spelt[ends[n] : ends[n + 1]]`, a LF at its end."""
    at, distinct = state
    last = len(table) // _SLOT - 1
    while at < len(places) and 2 * distinct <= last:
        start = places[at, 0]
        length = places[at, 1] - start
        from_, shift = start >> 3, np.uint64(8 * (start & 7))
        first, second = eights[from_], eights[from_ + 1]
        low, high = (first >> shift) | ((second << _ONE) << (_S63 - shift)), _ZERO
        if length < 8:
            low &= _ALL >> np.uint64(64 - 8 * length)
        elif length > 8:
            high = (second >> shift) | ((eights[from_ + 2] << _ONE) << (_S63 - shift))
            if length < 16:
                high &= _ALL >> np.uint64(128 - 8 * length)
            for j in range(start + 16, start + length):
                low = (low ^ np.uint64(data[j])) * _PRIME
        slot = np.int64(mixed(low + high * _GOLDEN)) & last
        while True:
            meta = table[_SLOT * slot + 2]
            if meta == _ZERO:
                table[_SLOT * slot], table[_SLOT * slot + 1] = low, high
                table[_SLOT * slot + 2] = np.uint64(distinct + 1) | np.uint64(length) << _S32
                number, stop = distinct, ends[distinct]
                for j in range(start, start + length):
                    spelt[stop] = data[j]
                    stop += 1
                spelt[stop] = _LF
                distinct += 1
                ends[distinct] = stop + 1
                break
            number = np.int64(meta & _LOW) - 1
            like = table[_SLOT * slot] == low and table[_SLOT * slot + 1] == high and np.int64(meta >> _S32) == length
            if like and (length <= 16 or _same(data, start + 16, spelt, ends[number] + 16, length - 16)):
                break
            slot = (slot + 1) & last
        numbers[at] = number
        at += 1
    state[0], state[1] = at, distinct
    return bool(at == len(places))


@jit
def _same(one: Bytes, at: int, other: Bytes, place: int, length: int) -> bool:
    for j in range(length):  # noqa: SIM110  (this is compiled)
        if one[at + j] != other[place + j]:
            return False
    return True
