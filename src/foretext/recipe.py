"""A recipe: everything that decides a pretraining run, as one frozen record that is saved with what it made."""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import msgspec

from foretext.config import ranges
from foretext.data.config import WindowsConfig
from foretext.errors import ArtefactError, UsageError
from foretext.folder import fingerprint
from foretext.models.catalog import family, resolve
from foretext.objectives import OBJECTIVES
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.training.config import BatchConfig, Limits, OptimizerConfig, Phase, ScheduleConfig
from foretext.types import JSON, Template


class FamilyConfig(Protocol):
    """What every family's config answers: its catalog name, its input transformation."""

    @property
    def name(self) -> str: ...

    @property
    def template(self) -> Template: ...


class ObjectiveConfig(Protocol):
    """What every objective's config answers: its share in the loss, and where its head is made ("module:function")."""

    @property
    def weight(self) -> float: ...

    @property
    def head(self) -> str: ...


_BY_GRADIENT = ("windows", "objectives", "optimizer", "schedule", "batch", "phases", "initial_bias")
"""Fields that only the gradient stepper reads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Stage one = encoder × objectives × data × optimisation.

    A family whose loss lives in its own room (word2vec, GloVe) leaves `windows` None and `objectives` empty.
    """

    name: str
    family: FamilyConfig
    tokenizer: TokenizerConfig
    held_out: float = 0.01
    """Share of the corpus kept for the fixed held-out set, chosen by hash when the store is built."""
    windows: WindowsConfig | None = None
    objectives: Mapping[str, ObjectiveConfig] = field(default_factory=dict)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    batch: BatchConfig = field(default_factory=BatchConfig)
    phases: tuple[Phase, ...] = (Phase(),)
    limits: Limits = field(default_factory=Limits)
    initial_bias: Literal["zeros", "unigram"] = "zeros"
    """The masked head's output bias at the start: zeros as published, or log unigram frequencies."""
    init_embeddings: str = "random"
    """What the embedding matrix starts from. "random": the family's own draw; "auto": skip-gram vectors trained for
    seconds on the same pieces; "source": the model that the run goes on from, which must be given; else a pretrained folder,
    which a run replaces by "key:" and its content key."""
    seed: int = 0
    cites: Mapping[str, str] = field(default_factory=dict)
    """Field name → where its value stands (paper and table, or a file of the released code)."""

    def __post_init__(self) -> None:
        ranges(self, least={"seed": 0}, shares=("held_out",))
        if not self.phases:
            raise UsageError("expected at least one phase, found none", place="phases")

    @property
    def lacks(self) -> Mapping[str, str]:
        """Fields that do nothing for a family which trains in its own way → why."""
        if family(self.family.name).stepper is None:
            return {}
        return {name: f"{self.family.name} trains in its own way, which [family] sets: it reads no {name}" for name in _BY_GRADIENT}

    def key(self) -> str:
        """Fingerprint of everything that decides the result (citations do not)."""
        return fingerprint({k: v for k, v in to_json(self).items() if k not in ("cites", "name")})


def to_json(recipe: Recipe) -> dict[str, JSON]:
    """A recipe as plain JSON values."""
    value: dict[str, JSON] = msgspec.to_builtins(recipe)
    return value


def from_json(value: JSON, file: str | None = None) -> Recipe:
    """The recipe that `to_json` wrote; ArtefactError when it is not one."""
    try:
        parts: dict[str, Any] = dict(value)
        room = family(parts["family"]["name"])
        parts["family"] = msgspec.convert(parts["family"], resolve(room.config))
        parts["objectives"] = {n: msgspec.convert(v, OBJECTIVES[n].config) for n, v in parts["objectives"].items()}
        hints = typing.get_type_hints(Recipe)
        plain = [n for n in hints if n not in ("family", "objectives") and n in parts]
        parts.update({n: msgspec.convert(parts[n], hints[n]) for n in plain})
        return Recipe(**parts)
    except (msgspec.ValidationError, UsageError, KeyError, ValueError, TypeError, AttributeError, OverflowError) as error:
        raise ArtefactError(f"not a recipe: {error}", file=file) from error
