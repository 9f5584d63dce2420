"""The kernels against plain float64 references and finite differences."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.models.word2vec import blocks, kernel

MASK = (1 << 64) - 1


def split_mix(state: list[int]) -> int:
    """SplitMix64 in Python integers."""
    state[0] = (state[0] + 0x9E3779B97F4A7C15) & MASK
    z = state[0]
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def pick(accept: np.ndarray, other: np.ndarray, state: list[int]) -> int:
    bits = split_mix(state)
    i = ((bits & 0xFFFFFFFF) * len(accept)) >> 32
    return i if (bits >> 40) / (1 << 24) < accept[i] else int(other[i])


def sigma(x: np.ndarray | float) -> np.ndarray | float:
    return 1.0 / (1.0 + np.exp(-x))


def softplus(x: np.ndarray | float) -> np.ndarray | float:
    return np.logaddexp(0.0, x)


def world(seed: int, vocabulary: int, width: int, n: int, window: int, scale: float = 0.7):
    """Random tables, and a planned stream whose windows respect random sentence ends."""
    rng = np.random.default_rng(seed)
    tables = [(rng.standard_normal((vocabulary, width)) * scale).astype(np.float32) for _ in range(2)]
    words = np.concatenate([rng.permutation(vocabulary) for _ in range(1 + n // vocabulary)])[:n].astype(np.int32)
    sentence = np.cumsum(rng.random(n) < 0.15)
    reach = rng.integers(1, window + 1, size=n)
    low = np.array([max(np.searchsorted(sentence, sentence[i]), i - reach[i]) for i in range(n)], np.int32)
    high = np.array(
        [min(np.searchsorted(sentence, sentence[i], side="right"), i + reach[i] + 1) for i in range(n)], np.int32
    )
    accept, other = kernel.alias_table(rng.random(vocabulary))
    return *tables, words, low, high, accept, other


def spoilt(tables: list[np.ndarray], where: int, row: int, value: float) -> list[int]:
    """Put `value` into a row of one table, and let every product with it show that; how many entries are finite then."""
    tables[where][row, 3] = value
    tables[1 - where][:] = np.where(abs(tables[1 - where]) < 0.1, 0.1, tables[1 - where])
    if value == 1e30:
        tables[1 - where] *= np.float32(1e30)
    return [int(np.isfinite(table).sum()) for table in tables]


def reference_pairs(inward, outward, words, low, high, rates, accept, other, negatives, state):
    inward, outward = inward.astype(np.float64), outward.astype(np.float64)
    loss, pairs, state = 0.0, 0, [state]
    for i, centre in enumerate(words):
        for j in range(low[i], high[i]):
            if j == i:
                continue
            change = np.zeros(inward.shape[1])
            for k in range(negatives + 1):
                target = words[j] if k == 0 else pick(accept, other, state)
                if k and target == words[j]:
                    continue
                score = inward[centre] @ outward[target]
                loss += softplus(score if k else -score)
                step = rates[i] * ((k == 0) - sigma(score))
                change += step * outward[target]
                outward[target] += step * inward[centre]
            inward[centre] += change
            pairs += 1
    return inward, outward, loss, pairs


def block_loss(inward, outward, words, low, high, drawn, ratio):
    """The loss of one block, plainly: what `train_blocks` takes one gradient step on."""
    loss, pairs = 0.0, 0
    for i in range(len(words)):
        for j in range(low[i], high[i]):
            if j != i:
                pairs += 1
                loss += softplus(-(inward[words[i]] @ outward[words[j]]))
                loss += sum(ratio * softplus(inward[words[i]] @ outward[k]) for k in drawn if k != words[j])
    return loss, pairs


def test_draws_are_split_mix() -> None:
    state = np.array([2**64 - 3], np.uint64)
    python = [2**64 - 3]
    assert [int(kernel.draw(state)) for _ in range(5)] == [split_mix(python) for _ in range(5)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.one_of(st.just(0.0), st.floats(1e-6, 1e6)), min_size=1, max_size=40).filter(any))
def test_alias_table_holds_the_distribution(weights: list[float]) -> None:
    weight = np.array(weights)
    accept, other = kernel.alias_table(weight)
    size = len(weight)
    found = np.bincount(np.arange(size), accept / size, size) + np.bincount(other, (1.0 - accept) / size, size)
    np.testing.assert_allclose(found, weight / weight.sum(), atol=2e-7)
    assert not found[weight == 0].any()


def test_negatives_follow_the_alias_table() -> None:
    weight = np.array([8.0, 0.0, 1.0, 4.0, 3.0])
    accept, other = kernel.alias_table(weight)
    state = np.array([7], np.uint64)
    drawn = np.bincount([kernel.negative(accept, other, state) for _ in range(40_000)], minlength=5) / 40_000
    np.testing.assert_allclose(drawn, weight / weight.sum(), atol=0.01)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 6), st.integers(0, 2**32))
def test_plan_keeps_windows_inside_sentences(lengths: list[int], window: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ends = np.cumsum(lengths).astype(np.int64)
    ids = rng.integers(0, 9, size=int(ends[-1])).astype(np.int32)
    skipped = rng.random(len(lengths)) < 0.3
    keep = np.array([1, 1, 1, 0, 0.5, 1, 1], np.float32)
    words, low, high = (np.empty(len(ids), np.int32) for _ in range(3))
    n = kernel.plan(ids, ends, skipped, keep, window, np.array([seed], np.uint64), words, low, high)
    sure = np.isin(ids, [0, 1, 2, 5, 6]) & np.repeat(~skipped, lengths)
    assert [w for w in words[:n] if w != 4] == list(ids[sure])
    maybe = (ids == 4) & np.repeat(~skipped, lengths)
    assert n <= sure.sum() + maybe.sum()
    if not maybe.any():
        sentence = np.repeat(np.arange(len(lengths)), lengths)[sure]
        for i in range(n):
            assert low[i] <= i < high[i]
            assert set(sentence[low[i] : high[i]]) == {sentence[i]}
            assert max(i - low[i], high[i] - 1 - i) <= window


def test_plan_draws_reaches_and_keeps_at_the_stated_rates() -> None:
    n = 60_000
    ids = np.tile(np.array([0, 1], np.int32), n // 2)
    words, low, high = (np.empty(n, np.int32) for _ in range(3))
    state = np.array([3], np.uint64)
    keep = np.array([1.0, 0.25], np.float32)
    kept = kernel.plan(ids, np.array([n]), np.array([False]), keep, 4, state, words, low, high)
    assert abs((words[:kept] == 1).mean() - 0.2) < 0.01
    inner = slice(10, kept - 10)
    reach = np.arange(kept)[inner] - low[inner]
    np.testing.assert_allclose(np.bincount(reach, minlength=5)[1:] / len(reach), 0.25, atol=0.01)


def test_pairs_equal_the_reference() -> None:
    inward, outward, words, low, high, accept, other = world(1, 12, 10, 60, 3)
    rates = 0.1 + (0.05 - 0.1) * np.arange(60) / 60
    expected = reference_pairs(inward, outward, words, low, high, rates, accept, other, 4, 99)
    loss, pairs, finite = kernel.train_pairs(
        inward, outward, words, low, high, 60, 0.1, 0.05, accept, other, 4, np.array([99], np.uint64), blocks.NOTHING
    )
    np.testing.assert_allclose(inward, expected[0], rtol=2e-4, atol=2e-5)
    np.testing.assert_allclose(outward, expected[1], rtol=2e-4, atol=2e-5)
    assert (pairs, finite) == (expected[3], True)
    assert math.isclose(loss, expected[2], rel_tol=1e-4)


@pytest.mark.parametrize(("n", "width", "window", "shared"), [(16, 20, 5, 16), (9, 7, 2, 8), (1, 3, 1, 8), (16, 40, 20, 24)])
def test_a_block_is_one_gradient_step(n: int, width: int, window: int, shared: int) -> None:
    inward, outward, words, low, high, accept, other = world(n, 80, width, n, window)
    state, rate, ratio = [5], 1e-2, 3 / shared
    drawn = [pick(accept, other, state) for _ in range(shared)]
    assert max(drawn.count(k) for k in drawn) <= 2 or n < 16, "the block would be shortened"
    tables = [inward.astype(np.float64), outward.astype(np.float64)]
    new = [inward.copy(), outward.copy()]
    loss, pairs, finite = blocks.train_blocks(
        *new, words, low, high, n, rate, rate, accept, other, 3, shared, np.array([5], np.uint64),
        blocks.scratch(width, window, shared), blocks.NOTHING,
    )
    expected_loss, expected_pairs = block_loss(*tables, words, low, high, drawn, ratio)
    assert (pairs, finite) == (expected_pairs, True)
    assert math.isclose(loss, expected_loss, rel_tol=1e-5, abs_tol=1e-6)
    rng = np.random.default_rng(0)
    for which in (0, 1):
        change = (new[which].astype(np.float64) - tables[which]) / -rate
        for _ in range(6):
            direction = rng.standard_normal(change.shape)
            sides = []
            for sign in (1, -1):
                moved = [table.copy() for table in tables]
                moved[which] += sign * 1e-5 * direction
                sides.append(block_loss(*moved, words, low, high, drawn, ratio)[0])
            slope = (sides[0] - sides[1]) / 2e-5
            assert math.isclose(float((change * direction).sum()), slope, rel_tol=2e-3, abs_tol=2e-3)


def test_loss_stays_exact_where_scores_are_clamped() -> None:
    inward, outward, words, low, high, accept, other = world(4, 80, 8, 16, 3, scale=4.0)
    drawn_state = [5]
    drawn = [pick(accept, other, drawn_state) for _ in range(16)]
    expected, _ = block_loss(inward.astype(float), outward.astype(float), words, low, high, drawn, 5 / 16)
    loss, _, _ = blocks.train_blocks(
        inward, outward, words, low, high, 16, 1e-6, 1e-6, accept, other, 5, 16, np.array([5], np.uint64),
        blocks.scratch(8, 3, 16), blocks.NOTHING,
    )
    assert expected > 100
    assert math.isclose(loss, expected, rel_tol=2e-3)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("where", [0, 1])
def test_a_non_finite_score_stops_before_the_tables(value: float, where: int) -> None:
    for method in ("pairs", "blocks"):
        *tables, words, low, high, accept, other = world(2, 12, 10, 60, 3)
        before = spoilt(tables, where, words[40], value)
        common = (*tables, words, low, high, 60, 0.1, 0.1, accept, other, 3)
        state = np.array([1], np.uint64)
        train = kernel.train_pairs if method == "pairs" else blocks.train_blocks
        more = (state, blocks.NOTHING) if method == "pairs" else (16, state, blocks.scratch(10, 3, 16), blocks.NOTHING)
        result = train(*common, *more)
        assert not result[2]
        assert [np.isfinite(table).sum() for table in tables] == before


RATES = [0.4, 0.1, 0.025, 0.001]


def test_how_many_blocks_share_their_negatives() -> None:
    assert [blocks.sharing(rate) for rate in RATES] == [1, 2, 8, 8]


@pytest.mark.parametrize("rate", RATES)
def test_blocks_in_a_row_share_their_negatives(rate: float) -> None:
    memory = blocks.scratch(20, 4, 16)

    def single(tables, words, low, high, given, start, stop, state):
        return blocks.train_centres(*tables, words, words, low, high, start, stop, *given, 16, state, memory, blocks.NOTHING)

    def whole(tables, words, low, high, given, state):
        return blocks.train_blocks(*tables, words, low, high, len(words), *given, 16, state, memory, blocks.NOTHING)

    assert_shared(rate, whole, single)


def assert_shared(rate: float, whole, single) -> None:
    """`whole` trains as `single` does block by block, where those that share draw from the same state, and the next goes on
    from there."""
    sharing = blocks.sharing(rate)
    n = 16 * (sharing + 1)
    inward, outward, words, low, high, accept, other = world(1, 400, 20, n, 4)
    seed = next(seed for seed in range(5, 99) if two_sets(accept, other, seed))
    given = (rate, rate, accept, other, 3)
    together, apart = ([inward.copy(), outward.copy()] for _ in range(2))
    loss = whole(together, words, low, high, given, np.array([seed], np.uint64))[0]
    total, later = 0.0, np.zeros(1, np.uint64)
    for start in range(0, n, 16):
        state = later if start == 16 * sharing else np.array([seed], np.uint64)
        total += single(apart, words, low, high, given, start, start + 16, state)[0]
        later = state
    assert math.isclose(loss, total, rel_tol=1e-12)
    assert all(np.array_equal(one, other) for one, other in zip(together, apart, strict=True))


def two_sets(accept, other, seed: int) -> bool:
    """Whether the first 16 draws and the next differ, and none has a word so often that blocks would be shorter."""
    state = [seed]
    drawn = [[pick(accept, other, state) for _ in range(16)] for _ in range(2)]
    return all(max(some.count(k) for k in some) <= 2 for some in drawn) and set(drawn[0]) != set(drawn[1])
