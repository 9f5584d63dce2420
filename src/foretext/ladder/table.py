"""The one table: what each rung bought, computed from cells alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from foretext.ladder.cells import Cell
from foretext.ladder.statistics import Interval, difference, interval, verdict
from foretext.types import Bits

WAYS = {
    "": "",
    "features": "features",
    "frozen": "frozen",
    "finetune": "fine-tuned",
    "scratch": "from scratch",
}
"""How a way of transfer is shown."""
NAMES = {"tfidf": "TF-IDF + LR"}
"""How a rung is shown where its name is not enough."""


def shown(rung: str, how: str) -> str:
    """A row's name: "bert-budget · fine-tuned"."""
    return " · ".join(part for part in (NAMES.get(rung, rung), WAYS.get(how, how)) if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One place of the table: a row at a label count, over its seeds."""

    score: Interval
    """Accuracy, shares in [0,1]."""
    f1: float
    """Mean macro F1."""
    by_seed: tuple[float, ...]
    """Accuracy of each seed."""
    seeds: int
    failed: int
    against: Interval | None = None
    """Paired difference to the column's best baseline; None for that baseline itself, or where seeds are missing."""
    verdict: Literal["", "above", "below", "level"] = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One rung under one way of transfer, with what it costs."""

    rung: str
    how: str
    baseline: bool
    entries: Mapping[int, Entry]
    """Label count → entry."""
    pretraining: float | None
    """Seconds; None where nothing is pretrained."""
    transfer: float
    """Mean seconds of one transfer (at all label counts)."""
    predict: float
    """Mean seconds to answer all test texts."""
    parameters: int
    memory: int
    """Largest peak of resident bytes among the row's cells and its pretraining."""
    source: str = ""
    """Fingerprint of the weights it started from, where those were made elsewhere."""

    @property
    def name(self) -> str:
        return shown(self.rung, self.how)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Which test texts each seed answered rightly: `correct` [S,N], `seeds` [S]."""

    seeds: tuple[int, ...]
    correct: Bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows, lowest rung first, and per label count the best row and the best baseline (row numbers)."""

    labels: tuple[int, ...]
    rows: tuple[Row, ...]
    best: Mapping[int, int]
    best_baseline: Mapping[int, int]
    tests: int
    matrices: tuple[Mapping[int, Matrix], ...]
    """Per row: label count → right answers, for paired comparisons."""
    failures: tuple[str, ...] = ()


def build(cells: Sequence[Cell]) -> Table:
    """The table of these cells; rows and columns in the order in which the cells come."""
    scores = [cell for cell in cells if cell.kind == "score"]
    pretraining = {cell.key: cell for cell in cells if cell.kind == "pretraining"}
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in scores:
        groups.setdefault((cell.rung, cell.how), []).append(cell)
    labels = tuple(sorted({cell.labels for cell in scores}))
    rows = [_row(name, group, pretraining) for name, group in groups.items()]
    matrices = [matrices_of(group) for group in groups.values()]
    best = _leaders(rows, labels, range(len(rows)))
    best_baseline = _leaders(rows, labels, [n for n, row in enumerate(rows) if row.baseline])
    rows = [_compared(n, row, matrices, best_baseline) for n, row in enumerate(rows)]
    return Table(
        labels=labels,
        rows=tuple(rows),
        best=best,
        best_baseline=best_baseline,
        tests=max((cell.tests for cell in scores), default=0),
        matrices=tuple(matrices),
        failures=tuple(f"{_what(cell)}: {cell.failed}" for cell in cells if cell.failed),
    )


def _what(cell: Cell) -> str:
    return f"{cell.rung} {cell.how} {cell.labels} labels" if cell.kind == "score" else f"{cell.rung} {cell.kind}"


def _row(name: tuple[str, str], cells: Sequence[Cell], pretraining: Mapping[str, Cell]) -> Row:
    rung, how = name
    good = [cell for cell in cells if not cell.failed]
    first = pretraining.get(cells[0].needs)
    entries = {}
    for labels, matrix in matrices_of(cells).items():
        here = [cell for cell in good if cell.labels == labels]
        entries[labels] = Entry(
            score=interval(matrix.correct),
            f1=float(np.mean([cell.scores["macro F1"] for cell in here])),
            by_seed=tuple(float(share) for share in matrix.correct.mean(axis=1)),
            seeds=len(here),
            failed=sum(cell.labels == labels for cell in cells) - len(here),
        )
    peaks = [cell.memory for cell in good] + ([first.memory] if first and how != "scratch" else [])
    return Row(
        rung=rung,
        how=how,
        baseline=how in ("", "scratch"),
        entries=entries,
        pretraining=first.seconds.get("pretraining") if first and how != "scratch" else None,
        transfer=_mean([cell.seconds.get("transfer", 0.0) for cell in good]),
        predict=_mean([cell.seconds.get("predict", 0.0) for cell in good]),
        parameters=max((cell.parameters for cell in good), default=0),
        memory=max(peaks, default=0),
        source=first.source if first and how != "scratch" else "",
    )


def matrices_of(cells: Sequence[Cell]) -> dict[int, Matrix]:
    """One row's cells: label count → which test texts each seed answered rightly [S,N]; failed cells left out."""
    by_labels: dict[int, list[Cell]] = {}
    for cell in cells:
        if not cell.failed:
            by_labels.setdefault(cell.labels, []).append(cell)
    return {
        labels: Matrix(
            seeds=tuple(cell.seed for cell in sorted(group, key=lambda c: c.seed)),
            correct=np.stack([cell.bits() for cell in sorted(group, key=lambda c: c.seed)]),
        )
        for labels, group in by_labels.items()
    }


def _leaders(rows: Sequence[Row], labels: Sequence[int], among: Sequence[int]) -> dict[int, int]:
    """Label count → the number of the row with the highest mean."""
    leaders = {}
    for count in labels:
        able = [n for n in among if count in rows[n].entries]
        if able:
            leaders[count] = max(able, key=lambda n: rows[n].entries[count].score.mean)
    return leaders


def _compared(n: int, row: Row, matrices: Sequence[Mapping[int, Matrix]], best: Mapping[int, int]) -> Row:
    """`row`, number `n`, with its paired difference to each column's best baseline."""
    entries = {}
    for labels, entry in row.entries.items():
        other = best.get(labels, n)
        gap = None if other == n else paired(matrices[n][labels], matrices[other][labels])
        entries[labels] = replace(entry, against=gap, verdict=verdict(gap)) if gap else entry
    return replace(row, entries=entries)


def paired(one: Matrix, other: Matrix) -> Interval | None:
    """The difference over the seeds that both have; None where there is none, or the test texts differ."""
    common = sorted(set(one.seeds) & set(other.seeds))
    if not common or one.correct.shape[1] != other.correct.shape[1]:
        return None
    a = one.correct[[one.seeds.index(seed) for seed in common]]
    b = other.correct[[other.seeds.index(seed) for seed in common]]
    return difference(a, b)


def paired_entries(table: Table, n: int, other: int, labels: int) -> Interval | None:
    """Row `n` − row `other` at a label count, over the seeds that both have."""
    return paired(table.matrices[n][labels], table.matrices[other][labels])


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else 0.0
