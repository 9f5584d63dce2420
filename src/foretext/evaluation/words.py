"""A model's word vectors as a table that questions are put to: which words it knows, how often it saw each, its vector.

Every question about words (`neighbors`, `analogy`, `similarity`, the word sets, the map) looks words up here, by one rule:

1. as the model's tokenizer reads the word, whole where the vocabulary has it (a lower-casing model lower-cases the
   question too), else the mean of its pieces' vectors, as long as each has one;
2. else the most frequent entry that differs in case alone.

V vocabulary · D width
"""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foretext.bundle import SOURCE, Pretrained
from foretext.errors import UsageError
from foretext.models.catalog import family, require
from foretext.text.words import word_spans
from foretext.types import Bits, Floats, Ints, Text, Tokenizer

RARE = 50
"""Seen less often, a word is warned about: with windows of five its vector has met a few hundred words at most, and its
neighbours are those that chance put beside it. Ours, from looking at such words."""
_ROWS = 65_536
"""Rows of the matrix read at once: bounds what is copied."""
_CANDIDATES = 50_000
"""Entries searched for words spelt like an unknown one, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A word looked up. `ids`: its entries, several where it is put together from pieces, none where the family made the
    vector from the word's letters; `vector` [D]: their mean; `count`: how often the training corpus has it, None where
    that is not known."""

    word: str
    ids: tuple[int, ...]
    vector: Floats
    count: int | None

    @property
    def whole(self) -> bool:
        """Whether the vocabulary has the word as one entry."""
        return len(self.ids) == 1


@dataclass(frozen=True, kw_only=True)
class WordTable:
    """`vectors` [V,D], one row an entry of `tokenizer`. `most`: only so many of the first entries are known (0: all); in
    a vocabulary of words they are the most frequent. `unseen`: the family's own vector [D] of a word that has no entry,
    or None. `about`: what the vectors are, for people."""

    vectors: Floats
    tokenizer: Tokenizer
    most: int = 0
    unseen: Callable[[str], Floats | None] | None = None
    about: str = ""

    @cached_property
    def counts(self) -> Ints | None:
        """Occurrences in the training corpus [V]; None where the tokenizer counts no entries, or came without counts."""
        counts: Ints | None = getattr(self.tokenizer, "counts", None)
        return counts if counts is not None and len(counts) == len(self.vectors) and counts.any() else None

    @cached_property
    def norms(self) -> NDArray[np.float32]:
        """Lengths of the rows [V]."""
        parts = [np.linalg.norm(np.asarray(rows, np.float32), axis=1) for _, rows in self.blocks(_ROWS)]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)

    @cached_property
    def searched(self) -> Bits:
        """The entries that may be an answer [V]: no special token, no row of zeros (never trained), within `most`."""
        ordinary = np.ones(len(self.vectors), np.bool_)
        ordinary[[i for i in self.tokenizer.special.values() if i < len(ordinary)]] = False
        if self.most:
            ordinary &= np.cumsum(ordinary) <= self.most
        return ordinary & (self.norms > 0)

    @property
    def size(self) -> int:
        """How many entries may be an answer."""
        return int(self.searched.sum())

    @cached_property
    def folded(self) -> list[str]:
        """The entries without their case [V]."""
        return [piece.casefold() for piece in self.tokenizer.pieces]

    @cached_property
    def _spelled(self) -> dict[str, list[int]]:
        """Entries by their caseless spelling; only those that may be an answer."""
        found: dict[str, list[int]] = {}
        for i in np.flatnonzero(self.searched).tolist():
            found.setdefault(self.folded[i], []).append(i)
        return found

    def variants(self, entry: int) -> list[int]:
        """The entries that differ from `entry` in case alone, itself among them."""
        return self._spelled.get(self.folded[entry], [entry])

    def blocks(self, rows: int) -> Iterable[tuple[int, Floats]]:
        """(first row, rows) of the matrix, `rows` at a time."""
        for start in range(0, len(self.vectors), rows):
            yield start, self.vectors[start : start + rows]

    def count(self, entry: int) -> int | None:
        """How often the training corpus has an entry."""
        return None if self.counts is None else int(self.counts[entry])

    def find(self, word: str) -> Found | None:
        """Look a word up; None where the model has no vector for it. A name of several words may be one entry, joined as
        word2vec's phrases are."""
        if " " in word and (joined := self.find(word.replace(" ", "_"))) is not None and joined.whole:
            return replace(joined, word=word)
        whole: tuple[tuple[int, int], ...] = ((0, len(word)),) if word else ()
        ids = np.asarray(self.tokenizer.encode([Text(string=word, words=whole)])[0].ids, np.int64)
        if len(ids) and ids.max() < len(self.searched) and self.searched[ids].all():
            return self._found(word, ids.tolist())
        if word and (spelled := self._spelled.get(word.casefold())):
            return self._found(word, spelled[:1])
        made = self.unseen(word) if word and self.unseen is not None else None
        return None if made is None or not made.any() else Found(word=word, ids=(), vector=made, count=0)

    def _found(self, word: str, ids: list[int]) -> Found:
        vector = np.asarray(self.vectors[ids].mean(axis=0, dtype=np.float32))
        return Found(word=word, ids=tuple(ids), vector=vector, count=self.count(ids[0]) if len(ids) == 1 else None)

    def known(self, word: str) -> Found:
        """Look a word up; UsageError, with the nearest words, where the model has no vector for it."""
        found = self.find(word)
        if found is not None:
            return found
        near = spelt_like(word, self.tokenizer)
        raise UsageError(
            f"the model does not know the word {word!r}" + (f" among its first {self.most:,}" if self.most else ""),
            remedy=f"did you mean {', '.join(near)}?" if near else "",
        )

    def words(self, string: str) -> list[str]:
        """A query's words: all of it where it is one entry (a phrase, joined or not), else the tokenizer's where a word is one
        token, so that 苹果手机 is cut as the corpus was."""
        if (found := self.find(string)) is not None and found.whole:
            return [string]
        encoding = self.tokenizer.encode([Text(string=string)])[0]
        if len(encoding.ids) and len(set(encoding.word.tolist())) == len(encoding.ids):
            return [string[start:stop] for start, stop in encoding.offsets.tolist()]
        return [string[start:stop] for start, stop in word_spans(string)] or [string]

    def remarks(self, asked: Sequence[Found]) -> list[str]:
        """What a reader of an answer about these words must know: how many entries were compared, which of the words are
        rare, and which have no entry of their own."""
        said = [f"{self.size:,} words compared" + (f" (the first {self.most:,} only)" if self.most else "")]
        for one in {one.word: one for one in asked}.values():
            if one.ids and not one.whole:
                parts = " + ".join(self.tokenizer.pieces[i] for i in one.ids)
                said.append(f"{one.word} is no entry of the vocabulary: its vector is the mean of {parts}")
            elif not one.ids:
                said.append(f"{one.word} was never seen: its vector is made from its letters")
            elif one.count is not None and one.count < RARE:
                said.append(f"warning: {one.word} is rare, seen {one.count:,} times: its vector says little")
        return said


def word_table(pretrained: Pretrained, command: str = "neighbors", *, most: int = 0) -> WordTable:
    """The vectors that a question about words alone is put to: a static family's vectors, a contextual one's input
    embeddings. UsageError, naming `command`, for a family that has neither."""
    name = pretrained.recipe.family.name
    require(name, "neighbors", command)
    if "contextual" in family(name).can:
        about = "input embeddings, before any context"
        vectors = pretrained.model.encoder(SOURCE).table.weight.detach().numpy()
    else:
        about = "one vector a word, whatever its sense"
        vectors = pretrained.vectors

    def spelled(word: str) -> Floats | None:
        made = pretrained.spelled([word])
        return None if made is None else np.asarray(made[0])

    few = len(vectors) - len(pretrained.tokenizer.special) <= most  # then it leaves nothing out, and nothing is said of it
    return WordTable(vectors=vectors, tokenizer=pretrained.tokenizer, most=0 if few else most, unseen=spelled, about=about)


def spelt_like(word: str, tokenizer: Tokenizer, n: int = 5) -> list[str]:
    """Known words spelt like `word`, the likest first; words of Chinese are alike when they share characters."""
    pieces = tokenizer.pieces[len(tokenizer.special) : _CANDIDATES]
    folded = word.casefold()
    initial = set(folded[:1])
    close = [p for p in pieces if abs(len(p) - len(folded)) <= 2 and (p[:1] in initial or (set(p) & set(folded) and len(p) < 5))]
    return difflib.get_close_matches(folded, close, n=n, cutoff=0.5)


def seen(word: str, count: int | None) -> str:
    """A word with its count, for people."""
    return word if count is None else f"{word} (seen {count:,} times)"


def unit(vectors: Floats) -> NDArray[np.float32]:
    """Rows of length 1; rows of zeros stay."""
    rows = np.asarray(vectors, np.float32)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-30), np.float32)
