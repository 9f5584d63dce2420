"""Scores against scikit-learn, intervals against an explicit resampling loop, and the sums that make both possible."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from foretext.metrics import Calibration, MultiLabel, SingleLabel, compare, confusion, intervals, label_counts, scores


def answers(seed: int, n: int, labels: int, skill: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    gold = rng.integers(0, labels, n)
    logits = rng.normal(size=(n, labels)) + skill * np.eye(labels)[gold]
    probabilities = np.exp(logits)
    return probabilities / probabilities.sum(1, keepdims=True), gold


@pytest.mark.filterwarnings("ignore:A single label was found")
@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 7), st.floats(0, 4))
def test_single_label_scores_equal_scikit_learn(seed: int, n: int, labels: int, skill: float) -> None:
    probabilities, gold = answers(seed, n, labels, skill)
    said = probabilities.argmax(1)
    ours = scores([SingleLabel(labels=labels)], probabilities, gold)
    assert ours["accuracy"] == pytest.approx(reference.accuracy_score(gold, said))
    assert ours["macro F1"] == pytest.approx(reference.f1_score(gold, said, average="macro", zero_division=0.0))
    assert ours["MCC"] == pytest.approx(reference.matthews_corrcoef(gold, said), abs=1e-12)
    assert (confusion(probabilities, gold) == reference.confusion_matrix(gold, said, labels=range(labels))).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 5))
def test_multi_label_scores_equal_scikit_learn(seed: int, n: int, labels: int) -> None:
    rng = np.random.default_rng(seed)
    gold, probabilities = rng.integers(0, 2, (n, labels)), rng.random((n, labels))
    said = (probabilities >= 0.5).astype(int)
    seen = [k for k in range(labels) if gold[:, k].any() or said[:, k].any()]
    ours = scores([MultiLabel(labels=labels)], probabilities, gold)
    per_label = [reference.f1_score(gold[:, k], said[:, k], zero_division=0.0) for k in seen]
    hits, wrongs = ((gold == 1) & (said == 1)).sum(), (gold != said).sum()
    assert ours["micro F1"] == pytest.approx(2 * hits / max(2 * hits + wrongs, 1))
    assert ours["macro F1"] == pytest.approx(np.mean(per_label) if per_label else 0.0)
    assert ours["exact match"] == pytest.approx((gold == said).all(1).mean())
    assert ours["label accuracy"] == pytest.approx((gold == said).mean())
    counts = label_counts(probabilities, gold)
    assert (counts[:, 0] + counts[:, 2] == gold.sum(0)).all()
    assert (counts.sum(1) == n).all()


def test_calibration_error_equals_a_loop_over_bins() -> None:
    probabilities, gold = answers(3, 400, 4, 1.0)
    sure, right = probabilities.max(1), probabilities.argmax(1) == gold
    expected = 0.0
    for b in range(15):
        inside = (sure > b / 15) & (sure <= (b + 1) / 15)
        if inside.any():
            expected += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert scores([Calibration()], probabilities, gold)["calibration error"] == pytest.approx(expected)


def test_calibration_error_of_multi_label_decisions() -> None:
    certain = np.array([[1.0, 0.0], [1.0, 1.0]])
    assert scores([Calibration()], certain, np.array([[1, 0], [1, 1]]))["calibration error"] == 0.0
    assert scores([Calibration()], certain, np.array([[1, 0], [1, 0]]))["calibration error"] == pytest.approx(0.25)


def test_rows_add_up_so_that_parts_can_be_streamed() -> None:
    probabilities, gold = answers(5, 100, 3, 1.0)
    metric = SingleLabel(labels=3)
    whole = metric.rows(probabilities, gold)
    parts = sum(metric.rows(probabilities[i : i + 7], gold[i : i + 7]).sum(0) for i in range(0, 100, 7))
    assert np.allclose(whole.sum(0), parts)


def test_interval_agrees_with_resampling_text_by_text() -> None:
    probabilities, gold = answers(7, 300, 2, 1.5)
    metric = SingleLabel(labels=2)
    ours = intervals(metric, metric.rows(probabilities, gold), seed=1)
    rng, said = np.random.default_rng(0), probabilities.argmax(1)
    drawn = []
    for _ in range(2000):
        chosen = rng.integers(0, 300, 300)
        drawn.append(np.corrcoef(gold[chosen], said[chosen])[0, 1])  # of two labels, MCC is Pearson's correlation
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert ours["MCC"].score == pytest.approx(reference.matthews_corrcoef(gold, said))
    assert ours["MCC"].low == pytest.approx(low, abs=0.02)
    assert ours["MCC"].high == pytest.approx(high, abs=0.02)


def test_the_same_seed_gives_the_same_interval() -> None:
    probabilities, gold = answers(9, 200, 3, 1.0)
    metric = Calibration()
    rows = metric.rows(probabilities, gold)
    assert intervals(metric, rows, seed=4) == intervals(metric, rows, seed=4)
    assert intervals(metric, rows, seed=4) != intervals(metric, rows, seed=5)


def test_paired_test_sees_a_small_steady_difference_and_no_difference() -> None:
    gold = np.arange(500) % 2
    a = np.eye(2)[np.where(np.arange(500) % 10 == 0, 1 - gold, gold)]
    b = np.eye(2)[np.where(np.arange(500) % 10 <= 1, 1 - gold, gold)]
    metric = SingleLabel(labels=2)
    better = compare(metric, metric.rows(a, gold), metric.rows(b, gold))["accuracy"]
    assert better.difference == pytest.approx(0.1)
    assert better.p < 0.01
    assert better.low > 0.05
    same = compare(metric, metric.rows(a, gold), metric.rows(a, gold))["accuracy"]
    assert same.difference == 0.0
    assert same.p == 1.0


def test_spearman_is_scipys_with_ties_and_with_rows_that_come_several_times() -> None:
    from scipy.stats import spearmanr

    from foretext.metrics import spearman, spearman_interval

    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, 60).astype(float)
    y = x + rng.integers(-4, 5, 60)
    assert float(spearman(x, y)) == pytest.approx(spearmanr(x, y)[0], abs=1e-12)
    times = rng.multinomial(60, np.full(60, 1 / 60), size=5)
    expected = [spearmanr(np.repeat(x, t), np.repeat(y, t))[0] for t in times]
    np.testing.assert_allclose(spearman(x, y, times=times), expected, atol=1e-12)
    assert float(spearman(x, np.ones(60))) == 0.0
    found = spearman_interval(x, y, resamples=4000)
    by_hand = [spearmanr(x[i], y[i])[0] for i in rng.integers(0, 60, (1500, 60))]
    np.testing.assert_allclose((found.low, found.high), np.quantile(by_hand, [0.025, 0.975]), atol=0.03)
    assert spearman_interval(x[:1], y[:1]).low == -1.0
    assert spearman_interval(x, y, seed=1) == spearman_interval(x, y, seed=1) != spearman_interval(x, y, seed=2)


def test_shares_are_resampled_by_group() -> None:
    from foretext.metrics import Share, intervals

    outcomes, groups = np.repeat([1.0, 0.0, 1.0, 0.5], 25), np.repeat([7, 3, 9, 4], 25)
    rows = Share().rows(outcomes, groups)
    assert rows.tolist() == [[0, 25], [12.5, 25], [25, 25], [25, 25]]
    found = intervals(Share(), rows)["share"]
    assert found.score == pytest.approx(0.625)
    assert (found.low, found.high) == (pytest.approx(0.25, abs=0.13), pytest.approx(1.0, abs=0.13))
    assert Share().score(np.zeros(2)) == {"share": 0.0}
