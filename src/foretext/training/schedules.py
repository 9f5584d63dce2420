"""Learning-rate schedules: pure functions of how much of the run is done. They never see the clock."""

import math

from foretext.training.config import ScheduleConfig


def factor(config: ScheduleConfig, done: float, total: int) -> float:
    """The share of the peak learning rate for the update that starts when `done` ∈ [0,1] of `total` updates are over.

    * constant — warm-up, then 1.
    * linear — google-research/bert `optimization.py`: step/warm-up while step < warm-up, then 1 − step/total. The
      decay counts from step 0, so the warm-up's end drops to 1 − warm-up/total instead of touching 1.
    * cosine — warm-up, then half a cosine from 1 down to `floor` (Loshchilov & Hutter 2017, no restarts).
    * triangle — Geiping & Goldstein 2023 (cramming, "triangle2" with start = fall = 0.25): straight up from `start`
      to 1, then straight down to 0 over the last `fall` of the run.
    * product — openai/finetune-transformer-lm `opt.py`, `warmup_linear`: the warm-up *times* 1 − done, so the peak
      is 1 − warm-up.
    * trapezoid — warm-up, 1, then straight down to `floor` over the last `fall` (warm-up–stable–decay).
    """
    assert total > 0, "a schedule needs a run of at least one step"
    done = min(max(done, 0.0), 1.0)
    if config.shape == "triangle":
        rising = config.start + (1.0 - config.start) * _ratio(done, 1.0 - config.fall)
        return max(0.0, min(rising, _ratio(1.0 - done, config.fall)))
    # Whole steps compare exactly; done · total carries rounding of its own.
    step, warmup = round(done * total, 6), warmup_updates(config, total)
    climb = step / warmup if step < warmup else 1.0
    if config.shape == "product":
        return climb * (1.0 - done)
    if step < warmup:
        return climb
    if config.shape == "linear":
        return 1.0 - done
    if config.shape == "cosine":
        after = _ratio(step - warmup, total - warmup)
        return config.floor + (1.0 - config.floor) * 0.5 * (1.0 + math.cos(math.pi * after))
    if config.shape == "trapezoid":
        return config.floor + (1.0 - config.floor) * min(1.0, _ratio(1.0 - done, config.fall))
    return 1.0


def warmup_updates(config: ScheduleConfig, total: int) -> int:
    """How many updates warm up: `warmup_steps`, but at most a tenth of a short run; else that share of `total`."""
    if config.warmup_steps is not None:
        return min(config.warmup_steps, max(total // 10, 1)) if config.warmup_steps else 0
    return round(config.warmup * total)


def _ratio(part: float, whole: float) -> float:
    """part / whole, and 1 where there is nothing to divide by."""
    return part / whole if whole > 0 else 1.0
