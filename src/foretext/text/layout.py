"""How a plain text file is laid out: where documents end, and whether lines are paragraphs or were wrapped by hand.

Detected from the first 256 KiB, always reported, and overruled by `documents=` (`--documents`).
"""

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias

from foretext.text.sentences import HAN

Documents: TypeAlias = Literal["file", "line", "blank", "headings"]

_HEADING = re.compile(r"^ = [^=].*[^=] = $", re.MULTILINE)
_TERMINAL = re.compile("[.!?:。！？…：；]+[”’」』）】》\"')\\]]*$")
_ENDS = re.compile("[.!?][\"')\\]”’]*\\s|[。！？]")
_HAN = re.compile(f"[{HAN}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`documents`: a document is the whole file, a line, a block between blank lines, or what follows a ` = Title = `
    line (WikiText). `wrapped`: lines were broken to fit a width, so they are joined. `why`: the reason, for people."""

    documents: Documents
    wrapped: bool
    why: str


def detect(sample: str, *, whole: bool, files: int = 1, mean_bytes: int = 0) -> Layout:
    """The layout of a file that starts with `sample` (`whole`: and ends there), one of `files` plain text files of
    `mean_bytes` each. The rules, first match wins:

    1. ` = Title = ` lines: WikiText's documents.
    2. Hand-wrapped lines: the file is a document, blank lines and indents separate paragraphs.
    3. Eight files or more, under 1 MiB each: a file is a document.
    4. Blank lines between blocks of several lines (at least 3 in 10 blocks): a block is a document.
    5. Blank lines between single lines: they separate paragraphs of one document, the file.
    6. No blank line, and two sentences a line or more: a line is a document.
    7. Otherwise the file is a document and a line is a paragraph.
    """
    rows = sample.split("\n")
    rows = rows if whole or len(rows) < 2 else rows[:-1]
    if _HEADING.search(sample):
        return Layout(documents="headings", wrapped=False, why="' = Title = ' lines start documents")
    if is_wrapped(rows):
        return Layout(documents="file", wrapped=True, why="lines are wrapped; blank lines and indents end paragraphs")
    if files >= 8 and mean_bytes < 1 << 20:
        return Layout(documents="file", wrapped=False, why=f"{files} small files")
    sizes = blocks(rows)
    several = sum(size > 1 for size in sizes)
    if len(sizes) > 1 and several >= 0.3 * len(sizes):
        return Layout(documents="blank", wrapped=False, why="blank lines between blocks of several lines")
    if len(sizes) > 1:
        return Layout(documents="file", wrapped=False, why="blank lines separate single lines: paragraphs")
    filled = [row for row in rows if row.strip()]
    if len(filled) > 1 and sum(len(_ENDS.findall(row + "\n")) for row in filled) >= 2 * len(filled):
        return Layout(documents="line", wrapped=False, why="no blank line, and lines of several sentences")
    return Layout(documents="file", wrapped=False, why="one block of short lines" if len(filled) > 1 else "one line")


def blocks(rows: list[str]) -> list[int]:
    """Lines in each run of non-blank lines."""
    sizes: list[int] = []
    inside = False
    for row in rows:
        if not row.strip():
            inside = False
        elif inside:
            sizes[-1] += 1
        else:
            sizes.append(1)
            inside = True
    return sizes


def is_wrapped(rows: list[str]) -> bool:
    """Whether lines were broken to fit a width.

    The test is the wrapper's own rule: had the next line's first word still fitted, it would stand on this line. It
    must hold for most lines that another line follows, those lines must mostly not end a sentence, and no more than
    one line in fifty may be wider than 120 columns (a Chinese character is two).
    """
    filled = sorted(width(row.strip()) for row in rows if row.strip())
    if len(filled) < 8:
        return False
    if filled[int(0.98 * len(filled))] > 130:
        return False
    limit = filled[int(0.9 * len(filled))]
    inner = full = ended = 0
    for row, following in pairwise(row.rstrip() for row in rows):
        if not row.strip() or not following.strip() or _indent(following) > _indent(row):
            continue
        inner += 1
        full += width(row.strip()) + 1 + width(_first_word(following)) > limit
        ended += _TERMINAL.search(row) is not None
    return inner >= max(5, len(filled) // 4) and full >= 0.6 * inner and ended <= 0.5 * inner


def _indent(row: str) -> int:
    return len(row) - len(row.lstrip())


def _first_word(row: str) -> str:
    word = row.split(maxsplit=1)[0]
    return word[:2] if _HAN.match(word) else word


def width(string: str) -> int:
    """Columns on a terminal: wide characters count two."""
    if string.isascii():
        return len(string)
    return len(string) + sum(unicodedata.east_asian_width(character) in "WF" for character in string)


def joined(text: str, line: str) -> str:
    """A wrapped paragraph goes on: with a space between, but with nothing after a hyphen or dash that ends a line, nor
    between two Chinese characters (or their full-width punctuation)."""
    if not text:
        return line
    last, following = text[-1], line[0]
    if last in "-—–" and len(text) > 1 and not text[-2].isspace():
        return text + line
    if not last.isascii() and not following.isascii() and _wide(last) and _wide(following):
        return text + line
    return f"{text} {line}"


def _wide(character: str) -> bool:
    return unicodedata.east_asian_width(character) in "WF" or character in "“”‘’…"
