"""Phrases: words that stand together more often than their frequencies say become one entry, "new_york".

word2phrase (Mikolov et al. 2013b, section 4, eq. 6; word2phrase.c multiplies the score by the number of running words):
score(a, b) = (count(a b) − δ) / (count(a) · count(b)) · words. Pairs above the threshold are joined from left to right,
none twice in one pass; another pass joins longer ones. Pairs are of neighbours in a sentence, both with a letter or a
digit in them; Chinese words, which no space divides, are joined alike.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from foretext.text.shards import Progress, each_shard, joined, shard_count, worker_count
from foretext.text.tokenizers.counting import prune
from foretext.text.tokenizers.spelling import Parts, Whole
from foretext.types import UNSEEN, Bits, Corpus, Ints

if TYPE_CHECKING:
    from foretext.text.tokenizers.chunked import ChunkTokenizer

JOIN = "_"
"""Between the words of a phrase, as in word2phrase.c."""
_SENTENCES = 256

Pair = tuple[int, str, str]
"""(pass, left, right): in that pass the two become one entry, left + JOIN + right."""


class Phrases(Whole):
    """A lexicon some of whose entries are phrases. A part of a phrase, or a phrase of a longer one, that is no entry
    itself has a number beyond the entries until all passes are done; what is left of these is unknown."""

    def __init__(self, pieces: Sequence[str], counts: Sequence[int], specials: int, unknown: int, pairs: Sequence[Pair]) -> None:
        super().__init__(pieces, counts, specials, unknown)
        self.pairs = _needed(pairs, self.ids)
        self._inner = dict(self.ids)
        for _, left, right in self.pairs:
            for part in (left, right, left + JOIN + right):
                self._inner.setdefault(part, len(pieces) + len(self._inner) - len(self.ids))
        self._parts = [*self._inner][len(self.ids) :]
        self._outside = len(pieces) + len(self._parts)  # in no pair
        self._base = self._outside + 1
        self._passes = [self._table(list(found)) for _, found in groupby(self.pairs, key=lambda pair: pair[0])]

    def _table(self, pairs: Sequence[Pair]) -> tuple[Ints, Ints]:
        """Sorted codes of the pairs of one pass, and what each becomes."""
        codes = [self._inner[left] * self._base + self._inner[right] for _, left, right in pairs]
        made = [self._inner[left + JOIN + right] for _, left, right in pairs]
        order = np.argsort(np.array(codes, np.int64))
        return np.array(codes, np.int64)[order], np.array(made, np.int64)[order]

    def spell(self, word: str) -> Parts:
        return [(self._inner.get(word, self.unknown), 0, len(word))]

    def same(self, pieces: Sequence[str], counts: Sequence[int], specials: int) -> "Phrases":
        return Phrases(pieces, counts, specials, self.unknown, self.pairs)

    def files(self) -> Mapping[str, Sequence[str]]:
        return {**super().files(), "phrases.txt": [f"{number} {left} {right}" for number, left, right in self.pairs]}

    def together(self, ids: Ints, borders: Bits, form: Callable[[str], int] | None = None) -> tuple[Ints, Ints]:
        """Tokens [T] with their phrases joined [U], and the place of each joined token's first part [U]; it ends where
        the next begins. `borders` [T]: tokens that are never joined to the one before; nor is an unseen word's id.
        `form`: the id of an unseen word, for parts that are no entries themselves; None: these are unknown."""
        own = np.asarray(ids, np.int64)
        found, places = np.where(own < UNSEEN, own, self._outside), np.arange(len(ids))
        for codes, made in self._passes:
            if len(found) < 2:
                break
            code = found[:-1] * self._base + found[1:]
            at = np.minimum(np.searchsorted(codes, code), len(codes) - 1)
            fits = (codes[at] == code) & ~borders[places[1:]]
            # In a run of overlapping pairs, from the left, every other one is joined.
            run = np.arange(len(fits))
            begins = fits & ~np.concatenate([[False], fits[:-1]])
            taken = fits & ((run - np.maximum.accumulate(np.where(begins, run, 0))) % 2 == 0)
            found = found.copy()
            found[:-1][taken] = made[at[taken]]
            kept = np.concatenate([[True], ~taken])
            found, places = found[kept], places[kept]
        left = np.flatnonzero(found >= len(self.pieces))
        if form is None:
            found[left] = self.unknown
        else:
            unseen = {number: form(self._parts[number - len(self.pieces)]) for number in set(found[left].tolist()) - {self._outside}}
            found[left] = [unseen.get(number, one) for number, one in zip(found[left].tolist(), own[places[left]].tolist(), strict=True)]
        return found, places


def _needed(pairs: Sequence[Pair], entries: Mapping[str, int]) -> list[Pair]:
    """The pairs that end in an entry, or in a part of what does."""
    kept: list[Pair] = []
    parts: set[str] = set()
    for number, left, right in reversed(pairs):
        whole = left + JOIN + right
        if whole in entries or whole in parts:
            kept.append((number, left, right))
            parts |= {left, right}
    return kept[::-1]


def with_phrases(
    base: "ChunkTokenizer", corpus: Corpus, *, workers: int | None = None, progress: Progress | None = None
) -> Phrases:
    """The lexicon of `base` with the phrases of the corpus, ranked by how often each entry stands in the joined text.

    One pass over the corpus for each threshold of `config.phrases`, and one that counts; memory is bounded by
    `config.most_words` pairs, the rarest of which are forgotten first.
    """
    config, specials = base.config, len(base.config.special)
    old = base.spelling
    assert isinstance(old, Whole)
    unknown = old.unknown
    words, pairs = list(base.pieces), list[Pair]()
    lexicon = base
    for number, threshold in enumerate(config.phrases):
        counts, found = _counted(lexicon, corpus, True, workers, progress)
        pairs += _chosen(number, threshold, config.phrase_discount, lexicon.pieces, counts, found)
        words = list(dict.fromkeys([*words, *(left + JOIN + right for _, left, right in pairs)]))
        lexicon = _lexicon(base, Phrases(words, [0] * len(words), specials, unknown, pairs))
    counts, _ = _counted(lexicon, corpus, False, workers, progress)
    order = sorted(range(specials, len(words)), key=lambda entry: (-int(counts[entry]), words[entry]))
    order = [entry for entry in order if counts[entry] >= max(1, config.min_count)]
    return Phrases(
        [*words[:specials], *(words[entry] for entry in order)], [0] * specials + [int(counts[entry]) for entry in order],
        specials, unknown, pairs,
    )  # fmt: skip


def _lexicon(base: "ChunkTokenizer", spelling: Phrases) -> "ChunkTokenizer":
    return type(base)(base.config, spelling)


def _chosen(
    number: int, threshold: float, discount: float, pieces: Sequence[str], counts: Ints, found: Mapping[int, int]
) -> list[Pair]:
    """The pairs whose score is above the threshold, the highest first."""
    total, size = float(counts.sum()), len(pieces)
    scored = []
    for code, count in found.items():
        left, right = divmod(code, size)
        if min(counts[left], counts[right]) >= discount:
            score = (count - discount) / float(counts[left]) / float(counts[right]) * total
            if score > threshold:
                scored.append((-score, pieces[left], pieces[right]))
    return [(number, left, right) for _, left, right in sorted(scored)]


def _counted(
    lexicon: "ChunkTokenizer", corpus: Corpus, pairs: bool, workers: int | None, progress: Progress | None
) -> tuple[Ints, Counter[int]]:
    counts, found = np.zeros(lexicon.size, np.int64), Counter[int]()
    processes, most = worker_count(corpus, workers), lexicon.config.most_words
    for one, some in each_shard(count_pairs, corpus, shard_count(corpus), lexicon, pairs, workers=processes, progress=progress):
        counts += one
        found.update(some)
        prune(found, most)
    return counts, found


def count_pairs(corpus: Corpus, shard: int, of: int, lexicon: "ChunkTokenizer", pairs: bool) -> tuple[Ints, Counter[int]]:
    """How often each entry stands in one shard [V] and, where `pairs` are wanted, how often each pair left · V + right of
    neighbours does, pruned."""
    counts, found = np.zeros(lexicon.size, np.int64), Counter[int]()
    joinable = np.array([any(map(str.isalnum, piece)) for piece in lexicon.pieces])
    joinable[list(lexicon.special.values())] = False
    strings: list[str] = []

    def count() -> None:
        ids, lengths, _ = lexicon.ids(strings)
        counts[:] += np.bincount(ids, minlength=len(counts))
        if pairs and len(ids) > 1:
            borders = np.zeros(len(ids) + 1, np.bool_)
            borders[np.cumsum(lengths)] = True
            fits = joinable[ids[:-1]] & joinable[ids[1:]] & ~borders[1:-1]
            codes, seen = np.unique(ids[:-1][fits].astype(np.int64) * lexicon.size + ids[1:][fits], return_counts=True)
            found.update(dict(zip(codes.tolist(), seen.tolist(), strict=True)))
            prune(found, lexicon.config.most_words)
        strings.clear()

    for string, _ in joined(corpus.sentences(shard, of)):
        strings.append(string)
        if len(strings) == _SENTENCES:
            count()
    count()
    return counts, found
