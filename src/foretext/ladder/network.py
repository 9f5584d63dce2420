"""The cells that need a network: a rung pretrained, and a label set learned by one. Imports torch."""

import dataclasses
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from foretext.adapted import Adapted
from foretext.baselines import Predictor
from foretext.bundle import SOURCE, Pretrained, build_model, load_pretrained
from foretext.draws import number
from foretext.ladder.cells import Cell, Plan, done
from foretext.ladder.machine import circumstances
from foretext.ladder.texts import model_folder
from foretext.models.catalog import family
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Labelled
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import ExcludingCorpus
from foretext.training.progress import Watch
from foretext.transferring import transfer
from foretext.types import Corpus


def pretrained_cell(plan: Plan, recipe: Recipe, corpus: Corpus, out: Path, watch: Watch) -> Cell:
    """Pretrain a rung into its model folder; what it took and what it reached."""
    start = time.perf_counter()
    made = pretrain(
        recipe,
        corpus,
        model_folder(out, plan.key),
        setting=Setting(cache=out / "cache", threads=threads_for(recipe)),
        watch=watch,
        resume=True,
    )
    came = made.provenance
    left_out = corpus.excluded if isinstance(corpus, ExcludingCorpus) else 0
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
            "documents left out because they hold a test text": left_out,
        },
        **circumstances(),
    )


def threads_for(recipe: Recipe) -> int | None:
    """How many threads a rung's pretraining is given: all (None), or one where more are no faster here and now.

    Small networks gain little from a second thread, and lose a hundredfold when another process holds a core, since
    every product then waits for the thread that is not running. Measured on products of the network's own size.
    """
    width = getattr(recipe.family, "width", 0)
    if family(recipe.family.name).stepper is not None or not width:
        return None
    every = len(os.sched_getaffinity(0))
    dtype = torch.bfloat16 if recipe.batch.precision == "bf16" else torch.float32
    alone, together = _product_seconds(1, width, dtype), _product_seconds(every, width, dtype)
    return None if together < 0.9 * alone else 1


def _product_seconds(threads: int, width: int, dtype: torch.dtype) -> float:
    """Seconds of a short series of products, `threads` at work; the larger half of the series counts, as stalls come
    now and then."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, w = torch.randn(1024, width, dtype=dtype), torch.randn(width, 4 * width, dtype=dtype)
    times = []
    for _ in range(60):
        start = time.perf_counter()
        torch.nn.functional.gelu(x @ w)
        times.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return sum(sorted(times)[30:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Transferred:
    """An Adapted as a Predictor."""

    adapted: Adapted
    parameters: int

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [prediction.label for prediction in self.adapted.predict(texts)]


def fit(folder: Path, train: Labelled, settings: StrategyConfig, seed: int, *, scratch: int | None = None) -> Predictor:
    """The model in `folder` transferred to the label set, with fixed settings and without a dev set.

    `scratch`: a seed; the network starts as new, drawn from it."""
    source = opened(folder)
    if scratch is not None:
        source = untrained(source, number(scratch, "scratch", seed))
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
    torch.manual_seed(seed)
    arrays = build_model(source.recipe, source.tokenizer.size).arrays()
    return dataclasses.replace(source, arrays=arrays, path=None, key=f"{source.key}-untrained-{seed}")


def encoder_size(made: Pretrained) -> int:
    """Numbers in the encoder."""
    return int(sum(array.size for name, array in made.arrays.items() if name.startswith("encoders.")))
