"""From a grid to cells: which there are, what identifies each, and in what order the table shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from foretext.baselines import BASELINE_RUNGS, names
from foretext.config import override
from foretext.errors import UsageError
from foretext.first_vectors import identified
from foretext.folder import fingerprint
from foretext.ladder.cells import Plan
from foretext.ladder.config import LadderConfig
from foretext.models.catalog import family
from foretext.recipe import Recipe, to_json
from foretext.recipes import find
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One pretrained rung of a grid: its recipe with the grid's budget in it, and its ways of transfer."""

    name: str
    recipe: Recipe
    hows: tuple[str, ...]


def rungs(config: LadderConfig) -> list[Rung]:
    """The grid's rungs; UsageError for an unknown recipe or way, or a setting that is none of the recipe's."""
    found = []
    for name in config.rungs:
        base = find(name)
        settled = override(base, config.settings.get(name, {}), place=f"settings.{name}")
        # Word vectors name their own number of passes: on little text, more of them make the vectors worse.
        own = getattr(settled.family, "epochs", None)
        limits = replace(
            settled.limits, steps=None, epochs=own, minutes=config.minutes, checkpoint_minutes=1.0, evaluations=4
        )
        hows = config.how.get(name) or default_hows(settled)
        found.append(Rung(name=name, recipe=replace(settled, limits=limits, seed=config.seed), hows=hows))
    return found


def default_hows(made: Recipe) -> tuple[str, ...]:
    """What a family is good for: static vectors as features; contextual networks as features and fine-tuned."""
    can = family(made.family.name).can
    return ("features", "finetune") if "contextual" in can else ("features",)


def corpus_plan(rung: Rung, corpus_key: str) -> Plan:
    """The pretraining cell of a rung."""
    return Plan(kind="pretraining", rung=rung.name, config=_identity(rung.recipe), data={"corpus": corpus_key}, seed=rung.recipe.seed)


def plans(config: LadderConfig, found: Sequence[Rung], corpus_key: str, task: Mapping[str, str]) -> list[Plan]:
    """Every cell of the grid in the table's order: pretrainings, baselines without a network, then rung by rung."""
    made: list[Plan] = []
    places = [(labels, seed) for labels in config.labels for seed in range(config.seeds)]
    pretraining = {rung.name: corpus_plan(rung, corpus_key) for rung in found}
    made += pretraining.values()
    for name in config.baselines:
        if name in BASELINE_RUNGS:
            made += [
                Plan(kind="score", rung=name, labels=labels, seed=seed, config={"baseline": name}, data=task)
                for labels, seed in places
            ]
    for rung in found:
        for how in ways(config, rung):
            base = Plan(
                kind="score",
                rung=rung.name,
                how=how,
                config={"recipe": _identity(rung.recipe), "strategy": msgspec.to_builtins(strategy(config, how))},
                data=task,
                needs=pretraining[rung.name].key,
            )
            made += [replace(base, labels=labels, seed=seed) for labels, seed in places]
    return made


def ways(config: LadderConfig, rung: Rung) -> tuple[str, ...]:
    """A rung's ways in the table's order: from scratch first, where it is asked for and the network is fine-tuned."""
    scratch = "scratch" in config.baselines and "finetune" in rung.hows
    return (("scratch",) if scratch else ()) + rung.hows


def strategy(config: LadderConfig, how: str) -> StrategyConfig:
    """The settings of a way of transfer; from scratch is fine-tuning, with the same settings."""
    name = "finetune" if how == "scratch" else how
    if name not in config.strategies:
        raise UsageError(f"unknown way of transfer {how!r}", remedy=f"known: {', '.join(config.strategies)}")
    return config.strategies[name]


def task_key(pool: Labelled, test: Labelled) -> dict[str, str]:
    """Content keys of the labelled texts: the pool label sets are drawn from, and the test texts."""
    return {
        "pool": fingerprint(list(pool.texts), names(pool)),
        "test": fingerprint(list(test.texts), names(test)),
    }


def _identity(made: Recipe) -> object:
    """A recipe as JSON without its citations, which decide nothing, and a folder of first vectors by its content."""
    return {name: value for name, value in to_json(identified(made)).items() if name != "cites"}
