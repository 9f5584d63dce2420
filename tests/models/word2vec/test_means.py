"""The fast kernels of CBOW against plain float64 references."""

import math

import numpy as np
import pytest

from foretext.models.word2vec import means
from foretext.models.word2vec.blocks import CENTRES, NOTHING
from foretext.models.word2vec.tree import Tree, huffman, paths
from models.word2vec.test_kernel import RATES, assert_shared, pick, sigma, softplus, spoilt, world


def around(low: np.ndarray, high: np.ndarray, i: int) -> list[int]:
    return [j for j in range(low[i], high[i]) if j != i]


def reference_block(inward, outward, words, low, high, drawn, ratio, rate, numbers=None, weights=None):
    """One block, all of it from the values before; the contexts, rows `numbers` of inward, get the gradient by the mean,
    undivided, whatever they count in it."""
    numbers = words if numbers is None else numbers
    weights = np.ones(len(inward)) if weights is None else weights
    new_in, new_out, loss, count = inward.copy(), outward.copy(), 0.0, 0
    for i, word in enumerate(words):
        contexts = numbers[around(low, high, i)]
        if not len(contexts):
            continue
        mean, change = np.average(inward[contexts], axis=0, weights=weights[contexts]), np.zeros(inward.shape[1])
        for target, weight, label in [(word, 1.0, 1), *((k, ratio, 0) for k in drawn if k != word)]:
            score = mean @ outward[target]
            loss += weight * softplus(-score if label else score)
            step = rate * weight * (label - sigma(score))
            change += step * outward[target]
            new_out[target] += step * mean
        np.add.at(new_in, contexts, change)
        count += 1
    return new_in, new_out, loss, count


def reference_tree(inward, outward, words, low, high, tree, rate):
    """Blocks of contexts as they were before; the nodes move at once, one centre after the other."""
    loss, count = 0.0, 0
    for p in range(0, len(words), CENTRES):
        before = inward.copy()
        for i in range(p, min(p + CENTRES, len(words))):
            contexts = words[around(low, high, i)]
            if not len(contexts):
                continue
            mean, change = before[contexts].mean(axis=0), np.zeros(inward.shape[1])
            for at in range(tree.first[words[i]], tree.first[words[i] + 1]):
                node, label = tree.nodes[at], 1.0 - tree.codes[at]
                score = mean @ outward[node]
                loss += softplus(score if tree.codes[at] else -score)
                step = rate * (label - sigma(score))
                change += step * outward[node]
                outward[node] += step * mean
            np.add.at(inward, contexts, change)
            count += 1
    return inward, outward, loss, count


def run_tree(tables, words, low, high, tree: Tree, rate: float, window: int, still=NOTHING):
    memory = means.scratch(tables[0].shape[1], window, 8, tree.deepest)
    return means.train_cbow_tree(
        *tables, words, low, high, len(words), rate, rate, tree.first, tree.nodes, tree.codes, memory, still
    )


@pytest.mark.parametrize(("n", "width", "window", "shared"), [(16, 20, 5, 16), (9, 7, 2, 8), (1, 3, 1, 8), (16, 130, 20, 24)])
@pytest.mark.parametrize("frozen", [False, True])
def test_a_block_is_one_gradient_step(n: int, width: int, window: int, shared: int, frozen: bool) -> None:
    inward, outward, words, low, high, accept, other = world(n, 40, width, n, window, scale=0.4)
    words[n // 2] = words[0]  # a centre twice
    seed, drawn = 5, [0, 0, 0]
    while max(drawn.count(k) for k in drawn) > 2 or not set(drawn) & set(words):  # no shorter block, and a word drawn
        seed += 1
        state = [seed]
        drawn = [pick(accept, other, state) for _ in range(shared)]
    tables = [inward.astype(np.float64), outward.astype(np.float64)]
    expected = reference_block(*tables, words, low, high, drawn, 3 / shared, 0.1)
    still = np.arange(40) % 3 == 0 if frozen else NOTHING
    loss, count, finite = means.train_cbow(
        inward, outward, words, low, high, n, 0.1, 0.1, accept, other, 3, shared, np.array([seed], np.uint64),
        means.scratch(width, window, shared, 0), still,
    )
    if frozen:
        expected[0][still] = tables[0][still]
        assert np.array_equal(inward[still], tables[0][still])
    assert (count, finite) == (expected[3], True)
    assert math.isclose(loss, expected[2], rel_tol=1e-5, abs_tol=1e-6)
    np.testing.assert_allclose(inward, expected[0], atol=2e-5)
    np.testing.assert_allclose(outward, expected[1], atol=2e-5)


@pytest.mark.parametrize("width", [7, 100])
@pytest.mark.parametrize("frozen", [False, True])
def test_rows_that_count_more_often_for_a_stretch_of_centres(width: int, frozen: bool) -> None:
    """As sub-words have it: the rows are of another table than the told words, and the centres are not the first ones."""
    inward, outward, words, low, high, accept, other = world(30, 60, width, 30, 4, scale=0.4)
    rng, start, stop = np.random.default_rng(0), 5, 20
    numbers = rng.permutation(60)[:30].astype(np.int32)
    weights = rng.integers(1, 9, 60).astype(np.float32)
    seed, drawn = 5, [0, 0, 0]
    while max(drawn.count(k) for k in drawn) > 2:
        seed += 1
        state = [seed]
        drawn = [pick(accept, other, state) for _ in range(8)]
    tables = [inward.astype(np.float64), outward.astype(np.float64)]
    only = np.array([i if start <= i < stop else 99 for i in range(30)])
    lows, highs = np.where(only < 99, low, 0), np.where(only < 99, high, 0)  # no other centre has words around it
    expected = reference_block(*tables, words, lows, highs, drawn, 3 / 8, 0.1, numbers, weights)
    still = np.arange(60) % 3 == 0 if frozen else NOTHING
    loss, count, finite = means.train_weighted(
        inward, outward, numbers, words, low, high, start, stop, 0.1, 0.1, accept, other, 3, 8, np.array([seed], np.uint64),
        means.scratch(width, 4, 8, 0), still, weights,
    )
    expected[0][: len(still)][still] = tables[0][: len(still)][still]
    assert (count, finite) == (expected[3], True)
    assert math.isclose(loss, expected[2], rel_tol=1e-5, abs_tol=1e-6)
    np.testing.assert_allclose(inward, expected[0], atol=2e-5)
    np.testing.assert_allclose(outward, expected[1], atol=2e-5)


@pytest.mark.parametrize(("n", "width", "window", "vocabulary"), [(70, 20, 5, 40), (9, 7, 2, 12), (1, 3, 1, 1), (40, 130, 20, 200)])
@pytest.mark.parametrize("chain", [False, True])
def test_means_walk_down_the_tree(n: int, width: int, window: int, vocabulary: int, chain: bool) -> None:
    """As a chain, each word is a step further down than the one after it: paths of a single node and of many vectors."""
    inward, outward, words, low, high, _, _ = world(n, vocabulary, width, n, window, scale=0.4)
    tree = huffman(np.arange(1, vocabulary + 1), np.ones(vocabulary, np.bool_))
    if chain:
        below = np.arange(-1, vocabulary - 2)  # word 0, then the node before
        tree = paths(np.stack([-2 - np.arange(vocabulary - 1), below], axis=1).astype(np.int32), vocabulary)
        assert tree.deepest == vocabulary - 1
    rate = 0.01 if chain else 0.1  # so many decisions a word soon lead to scores beyond the limit
    expected = reference_tree(inward.astype(float), outward.astype(float), words, low, high, tree, rate)
    loss, count, finite = run_tree([inward, outward], words, low, high, tree, rate, window)
    assert (count, finite) == (expected[3], True)
    assert math.isclose(loss, expected[2], rel_tol=1e-5, abs_tol=1e-6)
    np.testing.assert_allclose(inward, expected[0], atol=5e-5)
    np.testing.assert_allclose(outward, expected[1], atol=5e-5)


def test_loss_stays_exact_where_scores_are_clamped() -> None:
    inward, outward, words, low, high, accept, other = world(4, 80, 8, 16, 3, scale=6.0)
    state = [5]
    drawn = [pick(accept, other, state) for _ in range(16)]
    *_, expected, _ = reference_block(inward.astype(float), outward.astype(float), words, low, high, drawn, 5 / 16, 1e-6)
    loss, _, _ = means.train_cbow(
        inward, outward, words, low, high, 16, 1e-6, 1e-6, accept, other, 5, 16, np.array([5], np.uint64),
        means.scratch(8, 3, 16, 0), NOTHING,
    )
    assert expected > 100
    assert math.isclose(loss, expected, rel_tol=2e-3)
    tree = huffman(np.arange(1, 81), np.ones(80, np.bool_))
    *_, expected, _ = reference_tree(inward.astype(float), outward.astype(float), words, low, high, tree, 1e-6)
    loss, _, _ = run_tree([inward, outward], words, low, high, tree, 1e-6, 3)
    assert expected > 1000
    assert math.isclose(loss, expected, rel_tol=2e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("where", [0, 1])
@pytest.mark.parametrize("loss", ["negative sampling", "tree"])
def test_a_non_finite_score_stops_before_the_tables(value: float, where: int, loss: str) -> None:
    *tables, words, low, high, accept, other = world(2, 12, 10, 60, 3)
    tree = huffman(np.arange(1, 13), np.ones(12, np.bool_))
    row = words[40] if loss != "tree" or where == 0 else tree.nodes[tree.first[words[40]]]
    before = spoilt(tables, where, row, value)
    if loss == "tree":
        result = run_tree(tables, words, low, high, tree, 0.1, 3)
    else:
        result = means.train_cbow(
            *tables, words, low, high, 60, 0.1, 0.1, accept, other, 3, 16, np.array([1], np.uint64),
            means.scratch(10, 3, 16, 0), NOTHING,
        )
    assert not result[2]
    assert [np.isfinite(table).sum() for table in tables] == before


@pytest.mark.parametrize("rate", RATES)
def test_blocks_in_a_row_share_their_negatives(rate: float) -> None:
    memory = means.scratch(20, 4, 16, 0)

    def single(tables, words, low, high, given, start, stop, state):
        more = (16, state, memory, NOTHING, means.EQUAL)
        return means.train_weighted(*tables, words, words, low, high, start, stop, *given, *more)

    def whole(tables, words, low, high, given, state):
        return means.train_cbow(*tables, words, low, high, len(words), *given, 16, state, memory, NOTHING)

    assert_shared(rate, whole, single)
