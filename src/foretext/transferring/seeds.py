"""One seed of a transfer: a new head, a run, a score on dev; sealed when done, so it is never done twice."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foretext.errors import DivergedError
from foretext.folder import is_sealed, open_sealed, read_arrays, sealing, write_arrays
from foretext.metrics import scores
from foretext.strategies import limits
from foretext.training.gradient import Gradient
from foretext.training.model import Model, copy_in
from foretext.training.progress import Watch
from foretext.training.run import run
from foretext.transferring.bench import Bench
from foretext.transferring.data import ExampleBatches
from foretext.transferring.probe import probed_head
from foretext.types import JSON, Arrays

CHEAP = 3e13
"""A seed of fewer multiplications than this (a minute or so) keeps no checkpoints: it is sooner done than saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeded:
    """What one seed gave: its `score` on dev (None without dev), whether it `failed` and why, its arrays."""

    seed: int
    score: float | None
    scores: Mapping[str, float]
    failed: str
    arrays: Arrays
    steps: int
    seconds: float


def run_seed(bench: Bench, seed: int, work: Path, watch: Watch) -> Seeded:
    """One seed, or what it gave when it was run before."""
    folder = work / f"seed-{seed}"
    if is_sealed(folder):
        return _read_seed(folder)
    started = time.monotonic()
    model, data, settled, config = bench.model(seed), bench.data, bench.settled, bench.strategy
    stepper = seed_stepper(bench, model, seed)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    tokens = float(np.mean(bench.texts[next(iter(bench.texts))].example_tokens[data.train])) * settled.batch
    cheap = 6 * numbers * tokens * settled.steps < CHEAP
    failed, arrays, found = "", model.arrays(), dict[str, float]()
    try:
        if settled.probe:
            copy_in(model, probed_head(bench, seed, work / f"seed-{seed}.probe"), within="heads.")
            shutil.rmtree(work / f"seed-{seed}.probe", ignore_errors=True)
        ending = run(stepper, work / f"seed-{seed}.run", limits(config, has_dev=len(data.dev) > 0, keep=0 if cheap else 1), watch)
        steps, arrays = ending.steps, model.arrays()
    except DivergedError as error:
        failed, steps = f"diverged: {error.rule}", stepper.done
        watch.alarm(f"seed {seed} {failed}")
    if not failed and len(data.dev):
        found = scores(bench.task.metrics, bench.probabilities(model, data.dev), data.gold[data.dev])
        if found[bench.metric] <= bench.majority:
            failed = f"{bench.metric} {found[bench.metric]:.3f} is no better than always answering alike ({bench.majority:.3f})"
            watch.alarm(f"seed {seed} failed: {failed}")
    result = Seeded(
        seed=seed, score=found.get(bench.metric), scores=found, failed=failed, arrays=arrays, steps=steps,
        seconds=time.monotonic() - started,
    )  # fmt: skip
    _write_seed(folder, result)
    shutil.rmtree(work / f"seed-{seed}.run", ignore_errors=True)
    return result


def seed_stepper(bench: Bench, model: Model, seed: int) -> Gradient:
    """The Stepper that trains `model` (of `bench.model`) on the bench's training texts and looks at its dev texts."""
    data, settled, config = bench.data, bench.settled, bench.strategy
    batches = ExampleBatches(
        model=model, views=bench.seen, task=bench.task, gold=data.gold, rows=data.train, batch=settled.batch,
        most_tokens=config.micro_tokens, seed=seed,
    )  # fmt: skip
    return Gradient(
        model,
        batches,
        total=settled.steps,
        held_out=batches.held_out(data.dev),
        optimizer=settled.optimizer,
        schedule=settled.schedule,
        phases=settled.phases,
        precision=config.precision,
        seed=seed,
        device=bench.device,
    )


def _write_seed(folder: Path, result: Seeded) -> None:
    with sealing(folder, kind="seed", meta=told(result)) as draft:
        write_arrays(draft / "weights.safetensors", result.arrays)


def _read_seed(folder: Path) -> Seeded:
    meta = open_sealed(folder, kind="seed").meta
    return Seeded(**{**meta, "arrays": read_arrays(folder / "weights.safetensors")})


def told(result: Seeded) -> dict[str, JSON]:
    return {name: getattr(result, name) for name in ("seed", "score", "scores", "failed", "steps", "seconds")}


def keep_seeds(done: Sequence[Seeded], keep: Literal["best", "ensemble"], watch: Watch, metric: str) -> list[Seeded]:
    """The seeds that stay: the best one, or all that did not fail. All failed: the best of the undiverged."""
    able = [result for result in done if not result.failed.startswith("diverged")]
    if not able:
        raise DivergedError(
            f"all {len(done)} seeds diverged: {done[0].failed}", remedy="lower the rate (strategy.rate, strategy.head_rate)"
        )
    good = [result for result in able if not result.failed] or able
    found = spread(done)
    if found["mean"] is not None:
        around = f" ± {found['sd']:.3f}" if len(able) > 1 else ""
        failures = f", {found['failed']} failed" if found["failed"] else ""
        watch.say(f"dev {metric}: {found['mean']:.3f}{around} over {len(able)} seed{'s'[: len(able) > 1]}{failures}")
    if keep == "ensemble":
        return good
    return [max(good, key=lambda result: (result.score or 0.0, -result.seed))]


def spread(done: Sequence[Seeded]) -> dict[str, JSON]:
    found = [result.score for result in done if result.score is not None]
    return {
        "mean": float(np.mean(found)) if found else None,
        "sd": float(np.std(found, ddof=1)) if len(found) > 1 else None,
        "seeds": len(done),
        "failed": sum(bool(result.failed) for result in done),
    }
