"""Files of records: JSON lines, csv and tsv (`parquet` has a module of its own). A record is a document; its text is one field.

The field is `text_field`, else "text", else the only field that holds strings, else the one that holds by far the
longest; the choice is reported.
"""

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from foretext.errors import DataError, unknown
from foretext.text.layout import wrapping
from foretext.text.normalize import breaks, clean, surrogates, without_surrogates
from foretext.text.readers import Counts, Errors, Paragraph, decoded, field_paragraphs, from_line
from foretext.text.sources import Source

MOST = 1 << 26
"""Characters of one record (64 M). A record is the one thing that must be held whole."""

_NUMBER = re.compile(r"[-+]?[\d.,]+([eE][-+]?\d+)?%?")
_NAME = re.compile(r"[\w .\-/#]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """How a file of records is read: `text`, its field's name (or "column 3"); `column`, its number in a table;
    `header`, whether a table's first row holds names; `delimiter` and `quoted`, a table's dialect; `columns_wide`,
    the width that the field's lines were broken to fit (0: they were not)."""

    text: str
    column: int = 0
    columns: int = 0
    header: bool = True
    delimiter: str = ","
    quoted: bool = True
    columns_wide: int = 0


class NoTextField(DataError):
    """No field is the text's, or several could be."""


# ── choosing the field ────────────────────────────────────────────────────────────────────────────────────────────────


def choose(samples: dict[str, list[str]], wanted: str | None, source: Source) -> str:
    """The name of the text field, from some records' string values a field. DataError where several would do."""
    if wanted is not None:
        if wanted not in samples:
            error = unknown("text field", wanted, samples, file=source.name)
            raise DataError(error.rule, file=source.name, remedy=error.remedy)
        return wanted
    by_lower = {name.lower(): name for name in reversed(samples)}
    if "text" in by_lower:
        return by_lower["text"]
    strings = {
        name: sum(map(len, values)) / len(values)
        for name, values in samples.items()
        if values and not all(_NUMBER.fullmatch(value.strip()) for value in values if value.strip())
    }
    ranked = sorted(strings, key=strings.__getitem__, reverse=True)
    if len(ranked) == 1:
        return ranked[0]
    if len(ranked) > 1 and strings[ranked[0]] >= max(20.0, 4 * strings[ranked[1]]):
        return ranked[0]
    found = f"several could be: {', '.join(sorted(ranked))}" if ranked else f"only {', '.join(samples) or 'nothing'}"
    raise NoTextField(
        f"expected a field named 'text' or one field of text, found {found}",
        file=source.name,
        remedy="name it with --text-field",
    )


def columns_wide(values: Sequence[str]) -> int:
    """The width that these texts' lines were broken to fit (0: they were not)."""
    return wrapping([row for value in values for row in [*breaks(value).split("\n"), ""]])[0]


# ── JSON lines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def json_fields(source: Source, sample: str, wanted: str | None) -> Fields:
    """Choose the field from the sample's whole lines."""
    samples: dict[str, list[str]] = {}
    rows = sample.split("\n")
    for number, row in enumerate(rows[:200], 1):
        if not row.strip():
            continue
        if number == len(rows) and number > 1:
            break  # may be cut short
        try:
            record = _record(source, number, row)
        except DataError:
            if number > 1 or (len(rows) == 1 and row.lstrip().startswith("{")):
                break  # reading will name the line; one very long first line is simply not sampled whole
            raise
        for name, value in record.items():
            text = _as_text(value)
            samples.setdefault(name, [])
            if text is not None:
                samples[name].append(text)
    if not samples and wanted is None:
        return Fields(text="text")
    text = wanted if not samples and wanted else choose(samples, wanted, source)
    return Fields(text=text, columns_wide=columns_wide(samples.get(text, [])))


def json_lines(source: Source, fields: Fields, errors: Errors, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
    """One JSON object a line, from line `start` on; the text field is a string, a list of
    strings (paragraphs), or null (no text)."""
    for number, row in _whole_lines(source, errors, counts, start):
        if not row.strip():
            continue
        record = _record(source, number, row)
        value = record.get(fields.text)
        text = _as_text(value)
        if (text is None and value is not None) or fields.text not in record:
            found = type(value).__name__ if fields.text in record else f"only {', '.join(record) or 'no field'}"
            raise DataError(
                f"expected a string field {fields.text!r}, found {found}",
                file=source.name,
                place=f"line {number}",
                remedy="name the field with --text-field",
            )
        text = text or ""
        cleaned = clean(text)  # escapes such as \\u0000 are characters only now
        counts.dropped += len(text.replace("\r\n", "\n")) - len(cleaned)
        yield from document(_sound(cleaned, source, number, errors, counts), number, fields, counts)


def _whole_lines(source: Source, errors: Errors, counts: Counts, start: int) -> Iterator[tuple[int, str]]:
    """Lines of a file of records from line `start` on, whole, at most `MOST` characters."""
    number, parts, held = max(1, start), [""], 0
    for chunk in from_line(decoded(source, errors, counts), start):
        pieces = chunk.split("\n")
        for index, piece in enumerate(pieces):
            if index:
                yield number, "".join(parts)
                number, parts, held = number + 1, [], 0
            parts.append(piece)
            held += len(piece)
        if held > MOST:
            raise _too_long(source, number)
    if held:
        yield number, "".join(parts)


def _too_long(source: Source, number: int) -> DataError:
    return DataError(
        f"a record is longer than {MOST:,} characters",
        file=source.name,
        place=f"line {number}",
        remedy="a quote that is never closed? else write such text as a .txt file, which may be of any length",
    )


def _as_text(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        return "\n".join(value)
    return None


def _sound(text: str, source: Source, number: int, errors: Errors, counts: Counts) -> str:
    found = surrogates(text)
    if not found:
        return text
    if errors == "strict":
        raise DataError(
            "expected Unicode text, found half of a surrogate pair (such as \\ud83d without its second half)",
            file=source.name,
            place=f"line {number}",
            remedy="write the file again, or pass --encoding-errors replace",
        )
    counts.replaced += found
    return without_surrogates(text)


def _record(source: Source, number: int, row: str) -> dict[str, Any]:
    """One line's object. Python's own parser has the last word: it takes NaN, and escapes of lone surrogates."""
    try:
        record = msgspec.json.decode(row)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        try:
            record = json.loads(row)
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"expected one JSON object a line, found {row.strip()[:40]!r} ({error})",
                file=source.name,
                place=f"line {number}",
                remedy="write each record on one line (jq -c)",
            ) from error
    if isinstance(record, dict):
        return record
    raise DataError(
        f"expected one JSON object a line, found a {type(record).__name__}",
        file=source.name,
        place=f"line {number}",
        remedy='write {"text": "…"} on each line (jq -c ".[]" takes a list apart)',
    )


def document(text: str, number: int, fields: Fields, counts: Counts) -> Iterator[Paragraph]:
    """One record's paragraphs; a record without text is counted."""
    empty = True
    for paragraph in field_paragraphs(text, number, fields.columns_wide, counts):
        empty = False
        yield paragraph
    counts.empty += empty


# ── csv and tsv ───────────────────────────────────────────────────────────────────────────────────────────────────────


def table_fields(source: Source, sample: str, whole: bool, wanted: str | None) -> Fields:
    """Dialect, header and text column from the sample."""
    rows = [row for row in sample.split("\n") if row.strip()]
    rows = rows if whole or len(rows) < 3 else rows[:-1]
    if not rows:
        return Fields(text=wanted or "text")
    delimiter = _delimiter(source, rows)
    quoted = not (delimiter == "\t" and len(rows) > 1 and len({row.count("\t") for row in rows}) == 1)
    records = list(csv.reader((row + "\n" for row in rows[:500]), delimiter=delimiter, quoting=_quoting(quoted)))
    records = [record for record in records if record]
    if len(records) > 2 and not whole and quoted:
        records = records[:-1]  # it may be cut inside quotes
    first = records[0] if records else []
    header = len(records) > 1 and _is_header(first, wanted)
    names = [name.strip() for name in first] if header else [f"column {n}" for n in range(1, len(first) + 1)]
    body = records[1:] if header else records
    samples = {name: [row[at] for row in body if len(row) == len(names)] for at, name in enumerate(names)}
    text = choose(samples, wanted, source)
    return Fields(
        text=text,
        column=names.index(text),
        columns=len(names),
        header=header,
        delimiter=delimiter,
        quoted=quoted,
        columns_wide=columns_wide(samples[text]),
    )


def _delimiter(source: Source, rows: list[str]) -> str:
    if source.suffix == ".tsv":
        return "\t"
    first = rows[0] if rows else ""
    return max(",;\t|", key=first.count) if any(mark in first for mark in ",;\t|") else ","


def _quoting(quoted: bool) -> Any:
    return csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE


def _is_header(first: Sequence[str], wanted: str | None) -> bool:
    names = [name.strip() for name in first]
    if wanted in names or "text" in (name.lower() for name in names):
        return True
    if len(set(names)) < len(names):
        return False
    longest = 20 if len(names) == 1 else 40
    return all(_NAME.fullmatch(name) and not _NUMBER.fullmatch(name) and len(name) <= longest for name in names)


def table(source: Source, fields: Fields, errors: Errors, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
    """A row is a document; from line `start` on, where a row starts. A row with more or fewer cells than the first is a DataError that names its line."""
    csv.field_size_limit(MOST)
    first = max(1, start)
    start = first
    stream = (row + "\n" for _, row in _whole_lines(source, errors, counts, start))
    reader = csv.reader(stream, delimiter=fields.delimiter, quoting=_quoting(fields.quoted), strict=True)
    try:
        for row in reader:
            line, start = start, reader.line_num + first
            if not row or (fields.header and line == 1):
                continue
            if len(row) != fields.columns:
                raise DataError(
                    f"expected {fields.columns} cells as in the first row, found {len(row)}",
                    file=source.name,
                    place=f"line {line}",
                    remedy='put cells that hold the delimiter, quotes or line ends between quotes ("…")',
                )
            cell = row[fields.column]
            yield from document(cell if fields.quoted else _unquoted(cell), line, fields, counts)
    except csv.Error as error:
        raise DataError(
            f"expected a {'tab' if fields.delimiter == chr(9) else repr(fields.delimiter)}-separated table ({error})",
            file=source.name,
            place=f"line {start}",
            remedy='a quote that is never closed? write a quote inside quotes twice ("")',
        ) from error


def _unquoted(cell: str) -> str:
    """A cell that was written with quotes after all: "…" with every inner quote doubled."""
    inner = cell[1:-1]
    if len(cell) >= 2 and cell[0] == cell[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return cell
