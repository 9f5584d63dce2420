"""A corpus: documents, paragraphs and sentences in order, streamed from files of any common kind.

`open_corpus` looks at the first 256 KiB of each file, decides how to read it, and says so (`FileCorpus.report`).
Nothing is held but one chunk of one file and one paragraph of at most `readers.LONGEST` characters.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from foretext.errors import DataError, UsageError
from foretext.text import unchanged
from foretext.text.excluding import ExcludingCorpus, excluding
from foretext.text.layout import Layout, detect
from foretext.text.lines import Block, blocks
from foretext.text.normalize import RULES, breaks, clean
from foretext.text.parquet import parquet, parquet_fields
from foretext.text.readers import Counts, Paragraph, plain_text
from foretext.text.records import Fields, NoTextField, json_fields, json_lines, table, table_fields
from foretext.text.sentences import split_sentences
from foretext.text.sources import Source, find
from foretext.text.strings import StringsCorpus, strings_corpus
from foretext.text.survey import Mark, Survey, Surveyor
from foretext.text.wikipedia import dump, extracted, is_dump, is_extracted
from foretext.types import JSON, Place, Sentence

__all__ = [
    "CorpusConfig",
    "ExcludingCorpus",
    "FileCorpus",
    "Report",
    "StringsCorpus",
    "excluding",
    "open_corpus",
    "strings_corpus",
]

Format: TypeAlias = Literal["text", "jsonl", "table", "parquet", "wikiextractor", "wikipedia dump"]

SAMPLE = 1 << 18
"""Bytes looked at to decide how to read a file."""

_ARCHIVES = {
    "a zip archive or an office document": (0, b"PK\x03\x04"),
    "a PDF document": (0, b"%PDF-"),
    "a tar archive": (257, b"ustar"),
    "a SQLite database": (0, b"SQLite format 3\x00"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusConfig:
    """How to read text.

    `documents`: what one document is in plain text files: the file, a line, a block between blank lines; "auto" decides
    a file. `sentences`: cut by the rules of the language, or "line": a line is a sentence, as tools write it that have
    cut them already; lines are then never joined. `encoding_errors`: refuse invalid UTF-8, or replace and count it.
    `language`: of the sentence rules; "auto" decides a paragraph. `text_field`: the column or field of records that holds
    the text; None finds it.
    """

    documents: Literal["auto", "file", "line", "blank"] = "auto"
    sentences: Literal["rules", "line"] = "rules"
    encoding_errors: Literal["strict", "replace"] = "strict"
    language: Literal["auto", "en", "zh"] = "auto"
    text_field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """One file and how it is read: `layout` of plain text, `fields` of records."""

    source: Source
    format: Format
    layout: Layout | None = None
    fields: Fields | None = None

    def paragraphs(self, config: CorpusConfig, counts: Counts, start: int = 0) -> Iterator[Paragraph]:
        """(starts a document, line, text) in order, from line `start` on, where a document starts."""
        errors = config.encoding_errors
        if self.format == "wikiextractor":
            return extracted(self.source, errors, counts, start)
        if self.format == "wikipedia dump":
            return dump(self.source, errors, counts, start)
        if self.layout is not None:
            return plain_text(self.source, self.layout, errors, counts, start)
        assert self.fields is not None
        read = {"jsonl": json_lines, "table": table, "parquet": parquet}[self.format]
        return read(self.source, self.fields, errors, counts, start)

    def described(self) -> str:
        """How the file is read, in words."""
        if self.layout is not None:
            unit = {
                "file": "the file is one document",
                "line": "a line is a document",
                "blank": "blank lines separate documents",
                "headings": "headings start documents",
            }[self.layout.documents]
            return f"text; {unit}{', lines joined' if self.layout.columns else ''} ({self.layout.why})"
        if self.fields is not None:
            return f"{self.format}; a record is a document, its text is {self.fields.text!r}"
        return self.format


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was read and how. `counts`: what was replaced, dropped, split or left out. `skipped`: files of a folder that
    are no text, with the reason."""

    files: tuple[CorpusFile, ...]
    documents: int
    paragraphs: int
    characters: int
    counts: Counts
    skipped: tuple[str, ...]

    def as_json(self) -> JSON:
        """The same, for programs."""
        return {
            "files": [{"file": file.source.name, "read as": file.described()} for file in self.files],
            "documents": self.documents,
            "paragraphs": self.paragraphs,
            "characters": self.characters,
            **asdict(self.counts),
            "skipped": list(self.skipped),
        }

    def text(self, most: int = 10) -> str:
        """For people; files that are read alike on one line, at most `most` lines."""
        alike: dict[str, list[str]] = {}
        for file in self.files:
            alike.setdefault(file.described(), []).append(file.source.name)
        rows = [
            f"{names[0]}{f' and {len(names) - 1:,} more' if len(names) > 1 else ''}: {described}"
            for described, names in list(alike.items())[:most]
        ]
        if len(alike) > most:
            rows.append(f"… and {sum(map(len, list(alike.values())[most:])):,} more files, read in other ways")
        rows.append(f"{self.documents:,} documents, {self.paragraphs:,} paragraphs, {self.characters:,} characters")
        labels = {
            "replaced": "invalid byte sequences replaced by U+FFFD",
            "dropped": "control characters dropped",
            "split": "cuts in paragraphs that were too long",
            "empty": "records without text",
            "redirects": "redirects and pages outside the main namespace left out",
        }
        rows += [f"{count:,} {labels[name]}" for name, count in asdict(self.counts).items() if count]
        rows += [f"skipped {name}" for name in self.skipped[:most]]
        return "\n".join(rows)


class FileCorpus:
    """The corpus in some files (see `types.Corpus`). It may be pickled, also to another process."""

    def __init__(self, files: Sequence[CorpusFile], config: CorpusConfig, skipped: Sequence[str] = ()) -> None:
        self.files = tuple(files)
        self.config = config
        self.skipped = tuple(skipped)

    @cached_property
    def key(self) -> str:
        """Fingerprint of the files' bytes as stored, how each is read, and the configuration; names do not count."""
        whole = hashlib.blake2b(digest_size=16)
        config = {name: value for name, value in asdict(self.config).items() if (name, value) != ("sentences", "rules")}
        whole.update(msgspec.json.encode([RULES, config]))  # without what is no setting: keys from before stay
        for file, seen in zip(self.files, self._seen, strict=True):
            layout = file.layout and [file.layout.documents, file.layout.columns]
            whole.update(msgspec.json.encode([file.format, layout, file.fields and asdict(file.fields), seen.digest]))
        return whole.hexdigest()

    @cached_property
    def _seen(self) -> list[unchanged.Seen]:
        return [unchanged.read(file.source) for file in self.files]

    def require_unchanged(self) -> None:
        """DataError naming the first file whose bytes are not those that `key` speaks of. Files are read once more only
        where their stamp does not tell (see `unchanged`)."""
        for number, (file, before) in enumerate(zip(self.files, self._seen, strict=True)):
            now = unchanged.look_again(file.source, before)
            if now.digest != before.digest:
                raise DataError(
                    "the file changed while it was read", file=file.source.name, remedy="start again when it is whole"
                )
            self._seen[number] = now

    @property
    def size(self) -> int:
        """Bytes as stored: what decides whether work on it is worth several processes."""
        return sum(file.source.size() for file in self.files)

    def sentences(self, shard: int = 0, of: int = 1) -> Iterator[Sentence]:
        """Sentences in order. Shards are whole documents of about equal size and concatenate to the corpus; the first
        use of `of` > 1 reads the files once more, to count. No text at all is a DataError."""
        assert 0 <= shard < of, (shard, of)
        if of == 1:
            yield from self._sentences(None, None)
            return
        marks = self._survey.marks
        sizes = [mark.characters for mark in marks]
        total = self._survey.characters
        first, last = (bisect_left(sizes, total * at // of) for at in (shard, shard + 1))
        if first < last:
            yield from self._sentences(marks[first], marks[last] if last < len(marks) else None)

    def _sentences(self, begin: Mark | None, end: Mark | None) -> Iterator[Sentence]:
        language, rules = self.config.language, self.config.sentences == "rules"
        surveyor = None if begin or end or "_survey" in self.__dict__ else Surveyor()
        found = self._surveyed(surveyor) if surveyor else self._paragraphs(begin, end, Counts())
        for file, document, paragraph, line, string in found:
            place = Place(file=self.files[file].source.name, line=line)
            for sentence in split_sentences(string, language) if rules else (string,):
                yield Sentence(string=sentence, document=document, paragraph=paragraph, place=place)
        if surveyor:
            self.__dict__["_survey"] = surveyor.survey()  # a whole pass has counted all there is

    def blocks(self) -> Iterator[Block] | None:
        """The whole corpus in blocks of clean lines where each line is a sentence of plain text; else None."""
        layouts = [file.layout for file in self.files]
        if self.config.sentences != "line" or not all(layout and layout.documents != "headings" for layout in layouts):
            return None
        return self._blocks()

    def _blocks(self) -> Iterator[Block]:
        empty = True
        for file in self.files:
            assert file.layout is not None
            for block in blocks(file.source, file.layout.documents, self.config.encoding_errors):
                empty = empty and not block.text.strip()
                yield block
        if empty:
            raise _empty(self.files)

    def _paragraphs(
        self, begin: Mark | None, end: Mark | None, counts: Counts
    ) -> Iterator[tuple[int, int, int, int, str]]:
        """(file, document, paragraph, line, text) from document `begin` up to, not including, document `end`."""
        start, at = (begin.file, begin.line) if begin else (0, 0)
        document, paragraph = (begin.document - 1, begin.paragraph - 1) if begin else (-1, -1)
        for number in range(start, len(self.files)):
            for first, line, string in self.files[number].paragraphs(self.config, counts, at if number == start else 0):
                document += first
                paragraph += 1
                if end is not None and document >= end.document:
                    return
                yield number, document, paragraph, line, string
        if document < 0:
            raise _empty(self.files)

    @cached_property
    def _survey(self) -> Survey:
        """One pass over everything, without sentences: counts, and where shards may start."""
        surveyor = Surveyor()
        for _ in self._surveyed(surveyor):
            pass
        return surveyor.survey()

    def _surveyed(self, surveyor: "Surveyor") -> Iterator[tuple[int, int, int, int, str]]:
        for found in self._paragraphs(None, None, surveyor.counts):
            surveyor.add(*found)
            yield found

    def report(self) -> Report:
        """How each file is read, and what a whole pass counted (made once, then remembered)."""
        survey = self._survey
        return Report(
            files=self.files,
            documents=survey.documents,
            paragraphs=survey.paragraphs,
            characters=survey.characters,
            counts=replace(survey.counts),
            skipped=self.skipped,
        )


def _empty(files: Sequence[CorpusFile]) -> DataError:
    name = files[0].source.name if len(files) == 1 else f"{files[0].source.name} and {len(files) - 1} more"
    return DataError("expected text, found only white space or nothing", file=name, remedy="give a corpus with text")


def open_corpus(sources: str | Path | Sequence[str | Path], config: CorpusConfig = CorpusConfig()) -> FileCorpus:
    """The corpus in files, folders, globs, URLs (`scheme://…`, fsspec) or standard input ("-").

    Raises UsageError for what does not exist, DataError for what cannot be read as text.
    """
    sources = [sources] if isinstance(sources, str | Path) else sources
    if not sources:
        raise UsageError("no corpus given", remedy="name a file, a folder, or - for standard input")
    found, refused = find(sources)
    skipped = [f"{name} (no text file by its name)" for name in refused]
    plain = [source for source in found if source.suffix in ("", ".txt", ".text")]
    mean = sum(source.size() for source in plain) // max(1, len(plain))
    files: list[CorpusFile] = []
    for source in found:
        try:
            files.append(_look(source, config, len(plain), mean))
        except NoTextField as error:
            if not source.inside or len(found) == 1:
                raise
            skipped.append(f"{source.name} ({error.rule})")
    if not files:
        raise DataError(
            f"no text found ({len(skipped)} files left out)" if skipped else "expected text files, found none",
            file=str(sources[0]),
            remedy="known: .txt .jsonl .csv .tsv .parquet .xml, each also .gz .bz2 .xz .zst",
        )
    return FileCorpus(files, config, skipped)


def _refuse_archives(source: Source, data: bytes) -> None:
    kind = next((name for name, (at, mark) in _ARCHIVES.items() if data[at : at + len(mark)] == mark), None)
    if kind:
        raise DataError(f"expected text, found {kind}", file=source.name, remedy="take the text out of it first")


def _look(source: Source, config: CorpusConfig, plain: int, mean: int) -> CorpusFile:
    """Decide how to read one file, by its name and its first bytes."""
    if source.suffix == ".parquet":
        return CorpusFile(source=source, format="parquet", fields=parquet_fields(source, config.text_field))
    data, whole = source.sample(SAMPLE)
    _refuse_archives(source, data)
    sample = clean(data.decode("utf-8", "ignore" if not whole else "replace"))
    if is_extracted(sample):
        return CorpusFile(source=source, format="wikiextractor")
    if is_dump(sample):
        return CorpusFile(source=source, format="wikipedia dump")
    if source.suffix.startswith(".xml"):
        raise DataError(
            f"expected a MediaWiki dump, found {sample.strip()[:40]!r}",
            file=source.name,
            remedy="take the text out of other XML first",
        )
    if source.suffix in (".jsonl", ".ndjson", ".json"):
        return CorpusFile(source=source, format="jsonl", fields=json_fields(source, sample, config.text_field))
    if source.suffix in (".csv", ".tsv"):
        fields = table_fields(source, sample, whole, config.text_field)
        return CorpusFile(source=source, format="table", fields=fields)
    if source.name == "<standard input>" and sample.lstrip().startswith('{"'):
        return CorpusFile(source=source, format="jsonl", fields=json_fields(source, sample, config.text_field))
    layout = detect(breaks(sample), whole=whole, files=plain, mean_bytes=mean)
    if config.documents != "auto":
        columns = 0 if config.documents == "line" else layout.columns
        layout = Layout(documents=config.documents, columns=columns, why="as asked")
    if config.sentences == "line" and layout.columns:
        layout = replace(layout, columns=0)
    return CorpusFile(source=source, format="text", layout=layout)
