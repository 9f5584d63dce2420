"""The published sets that word vectors are measured on, and how their files are read.

Similarity: two words and people's judgement. Analogies: four words, "a is to b as c is to d", in sections. Categories:
words and their class. Outliers: eight words of a kind, and words that are not.
"""

import ast
import csv
import gzip
import lzma
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foretext.errors import DataError, no_file, unknown

Kind = Literal["similarity", "analogy", "categories", "outliers"]
_OPENERS = {".gz": gzip.decompress, ".xz": lzma.decompress}


@dataclass(frozen=True, slots=True, kw_only=True)
class WordSet:
    """A set by its name. `file`: below the data folder, or a path of the user's own; `source`: who made it."""

    name: str
    kind: Kind
    file: str
    source: str
    language: str = "en"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two words and the judgement of people, on the set's own scale."""

    first: str
    second: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`words`: a, b, c and the expected d. `section`: what relates them."""

    section: str
    words: tuple[str, str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """A class by its name. `outliers`: words that do not belong, where the set names some."""

    name: str
    words: tuple[str, ...]
    outliers: tuple[str, ...] = ()


def _similarity(name: str, file: str, source: str, language: str = "en") -> WordSet:
    return WordSet(name=name, kind="similarity", file=f"{language}/word-similarity/{file}", source=source, language=language)


SETS: tuple[WordSet, ...] = (
    _similarity("wordsim353", "EN-WS-353-ALL.txt", "Finkelstein et al. 2002"),
    _similarity("wordsim353-sim", "EN-WS-353-SIM.txt", "Agirre et al. 2009"),
    _similarity("wordsim353-rel", "EN-WS-353-REL.txt", "Agirre et al. 2009"),
    _similarity("simlex999", "EN-SIMLEX-999.txt", "Hill et al. 2015"),
    _similarity("men", "EN-MEN-TR-3k.txt", "Bruni et al. 2014"),
    _similarity("rw", "EN-RW-STANFORD.txt", "Luong et al. 2013"),
    _similarity("mturk287", "EN-MTurk-287.txt", "Radinsky et al. 2011"),
    _similarity("mturk771", "EN-MTurk-771.txt", "Halawi et al. 2012"),
    _similarity("rg65", "EN-RG-65.txt", "Rubenstein and Goodenough 1965"),
    _similarity("mc30", "EN-MC-30.txt", "Miller and Charles 1991"),
    _similarity("yp130", "EN-YP-130.txt", "Yang and Powers 2006"),
    _similarity("verb143", "EN-VERB-143.txt", "Baker et al. 2014"),
    _similarity("semeval2017", "semeval17-task2-en.csv", "Camacho-Collados et al. 2017"),
    _similarity("wordsim240", "240.txt.xz", "Chen et al. 2015 (CWE)", "zh"),
    _similarity("wordsim297", "297.txt.xz", "Chen et al. 2015 (CWE)", "zh"),
    WordSet(name="google", kind="analogy", file="en/analogy-google/questions-words.txt.gz", source="Mikolov et al. 2013a"),
    WordSet(
        name="google-phrases", kind="analogy", file="en/analogy-google/questions-phrases.txt.gz", source="Mikolov et al. 2013b"
    ),
    WordSet(
        name="semeval2012", kind="analogy", file="en/analogy-semeval2012/semeval2012.csv.xz",
        source="Jurgens et al. 2012, its pairs as questions",
    ),
    WordSet(
        name="ca8-morphological", kind="analogy", file="zh/word-analogy-ca8/morphological.txt.xz",
        source="Li et al. 2018", language="zh",
    ),
    WordSet(
        name="ca8-semantic", kind="analogy", file="zh/word-analogy-ca8/semantic.txt.xz", source="Li et al. 2018", language="zh"
    ),
    WordSet(
        name="cwe-analogies", kind="analogy", file="zh/word-analogy-cwe/analogy.txt.xz", source="Chen et al. 2015 (CWE)",
        language="zh",
    ),
    WordSet(name="ap", kind="categories", file="en/word-categorization/ap.csv", source="Almuhareb and Poesio 2005"),
    WordSet(name="bless", kind="categories", file="en/word-categorization/bless.csv", source="Baroni and Lenci 2011"),
    WordSet(name="battig", kind="categories", file="en/word-categorization/battig.csv.xz", source="Battig and Montague 1969"),
    WordSet(name="esslli2008", kind="categories", file="en/word-categorization/essli-2008.csv", source="ESSLLI 2008 workshop"),
    WordSet(
        name="outliers888", kind="outliers", file="en/word-categorization/outlier-8-8-8.csv",
        source="Camacho-Collados and Navigli 2016",
    ),
)
GROUPS = ("similarity", "analogy", "categories", "outliers", "en", "zh")


def chosen(names: Sequence[str]) -> list[WordSet]:
    """The sets called so: by name, by kind, by language ("en", "zh"), or a file of one's own; all sets for no name.
    UsageError for anything else."""
    if not names:
        return list(SETS)
    found: dict[str, WordSet] = {}
    for name in names:
        fitting = [one for one in SETS if name in (one.name, one.kind, one.language)]
        if not fitting and Path(name).is_file():
            fitting = [_own(Path(name))]
        if not fitting:
            raise unknown("word set", name, [*GROUPS, *(one.name for one in SETS)])
        found.update({one.name: one for one in fitting})
    return list(found.values())


def _own(file: Path) -> WordSet:
    """A file of the user's: analogies where a line has four words or opens a section, else pairs."""
    first = next((line for _, line in _lines(file)), "")
    if not first:
        raise DataError("expected pairs of words or questions, found nothing", file=file, remedy='write "word word score" lines')
    kind: Kind = "analogy" if first.startswith(":") or len(first.split()) == 4 else "similarity"
    return WordSet(name=str(file), kind=kind, file=str(file), source="your own file", language="")


# ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def read_pairs(file: Path) -> list[Pair]:
    """Lines "word word score", between tabs or, without any, spaces; or a table with the columns word1, word2, similarity.
    DataError with the line otherwise."""
    if ".csv" in file.suffixes:
        given = [(number, (row["word1"], row["word2"], row["similarity"])) for number, row in _rows(file, ("word1", "word2", "similarity"))]
    else:
        given = []
        for number, line in _lines(file):
            parts = [part.strip() for part in (line.split("\t") if line.count("\t") > 1 else line.split())]
            if len(parts) != 3:
                raise DataError(f"expected two words and a score, found {line[:60]!r}", file=file, place=f"line {number}")
            given.append((number, (parts[0], parts[1], parts[2])))
    pairs = []
    for number, (first, second, score) in given:
        try:
            pairs.append(Pair(first=first, second=second, score=_finite(score)))
        except ValueError:
            raise DataError(f"expected a score, found {score!r}", file=file, place=f"line {number}") from None
    return pairs


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def read_questions(file: Path) -> list[Question]:
    """Lines of four words, under ": section" lines; or a table with the columns type, word1, word2, word3, target.
    DataError with the line otherwise."""
    if ".csv" in file.suffixes:
        columns = ("type", "word1", "word2", "word3", "target")
        rows = [[row[name] for name in columns] for _, row in _rows(file, columns)]
        return [Question(section=kind, words=(a, b, c, d)) for kind, a, b, c, d in rows]
    section, questions = "", []
    for number, line in _lines(file):
        if line.startswith(":"):
            section = line[1:].strip()
            continue
        parts = line.split()
        if len(parts) != 4:
            raise DataError(f"expected four words, found {line[:60]!r}", file=file, place=f"line {number}")
        questions.append(Question(section=section, words=(parts[0], parts[1], parts[2], parts[3])))
    return questions


def read_groups(file: Path) -> list[Group]:
    """A table with the columns category and word, a word a line; or category, outliers and words, as lists in Python's
    notation. Classes in the file's order."""
    rows = list(_rows(file, ("category",)))
    if rows and "outliers" in rows[0][1]:
        return [
            Group(name=row["category"], words=_listed(row["words"], file, n), outliers=_listed(row["outliers"], file, n))
            for n, row in rows
        ]
    classes: dict[str, list[str]] = {}
    for number, row in rows:
        if "word" not in row:
            raise DataError("expected the column word", file=file, place=f"line {number}")
        if row["word"]:  # a class may open with a row of its own
            classes.setdefault(row["category"], []).append(row["word"])
    return [Group(name=name, words=tuple(words)) for name, words in classes.items()]


def _listed(text: str, file: Path, number: int) -> tuple[str, ...]:
    try:
        return tuple(str(word) for word in ast.literal_eval(text) if word)
    except (ValueError, SyntaxError, TypeError) as error:
        raise DataError(f"expected a list of words, found {text[:40]!r}", file=file, place=f"line {number}") from error


def _lines(file: Path) -> list[tuple[int, str]]:
    """(number, line) of the lines that hold anything."""
    lines = _text(file).splitlines()
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _rows(file: Path, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    reader = csv.DictReader(_text(file).splitlines(), restval="")
    rows = [(number, {name: value.strip() for name, value in row.items() if name}) for number, row in enumerate(reader, start=2)]
    absent = [name for name in columns if name not in (reader.fieldnames or ())]
    if absent:
        raise DataError(f"expected the columns {', '.join(columns)}; {absent[0]} is not there", file=file, place="line 1")
    return rows


def _text(file: Path) -> str:
    if not file.is_file():
        raise no_file(file)
    try:
        data = file.read_bytes()
        return _OPENERS.get(file.suffix, bytes)(data).decode("utf-8-sig")
    except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
        raise DataError(f"cannot be read: {error}", file=file) from error
