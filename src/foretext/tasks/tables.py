"""Labelled files as rows: csv, tsv, jsonl and parquet, plain or compressed (gz, bz2, xz, zst), read as a stream.

UTF-8 is strict: damage is a DataError that names the file and the line. csv follows RFC 4180; a first line of names
with semicolons or tabs between them and no comma says that these separate, as where the comma is the decimal point. A tsv cell is literal
unless the whole cell stands in quotes with the inner ones doubled: GLUE's files hold bare quotes, spreadsheets' do not.
"""

import csv
import itertools
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec

from foretext import pickles
from foretext.config import shown
from foretext.errors import DataError, ResourceError, UsageError, no_file, shorten
from foretext.tasks.columns import Columns, is_usual, require_a_name, text_column
from foretext.text.sources import Source

Format = Literal["csv", "tsv", "jsonl", "parquet"]
_COMPRESSIONS = ("gz", "bz2", "xz", "zst")
_FORMATS: Mapping[str, Format] = {
    "csv": "csv", "tsv": "tsv", "txt": "tsv", "tab": "tsv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl",
    "parquet": "parquet",
}  # fmt: skip


_QUOTED = re.compile('"[^"]*"')
_MOST_LINES = 100
"""A first record of more lines is no line of names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: its cells by column name, and the line of the file it starts on (from 1; parquet: row number)."""

    cells: Mapping[str, Any]
    line: int


def format_of(path: Path) -> tuple[Format, str]:
    """A file's format and compression ("" = none) by its name; an unknown ending is a UsageError."""
    parts = path.name.lower().split(".")
    compression = parts.pop() if parts[-1] in _COMPRESSIONS else ""
    if parts[-1] not in _FORMATS:
        raise UsageError(
            f"a labelled file ends in .csv, .tsv, .txt (tabs), .jsonl or .parquet, found {path.suffix or 'no ending'}",
            file=path,
            remedy=f"rename it; a further {', '.join('.' + c for c in _COMPRESSIONS)} is read too",
        )
    return _FORMATS[parts[-1]], compression


def read_rows(path: str | Path, *, header: bool = True) -> Iterator[Row]:
    """The rows of a labelled file, in order, without holding the file.

    `header=False` (csv, tsv): the first line is data and columns are named "1", "2", … Errors: no such file → UsageError;
    damaged UTF-8, a row with more or fewer cells than the header, broken quotes or JSON → DataError with the line.
    """
    path = Path(path)
    if not path.is_file():
        raise no_file(path)
    pickles.refuse_file(path)
    kind, compression = format_of(path)
    if kind == "parquet":
        if compression:
            raise UsageError("parquet compresses inside; decompress the file first", file=path)
        yield from _parquet(path)
        return
    lines = _file_lines(path)
    if kind == "jsonl":
        yield from _jsonl(lines, path)
    else:
        cells = _csv(lines, path, named=header) if kind == "csv" else _tsv(lines)
        yield from _named(cells, path, header=header)


def read_texts(source: str | Path, *, text: str | None = None, header: bool = True, usual: Columns | None = None) -> Iterator[str]:
    """The texts to be labelled, as a stream: every line of a .txt file or of standard input ("-"), blank ones too, so
    that answers stay aligned; the text column of a table (`text`, else the `usual` one if it is there, else found).
    `header=False` is given up where the first line holds names after all (`has_names`)."""
    path = Path(source)
    if str(source) == "-":
        yield from (line.rstrip("\r\n") for line in _lines(iter(sys.stdin.buffer), "standard input"))
        return
    if not path.is_file():
        raise no_file(path)
    pickles.refuse_file(path)
    if ".txt" in path.suffixes and text is None:
        yield from (line.rstrip("\r\n") for line in _file_lines(path))
        return
    name: str | None = None
    header = header or has_names(path, text)
    for row in read_rows(path, header=header):
        if name is None:
            name = _column_of(path, row, text, header, usual)
        yield text_of(row, name, path)


def has_names(path: Path, *wanted: str | None) -> bool:
    """Whether the first line of a table holds names, though none were expected: a column of a `wanted` name, or usual names
    alone."""
    first = next(read_rows(path, header=False), None)
    cells = [] if first is None else [str(cell).strip() for cell in first.cells.values()]
    return any(name in cells for name in wanted if name) or (bool(cells) and all(map(is_usual, cells)))


def _column_of(path: Path, row: Row, text: str | None, header: bool, usual: Columns | None) -> str:
    """The column that holds the texts, settled by the first row for the whole file."""
    if not text and usual is not None and usual.text in row.cells:
        return usual.text
    if header and not text and format_of(path)[0] in ("csv", "tsv"):
        require_a_name(path, list(row.cells))
    return text_column(path, [row.cells], text, header)


def text_of(row: Row, name: str, path: Path) -> str:
    """A row's text. DataError: no such column in this row, or something else in it."""
    value = row.cells.get(name)
    if isinstance(value, str):
        return value
    found = shown(value) if name in row.cells else f"only {shorten(', '.join(row.cells)) or 'an empty record'}"
    raise DataError(f"column {name!r}: expected a text, found {found}", file=path, place=f"line {row.line}")


def _file_lines(path: Path) -> Iterator[str]:
    return _lines(Source(name=str(path), location=str(path)).chunks(), path)


def _lines(chunks: Iterator[bytes], path: str | Path) -> Iterator[str]:
    """Decoded lines with their ends kept, a byte order mark dropped."""
    offset = 0
    for number, raw in enumerate(_byte_lines(chunks), start=1):
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"expected UTF-8, found byte 0x{raw[error.start]:02x} at byte {offset + error.start}",
                file=path,
                place=f"line {number}",
                remedy="save the file as UTF-8 (e.g. `iconv -t utf-8`)",
            ) from error
        offset += len(raw)
        yield text.removeprefix("\ufeff") if number == 1 else text


def _byte_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    parts: list[bytes] = []
    for chunk in chunks:
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            yield b"".join([*parts, line, b"\n"])
            parts = []
        parts.append(rest)
    if last := b"".join(parts):
        yield last


def _csv(lines: Iterator[str], path: Path, *, named: bool) -> Iterator[tuple[list[str], int]]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default refuses a text of 131,072 characters
    first = _first_record(lines) if named else []
    bare = _QUOTED.sub("", "".join(first))
    delimiter = next((mark for mark in ",;\t" if mark in bare), ",")
    reader = csv.reader(itertools.chain(first, lines), delimiter=delimiter, strict=True)
    start = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise DataError(
                f"not valid csv: {error}", file=path, place=f"line {start}", remedy='double every quote inside a quoted cell: ""'
            ) from error
        if cells:
            yield cells, start
        start = reader.line_num + 1


def _first_record(lines: Iterator[str]) -> list[str]:
    """The lines of the first record, blank ones before it too: a line that ends inside quotes is not the last of them."""
    taken: list[str] = []
    quotes = 0
    for line in itertools.islice(lines, _MOST_LINES):
        taken.append(line)
        quotes += line.count('"')
        if line.strip() and quotes % 2 == 0:
            break
    return taken


def _tsv(lines: Iterator[str]) -> Iterator[tuple[list[str], int]]:
    for number, line in enumerate(lines, start=1):
        bare = line.rstrip("\r\n")
        if bare:
            yield [_unquoted(cell) for cell in bare.split("\t")], number


def _unquoted(cell: str) -> str:
    if len(cell) < 2 or cell[0] != '"' or cell[-1] != '"':
        return cell
    inner = cell[1:-1]
    whole = '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if whole else cell


def _named(rows: Iterator[tuple[list[str], int]], path: Path, *, header: bool) -> Iterator[Row]:
    first = next(rows, None)
    if first is None:
        raise DataError("expected rows, found an empty file", file=path)
    names = [name.strip() for name in first[0]] if header else [str(i + 1) for i in range(len(first[0]))]
    counts = Counter(names)
    twice = next((name for name in names if counts[name] > 1), None)
    if twice is not None:
        raise DataError(f"two columns are named {twice!r}", file=path, place="line 1", remedy="rename one")
    if not header:
        yield Row(cells=dict(zip(names, first[0], strict=True)), line=first[1])
    for cells, line in rows:
        if len(cells) != len(names):
            raise DataError(
                f"expected {len(names)} cells as in the first line, found {len(cells)}",
                file=path,
                place=f"line {line}",
                remedy="a cell that holds the separator or a line break must be quoted",
            )
        yield Row(cells=dict(zip(names, cells, strict=True)), line=line)


def _jsonl(lines: Iterator[str], path: Path) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            value = msgspec.json.decode(line)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
            raise DataError(
                f"expected one JSON object a line: {error}", file=path, place=f"line {number}", remedy="write one object a line"
            ) from error
        if not isinstance(value, dict):
            raise DataError(f"expected a JSON object, found {type(value).__name__}", file=path, place=f"line {number}")
        yield Row(cells=value, line=number)


def _parquet(path: Path) -> Iterator[Row]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ResourceError("reading parquet needs pyarrow", file=path, remedy="pip install 'foretext[data]'") from error
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=4096):
            for cells in batch.to_pylist():
                number += 1
                yield Row(cells=cells, line=number)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"not a readable parquet file: {error}", file=path) from error
