"""Where fine-tuning's head starts: at the solution on the encoder as it is.

A random head first pulls the whole encoder about in directions that mean nothing, which costs most where examples are
few; linear probing first, then fine-tuning, keeps what pretraining gave (Kumar et al. 2022, LP-FT).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from foretext.data.plan import offsets, spread
from foretext.data.prepared import Prepared
from foretext.draws import number
from foretext.features import Remembered, encode, remembered_head
from foretext.heads.classify import ClassifyHead
from foretext.prediction import HEAD
from foretext.strategies import StrategyConfig, dropout_of, settle
from foretext.training.config import Limits
from foretext.training.gradient import Gradient
from foretext.training.model import Model
from foretext.training.progress import SilentWatch
from foretext.training.run import run
from foretext.transferring.bench import Bench
from foretext.transferring.data import ExampleBatches
from foretext.types import Arrays


def probed_head(bench: Bench, seed: int, folder: Path) -> Arrays:
    """The arrays `heads.classify.…` of a head trained on the training texts' remembered vectors.

    The texts are encoded once for all seeds of `bench`; training the head takes a second or so, and writes its log
    into `folder`."""
    remembered, views = _remembered(bench)
    rows = np.arange(len(bench.data.train))
    first = next(iter(remembered.values()))
    shapes = {name: replace(shape, widths=remembered[name].widths) for name, shape in bench.shapes.items()}
    config = remembered_head(bench.head, len(first.widths))
    head = ClassifyHead(shapes, len(bench.task.labels), config, bench.label_weights, number(seed, "head"))
    head.set_centres(bench.centres)
    model = Model(remembered, {HEAD: head})
    settled = bench.settled
    plan = settle(
        StrategyConfig(
            how="features", pool=settled.pool, layers=settled.layers, dropout=dropout_of(bench.strategy), prior=bench.strategy.prior
        ),
        bench.offers,
        len(rows),
    )
    batches = ExampleBatches(
        model=model, views=views, task=bench.task, gold=bench.data.gold[bench.data.train], rows=rows, batch=plan.batch,
        most_tokens=bench.strategy.micro_tokens, seed=seed,
    )  # fmt: skip
    stepper = Gradient(
        model,
        batches,
        total=plan.steps,
        optimizer=plan.optimizer,
        schedule=plan.schedule,
        phases=plan.phases,
        seed=seed,
        device=bench.device,
    )
    run(stepper, folder, Limits(evaluations=0, keep=0), SilentWatch())
    return {name: array for name, array in model.arrays().items() if name.startswith("heads.")}


def _remembered(bench: Bench) -> tuple[dict[str, Remembered], dict[str, Prepared]]:
    """Each source's vectors of the training texts, and the texts as windows of one token, numbered anew."""
    if not bench.probed:
        train = bench.data.train
        for name, source in bench.sources.items():
            view = bench.texts[name]
            counts = np.diff(view.sequences)[train]
            windows = spread(view.sequences[train], counts)
            features = encode(
                source.encoder(), view, bench.head, windows=windows, most_tokens=bench.strategy.micro_tokens,
                device=bench.device, bf16=bench.strategy.precision == "bf16",
            )  # fmt: skip
            alone = Prepared(ids=np.arange(len(windows)), first=np.arange(len(windows) + 1), sequences=offsets(counts))
            bench.probed[name] = (Remembered(features, is_summary=False, device=bench.device), alone)
    return {n: pair[0] for n, pair in bench.probed.items()}, {n: pair[1] for n, pair in bench.probed.items()}
