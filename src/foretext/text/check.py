"""`foretext check`: is this text fit to train on? Each finding says where, which rule, and what to do about it.

One pass in bounded memory. A fatal finding means that training on the corpus as it is would go wrong (exit 3);
a warning, that it would go worse than it must. The thresholds are `_RULES` below, in one place.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, TypeAlias

from foretext.errors import DataError
from foretext.text.corpus import CorpusConfig, FileCorpus, Report, open_corpus
from foretext.text.duplicates import Deduplicated, Duplicates, dedupe
from foretext.text.measures import Damage, Lengths, Sighting, Vocabulary, add_scripts
from foretext.text.readers import LONGEST, Counts, decoded
from foretext.types import JSON, Corpus, Place

__all__ = ["Deduplicated", "Finding", "Findings", "dedupe", "examine", "invalid_files"]

Severity: TypeAlias = Literal["info", "warning", "fatal"]
Progress: TypeAlias = Callable[[int, int], None]

CLOSELY = 50_000_000
"""Characters whose words are counted one by one; beyond, one document in ten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong or worth knowing. `place`: the first one; `count`: how many there are."""

    severity: Severity
    rule: str
    cure: str = ""
    place: Place | None = None
    count: int = 0
    others: tuple[Place, ...] = ()
    """a few more places"""

    def as_json(self) -> JSON:
        """The same, for programs."""
        file, line = (self.place.file, self.place.line) if self.place else ("", 0)
        return {
            "severity": self.severity,
            "file": file,
            "line": line,
            "rule": self.rule,
            "cure": self.cure,
            "count": self.count,
            "others": [str(place) for place in self.others],
        }

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        others = f" (then {', '.join(map(str, self.others))})" if self.others else ""
        return f"{self.severity}: {where}{self.rule}{others}{f'; {self.cure}' if self.cure else ''}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """The doctor's letter: how the files were read, the figures, and what was found, worst first."""

    figures: JSON
    findings: tuple[Finding, ...]
    report: Report | None = None

    @property
    def fatal(self) -> bool:
        """Whether training on this text would be wrong (exit 3)."""
        return any(finding.severity == "fatal" for finding in self.findings)

    def as_json(self) -> JSON:
        """For programs: figures, findings, and how each file was read."""
        return {
            "fatal": self.fatal,
            "figures": self.figures,
            "findings": [finding.as_json() for finding in self.findings],
            "read": self.report.as_json() if self.report else None,
        }

    def text(self) -> str:
        """For people."""
        rows = [self.report.text(), ""] if self.report else []
        rows += [f"{name:<22}{_shown(value)}" for name, value in self.figures.items()]
        rows += ["", *map(str, self.findings)] if self.findings else ["", "nothing found that stands against training"]
        return "\n".join(rows)


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name.replace('_', ' ')} {_shown(part)}" for name, part in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.1%}" if value <= 1 else f"{value:,.1f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def examine(
    corpus: Corpus | Sequence[str | Path],
    config: CorpusConfig = CorpusConfig(),
    *,
    near: bool = True,
    closely: int = CLOSELY,
    progress: Progress | None = None,
) -> Findings:
    """Read the whole corpus once and say what was found.

    `corpus`: one that is open, or sources for `open_corpus` with `config`. A file that cannot be read as text is a
    fatal finding; invalid UTF-8 is named file by file, and the rest is examined as if it were replaced. `near`: look
    for near duplicates too. `closely`: characters after which only one document in ten has its words counted.
    `progress` is called with (documents, characters) so far. Raises UsageError for sources that do not exist.
    """
    try:
        opened: Corpus = open_corpus(corpus, config) if isinstance(corpus, Sequence) else corpus
    except DataError as error:
        return _unreadable([_from_error(error)])
    broken: list[Finding] = []
    while True:
        examination = _Examination(near, closely, progress)
        try:
            examination.read(opened)
            break
        except DataError as error:
            if not isinstance(opened, FileCorpus) or opened.config.encoding_errors == "replace":
                return _unreadable([*broken, _from_error(error)])
            broken = invalid_files(opened)
            if not broken:
                return _unreadable([_from_error(error)])
            opened = FileCorpus(opened.files, replace(opened.config, encoding_errors="replace"), opened.skipped)
    report = opened.report() if isinstance(opened, FileCorpus) else None
    findings = [*broken, *examination.findings(report)]
    order = ("fatal", "warning", "info")
    findings.sort(key=lambda finding: order.index(finding.severity))
    return Findings(figures=examination.figures(), findings=tuple(findings), report=report)


def _unreadable(findings: list[Finding]) -> Findings:
    return Findings(figures={}, findings=tuple(dict.fromkeys(findings)))


def _from_error(error: DataError) -> Finding:
    place = Place(file=error.file) if error.file else None
    rule = f"{error.place}: {error.rule}" if error.place else error.rule
    line = error.place.removeprefix("line ")
    if place and line != error.place and line.isdigit():
        place, rule = Place(file=place.file, line=int(line)), error.rule
    return Finding(severity="fatal", rule=rule, cure=error.remedy, place=place, count=1)


def invalid_files(corpus: FileCorpus, most: int = 20) -> list[Finding]:
    """A fatal finding for each file that is no UTF-8 or is damaged, up to `most`; decodes everything once."""
    findings: list[Finding] = []
    for file in corpus.files:
        if file.format == "parquet":
            continue
        try:
            for _ in decoded(file.source, "strict", Counts()):
                pass
        except DataError as error:
            findings.append(_from_error(error))
            if len(findings) == most:
                break
    return findings


class _Examination:
    """The figures of one pass."""

    def __init__(self, near: bool, closely: int, progress: Progress | None) -> None:
        self._closely, self._progress = closely, progress
        self._copies = Duplicates(near=near)
        self._exact, self._near = Sighting(), Sighting()
        self._vocabulary, self._damage = Vocabulary(), Damage()
        self._document_words, self._document_sentences, self._sentence_words = Lengths(), Lengths(), Lengths()
        self._letters: Counter[str] = Counter()
        self._characters = self._paragraphs = self._sentences = self._copied = 0
        self._sampled = False
        self._first: Place | None = None

    def read(self, corpus: Corpus) -> None:
        """The pass."""
        for number, sentences in groupby(corpus.sentences(), key=lambda sentence: sentence.document):
            self._sampled = self._characters > self._closely
            self._read_document(sentences, counted=not self._sampled or number % 10 == 0)
            if self._progress is not None and number % 256 == 0:
                self._progress(number + 1, self._characters)

    def _read_document(self, sentences: Any, *, counted: bool) -> None:
        fingerprint = self._copies.fingerprint()
        place: Place | None = None
        words = count = length = 0
        paragraph = -1
        for sentence in sentences:
            place = place or sentence.place
            self._paragraphs += sentence.paragraph != paragraph
            paragraph = sentence.paragraph
            count += 1
            length += len(sentence.string)
            fingerprint.update(sentence.string)
            self._damage.add(sentence)
            if counted:
                if self._sentences < 10_000 or count % 8 == 0:
                    add_scripts(sentence.string, self._letters)
                here = self._vocabulary.add(sentence.string)
                words += here
                self._sentence_words.numbers.append(here)
        assert place is not None
        self._first = self._first or place
        self._sentences += count
        self._characters += length
        self._document_sentences.numbers.append(count)
        if counted:
            self._document_words.numbers.append(words)
        copied = self._copies.seen(fingerprint, place)
        if copied is not None:
            first, exact = copied
            (self._exact if exact else self._near).add(place, f"a copy of {first}")
            self._copied += length

    def figures(self) -> JSON:
        """Plain numbers; shares are between 0 and 1."""
        letters = max(1, self._letters.total())
        vocabulary = self._vocabulary.figures()
        documents = self._copies.documents
        several = sum(count > 1 for count in self._document_sentences.numbers)
        return {
            "documents": documents,
            "paragraphs": self._paragraphs,
            "sentences": self._sentences,
            "tokens": self._vocabulary.tokens,
            "characters": self._characters,
            "words_a_document": self._document_words.figures(),
            "words_a_sentence": self._sentence_words.figures(),
            "vocabulary": vocabulary,
            "scripts": {
                name: count / letters for name, count in self._letters.most_common() if count >= 0.0005 * letters
            },
            "exact_duplicates": self._copies.exact,
            "near_duplicates": self._copies.near,
            "duplicates_complete": self._copies.complete,
            "several_sentences": several / max(1, documents),
            "sampled": self._sampled,
            "approximate": self._vocabulary.pruned > 0,
        }

    def findings(self, report: Report | None) -> list[Finding]:
        """What the figures mean."""
        found = [*self._reading(report), *self._damaged(report), *self._copies_found(), *self._shape()]
        return [finding for finding in found if finding is not None]

    def _reading(self, report: Report | None) -> list[Finding | None]:
        if report is None:
            return []
        counts = report.counts
        share = counts.dropped / max(1, self._characters)
        return [
            _finding(
                counts.dropped,
                "fatal" if share > 0.001 else "info",
                f"{counts.dropped:,} NUL and other control characters were dropped",
                "is this text? take binary files out" if share > 0.001 else "",
            ),
            _finding(
                counts.split,
                "warning",
                f"{counts.split:,} cuts were made in paragraphs longer than {LONGEST:,} characters",
                "put line ends between paragraphs, so that none is cut in its middle",
            ),
            _finding(counts.empty, "info", f"{counts.empty:,} records had no text and were left out", ""),
            _finding(len(report.skipped), "info", f"{len(report.skipped)} files of the folder were not read", ""),
        ]

    def _damaged(self, report: Report | None) -> list[Finding | None]:
        damage, sentences = self._damage, max(1, self._sentences)
        ours = 0 if report is None else report.counts.replaced  # marks that reading with errors replaced has made
        origin = f"of {ours:,} byte sequences that are no UTF-8, or lost by an earlier conversion" if ours else "characters that an earlier conversion lost"
        return [
            _seen(
                damage.mojibake,
                "fatal" if damage.mojibake.count > 0.01 * sentences else "warning",
                "sentences look as if read in a wrong encoding",
                "repair the files (ftfy.fix_text), or convert them again from their true encoding",
            ),
            _seen(
                damage.replaced,
                "fatal" if damage.replaced.count > 0.001 * self._characters else "warning",
                f"U+FFFD marks: {origin}",
                "convert the files again from their true encoding",
            ),
            _seen(
                damage.markup,
                "warning" if damage.markup.count > 0.001 * sentences else "info",
                "sentences hold HTML or XML markup",
                "take the markup out: it would be learned as language",
            ),
            _seen(
                damage.endless,
                "warning",
                "sentences are longer than 2,000 characters",
                "is this running text? sentences end in . ! ? or 。！？",
            ),
            _seen(
                damage.tables,
                "warning" if damage.tables.count > 0.1 * sentences else "info",
                "lines hold several tabs, as tables do",
                "name the file .tsv, so that only its text column is read",
            ),
        ]

    def _copies_found(self) -> list[Finding | None]:
        documents = max(1, self._copies.documents)
        copies = self._exact.count + self._near.count
        severity: Severity = "fatal" if copies > 0.5 * documents else "warning"
        cure = "write a clean corpus with --dedupe: copies are learned by heart and leak into held-out text"
        return [
            _seen(self._exact, severity, f"documents ({self._exact.count / documents:.1%}) are exact copies", cure),
            _seen(self._near, severity, f"documents ({self._near.count / documents:.1%}) are near copies", cure),
        ]

    def _shape(self) -> list[Finding | None]:
        documents, tokens = self._copies.documents, self._vocabulary.tokens
        several = sum(count > 1 for count in self._document_sentences.numbers)
        vocabulary = self._vocabulary.figures()
        longest = max(self._document_words.numbers, default=0)
        return [
            _finding(
                documents == 1,
                "warning",
                "the corpus is one document: no next-sentence pairs can be made, and what is held out is of the same text",
                "tell where documents end (--documents line or blank), or give several files",
                self._first,
            ),
            _finding(
                documents > 1 and several < 0.5 * documents,
                "warning",
                f"only {several:,} of {documents:,} documents have several sentences: few next-sentence pairs",
                "give longer documents, or use a recipe without next sentence",
                self._first,
            ),
            _finding(
                1 < documents < 100 and longest > 100_000,
                "info",
                f"few and long documents (the longest has {longest:,} tokens)",
                "if files hold several documents, separate them by blank lines (--documents blank)",
                self._first,
            ),
            _finding(
                tokens < 100_000 and not self._sampled,
                "warning",
                f"only {tokens:,} tokens: word vectors want a million, a small BERT ten",
                "add text, or continue from a pretrained folder (--from)",
            ),
            _finding(
                tokens > 1000 and vocabulary["seen_once"] > 0.2,
                "warning",
                f"{vocabulary['seen_once']:.0%} of tokens are words seen once (running text: 1 to 5 %)",
                "is this running text? codes, addresses and word lists teach little",
            ),
        ]


def _finding(count: int, severity: Severity, rule: str, cure: str, place: Place | None = None) -> Finding | None:
    return Finding(severity=severity, rule=rule, cure=cure, place=place, count=int(count)) if count else None


def _seen(sighting: Sighting, severity: Severity, what: str, cure: str) -> Finding | None:
    shown = f", first {sighting.example!r}" if sighting.example else ""
    found = _finding(sighting.count, severity, f"{sighting.count:,} {what}{shown}", cure, sighting.place)
    return found and replace(found, others=tuple(sighting.others))
