"""Honest baselines: rungs that see no raw text at all.

A rung is `fit(train, dev, seed) -> Predictor`; these two answer it in a few lines. "The same network from scratch" is
a recipe with 0 steps of pretraining, and so lives where pretrained rungs are run (`ladder.rungs`).
"""

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from foretext.tasks.base import Labelled
from foretext.text.words import word_spans

INVERSE_PENALTY = 10.0
"""Logistic regression's C, fixed beforehand: on training texts of the demo apart from every test text, C = 1, 10, 100,
1000 differed by at most 1.5 points at 5 to 100 labels a class (10 and 100 best)."""


class Predictor(Protocol):
    """One label a text. `parameters`: how many numbers it answers with."""

    @property
    def parameters(self) -> int: ...

    def predict(self, texts: Sequence[str]) -> list[str]: ...


class Rung(Protocol):
    """Anything that learns a classifier from a few labelled texts. `dev` may be None: then settings are fixed."""

    @property
    def name(self) -> str: ...

    @property
    def about(self) -> str: ...

    def fit(self, train: Labelled, dev: Labelled | None, seed: int) -> Predictor: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class _Constant:
    label: str
    parameters: int = 1

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [self.label] * len(texts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Majority:
    """Always the commonest label; ties go to the first in order. The ladder fits it on the whole pool of labelled texts,
    since a balanced label set has no commonest label."""

    name: str = "majority"
    about: str = "always answers the label that is commonest in the pool of labelled texts"

    def fit(self, train: Labelled, dev: Labelled | None, seed: int) -> Predictor:
        counts = Counter(names(train))
        return _Constant(label=min(counts, key=lambda label: (-counts[label], label)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Linear:
    vectorizer: Any
    classifier: Any

    @property
    def parameters(self) -> int:
        return int(self.classifier.coef_.size + self.classifier.intercept_.size + self.vectorizer.idf_.size)

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [str(label) for label in self.classifier.predict(self.vectorizer.transform(texts))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tfidf:
    """TF-IDF over words and word pairs (sublinear term frequency, L2 rows) + multinomial logistic regression, C = 10.

    English and Chinese alike: words come from `text.words`, which segments Chinese (rjieba) and drops nothing.
    """

    name: str = "tfidf"
    about: str = (
        "counts words and word pairs, weighs them by TF-IDF (sublinear), and fits a logistic regression (C = 10, fixed "
        "beforehand); needs no raw text and no pretraining"
    )

    def fit(self, train: Labelled, dev: Labelled | None, seed: int) -> Predictor:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        labels = names(train)
        if len(set(labels)) == 1:
            return _Constant(label=labels[0])
        vectorizer = TfidfVectorizer(analyzer=words_and_pairs, sublinear_tf=True)
        classifier = LogisticRegression(C=INVERSE_PENALTY, max_iter=2000, random_state=seed)
        classifier.fit(vectorizer.fit_transform(train.texts), labels)
        return _Linear(vectorizer=vectorizer, classifier=classifier)


def names(labelled: Labelled) -> list[str]:
    """The one label of each text."""
    return [label for (label,) in labelled.labels]


def words_and_pairs(text: str) -> list[str]:
    """Lower-cased words and pairs of neighbouring words; marks that hold no letter or digit are left out."""
    lowered = text.lower()
    words = [word for start, stop in word_spans(lowered) if any(map(str.isalnum, word := lowered[start:stop]))]
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)]


BASELINE_RUNGS: Mapping[str, Rung] = {"majority": Majority(), "tfidf": Tfidf()}
