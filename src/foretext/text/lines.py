"""Plain text whose lines are sentences, in blocks of bytes: for what needs neither a string nor a place for each of them.

A block is whole lines of one file, cleaned as `readers` cleans them. Almost every block is clean as it is, and that is seen
at once in its bytes; the others go through the readers' own rules.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from foretext.text.layout import Documents
from foretext.text.normalize import breaks, clean
from foretext.text.readers import LONGEST, Counts, Errors, invalid, lines
from foretext.text.shards import Progress, corpus_size
from foretext.text.sources import Source
from foretext.types import Corpus

BLOCK = 1 << 22
"""Bytes of a block, about; numbering one takes six times as much. A longer line is cut where a block ends."""
CONTINUED = "\x1f"
"""What stands before a line that goes on the one before it; clean text never holds it."""

_UNCLEAN = bytes([*range(0x09), *range(0x0B, 0x20), 0x7F])
_MARKS = ("\ufeff".encode(), "\x85".encode(), "\u2028".encode(), "\u2029".encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """`text`: clean lines in UTF-8, each with its LF. `documents`: where documents start. `first`: the file starts here."""

    text: bytes
    documents: Documents
    first: bool


def line_blocks(corpus: Corpus, progress: Progress | None = None) -> Iterator[Block] | None:
    """The corpus in blocks, where it can be read so; else None: by its sentences alone. Errors as of reading those.
    `progress(blocks done, blocks)`: a guess by the bytes as stored, right at the end."""
    give = getattr(corpus, "blocks", None)
    found: Iterator[Block] | None = give() if give is not None else None
    return found if found is None or progress is None else _told(found, max(1, -(-corpus_size(corpus) // BLOCK)), progress)


def _told(blocks: Iterator[Block], of: int, progress: Progress) -> Iterator[Block]:
    for done, block in enumerate(blocks, start=1):
        yield block
        progress(min(done, of - 1), of)
    progress(of, of)


def blocks(source: Source, documents: Documents, errors: Errors) -> Iterator[Block]:
    """One file's blocks in order. Invalid UTF-8 is the DataError that `readers.decoded` raises, or replaced."""
    at, whole = 0, True
    for text in _cut(source):
        clean_text = _cleaned(source, text, at, errors)
        yield Block(text=clean_text if whole else CONTINUED.encode() + clean_text, documents=documents, first=at == 0)
        at += len(text)
        whole = text.endswith(b"\n")


def _cut(source: Source) -> Iterator[bytes]:
    """The file's bytes, cut after a LF; where a block has none, after its last space, else between two characters."""
    parts: list[bytes] = []
    have = 0
    for chunk in source.chunks():
        parts.append(chunk)
        have += len(chunk)
        if have < BLOCK:
            continue
        whole = b"".join(parts)
        stop = whole.rfind(b"\n") + 1 or whole.rfind(b" ") + 1 or _between(whole)
        yield whole[:stop]
        parts = [whole[stop:]]
        have = len(parts[0])
    if have:
        yield b"".join(parts)


def _between(data: bytes) -> int:
    """Where the last character of `data`, perhaps incomplete, starts."""
    at = len(data) - 1
    while at > len(data) - 4 and data[at] & 0xC0 == 0x80:
        at -= 1
    return at


def _cleaned(source: Source, data: bytes, at: int, errors: Errors) -> bytes:
    """`data`, which starts at byte `at` of the file, as clean lines."""
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError as error:
            if errors == "strict":
                raise invalid(source, data, at, error) from error
            data = data.decode("utf-8", "replace").encode()
    if len(data.translate(None, _UNCLEAN)) == len(data) and not any(mark in data for mark in _MARKS) and _short(data):
        return data if data.endswith(b"\n") else data + b"\n"
    found: list[str] = []
    whole = True
    for _, string, ends in lines([breaks(clean(data.decode()))], Counts()):
        found.append(string if whole else CONTINUED + string)
        whole = ends
    return "".join(f"{line}\n" for line in found).encode()


def _short(data: bytes) -> bool:
    """Whether no line is longer than `LONGEST` bytes, so no longer in characters: every window of that size holds a LF."""
    at = -1
    while at + LONGEST < len(data) - 1:
        following = data.rfind(b"\n", at + 1, at + LONGEST + 2)
        if following < 0:
            return False
        at = following
    return True
