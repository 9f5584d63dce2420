"""What commands print: text for people, JSON for programs; both on standard output, progress on standard error."""

import sys
import unicodedata
from collections.abc import Sequence

import msgspec

from foretext.types import JSON


def say(line: str = "") -> None:
    """One line for people."""
    print(line, flush=True)


def write_json(value: JSON) -> None:
    """One JSON value on one line, for programs."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def columns(string: str) -> int:
    """How many terminal columns a string takes: Chinese characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in string)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; numbers to the right. The last column is left ragged."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(columns(row[i]) for row in cells) for i in range(len(head))]
    for number, row in enumerate(cells):
        parts = []
        for i, cell in enumerate(row):
            gap = " " * (widths[i] - columns(cell))
            figure = number > 0 and cell[:1].isdigit() and cell.replace(",", "").replace(".", "").isdigit()
            parts.append(gap + cell if figure else cell if i == len(row) - 1 else cell + gap)
        print("  ".join(parts).rstrip())
