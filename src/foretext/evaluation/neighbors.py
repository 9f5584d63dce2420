"""`neighbors`: what lies near a word. Static vectors: the nearest words. Contextual vectors: the nearest occurrences in
a text, layer by layer, where one spelling may lie near different words in different sentences.

V vocabulary · D width · Q queries · W words
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import UsageError, require_whole
from foretext.evaluation.occurrences import Occurrences, find_occurrences
from foretext.evaluation.query import parse_query
from foretext.evaluation.search import index
from foretext.evaluation.words import WordTable, seen, word_table
from foretext.models.catalog import family, require
from foretext.types import JSON, Corpus

OTHER_SENSES = ": other senses may be missing from the list"
IN_CONTEXT = "; for a word in context write a sentence with one [word] and --in CORPUS"


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbor:
    """`count`: how often the training corpus has the word; None where the tokenizer does not count."""

    word: str
    cosine: float
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The nearest words of each word asked about. `remarks`: how many words were compared, which of those asked about are
    rare or put together; `about`: what the vectors are, and what they cannot tell."""

    words: tuple[str, ...]
    counts: tuple[int | None, ...]
    nearest: tuple[tuple[Neighbor, ...], ...]
    remarks: tuple[str, ...]
    about: str

    def text(self) -> str:
        """For people."""
        lines = []
        for word, count, nearest in zip(self.words, self.counts, self.nearest, strict=True):
            lines.append(seen(word, count))
            lines += [f"  {n.cosine:6.3f}  {n.word}" + ("" if n.count is None else f"  {n.count:,}") for n in nearest]
        return "\n".join([*lines, *self.remarks, self.about])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "about": self.about,
            "remarks": list(self.remarks),
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
    pretrained: Pretrained,
    query: str,
    *,
    corpus: Corpus | None = None,
    n: int = 10,
    same_word: bool = False,
    most: int = 2000,
    kind: str = "exact",
) -> Words | Occurrences:
    """Nearest words of a word, or nearest occurrences of the [bracketed] word of a sentence in `corpus`.

    `same_word`: only occurrences of the query's own word. `most`: sentences of the corpus that are encoded at most.
    `kind`: how nearest words are searched (`search.index`).
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
        require_whole("n", n)
        return find_occurrences(pretrained, parsed, corpus, n=n, same_word=same_word, most=most)
    if corpus is not None:
        raise UsageError(
            f"{name} has one vector a word, the same in every sentence: there are no occurrences to tell apart",
            remedy="leave --in out",
        )
    table = word_table(pretrained)
    words = [parsed.word] if parsed.marked is not None else table.words(parsed.string)
    return nearest_words(table, words, n=n, kind=kind, about=f"{table.about}{IN_CONTEXT if contextual else OTHER_SENSES}")


def nearest_words(table: WordTable, words: Sequence[str], *, n: int = 10, kind: str = "exact", about: str = "") -> Words:
    """The `n` entries with the greatest cosine to each of `words`. Special tokens, rows of zeros (never trained) and the
    word's own pieces are left out. UsageError for a word that the model has no vector for."""
    require_whole("n", n)
    asked = [table.known(word) for word in words]
    found = index(table, kind)
    own = max((len(one.ids) for one in asked), default=0)
    hits = found.search(np.stack([one.vector for one in asked]), n + own)
    nearest = tuple(
        tuple(Neighbor(word=table.tokenizer.pieces[i], cosine=c, count=table.count(i)) for i, c in row if i not in one.ids)[:n]
        for one, row in zip(asked, hits, strict=True)
    )
    remarks = [*table.remarks(asked), *([found.about] if found.about else [])]
    counts = tuple(one.count for one in asked)
    return Words(words=tuple(words), counts=counts, nearest=nearest, remarks=tuple(remarks), about=about or table.about)
