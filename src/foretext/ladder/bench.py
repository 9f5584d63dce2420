"""Where one cell is made: pretraining a rung, or fitting and scoring one label set. Runs inside a worker process."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from foretext.baselines import BASELINE_RUNGS, Predictor, names
from foretext.ladder.cells import Cell, Plan, done, to_hex
from foretext.ladder.config import LadderConfig
from foretext.ladder.draw import label_set
from foretext.ladder.machine import circumstances, reset_peak
from foretext.ladder.plan import Rung, rungs, strategy
from foretext.ladder.texts import corpus_of, labelled, model_folder
from foretext.tasks.base import Labelled
from foretext.training.progress import SilentWatch, Watch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """Makes cells of one grid into one folder; remembers the texts."""

    config: LadderConfig
    out: Path

    @cached_property
    def pool(self) -> Labelled:
        """The texts that label sets are drawn from."""
        return labelled(self.config, self.config.train)

    @cached_property
    def test(self) -> Labelled:
        """The texts that every cell is scored on."""
        return labelled(self.config, self.config.test)

    @cached_property
    def rungs(self) -> Mapping[str, Rung]:
        """The grid's rungs by name."""
        return {rung.name: rung for rung in rungs(self.config)}

    def make(self, plan: Plan, watch: Watch | None = None) -> Cell:
        """The cell of `plan`, measured while it is made."""
        reset_peak()
        if plan.kind == "pretraining":
            # torch is imported here and not above: a worker that runs baselines needs none
            from foretext.ladder.network import pretrained_cell

            corpus = corpus_of(self.config, self.test)
            return pretrained_cell(plan, self.rungs[plan.rung].recipe, corpus, self.out, watch or SilentWatch())
        return self._score(plan)

    def _score(self, plan: Plan) -> Cell:
        train = label_set(self.pool, plan.labels, plan.seed)
        gold = names(self.test)
        start = time.perf_counter()
        predictor = self._fit(plan, train)
        fitted = time.perf_counter()
        said = predictor.predict(self.test.texts)
        answered = time.perf_counter()
        return done(
            plan,
            seconds={"transfer": fitted - start, "predict": answered - fitted},
            scores=scores(said, gold),
            correct=to_hex(np.array([a == b for a, b in zip(said, gold, strict=True)])),
            tests=len(gold),
            parameters=predictor.parameters,
            **circumstances(),
        )

    def _fit(self, plan: Plan, train: Labelled) -> Predictor:
        """The predictor of a score cell."""
        if not plan.how:
            # A balanced label set has no commonest label: the majority is the pool's, which a user knows.
            return BASELINE_RUNGS[plan.rung].fit(self.pool if plan.rung == "majority" else train, None, plan.seed)
        from foretext.ladder.network import fit

        scratch = self.config.seed if plan.how == "scratch" else None
        return fit(model_folder(self.out, plan.needs), train, strategy(self.config, plan.how), plan.seed, scratch=scratch)


def scores(said: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Accuracy, and macro F1 over the labels that occur in either."""
    pairs = list(zip(said, gold, strict=True))
    f1 = []
    for label in sorted({*said, *gold}):
        hit = sum(a == b == label for a, b in pairs)
        f1.append(2 * hit / (sum(a == label for a in said) + sum(b == label for b in gold)))
    return {"accuracy": sum(a == b for a, b in pairs) / len(pairs), "macro F1": sum(f1) / len(f1)}
