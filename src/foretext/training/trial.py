"""Minutes into steps: a short trial times a Stepper, and a fixed number of updates follows from it.

So a time budget is decided once, before the run; nothing in the run reads the clock, and resuming stays exact.
"""

import math
import resource
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foretext.training.config import Limits
from foretext.types import Stepper

LOOKING = 0.05
"""Most of a time budget that evaluations may take."""
WRITE = 150e6
"""Bytes a second that checksums, fsync and a slow disk let through; an underestimate on purpose."""
MARGIN = 0.98
"""Share of the time left that is planned for, so that a budget is met rather than just missed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a trial measured."""

    step: float
    """Seconds an update."""
    tokens: float
    """Real tokens a second."""
    evaluation: float
    """Seconds of one look at the held-out set."""
    checkpoint: float
    """Seconds of one checkpoint (the copy measured, the writing estimated)."""
    size: int
    """Bytes of one checkpoint."""
    parameters: int
    """Numbers that are learned or kept with the model (no optimizer state)."""
    memory: int
    """Peak memory of the process so far, bytes: resident, or the accelerator's where one is used."""
    steps: int
    """Updates that were timed."""


def measure(stepper: Stepper, seconds: float = 5.0, *, patient: bool = False) -> Rate:
    """Time `stepper` for about `seconds` after two updates of warm-up (first allocations), and leave it as it was.

    A first update that takes longer than `seconds` is the whole warm-up, unless `patient`: a compiler needs two. At least
    one update is timed, however long it takes; all are undone by `restore`. Where the Stepper's phases differ in cost,
    this is the cost of the phase it stands in; `budget` asks for each.
    """
    began = time.perf_counter()
    before = stepper.state()
    copying = time.perf_counter() - began
    try:
        began = time.perf_counter()
        stepper.step()
        if patient or time.perf_counter() - began < seconds:
            stepper.step()
        times: list[float] = []
        tokens, began = 0, time.perf_counter()
        while not times or time.perf_counter() - began < seconds:
            started = time.perf_counter()
            tokens += stepper.step().tokens
            times.append(time.perf_counter() - started)
        each = _usual(times)
        began = time.perf_counter()
        stepper.evaluate()
        looking = time.perf_counter() - began
        after = stepper.state()
    finally:
        stepper.restore(before)
    size = sum(array.nbytes for array in after.arrays.values())
    model = (array.size for name, array in after.arrays.items() if not name.startswith("optimizer."))
    return Rate(
        step=each,
        tokens=tokens / len(times) / each,
        evaluation=looking,
        checkpoint=copying + size / WRITE,
        size=size,
        parameters=sum(model),
        memory=peak_memory(),
        steps=len(times),
    )


def _usual(times: Sequence[float]) -> float:
    """The mean without hiccups: a step five times the median is a compilation or another process, not a step."""
    limit = 5.0 * statistics.median(times)
    return max(statistics.fmean(t for t in times if t <= limit), 1e-9)


def affordable(rate: Rate, limits: Limits, *, spent: float = 0.0) -> Limits:
    """`limits` with as many evaluations as a twentieth of `limits.minutes` (of which `spent` seconds are gone) can pay for,
    at least one where there were any. A run's limits are settled by this before it starts, and then kept with it."""
    if limits.minutes is None or limits.evaluate_steps is not None:
        return limits
    left = max(60.0 * limits.minutes - spent, 0.0)
    most = max(1, int(LOOKING * left / max(rate.evaluation, 1e-9)))
    return replace(limits, evaluations=min(limits.evaluations, most))


def plan_steps(rate: Rate, minutes: float, limits: Limits, *, spent: float = 0.0) -> int:
    """The updates that fit into `minutes`, of which `spent` seconds are gone, evaluations and checkpoints included."""
    left = max(60.0 * minutes - spent, 0.0)
    each = rate.step + (rate.evaluation / limits.evaluate_steps if limits.evaluate_steps else 0.0)
    if limits.checkpoint_steps and limits.keep:
        each += rate.checkpoint / limits.checkpoint_steps
    return max(1, math.floor(MARGIN * (left - _fixed(rate, left, limits)) / each + 1e-6))


def _fixed(rate: Rate, seconds: float, limits: Limits) -> float:
    """Seconds of a run that do not grow with its steps."""
    looks = 0 if limits.evaluate_steps else limits.evaluations
    saves = 0.0
    if limits.keep:
        saves = 1 + (seconds / (60.0 * limits.checkpoint_minutes) if limits.checkpoint_minutes else 0.0)
        if limits.choose == "best" or limits.patience is not None:
            saves += looks / 2  # at most one a look; half is usual
    return looks * rate.evaluation + saves * rate.checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a run will need."""

    steps: int
    tokens: float
    """Real tokens that will be read."""
    hours: float
    parameters: int
    memory: int
    """Bytes at the peak."""
    disk: int
    """Bytes of the checkpoints kept, one being written included."""


def forecast(rate: Rate, steps: int, limits: Limits) -> Forecast:
    """What a run of `steps` updates will need at this rate."""
    looks = steps / limits.evaluate_steps if limits.evaluate_steps else limits.evaluations
    seconds = steps * rate.step + looks * rate.evaluation
    if limits.keep:
        saves = 1 + (seconds / (60.0 * limits.checkpoint_minutes) if limits.checkpoint_minutes else 0.0)
        saves += steps / limits.checkpoint_steps if limits.checkpoint_steps else 0.0
        seconds += saves * rate.checkpoint
    return Forecast(
        steps=steps,
        tokens=steps * rate.step * rate.tokens,
        hours=seconds / 3600.0,
        parameters=rate.parameters,
        memory=rate.memory,
        disk=rate.size * (limits.keep + 2) if limits.keep else 0,  # the newest, the best, the one being written
    )


def peak_memory() -> int:
    """Most bytes this process has held: on the accelerator where torch uses one, else resident."""
    torch = sys.modules.get("torch")  # a Stepper without torch must not import it for this
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # KiB on Linux
