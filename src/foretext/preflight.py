"""Before a run starts: will it fit into memory? If not, say how much it needs and a smaller setting that does."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foretext.bundle import Pretrained, build_model
from foretext.errors import ResourceError, UsageError
from foretext.models.catalog import family, resolve
from foretext.recipe import Recipe
from foretext.training.config import OptimizerConfig
from foretext.training.memory import Need, available, encoding_need, gigabytes, training_need

if TYPE_CHECKING:
    from foretext.strategies import StrategyConfig
    from foretext.text.store import TokenStore


def pretraining_need(
    recipe: Recipe, store: "TokenStore", *, bf16: bool = False, known: dict[Any, Any] | None = None
) -> Need:
    """Bytes of pretraining `recipe` on `store`; the network is counted without being made. `known`: networks that were
    counted before, by the family's settings."""
    config: Any = recipe.family
    room = family(config.name)
    if room.memory is not None:
        weights, working, copies = resolve(room.memory)(config, store)
        return Need(weights=weights, activations=working, copies=copies)
    if room.stepper is not None:  # its tables (two, where it does not say), and a checkpoint's copy of them
        rows = int((store.counts >= getattr(config, "min_count", 1)).sum())
        read = config.rows(rows) if hasattr(config, "rows") else rows
        size = 4 * (read + (getattr(config, "tables", 2) - 1) * rows) * config.width
        return Need(weights=size, copies=size)
    from foretext.layers.initial import to_be_counted

    known = {} if known is None else known
    if config not in known:
        with to_be_counted():
            known[config] = build_model(recipe, store.tokenizer.size, tokenizer=store.tokenizer)
    model = known[config]
    length = max((phase.windows or recipe.windows).length for phase in recipe.phases if phase.windows or recipe.windows)  # type: ignore[union-attr]
    rows = min(recipe.batch.micro or recipe.batch.rows, recipe.batch.rows)
    return training_need(model, recipe.optimizer, rows=rows, length=length, bf16=bf16)


def require_pretraining(recipe: Recipe, store: "TokenStore", *, bf16: bool = False, on_cpu: bool = True) -> None:
    """ResourceError (exit 5) when the run would not fit; names the estimate and the nearest setting that fits."""
    room, why = available()
    if room is None:
        return
    known: dict[Any, Any] = {}
    need = _on(pretraining_need(recipe, store, bf16=bf16, known=known), on_cpu)
    if need.total <= room:
        return
    for said, smaller in _smaller(recipe):
        if _on(pretraining_need(smaller, store, bf16=bf16, known=known), on_cpu).total <= room:
            raise _refusal(need, room, why, f"for example {said} would fit")
    raise _refusal(need, room, why, "choose a smaller recipe, or a smaller tokenizer.size")


def _smaller(recipe: Recipe) -> Iterator[tuple[str, Recipe]]:
    """Recipes that need less, nearest first: fewer rows at a time (the same gradient), then fewer layers, then less
    width (the feed-forward part in proportion, heads as wide as they are)."""
    if family(recipe.family.name).stepper is not None:  # no layers, no rows: narrower vectors, or shorter n-grams
        own: Any = recipe.family
        field = "width" if hasattr(own, "width") else "order"
        size = getattr(own, field)
        while size > (8 if field == "width" else 1):
            size = size // 2 if field == "width" else size - 1
            yield f"family.{field} = {size}", replace(recipe, family=replace(own, **{field: size}))
        return
    rows = min(recipe.batch.micro or recipe.batch.rows, recipe.batch.rows)
    while rows > 1:
        rows //= 2
        yield f"batch.micro = {rows}", replace(recipe, batch=replace(recipe.batch, micro=rows))
    recipe = replace(recipe, batch=replace(recipe.batch, micro=1))
    config: Any = recipe.family
    layers = getattr(config, "layers", 1)
    while layers > 1:
        layers //= 2
        yield f"batch.micro = 1 with family.layers = {layers}", replace(recipe, family=replace(config, layers=layers))
    config = replace(config, layers=1) if hasattr(config, "layers") else config
    width = config.width
    while width > 32:
        width //= 2
        try:
            smaller = replace(config, **_narrowed(config, width))
        except UsageError:
            continue
        also = "".join(f", family.{name} = {value}" for name, value in _narrowed(config, width).items() if name != "width")
        yield f"family.width = {width}{also}, one layer, batch.micro = 1", replace(recipe, family=smaller)


def _narrowed(config: Any, width: int) -> dict[str, int]:
    scale = config.width / width
    other = {name: max(1, int(getattr(config, name) / scale)) for name in ("heads", "inner") if hasattr(config, name)}
    return {"width": width, **other}


def require_transfer(sources: Mapping[str, Pretrained], strategy: "StrategyConfig", *, on_cpu: bool = True) -> None:
    """The same for stage two, of its sources' networks together; what features will hold comes on top and is checked
    when it is known."""
    room, why = available()
    if room is None:
        return
    need = _on(_transfer_need(list(sources.values()), strategy, strategy.micro_tokens), on_cpu)
    if need.total <= room:
        return
    tokens = strategy.micro_tokens
    while tokens > 64:
        tokens //= 2
        if _on(_transfer_need(list(sources.values()), strategy, tokens), on_cpu).total <= room:
            raise _refusal(need, room, why, f"for example strategy.micro_tokens = {tokens} would fit")
    other = "" if strategy.how != "finetune" else ", or --how features, which trains the head alone"
    raise _refusal(need, room, why, f"use a smaller pretrained model{other}")


def require_features(size: int) -> None:
    """`size`: bytes of the features that will be held at once."""
    room, why = available()
    if room is not None and size > room:
        raise _refusal(Need(weights=size), room, why, "use --how frozen, which keeps no features, or fewer texts")


def _transfer_need(sources: Sequence[Pretrained], strategy: "StrategyConfig", tokens: int) -> Need:
    from foretext.layers.initial import to_be_counted

    whole = Need(weights=0)
    for source in sources:
        with to_be_counted():
            model = build_model(source.recipe, source.tokenizer.size, heads=False, tokenizer=source.tokenizer)
        encoder: Any = next(iter(model.encoders.values()))
        length = min(encoder.limit or 1, tokens)
        if strategy.how == "finetune":
            one = training_need(model, OptimizerConfig(), rows=max(1, tokens // length), length=length, bf16=strategy.precision == "bf16")
        else:
            one = encoding_need(encoder, tokens=tokens, length=length)
        whole = Need(**{name: getattr(whole, name) + getattr(one, name) for name in Need.__slots__})
    return whole


def _on(need: Need, on_cpu: bool) -> Need:
    """With an accelerator the host holds the first weights and a checkpoint's copy; its own memory is not ours to ask."""
    return need if on_cpu else Need(weights=need.weights, copies=need.copies)


def _refusal(need: Need, room: int, why: str, remedy: str) -> ResourceError:
    return ResourceError(f"this run needs about {need}, and there are {gigabytes(room)} {why}", remedy=remedy)
