"""Text as language models read it: units, their ends, and what stands before each word."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.models.stream import NOTHING, Stream, of_texts, sample

END = 1


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(2, 9), max_size=6), min_size=1, max_size=6), st.integers(0, 4), st.integers(0, 40), st.integers(0, 40))
def test_contexts_are_those_of_the_unit(units: list[list[int]], size: int, a: int, b: int) -> None:
    stream = of_texts([np.array(unit, np.int64) for unit in units], END)
    start, stop = sorted((min(a, len(stream)), min(b, len(stream))))
    wanted = [
        (word, *[*unit[:at][::-1], END, *[NOTHING] * size][:size]) for unit in units for at, word in enumerate([*unit, END])
    ]
    words, context = stream.contexts(start, stop, size)
    assert [(w, *c) for w, c in zip(words.tolist(), context.tolist(), strict=True)] == wanted[start:stop]
    assert len(stream) == len(wanted)
    assert [wanted[i][0] for i in stream.ends] == [END] * len(units)


def test_a_sample_is_spread_and_whole_where_it_is_short() -> None:
    stream = Stream(np.zeros(10_000, np.int64), np.array([0]), np.array([9_999]), END)
    assert sample(stream, 20_000) == [(0, 10_000)]
    parts = sample(stream, 2_048)
    assert len(parts) == 4 and parts[0][0] == 0 and parts[-1][1] == 10_000
    assert sample(of_texts([], END), 10) == []


def test_an_empty_stream_has_no_place() -> None:
    with pytest.raises(IndexError):
        of_texts([], END).read(0, 1)
