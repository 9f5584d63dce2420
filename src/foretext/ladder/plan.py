"""From a grid to cells: which there are, what identifies each, and in what order the table shows them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from foretext.baselines import BASELINE_RUNGS, names
from foretext.bundle import Pretrained
from foretext.config import override
from foretext.errors import UsageError
from foretext.first_vectors import identified, require_source
from foretext.folder import fingerprint
from foretext.interop.vectors import named_vectors
from foretext.ladder.cells import Plan
from foretext.ladder.config import LadderConfig
from foretext.ladder.language import language_plans
from foretext.ladder.origins import content_key, opened_source
from foretext.models.catalog import family, require
from foretext.recipe import FamilyConfig, Recipe, to_json
from foretext.recipes import find
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Labelled
from foretext.types import JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """One pretrained rung of a grid: its recipe with the grid's budget in it, and its ways of transfer.

    A rung of weights that exist has a `source`, and `source_key`, the fingerprint of its content. Without `trained`
    it is taken as it is, and `recipe` is the source's own; otherwise `recipe` goes on from it. `scratch`: whether the
    same network is run from scratch too, where the grid has that baseline. `vectors`: another program's, where the recipe's
    embeddings start from such a file."""

    name: str
    recipe: Recipe
    hows: tuple[str, ...]
    source: Pretrained | None = None
    source_key: str = ""
    trained: bool = True
    scratch: bool = True
    vectors: Pretrained | None = None

    @property
    def family(self) -> FamilyConfig:
        """The network: a source's keeps its shape."""
        return self.recipe.family if self.source is None else self.source.recipe.family

    @property
    def identity(self) -> dict[str, JSON]:
        """What decides its pretraining, as JSON: the recipe (a folder of first vectors by its content, citations left out,
        since they decide nothing) and the source's content."""
        source = {"source": self.source_key} if self.source_key else {}
        decides = to_json(identified(self.recipe, self.vectors)) if self.trained else {}
        return {**{name: value for name, value in decides.items() if name != "cites"}, **source}


def rungs(config: LadderConfig) -> list[Rung]:
    """The grid's rungs; UsageError for an unknown recipe or way, a setting that is none of the recipe's, or a source
    that is not there."""
    return [rung(config, name) for name in config.rungs]


def rung(config: LadderConfig, name: str) -> Rung:
    """The grid's rung `name`."""
    origin = config.origins.get(name)
    source = opened_source(origin.path) if origin else None
    key = content_key(source) if source else ""
    scratch = origin is None or origin.scratch
    recipe_name = (origin.recipe if origin else name) or ""
    made = source.recipe if source else find(recipe_name)
    if "score" not in family(made.family.name).can or name in config.how:
        require(made.family.name, "finetune", f"the rung {name}")
    if origin and source and not origin.recipe:
        hows = config.how.get(name) or default_hows(source.recipe.family)
        return Rung(
            name=name, recipe=source.recipe, hows=hows, source=source, source_key=key, trained=False, scratch=scratch
        )
    settled = override(find(origin.recipe if origin else name), config.settings.get(name, {}), place=f"settings.{name}")
    # Word vectors name their own number of passes: on little text, more of them make the vectors worse.
    own = getattr(settled.family, "epochs", None)
    minutes = origin.minutes if origin and origin.minutes else config.minutes
    looks = min(4, settled.limits.evaluations)
    limits = replace(settled.limits, steps=None, epochs=own, minutes=minutes, checkpoint_minutes=1.0, evaluations=looks)
    recipe = replace(settled, limits=limits, seed=config.seed)
    hows = config.how.get(name) or default_hows(source.recipe.family if source else recipe.family)
    vectors = named_vectors(recipe)
    require_source(recipe, source, vectors, f"give its weights: --continued {name}=PATH, or [sources.{name}] with a recipe")
    return Rung(name=name, recipe=recipe, hows=hows, source=source, source_key=key, scratch=scratch, vectors=vectors)


def default_hows(made: FamilyConfig) -> tuple[str, ...]:
    """What a family is good for: static vectors as features; contextual networks as features and fine-tuned; a family
    without vectors for neither, and it is judged by the text that it predicts."""
    can = family(made.name).can
    if "finetune" not in can:
        return ()
    return ("features", "finetune") if "contextual" in can else ("features",)


def corpus_plan(rung: Rung, corpus_key: str) -> Plan:
    """The pretraining cell of a rung; weights taken as they are depend on no corpus."""
    data = {"corpus": corpus_key} if rung.trained else None
    return Plan(kind="pretraining", rung=rung.name, config=rung.identity, data=data, seed=rung.recipe.seed if rung.trained else 0)


def plans(config: LadderConfig, found: Sequence[Rung], corpus_key: str, task: Mapping[str, str]) -> list[Plan]:
    """Every cell of the grid in the table's order: pretrainings, baselines without a network, rung by rung, and what rungs
    make of the test texts as language models."""
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
                config={"recipe": rung.identity, "strategy": msgspec.to_builtins(strategy(config, how))},
                data=task,
                needs=pretraining[rung.name].key,
            )
            wanted = config.columns.get(rung.name, config.labels)
            made += [replace(base, labels=labels, seed=seed) for labels, seed in places if labels in wanted]
    return made + language_plans(found, pretraining, {"test": task["test"], "language": config.reading.language})


def ways(config: LadderConfig, rung: Rung) -> tuple[str, ...]:
    """A rung's ways in the table's order: from scratch first, where it is asked for and the network is fine-tuned."""
    scratch = "scratch" in config.baselines and "finetune" in rung.hows and rung.scratch
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
