"""The same transfer in scikit-learn's words: fit, predict, predict_proba, score.

n texts · K labels
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from foretext.adapted import Adapted
from foretext.bundle import Pretrained
from foretext.errors import UsageError
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.training.progress import Watch
from foretext.transferring import transfer
from foretext.types import Floats

Label = str | Sequence[str]


class Classifier:
    """A text classifier on top of a pretrained model. Final.

    `Classifier(model, StrategyConfig(how="features")).fit(texts, labels).predict(others)`; a label is a string, or a
    list of strings where a text may have several."""

    def __init__(
        self,
        sources: Mapping[str, Pretrained] | Pretrained,
        strategy: StrategyConfig = StrategyConfig(),  # noqa: B008 — frozen
        task: ClassifyConfig = ClassifyConfig(),  # noqa: B008 — frozen
        *,
        seeds: int = 1,
        seed: int = 0,
        keep: Literal["best", "ensemble"] = "best",
    ) -> None:
        self.sources, self.strategy, self.task = sources, strategy, task
        self.seeds, self.seed, self.keep = seeds, seed, keep
        self._adapted: Adapted | None = None

    def fit(
        self,
        texts: Sequence[str],
        labels: Sequence[Label],
        dev: tuple[Sequence[str], Sequence[Label]] | None = None,
        *,
        watch: Watch | None = None,
    ) -> "Classifier":
        """Train; without `dev` a part is set aside (`task.dev_share`). Itself, trained."""
        held_out = None if dev is None else _pairs(*dev)
        self._adapted = transfer(
            self.sources, self.task, _pairs(texts, labels), held_out, self.strategy,
            seeds=self.seeds, seed=self.seed, keep=self.keep, watch=watch,
        )  # fmt: skip
        return self

    @property
    def adapted(self) -> Adapted:
        """What `fit` made, to be saved; UsageError before."""
        if self._adapted is None:
            raise UsageError("this classifier has not been trained", remedy="call fit(texts, labels) first")
        return self._adapted

    @property
    def classes_(self) -> tuple[str, ...]:
        """The labels, in the order of `predict_proba`'s columns."""
        return self.adapted.labels

    def predict(self, texts: Sequence[str]) -> list[str] | list[tuple[str, ...]]:
        """A label a text, or a tuple of labels where a text may have several."""
        found = self.adapted.predict(texts)
        return [one.labels for one in found] if self.adapted.task.multi else [one.label for one in found]

    def predict_proba(self, texts: Sequence[str]) -> Floats:
        """[n,K]"""
        return np.exp(self.adapted.log_probabilities(texts))

    def score(self, texts: Sequence[str], labels: Sequence[Label]) -> float:
        """The task's first metric: accuracy, or micro F1 where a text may have several labels."""
        task = self.adapted.task
        gold = task.gold(task.read(_pairs(texts, labels)))
        metric = task.metrics[0]
        return float(metric.score(metric.rows(self.predict_proba(texts), gold).sum(0))[metric.names[0]])


def _pairs(texts: Sequence[str], labels: Sequence[Label]) -> list[tuple[str, Label]]:
    if len(texts) != len(labels):
        raise UsageError(f"expected a label a text, found {len(texts)} texts and {len(labels)} labels")
    return list(zip(texts, labels, strict=True))
