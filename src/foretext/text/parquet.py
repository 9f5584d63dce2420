"""Parquet files: a row is a document, its text one string column. Needs pyarrow (the extra `data`)."""

from collections.abc import Iterator, Sequence
from typing import Any

from foretext.errors import DataError, ResourceError
from foretext.text.normalize import clean
from foretext.text.readers import Counts, Errors, Paragraph
from foretext.text.records import Fields, choose, columns_wide, document
from foretext.text.sources import Source


def parquet_fields(source: Source, wanted: str | None) -> Fields:
    """Choose the column from the schema, and from the first rows where several hold strings."""
    names = _string_columns(source)
    samples: dict[str, list[str]] = {name: [] for name in names}
    batch: Any = next(_batches(source, names, 100), None)
    for name in names if batch is not None else []:
        values = batch.column(name).to_pylist()
        samples[name] = [value.decode("utf-8", "replace") for value in values if value]
    text = choose(samples, wanted, source)
    return Fields(text=text, columns_wide=columns_wide(samples[text]))


def parquet(source: Source, fields: Fields, errors: Errors, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
    """A row is a document, from row `start` on; its place is the row's number from 1."""
    row = 0
    for batch in _batches(source, [fields.text], 256):
        for value in batch.column(0).to_pylist():
            row += 1
            if row < start:
                continue
            yield from document(_text(value or b"", source, row, errors, counts), row, fields, counts)


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ResourceError(
            "reading parquet needs pyarrow, which is not installed", remedy="pip install 'foretext[data]'"
        ) from error
    return pyarrow


def _string_columns(source: Source) -> list[str]:
    arrow = _arrow()
    kinds = arrow.types
    with source.raw() as stream:
        try:
            schema = arrow.parquet.ParquetFile(stream).schema_arrow
            return [field.name for field in schema if kinds.is_string(field.type) or kinds.is_large_string(field.type)]
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise _damaged(source, error) from error


def _batches(source: Source, columns: Sequence[str], size: int) -> Iterator[Any]:
    """Record batches of `columns` as bytes, so that we and not pyarrow decode them. Damage is a DataError."""
    arrow = _arrow()
    with source.raw() as stream:
        try:
            file = arrow.parquet.ParquetFile(stream)
            binary = arrow.schema([(name, arrow.large_binary()) for name in columns])
            for batch in file.iter_batches(batch_size=size, columns=list(columns)):
                arrays = [batch.column(name).cast(arrow.large_binary()) for name in columns]
                yield arrow.RecordBatch.from_arrays(arrays, schema=binary)
        except (arrow.ArrowException, OSError, ValueError) as error:
            raise _damaged(source, error) from error


def _damaged(source: Source, error: Exception) -> DataError:
    return DataError(f"damaged, or no parquet file ({error})", file=source.name, remedy="write or fetch the file again")


def _text(value: bytes, source: Source, row: int, errors: Errors, counts: Counts) -> str:
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError as error:
        if errors == "strict":
            raise DataError(
                f"expected UTF-8, found byte {error.start} of the field invalid ({error.reason})",
                file=source.name,
                place=f"row {row}",
                remedy="write the file again, or pass --encoding-errors replace",
            ) from error
        text = value.decode("utf-8", "replace")
        counts.replaced += text.count("\ufffd") - value.count(b"\xef\xbf\xbd")
    cleaned = clean(text)
    counts.dropped += len(text.replace("\r\n", "\n")) - len(cleaned)
    return cleaned
