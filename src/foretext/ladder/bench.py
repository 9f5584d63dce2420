"""Where one cell is made: pretraining a rung, or fitting and scoring one label set. Runs inside a worker process."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from foretext.adapted import Adapted
from foretext.baselines import BASELINE_RUNGS, Predictor, names
from foretext.bundle import SOURCE, Pretrained, build_model, load_pretrained
from foretext.draws import number
from foretext.ladder.cells import Cell, Plan, done, to_hex
from foretext.ladder.config import LadderConfig
from foretext.ladder.draw import label_set
from foretext.ladder.machine import machine, peak, reset_peak, versions
from foretext.ladder.plan import Rung, rungs, strategy
from foretext.pretraining import Setting, pretrain
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Labelled, read_labelled
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import excluding, open_corpus
from foretext.training.progress import SilentWatch, Watch
from foretext.transfer import transfer
from foretext.types import Corpus


def labelled(config: LadderConfig, file: str) -> Labelled:
    """The grid's labelled texts in one of its two files."""
    return read_labelled(file, text=config.text, label=config.label)


def corpus_of(config: LadderConfig, test: Labelled) -> Corpus:
    """The grid's raw text, without the documents that hold a test text (unless it says not to)."""
    whole = open_corpus(config.corpus, config.reading)
    return excluding(whole, test.texts) if config.hold_out else whole


def model_folder(out: Path, key: str) -> Path:
    """Where a pretraining cell's model lies."""
    return out / "models" / key


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bench:
    """Makes cells of one grid into one folder; remembers the texts and the last models it opened."""

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
            return self._pretrain(plan, watch or SilentWatch())
        return self._score(plan)

    def _pretrain(self, plan: Plan, watch: Watch) -> Cell:
        start = time.perf_counter()
        made = pretrain(
            self.rungs[plan.rung].recipe,
            corpus_of(self.config, self.test),
            model_folder(self.out, plan.key),
            setting=Setting(cache=self.out / "cache"),
            watch=watch,
            resume=True,
        )
        came = made.provenance
        return done(
            plan,
            seconds={"pretraining": time.perf_counter() - start, "training": came.seconds},
            scores=dict(came.results),
            parameters=encoder_size(made),
            notes={
                "steps": came.steps,
                "epochs": came.epochs,
                "tokens in the corpus": came.tokens,
                "vocabulary": made.tokenizer.size,
            },
            **_circumstances(),
        )

    def _score(self, plan: Plan) -> Cell:
        start = time.perf_counter()
        predictor = self._fit(plan)
        fitted = time.perf_counter()
        said = predictor.predict(self.test.texts)
        answered = time.perf_counter()
        gold = names(self.test)
        return done(
            plan,
            seconds={"transfer": fitted - start, "predict": answered - fitted},
            scores=scores(said, gold),
            correct=to_hex(np.array([a == b for a, b in zip(said, gold, strict=True)])),
            tests=len(gold),
            parameters=predictor.parameters,
            **_circumstances(),
        )

    def _fit(self, plan: Plan) -> Predictor:
        """The predictor of a score cell."""
        train = label_set(self.pool, plan.labels, plan.seed)
        if not plan.how:
            # A balanced label set has no commonest label: the majority is the pool's, which a user knows.
            return BASELINE_RUNGS[plan.rung].fit(self.pool if plan.rung == "majority" else train, None, plan.seed)
        source = opened(model_folder(self.out, plan.needs))
        if plan.how == "scratch":
            source = untrained(source, number(self.config.seed, "scratch", plan.seed))
        return adapt(source, train, strategy(self.config, plan.how), plan.seed)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Transferred:
    """An Adapted as a Predictor."""

    adapted: Adapted
    parameters: int

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [prediction.label for prediction in self.adapted.predict(texts)]


def adapt(source: Pretrained, train: Labelled, settings: StrategyConfig, seed: int) -> Predictor:
    """`source` transferred to the label set, with fixed settings and without a dev set."""
    task = ClassifyConfig(multi=False, dev_share=0.0)
    made = transfer({SOURCE: source}, task, train, None, settings, seed=seed)
    head = sum(array.size for name, array in made.members[0].items() if name.startswith("heads."))
    return _Transferred(adapted=made, parameters=encoder_size(source) + int(head))


@lru_cache(maxsize=2)
def opened(folder: Path) -> Pretrained:
    """A rung's model, opened once a process."""
    return load_pretrained(folder)


def untrained(source: Pretrained, seed: int) -> Pretrained:
    """The same network and tokenizer as `source` before any pretraining: 0 steps of its recipe."""
    import torch

    torch.manual_seed(seed)
    arrays = build_model(source.recipe, source.tokenizer.size).arrays()
    return dataclasses.replace(source, arrays=arrays, path=None, key=f"{source.key}-untrained-{seed}")


def encoder_size(made: Pretrained) -> int:
    """Numbers in the encoder."""
    return int(sum(array.size for name, array in made.arrays.items() if name.startswith("encoders.")))


def scores(said: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Accuracy, and macro F1 over the labels that occur in either."""
    pairs = list(zip(said, gold, strict=True))
    f1 = []
    for label in sorted({*said, *gold}):
        hit = sum(a == b == label for a, b in pairs)
        f1.append(2 * hit / (sum(a == label for a in said) + sum(b == label for b in gold)))
    return {"accuracy": sum(a == b for a, b in pairs) / len(pairs), "macro F1": sum(f1) / len(f1)}


def _circumstances() -> dict[str, object]:
    return {
        "memory": peak(),
        "machine": machine(),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
