"""Analogies and similarities against a slow reference, written from the two papers."""

import numpy as np
import pytest
from tests.evaluation.vector_world import CASED, model, names

from foretext.bundle import Pretrained
from foretext.errors import UsageError
from foretext.evaluation.analogy import Method, analogy, answered
from foretext.evaluation.similarity import similarity
from foretext.evaluation.words import word_table


def reference(vectors: np.ndarray, a: int, b: int, c: int, method: str) -> list[float]:
    """Word by word, in float64: the score of every row but the first (no word) and the question's own."""
    units = [row / np.linalg.norm(row) if row.any() else row for row in vectors.astype(np.float64)]
    offset = units[b] - units[a] + units[c]
    scores = []
    for i, x in enumerate(units):
        to_a, to_b, to_c = (float(x @ units[j]) for j in (a, b, c))
        if method == "add":
            value = float(x @ offset) / float(np.linalg.norm(offset))
        else:
            value = ((to_b + 1) / 2) * ((to_c + 1) / 2) / ((to_a + 1) / 2 + 0.001)
        scores.append(-np.inf if i in (0, a, b, c) or not vectors[i].any() else value)
    return scores


@pytest.fixture(scope="module")
def random() -> Pretrained:
    pretrained = model(names(300), width=6, seed=3)
    pretrained.vectors[40] = 0
    return pretrained


@pytest.mark.parametrize("method", ["add", "mul"])
def test_the_best_words_are_the_references(random: Pretrained, method: Method) -> None:
    words = random.tokenizer.pieces
    for a, b, c in ((1, 2, 3), (250, 7, 9), (5, 5, 6)):
        found = analogy(random, words[a], words[b], words[c], method=method, n=8)
        scores = reference(random.vectors, a, b, c, method)
        best = sorted(range(len(scores)), key=lambda i: -scores[i])[:8]
        assert [x.word for x in found.answers] == [words[i] for i in best]
        np.testing.assert_allclose([x.score for x in found.answers], [scores[i] for i in best], rtol=1e-4)
        assert [x.count for x in found.answers] == [401 - i for i in best]
    assert ("3CosAdd" if method == "add" else "3CosMul") in found.text()
    assert found.as_json()["answers"][0]["word"] == found.answers[0].word


@pytest.mark.parametrize("method", ["add", "mul"])
def test_many_questions_are_answered_as_one_by_one(random: Pretrained, method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.evaluation.analogy._ROWS", 37)
    monkeypatch.setattr("foretext.evaluation.analogy._QUESTIONS", 5)
    questions = np.random.default_rng(0).integers(1, 301, (60, 3))
    questions = questions[(questions != 40).all(axis=1)]
    best = answered(word_table(random), questions, method)
    assert best.tolist() == [int(np.argmax(reference(random.vectors, *q, method))) for q in questions.tolist()]
    few = answered(word_table(random, most=100), questions % 99 + 1, method)
    assert set(few.tolist()) <= set(range(1, 101))
    assert answered(word_table(model(["a", "b", "c"])), np.array([[1, 2, 3]]), method).tolist() == [-1]


def test_parallel_offsets_are_found_and_own_words_are_no_answer() -> None:
    places = {"man": (1, 0, 0.2), "woman": (1, 1, 0.2), "king": (1, 0, 2), "queen": (1, 1, 2), "sea": (-1, 0.3, -1)}
    world = model(places)
    assert analogy(world, "man", "king", "woman").answers[0].word == "queen"
    # woman − man + man = woman itself, which was asked about
    assert analogy(world, "man", "woman", "man").answers[0].word == "queen"
    assert "warning" not in analogy(world, "man", "king", "woman").text()
    rare = model(places, counts=[500, 500, 500, 500, 12])
    assert "warning: sea is rare, seen 12 times" in analogy(rare, "man", "king", "sea").text()


def test_other_spellings_of_the_questions_words_are_no_answer() -> None:
    world = model({"King": (1, 0.1), "king": (1, 0.11), "man": (0, 1), "queen": (1, 0.3), "x": (-1, 0)}, config=CASED)
    assert [a.word for a in analogy(world, "man", "king", "x", n=9).answers] == ["queen"]


def test_similarities_are_cosines() -> None:
    world = model({"a": (3, 4), "b": (4, 3), "c": (-3, -4), "d": (0, 2)}, counts=[90, 80, 70, 3])
    found = similarity(world, ["a", "b", "c", "d"])
    np.testing.assert_allclose(found.cosines[0], [1, 0.96, -1, 0.8], atol=1e-6)
    assert found.pairs()[0][:2] == ("a", "b")
    assert [line for line in found.text().splitlines() if "a – c" in line] == ["  -1.000  a – c"]
    assert "warning: d is rare" in found.text()
    assert found.as_json()["counts"] == [90, 80, 70, 3]
    with pytest.raises(UsageError, match="two words"):
        similarity(world, ["a"])


def test_wrong_questions(random: Pretrained) -> None:
    with pytest.raises(UsageError, match="unknown method 'mull'; did you mean 'mul'"):
        analogy(random, "waaa", "waab", "waac", method="mull")
    with pytest.raises(UsageError, match="does not know the word 'wzzz'"):
        analogy(random, "waaa", "waab", "wzzz")
