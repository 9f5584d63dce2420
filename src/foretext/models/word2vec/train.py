"""The word2vec Stepper: blocks of a memory-mapped token store, trained by the kernels, without torch.

V vocabulary · D width. A step is one block of about `config.block` corpus words, cut where sentences end (a sentence
longer than a block is cut inside); its shards are trained one after the other by one thread, or by several at once on
the same tables without locks (Hogwild: Niu et al. 2011, arXiv 1106.5730), which no two runs repeat to the bit; or apart
and in rounds (`synchronous`), which any number of threads repeats.
"""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.errors import ArtefactError, DataError, DivergedError
from foretext.models.stepping import Store, require_own
from foretext.models.word2vec import kernel, synchronous
from foretext.models.word2vec.blocks import NOTHING
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.objectives import (
    HierarchicalSoftmax,
    NegativeSampling,
    Objective,
    Planned,
    Trained,
    alias,
    drawn_negatives,
    negative_loss,
    scored_at_once,
)
from foretext.models.word2vec.tree import grafted, huffman, paths
from foretext.types import Arrays, Bits, Floats, Ints, Report, State

INWARD = "encoders.text.table.weight"
OUTWARD = "heads.negative_sampling.table.weight"
TREE = "heads.hierarchical_softmax.children"
"""The inner nodes of the tree, which a run that goes on must not change."""

_HELD_OUT_WORDS = 40_000
"""Most words of the fixed held-out set; about 200k pairs, under a second to score."""


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
    """A Stepper (`types.Stepper`): word2vec's architectures and losses over a token store.

    Deterministic to the bit with one thread, and after `restore`; with several where updates are synchronous.
    """

    def __init__(
        self, config: Word2VecConfig, store: Store, *, seed: int, threads: int, steps: int | None, epochs: float | None,
        init: Arrays | None, first: tuple[Ints, Floats] | None = None,
    ) -> None:
        self.config, self.store, self.seed, self.threads = config, store, seed, max(1, threads)
        given = 0 if init is None else len(init[INWARD])
        self.kept = kept = _kept(config, store, given)
        counts = np.zeros(len(kept))
        counts[kept] = np.asarray(store.counts)[np.flatnonzero(kept)]
        self.keep = _keep(counts, config.sample)
        self.objective = _objective(config, counts, kept, init)
        words = int(store.sentences[-1])
        self._cuts = edges(store.sentences, 0, words, -(-words // max(1, round(words / config.block))))
        passes = epochs if epochs is not None else config.epochs
        self.total = steps if steps is not None else max(1, round(passes * (len(self._cuts) - 1)))
        self.done = 0
        self.inward = _fresh(kept, config.width, seed)
        self.outward = np.zeros((self.objective.rows, config.width), np.float32)
        still = np.zeros(len(kept), np.bool_)
        if init is not None:
            self.inward[:given] = init[INWARD]
            outward = init.get(f"heads.{self.objective.head}.table.weight", self.outward[:0])
            self.outward[: len(outward)] = outward
            still[:given] = True
        if first is not None:
            still[self._placed(*first)] = True
        self.still = still if config.frozen == "given" else NOTHING
        self._examples: Any = None
        self._pairs: Pairs | None = None

    def _placed(self, ids: Ints, rows: Floats) -> Ints:
        """Put given vectors in the place of these words' own rows, as far as they are trained; answers which are."""
        trained = (ids < len(self.kept)) & self.kept[np.minimum(ids, len(self.kept) - 1)]
        self.inward[ids[trained]] = rows[trained]
        return ids[trained]

    @property
    def _accept(self) -> kernel.Table:
        return self.objective.accept  # type: ignore[attr-defined, no-any-return]

    @property
    def _other(self) -> kernel.Words:
        return self.objective.other  # type: ignore[attr-defined, no-any-return]

    def step(self) -> Report:
        """Train on the next block. DivergedError at the first non-finite score, before it reaches
        the tables; what was trained before it stays."""
        epoch, block = divmod(self.done, len(self._cuts) - 1)
        start, stop = int(self._cuts[block]), int(self._cuts[block + 1])
        if self.config.updates == "synchronous":
            results = self._rounds(start, stop, epoch, block)
        else:
            results = self._shards(start, stop, epoch, block)
        self.store.let_go()
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
        """Copies of both tables under their names on disk, and the step number."""
        cursor = {"step": self.done, "total": self.total, "seed": self.seed, "store": self.store.key}
        return State(arrays={name: table.copy() for name, table in self._tables().items()}, cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`. ArtefactError when it belongs to another store, seed, length or size."""
        require_own(state.cursor, total=self.total, seed=self.seed, store=self.store.key)
        for name, table in self._tables().items():
            if name not in state.arrays or state.arrays[name].shape != table.shape:
                found = state.arrays[name].shape if name in state.arrays else "none"
                raise ArtefactError(f"expected {name} of shape {table.shape}, found {found}", place=name)
            table[...] = state.arrays[name]
        self.done = int(state.cursor["step"])

    def evaluate(self) -> Mapping[str, float]:
        """Mean loss (nats) a pair, or with CBOW a centre, on examples and negatives fixed by the store alone; {} where
        nothing is held out.

        Untrained vectors lose (1 + negatives)·ln 2, or ln 2 a decision of the tree.
        """
        if self._examples is None:
            self._examples = self.objective.examples(self._held_out_plan())
        loss = self.objective.loss(self.inward, self.outward, self._examples)
        return {} if loss is None else {"loss": loss}

    def _tables(self) -> Arrays:
        tables: dict[str, Any] = {INWARD: self.inward, f"heads.{self.objective.head}.table.weight": self.outward}
        if isinstance(self.objective, HierarchicalSoftmax):
            tables[TREE] = self.objective.tree.children
        return tables

    def _rate(self, done: float) -> float:
        return self.config.rate * max(self.config.last_rate, 1.0 - done)

    def _plan(self, ids: Ints, ends: Ints, skipped: Bits, state: NDArray[np.uint64]) -> Planned:
        words, low, high = (np.empty(len(ids), np.int32) for _ in range(3))
        n = kernel.plan(
            np.ascontiguousarray(ids, dtype=np.int32), np.ascontiguousarray(ends, dtype=np.int64),
            np.ascontiguousarray(skipped, dtype=np.bool_), self.keep, self.config.window, state, words, low, high,
        )
        return words, low, high, int(n)

    def _planned(self, start: int, stop: int, place: tuple[int, ...]) -> tuple[Planned, NDArray[np.uint64]]:
        """The plan of tokens [start, stop) of the store, and the random state that goes on from it."""
        sentences = self.store.sentences
        first = int(np.searchsorted(sentences, start, side="right")) - 1
        last = int(np.searchsorted(sentences, stop, side="left"))
        ends = np.minimum(sentences[first + 1 : last + 1], stop) - start
        state = np.array([draws.number(self.seed, self.config.name, *place)], np.uint64)
        return self._plan(self.store.ids[start:stop], ends, self.store.held_out[first:last], state), state

    def _shards(self, start: int, stop: int, epoch: int, block: int) -> list[Trained]:
        cuts = edges(self.store.sentences, start, stop, max(1, -(-(stop - start) // self.config.shards)))
        count = len(cuts) - 1

        def shard(number: int) -> Trained:
            seen = [(self.done + part / count) / self.total for part in (number, number + 1)]
            return self._train(int(cuts[number]), int(cuts[number + 1]), (epoch, block, number), *map(self._rate, seen))

        return self._spread(shard, range(count))

    def _spread(self, work: Callable[[int], Any], parts: Iterable[int]) -> list[Any]:
        """`work` on each part, in as many threads as there are."""
        if self.threads == 1:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(self.threads) as pool:
            return list(pool.map(work, parts))

    def _train(
        self, start: int, stop: int, place: tuple[int, int, int], first_rate: float, last_rate: float
    ) -> Trained:
        """One shard: tokens [start, stop) of the store. Answers (summed loss, pairs, finite)."""
        planned, state = self._planned(start, stop, place)
        return self.objective.train(self.inward, self.outward, planned, (first_rate, last_rate), state, self.still)

    def _rounds(self, start: int, stop: int, epoch: int, block: int) -> list[Trained]:
        """The block in rounds of parts, each part trained apart from the same tables."""
        cuts = edges(self.store.sentences, start, stop, self._apart_words())
        count, at_once = len(cuts) - 1, min(self.config.shards, synchronous.PARTS)

        def part(number: int) -> synchronous.Change:
            rates = tuple(self._rate((self.done + at / count) / self.total) for at in (number, number + 1))
            planned, state = self._planned(int(cuts[number]), int(cuts[number + 1]), (epoch, block, number))
            return self._apart(planned, rates, state) if planned[3] else synchronous.nothing(self._moving())

        results: list[Trained] = []
        for first in range(0, count, at_once):
            results += self._round(part, range(first, min(count, first + at_once)))
            if not all(finite for _, _, finite in results):
                break
        return results

    def _round(self, part: Callable[[int], synchronous.Change], numbers: range) -> list[Trained]:
        """The parts `numbers`, put together where all are finite. Their changes end with this call: two rounds' are never held."""
        changes = self._spread(part, numbers)
        results = [change.trained for change in changes]
        if all(finite for _, _, finite in results):
            for table, parts in zip(self._moving(), zip(*(change.rows for change in changes), strict=True), strict=True):
                synchronous.put_together(table, parts)
        return results

    def _apart_words(self) -> int:
        """About how many corpus words make a part of a synchronous round."""
        return synchronous.words(self.config.width)

    def _apart(self, planned: Planned, rates: Any, state: NDArray[np.uint64]) -> synchronous.Change:
        """A planned part, of at least one word, trained on copies of its rows."""
        return synchronous.apart(self.objective, self.inward, self.outward, planned, rates, state, self.still)

    def _moving(self) -> tuple[kernel.Table, ...]:
        """The tables that learn, in the order of a `synchronous.Change`."""
        return self.inward, self.outward

    def _held_out_plan(self) -> Planned:
        """The same sub-sampling and windows as in training, drawn once (seed 0 whatever the run's seed), of held-out
        sentences in a drawn order, at most `_HELD_OUT_WORDS` words: the last sentence is cut."""
        order = draws.generator(0, "word2vec held-out sample").permutation(np.flatnonzero(self.store.held_out))
        taken: list[tuple[int, Ints]] = []
        room = _HELD_OUT_WORDS
        for at in range(0, len(order), 64):
            if not room:
                break
            for sentence in order[at : at + 64].tolist():
                start, stop = (int(self.store.sentences[one]) for one in (sentence, sentence + 1))
                taken.append((sentence, self.store.ids[start : min(stop, start + room)].astype(np.int32)))
                room -= len(taken[-1][1])
            self.store.let_go()  # up to 2 MB are mapped around every place: those of all would be the whole of a large store
        parts = [ids for _, ids in sorted(taken, key=lambda one: one[0]) if len(ids)]
        ids = np.concatenate([np.empty(0, np.int32), *parts])
        ends = np.cumsum([len(part) for part in parts], dtype=np.int64)
        state = np.array([draws.number(0, "word2vec held-out")], np.uint64)
        return self._plan(ids, ends, np.zeros(len(parts), np.bool_), state)

    def _held_out_negatives(self, told: Ints) -> Ints:
        """The negatives [P,K] of pairs that tell the words `told` [P], as in training; −1: the word itself was drawn."""
        return drawn_negatives(self._accept, self._other, told, self.config.negatives)

    def _held_out_pairs(self) -> Pairs:
        """The pairs of skip-gram with negative sampling, for a family that makes a centre's vector itself."""
        found, negative = self.objective.examples(self._held_out_plan())
        return Pairs(centre=found.inputs, context=found.told, negative=negative)


def pair_loss(inward: Floats, outward: Floats, pairs: Pairs) -> float:
    """Mean over pairs of −log σ(in·out) − Σ log σ(−in·negative), nats (2013b, eq. 4 with its sign turned)."""
    total, chunk = 0.0, scored_at_once(outward.shape[1] * (1 + pairs.negative.shape[1]))
    for i in range(0, len(pairs.centre), chunk):
        some = slice(i, i + chunk)
        total += negative_loss(inward[pairs.centre[some]], outward, pairs.context[some], pairs.negative[some])
    return total / len(pairs.centre)


def stepper(
    config: Word2VecConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> SkipGram:
    """A SkipGram ready to step. `steps` (blocks) fixes the length of the run, else `epochs`, else `config.epochs`.

    `init`: arrays to go on from, under their names on disk (the output table may be missing: zeros). Their words keep
    their ids and are trained where the store's training part has them; words of the tokenizer that follow are added,
    where they are seen `config.min_count` times. `first`: ids [K] and vectors [K,D], as they are, in place of the
    random start of these words' input rows; the output rows start at 0 as always. DataError when no word is frequent
    enough.
    """
    return SkipGram(config, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)


def _kept(config: Word2VecConfig, store: Store, given: int) -> Bits:
    """Which rows are trained [V]: of the `given` first ones those that the text has, of the others the frequent ones."""
    special = store.tokenizer.special
    if not given:
        return trained_words(store.counts, config.min_count, special, config.name)
    counts = np.asarray(store.counts).copy()
    counts[given:][counts[given:] < config.min_count] = 0
    kept = trained_words(counts, 1, special, config.name)
    return np.pad(kept, (0, max(0, given - len(kept))))


def _objective(config: Word2VecConfig, counts: NDArray[np.float64], kept: Bits, init: Arrays | None) -> Objective:
    if getattr(config, "loss", "negative-sampling") == "negative-sampling":
        accept, other = alias(config, counts)
        return NegativeSampling(config=config, rows=len(kept), accept=accept, other=other)
    whole = counts.astype(np.int64)
    if init is None or TREE not in init:
        return HierarchicalSoftmax(config=config, tree=huffman(whole, kept))
    old = paths(np.array(init[TREE], np.int32).reshape(-1, 2), len(kept))
    return HierarchicalSoftmax(config=config, tree=grafted(old, whole, kept))


def _keep(counts: Floats, sample: float) -> kernel.Table:
    """The probability [V] of keeping a word, word2vec.c's rule: √(s/f) + s/f for a share f of the trained words."""
    share = counts / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        keep = np.sqrt(sample / share) + sample / share if sample else np.ones_like(share)
    return np.where(counts > 0, np.minimum(1.0, keep), 0.0).astype(np.float32)


def _fresh(kept: Bits, width: int, seed: int) -> kernel.Table:
    """word2vec.c's start: uniform in ±1/(2D). Rows that are never trained are 0: nothing known."""
    rng = draws.generator(seed, "word2vec tables")
    inward = rng.random((len(kept), width), dtype=np.float32)
    inward -= np.float32(0.5)
    inward /= np.float32(width)
    inward[~kept] = 0.0
    return inward
