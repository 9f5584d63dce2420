"""The fastText Stepper: word2vec's own, with a third table, of character n-grams (see `fasttext_kernel`).

V vocabulary · K rows of n-grams · D width
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.errors import ArtefactError, UsageError
from foretext.models.stepping import Store
from foretext.models.word2vec import blocks, fasttext_kernel, means, synchronous
from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.models.word2vec.kernel import Table
from foretext.models.word2vec.objectives import Planned, Trained
from foretext.models.word2vec.subwords import GRAMS, Offsets, Rows, Spelt, put_together, subwords
from foretext.models.word2vec.train import INWARD, OUTWARD, Pairs, SkipGram, pair_loss
from foretext.text.tokenizers.config import LEXICONS
from foretext.types import Arrays, Bits, Floats, Ints

NGRAMS = f"encoders.text.{GRAMS}"


class FastText(SkipGram):
    """A Stepper (`types.Stepper`): skip-gram or CBOW with negative sampling, words made of n-grams, over a token store.

    Deterministic to the bit with one thread, and after `restore`; with several where updates are synchronous.
    """

    def __init__(
        self, config: FastTextConfig, store: Store, *, seed: int, threads: int, steps: int | None, epochs: float | None,
        init: Arrays | None, first: tuple[Ints, Floats] | None = None,
    ) -> None:
        plain: Any = config  # the fields that are read there are the same
        super().__init__(plain, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)
        self.shape = config
        self.spelt = subwords(store.tokenizer, config, len(self.inward))
        given = 0 if init is None else len(init[INWARD])
        # The released code's start: every row uniform in ±1/D (twice as far as word2vec.c's).
        _draw(self.inward[given:], seed, "fasttext words")
        self.inward[given:][~self.kept[given:]] = 0.0
        self.grams: Table = np.empty((self.spelt.size, config.width), np.float32)
        _draw(self.grams, seed, "fasttext n-grams")
        if init is not None:
            self._take(np.asarray(init[NGRAMS]), given)
        if first is not None:
            # The released code's -pretrainedVectors: rows of words, whatever their n-grams say.
            self._placed(*first)
        self.fixed = blocks.NOTHING
        if len(self.still):
            self.fixed = np.zeros(len(self.grams), np.bool_)
            self.fixed[self.spelt.rows[np.repeat(self.still, np.diff(self.spelt.first))]] = True
            if init is None:
                self.grams[self.fixed] = 0.0

    def _take(self, grams: Floats, given: int) -> None:
        """Put the n-gram rows of a model of the first `given` words in their places; those that new words bring stay."""
        before = subwords(self.store.tokenizer, self.shape, given)
        size = (before.size, self.shape.width)
        if grams.shape != size:
            raise ArtefactError(
                f"expected {NGRAMS} of shape {size}, found {grams.shape}", place=NGRAMS,
                remedy="go on with the n-grams of the model: family.min_n, max_n, bucket and every_bucket as they are there",
            )  # fmt: skip
        kept = self.spelt.kept
        self.grams[slice(None) if kept is None or before.kept is None else np.searchsorted(kept, before.kept)] = grams

    def evaluate(self) -> Mapping[str, float]:
        """Mean loss (nats) a pair, or with CBOW a centre, on places and negatives fixed by the store alone; {} where
        nothing is held out. Untrained vectors lose (1 + negatives)·ln 2."""
        if self.shape.architecture == "cbow":
            return self._evaluate_cbow()
        if self._pairs is None:
            self._pairs = self._held_out_pairs()
        if not len(self._pairs.centre):
            return {}
        words, centre = np.unique(self._pairs.centre, return_inverse=True)
        pairs = Pairs(centre=centre, context=self._pairs.context, negative=self._pairs.negative)
        return {"loss": pair_loss(self._vectors(words), self.outward, pairs)}

    def _evaluate_cbow(self) -> Mapping[str, float]:
        words, low, high, n = self._held_out_plan()
        places = np.flatnonzero(high[:n] - low[:n] > 1)
        if not len(places):
            return {}
        told = words[places]
        negative = self._held_out_negatives(told)
        known, number = np.unique(words[:n], return_inverse=True)
        weight = (1 + np.diff(self.spelt.first)[known]).astype(np.float32)
        weighted = self._vectors(known) * weight[:, None]
        total = 0.0
        for some in np.array_split(np.arange(len(places)), -(-len(places) // 4096)):
            hidden = np.stack([_around(weighted, weight, number, low[i], high[i], i) for i in places[some].tolist()])
            pairs = Pairs(centre=np.arange(len(some)), context=told[some], negative=negative[some])
            total += pair_loss(hidden, self.outward, pairs) * len(some)
        return {"loss": total / len(places)}

    def _vectors(self, words: Ints) -> Table:
        out = np.empty((len(words), self.inward.shape[1]), np.float32)
        put_together(self.inward, self.grams, self.spelt.first, self.spelt.rows, words.astype(np.int32), out)
        return out

    def _tables(self) -> Arrays:
        return {INWARD: self.inward, NGRAMS: self.grams, OUTWARD: self.outward}

    def _moving(self) -> tuple[Table, ...]:
        return self.inward, self.grams, self.outward

    def _train(self, start: int, stop: int, place: tuple[int, int, int], first_rate: float, last_rate: float) -> Trained:
        planned, state = self._planned(start, stop, place)
        spelt = (self.spelt.first, self.spelt.rows)
        return self._learn(self._moving(), spelt, planned, (first_rate, last_rate), self.objective, state, (self.still, self.fixed))

    def _apart_words(self) -> int:
        return synchronous.words(3 * self.shape.width)  # a word brings the rows of its n-grams

    def _apart(self, planned: Planned, rates: Any, state: NDArray[np.uint64]) -> synchronous.Change:
        words, low, high, n = planned
        ins, outs, objective = self.objective.part(words[:n], state)
        first, used, rows = self.spelt.among(ins)
        ids, numbers = (ins, used, outs), np.searchsorted(ins, words[:n]).astype(np.int32)
        copies = tuple(table[some] for table, some in zip(self._moving(), ids, strict=True))
        still = (self.still[ins], self.fixed[used]) if len(self.still) else (self.still, self.fixed)
        trained = self._learn(copies, (first, rows), (numbers, low[:n], high[:n], n), rates, objective, state, still)
        inward, outward = objective.met(numbers)
        met = (inward, np.bincount(rows, np.repeat(inward, np.diff(first)), len(used)).astype(np.int64), outward)
        changes = zip(self._moving(), ids, copies, met, strict=True)
        return synchronous.Change(rows=tuple(synchronous.moved(*change) for change in changes), trained=trained)

    def _learn(
        self, tables: tuple[Table, ...], spelt: tuple[Offsets, Rows], planned: Planned, rates: tuple[float, float],
        objective: Any, state: NDArray[np.uint64], still: tuple[Bits, Bits],
    ) -> Trained:  # fmt: skip
        """Train a planned shard, by the config's method, on `tables`: word rows, n-gram rows and output rows."""
        config = self.shape
        given = (*tables, *spelt, *planned, *rates, objective.accept, objective.other, config.negatives)
        width, cbow = tables[0].shape[1], config.architecture == "cbow"
        if config.method == "pairs":
            train = fasttext_kernel.train_cbow_pairs if cbow else fasttext_kernel.train_pairs
            answer = train(*given, state, *still)
        else:
            local = fasttext_kernel.scratch(len(tables[0]), width, config.window)
            if cbow:
                memory = means.scratch(width, config.window, config.shared, 0)
                answer = fasttext_kernel.train_cbow_spans(*given, config.shared, state, memory, local, *still)
            else:
                memory = blocks.scratch(width, config.window, config.shared)
                answer = fasttext_kernel.train_spans(*given, config.shared, state, memory, local, *still)
        return float(answer[0]), int(answer[1]), bool(answer[2])


def _draw(table: Table, seed: int, purpose: str) -> None:
    draws.generator(seed, purpose).random(out=table, dtype=np.float32)
    table -= np.float32(0.5)
    table *= np.float32(2.0 / table.shape[1])


def _around(weighted: Table, weight: Table, number: Ints, low: int, high: int, place: int) -> Floats:
    """The mean over all rows of the words around `place`."""
    others = np.concatenate([number[low:place], number[place + 1 : high]])
    mean: Floats = weighted[others].sum(axis=0) / weight[others].sum()
    return mean


def stepper(
    config: FastTextConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> FastText:
    """A FastText ready to step; arguments and errors as `train.stepper`'s, and UsageError for a tokenizer whose tokens
    are no words or characters: pieces of words have no n-grams of their own."""
    kind = getattr(getattr(store.tokenizer, "config", None), "kind", "words")
    if kind not in LEXICONS:
        raise UsageError(
            f"fasttext makes words out of their letters, and a {kind} tokenizer has cut them already",
            place="tokenizer.kind", remedy='set tokenizer.kind = "words"',
        )  # fmt: skip
    return FastText(config, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)


def extended(config: Any, arrays: Arrays, old: Any, new: Any) -> Arrays:
    """The arrays of a model whose vocabulary `old` (a tokenizer) has grown to `new`, tables of words grown already. A
    new word's row is the mean of its n-grams, so it starts at the vector that it had as an unseen word, as long as
    the model knows any of them; rows of n-grams that it had not are zeros, the others move to their places."""
    words = Spelt(config, arrays, old).vectors(new.pieces[old.size :])
    table = arrays[INWARD].copy()
    table[old.size :] = np.where(words.any(axis=1, keepdims=True), words, table[old.size :])
    before, after = subwords(old, config), subwords(new, config)
    grown = arrays[NGRAMS]
    if before.kept is not None and after.kept is not None:
        grown = np.zeros((after.size, table.shape[1]), table.dtype)
        grown[np.searchsorted(after.kept, before.kept)] = arrays[NGRAMS]
        # A mean that counts rows as zeros which are now rows of zeros stays what it was.
    return {**arrays, INWARD: table, NGRAMS: grown}
