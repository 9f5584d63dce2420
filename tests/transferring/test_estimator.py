"""The scikit-learn words give what `transfer` gives."""

import numpy as np
import pytest

from foretext.errors import UsageError
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.transferring import transfer
from foretext.transferring.estimator import Classifier
from stage_two import labelled, pretrained

ROWS = labelled(60, 1)
TEXTS, LABELS = [t for t, _ in ROWS], [y for _, y in ROWS]


def test_fit_and_predict_are_transfer() -> None:
    source, strategy = pretrained("word2vec"), StrategyConfig(steps=40)
    model = Classifier(source, strategy).fit(TEXTS, LABELS)
    made = transfer(source, ClassifyConfig(), ROWS, strategy=strategy)
    assert np.array_equal(model.predict_proba(TEXTS), np.exp(made.log_probabilities(TEXTS)))
    assert model.predict(TEXTS) == [p.label for p in made.predict(TEXTS)]
    assert model.classes_ == ("law", "sea", "sky")
    assert model.score(TEXTS, LABELS) == pytest.approx(np.mean(np.array(model.predict(TEXTS)) == LABELS))


def test_several_labels_come_as_tuples() -> None:
    model = Classifier(pretrained("word2vec"), StrategyConfig(steps=5)).fit(TEXTS, [[y, "text"] for y in LABELS], dev=(TEXTS[:3], [["sea"]] * 3))
    assert all(isinstance(said, tuple) for said in model.predict(TEXTS[:2]))
    assert 0 <= model.score(TEXTS, [[y, "text"] for y in LABELS]) <= 1


def test_wrong_use_is_told() -> None:
    with pytest.raises(UsageError, match="not been trained"):
        Classifier(pretrained("word2vec")).predict(["a"])
    with pytest.raises(UsageError, match="2 texts and 1 labels"):
        Classifier(pretrained("word2vec")).fit(["a", "b"], ["x"])
