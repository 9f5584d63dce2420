"""`evaluate-vectors`: word vectors against the published word sets, each figure with its coverage and interval.

The rules, which decide the figures as much as the vectors do:

- A pair or question counts when the model has a vector for each of its words ("kept"); the share kept stands beside the
  score, and for analogies the score with the others counted as wrong.
- Similarity: Spearman's correlation of cosines with people's scores, ties at their mean rank.
- Analogies: the best word but for the question's own three (word2vec's `compute-accuracy`, Mikolov et al. 2013a), exact;
  all four words must be entries of the vocabulary. Case is ignored. `most` restricts both questions and answers to the
  most frequent entries, as is usual (30,000 in word2vec's script), which makes the figures better and the kept share less.
- Categories: k-means of unit vectors, as many clusters as classes; purity (Manning, Raghavan and Schütze 2008, section 16.3).
- Outliers: found where the outlier is the word least similar to the others (Camacho-Collados and Navigli 2016, section 2).
- Intervals are percentile bootstraps at 95 %: over pairs; over the questions' first pairs (a, b), since the questions
  that share one stand or fall together; over classes or groups.

V vocabulary · D width · N questions or words
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foretext import datasets
from foretext.bundle import Pretrained
from foretext.errors import UsageError
from foretext.evaluation.analogy import NAMES, Method, answered, checked
from foretext.evaluation.words import Found, WordTable, unit, word_table
from foretext.evaluation.wordsets import Group, Pair, Question, WordSet, chosen, read_groups, read_pairs, read_questions
from foretext.metrics import Interval, Share, intervals, spearman_interval
from foretext.types import JSON, Floats, Ints

SYNTACTIC = "gram"
"""Google's sections of grammar are called gram1, gram2 and so on; the others ask about the world."""
_FEWEST = 3
"""Two pairs are in the right order or in the wrong one: that is no correlation."""
_SECTIONS = 20
"""A set of more lines than these is printed as a whole; for programs all are there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure. `part`: a section or total of `set`, "" for the whole; `score`: with its interval; `kept` of `total`
    items counted; `composed`: how many of these have a word that is no entry of the vocabulary; `of_all`: the score
    with the others counted as wrong, where that is meant."""

    set: str
    part: str
    measure: str
    score: Interval
    kept: int
    total: int
    composed: int = 0
    of_all: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """`lines` in the order of the sets. `unknown`: sets of which too few items are known to the model, or all are scored alike; `missing`: sets that are
    not here, each with what to do; `compared`: how many entries could be answers."""

    lines: tuple[Line, ...]
    unknown: tuple[str, ...]
    missing: tuple[str, ...]
    compared: int
    most: int
    method: Method
    about: str

    def rows(self) -> list[list[str]]:
        """Cells for people: set, measure, score, interval, kept, and the score with the rest counted as wrong."""
        rows = []
        many = {name for name in {line.set for line in self.lines} if sum(line.set == name for line in self.lines) > _SECTIONS}
        for line in self.lines:
            if line.part and line.set in many:
                continue
            s = line.score
            kept = f"{line.kept:,}/{line.total:,}" + (f" ({line.composed:,} composed)" if line.composed else "")
            name = f"  {line.part}" if line.part else line.set
            rest = "" if line.of_all is None else f"{line.of_all:.3f}"
            rows.append([name, line.measure, f"{s.score:.3f}", f"{s.low:.3f} – {s.high:.3f}", rest, kept])
        return rows

    def remarks(self) -> list[str]:
        """What stands below the table."""
        said = [f"{self.compared:,} words compared" + (f" (the first {self.most:,} only)" if self.most else "")]
        if any(line.composed for line in self.lines):
            said.append("composed: a word is no entry of the vocabulary; its vector is made from its pieces or letters")
        if self.unknown:
            said.append(f"nothing to measure, as too few items are known to this model, or all have one score: {', '.join(self.unknown)}")
        return [*said, *self.missing, self.about]

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "method": self.method,
            "most": self.most,
            "compared": self.compared,
            "unknown": list(self.unknown),
            "missing": list(self.missing),
            "about": self.about,
            "lines": [
                {
                    "set": line.set, "part": line.part, "measure": line.measure, "score": line.score.score,
                    "low": line.score.low, "high": line.score.high, "kept": line.kept, "total": line.total,
                    "composed": line.composed, "of_all": line.of_all,
                }
                for line in self.lines
            ],
        }


HEAD = ("set", "measure", "score", "95 %", "of all", "kept")


@dataclass(frozen=True)
class Lookup:
    """A table that remembers what it was asked: sets ask for the same words again and again."""

    table: WordTable
    known: dict[str, Found | None] = field(default_factory=dict)

    def __call__(self, word: str) -> Found | None:
        if word not in self.known:
            self.known[word] = self.table.find(word)
        return self.known[word]


def evaluate_vectors(
    pretrained: Pretrained, sets: Sequence[str] = (), *, method: str = "add", most: int = 0, seed: int = 0
) -> Evaluation:
    """Measure the word vectors on `sets` (names, kinds, languages, files of one's own; all for none).

    `method`: how analogies are answered, "add" or "mul"; `most`: only so many entries, the most frequent, exist (0: all).
    UsageError: an unknown set or method; a family without word vectors; a set that was named and is not here, or none at all.
    """
    how = checked(method)
    wanted = chosen(sets)
    table = word_table(pretrained, "evaluate-vectors", most=most)
    lookup = Lookup(table)
    lines: list[Line] = []
    unknown, missing = [], []
    for one in wanted:
        try:
            file = Path(one.file) if not one.language else datasets.find(one.file)
        except UsageError as error:
            if sets:
                raise
            missing.append((one, error))
            continue
        found = [line for line in _measured(one, file, lookup, how, seed) if line.kept]
        lines += found
        unknown += [] if found else [one.name]
    if len(missing) == len(wanted):
        raise missing[0][1]
    told = [f"not here: {', '.join(one.name for one, _ in missing)}; {missing[0][1].remedy}"] if missing else []
    return Evaluation(
        lines=tuple(lines), unknown=tuple(unknown), missing=tuple(told), compared=table.size, most=table.most, method=how,
        about=table.about,
    )


def _measured(one: WordSet, file: Path, lookup: Lookup, method: Method, seed: int) -> Iterator[Line]:
    if one.kind == "similarity":
        yield similarity_line(one.name, read_pairs(file), lookup, seed)
    elif one.kind == "analogy":
        yield from analogy_lines(one.name, read_questions(file), lookup, method, seed)
    elif one.kind == "categories":
        yield purity_line(one.name, read_groups(file), lookup, seed)
    else:
        yield from outlier_lines(one.name, read_groups(file), lookup, seed)


# ── each kind ───────────────────────────────────────────────────────────────────────────────────────────────────────


def similarity_line(name: str, pairs: Sequence[Pair], lookup: Lookup, seed: int = 0) -> Line:
    """Spearman's correlation of cosines with the scores of `pairs`."""
    kept = [(a, b, p.score) for p in pairs if (a := lookup(p.first)) is not None and (b := lookup(p.second)) is not None]
    if len(kept) < _FEWEST or len({score for *_, score in kept}) == 1:
        return _nothing(name, "Spearman", len(pairs))
    first = unit(np.stack([a.vector for a, _, _ in kept]))
    second = unit(np.stack([b.vector for _, b, _ in kept]))
    cosines = np.einsum("ND,ND->N", first, second).astype(float)
    return Line(
        set=name,
        part="",
        measure="Spearman",
        score=spearman_interval(cosines, np.array([score for *_, score in kept]), seed=seed),
        kept=len(kept),
        total=len(pairs),
        composed=sum(not (a.whole and b.whole) for a, b, _ in kept),
    )


def analogy_lines(
    name: str, questions: Sequence[Question], lookup: Lookup, method: Method = "add", seed: int = 0
) -> Iterator[Line]:
    """Accuracy of the whole, of semantic and syntactic sections where the set has both, and of each section."""
    table = lookup.table
    kept, entries = [], []
    for number, question in enumerate(questions):
        found = [lookup(word) for word in question.words]
        if all(one is not None and one.whole for one in found):
            kept.append(number)
            entries.append([one.ids[0] for one in found if one is not None])
    asked = np.array(entries, np.int64).reshape(-1, 4)
    best = answered(table, asked[:, :3], method)
    right = {n: float(b in table.variants(gold)) for n, b, gold in zip(kept, best.tolist(), asked[:, 3].tolist(), strict=True)}
    sections = list(dict.fromkeys(question.section for question in questions))
    syntactic = [section for section in sections if section.startswith(SYNTACTIC)]
    parts = [("", sections)]
    if syntactic and len(syntactic) < len(sections):
        parts += [("semantic", [s for s in sections if s not in syntactic]), ("syntactic", syntactic)]
    if len(sections) > 1:
        parts += [(section, [section]) for section in sections]
    for part, of in parts:
        inside = [n for n, question in enumerate(questions) if question.section in of]
        counted = [n for n in inside if n in right]
        if not counted and part:
            continue
        first = [(questions[n].section, *questions[n].words[:2]) for n in counted]
        yield _shares(name, part, NAMES[method], [right[n] for n in counted], first, len(inside), seed)


def purity_line(name: str, groups: Sequence[Group], lookup: Lookup, seed: int = 0) -> Line:
    """k-means into as many clusters as there are classes with a known word; the share of words that are of the class most
    frequent in their cluster. The interval resamples words, the clusters as they are."""
    kept = [(n, found) for n, group in enumerate(groups) for word in group.words if (found := lookup(word)) is not None]
    total = sum(len(group.words) for group in groups)
    classes = {n for n, _ in kept}
    if len(classes) < 2:
        return _nothing(name, "purity", total)
    from sklearn.cluster import KMeans

    label = np.array([n for n, _ in kept])
    vectors = unit(np.stack([found.vector for _, found in kept]))
    cluster = KMeans(n_clusters=len(classes), n_init=10, random_state=seed).fit_predict(vectors)
    counts = np.zeros((len(classes), len(groups)), np.int64)
    np.add.at(counts, (cluster, label), 1)
    right = (counts.argmax(1)[cluster] == label).astype(float)
    line = _shares(name, "", "purity", right, list(range(len(right))), total, seed, of_all=False)
    return replace(line, composed=sum(not found.whole for _, found in kept))


def outlier_lines(name: str, groups: Sequence[Group], lookup: Lookup, seed: int = 0) -> Iterator[Line]:
    """For each outlier beside its group: whether it is the least similar to the others ("found"), and its place among all
    from the most similar (0) to the least (1) ("position")."""
    right, places, of = [], [], []
    for number, group in enumerate(groups):
        inside = [found for word in group.words if (found := lookup(word)) is not None]
        if len(inside) < 2:
            continue
        for word in group.outliers:
            outlier = lookup(word)
            if outlier is None:
                continue
            vectors = unit(np.stack([one.vector for one in (*inside, outlier)]))
            likeness = (vectors @ vectors.T).sum(1)
            below = int((likeness[:-1] > likeness[-1]).sum())  # an equal one does not count for us
            right.append(float(below == len(inside)))
            places.append(below / len(inside))
            of.append(number)
    total = sum(len(group.outliers) for group in groups)
    yield _shares(name, "", "found", right, of, total, seed)
    if right:
        yield _shares(name, "place of the outlier", "position", places, of, total, seed, of_all=False)


def _shares(
    name: str,
    part: str,
    measure: str,
    outcomes: Sequence[float] | Floats,
    groups: Sequence[object],
    total: int,
    seed: int,
    *,
    of_all: bool = True,
) -> Line:
    """The mean of outcomes in [0,1], resampled by groups."""
    numbers: dict[Any, int] = {}
    group: Ints = np.array([numbers.setdefault(one, len(numbers)) for one in groups], np.int64)
    if not len(group):
        return _nothing(name, measure, total, part)
    values = np.asarray(outcomes, float)
    metric = Share()
    return Line(
        set=name,
        part=part,
        measure=measure,
        score=intervals(metric, metric.rows(values, group), seed=seed)["share"],
        kept=len(values),
        total=total,
        of_all=float(values.sum()) / total if of_all else None,
    )


def _nothing(name: str, measure: str, total: int, part: str = "") -> Line:
    return Line(set=name, part=part, measure=measure, score=Interval(score=0.0, low=0.0, high=0.0), kept=0, total=total)

