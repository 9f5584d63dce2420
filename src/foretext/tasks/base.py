"""What every form of labelled data shares: labelled texts in memory, where they came from, and what a prediction is."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from foretext.errors import DataError, UsageError
from foretext.tasks.tables import Row, format_of, looks_headerless, read_rows
from foretext.types import JSON, Ints

TEXT_NAMES = (
    "text", "sentence", "review", "content", "body", "document", "question", "title", "comment", "tweet", "message",
    "query", "utterance", "abstract", "headline", "summary", "description",
    "文本", "句子", "内容", "正文", "评论", "标题",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "topic", "topics", "category", "categories", "class", "target", "sentiment", "intent", "tag",
    "tags", "label_text", "label_desc", "标签", "类别", "分类", "主题", "情感",
)  # fmt: skip
ID_NAME = "id"


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns were read; "" = none. `header`: whether the first line named them."""

    text: str
    label: str = ""
    header: bool = True


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
    source: Source, *, text: str | None = None, label: str | None = None, header: bool = True
) -> Labelled:
    """Read labelled texts whole. Columns are taken by name, or detected where the name is None.

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
    columns = _columns(path, rows, text, label, header)
    _check_ids(path, rows)
    texts, labels, listed = [], [], False
    for row in rows:
        texts.append(_text(row, columns.text, path))
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


def read_texts(source: str | Path, *, text: str | None = None, header: bool = True) -> Iterator[tuple[str, int]]:
    """(text, line) of a file to be labelled, as a stream: the text column of a table, or each line of a plain .txt."""
    path = Path(source)
    if path.is_file() and format_of(path)[0] == "tsv" and ".txt" in path.name and text is None:
        yield from ((row.cells["1"], row.line) for row in read_rows(path, header=False))
        return
    name = text
    for row in read_rows(path, header=header):
        if name is None or name not in row.cells:
            name = _text_name(path, [row], text, header)
        yield _text(row, name, path), row.line


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


def _columns(path: Path, rows: list[Row], text: str | None, label: str | None, header: bool) -> Columns:
    names = list(rows[0].cells)
    found = _named(path, names, label) if label else _known(names, LABEL_NAMES)
    others = [name for name in names if name != (text or _known(names, TEXT_NAMES))]
    if found is None and not header and others:
        # without names, labels are the column with the fewest different values
        found = min(others, key=lambda name: len({str(row.cells.get(name)) for row in rows}))
    if found is None and len(others) == 1 and len(names) == 2:
        found = others[0]
    if found is None:
        raise _no_column("label", path, names, header)
    rest = [name for name in names if name != found]
    return Columns(text=_text_name(path, rows, text, header, among=rest), label=found, header=header)


def _text_name(
    path: Path, rows: list[Row], text: str | None, header: bool, *, among: list[str] | None = None
) -> str:
    names = list(rows[0].cells)
    if text:
        return _named(path, names, text)
    rest = names if among is None else among
    known = _known(rest, TEXT_NAMES)
    if known is None and not header and rest:
        known = max(rest, key=lambda name: sum(len(str(row.cells.get(name) or "")) for row in rows))
    if known is None and len(rest) == 1 and not (header and looks_headerless(names)):
        known = rest[0]
    if known is None:
        raise _no_column("text", path, names, header)
    return known


def _named(path: Path, names: list[str], name: str) -> str:
    if name not in names:
        raise DataError(f"no column {name!r}", file=path, remedy=f"columns: {', '.join(names)}")
    return name


def _known(names: Sequence[str], known: Sequence[str]) -> str | None:
    lowered = {name.lower(): name for name in reversed(names)}
    return next((lowered[name] for name in known if name in lowered), None)


def _no_column(what: str, path: Path, names: list[str], header: bool) -> DataError:
    if header and looks_headerless(names):
        return DataError(
            "the first line reads like data, not like column names",
            file=path,
            place="line 1",
            remedy='put a line of names first, such as "text" and "label"; or set header = false',
        )
    return DataError(
        f"cannot tell which column holds the {what}", file=path, remedy=f"name one of: {', '.join(names)}"
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


def _text(row: Row, name: str, path: Path) -> str:
    value = row.cells.get(name)
    if not isinstance(value, str):
        raise DataError(f"column {name!r}: expected a text, found {value!r}", file=path, place=f"line {row.line}")
    return value


def _labels(row: Row, name: str, path: Path) -> tuple[tuple[str, ...], bool]:
    value: JSON = row.cells.get(name)
    if isinstance(value, list):
        return tuple(_label(item, row, name, path) for item in value), True
    return (_label(value, row, name, path),), False


def _label(value: JSON, row: Row, name: str, path: Path) -> str:
    if value is None or isinstance(value, dict | list) or not str(value).strip():
        found = "nothing" if value is None or not str(value).strip() else repr(value)
        raise DataError(
            f"column {name!r}: expected a label, found {found}", file=path, place=f"line {row.line}",
            remedy="give it a label or remove the row",
        )  # fmt: skip
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def require_some(source: Labelled, what: str) -> None:
    """Refuse an empty set of labelled texts."""
    if not len(source):
        raise UsageError(f"the {what} set is empty")
