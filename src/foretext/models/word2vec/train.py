"""The word2vec Stepper: blocks of a memory-mapped token store, trained by the kernels, without torch.

V vocabulary · D width. A step is one block of about `config.block` corpus words, cut where sentences end (a sentence
longer than a block is cut inside); its shards are trained one after the other by one thread, or by several at once on
the same tables without locks (Hogwild: Niu et al. 2011, arXiv 1106.5730), which no two runs repeat to the bit.
"""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.errors import ArtefactError, DataError, DivergedError
from foretext.models.word2vec import blocks, kernel
from foretext.models.word2vec.config import Word2VecConfig
from foretext.types import Arrays, Bits, Floats, Ints, Report, State, Tokenizer

INWARD = "encoders.text.table.weight"
OUTWARD = "heads.negative_sampling.table.weight"

_HELD_OUT_WORDS = 40_000
"""Most words of the fixed held-out set; about 200k pairs, under a second to score."""


class Store(Protocol):
    """What is read of a token store (text.store.TokenStore). `ids` [N]; `sentences` [s+1] token offsets; `held_out`
    [s] bits; `counts` [≥ V] of the training part; `key` its fingerprint."""

    @property
    def ids(self) -> Ints: ...
    @property
    def sentences(self) -> Ints: ...
    @property
    def held_out(self) -> Bits: ...
    @property
    def counts(self) -> Ints: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Fixed pairs to score: `centre`, `context` [P]; `negative` [P,K], where −1 stands for one that was skipped."""

    centre: Ints
    context: Ints
    negative: Ints


def trained_words(counts: Ints, min_count: int, special: Mapping[str, int], name: str = "word2vec") -> Bits:
    """Which ids are trained: [V] bits, V = the last id that is, plus one. With frequency-ranked ids that is a prefix,
    less the special tokens and the few words that only the held-out part lifts over `min_count`.

    DataError when none is left.
    """
    kept: Bits = np.asarray(counts) >= max(1, min_count)
    kept[[i for i in special.values() if i < len(kept)]] = False
    found = np.flatnonzero(kept)
    if not len(found):
        most = int(np.max(counts, initial=0))
        raise DataError(
            f"{name} needs words seen at least min_count = {min_count} times; the most frequent is seen {most} times",
            remedy="give more text, or set family.min_count to 1" if most else "give text: the training part is empty",
        )
    return kept[: found[-1] + 1]


def edges(sentences: Ints, start: int, stop: int, size: int) -> Ints:
    """Cut tokens [start, stop) into parts of about `size`: their ends and starts, increasing, from `start` to `stop`.

    Cuts fall where sentences start; a sentence longer than `size` is cut wherever the count is full.
    """
    wanted = np.arange(start + size, stop, size, dtype=np.int64)
    sentence = np.searchsorted(sentences, wanted, side="right") - 1
    first, last = np.asarray(sentences)[sentence], np.asarray(sentences)[sentence + 1]
    cuts = np.where(last - first <= size, np.maximum(first, start), wanted)
    return np.unique(np.concatenate([[start], cuts, [stop]]).astype(np.int64))


class SkipGram:
    """A Stepper (`types.Stepper`): skip-gram with negative sampling over a token store.

    Deterministic to the bit with one thread, and after `restore`; not with several.
    """

    def __init__(
        self, config: Word2VecConfig, store: Store, *, seed: int, threads: int, steps: int | None, epochs: float | None,
        init: Arrays | None, first: tuple[Ints, Floats] | None = None,
    ) -> None:
        self.config, self.store, self.seed, self.threads = config, store, seed, max(1, threads)
        if init is None:
            kept = trained_words(store.counts, config.min_count, store.tokenizer.special, config.name)
        else:
            kept = trained_words(store.counts[: len(init[INWARD])], 1, store.tokenizer.special, config.name)
            kept = np.pad(kept, (0, len(init[INWARD]) - len(kept)))
        self.kept = kept
        counts = np.zeros(len(kept))
        counts[kept] = np.asarray(store.counts)[np.flatnonzero(kept)]
        self.keep = _keep(counts, config.sample)
        self._accept, self._other = kernel.alias_table(counts**config.power)
        words = int(store.sentences[-1])
        self._cuts = edges(store.sentences, 0, words, -(-words // max(1, round(words / config.block))))
        passes = epochs if epochs is not None else config.epochs
        self.total = steps if steps is not None else max(1, round(passes * (len(self._cuts) - 1)))
        self.done = 0
        self.inward, self.outward = _fresh(kept, config.width, seed) if init is None else _given(init)
        if first is not None:
            ids, rows = first
            trained = (ids < len(kept)) & kept[np.minimum(ids, len(kept) - 1)]
            self.inward[ids[trained]] = rows[trained]
        self._pairs: Pairs | None = None

    def step(self) -> Report:
        """Train on the next block. DivergedError at the first non-finite score, before it reaches the tables."""
        epoch, block = divmod(self.done, len(self._cuts) - 1)
        start, stop = int(self._cuts[block]), int(self._cuts[block + 1])
        cuts = edges(self.store.sentences, start, stop, max(1, -(-(stop - start) // self.config.shards)))
        count = len(cuts) - 1

        def shard(number: int) -> tuple[float, int, bool]:
            seen = [(self.done + part / count) / self.total for part in (number, number + 1)]
            return self._train(int(cuts[number]), int(cuts[number + 1]), (epoch, block, number), *map(self._rate, seen))

        if self.threads == 1:
            results = [shard(number) for number in range(count)]
        else:
            with ThreadPoolExecutor(self.threads) as pool:
                results = list(pool.map(shard, range(count)))
        if not all(finite for _, _, finite in results):
            raise DivergedError(
                f"{self.config.name} met a non-finite score in step {self.done + 1} (epoch {epoch + 1}, block {block + 1})",
                remedy=f"lower family.rate (now {self.config.rate:g})",
            )
        rate = self._rate(self.done / self.total)
        self.done += 1
        pairs = sum(number for _, number, _ in results)
        loss = sum(loss for loss, _, _ in results) / max(1, pairs)
        return Report(loss=loss, count=pairs, tokens=stop - start, done=min(1.0, self.done / self.total), rate=rate)

    def state(self) -> State:
        """Copies of both tables [V,D] under their names on disk, and the step number."""
        cursor = {"step": self.done, "total": self.total, "seed": self.seed, "store": self.store.key}
        return State(arrays={name: table.copy() for name, table in self._tables().items()}, cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`. ArtefactError when it belongs to another store, seed, length or size."""
        mine = {"total": self.total, "seed": self.seed, "store": self.store.key}
        for field, value in mine.items():
            if state.cursor[field] != value:
                raise ArtefactError(
                    f"this checkpoint's {field} is {state.cursor[field]}, this run's is {value}",
                    remedy="resume with the recipe and corpus it was made with",
                )
        for name, table in self._tables().items():
            if state.arrays[name].shape != table.shape:
                raise ArtefactError(
                    f"expected {name} of shape {table.shape}, found {state.arrays[name].shape}", place=name
                )
            table[...] = state.arrays[name]
        self.done = int(state.cursor["step"])

    def evaluate(self) -> Mapping[str, float]:
        """Mean loss a pair (nats) on pairs and negatives fixed by the store alone; {} where nothing is held out.

        Untrained vectors lose (1 + negatives)·ln 2.
        """
        if self._pairs is None:
            self._pairs = self._held_out_pairs()
        if not len(self._pairs.centre):
            return {}
        return {"loss": pair_loss(self.inward, self.outward, self._pairs)}

    def _tables(self) -> Arrays:
        return {INWARD: self.inward, OUTWARD: self.outward}

    def _rate(self, done: float) -> float:
        return self.config.rate * max(self.config.last_rate, 1.0 - done)

    def _plan(
        self, ids: Ints, ends: Ints, skipped: Bits, state: NDArray[np.uint64]
    ) -> tuple[kernel.Words, kernel.Words, kernel.Words, int]:
        words, low, high = (np.empty(len(ids), np.int32) for _ in range(3))
        n = kernel.plan(
            np.ascontiguousarray(ids, dtype=np.int32), np.ascontiguousarray(ends, dtype=np.int64),
            np.ascontiguousarray(skipped, dtype=np.bool_), self.keep, self.config.window, state, words, low, high,
        )
        return words, low, high, int(n)

    def _train(
        self, start: int, stop: int, place: tuple[int, int, int], first_rate: float, last_rate: float
    ) -> tuple[float, int, bool]:
        """One shard: tokens [start, stop) of the store. Answers (summed loss, pairs, finite)."""
        config, sentences = self.config, self.store.sentences
        first = int(np.searchsorted(sentences, start, side="right")) - 1
        last = int(np.searchsorted(sentences, stop, side="left"))
        ends = np.minimum(sentences[first + 1 : last + 1], stop) - start
        state = np.array([draws.number(self.seed, "word2vec", *place)], np.uint64)
        planned = self._plan(self.store.ids[start:stop], ends, self.store.held_out[first:last], state)
        common = (self.inward, self.outward, *planned, first_rate, last_rate, self._accept, self._other)
        if config.method == "pairs":
            loss, pairs, finite = kernel.train_pairs(*common, config.negatives, state)
        else:
            memory = blocks.scratch(config.width, config.window, config.shared)
            numbers = (config.negatives, config.shared, config.window)
            loss, pairs, finite = blocks.train_blocks(*common, *numbers, state, memory)
        return float(loss), int(pairs), bool(finite)

    def _held_out_plan(self) -> tuple[kernel.Words, kernel.Words, kernel.Words, int]:
        """The same sub-sampling and windows as in training, drawn once (seed 0 whatever the run's seed)."""
        sentences = np.asarray(self.store.sentences)
        held = np.flatnonzero(self.store.held_out)
        lengths = sentences[held + 1] - sentences[held]
        rng = draws.generator(0, "word2vec held-out sample")
        chosen = held[rng.random(len(held)) * lengths.sum() <= _HELD_OUT_WORDS]
        parts = [self.store.ids[sentences[s] : sentences[s + 1]] for s in chosen]
        ids = np.concatenate([np.asarray(part, np.int32) for part in parts]) if parts else np.empty(0, np.int32)
        ends = np.cumsum(sentences[chosen + 1] - sentences[chosen])
        state = np.array([draws.number(0, "word2vec held-out")], np.uint64)
        return self._plan(ids, ends, np.zeros(len(chosen), np.bool_), state)

    def _held_out_negatives(self, told: Ints) -> Ints:
        """The negatives [P,K] of pairs that tell the words `told` [P], as in training; −1: the word itself was drawn."""
        rng = draws.generator(0, "word2vec held-out negatives")
        guess = rng.integers(len(self.kept), size=(len(told), self.config.negatives))
        drawn = np.where(rng.random(guess.shape) < self._accept[guess], guess, self._other[guess])
        drawn[drawn == told[:, None]] = -1
        return drawn

    def _held_out_pairs(self) -> Pairs:
        words, low, high, n = self._held_out_plan()
        reach = (high - low)[:n]
        centre = np.repeat(np.arange(n), reach)
        other = np.arange(len(centre)) - np.repeat(np.cumsum(reach) - reach, reach) + np.repeat(low[:n], reach)
        centre, other = centre[other != centre], other[other != centre]
        context = words[other]
        return Pairs(centre=words[centre], context=context, negative=self._held_out_negatives(context))


def pair_loss(inward: Floats, outward: Floats, pairs: Pairs, chunk: int = 4096) -> float:
    """Mean over pairs of −log σ(in·out) − Σ log σ(−in·negative), nats (2013b, eq. 4 with its sign turned)."""
    total = 0.0
    for i in range(0, len(pairs.centre), chunk):
        centre = inward[pairs.centre[i : i + chunk]]
        negative = pairs.negative[i : i + chunk]
        near = np.einsum("pd,pd->p", centre, outward[pairs.context[i : i + chunk]], dtype=np.float64)
        far = np.einsum("pd,pkd->pk", centre, outward[negative], dtype=np.float64)
        total += float(np.logaddexp(0.0, -near).sum() + np.logaddexp(0.0, far)[negative >= 0].sum())
    return total / len(pairs.centre)


def stepper(
    config: Word2VecConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> SkipGram:
    """A SkipGram ready to step. `steps` (blocks) fixes the length of the run, else `epochs`, else `config.epochs`.

    `init`: arrays to go on from, under their names on disk (the output table may be missing: zeros); the vocabulary
    is then theirs, and every word of it that the store's training part has is trained. `first`: ids [K] and vectors
    [K,D], as they are, in place of the random start of these words' input rows; the output rows start at 0 as always.
    DataError when no word is frequent enough.
    """
    return SkipGram(config, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)


def _keep(counts: Floats, sample: float) -> kernel.Table:
    """The probability [V] of keeping a word, word2vec.c's rule: √(s/f) + s/f for a share f of the trained words."""
    share = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        keep = np.sqrt(sample / share) + sample / share if sample else np.ones_like(share)
    return np.where(counts > 0, np.minimum(1.0, keep), 0.0).astype(np.float32)


def _fresh(kept: Bits, width: int, seed: int) -> tuple[kernel.Table, kernel.Table]:
    """word2vec.c's start: inward uniform in ±1/(2D), outward 0. Rows that are never trained are 0: nothing known."""
    rng = draws.generator(seed, "word2vec tables")
    inward = rng.random((len(kept), width), dtype=np.float32)
    inward -= np.float32(0.5)
    inward /= np.float32(width)
    inward[~kept] = 0.0
    return inward, np.zeros_like(inward)


def _given(init: Arrays) -> tuple[kernel.Table, kernel.Table]:
    inward = np.array(init[INWARD], np.float32, order="C")
    outward = np.array(init[OUTWARD], np.float32, order="C") if OUTWARD in init else np.zeros_like(inward)
    return inward, outward
