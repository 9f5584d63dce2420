"""Strategies: how a pretrained encoder meets labelled data. Each is a list of phases over parameter groups, plus maybe
a cache.

`features`: encode once, keep the vectors, train the head. `frozen`: the same head, encoding as it goes (must give the
same numbers). `finetune`: everything moves, by rates a layer group may have of its own. Imports no torch.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from foretext.errors import UsageError
from foretext.training.config import Limits, OptimizerConfig, Phase, ScheduleConfig

How = Literal["features", "frozen", "finetune"]
ULMFIT_DECAY = 1 / 2.6
"""Rate of a layer relative to the one above it in discriminative fine-tuning (Howard & Ruder 2018, section 3.2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyConfig:
    """One strategy. None = the default of `how`, which `settled` fills in and explains."""

    how: How = "finetune"
    rate: float | None = None
    """Peak learning rate of the encoder's top layer (finetune)."""
    head_rate: float | None = None
    """Peak learning rate of the head."""
    batch: int | None = None
    """Examples of one update."""
    epochs: float | None = None
    """Passes over the training examples."""
    least_steps: int | None = None
    """At least so many updates, however few examples there are; by default 100 or 300, none where `epochs` is given."""
    steps: int | None = None
    """Exactly so many updates; overrides the two above."""
    layer_decay: float = 1.0
    """Each layer group's rate relative to the group above it; 0.385 = ULMFiT's 1 / 2.6 (discriminative rates)."""
    unfreeze: Literal["none", "gradual"] = "none"
    """"gradual": the head alone first, then one more group from the top at a time (Howard & Ruder 2018, section 3.3),
    over the first half of the run."""
    start: Literal["auto", "probe", "random"] = "auto"
    """Finetune: where the head starts. "probe": at its solution on the encoder as it is (Kumar et al. 2022); "auto": so
    wherever it reads token vectors and nothing is unfrozen gradually."""
    pool: Literal["auto", "summary", "mean", "max", "concat"] = "auto"
    """How a text becomes one vector; "auto": for finetune the family's summary where an objective trained it (BERT's
    pooler with next-sentence prediction), else the mean over tokens."""
    layers: Literal["auto", "last", "mix"] | int = "auto"
    """Which layers the head reads; "auto": a learned mix of all for features and frozen, the last for finetune."""
    host: Literal["none", "average", "cnn", "bilstm"] = "none"
    """A network between the token vectors and the decision, trained with it: "average", the mean through three dense layers
    (Iyyer et al. 2015); "cnn" (Kim 2014); "bilstm" with attention (Zhou et al. 2016). With finetune the encoder is its first
    layer and moves; with features and frozen it stays. Then `pool` says nothing."""
    dropout: float | None = None
    """Of the example vector, in training; None = 0.1, with a host 0.5 (Kim 2014, section 3.1; Zhou et al. 2016, section 4.1)."""
    hidden: int = 0
    """Width of a hidden layer in the head; 0 = none."""
    warmup: float = 0.1
    """Share of the run in which the rate climbs; then it falls linearly to 0."""
    decay: float | None = None
    """Weight decay."""
    prior: float = 3.0
    """Features and frozen: how far a label's score (logits) may lie from 0 before any example is seen, as a variance;
    weight decay follows from it and the number of examples. Smaller = a simpler classifier."""
    clip: float = 1.0
    """Largest gradient norm."""
    evaluations: int = 20
    """Looks at the dev set; the weights of the best look are kept."""
    patience: int | None = None
    """Stop after so many looks without a better dev loss; None = run to the end (the rate schedule then ends at 0)."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward and backward pass."""
    micro_tokens: int = 8192
    """Most tokens of one forward pass (an example is never divided)."""
    cache: bool = True
    """features: keep the vectors in the cache folder for the next run on the same texts."""

    def __post_init__(self) -> None:
        wrong = {
            "batch": self.batch is not None and self.batch < 1,
            "layer_decay": not 0 < self.layer_decay <= 1,
            "dropout": self.dropout is not None and not 0 <= self.dropout < 1,
            "hidden": self.hidden < 0,
            "evaluations": self.evaluations < 1,
            "micro_tokens": self.micro_tokens < 1,
            "prior": not 0 < self.prior < math.inf,
            "rate": self.rate is not None and not 0 < self.rate < math.inf,
            "head_rate": self.head_rate is not None and not 0 < self.head_rate < math.inf,
            "epochs": self.epochs is not None and not 0 < self.epochs < math.inf,
            "steps": self.steps is not None and self.steps < 1,
            "warmup": not 0 <= self.warmup <= 1,
            "least_steps": self.least_steps is not None and self.least_steps < 0,
            "decay": self.decay is not None and not 0 <= self.decay < math.inf,
            "clip": not 0 < self.clip < math.inf,
            "patience": self.patience is not None and self.patience < 1,
        }
        for name, bad in wrong.items():
            if bad:
                raise UsageError(f"strategy.{name}: {getattr(self, name)!r} is out of range", remedy=_RANGES.get(name, ""))
        if self.host != "none" and self.pool not in ("auto", "mean"):
            raise UsageError(f"strategy.pool: a host reads every token, found {self.pool!r}", remedy="leave pool out, or the host")
        if self.how != "finetune" and (self.layer_decay != 1.0 or self.unfreeze != "none"):
            raise UsageError(f"how = {self.how!r} trains no encoder layer", remedy='layer_decay and unfreeze go with how = "finetune"')


_RANGES = {
    "layer_decay": "expected more than 0 and at most 1",
    "dropout": "expected at least 0 and less than 1",
    "warmup": "expected a share between 0 and 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What an encoder offers a strategy: the width of each layer, whether it has a summary that pretraining taught
    anything, its groups bottom to top."""

    widths: tuple[int, ...]
    summary: bool
    groups: tuple[str, ...]

    @property
    def contextual(self) -> bool:
        """More than an embedding table."""
        return len(self.widths) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """A strategy with nothing left open, as it is saved with what it made."""

    config: StrategyConfig
    pool: Literal["summary", "mean", "max", "concat"]
    layers: Literal["last", "mix"] | int
    normalize: bool
    probe: bool
    batch: int
    steps: int
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    phases: tuple[Phase, ...]


def settle(config: StrategyConfig, offers: Mapping[str, Offer], examples: int) -> Settled:
    """Fill in every default for these encoders and so many training examples."""
    tuned = config.how == "finetune"
    pool, layers = _reads(config, offers)
    # Token vectors of unlike families differ in scale by orders of magnitude; a summary is read as it was trained.
    normalize = pool != "summary"
    linear = normalize and not config.hidden and config.host == "none"
    if config.start == "probe" and not (tuned and linear):
        raise UsageError("strategy.start: a probe needs how = finetune, a pool other than summary, no hidden layer and no host")
    probe = tuned and linear and (config.start == "probe" or (config.start == "auto" and config.unfreeze == "none"))
    rate, head_rate = _rates(config, offers, normalize=normalize, probe=probe)
    batch, epochs, least = _course(config, offers)
    steps = config.steps or max(round(epochs * examples / batch), least, 1)
    peak = rate if tuned else head_rate
    return Settled(
        config=config,
        pool=pool,
        layers=layers,
        normalize=normalize,
        probe=probe,
        batch=batch,
        steps=steps,
        optimizer=_ridge(config, _width(config, pool, offers), examples) if linear and not tuned else OptimizerConfig(
            kind="adamw", rate=peak, decay=0.01 if config.decay is None else config.decay, clip=config.clip
        ),
        schedule=ScheduleConfig(shape="linear", warmup=config.warmup),
        phases=_phases(config, offers, head_rate / peak),
    )


def dropout_of(config: StrategyConfig) -> float:
    """Dropout of the example vector: as asked, or the default."""
    if config.dropout is not None:
        return config.dropout
    return 0.1 if config.host == "none" else 0.5


def _ridge(config: StrategyConfig, width: int, examples: int) -> OptimizerConfig:
    """A linear decision on vectors of length √width, as multinomial regression with a Gaussian prior on its weights.

    A prior of variance v / width on each weight gives every score the variance v; in the mean loss of n examples that
    is a decay of width / (v · n). Adam's steps, each weight's by its own measure, find another solution than the one
    nearest to 0, and with few examples a worse one: an epsilon of 1 makes them plain momentum steps. The loss is
    convex, so nothing is clipped. Of 700 held-out introductions, 5 / 20 / 60 texts a label: a BERT pretrained for 400
    steps 61.8 / 72.1 / 77.3 % (Adam, decay 0.01: 56.6 / 69.4 / 75.7), word vectors 66.8 / 75.9 / 79.6 (65.0 / 74.7 / 80.3).
    """
    decay = width / (config.prior * examples) if config.decay is None else config.decay
    return OptimizerConfig(kind="adamw", rate=config.head_rate or 16.0 / width, epsilon=1.0, decay=decay, clip=None)


def _width(config: StrategyConfig, pool: str, offers: Mapping[str, Offer]) -> int:
    """Entries of the example vector that the head reads."""
    layer = config.layers if isinstance(config.layers, int) else -1
    return sum(offer.widths[layer] for offer in offers.values()) * (3 if pool == "concat" else 1)


def limits(config: StrategyConfig, *, has_dev: bool, keep: int) -> Limits:
    """How long, how often to look at dev, and what to keep."""
    return Limits(
        evaluations=config.evaluations if has_dev else 0,
        patience=config.patience if has_dev else None,
        choose="best" if has_dev else "last",
        keep=keep,
    )


def _reads(
    config: StrategyConfig, offers: Mapping[str, Offer]
) -> tuple[Literal["summary", "mean", "max", "concat"], Literal["last", "mix"] | int]:
    tuned = config.how == "finetune"
    pool = config.pool
    if pool == "auto":
        pool = "summary" if tuned and config.host == "none" and config.layers in ("auto", "last") and all(o.summary for o in offers.values()) else "mean"
    layers = config.layers
    least = min(len(offer.widths) for offer in offers.values())
    if isinstance(layers, int) and not 0 <= layers < least:
        raise UsageError(f"strategy.layers: expected a layer from 0 (embeddings) to {least - 1}, found {layers}")
    if layers == "auto":
        layers = "last" if tuned or pool == "summary" else "mix"
    return pool, layers


def _course(config: StrategyConfig, offers: Mapping[str, Offer]) -> tuple[int, float, int]:
    """(batch, epochs, least updates).

    Fine-tuning a contextual encoder: batch 16 and 4 epochs are among BERT's published choices (Devlin et al. 2019,
    appendix A.3); few examples need more passes than that, or the run ends before it has learnt anything (Mosbach et
    al. 2021, section 6), hence at least 100 updates. A head or a table alone is cheap and gets more of both.
    """
    heavy = config.how == "finetune" and any(offer.contextual for offer in offers.values())
    batch, epochs, least = (16, 4.0, 100) if heavy else (32, 10.0, 300)
    if config.least_steps is not None or config.epochs is not None:  # passes that were asked for are as many as that
        least = config.least_steps or 0
    return config.batch or batch, config.epochs or epochs, least


def _rates(config: StrategyConfig, offers: Mapping[str, Offer], *, normalize: bool, probe: bool) -> tuple[float, float]:
    """(encoder's rate, head's rate).

    Fine-tuning: 5e-5 is BERT's own upper choice at width 768 (Devlin et al. 2019, appendix A.3). Smaller models want
    more: the published miniatures were tuned up to 3e-4, and a 256 wide one pretrained here for minutes did at least as
    well at 5e-4 as at 1.6e-4 (76.6 and 75.0 % of 500 texts, 20 training texts a label, one seed); hence 5e-5 · (768 / width)², at most 5e-4. A table
    of static vectors has no layers to upset and gets 3e-3. A new head reading vectors of length √P learns at 5e-3, one
    that reads a summary like the encoder, but at least at 1e-3, and a host at 1e-3, Adam's own default (Kingma & Ba 2015).
    """
    width = max(offer.widths[-1] for offer in offers.values())
    contextual = any(offer.contextual for offer in offers.values())
    rate = config.rate or (min(5e-4, 5e-5 * (768 / width) ** 2) if contextual else 3e-3)
    default = 5e-3 if normalize and not probe else max(rate, 1e-3)
    default = default if config.host == "none" else 1e-3
    return rate, config.head_rate or default


def _phases(config: StrategyConfig, offers: Mapping[str, Offer], head: float) -> tuple[Phase, ...]:
    """Rates relative to the encoder's (finetune) or to the head's own (otherwise: there is no encoder to move)."""
    if config.how != "finetune":
        return (Phase(rates={"heads": 1.0}),)
    depth = {f"encoders.{source}.{group}": number for source, offer in offers.items() for number, group in _from_top(offer)}
    rates = {group: config.layer_decay**number for group, number in depth.items()}
    whole = Phase(rates={"heads": head, **rates})
    if config.unfreeze == "none":
        return (whole,)
    stages = max(depth.values()) + 1
    opened: Sequence[dict[str, float]] = [
        {name: rates[name] if number < stage else 0.0 for name, number in depth.items()} for stage in range(stages)
    ]
    first = tuple(Phase(share=0.5 / stages, rates={"heads": head, **rate}) for rate in opened)
    return (*first, Phase(share=0.5, rates=whole.rates))


def _from_top(offer: Offer) -> list[tuple[int, str]]:
    """(distance from the top, group). A layer's norm and pooler above the top layer count as part of it."""
    layers = [group for group in offer.groups if group == "embeddings" or group.startswith("layer_")]
    above = [group for group in offer.groups if group not in layers]
    return [(0, group) for group in above] + [(len(layers) - 1 - i, group) for i, group in enumerate(layers)]
