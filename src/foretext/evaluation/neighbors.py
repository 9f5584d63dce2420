"""`neighbors`: what lies near a word. Static vectors: the nearest words. Contextual vectors: the nearest occurrences in
a text, layer by layer, where one spelling may lie near different words in different sentences.

V vocabulary · D width · Q queries · W words
"""

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretext.bundle import SOURCE, Pretrained
from foretext.errors import UsageError
from foretext.evaluation.occurrences import Occurrences, find_occurrences
from foretext.evaluation.query import parse_query
from foretext.models.catalog import family, require
from foretext.text.words import word_spans
from foretext.types import JSON, Corpus, Floats, Ints, Text, Tokenizer

_ROWS = 65_536
"""Rows of the matrix compared at once: bounds the copy to V rows of Q scores and one block."""
_CANDIDATES = 50_000
"""Entries searched for words spelt like an unknown one, the most frequent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """`count`: how often the training corpus has the word; None where the tokenizer does not count."""

    word: str
    cosine: float
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The nearest words of each word asked about. `about`: what the vectors are, and what they cannot tell."""

    words: tuple[str, ...]
    counts: tuple[int | None, ...]
    nearest: tuple[tuple[Neighbor, ...], ...]
    about: str

    def text(self) -> str:
        """For people."""
        lines = []
        for word, count, nearest in zip(self.words, self.counts, self.nearest, strict=True):
            lines.append(word if count is None else f"{word} (seen {count:,} times)")
            lines += [f"  {n.cosine:6.3f}  {n.word}" + ("" if n.count is None else f"  {n.count:,}") for n in nearest]
        return "\n".join([*lines, self.about])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "about": self.about,
            "words": [
                {
                    "word": word,
                    "count": count,
                    "neighbors": [{"word": n.word, "cosine": n.cosine, "count": n.count} for n in nearest],
                }
                for word, count, nearest in zip(self.words, self.counts, self.nearest, strict=True)
            ],
        }


def neighbors(
    pretrained: Pretrained, query: str, *, corpus: Corpus | None = None, n: int = 10, same_word: bool = False, most: int = 2000
) -> Words | Occurrences:
    """Nearest words of a word, or nearest occurrences of the [bracketed] word of a sentence in `corpus`.

    `same_word`: only occurrences of the query's own word. `most`: sentences of the corpus that are encoded at most.
    UsageError: an unknown word (the nearest are offered), a contextual query without a corpus or a corpus with a
    static model.
    """
    name = pretrained.recipe.family.name
    require(name, "neighbors", "neighbors")
    parsed = parse_query(query)
    contextual = "contextual" in family(name).can
    if contextual and (corpus is not None or parsed.marked is not None):
        if corpus is None or parsed.marked is None:
            raise UsageError(
                "nearest occurrences need a sentence with one word in brackets, and a text to look in",
                remedy="write \"The [bank] of the river\" --in CORPUS; a word alone lists its nearest embeddings",
            )
        return find_occurrences(pretrained, parsed, corpus, n=n, same_word=same_word, most=most)
    if corpus is not None:
        raise UsageError(
            f"{name} has one vector a word, the same in every sentence: there are no occurrences to tell apart",
            remedy="leave --in out",
        )
    about = (
        "input embeddings, before any context; for a word in context write a sentence with one [word] and --in CORPUS"
        if contextual
        else "one vector a word, whatever its sense: other senses may be missing from the list"
    )
    words = [parsed.word] if parsed.marked is not None else _words(pretrained.tokenizer, parsed.string)
    vectors = pretrained.model.encoder(SOURCE).table.weight.detach().numpy() if contextual else pretrained.vectors
    return static_neighbors(vectors, pretrained.tokenizer, words, n=n, about=about, letters=pretrained.spelled)


def static_neighbors(
    vectors: Floats, tokenizer: Tokenizer, words: Sequence[str], *, n: int = 10, about: str = "",
    letters: Callable[[Sequence[str]], Floats | None] = lambda words: None,
) -> Words:
    """The `n` entries with the greatest cosine to each of `words`; exact.

    `vectors` [V,D]. A word of several pieces has the mean of their vectors. Special tokens, rows of zeros (never
    trained) and the word's own pieces are left out. `letters`: the vectors of words of any spelling, where the family
    makes them. UsageError for a word that has no vector.
    """
    ids = [_known(tokenizer, word, vectors, letters) for word in words]
    counts: Ints | None = getattr(tokenizer, "counts", None)
    counted = counts is not None and len(counts) == len(vectors) and bool(counts.any())  # imported words have none
    made = {word: letters([word]) for word, own in zip(words, ids, strict=True) if not len(own)}
    queries = np.concatenate([
        row if (row := made.get(word)) is not None else vectors[own].mean(axis=0, dtype=np.float32, keepdims=True)
        for word, own in zip(words, ids, strict=True)
    ])
    cosines = _cosines(vectors, queries)
    cosines[sorted(tokenizer.special.values())] = -np.inf
    found = []
    for column, own in zip(cosines.T, ids, strict=True):
        column[own] = -np.inf
        best = _best(column, n)
        found.append(
            tuple(
                Neighbor(
                    word=tokenizer.pieces[i],
                    cosine=float(column[i]),
                    count=int(counts[i]) if counted and counts is not None else None,
                )
                for i in best
            )
        )
    seen = [(int(counts[i[0]]) if len(i) == 1 else 0 if not len(i) else None) if counted and counts is not None else None for i in ids]
    return Words(words=tuple(words), counts=tuple(seen), nearest=tuple(found), about=about)


def _cosines(vectors: Floats, queries: Floats) -> NDArray[np.float32]:
    """Cosines [V,Q]; −∞ for rows of zeros."""
    unit = queries / np.maximum(np.linalg.norm(queries, axis=1, keepdims=True), 1e-30)
    out = np.empty((len(vectors), len(queries)), np.float32)
    for start in range(0, len(vectors), _ROWS):
        rows = np.asarray(vectors[start : start + _ROWS], np.float32)
        norms = np.linalg.norm(rows, axis=1)
        scores = rows @ unit.T / np.maximum(norms, 1e-30)[:, None]
        scores[norms == 0] = -np.inf
        out[start : start + _ROWS] = scores
    return out


def _best(scores: NDArray[np.float32], n: int) -> list[int]:
    """The places of the n greatest finite scores, greatest first; the lower place first among equals."""
    few = min(n, len(scores))
    if few < 1:
        return []
    least = np.partition(scores, -few)[-few]
    places = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return [int(i) for i in places[np.argsort(-scores[places], kind="stable")][:few]]


def _words(tokenizer: Tokenizer, string: str) -> list[str]:
    """The query's words: the tokenizer's where a word is one token, so that 苹果手机 is cut as the corpus was."""
    encoding = tokenizer.encode([Text(string=string)])[0]
    if len(encoding.ids) and len(set(encoding.word.tolist())) == len(encoding.ids):
        return [string[start:stop] for start, stop in encoding.offsets.tolist()]
    return [string[start:stop] for start, stop in word_spans(string)] or [string]


def _known(tokenizer: Tokenizer, word: str, vectors: Floats, letters: Callable[[Sequence[str]], Floats | None]) -> Ints:
    """The ids of a word's pieces, none where it has a vector by its letters; UsageError when it has none."""
    whole: tuple[tuple[int, int], ...] = ((0, len(word)),) if word else ()
    ids = np.asarray(tokenizer.encode([Text(string=word, words=whole)])[0].ids, np.int64)
    special = set(tokenizer.special.values())
    inside = ids[ids < len(vectors)]
    if len(ids) and len(inside) == len(ids) and not special & set(ids.tolist()) and vectors[ids].any():
        return ids
    made = letters([word]) if word and len(inside) < len(ids) else None
    if made is not None and made.any():
        return np.zeros(0, np.int64)
    near = spelt_like(word, tokenizer)
    raise UsageError(
        f"the model does not know the word {word!r}", remedy=f"did you mean {', '.join(near)}?" if near else ""
    )


def spelt_like(word: str, tokenizer: Tokenizer, n: int = 5) -> list[str]:
    """Known words spelt like `word`, the likest first; words of Chinese are alike when they share characters."""
    pieces = tokenizer.pieces[len(tokenizer.special) : _CANDIDATES]
    folded = word.casefold()
    initial = set(folded[:1])
    close = [p for p in pieces if abs(len(p) - len(folded)) <= 2 and (p[:1] in initial or (set(p) & set(folded) and len(p) < 5))]
    return difflib.get_close_matches(folded, close, n=n, cutoff=0.5)
