"""What a classifier is worth on labelled texts: scores with intervals, calibration, confusion, and its surest mistakes.

n texts · K labels
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np

from foretext.errors import DataError, shorten
from foretext.metrics import Interval, confusion, intervals, label_counts
from foretext.tasks.base import Labelled, Source
from foretext.tasks.classify import THRESHOLD, ClassifyTask
from foretext.types import JSON, Floats, Ints

MISTAKES = 10
"""Most confident mistakes that are kept."""
_WIDEST = 24
"""Labels beyond this many are left out of the matrix in text; the picture and the JSON hold all."""


class Classifier(Protocol):
    """What can be judged: an Adapted, or anything that gives log-probabilities [n,K] of its task's labels."""

    @property
    def task(self) -> ClassifyTask: ...

    def log_probabilities(self, texts: tuple[str, ...]) -> Floats: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A text that was answered wrongly, where it stands, and how sure the answer was."""

    text: str
    line: int
    said: tuple[str, ...]
    true: tuple[str, ...]
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelScore:
    """One label: how often it is true and said, precision, recall and F1."""

    label: str
    true: int
    said: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """The report. `matrix` [K,K] counts (row true, column said), empty where a text may have several labels; `majority`:
    the first score of a system that always answers alike."""

    texts: int
    labels: tuple[str, ...]
    scores: Mapping[str, Interval]
    majority: float
    per_label: tuple[LabelScore, ...]
    matrix: tuple[tuple[int, ...], ...]
    mistakes: tuple[Mistake, ...]

    def as_json(self) -> JSON:
        """For programs."""
        return msgspec.to_builtins(self)

    def text(self) -> str:
        """For people."""
        lines = [f"{self.texts:,} texts, {len(self.labels)} labels"]
        for name, score in self.scores.items():
            lines.append(f"  {name:<18} {score.score:7.3f}   95 % interval {score.low:.3f} to {score.high:.3f}")
        lines.append(f"  {'always one answer':<18} {self.majority:7.3f}   ({next(iter(self.scores))})")
        lines += ["", *self._label_lines(), "", *self._matrix_lines(), *self._mistake_lines()]
        return "\n".join(lines).rstrip()

    def picture(self, file: Path) -> list[str]:
        """The confusion matrix as an image, shaded by the share of each true label; with several labels a text, each
        label's precision and recall. Returns remarks: what numbers stand for labels that no installed font can draw."""
        from foretext.evaluation.picture import confusion_picture, recall_picture

        if self.matrix:
            return confusion_picture(np.array(self.matrix), self.labels, file)
        return recall_picture([(one.label, one.precision, one.recall) for one in self.per_label], file)

    def _label_lines(self) -> list[str]:
        width = max(5, *(_width(label) for label in self.labels))
        lines = [f"  {_pad('label', width)}    true    said  precision  recall     F1"]
        lines += [
            f"  {_pad(s.label, width)} {s.true:7,} {s.said:7,} {s.precision:10.3f} {s.recall:7.3f} {s.f1:6.3f}" for s in self.per_label
        ]
        return lines

    def _matrix_lines(self) -> list[str]:
        if not self.matrix:
            return []
        if len(self.labels) > _WIDEST:
            return [f"  the confusion matrix of {len(self.labels)} labels is in the picture and the JSON", ""]
        width = max(_width(label) for label in self.labels)
        cell = max(4, len(str(max(map(max, self.matrix)))) + 1)
        keys = [str(i + 1) for i in range(len(self.labels))]
        lines = ["  confusion: rows are true, columns said", f"  {' ' * (width + 3)}" + "".join(k.rjust(cell) for k in keys)]
        for key, label, row in zip(keys, self.labels, self.matrix, strict=True):
            cells = "".join((str(count) if count else "·").rjust(cell) for count in row)
            lines.append(f"  {key.rjust(2)} {_pad(label, width)}{cells}")
        return [*lines, ""]

    def _mistake_lines(self) -> list[str]:
        if not self.mistakes:
            return ["  no mistakes"]
        lines = ["  surest mistakes"]
        for one in self.mistakes:
            said, true = "|".join(one.said) or "(none)", "|".join(one.true) or "(none)"
            text = shorten(" ".join(one.text.split()), 100)
            lines.append(f"  line {one.line}: said {said} ({one.probability:.2f}), is {true}: {text}")
        return lines


def evaluate(
    classifier: Classifier,
    source: Source,
    *,
    text: str | None = None,
    label: str | None = None,
    seed: int = 0,
    mistakes: int = MISTAKES,
) -> Evaluation:
    """Judge `classifier` on labelled texts. A label that it does not know → DataError that lists them (exit 3)."""
    task = classifier.task
    labelled = task.read(source, text=text, label=label)
    if not len(labelled):
        raise DataError("expected labelled texts, found none", file=labelled.file or None)
    gold = task.gold(labelled)
    probabilities = np.exp(np.asarray(classifier.log_probabilities(labelled.texts), np.float64))
    found: dict[str, Interval] = {}
    for metric in task.metrics:
        found.update(intervals(metric, metric.rows(probabilities, gold), seed=seed))
    metric = task.metrics[0]
    constant = np.tile(task.majority(gold), (len(gold), 1))
    majority = float(metric.score(metric.rows(constant, gold).sum(0))[metric.names[0]])
    matrix = () if task.multi else tuple(tuple(int(v) for v in row) for row in confusion(probabilities, gold))
    return Evaluation(
        texts=len(labelled),
        labels=task.labels,
        scores=found,
        majority=majority,
        per_label=_per_label(task, probabilities, gold),
        matrix=matrix,
        mistakes=_mistakes(task, labelled, probabilities, gold, mistakes),
    )


def _per_label(task: ClassifyTask, probabilities: Floats, gold: Ints) -> tuple[LabelScore, ...]:
    if task.multi:
        counts = label_counts(probabilities, gold, threshold=THRESHOLD)
    else:
        k = len(task.labels)
        counts = label_counts(np.eye(k)[probabilities.argmax(1)], np.eye(k, dtype=np.int64)[gold])
    scores = []
    for name, (hit, false, missed, _) in zip(task.labels, counts.tolist(), strict=True):
        scores.append(
            LabelScore(
                label=name,
                true=hit + missed,
                said=hit + false,
                precision=hit / max(hit + false, 1),
                recall=hit / max(hit + missed, 1),
                f1=2 * hit / max(2 * hit + false + missed, 1),
            )
        )
    return tuple(scores)


def _mistakes(
    task: ClassifyTask, labelled: Labelled, probabilities: Floats, gold: Ints, most: int
) -> tuple[Mistake, ...]:
    """The wrong answers of which the classifier was surest, surest first."""
    with np.errstate(divide="ignore"):
        predictions = list(task.decode(np.log(probabilities)))
    if task.multi:
        true = [tuple(task.labels[k] for k in np.flatnonzero(row)) for row in gold]
        # sure of a wrong answer = sure of the decision that was most wrong
        wrongness = np.abs(probabilities - gold).max(1)
        wrong = ((probabilities >= THRESHOLD) != (gold > 0)).any(1)
    else:
        true = [(task.labels[k],) for k in gold]
        wrongness = probabilities.max(1)
        wrong = probabilities.argmax(1) != gold
    rows = np.flatnonzero(wrong)
    rows = rows[np.argsort(-wrongness[rows], kind="stable")][:most]
    return tuple(
        Mistake(
            text=labelled.texts[i],
            line=labelled.lines[i],
            said=predictions[i].labels,
            true=true[i],
            probability=float(wrongness[i]),
        )
        for i in rows
    )


def _width(text: str) -> int:
    """Columns on a terminal: a wide (Chinese, Japanese, Korean) character takes two."""
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(c) in "WF" else 1 for c in text)


def _pad(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
