"""Where one cell is made: pretraining a rung, or fitting and scoring one label set. Runs inside a worker process."""

import dataclasses
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from foretext.baselines import BASELINE_RUNGS, Predictor, names
from foretext.ladder.cells import Cell, Plan, done, to_hex
from foretext.ladder.config import LadderConfig
from foretext.ladder.draw import label_set
from foretext.ladder.language import language_cell
from foretext.ladder.machine import circumstances, reset_peak
from foretext.ladder.plan import rung, strategy
from foretext.ladder.texts import corpus_of, labelled, model_folder, shared_folder
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

    def make(self, plan: Plan, watch: Watch | None = None) -> Cell:
        """The cell of `plan`, measured while it is made."""
        reset_peak()
        if plan.kind == "pretraining":
            # torch is imported here and not above: a worker that runs baselines needs none
            from foretext.ladder.network import pretrained_cell, taken_cell

            # This rung alone is looked up: opening the sources of others would count as its memory.
            mine = rung(self.config, plan.rung)
            if not mine.trained:
                return taken_cell(plan, mine, self.out)
            return pretrained_cell(plan, mine, corpus_of(self.config, self.test), self.out, watch or SilentWatch())
        if plan.kind == "encoding":
            return self._encode(plan)
        if plan.kind == "language":
            return language_cell(plan, self.out, self.test.texts, self.config.reading.language)
        return self._score(plan)

    def _encode(self, plan: Plan) -> Cell:
        from foretext.ladder.network import encode_ahead

        start = time.perf_counter()
        texts = [texts.texts[row] for name, texts in (("test", self.test), ("pool", self.pool)) for row in plan.config[name]]
        encode_ahead(model_folder(self.out, plan.needs), texts, strategy(self.config, plan.how), shared_folder(self.out))
        return done(plan, seconds={"encoding": time.perf_counter() - start}, **circumstances())

    def _score(self, plan: Plan) -> Cell:
        train = label_set(self.pool, plan.labels, plan.seed)
        gold = names(self.test)
        start = time.perf_counter()
        predictor = self._fit(plan, train)
        fitted, lent = time.perf_counter(), _lent(predictor)
        said = predictor.predict(self.test.texts)
        answered = time.perf_counter()
        return done(
            plan,
            # What was encoded ahead for several cells counts in each, as if it had encoded alone.
            seconds={"transfer": fitted - start + lent, "predict": answered - fitted + _lent(predictor) - lent},
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
        folder, settings = model_folder(self.out, plan.needs), strategy(self.config, plan.how)
        return fit(folder, train, settings, plan.seed, scratch=scratch, shared=shared_folder(self.out))


def _lent(predictor: Predictor) -> float:
    """Seconds that encoding ahead took for this predictor so far."""
    return float(getattr(predictor, "lent", 0.0))


def scores(said: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Accuracy, and macro F1 over the labels that occur in either."""
    pairs = list(zip(said, gold, strict=True))
    f1 = []
    for label in sorted({*said, *gold}):
        hit = sum(a == b == label for a, b in pairs)
        f1.append(2 * hit / (sum(a == label for a in said) + sum(b == label for b in gold)))
    return {"accuracy": sum(a == b for a, b in pairs) / len(pairs), "macro F1": sum(f1) / len(f1)}
