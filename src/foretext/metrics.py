"""Scores as sums: every metric is a row a text (columns that add up) and a function of the rows' sum.

Because rows only ever add, one drawing serves streaming (keep the running sum), many ranks (add their sums), bootstrap
intervals and paired tests (weighted sums of the same rows) alike. n texts · k columns · K labels · B resamples
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from foretext.draws import generator
from foretext.types import Floats, Ints

BINS = 15
"""Confidence bins of the expected calibration error (Guo et al. 2017, section 2)."""
RESAMPLES = 1000
_CHUNK_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A score with the ends of its bootstrap interval."""

    score: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """System a minus system b on the same texts: the difference, its interval, and the two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


class Metric(Protocol):
    """`rows`: [n,k], additive columns. `score`: sums of rows [...,k] → named scores [...]."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def rows(self, probabilities: Floats, gold: Ints) -> Floats: ...

    def score(self, totals: Floats) -> Mapping[str, Floats]: ...


def _ratio(above: Floats, below: Floats) -> Floats:
    """above / below, 0 where below is 0."""
    return np.divide(above, below, out=np.zeros(np.broadcast(above, below).shape), where=below != 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleLabel:
    """Accuracy, macro F1 and MCC of one label a text.

    A row is [hit | said | true], one-hot over the K labels. `rows` takes probabilities [n,K] (the largest wins, the
    first of equals) and gold label numbers [n]. Macro F1 is the mean over the labels that were true or said at least
    once (as scikit-learn counts them by default). MCC is the K-category correlation R_K (Gorodkin 2004, eq. 2)."""

    labels: int
    names: ClassVar[tuple[str, ...]] = ("accuracy", "macro F1", "MCC")

    def rows(self, probabilities: Floats, gold: Ints) -> Floats:
        eye = np.eye(self.labels)
        said, true = eye[probabilities.argmax(1)], eye[gold]
        return np.concatenate([said * true, said, true], axis=1)

    def score(self, totals: Floats) -> Mapping[str, Floats]:
        hit, said, true = np.split(totals, 3, axis=-1)
        n, right = true.sum(-1), hit.sum(-1)
        spread = (n * n - (said * said).sum(-1)) * (n * n - (true * true).sum(-1))
        return {
            "accuracy": _ratio(right, n),
            "macro F1": _macro_f1(hit, said, true),
            "MCC": _ratio(right * n - (said * true).sum(-1), np.sqrt(spread)),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLabel:
    """Micro F1, macro F1, exact match and per-decision accuracy of several labels a text.

    A row is [hit | said | true | all right], 0/1 over the K labels. `rows` takes each label's own probability [n,K]
    (said from `threshold` up) and gold 0/1 [n,K]."""

    labels: int
    threshold: float = 0.5
    names: ClassVar[tuple[str, ...]] = ("micro F1", "macro F1", "exact match", "label accuracy")

    def rows(self, probabilities: Floats, gold: Ints) -> Floats:
        said, true = (probabilities >= self.threshold).astype(float), np.asarray(gold, float)
        exact = (said == true).all(1, keepdims=True).astype(float)
        # the constant 1 counts the texts: in a weighted sum nothing else does
        return np.concatenate([said * true, said, true, exact, np.ones_like(exact)], axis=1)

    def score(self, totals: Floats) -> Mapping[str, Floats]:
        hit, said, true = np.split(totals[..., :-2], 3, axis=-1)
        n = totals[..., -1]
        wrong = (said + true - 2 * hit).sum(-1)
        return {
            "micro F1": _ratio(2 * hit.sum(-1), (said + true).sum(-1)),
            "macro F1": _macro_f1(hit, said, true),
            "exact match": _ratio(totals[..., -2], n),
            "label accuracy": 1.0 - _ratio(wrong, n * self.labels),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Expected calibration error: how far confidence and accuracy lie apart, over `bins` equal confidence bins.

    Single label: confidence is the largest probability. Several labels (gold [n,K]): every label's decision counts,
    with confidence max(p, 1−p). A row is [confidence | right | decisions] by bin. Guo et al. 2017, eq. 3."""

    bins: int = BINS
    names: ClassVar[tuple[str, ...]] = ("calibration error",)

    def rows(self, probabilities: Floats, gold: Ints) -> Floats:
        n = len(probabilities)
        if np.ndim(gold) == 2:
            sure = np.maximum(probabilities, 1 - probabilities)
            right = (probabilities >= 0.5) == (np.asarray(gold) > 0)
        else:
            sure = probabilities.max(1, keepdims=True)
            right = probabilities.argmax(1)[:, None] == np.asarray(gold)[:, None]
        # bins are (low, high], so that confidence 1 falls into the last one
        where = np.clip(np.ceil(sure * self.bins).astype(int) - 1, 0, self.bins - 1)
        rows = np.zeros((n, 3, self.bins))
        text = np.repeat(np.arange(n), where.shape[1])
        for column, value in enumerate((sure, right.astype(float), np.ones_like(sure))):
            np.add.at(rows[:, column], (text, where.ravel()), value.ravel())
        return rows.reshape(n, -1)

    def score(self, totals: Floats) -> Mapping[str, Floats]:
        sure, right, count = np.split(totals, 3, axis=-1)
        return {"calibration error": _ratio(np.abs(sure - right).sum(-1), count.sum(-1))}


def _macro_f1(hit: Floats, said: Floats, true: Floats) -> Floats:
    """Mean F1 over the labels seen (said or true at least once). [...,K] → [...]"""
    f1 = _ratio(2 * hit, said + true)
    return _ratio(f1.sum(-1), (said + true > 0).sum(-1).astype(float))


def scores(metrics: Sequence[Metric], probabilities: Floats, gold: Ints) -> dict[str, float]:
    """Every metric's scores over all rows. Probabilities [n,K], gold [n] or [n,K]."""
    return {
        name: float(value)
        for metric in metrics
        for name, value in metric.score(metric.rows(probabilities, gold).sum(0)).items()
    }


def intervals(
    metric: Metric, rows: Floats, *, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Each score with its percentile bootstrap interval (Efron & Tibshirani 1993, ch. 13). Rows [n,k]."""
    low, high = (1 - level) / 2, (1 + level) / 2
    drawn = metric.score(_resampled(rows, seed, resamples))
    point = metric.score(rows.sum(0))
    return {
        name: Interval(
            score=float(point[name]), low=float(np.quantile(drawn[name], low)), high=float(np.quantile(drawn[name], high))
        )
        for name in metric.names
    }


def compare(
    metric: Metric, rows_a: Floats, rows_b: Floats, *, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> dict[str, Comparison]:
    """Paired bootstrap of two systems on the same texts: both are resampled together. Rows [n,k] each.

    p: how often a resampled difference strays from the observed one by at least the observed one's own size, two-sided
    (the shifted test of Berg-Kirkpatrick et al. 2012, section 2), never below 1 / (resamples + 1)."""
    assert rows_a.shape == rows_b.shape, (rows_a.shape, rows_b.shape)
    k = rows_a.shape[1]
    drawn = _resampled(np.concatenate([rows_a, rows_b], axis=1), seed, resamples)
    drawn_a, drawn_b = metric.score(drawn[:, :k]), metric.score(drawn[:, k:])
    point_a, point_b = metric.score(rows_a.sum(0)), metric.score(rows_b.sum(0))
    result = {}
    for name in metric.names:
        observed = float(point_a[name] - point_b[name])
        differences = drawn_a[name] - drawn_b[name]
        strayed = np.abs(differences - observed) >= abs(observed) - 1e-12
        result[name] = Comparison(
            difference=observed,
            low=float(np.quantile(differences, (1 - level) / 2)),
            high=float(np.quantile(differences, (1 + level) / 2)),
            p=float((strayed.sum() + 1) / (resamples + 1)),
        )
    return result


def _resampled(rows: Floats, seed: int, resamples: int) -> Floats:
    """Sums of `resamples` samples of n rows with replacement, [B,k].

    Drawing n rows one by one = drawing how often each distinct row comes (a multinomial): with few labels there are
    few distinct rows, however many texts there are."""
    n = len(rows)
    if n == 0:
        return np.zeros((resamples, rows.shape[1]))
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    rng = generator(seed, "bootstrap")
    step = max(1, _CHUNK_BYTES // (8 * len(distinct)))
    parts = [
        rng.multinomial(n, counts / n, size=min(step, resamples - start)).astype(float) @ distinct
        for start in range(0, resamples, step)
    ]
    return np.concatenate(parts)


def confusion(probabilities: Floats, gold: Ints) -> Ints:
    """[K,K] counts: row = true label, column = said label. Probabilities [n,K], gold [n]."""
    labels = probabilities.shape[1]
    cells = np.asarray(gold) * labels + probabilities.argmax(1)
    return np.bincount(cells, minlength=labels * labels).reshape(labels, labels)


def label_counts(probabilities: Floats, gold: Ints, *, threshold: float = 0.5) -> Ints:
    """[K,4] for several labels a text: true positives, false positives, false negatives, true negatives of each."""
    said, true = probabilities >= threshold, np.asarray(gold) > 0
    return np.stack([(said & true).sum(0), (said & ~true).sum(0), (~said & true).sum(0), (~said & ~true).sum(0)], 1)


# ── what is no sum over texts: a share of trials that stand or fall together, and rank correlation ──────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """How many of a group's trials went well. A row is [well | trials] of one group; groups are resampled whole, since
    trials of one group stand or fall together. `rows` takes outcomes 0/1 [n] and group numbers [n]."""

    names: ClassVar[tuple[str, ...]] = ("share",)

    def rows(self, probabilities: Floats, gold: Ints) -> Floats:
        _, group = np.unique(gold, return_inverse=True)
        groups = int(group.max(initial=-1)) + 1
        well = np.bincount(group, weights=np.asarray(probabilities, float), minlength=groups)
        return np.stack([well, np.bincount(group, minlength=groups).astype(float)], axis=1)

    def score(self, totals: Floats) -> Mapping[str, Floats]:
        well, trials = np.split(totals, 2, axis=-1)
        return {"share": _ratio(well, trials)[..., 0]}


def spearman(first: Floats, second: Floats, *, times: Floats | Ints | None = None) -> Floats:
    """Spearman's rank correlation of two columns [n], ties at their mean rank; 0 where a column does not vary.

    `times` [B,n]: how often each row counts in each of B samples → [B]; None: each once → a number (0-d)."""
    counts = np.ones((1, len(first))) if times is None else np.asarray(times, float)
    total = counts.sum(1, keepdims=True)
    moved = []
    for column in (first, second):
        ranks = _ranks(np.asarray(column, float), counts)
        moved.append(ranks - _ratio((counts * ranks).sum(1, keepdims=True), total))
    x, y = moved
    found = _ratio((counts * x * y).sum(1), np.sqrt((counts * x * x).sum(1) * (counts * y * y).sum(1)))
    return found[0] if times is None else found


def _ranks(values: Floats, times: Floats) -> Floats:
    """Mean ranks [B,n] of `values` [n] in samples that hold each of them `times` [B,n]."""
    order = np.argsort(values, kind="stable")
    distinct, place = np.unique(values, return_inverse=True)
    last = np.searchsorted(values[order], distinct, "right") - 1
    upto = np.cumsum(times[:, order], axis=1)[:, last]
    before = np.concatenate([np.zeros((len(times), 1)), upto[:, :-1]], axis=1)
    ranks: Floats = ((before + upto + 1) / 2)[:, place]
    return ranks


def spearman_interval(
    first: Floats, second: Floats, *, seed: int = 0, level: float = 0.95, resamples: int = RESAMPLES
) -> Interval:
    """Spearman's rank correlation with its percentile bootstrap interval over the rows."""
    n = len(first)
    if n < 2:
        return Interval(score=0.0, low=-1.0, high=1.0)
    rng = generator(seed, "bootstrap of ranks")
    step = max(1, _CHUNK_BYTES // (64 * n))
    drawn = np.concatenate([
        spearman(first, second, times=rng.multinomial(n, np.full(n, 1 / n), size=min(step, resamples - start)))
        for start in range(0, resamples, step)
    ])
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(score=float(spearman(first, second)), low=float(low), high=float(high))
