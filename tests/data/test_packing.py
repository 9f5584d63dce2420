"""Cutting and packing."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.data.packing import best_fit, cut


def slow_best_fit(lengths: list[int], room: int) -> int:
    """How many rows best-fit decreasing needs, straight from its definition."""
    spaces: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [i for i, space in enumerate(spaces) if space >= length]
        if fitting:
            spaces[min(fitting, key=lambda i: spaces[i])] -= length
        else:
            spaces.append(room - length)
    return len(spaces)


@settings(deadline=None, max_examples=100)
@given(lengths=st.lists(st.integers(1, 20), max_size=60))
def test_best_fit_is_best_fit(lengths: list[int]) -> None:
    rows = best_fit(np.array(lengths, np.int64), 20)
    sums = np.bincount(rows, weights=lengths)
    assert len(sums) == slow_best_fit(lengths, 20)
    assert (sums <= 20).all()


def test_the_short_piece_moves() -> None:
    starts, lengths = np.array([100, 500]), np.array([25, 20])
    places = set()
    for seed in range(40):
        first, size = cut(starts, lengths, 10, np.random.default_rng(seed))
        assert size.tolist()[-2:] == [10, 10]
        assert sorted(size.tolist()[:3]) == [5, 10, 10]
        assert first[0] == 100
        assert (np.diff(first[:3]) == size[:2]).all()
        places.add(size.tolist().index(5))
    assert places == {0, 1, 2}
