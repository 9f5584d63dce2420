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
    line (WikiText). `columns`: lines were broken to fit about this width, so they are joined (0: lines are paragraphs).
    `why`: the reason, for people."""

    documents: Documents
    columns: int = 0
    why: str = ""


def detect(sample: str, *, whole: bool, files: int = 1, mean_bytes: int = 0) -> Layout:
    """The layout of a file that starts with `sample` (`whole`: and ends there), one of `files` plain text files of
    `mean_bytes` each. The rules, first match wins:

    1. ` = Title = ` lines: WikiText's documents.
    2. Wrapped lines: a block is a document where blocks hold several paragraphs, else the file is.
    3. Eight files or more, under 1 MiB each: a file is a document.
    4. Blank lines between blocks of several lines (at least 3 in 10 blocks): a block is a document.
    5. Blank lines between single lines: they separate paragraphs of one document, the file.
    6. No blank line, and two sentences a line or more: a line is a document.
    7. Otherwise the file is a document and a line is a paragraph.
    """
    rows = sample.split("\n")
    rows = rows if whole or len(rows) < 2 else rows[:-1]
    if _HEADING.search(sample):
        return Layout(documents="headings", why="' = Title = ' lines start documents")
    columns, inside = wrapping(rows)
    sizes = blocks(rows)
    if columns:
        unit: Documents = "blank" if len(sizes) > 1 and inside >= 2 * len(sizes) else "file"
        return Layout(documents=unit, columns=columns, why=f"lines are wrapped at about {columns} columns")
    if files >= 8 and mean_bytes < 1 << 20:
        return Layout(documents="file", why=f"{files} small files")
    several = sum(size > 1 for size in sizes)
    if len(sizes) > 1 and several >= 0.3 * len(sizes):
        return Layout(documents="blank", why="blank lines between blocks of several lines")
    if len(sizes) > 1:
        return Layout(documents="file", why="blank lines separate single lines: paragraphs")
    filled = [row for row in rows if row.strip()]
    if len(filled) > 1 and sum(len(_ENDS.findall(row + "\n")) for row in filled) >= 2 * len(filled):
        return Layout(documents="line", why="no blank line, and lines of several sentences")
    return Layout(documents="file", why="one block of short lines" if len(filled) > 1 else "one line")


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


def wrapping(rows: list[str]) -> tuple[int, int]:
    """The width that lines were broken to fit, in columns (0: they were not), and how many paragraphs end inside a
    block, by an indent or a short line that ends a sentence.

    The first test is the wrapper's own rule, over lines that another follows and that end no sentence: had the next
    line's first word still fitted, it would stand on this line; it must hold for 7 in 10. By hand, lines come out
    ragged: then 3 in 10 will do if 7 in 10 go on with a small letter. Lines over 130 columns are no wrapped lines.
    """
    filled = sorted(width(row.strip()) for row in rows if row.strip())
    if len(filled) < 8 or filled[int(0.98 * len(filled))] > 130 or filled[int(0.9 * len(filled))] < 30:
        return 0, 0
    limit = filled[int(0.9 * len(filled))]
    open_lines = full = small = inside = 0
    for row, following in pairwise(row.rstrip() for row in rows):
        if not row or not following:
            continue
        if ends_paragraph(row, limit) or indent(following) > indent(row):
            inside += 1
        elif not _TERMINAL.search(row):
            open_lines += 1
            full += width(row.strip()) + 1 + width(_first_word(following)) > limit
            small += following.lstrip()[0].islower()
    if open_lines < max(5, len(filled) // 8):
        return 0, 0
    ragged = full >= 0.3 * open_lines and small >= 0.7 * open_lines
    return (limit if ragged or full >= 0.7 * open_lines else 0), inside


def ends_paragraph(row: str, columns: int) -> bool:
    """Whether a wrapped line ends a sentence and leaves a quarter of its width free."""
    return width(row.strip()) < 0.75 * columns and _TERMINAL.search(row.rstrip()) is not None


def indent(row: str) -> int:
    """Leading white space, in characters."""
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
