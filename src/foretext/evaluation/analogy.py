"""`analogy`: a is to b as c is to which word? By one matrix product, exactly.

3CosAdd (Mikolov, Yih and Zweig 2013, "Linguistic Regularities in Continuous Space Word Representations", section 4):
the word nearest to b − a + c, all of length 1. 3CosMul (Levy and Goldberg 2014, "Linguistic Regularities in Sparse and
Explicit Word Representations", section 6): the word with the greatest cos(x,b)·cos(x,c) / (cos(x,a) + ε), cosines moved
to [0,1], ε = 0.001; no term can drown the others. The three words themselves are no answer, in either.

V vocabulary · D width · N questions · U distinct words of the questions
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from foretext.bundle import Pretrained
from foretext.errors import require_whole, unknown
from foretext.evaluation.search import cosine_blocks, greatest
from foretext.evaluation.words import Found, WordTable, seen, unit, word_table
from foretext.types import JSON, Ints

Method = Literal["add", "mul"]
EPSILON = 0.001
_ROWS = 8_192
"""Entries compared at once: a row of scores stays in the processor's second cache."""
_QUESTIONS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A word with its score: for "add" its cosine with b − a + c, for "mul" the quotient."""

    word: str
    score: float
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Analogy:
    """The best answers to a : b = c : ?, best first. `counts`: how often the corpus has a, b and c."""

    words: tuple[str, str, str]
    counts: tuple[int | None, int | None, int | None]
    method: Method
    answers: tuple[Answer, ...]
    remarks: tuple[str, ...]
    about: str

    def text(self) -> str:
        """For people."""
        a, b, c = (seen(word, count) for word, count in zip(self.words, self.counts, strict=True))
        lines = [f"{a} : {b} = {c} : ?   by {NAMES[self.method]}"]
        lines += [f"  {x.score:6.3f}  {x.word}" + ("" if x.count is None else f"  {x.count:,}") for x in self.answers]
        return "\n".join([*lines, *self.remarks, self.about])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "words": list(self.words),
            "counts": list(self.counts),
            "method": self.method,
            "answers": [{"word": x.word, "score": x.score, "count": x.count} for x in self.answers],
            "remarks": list(self.remarks),
            "about": self.about,
        }


NAMES: dict[Method, str] = {"add": "3CosAdd", "mul": "3CosMul"}


def analogy(
    pretrained: Pretrained, a: str, b: str, c: str, *, method: str = "add", n: int = 10, most: int = 0
) -> Analogy:
    """The `n` best words x for a : b = c : x. `most`: only the first so many entries are searched (0: all).

    UsageError: a word that the model has no vector for, an unknown method, a family without word vectors.
    """
    chosen = checked(method)
    require_whole("n", n)
    table = word_table(pretrained, "analogy", most=most)
    asked = [table.known(word) for word in (a, b, c)]
    scores = combined(chosen, *_cosines(table, asked))
    scores[~table.searched] = -np.inf
    scores[own(table, asked)] = -np.inf
    if chosen == "add":  # from a sum of cosines to the cosine with the sum, which has not length 1
        directions = unit(np.stack([one.vector for one in asked]))
        scores /= max(float(np.linalg.norm(directions[1] - directions[0] + directions[2])), 1e-30)
    answers = tuple(
        Answer(word=table.tokenizer.pieces[i], score=float(scores[i]), count=table.count(i)) for i in greatest(scores, n)
    )
    return Analogy(
        words=(a, b, c),
        counts=(asked[0].count, asked[1].count, asked[2].count),
        method=chosen,
        answers=answers,
        remarks=tuple(table.remarks(asked)),
        about=table.about,
    )


def checked(method: str) -> Method:
    """The method by its name; UsageError otherwise."""
    if method not in get_args(Method):
        raise unknown("method", method, get_args(Method))
    return "mul" if method == "mul" else "add"


def combined(
    method: Method, to_a: NDArray[np.float32], to_b: NDArray[np.float32], to_c: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The score of words with these cosines to a, b and c; any one shape."""
    if method == "add":
        return to_b - to_a + to_c
    return np.asarray((to_b + 1) * (to_c + 1) / 4 / ((to_a + 1) / 2 + np.float32(EPSILON)), np.float32)


def own(table: WordTable, asked: Sequence[Found]) -> list[int]:
    """The entries of the question's own words, in any case: none of them is an answer."""
    return sorted({i for one in asked if one.whole for i in table.variants(one.ids[0])} | {i for one in asked for i in one.ids})


def _cosines(table: WordTable, asked: Sequence[Found]) -> NDArray[np.float32]:
    """Cosines of every entry with each of the words, [len(asked),V]."""
    directions = unit(np.stack([one.vector for one in asked]))
    blocks = [scores for _, scores in cosine_blocks(table, directions, _ROWS)]
    # −∞ would become NaN in the scores; what may not be an answer is left out by the caller.
    return np.nan_to_num(np.concatenate(blocks, axis=1), neginf=0.0)


def answered(table: WordTable, questions: Ints, method: Method = "add") -> Ints:
    """The best entry for each question [N,3] of three entries a, b, c: [N]; −1 where nothing else is known.

    The words of all questions are compared with a block of entries by one product, and each question's score is put
    together from three rows of it: the cost is one product with U words, however many questions they make.
    """
    words, places = np.unique(questions, return_inverse=True)
    places = places.reshape(questions.shape)
    directions = unit(table.vectors[words])
    excluded = _excluded(table, questions)
    best = np.full(len(questions), -1, np.int64)
    score = np.full(len(questions), -np.inf, np.float32)
    for start, cosines_UV in cosine_blocks(table, directions, _ROWS):
        searched = table.searched[start : start + cosines_UV.shape[1]]
        cosines_UV[:, ~searched] = 0
        for first in range(0, len(questions), _QUESTIONS):
            part = slice(first, first + _QUESTIONS)
            a, b, c = places[part].T
            scores = combined(method, cosines_UV[a], cosines_UV[b], cosines_UV[c])
            scores[:, ~searched] = -np.inf
            row, entry = excluded[first // _QUESTIONS]
            inside = (entry >= start) & (entry < start + len(searched))
            scores[row[inside], entry[inside] - start] = -np.inf
            found = scores.argmax(axis=1)
            value = scores[np.arange(len(found)), found]
            better = value > score[part]
            best[part] = np.where(better, start + found, best[part])
            score[part] = np.where(better, value, score[part])
    return best


def _excluded(table: WordTable, questions: Ints) -> list[tuple[Ints, Ints]]:
    """For each group of questions, (question within the group, entry that is no answer to it) as two columns."""
    groups: list[tuple[Ints, Ints]] = []
    for first in range(0, len(questions), _QUESTIONS):
        part = questions[first : first + _QUESTIONS].tolist()
        pairs = [(row, entry) for row, words in enumerate(part) for word in words for entry in table.variants(word)]
        columns = np.array(pairs, np.int64).reshape(-1, 2)
        groups.append((columns[:, 0], columns[:, 1]))
    return groups

