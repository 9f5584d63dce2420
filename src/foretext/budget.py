"""How long a run will be, decided once before its first step; and what it will need."""

import time
from dataclasses import replace

from foretext.errors import UsageError
from foretext.models.catalog import family
from foretext.steppers import Job, make, steps_per_epoch
from foretext.training import trial
from foretext.training.config import Limits
from foretext.training.progress import Watch
from foretext.types import JSON, State, Stepper

TRIAL_SHARE = 0.03
"""Share of a time budget that its trial may take; at most `TRIAL_SECONDS`."""
TRIAL_SECONDS = 10.0
MUCH = 0.25
"""Share of a time budget that may be gone before the first step without a word about it."""
FORECAST_SECONDS = 5.0
"""Of the trial from which a forecast is made."""
ENDLESS = 1_000_000_000
"""A provisional length, so that a trial runs at the run's beginning (warm-up rates), not past its end."""


def planned(job: Job, watch: Watch, spent: float = 0.0) -> tuple[Stepper, Limits, str]:
    """The run's Stepper with its length fixed, the run's limits, and the reason: steps as given, epochs counted, or
    minutes divided by what a short trial measured (making the Stepper and the trial come off the budget, and
    evaluations are as many as it bears). `spent`: seconds of the budget that are gone."""
    limits = job.recipe.limits
    if limits.steps is not None:
        made = make(job, steps=limits.steps, watch=watch)
        few = f"{_steps(made.total)} read all there is; {limits.steps:,} were asked for"
        return made, limits, few if made.total < limits.steps else f"{_steps(limits.steps)}, as asked"
    if limits.minutes is None:
        stepper, why = _by_epochs(job, watch)
        return stepper, limits, why
    began = time.monotonic() - spent
    stepper = make(job, steps=ENDLESS, watch=watch)
    watch.say("a short trial turns minutes into steps")
    # Before the other phases' trials, which take its place in the memory that several processes share.
    begun = stepper.state() if len(job.recipe.phases) > 1 else None
    rate = _measured(job, stepper, min(TRIAL_SECONDS, TRIAL_SHARE * 60.0 * limits.minutes), watch)
    limits = trial.affordable(rate, limits, spent=time.monotonic() - began)
    assert limits.minutes is not None
    gone = time.monotonic() - began
    steps = trial.plan_steps(rate, limits.minutes, limits, spent=gone)
    own = steps if limits.epochs is None else max(1, round(limits.epochs * steps_per_epoch(job)))
    if own < steps:
        why = f"{limits.epochs:g} epochs are {_steps(own)}, within {limits.minutes:g} minutes"
        return _with_length(job, stepper, begun, own, watch), limits, why
    why = f"{limits.minutes:g} minutes are {_steps(steps)} at {rate.step * 1e3:,.0f} ms ({rate.tokens:,.0f} tokens/s)"
    if gone > MUCH * 60.0 * limits.minutes:
        why += f"; {gone:.0f} s of them were gone before the first (a family's kernels are compiled once an installation)"
    made = _with_length(job, stepper, begun, steps, watch)
    if made.total < steps:
        why = f"{_steps(made.total)} read all there is; {limits.minutes:g} minutes would be {_steps(steps)}"
    return made, limits, why


def _measured(job: Job, stepper: Stepper, seconds: float, watch: Watch) -> trial.Rate:
    """What an update costs, on average over the phases: each that reads windows of another kind is timed by itself, a
    phase of 512 tokens after one of 128 being several times dearer."""
    recipe = job.recipe
    kinds = [phase.windows or recipe.windows for phase in recipe.phases]
    patient = recipe.batch.compile
    if all(kind == kinds[0] for kind in kinds):
        return trial.measure(stepper, seconds, patient=patient)
    whole = sum(phase.share for phase in recipe.phases)
    first = trial.measure(stepper, seconds * recipe.phases[0].share / whole, patient=patient)
    rates, memory = [first], first.memory
    for phase, windows in zip(recipe.phases[1:], kinds[1:], strict=True):
        alone = replace(recipe, windows=windows, phases=(replace(phase, share=1.0, windows=None),))
        other = make(replace(job, recipe=alone), steps=ENDLESS, watch=watch, fresh=False)
        rates.append(trial.measure(other, seconds * phase.share / whole, patient=patient))
        memory = max(memory, rates[-1].memory)
    shares = [phase.share / whole for phase in recipe.phases]
    step = sum(share * rate.step for share, rate in zip(shares, rates, strict=True))
    tokens = sum(share * rate.step * rate.tokens for share, rate in zip(shares, rates, strict=True))
    return replace(first, step=step, tokens=tokens / step, memory=memory)


def _by_epochs(job: Job, watch: Watch) -> tuple[Stepper, str]:
    epochs = _epochs(job)
    steps = max(1, round(epochs * steps_per_epoch(job)))
    return make(job, steps=steps, watch=watch), f"{epochs:g} epochs are {_steps(steps)}"


def _steps(count: int) -> str:
    return f"{count:,} step" if count == 1 else f"{count:,} steps"


def _epochs(job: Job) -> float:
    """As asked, or the family's own habit (word2vec: 5)."""
    epochs: float | None = job.recipe.limits.epochs or getattr(job.recipe.family, "epochs", None)
    if epochs is None:
        raise UsageError("how long? the recipe sets no budget", remedy="give --minutes, --steps or --epochs")
    return epochs


def _with_length(job: Job, stepper: Stepper, begun: State | None, steps: int, watch: Watch) -> Stepper:
    """The trial's Stepper, which stands at its beginning, with its true length; where there are phases it is made
    anew, as the borders of what they read depend on the length, from the first values that it had (`begun`): they cost
    seconds."""
    if begun is not None:
        longer = make(job, steps=steps, watch=watch, fresh=False)
        longer.restore(replace(begun, cursor={**begun.cursor, "total": steps}))
        return longer
    stepper.total = steps
    return stepper


def forecast(job: Job, watch: Watch) -> dict[str, JSON]:
    """Parameters, tokens, epochs, memory (bytes), disk (bytes) and hours of the run, from a trial."""
    limits = job.recipe.limits
    per_epoch = steps_per_epoch(job)
    stepper = make(job, steps=limits.steps or ENDLESS, watch=watch)
    watch.say("a short trial")
    rate = _measured(job, stepper, FORECAST_SECONDS, watch)
    if limits.steps is not None:
        steps = limits.steps
    elif limits.minutes is not None:
        limits = trial.affordable(rate, limits)
        steps = trial.plan_steps(rate, limits.minutes or 0.0, limits)
    else:
        steps = max(1, round(_epochs(job) * per_epoch))
    stepper.total = steps
    steps = stepper.total  # a family may have read all there is before
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
