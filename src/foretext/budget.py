"""How long a run will be, decided once before its first step; and what it will need."""

import time

from foretext.errors import UsageError
from foretext.models.catalog import family
from foretext.steppers import Job, make, steps_per_epoch
from foretext.training import trial
from foretext.training.config import Limits
from foretext.training.progress import Watch
from foretext.types import JSON, Stepper

TRIAL_SHARE = 0.03
"""Share of a time budget that its trial may take; at most `TRIAL_SECONDS`."""
TRIAL_SECONDS = 10.0
ENDLESS = 1_000_000_000
"""A provisional length, so that a trial runs at the run's beginning (warm-up rates), not past its end."""


def planned(job: Job, watch: Watch) -> tuple[Stepper, Limits, str]:
    """The run's Stepper with its length fixed, the run's limits, and the reason: steps as given, epochs counted, or
    minutes divided by what a short trial measured (making the Stepper and the trial come off the budget, and
    evaluations are as many as it bears)."""
    limits = job.recipe.limits
    if limits.steps is not None:
        return make(job, steps=limits.steps, watch=watch), limits, f"{limits.steps:,} steps, as asked"
    if limits.minutes is None:
        stepper, why = _by_epochs(job, watch)
        return stepper, limits, why
    began = time.monotonic()
    stepper = make(job, steps=ENDLESS, watch=watch)
    watch.say("a short trial turns minutes into steps")
    rate = trial.measure(stepper, min(TRIAL_SECONDS, TRIAL_SHARE * 60.0 * limits.minutes))
    limits = trial.affordable(rate, limits, spent=time.monotonic() - began)
    assert limits.minutes is not None
    steps = trial.plan_steps(rate, limits.minutes, limits, spent=time.monotonic() - began)
    own = steps if limits.epochs is None else max(1, round(limits.epochs * steps_per_epoch(job)))
    if own < steps:
        why = f"{limits.epochs:g} epochs are {own:,} steps, within {limits.minutes:g} minutes"
        return _with_length(job, stepper, own, watch), limits, why
    why = f"{limits.minutes:g} minutes are {steps:,} steps at {rate.step * 1e3:,.0f} ms ({rate.tokens:,.0f} tokens/s)"
    return _with_length(job, stepper, steps, watch), limits, why


def _by_epochs(job: Job, watch: Watch) -> tuple[Stepper, str]:
    epochs = _epochs(job)
    steps = max(1, round(epochs * steps_per_epoch(job)))
    return make(job, steps=steps, watch=watch), f"{epochs:g} epochs are {steps:,} steps"


def _epochs(job: Job) -> float:
    """As asked, or the family's own habit (word2vec: 5)."""
    epochs: float | None = job.recipe.limits.epochs or getattr(job.recipe.family, "epochs", None)
    if epochs is None:
        raise UsageError("how long? the recipe sets no budget", remedy="give --minutes, --steps or --epochs")
    return epochs


def _with_length(job: Job, stepper: Stepper, steps: int, watch: Watch) -> Stepper:
    """The trial's Stepper, which stands at its beginning, with its true length; made anew where phases read data of
    their own, whose borders depend on the length."""
    if len(job.recipe.phases) > 1:
        return make(job, steps=steps, watch=watch)
    stepper.total = steps
    return stepper


def forecast(job: Job, watch: Watch) -> dict[str, JSON]:
    """Parameters, tokens, epochs, memory (bytes), disk (bytes) and hours of the run, from a trial."""
    limits = job.recipe.limits
    per_epoch = steps_per_epoch(job)
    stepper = make(job, steps=limits.steps or ENDLESS, watch=watch)
    watch.say("a short trial")
    rate = trial.measure(stepper, 5.0)
    if limits.steps is not None:
        steps = limits.steps
    elif limits.minutes is not None:
        limits = trial.affordable(rate, limits)
        steps = trial.plan_steps(rate, limits.minutes or 0.0, limits)
    else:
        steps = max(1, round(_epochs(job) * per_epoch))
    found = trial.forecast(rate, steps, limits)
    return {
        "recipe": job.recipe.name,
        "family": f"{job.recipe.family.name}: {family(job.recipe.family.name).about}",
        "parameters": found.parameters,
        "vocabulary": job.store.tokenizer.size,
        "corpus tokens": len(job.store.ids),
        "steps": found.steps,
        "epochs": round(found.steps / per_epoch, 3),
        "tokens read": round(found.tokens),
        "tokens a second": round(rate.tokens),
        "hours": round(found.hours, 4),
        "memory bytes": found.memory * job.processes,  # at most: they share the parameters and the store's pages
        "disk bytes": found.disk,
    }
