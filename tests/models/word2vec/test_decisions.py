"""The fast kernel of skip-gram with the tree against a plain float64 reference."""

import math

import numpy as np
import pytest

from foretext.models.word2vec import decisions
from foretext.models.word2vec.blocks import CENTRES, NOTHING
from foretext.models.word2vec.tree import Tree, huffman, paths
from models.word2vec.test_kernel import sigma, softplus, spoilt, world
from models.word2vec.test_means import around


def reference(inward, outward, words, low, high, tree, rate, still=NOTHING):
    """Blocks of centres. The words around each meet its path, one after the other, and both move; each place of the block
    has a copy of its word's row, whose changes are added at its end."""
    loss, count = 0.0, 0
    for p in range(0, len(words), CENTRES):
        m = min(CENTRES, len(words) - p)
        begin, end = min(low[p : p + m]), max(high[p : p + m])
        x = inward[words[begin:end]]
        for i in range(p, p + m):
            nodes = tree.nodes[tree.first[words[i]] : tree.first[words[i] + 1]]
            codes = tree.codes[tree.first[words[i]] : tree.first[words[i] + 1]].astype(float)
            for j in around(low, high, i):
                scores = outward[nodes] @ x[j - begin]
                loss += softplus((2 * codes - 1) * scores).sum()
                steps = rate * (1 - codes - sigma(scores))
                change = steps @ outward[nodes]
                outward[nodes] += np.outer(steps, x[j - begin])
                if not (len(still) and still[words[j]]):
                    x[j - begin] += change
                count += 1
        before = inward[words[begin:end]]
        np.add.at(inward, words[begin:end], x - before)
    return inward, outward, loss, count


def run(tables, words, low, high, tree: Tree, rate: float, window: int, still=NOTHING):
    memory = decisions.scratch(tables[0].shape[1], window, tree.deepest)
    return decisions.train_tree(
        *tables, words, low, high, len(words), rate, rate, tree.first, tree.nodes, tree.codes, window, memory, still
    )


@pytest.mark.parametrize(("n", "width", "window", "vocabulary"), [(70, 20, 5, 40), (9, 7, 2, 12), (1, 3, 1, 1), (40, 130, 20, 200)])
@pytest.mark.parametrize("chain", [False, True])
@pytest.mark.parametrize("frozen", [False, True])
def test_words_around_walk_down_the_tree(n: int, width: int, window: int, vocabulary: int, chain: bool, frozen: bool) -> None:
    """As a chain, each word is a step further down than the one after it: paths of a single node and of many vectors."""
    inward, outward, words, low, high, _, _ = world(n, vocabulary, width, n, window, scale=0.4)
    tree = huffman(np.arange(1, vocabulary + 1), np.ones(vocabulary, np.bool_))
    if chain:
        below = np.arange(-1, vocabulary - 2)  # word 0, then the node before
        tree = paths(np.stack([-2 - np.arange(vocabulary - 1), below], axis=1).astype(np.int32), vocabulary)
    rate = 0.01 if chain else 0.1  # so many decisions a word soon lead to scores beyond the limit
    still = np.arange(vocabulary) % 3 == 0 if frozen else NOTHING
    stood = inward[: len(still)][still].copy()
    expected = reference(inward.astype(float), outward.astype(float), words, low, high, tree, rate, still)
    loss, count, finite = run([inward, outward], words, low, high, tree, rate, window, still)
    assert (count, finite) == (expected[3], True)
    assert math.isclose(loss, expected[2], rel_tol=1e-5, abs_tol=1e-6)
    np.testing.assert_allclose(inward, expected[0], atol=5e-5)
    np.testing.assert_allclose(outward, expected[1], atol=5e-5)
    assert np.array_equal(inward[: len(still)][still], stood)


def test_loss_stays_exact_where_scores_are_clamped() -> None:
    inward, outward, words, low, high, _, _ = world(4, 80, 8, 16, 3, scale=6.0)
    tree = huffman(np.arange(1, 81), np.ones(80, np.bool_))
    *_, expected, _ = reference(inward.astype(float), outward.astype(float), words, low, high, tree, 1e-6)
    loss, _, _ = run([inward, outward], words, low, high, tree, 1e-6, 3)
    assert expected > 1000
    assert math.isclose(loss, expected, rel_tol=2e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("where", [0, 1])
def test_a_non_finite_score_stops_before_the_tables(value: float, where: int) -> None:
    *tables, words, low, high, _, _ = world(2, 12, 10, 60, 3)
    tree = huffman(np.arange(1, 13), np.ones(12, np.bool_))
    row = words[40] if where == 0 else tree.nodes[tree.first[words[40]]]
    before = spoilt(tables, where, row, value)
    assert not run(tables, words, low, high, tree, 0.1, 3)[2]
    assert [np.isfinite(table).sum() for table in tables] == before
