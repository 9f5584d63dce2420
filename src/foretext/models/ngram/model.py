"""Interpolated modified Kneser-Ney: from counts to probabilities, and looking them up.

With a = the adjusted count of an n-gram (its count at the highest order and where it begins a unit; below, how many
different words stand before it: "continuation count"), h the words before w, h' the same without the farthest:

    p(w|h) = (a(hw) − D(a(hw))) / Σ_v a(hv) + γ(h) · p(w|h'),   γ(h) = Σ_v D(a(hv)) / Σ_v a(hv)

(Chen and Goodman 1998, equations 25 to 27, section 4.1.6), down to p(w|) over the uniform distribution over the whole
vocabulary, [UNK] and the boundary included: every word has a probability, and those of all words sum to one. An unseen
h says nothing: p(w|h) = p(w|h'). Rare words that the tokenizer merged into [UNK] are one word; others that training
never saw share γ of the unigrams.

The table is a trie in suffix order. Level k holds the n-grams of k words, sorted; an entry's key is the number of its
parent (the same without the farthest word) at level k − 1, shifted, and its farthest word. So a look-up is a binary
search a level, for many words at once.

N_k n-grams of k words · V vocabulary · M places
"""

from collections.abc import Sequence

import numpy as np

from foretext.errors import ArtefactError
from foretext.models.ngram.config import NgramConfig
from foretext.models.ngram.counts import Packing, Run, sorted_run
from foretext.models.ngram.estimating import HEAD, SHIFT, find
from foretext.models.stream import NOTHING, Stream, boundary_of
from foretext.types import Arrays, Floats, Ints, Tokenizer

_CHUNK = 65_536
class Ngram:
    """A model at rest (`stream.Scorer`)."""

    def __init__(self, config: NgramConfig, arrays: Arrays, vocabulary: int, boundary: int) -> None:
        self.order, self.unit, self.boundary, self.vocabulary = config.order, config.unit, boundary, vocabulary
        try:
            levels = range(1, config.order + 1)
            self._keys: Sequence[Ints] = [arrays[f"{HEAD}.order_{k}.keys"] for k in levels]
            self._logs: Sequence[Floats] = [arrays[f"{HEAD}.order_{k}.log"] for k in levels]
            self._backoffs: Sequence[Floats] = [arrays[f"{HEAD}.order_{k}.backoff"] for k in levels[:-1]]
            self._counts: Sequence[Ints] = [arrays[f"{HEAD}.order_{k}.counts"] for k in levels]
            self._base = float(arrays[f"{HEAD}.base"][0])
        except KeyError as error:
            raise ArtefactError(f"an n-gram model of order {config.order} lacks {error.args[0]}") from error
        for k, (keys, logs) in enumerate(zip(self._keys, self._logs, strict=True), start=1):
            if keys.shape != logs.shape or (k < self.order and self._backoffs[k - 1].shape != keys.shape):
                raise ArtefactError("the tables of an n-gram model differ in length", place=f"{HEAD}.order_{k}")

    def nats(self, stream: Stream) -> Floats:
        """Log-probability [M] of every place, ends included."""
        found = np.empty(len(stream))
        for start in range(0, len(stream), _CHUNK):
            stop = min(start + _CHUNK, len(stream))
            found[start:stop] = self.log_probability(*stream.contexts(start, stop, self.order - 1))
        return found

    def log_probability(self, words: Ints, context: Ints) -> Floats:
        """log p of `words` [M] after `context` [M, order−1] (nearest word first, NOTHING beyond the boundary), nats."""
        rank: Ints = find(self._keys[0], words)
        found = np.where(rank >= 0, self._logs[0][rank] if len(self._logs[0]) else self._base, self._base).astype(np.float64)
        seen = (rank >= 0).astype(np.int64)  # words of the longest n-gram that is there
        known: Ints = np.zeros(len(words), np.int64)
        for k in range(1, self.order):
            word = context[:, k - 1]
            rank = self._step(k, rank, word)
            found = np.where(rank >= 0, self._logs[k][rank] if len(self._logs[k]) else 0.0, found)
            seen[rank >= 0] = k + 1
        for k in range(1, self.order):
            known = self._step(k - 1, known, context[:, k - 1])
            weight = np.where((known >= 0) & (seen <= k), self._backoffs[k - 1][known] if len(self._keys[k - 1]) else 0.0, 0.0)
            found += weight
        return found

    def _step(self, level: int, rank: Ints, word: Ints) -> Ints:
        """The numbers at level `level` (from 0) of the n-grams `rank` of the level above, with `word` before them."""
        reach = (rank >= 0) & (word != NOTHING)
        at = find(self._keys[level], (np.maximum(rank, 0) << SHIFT) | np.maximum(word, 0))
        return np.where(reach, at, -1)

    def counted(self) -> Run:
        """The counts of the longest n-grams, from which the tables were made: at the highest order, and below it the
        n-grams that begin a unit, whose counts were not adjusted."""
        packing = Packing(self.order, self.vocabulary)
        rows: list[Ints] = []
        counts: list[Ints] = []
        codes = np.zeros((0, 0), np.int64)
        for k in range(1, self.order + 1):
            parent, word = self._keys[k - 1] >> SHIFT, (self._keys[k - 1] & ((1 << SHIFT) - 1)) + 1
            before = codes[parent] if k > 1 else np.zeros((len(word), 0), np.int64)
            codes = np.concatenate([before, word[:, None]], axis=1)
            whole = np.ones(len(word), np.bool_) if k == self.order else (word == self.boundary + 1) & (k > 1)
            rows.append(np.pad(codes[whole], ((0, 0), (0, self.order - k))))
            counts.append(self._counts[k - 1][whole])
        return sorted_run(*packing.pack(np.concatenate(rows)), np.concatenate(counts))


def scorer(config: NgramConfig, arrays: Arrays, tokenizer: Tokenizer) -> Ngram:
    """The model that these arrays are."""
    return Ngram(config, arrays, tokenizer.size, boundary_of(tokenizer, config.boundary))
