"""The n-gram Stepper: a step counts one block of the token store. No gradient, no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foretext.errors import UsageError
from foretext.models.ngram.config import NgramConfig
from foretext.models.ngram.counts import Counts, Packing, sorted_run
from foretext.models.ngram.estimating import HEAD, estimate
from foretext.models.ngram.model import Ngram
from foretext.models.stepping import Store, require_own
from foretext.models.stream import Stream, boundary_of, of_store, require_words, sample
from foretext.types import Arrays, Floats, Ints, Report, State

_SORTED = 1 << 16
"""Places of a block that are sorted at once."""
_PIECES = 48 << 20
"""Bytes of what is looked at together, about: pieces of text, of runs and of the model."""
_LOOK = 200_000
"""Most places of the held-out part, and of the training part, that a look scores."""


class Counting:
    """A Stepper (`types.Stepper`): modified Kneser-Ney over a token store, to the bit whatever the blocks, the memory
    or the interruptions: counts are whole numbers and do not depend on the order of the text.

    `report.loss` is what the block costs by the word frequencies of the blocks before it, one added to each (nats):
    the line that contexts have to beat. `evaluate` estimates the model from what is counted so far.
    """

    def __init__(self, config: NgramConfig, store: Store, *, seed: int, steps: int | None, epochs: float, init: Arrays | None) -> None:
        self.config, self.store, self.seed = config, store, seed
        require_words(store, config.name)
        self.vocabulary = store.tokenizer.size
        self.boundary = boundary_of(store.tokenizer, config.boundary)
        self.packing = Packing(config.order, self.vocabulary)
        self.stream = of_store(store, config.unit, self.boundary, held_out=False)
        self.blocks = max(1, -(-len(self.stream) // config.block))
        self._total = 1
        self.total = steps if steps is not None else max(1, round(epochs * self.blocks))
        self.done = 0
        self._init = init
        self._clear()
        self._made: tuple[int, Arrays] | None = None

    @property
    def total(self) -> int:
        """Planned steps: at most those of one pass, as text that is counted twice says nothing new."""
        return self._total

    @total.setter
    def total(self, steps: int) -> None:
        self._total = min(max(1, steps), self.blocks)

    def _clear(self) -> None:
        folder = getattr(self.store, "path", None)
        self.counts = Counts(self.config.memory << 20, Path(folder).parent if folder else None)
        self._words = np.ones(self.vocabulary, np.int64)
        if self._init is not None:
            self._take(self._init)

    def _take(self, arrays: Arrays) -> None:
        """Go on from the counts of a model."""
        before = Ngram(self.config, arrays, self.vocabulary, self.boundary).counted()
        self.counts.add(before)
        np.add.at(self._words, self.packing.column(before.high, before.low, 0) - 1, before.counts)

    def step(self) -> Report:
        """Count the next block."""
        block = self.done % self.blocks  # a trial may step past the end; what it counted is taken back
        start = block * self.config.block
        stop = min(start + self.config.block, len(self.stream))
        nats, seen = -np.log(self._words / self._words.sum()), np.zeros_like(self._words)
        for at in range(start, stop, _SORTED):
            words, context = self._read(at, min(at + _SORTED, stop))
            codes = np.concatenate([words[:, None], context], axis=1) + 1
            self.counts.add(sorted_run(*self.packing.pack(codes)))
            seen += np.bincount(words, minlength=self.vocabulary)
            self.store.let_go()
        self._words += seen
        self.done += 1
        count, ends = int(seen.sum()), int(seen[self.boundary])
        loss = float(nats @ seen) / max(1, count)
        return Report(loss=loss, count=count, tokens=count - ends, done=min(1.0, self.done / self.total))

    def _read(self, start: int, stop: int) -> tuple[Ints, Ints]:
        return self.stream.contexts(start, stop, self.config.order - 1)

    def arrays(self) -> Arrays:
        """The model of what is counted so far."""
        if self._made is None or self._made[0] != self.done:
            self._made = None  # not two models at once
            self._made = (self.done, estimate(self.counts.merged(), self.packing, self.counts.room()))
        return self._made[1]

    def state(self) -> State:
        """The model, whose tables hold the counts, and the step number."""
        cursor = {"step": self.done, "total": self.total, "seed": self.seed, "store": self.store.key}
        return State(arrays=dict(self.arrays()), cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`. ArtefactError when it belongs to another store, seed, length or order."""
        require_own(state.cursor, total=self.total, seed=self.seed, store=self.store.key)
        kept, self._init = self._init, None
        self._clear()
        self._take(state.arrays)
        self._init = kept
        self.done = int(state.cursor["step"])
        self._made = None

    def evaluate(self) -> Mapping[str, float]:
        """"loss": mean nats a place of the held-out part, ends included, and its "perplexity"; "training loss" of the
        text that was counted; {} where nothing is held out."""
        held = of_store(self.store, self.config.unit, self.boundary, held_out=True)
        if not len(held):
            return {}
        model = Ngram(self.config, self.arrays(), self.vocabulary, self.boundary)
        loss = _mean(model, held)
        return {"loss": loss, "perplexity": float(np.exp(loss)), "training loss": _mean(model, self.stream)}


def _mean(model: Ngram, stream: Stream) -> float:
    parts: list[Floats] = []
    for start, stop in sample(stream, _LOOK):
        parts.append(model.log_probability(*stream.contexts(start, stop, model.order - 1)))
    return float(-np.concatenate(parts).mean())


def stepper(
    config: NgramConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> Counting:
    """A Counting ready to step. `init`: a model's arrays, whose counts are added to. One thread, whatever `threads`.

    DataError when the training part has no known word; UsageError for `first`: there are no vectors to start from."""
    if first is not None:
        raise UsageError("ngram has no vectors to start from", place="init_embeddings", remedy="leave --init-embeddings out")
    return Counting(config, store, seed=seed, steps=steps, epochs=1.0 if epochs is None else epochs, init=init)


def memory(config: NgramConfig, store: Store) -> tuple[int, int, int]:
    """Bytes at most: (tables, counting, a checkpoint's copy). Every place may be an n-gram of its own at each order
    above two; there are no more of one or two words than words, or pairs of them."""
    places, size = len(store.ids) + len(store.sentences), store.tokenizer.size
    nodes = sum(min(places, size**k if k < 3 else places) for k in range(1, config.order + 1))
    tables = 24 * nodes
    return tables, min(config.memory << 20, 128 * places) + _PIECES, tables


__all__ = ["HEAD", "Counting", "memory", "stepper"]
