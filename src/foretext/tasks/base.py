"""What every form of labelled data shares: labelled texts in memory, where they came from, and what a prediction is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from foretext.config import shown
from foretext.errors import DataError, UsageError
from foretext.tasks.columns import Columns, find_columns
from foretext.tasks.tables import Row, read_rows, text_of
from foretext.types import JSON, Ints

ID_NAME = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Labelled texts: text i has the raw labels `labels[i]` and stands in `file` on line `lines[i]`."""

    texts: tuple[str, ...]
    labels: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]
    file: str = ""
    columns: Columns = field(default_factory=lambda: Columns(text="text", label="label"))
    listed: bool = False
    """Some row gave its labels as a list."""

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int] | Ints) -> "Labelled":
        """The given rows, in the given order."""
        return Labelled(
            texts=tuple(self.texts[i] for i in rows),
            labels=tuple(self.labels[i] for i in rows),
            lines=tuple(self.lines[i] for i in rows),
            file=self.file,
            columns=self.columns,
            listed=self.listed,
        )

    def error(self, row: int, rule: str, remedy: str = "") -> DataError:
        """A DataError about one row."""
        return DataError(rule, file=self.file or None, place=f"line {self.lines[row]}", remedy=remedy)


Source: TypeAlias = str | Path | Sequence[tuple[str, str | Sequence[str]]] | Labelled
"""A labelled file, or (text, label) or (text, labels) pairs, or what is read already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """`labels` said of one text (one, or any number where a text may have several), and every label's probability."""

    labels: tuple[str, ...]
    probabilities: Mapping[str, float]

    @property
    def label(self) -> str:
        """The label, or "" where none was said."""
        return self.labels[0] if self.labels else ""

    @property
    def probability(self) -> float:
        """How sure: the said label's probability (of several the smallest, of none that of the likeliest left out)."""
        said = [self.probabilities[label] for label in self.labels]
        return min(said) if said else 1.0 - max(self.probabilities.values())


def read_labelled(
    source: Source,
    *,
    text: str | None = None,
    label: str | None = None,
    header: bool = True,
    usual: Columns | None = None,
) -> Labelled:
    """Read labelled texts whole. Columns are taken by name; where the name is None, the `usual` one if it is there, else
    found.

    Errors (DataError with file and line, exit 3): no such column; an empty text or label; the same id twice; a first
    line that is no header; no rows at all.
    """
    if isinstance(source, Labelled):
        return source
    if not isinstance(source, str | Path):
        return _from_pairs(source)
    path = Path(source)
    rows = list(read_rows(path, header=header))
    if not rows:
        raise DataError("expected rows after the header, found none", file=path)
    names = rows[0].cells
    if usual is not None:
        text = usual.text if text is None and usual.text in names else text
        label = usual.label if label is None and usual.label in names else label
    columns = find_columns(path, [row.cells for row in rows], text, label, header)
    _check_ids(path, rows)
    texts, labels, listed = [], [], False
    for row in rows:
        texts.append(text_of(row, columns.text, path))
        if not texts[-1].strip():
            raise DataError("the text is empty", file=path, place=f"line {row.line}", remedy="fill it in or remove the row")
        said, is_list = _labels(row, columns.label, path)
        labels.append(said)
        listed = listed or is_list
    return Labelled(
        texts=tuple(texts),
        labels=tuple(labels),
        lines=tuple(row.line for row in rows),
        file=str(path),
        columns=columns,
        listed=listed,
    )


def _from_pairs(pairs: Sequence[tuple[str, str | Sequence[str]]]) -> Labelled:
    labels = [(said,) if isinstance(said, str) else tuple(said) for _, said in pairs]
    if not labels:
        raise DataError("expected labelled texts, found none")
    return Labelled(
        texts=tuple(text for text, _ in pairs),
        labels=tuple(labels),
        lines=tuple(range(1, len(labels) + 1)),
        listed=any(not isinstance(said, str) for _, said in pairs),
    )


def _check_ids(path: Path, rows: list[Row]) -> None:
    first: dict[Any, int] = {}
    for row in rows:
        value = row.cells.get(ID_NAME)
        if value is None or isinstance(value, list | dict):
            continue
        if value in first:
            raise DataError(
                f"the id {value!r} comes twice, first on line {first[value]}", file=path, place=f"line {row.line}",
                remedy="remove or renumber one, or rename the column if it is no id",
            )  # fmt: skip
        first[value] = row.line


def _labels(row: Row, name: str, path: Path) -> tuple[tuple[str, ...], bool]:
    value: JSON = row.cells.get(name)
    if isinstance(value, list):
        return tuple(_label(item, row, name, path) for item in value), True
    return (_label(value, row, name, path),), False


def _label(value: JSON, row: Row, name: str, path: Path) -> str:
    if value is None or isinstance(value, dict | list) or not str(value).strip():
        found = "nothing" if value is None or not str(value).strip() else shown(value)
        raise DataError(
            f"column {name!r}: expected a label, found {found}", file=path, place=f"line {row.line}",
            remedy="give it a label or remove the row",
        )  # fmt: skip
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def require_some(source: Labelled, what: str) -> None:
    """Refuse an empty set of labelled texts."""
    if not len(source):
        raise UsageError(f"the {what} set is empty")
