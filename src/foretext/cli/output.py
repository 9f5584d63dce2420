"""What commands print: text for people, JSON for programs; both on standard output, progress on standard error."""

import sys
import unicodedata
from collections.abc import Sequence

import msgspec

from foretext.bundle import SOURCE, Pretrained
from foretext.models.catalog import family
from foretext.types import JSON


def say(line: str = "") -> None:
    """One line for people."""
    print(line, flush=True)


def note(line: str) -> None:
    """A remark about the work itself, on standard error, where it disturbs no program."""
    print(f"foretext: {line}", file=sys.stderr, flush=True)


class LongTexts:
    """Counts the texts that a model cannot read at once, so that it is said."""

    def __init__(self, model: Pretrained) -> None:
        template, room = model.recipe.family.template, family(model.recipe.family.name)
        # A static table, and whatever reads from left to right word by word, has no positions to run out of.
        self.limit = None if room.stepper is not None else model.model.encoder(SOURCE).limit
        self._room = None if self.limit is None else self.limit - bool(template.start) - bool(template.end)
        self.texts = self.long = 0

    def add(self, tokens: int) -> None:
        """One text of so many tokens."""
        self.texts += 1
        self.long += self._room is not None and tokens > self._room

    def tell(self) -> None:
        """A note, where there were any."""
        if self.long:
            note(
                f"{self.long:,} of {self.texts:,} texts are longer than the {self.limit} positions of the model; "
                "each was read in overlapping windows, no token was left out"
            )


def one_line(text: str) -> str:
    """A text without line breaks, for a line of output."""
    return " ".join(text.split())


def write_json(value: JSON) -> None:
    """One JSON value on one line, for programs."""
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def columns(string: str) -> int:
    """How many terminal columns a string takes: Chinese characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in string)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns; a column of figures stands to the right, the last column is left ragged."""
    cells = [list(head), *[list(row) for row in rows]]
    widths = [max(columns(row[i]) for row in cells) for i in range(len(head))]
    right = [bool(rows) and all(_figure(row[i]) for row in rows) for i in range(len(head))]
    for row in cells:
        parts = []
        for i, cell in enumerate(row):
            gap = " " * (widths[i] - columns(cell))
            parts.append(gap + cell if right[i] else cell if i == len(row) - 1 else cell + gap)
        print("  ".join(parts).rstrip())


def _figure(cell: str) -> bool:
    return cell.replace(",", "").replace(".", "", 1).isdigit()


def size(count: float, unit: str = "B") -> str:
    """A count in thousands, millions, …: 21466576 → "21.5 MB"."""
    for prefix in ("", "k", "M", "G"):
        if abs(count) < 1000:
            return f"{count:.0f} {prefix}{unit}" if prefix == "" or count >= 100 else f"{count:.1f} {prefix}{unit}"
        count /= 1000
    return f"{count:.1f} T{unit}"
