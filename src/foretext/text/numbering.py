"""Words between white space, numbered in one look at the bytes: what a dictionary of strings does, without strings.

A word of up to 16 bytes is its own key, two 64-bit numbers in a table that is probed from a hash of them; a longer one
adds a hash of the rest, and is compared byte by byte with the one found. So numbers are exact, whatever the hash.
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

    def texts(self, rows: Ints) -> list[bytes]:
        """The texts of these lines in UTF-8, without the white space around them."""
        text = self.block.text
        return [text[start:stop] for start, stop in self.lines[rows, :2].tolist()]

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
    words, lines, numbers = np.empty((most, 2), np.int32), np.empty((most, 4), np.int32), np.empty(most, np.int32)
    table = np.zeros(_SLOT * _FIRST_SLOTS, np.uint64)
    state = np.array([0, 0, 0, 0, 0, -1, 0, 0])
    while not _scan(data, size, data.view(np.uint64), table, words, numbers, lines, state):
        table = _grown(table)
    _, distinct, count, filled, _, _, blank, _ = state.tolist()
    pool = _pool(data, words[:distinct]).tobytes().decode()
    return Numbered(
        block=block, words=pool.split("\n")[:-1], numbers=numbers[:count].copy(), lines=lines[:filled].copy(), blank=bool(blank)
    )


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
def _pool(data: Bytes, words: Words) -> Bytes:
    """The distinct words by number, each with an LF after it."""
    pool = np.empty(words[:, 1].sum() + len(words), np.uint8)
    at = 0
    for word in range(len(words)):
        for j in range(words[word, 0], words[word, 0] + words[word, 1]):
            pool[at] = data[j]
            at += 1
        pool[at] = _LF
        at += 1
    return pool


@jit
def _eight(eights: Table, start: int, length: int) -> Any:
    """Bytes start to start + length (at most 8 of them) as one number, from `eights`, all bytes eight by eight."""
    if length <= 0:
        return _ZERO
    at, shift = start >> 3, np.uint64(8 * (start & 7))
    found = (eights[at] >> shift) | ((eights[at + 1] << _ONE) << (_S63 - shift))
    return found if length >= 8 else found & (_ALL >> np.uint64(64 - 8 * length))


@jit
def _end(data: Bytes, i: int) -> int:
    """Where the word that starts at i stops."""
    while True:
        c = data[i]
        if c <= _SPACE or (c >= 0xC2 and white(data, i)):
            return i
        i += 1


@jit
def _find(data: Bytes, eights: Table, start: int, length: int, table: Table, words: Words, distinct: int) -> Any:
    """The number of the word of `length` bytes at `start`: `distinct` for a new one, which gets a slot."""
    low, high = _eight(eights, start, length), _eight(eights, start + 8, length - 8)
    for j in range(start + 16, start + length):
        low = (low ^ np.uint64(data[j])) * _PRIME
    last = len(table) // _SLOT - 1
    at = np.int64(mixed(low + high * _GOLDEN) & np.uint64(last))
    while True:
        meta = table[_SLOT * at + 2]
        if meta == _ZERO:
            table[_SLOT * at], table[_SLOT * at + 1] = low, high
            table[_SLOT * at + 2] = np.uint64(distinct + 1) | np.uint64(length) << _S32
            words[distinct, 0], words[distinct, 1] = start, length
            return distinct
        if table[_SLOT * at] == low and table[_SLOT * at + 1] == high and np.int64(meta >> _S32) == length:
            number = np.int64(meta & _LOW) - 1
            if length <= 16 or _same(data, start + 16, words[number, 0] + 16, length - 16):
                return number
        at = (at + 1) & last


@jit
def _same(data: Bytes, one: int, other: int, length: int) -> bool:
    for j in range(length):  # noqa: SIM110  (this is compiled)
        if data[one + j] != data[other + j]:
            return False
    return True


@jit
def _scan(data: Bytes, size: int, eights: Table, table: Table, words: Words, numbers: Words, lines: Words, state: Ints) -> bool:
    """Go on from `state` (byte, distinct words, words, lines; words before this line, where its text starts, whether a blank
    line is before it, whether it goes on the line before) until all is read (True) or the table is half full (False). No
    array is replaced in here: the references to it would be counted at every word."""
    i, distinct, count, filled, before, begin, blank, continued = state
    most = len(table) // (2 * _SLOT)
    end = 0
    while i < size:
        space = white(data, i)
        if space:
            if data[i] == _LF:
                if begin >= 0:
                    lines[filled, 0], lines[filled, 1], lines[filled, 2] = begin, end, count - before
                    lines[filled, 3] = 2 if continued else blank
                    filled += 1
                blank = np.int64(begin < 0 and (blank or not continued))
                before, begin, continued = count, -1, 0
            elif data[i] == _CONTINUED:
                continued = 1
            i += space
            continue
        if distinct == most:
            break
        end = _end(data, i)
        number = _find(data, eights, i, end - i, table, words, distinct)
        distinct = max(distinct, number + 1)
        begin = i if begin < 0 else begin
        numbers[count] = number
        count += 1
        i = end
    state[0], state[1], state[2], state[3] = i, distinct, count, filled
    state[4], state[5], state[6], state[7] = before, begin, blank, continued
    return bool(i >= size)
