"""Baselines beside scikit-learn itself, in English and Chinese."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from foretext.baselines import BASELINE_RUNGS, Majority, Tfidf, words_and_pairs
from foretext.tasks.base import Labelled, read_labelled

TRAIN = [
    ("The cat sat on the mat.", "animals"),
    ("A dog barked at the cat", "animals"),
    ("Dogs and cats play", "animals"),
    ("The bank raised its interest rate", "money"),
    ("Money in the bank, interest paid", "money"),
]
TEST = ["the dog sat", "interest rates of the bank", "a mat for cats", "bank money"]


def labelled(pairs: list[tuple[str, str]]) -> Labelled:
    return read_labelled(pairs)


def test_majority_answers_the_commonest_label_and_breaks_ties_in_order() -> None:
    assert Majority().fit(labelled(TRAIN), None, 0).predict(TEST) == ["animals"] * 4
    assert Majority().fit(labelled(TRAIN[1:]), None, 0).predict(["x"]) == ["animals"]
    assert Majority().fit(labelled([("b", "z"), ("a", "y")]), None, 0).predict(["x"]) == ["y"]


def test_tfidf_is_scikit_learns_pipeline() -> None:
    """Words of two letters or more are the same under both rules here, so the published pipeline must agree."""
    train = [(text.replace("A ", "One "), label) for text, label in TRAIN]
    texts, labels = zip(*train, strict=True)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    reference = LogisticRegression(C=10.0, max_iter=2000).fit(vectorizer.fit_transform(texts), labels)
    ours = Tfidf().fit(labelled(train), None, 0)
    test = [text.replace("a mat", "one mat") for text in TEST]
    assert ours.predict(test) == list(reference.predict(vectorizer.transform(test)))
    theirs = reference.decision_function(vectorizer.transform(test))
    np.testing.assert_allclose(
        ours.classifier.decision_function(ours.vectorizer.transform(test)),  # type: ignore[attr-defined]
        theirs,
        atol=1e-9,
    )
    assert ours.parameters == reference.coef_.size + reference.intercept_.size + len(vectorizer.vocabulary_)


def test_words_and_pairs_in_two_languages() -> None:
    assert words_and_pairs("The Bank, again") == ["the", "bank", "again", "the bank", "bank again"]
    chinese = words_and_pairs("我喜欢苹果。")
    assert "苹果" in chinese
    assert "。" not in chinese
    assert any(" " in pair for pair in chinese)


def test_tfidf_learns_chinese() -> None:
    train = [("苹果很好吃", "吃"), ("我喜欢吃香蕉", "吃"), ("股票今天上涨", "钱"), ("银行提高利率", "钱")]
    assert Tfidf().fit(labelled(train), None, 0).predict(["香蕉很好吃", "银行股票"]) == ["吃", "钱"]


@pytest.mark.parametrize("name", sorted(BASELINE_RUNGS))
def test_one_label_is_no_reason_to_fail(name: str) -> None:
    rung = BASELINE_RUNGS[name]
    assert rung.name == name
    assert rung.about
    assert rung.fit(labelled([("a b", "x"), ("b c", "x")]), None, 0).predict(["a", ""]) == ["x", "x"]
