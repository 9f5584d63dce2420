"""Settings of a training run, as plain data (imports neither torch nor numpy).

Defaults are a modern fine-tuning setting; each recipe states its own numbers and where they come from.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from foretext.config import ranges
from foretext.data.config import WindowsConfig
from foretext.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizerConfig:
    """How a gradient becomes an update. The rate used is `rate` × schedule × the group's multiplier."""

    kind: Literal["adam-bert", "adamw", "muon"] = "adamw"
    """"adam-bert": google-research/bert's Adam without bias correction; "adamw": Loshchilov & Hutter (torch's);
    "muon": Muon for the encoder's hidden matrices, AdamW for everything else."""
    rate: float = 1e-4
    """Peak learning rate of the Adam updates (change a weight may take in one step, about)."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay of Adam's first and second moments, a step."""
    epsilon: float = 1e-6
    """Added to the root of the second moment (gradient units)."""
    decay: float = 0.01
    """Decoupled weight decay: each step shrinks a weight by rate × decay. Matrices only, never biases and norms."""
    clip: float | None = 1.0
    """Largest global gradient norm (L2 over all parameters); None = no clipping."""
    muon_rate: float = 0.02
    """Peak learning rate of Muon's matrices (update of spectral norm about 1 × this)."""
    muon_momentum: float = 0.95
    """Decay of Muon's Nesterov momentum, a step."""

    def __post_init__(self) -> None:
        ranges(
            self,
            least={"decay": 0.0, "rate": 0.0, "muon_rate": 0.0},
            above={"epsilon": 0.0, "clip": 0.0},
            shares=("betas", "muon_momentum"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The learning rate's course over the run, as a share of the peak; see `training.schedules.factor`."""

    shape: Literal["constant", "linear", "cosine", "triangle", "product", "trapezoid"] = "linear"
    """What happens after the warm-up."""
    warmup: float = 0.1
    """Share of the run that climbs linearly from 0 to the peak (not used by "triangle")."""
    warmup_steps: int | None = None
    """The same in updates; overrides `warmup`. A run shorter than ten times this warms up for a tenth of itself."""
    start: float = 0.25
    """"triangle" only: share of the peak at the first update."""
    fall: float = 0.25
    """"triangle" and "trapezoid": share of the run, at its end, that falls linearly to `floor`."""
    floor: float = 0.0
    """"cosine" and "trapezoid": share of the peak that is left at the end."""

    def __post_init__(self) -> None:
        ranges(self, least={"warmup_steps": 0}, shares=("warmup", "start", "fall", "floor"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of the run with its own rates and windows: frozen layers, gradual unfreezing, 90 % at 128 then 512."""

    share: float = 1.0
    """Part of the run's updates, relative to the other phases' shares."""
    rates: Mapping[str, float] = field(default_factory=lambda: {"": 1.0})
    """Group name or a leading part of it ("encoders.text.layer_3", "encoders.text", "heads", "") → multiplier of the
    learning rate; the longest that fits counts, 0 = frozen (no gradient, no decay)."""
    windows: WindowsConfig | None = None
    """Windows of this phase; None = the recipe's."""

    def __post_init__(self) -> None:
        ranges(self, least={"share": 0.0})
        for name, rate in self.rates.items():
            if not 0.0 <= rate < float("inf"):
                raise UsageError(f"expected a multiplier of at least 0 for {name!r}, found {rate}", place="rates")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How much one update reads, and in what precision."""

    rows: int = 32
    """Sequence rows of one update."""
    micro: int | None = None
    """Rows of one forward and backward pass (fewer = less memory, same gradient); None = all at once."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the forward and backward pass; parameters and optimizer state are always fp32."""
    compile: bool = False
    """Compile the forward and backward pass with torch.compile (about a minute once; pays on long runs). A resumed run
    then repeats to rounding rather than to the bit: which kernel a shape gets depends on the shapes seen before it."""

    def __post_init__(self) -> None:
        ranges(self, least={"rows": 1, "micro": 1})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a run may be, how often it looks at itself, and what it keeps.

    One of `steps`, `epochs`, `minutes` decides the Stepper's `total` before it is built; nothing computed ever depends
    on the clock: minutes become a number of steps by a short trial, and the clock only says when to save.
    """

    steps: int | None = None
    """Updates of the whole run."""
    epochs: float | None = None
    """Passes over the training data."""
    minutes: float | None = None
    """Wall-clock budget in minutes, evaluations and checkpoints included; with `epochs` too: whichever is sooner."""
    checkpoint_minutes: float | None = 5.0
    """Minutes between checkpoints; None = not by the clock."""
    checkpoint_steps: int | None = None
    """Updates between checkpoints; None = not by steps."""
    evaluations: int = 20
    """Looks at the held-out set, spread evenly over the run; the last one is at its end. 0 = none."""
    evaluate_steps: int | None = None
    """Updates between evaluations instead; overrides `evaluations`."""
    patience: int | None = None
    """Stop after this many evaluations in a row without a better held-out loss; None = never."""
    choose: Literal["last", "best"] = "last"
    """Which weights the run ends with: the last step's, or those of the best evaluation."""
    keep: int = 2
    """Newest checkpoints kept, besides the best one. 0 = write none: an interrupted run starts over."""

    def __post_init__(self) -> None:
        ranges(
            self,
            least={"steps": 1, "checkpoint_steps": 1, "evaluate_steps": 1, "evaluations": 0, "patience": 1, "keep": 0,
                   "checkpoint_minutes": 0.0},
            above={"epochs": 0.0, "minutes": 0.0},
        )  # fmt: skip
