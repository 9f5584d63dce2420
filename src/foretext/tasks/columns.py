"""Which column holds the text, and which the label: by the name given, by a usual name, or by what the cells hold."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foretext.errors import DataError, shorten

TEXT_NAMES = (
    "text", "sentence", "review", "content", "body", "document", "question", "title", "comment", "tweet", "message",
    "query", "utterance", "abstract", "headline", "summary", "description",
    "文本", "句子", "内容", "正文", "评论", "标题",
)  # fmt: skip
LABEL_NAMES = (
    "label", "labels", "topic", "topics", "category", "categories", "class", "target", "sentiment", "intent", "tag",
    "tags", "label_text", "label_desc", "标签", "类别", "分类", "主题", "情感",
)  # fmt: skip


Cells = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns were read; "" = none. `header`: whether the first line named them."""

    text: str
    label: str = ""
    header: bool = True


def find_columns(path: Path, rows: Cells, text: str | None, label: str | None, header: bool) -> Columns:
    """The columns of labelled texts; DataError where a name is wrong or nothing tells."""
    names = list(rows[0])
    found = _named(path, names, label) if label else _known(names, LABEL_NAMES)
    words = text or _known(names, TEXT_NAMES)
    others = [name for name in names if name != words]
    if found is None and not header and others:
        # without names, labels are the column with the fewest different values
        found = min(others, key=lambda name: len({str(row.get(name)) for row in rows}))
    if found is None and len(others) == 1 and len(names) == 2:
        found = others[0]
    if found is None:
        raise _no_column("label", path, names, header)
    rest = [name for name in names if name != found]
    return Columns(text=text_column(path, rows, text, header, among=rest), label=found, header=header)


def text_column(path: Path, rows: Cells, text: str | None, header: bool, *, among: list[str] | None = None) -> str:
    """The text's column: the one called `text`, or found (of `among`, where given); DataError where nothing tells."""
    names = list(rows[0])
    if text:
        return _named(path, names, text)
    rest = names if among is None else among
    known = _known(rest, TEXT_NAMES)
    if known is None and not header and rest:
        known = max(rest, key=lambda name: sum(len(str(row.get(name) or "")) for row in rows))
    if known is None and len(rest) == 1 and not (header and looks_headerless(names)):
        known = rest[0]
    if known is None:
        raise _no_column("text", path, names, header)
    return known


def is_usual(name: str) -> bool:
    """Whether a column of texts or labels is often called so."""
    return name.lower() in (*TEXT_NAMES, *LABEL_NAMES)


def require_a_name(path: Path, names: Sequence[str]) -> None:
    """DataError where the first line of a table of one column, `names`, may be its first text as well as a name."""
    if len(names) == 1 and _known(names, TEXT_NAMES) is None and not looks_headerless(names):
        raise DataError(
            f"cannot tell whether {names[0]!r} is the column's name or the first text",
            file=path,
            place="line 1",
            remedy=f"name the column --text '{names[0]}'; or put the line text before it; or call the file .txt",
        )


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
            remedy='put a line of names first, such as "text" and "label"; or train with --set task.header=false',
        )
    lines = header and not {"csv", "tsv", "tab", "txt"}.isdisjoint(path.name.lower().split("."))
    data = "; if the first line is data, train with --set task.header=false" if lines else ""
    return DataError(
        f"cannot tell which column holds the {what}", file=path, remedy=f"name one of: {shorten(', '.join(names), 200)}{data}"
    )


def looks_headerless(names: Sequence[str]) -> bool:
    """Whether a first line reads like data rather than names: a cell that is long, empty or a number, or ends a
    sentence."""
    return any(not n or len(n) > 40 or n[-1] in ".!?。！？" or n.lstrip("+-").replace(".", "", 1).isdigit() for n in names)
