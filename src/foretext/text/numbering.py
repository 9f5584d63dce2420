"""Words between white space, numbered in one look at the bytes: what a dictionary of strings does, without strings.

A word of up to 16 bytes is its own key, two 64-bit numbers in a table that is probed from a hash of them; a longer one
adds a hash of the rest, and is compared byte by byte with the one found. So numbers are exact, whatever the hash.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

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

Bytes = NDArray[np.uint8]
Table = NDArray[np.uint64]
Words = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbered:
    """The N words of a block, K of them distinct, in the L lines that hold any.

    `words` [K] in the order of their first sight; `numbers` [N]; `lines` [L,4]: where a line's text starts and stops in bytes,
    its words, and what is before it: nothing (0), a blank line (1), or the first part of the same line (2). `blank`: a blank
    line follows the last."""

    block: Block
    words: list[str]
    numbers: Words
    lines: Words
    blank: bool

    @property
    def counts(self) -> list[int]:
        """How often each word occurs, [K]."""
        found: list[int] = np.bincount(self.numbers, minlength=len(self.words)).tolist()
        return found

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
    """Each block numbered, in order; `threads` of them at once, for the interpreter is not needed."""
    if threads < 2:
        yield from map(number_words, blocks)
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Numbered]] = deque()
        for block in blocks:
            waiting.append(pool.submit(number_words, block))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def number_words(block: Block) -> Numbered:
    """Number the words of one block, of fewer than 2³¹ bytes."""
    size = len(block.text)
    data = np.frombuffer(block.text + bytes(_PADDING + -size % 8), np.uint8)
    most = size // 2 + 1
    places, lines = np.empty((most, 2), np.int32), np.empty((most, 4), np.int32)
    count, filled, blank = _split(data, size, places, lines)
    numbers, words = np.empty(count, np.int32), np.empty(count, np.int32)
    table, state = np.zeros(_SLOT * _FIRST_SLOTS, np.uint64), np.zeros(2, np.int64)
    while not _number(data, data.view(np.uint64), places[:count], table, words, numbers, state):
        table = _grown(table)
    pool = _pool(data, places, words[: state[1]]).tobytes().decode()
    return Numbered(block=block, words=pool.split("\n")[:-1], numbers=numbers, lines=lines[:filled].copy(), blank=bool(blank))


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


@jit
def _pool(data: Bytes, places: Words, words: Words) -> Bytes:
    """The distinct words by number, each with an LF after it; `words` [K]: where each is first seen among `places`."""
    size = 0
    for word in words:
        size += places[word, 1] - places[word, 0] + 1
    pool = np.empty(size, np.uint8)
    at = 0
    for word in words:
        for j in range(places[word, 0], places[word, 1]):
            pool[at] = data[j]
            at += 1
        pool[at] = _LF
        at += 1
    return pool


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
def _number(data: Bytes, eights: Table, places: Words, table: Table, words: Words, numbers: Words, state: Ints) -> bool:
    """Go on with word `state[0]` of `places`, `state[1]` of them known to be distinct, until all have `numbers` (True) or the
    table is half full (False). `eights`: the bytes eight by eight. `words`: where each distinct one is first seen."""
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
                words[distinct] = at
                number = distinct
                distinct += 1
                break
            number = np.int64(meta & _LOW) - 1
            like = table[_SLOT * slot] == low and table[_SLOT * slot + 1] == high and np.int64(meta >> _S32) == length
            if like and (length <= 16 or _same(data, start + 16, places[words[number], 0] + 16, length - 16)):
                break
            slot = (slot + 1) & last
        numbers[at] = number
        at += 1
    state[0], state[1] = at, distinct
    return bool(at == len(places))


@jit
def _same(data: Bytes, one: int, other: int, length: int) -> bool:
    for j in range(length):  # noqa: SIM110  (this is compiled)
        if data[one + j] != data[other + j]:
            return False
    return True
