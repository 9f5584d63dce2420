"""The few types that every part shares, and the shape legend.

R rows · T tokens a row · S sequences · M marked places · W words · D width · V vocabulary · N texts or examples

Batches are prepared as numpy arrays and moved to torch once, at the training or inference boundary
(`data.batches.to_torch`); both kinds of array answer the few operations used on a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter

    Array: TypeAlias = NDArray[Any] | Tensor
else:
    Array: TypeAlias = Any

JSON: TypeAlias = Any
Ints: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.floating[Any]]
Bits: TypeAlias = NDArray[np.bool_]
Arrays: TypeAlias = Mapping[str, NDArray[Any]]
Span: TypeAlias = tuple[int, int]
"""Characters [start, stop) of a string."""

UNSEEN = 1 << 32
"""Ids from here on are no entries of a vocabulary but unseen words, each the hash of its spelling."""
Forms: TypeAlias = Mapping[int, str]
"""How the unseen words among some ids are spelled. An open vocabulary alone gives such ids (`TokenizerConfig.unseen`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something stands in the user's own files, for messages: `file:line`."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string as the user wrote it, with its words where the user gave them; no piece crosses a given word."""

    string: str
    words: tuple[Span, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """One text as tokens: `ids` [T], `offsets` [T,2] characters of `Text.string`, `word` [T] the token's word number.
    `forms`: spellings of the ids that are unseen words, and perhaps of others."""

    ids: Ints
    offsets: Ints
    word: Ints
    forms: Forms = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a batch's tokens and sequences came from; opaque to encoders.

    `example` [S]: the example's number in the batch. `option`, `side`, `window` [S]: which option and side of it, and
    which window of a long text. `words` [W,4]: (example, word number, row, token) of each word's first token, each
    word owned by one window.
    """

    example: Array
    option: Array | None = None
    side: Array | None = None
    window: Array | None = None
    words: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenBatch:
    """One source's view of a batch: padded, packed and carried rows alike.

    `ids`, `sequence`, `position` [R,T]. `sequence` numbers the sequences of the whole batch 0…S−1 (−1 = padding);
    nothing may cross from one sequence into another. `position` restarts at 0 in each. `bounds` [S,3] = row, start,
    stop. `segment` [R,T] where the template has segments. `summary` [S] = flat place (row·T + token) of [CLS] or the
    extract token. `prefix` [S]: leading tokens that all see each other. `wanted` [M]: the flat places, each once, whose
    top-layer vectors anything will read (None: all); an encoder may leave zeros at the others. `forms`: spellings of
    all ids that are unseen words (None: there are none); it stays with the processor.
    """

    ids: Array
    sequence: Array
    position: Array
    bounds: Array
    segment: Array | None = None
    prefix: Array | None = None
    summary: Array | None = None
    wanted: Array | None = None
    forms: Forms | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What one head must say. `at` [M]: flat token places (row·T + token), or sequence or example numbers, as the head
    defines. `gold` [M,…]. `count`: how many places count, known without asking the device. `weight` [M] is 0 on
    slots that only pad M to a fixed size (None: all 1)."""

    at: Array
    gold: Array
    count: int
    weight: Array | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Named views (one a source) and named targets (one a head)."""

    views: Mapping[str, TokenBatch]
    targets: Mapping[str, Target] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenVectors:
    """What every encoder answers: `layers[l]` [R,T,D_l], 0 = embeddings; `summary` [S,D] where the family has one."""

    layers: "tuple[Tensor, ...]"
    batch: TokenBatch
    summary: "Tensor | None" = None
    carry: "tuple[Tensor, ...] | None" = None
    penalty: "Tensor | None" = None


class Encoder(Protocol):
    """An nn.Module, final. `table` is the input embedding matrix (nn.Embedding, weight [V,D]) that a tied output layer
    shares. `limit`: most tokens of one sequence, None = any. `sees`: what a token's last-layer vector may depend on."""

    widths: tuple[int, ...]
    sees: Literal["self", "left", "left|right", "both"]
    limit: int | None
    table: Any

    def __call__(self, batch: TokenBatch) -> TokenVectors: ...

    def groups(self) -> "Mapping[str, Sequence[Parameter]]":
        """Parameters bottom to top: "embeddings", "layer_0", …, "pooler"; every parameter in exactly one group."""
        ...


class Head(Protocol):
    """An nn.Module; owns every output parameter. `reads`: sides of an example in one sequence, or each in its own."""

    reads: Literal["joint", "apart"]

    def loss(self, vectors: Mapping[str, TokenVectors], target: Target) -> "Tensor":
        """The SUM of the losses over `target`'s counted places (a scalar, nats); the caller divides by counts."""
        ...

    def predict(self, vectors: Mapping[str, TokenVectors], target: Target | None = None) -> "Tensor":
        """Log-probabilities [M,K] (or [N,K] for an example-level head)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One step's news. `loss`: mean per counted target (nats); `count`: targets (or words) it is a mean of; `tokens`:
    real tokens read; `done` ∈ [0,1]; `parts`: per-head mean losses, and measures such as "next_sentence accuracy";
    `norm`: the gradient's norm before clipping; `rate`: the learning rate used."""

    loss: float
    count: int
    tokens: int
    done: float
    parts: Mapping[str, float] = field(default_factory=dict)
    norm: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything a run needs to go on: named arrays, and a JSON cursor."""

    arrays: Arrays
    cursor: JSON


class Stepper(Protocol):
    """Something that learns in steps; `training.run.run` is the only loop that drives one.

    `step` may raise `DivergedError`, which ends the run. `total` is the planned number of steps.
    A Stepper with an attribute `updating` lets a signal end its step at once while that is False: the step is made
    again when the run is resumed. `updating` is True from an update's first change of state until the next step begins.
    """

    total: int

    def step(self) -> Report: ...

    def state(self) -> State: ...

    def restore(self, state: State) -> None: ...

    def evaluate(self) -> Mapping[str, float]:
        """Losses and measures on the fixed held-out set; the key "loss" is the one that chooses the best checkpoint."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sentence:
    """One sentence with its trailing separator kept, so a paragraph's sentences concatenate back to the paragraph.

    `document` and `paragraph` number from 0 over the corpus; both never decrease."""

    string: str
    document: int
    paragraph: int
    place: Place


class Corpus(Protocol):
    """A stream of sentences in document order; may be read any number of times. `shard`/`of` split whole documents
    (by file or block), so that concatenating shards 0…of−1 gives the corpus in order."""

    @property
    def key(self) -> str:
        """Fingerprint of the content and of the reading rules."""
        ...

    def sentences(self, shard: int = 0, of: int = 1) -> Iterator[Sentence]: ...


class Tokenizer(Protocol):
    """Text to ids with exact offsets. `special` maps literal tokens such as "[MASK]" to ids; text in user input never
    becomes one. `pieces[i]` is token i as shown to people. `key` fingerprints everything that decides the ids."""

    size: int
    special: Mapping[str, int]
    key: str
    pieces: Sequence[str]

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Ids without any special token, with exact offsets into `Text.string`."""
        ...

    def ids(self, strings: Sequence[str]) -> tuple[Ints, Ints, Bits]:
        """The fast path: flat ids [ΣT], lengths [N], and a bit a token: "starts a word" [ΣT]."""
        ...

    def decode(self, ids: Sequence[int]) -> str: ...

    def save(self, folder: Path) -> None:
        """Write the tokenizer's files into `folder` (deterministic bytes)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """A family's input transformation, as data: which special token stands where.

    BERT: Template(start="[CLS]", between="[SEP]", end="[SEP]", segments=True, summary="start"). Static: Template()."""

    start: str = ""
    between: str = ""
    end: str = ""
    segments: bool = False
    summary: Literal["none", "start", "end"] = "none"
    both_orders: bool = False


