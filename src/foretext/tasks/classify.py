"""Classification: one label a text, or several. Labels are stored by name; a file's order of rows or labels is nothing.

n texts · K labels
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from foretext.config import ranges, shown
from foretext.data.render import Fit
from foretext.draws import generator
from foretext.errors import DataError, UsageError, few
from foretext.metrics import Calibration, Metric, MultiLabel, SingleLabel
from foretext.tasks.base import Labelled, Prediction, Source, read_labelled
from foretext.tasks.columns import Columns
from foretext.tasks.tables import has_names
from foretext.types import Floats, Ints, Target

SEPARATORS = ("|", ";", "；", "、")
"""Tried in this order when a cell may list several labels."""
THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyConfig:
    """How labelled texts are read, and what counts."""

    text: str | None = None
    """Column of the text; None = found by its name."""
    label: str | None = None
    """Column of the label; None = found by its name."""
    header: bool = True
    """Whether the first line of a csv or tsv names its columns; without, they are called "1", "2", …"""
    multi: bool | None = None
    """Whether a text may have several labels; None = told from the cells."""
    separator: str | None = None
    """What stands between several labels of one cell; None = found. A JSON list in a cell needs none."""
    class_weights: bool = False
    """Let every label count as much as any other in the loss, however rare."""
    dev_share: float = 0.1
    """Share of the training texts set aside for early stopping where no dev set is given; 0 = none."""
    fit: Fit = field(default_factory=Fit)
    """What happens to texts longer than the encoder can read."""

    def __post_init__(self) -> None:
        ranges(self, shares=("dev_share",))
        if self.separator == "":
            raise UsageError("expected a separator of at least one character, found none", place="separator")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyTask:
    """A classification task as settled on its training texts."""

    labels: tuple[str, ...]
    multi: bool
    separator: str
    columns: Columns
    config: ClassifyConfig = field(default_factory=ClassifyConfig)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What a prediction is judged by; the first name of the first is the one that chooses."""
        k = len(self.labels)
        return (MultiLabel(labels=k, threshold=THRESHOLD) if self.multi else SingleLabel(labels=k), Calibration())

    def read(self, source: Source, *, text: str | None = None, label: str | None = None) -> Labelled:
        """Labelled texts, by the training texts' columns where the file has them and no others are named; with a line of names
        where the training texts had one, or the file has one all the same."""
        header = self.config.header or (isinstance(source, str | Path) and has_names(Path(source), text, label))
        return read_labelled(source, text=text, label=label, header=header, usual=self.columns)

    def gold(self, labelled: Labelled) -> Ints:
        """Label numbers [n], or 0/1 [n,K] where a text may have several. A label that training never saw → DataError
        that lists every such label and the first line of one."""
        number = {label: i for i, label in enumerate(self.labels)}
        cells = [_listed(cell, self.separator) if self.multi else cell for cell in labelled.labels]
        strange = sorted({label for cell in cells for label in cell if label not in number})
        if strange:
            row = next(i for i, cell in enumerate(cells) if set(cell) & set(strange))
            raise labelled.error(
                row,
                f"{len(strange)} label{'s'[: len(strange) > 1]} that the training texts do not have: {_few(strange)}",
                f"they have: {_few(self.labels)}",
            )
        if not self.multi:
            return np.array([number[cell[0]] for cell in cells], dtype=np.int64)
        gold = np.zeros((len(cells), len(self.labels)), dtype=np.int64)
        for i, cell in enumerate(cells):
            gold[i, [number[label] for label in cell]] = 1
        return gold

    def target(self, gold: Ints) -> Target:
        """What a head must say of the examples 0…n−1 of a batch."""
        return Target(at=np.arange(len(gold)), gold=gold, count=len(gold))

    def label_weights(self, gold: Ints) -> tuple[float, ...] | None:
        """[K] weights that make labels count alike: n / (K · count), or with several labels a text absent / present."""
        if not self.config.class_weights:
            return None
        if self.multi:
            present = gold.sum(0)
            return tuple(float(v) for v in (len(gold) - present) / np.maximum(present, 1))
        counts = np.bincount(gold, minlength=len(self.labels))
        return tuple(float(v) for v in len(gold) / (len(self.labels) * np.maximum(counts, 1)))

    def majority(self, gold: Ints) -> Floats:
        """[K] what a system that never reads would answer: label shares of `gold`, as probabilities."""
        shares: Floats = gold.mean(0) if self.multi else np.bincount(gold, minlength=len(self.labels)) / len(gold)
        return shares

    def decode(self, log_probabilities: Floats) -> Iterator[Prediction]:
        """Predictions from log-probabilities [n,K]."""
        probabilities = np.exp(log_probabilities)
        said = probabilities >= THRESHOLD if self.multi else np.eye(len(self.labels), dtype=bool)[probabilities.argmax(1)]
        for row, of in zip(probabilities.tolist(), said, strict=True):
            yield Prediction(
                labels=tuple(self.labels[k] for k in np.flatnonzero(of)),
                probabilities=dict(zip(self.labels, row, strict=True)),
            )


def settle(config: ClassifyConfig, train: Labelled) -> ClassifyTask:
    """Decide from the training texts whether cells list several labels, and which labels there are.

    Errors: fewer than two labels → DataError.
    """
    multi, separator = _several(config, train)
    cells = [_listed(cell, separator) if multi else cell for cell in train.labels]
    if not multi and train.listed and any(len(cell) != 1 for cell in cells):
        row = next(i for i, cell in enumerate(cells) if len(cell) != 1)
        raise train.error(row, f"expected one label, found {len(cells[row])}", "set multi = true for several labels a text")
    labels = sorted({label for cell in cells for label in cell}, key=_by_number_then_name)
    if len(labels) < 2 and not (multi and labels):
        raise DataError(
            f"expected at least two different labels, found {_few(labels) or 'none'}",
            file=train.file or None,
            remedy="check the label column" + (f", {train.columns.label!r}" if train.columns.label else ""),
        )
    return ClassifyTask(labels=tuple(labels), multi=multi, separator=separator, columns=train.columns, config=config)


def split(task: ClassifyTask, labelled: Labelled, share: float, seed: int) -> tuple[Ints, Ints]:
    """Row numbers of a training part and of a stratified dev part of about `share`, each ascending.

    Of every label with at least two texts, one or more go to dev, and one or more stay. Equal texts stay together in
    training. With several labels a text, its rarest one is its stratum.
    """
    strata = _strata(task.gold(labelled), task.multi)
    repeated = Counter(labelled.texts)
    dev: list[int] = []
    for stratum in np.unique(strata):
        rows = np.flatnonzero(strata == stratum)
        free = np.array([row for row in rows if repeated[labelled.texts[row]] == 1], dtype=np.int64)
        wanted = min(max(1, round(share * len(rows))), len(free), len(rows) - 1)
        order = generator(seed, "dev split", int(stratum)).permutation(len(free))
        dev.extend(int(row) for row in free[order[:wanted]])
    chosen = np.array(sorted(dev), dtype=np.int64)
    return np.setdiff1d(np.arange(len(labelled)), chosen), chosen


def _strata(gold: Ints, multi: bool) -> Ints:
    if not multi:
        return gold
    frequency = gold.sum(0)
    rarest = np.where(gold > 0, frequency[None, :], np.iinfo(np.int64).max)
    strata: Ints = np.where(gold.any(1), rarest.argmin(1), gold.shape[1])
    return strata


def _several(config: ClassifyConfig, train: Labelled) -> tuple[bool, str]:
    """(several labels a text?, separator)."""
    if config.multi is False:
        return False, ""
    cells = [cell[0] for cell in train.labels if len(cell) == 1]
    if config.separator is not None:
        separator, lists = config.separator, any(config.separator in cell for cell in cells)
    else:
        separator = next((mark for mark in SEPARATORS if _splits(cells, mark)), "")
        lists = bool(separator)
    lists = lists or train.listed or any(_json_list(cell) is not None for cell in cells)
    return (bool(config.multi) or lists), separator


def _splits(cells: Sequence[str], mark: str) -> bool:
    """Whether `mark` separates labels: cells hold it, no part is empty, and the parts are no more various than the
    cells (a mark inside a name, such as "R&B; Soul", only ever makes more names)."""
    if not any(mark in cell for cell in cells):
        return False
    parts = [part.strip() for cell in cells for part in cell.split(mark)]
    return all(parts) and len(set(parts)) <= len(set(cells))


def _listed(cell: tuple[str, ...], separator: str) -> tuple[str, ...]:
    """The labels that a raw cell lists, each once."""
    if len(cell) == 1:
        values = _json_list(cell[0])
        if values is not None:
            cell = tuple(values)
        elif separator and separator in cell[0]:
            cell = tuple(part.strip() for part in cell[0].split(separator) if part.strip())
    return tuple(dict.fromkeys(cell))


def _json_list(cell: str) -> list[str] | None:
    if not (cell.startswith("[") and cell.endswith("]")):
        return None
    try:
        values = json.loads(cell)
    except (ValueError, RecursionError):
        return None
    return [str(value) for value in values]


def _by_number_then_name(label: str) -> tuple[int, int, str]:
    digits = label.removeprefix("-")
    whole = digits.isascii() and digits.isdigit() and len(label) < 19
    return (0, int(label), label) if whole else (1, 0, label)


def _few(labels: Sequence[str], most: int = 12) -> str:
    return few([shown(label) for label in labels], most)
