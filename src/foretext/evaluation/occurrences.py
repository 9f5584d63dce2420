"""The nearest occurrences of a word in a text, by contextual vectors, one list a layer.

T tokens · W words · D width · L layers
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from foretext import draws
from foretext.bundle import Pretrained
from foretext.errors import DataError, UsageError
from foretext.evaluation.query import Query, highlighted
from foretext.text.sentences import HAN
from foretext.text.words import word_spans
from foretext.types import JSON, Corpus, Floats, Place, Sentence, Span

if TYPE_CHECKING:
    from foretext.inference import Encoded

_HAN = re.compile(f"[{HAN}]")
_READ = 500_000
"""Sentences of the corpus read at most."""
_CHUNK = 64
"""Sentences encoded at once; only the best of them are kept."""
_AROUND = 48
"""Characters shown to each side of a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrence:
    """One word where it stands: `span` [start, stop) of `sentence`."""

    cosine: float
    sentence: str
    span: Span
    place: Place

    @property
    def word(self) -> str:
        """The word as written."""
        return self.sentence[slice(*self.span)]

    @property
    def shown(self) -> str:
        """The word in brackets amid its surroundings."""
        return highlighted(self.sentence, self.span, _AROUND)


@dataclass(frozen=True, slots=True, kw_only=True)
class Occurrences:
    """`layers[l]`: the nearest occurrences by the vectors of layer l (0 = embeddings), nearest first. `read`,
    `with_word`, `encoded`: sentences of the corpus read, having the query's word, and compared."""

    query: Query
    layers: tuple[tuple[Occurrence, ...], ...]
    read: int
    with_word: int
    encoded: int
    same_word: bool

    def text(self) -> str:
        """For people."""
        lines = [self.query.shown]
        for number, found in enumerate(self.layers):
            lines.append(f"layer {number}" + (" (embeddings)" if number == 0 else ""))
            lines += [f"  {o.cosine:6.3f}  {o.shown}  ({o.place})" for o in found]
        what = f"only occurrences of {self.query.word!r}" if self.same_word else "occurrences of any word"
        lines.append(
            f"{what}, in {self.encoded:,} of {self.read:,} sentences read ({self.with_word:,} of these have {self.query.word!r})"
        )
        return "\n".join(lines)

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "sentence": self.query.string,
            "word": self.query.word,
            "span": self.query.marked,
            "same_word": self.same_word,
            "sentences": {"read": self.read, "with_word": self.with_word, "encoded": self.encoded},
            "layers": [
                [
                    {
                        "word": o.word,
                        "cosine": o.cosine,
                        "sentence": o.sentence,
                        "span": o.span,
                        "file": o.place.file,
                        "line": o.place.line,
                    }
                    for o in found
                ]
                for found in self.layers
            ],
        }


@dataclass(slots=True)
class _Sample:
    """Sentences chosen uniformly from a stream of unknown length (reservoir sampling, Vitter's algorithm R)."""

    most: int
    purpose: str
    seen: int = 0
    kept: list[tuple[int, Sentence]] = field(default_factory=list)

    def add(self, number: int, sentence: Sentence) -> None:
        if len(self.kept) < self.most:
            self.kept.append((number, sentence))
        elif self.most:
            place = draws.number(0, self.purpose, self.seen) % (self.seen + 1)
            if place < self.most:
                self.kept[place] = (number, sentence)
        self.seen += 1


def find_occurrences(
    pretrained: Pretrained, query: Query, corpus: Corpus, *, n: int, same_word: bool, most: int
) -> Occurrences:
    """Compare the query's word with every word of up to `most` sentences: those that have the word first (at most
    half of them, all of them with `same_word`), the rest drawn from the others. A word's vector is the mean of its
    pieces'. The query's own sentence, and words without a letter or digit, are left out.

    DataError: the corpus has no other sentence with the word (`same_word`), or none at all.
    """
    assert query.marked is not None
    chosen, read, with_word = _sample(query, corpus, same_word, most)
    if not chosen:
        raise DataError(
            f"found no sentence with {query.word!r} among {read:,} read" if same_word else "the corpus has no sentences",
            remedy="give a larger corpus" + (", or compare with all words" if same_word else ""),
        )
    asked = pretrained.encode([query.string])[0]
    targets = _unit(word_vectors(asked, [query.marked]))
    if not any(layer.any() for layer in targets):
        raise UsageError(f"the model has no token for {query.word!r}")
    best: list[list[tuple[float, int, Span]]] = [[] for _ in targets]
    sentences = [sentence for _, sentence in chosen]
    for at in range(0, len(sentences), _CHUNK):
        part = sentences[at : at + _CHUNK]
        for number, (sentence, encoded) in enumerate(zip(part, pretrained.encode([s.string for s in part]), strict=True), at):
            spans = list(_spans(sentence.string, query.word, same_word))
            for into, layer, target in zip(best, _unit(word_vectors(encoded, spans)), targets, strict=True):
                cosines = np.where(layer.any(axis=1), layer @ target[0], -np.inf)
                order = np.argsort(-cosines, kind="stable")[:n]
                into += [(float(cosines[i]), number, spans[i]) for i in order if np.isfinite(cosines[i])]
        best = [sorted(found, key=lambda entry: (-entry[0], entry[1:]))[:n] for found in best]
    layers = tuple(
        tuple(
            Occurrence(cosine=c, sentence=sentences[i].string, span=span, place=sentences[i].place) for c, i, span in found
        )
        for found in best
    )
    return Occurrences(
        query=query, layers=layers, read=read, with_word=with_word, encoded=len(sentences), same_word=same_word
    )


def _sample(query: Query, corpus: Corpus, same_word: bool, most: int) -> tuple[list[tuple[int, Sentence]], int, int]:
    """The sentences to compare in corpus order, how many were read, how many of those have the word."""
    having = _Sample(most=most if same_word else (most + 1) // 2, purpose="neighbors with")
    others = _Sample(most=0 if same_word else most, purpose="neighbors without")
    folded, own = query.word.casefold(), " ".join(query.string.split())
    read = 0
    for sentence in islice(corpus.sentences(), _READ):
        read += 1
        if " ".join(sentence.string.split()) == own:
            continue
        has = folded in sentence.string.casefold() and any(_spans(sentence.string, query.word, True))
        (having if has else others).add(read, sentence)
    drawn = draws.generator(0, "neighbors room").permutation(len(others.kept))[: most - len(having.kept)]
    chosen = [*having.kept, *(others.kept[i] for i in drawn.tolist())]
    return sorted(chosen, key=lambda entry: entry[0]), read, having.seen


def _spans(string: str, word: str, same_word: bool) -> Iterator[Span]:
    """The words of a sentence that are compared. A Chinese query also meets its own characters where the segmenter cuts
    otherwise."""
    folded = word.casefold()
    spans = word_spans(string)
    if _HAN.search(word):
        spans = sorted({*spans, *(match.span() for match in re.finditer(re.escape(word), string))})
    for start, stop in spans:
        written = string[start:stop]
        if (written.casefold() == folded) if same_word else any(c.isalnum() for c in written):
            yield start, stop


def word_vectors(encoded: "Encoded", spans: Sequence[Span]) -> list[Floats]:
    """One vector a word and layer, L × [W,D]: the mean over the tokens that share a character with `spans` [W], zeros
    where no token does."""
    places = np.asarray(encoded.offsets).reshape(-1, 2)
    bounds = np.array(spans, np.int64).reshape(-1, 2)
    shares = (places[:, 0] < bounds[:, 1:]) & (places[:, 1] > bounds[:, :1])
    weights = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1)
    return [weights.astype(np.float32) @ layer for layer in encoded.layers]


def _unit(layers: Sequence[Floats]) -> list[Floats]:
    """Rows of length 1, but rows of zeros."""
    return [layer / np.maximum(np.linalg.norm(layer, axis=1, keepdims=True), 1e-30) for layer in layers]
