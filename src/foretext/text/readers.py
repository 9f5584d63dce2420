"""From bytes to paragraphs: strict decoding, lines of bounded length, and the three layouts of plain text.

Every reader yields `(first, line, string)`: whether the paragraph starts a new document, the line it starts on, and
its text, at most `LONGEST` characters. Nothing longer than that (and one chunk of the file) is ever held.
"""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from foretext.errors import DataError
from foretext.text.layout import Documents, Layout, ends_paragraph, indent, joined
from foretext.text.normalize import breaks, clean_chunks
from foretext.text.sources import Source

Paragraph: TypeAlias = tuple[bool, int, str]
Errors: TypeAlias = Literal["strict", "replace"]

LONGEST = 1 << 16
"""Characters. A longer paragraph is cut at its last sentence end, else its last space, else here."""

_SENTENCE_END = re.compile("([.!?。！？…；]++)([”’」』）】》\"')\\]]*+)(\\s*+)")
"""Possessive, and always a match: a run of a million full stops is passed over once, not once from each of them."""
_HEADING = re.compile(r"^ = [^=].*[^=] = $")
_RECORD_NOISE = " =\t"


@dataclass(slots=True)
class Counts:
    """What one pass over a file changed or left out; added up over the files for the report."""

    replaced: int = 0
    """invalid UTF-8 sequences that became U+FFFD"""
    dropped: int = 0
    """NUL, other control characters and byte order marks"""
    split: int = 0
    """cuts made in paragraphs longer than `LONGEST`"""
    empty: int = 0
    """records and articles without text"""
    redirects: int = 0
    """Wikipedia pages that only point elsewhere, or lie outside the main namespace"""

    def add(self, other: "Counts") -> None:
        """Add `other`'s counts to these."""
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def decoded(source: Source, errors: Errors, counts: Counts) -> Iterator[str]:
    """The file as clean text (`normalize`, rules 1 to 3). Invalid UTF-8 is a DataError that names the byte, counted in
    the decompressed file; with errors="replace" each maximal invalid sequence becomes U+FFFD and is counted."""
    for chunk, dropped in clean_chunks(_characters(source, errors, counts)):
        counts.dropped += dropped
        yield chunk


def _characters(source: Source, errors: Errors, counts: Counts) -> Iterator[str]:
    rest, start = b"", 0
    for chunk in _with_end(source.chunks()):
        data, final = rest + chunk, not chunk
        try:
            string, used = codecs.utf_8_decode(data, "strict", final)
        except UnicodeDecodeError as error:
            if errors == "strict":
                raise invalid(source, data, start, error) from error
            string, used = codecs.utf_8_decode(data, "replace", final)
            counts.replaced += string.count("\ufffd") - data[:used].count(b"\xef\xbf\xbd")
        rest, start = data[used:], start + used
        yield string


def _with_end(chunks: Iterable[bytes]) -> Iterator[bytes]:
    yield from chunks
    yield b""


def invalid(source: Source, data: bytes, start: int, error: UnicodeDecodeError) -> DataError:
    """What is said of bytes that are no UTF-8; `data` starts at byte `start` of the file."""
    at = start + error.start
    shown = data[error.start : error.start + 4].hex(" ")
    guess = "UTF-16" if at <= 1 and data[:2] in (b"\xff\xfe", b"\xfe\xff") else "e.g. GB18030 or WINDOWS-1252"
    return DataError(
        f"expected UTF-8, found the bytes {shown} ({error.reason})",
        file=source.name,
        place=f"byte {at}",
        remedy=f"convert the file (iconv -f ENCODING -t UTF-8, {guess}) or pass --encoding-errors replace",
    )


def from_line(chunks: Iterable[str], start: int) -> Iterator[str]:
    """`chunks` from physical line `start` (from 1) on; what is before is only searched for LF."""
    before = max(0, start - 1)
    for chunk in chunks:
        if before:
            count = chunk.count("\n")
            if count < before:
                before -= count
                continue
            chunk, before = chunk.split("\n", before)[before], 0
        yield chunk


def lines(chunks: Iterable[str], counts: Counts, start: int = 1) -> Iterator[tuple[int, str, bool]]:
    """`(number, string, whole)` from line `start` on: physical lines without their LF, and pieces of at most about
    `LONGEST` characters of a longer one; `whole` is False on every piece but a line's last."""
    number, rest = max(1, start), ""
    for chunk in from_line(chunks, start):
        parts = (rest + chunk).split("\n")
        rest = parts.pop()
        for part in parts:
            while len(part) > LONGEST:
                piece, part = cut(part)
                counts.split += 1
                yield number, piece, False
            yield number, part, True
            number += 1
        while len(rest) > LONGEST:
            piece, rest = cut(rest)
            counts.split += 1
            yield number, piece, False
    if rest:
        yield number, rest, True


def cut(string: str, most: int = LONGEST) -> tuple[str, str]:
    """`string`, longer than `most`, in two: after the last sentence end that leaves at least half of `most`, else after
    the last white space there, else at `most` (never before a combining mark or joiner)."""
    half = most // 2
    place = 0
    for match in _SENTENCE_END.finditer(string, half, most):
        run, closing, space = match.groups()
        chinese = run.rstrip(".!?")  # these three end a sentence only before white space
        if space:
            place = match.end()
        elif chinese:
            place = match.start() + len(chinese)
            if chinese == run:
                place += len(closing) - len(closing.lstrip("”’」』）】》"))
    if not place:
        place = max(string.rfind(space, half, most) for space in (" ", "\t", "\u3000")) + 1
    if not place:
        place = most
        while place > half and _continues(string[place]):
            place -= 1
    return string[:place], string[place:]


def _continues(character: str) -> bool:
    """Whether `character` belongs to the one before it: combining marks, joiners, variation selectors, skin tones."""
    return (
        "\u0300" <= character <= "\u036f"
        or character in "\u200d\ufe0e\ufe0f"
        or "\U0001f3fb" <= character <= "\U0001f3ff"
    )


def plain_text(source: Source, layout: Layout, errors: Errors, counts: Counts, start: int) -> Iterator[Paragraph]:
    """A .txt file in the layout that was chosen or detected; from line `start` on, where a document starts."""
    stream = lines(map(breaks, decoded(source, errors, counts)), counts, start)
    if layout.columns:
        return _wrapped(stream, layout.documents, layout.columns, counts)
    return _unwrapped(stream, layout.documents)


def _unwrapped(stream: Iterator[tuple[int, str, bool]], documents: Documents) -> Iterator[Paragraph]:
    """A line is a paragraph."""
    first, within = True, False
    for number, line, whole in stream:
        string = line.strip()
        if documents == "line":
            first = not within
            within = not whole
        elif documents == "headings" and string.startswith("=") and _HEADING.match(line):
            first = True
        if documents == "headings" and string.startswith("= "):
            string = string.strip(_RECORD_NOISE)
        if string:
            yield first, number, string
            first = False
        elif documents == "blank" and whole and not within:
            first = True
        if documents != "line":
            within = not whole


def _wrapped(
    stream: Iterator[tuple[int, str, bool]], documents: Documents, columns: int, counts: Counts
) -> Iterator[Paragraph]:
    """Lines are joined into paragraphs. A blank line, a short line that ends a sentence, and a line with a deeper
    indent than the one before separate paragraphs."""
    first, start, text, before = True, 0, "", 0
    for number, line, whole in stream:
        string = line.strip()
        if text and (not string or indent(line) > before):
            yield first, start, text
            first, text = False, ""
        if not string:
            first = first or (documents == "blank" and whole)
            continue
        start = number if not text else start
        text, before = joined(text, string), indent(line)
        while len(text) > LONGEST:
            piece, text = cut(text)
            counts.split += 1
            yield first, start, piece.strip()
            first, start = False, number
        if whole and ends_paragraph(string, columns):
            yield first, start, text
            first, text = False, ""
    if text.strip():
        yield first, start, text


def field_paragraphs(text: str, line: int, columns: int, counts: Counts) -> Iterator[Paragraph]:
    """The paragraphs of one record's text field: its lines (joined, where they are wrapped at `columns`)."""
    numbered = ((line, part, whole) for _, part, whole in lines([breaks(text)], counts))
    yield from _wrapped(numbered, "file", columns, counts) if columns else _unwrapped(numbered, "file")
