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
    assert [wanted[i][0] for i in stream.ends] == [END] * len(units) and stream.units == len(units)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(2, 9), max_size=4), st.booleans()), min_size=1, max_size=40), st.data())
def test_units_that_do_not_count_have_no_places(units: list[tuple[list[int], bool]], data: st.DataObject) -> None:
    """However many units one number in memory stands for, and wherever they all are left out."""
    ids = np.array([word for unit, _ in units for word in unit] + [0], np.int64)
    borders = np.concatenate([[0], np.cumsum([len(unit) for unit, _ in units])]).astype(np.int64)
    held = np.array([out for _, out in units])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foretext.models.stream._EVERY", data.draw(st.integers(1, 7)))
        for which in (False, True):
            stream = Stream(ids, borders, END, held, which)
            plain = of_texts([np.array(unit, np.int64) for unit, out in units if out == which], END)
            assert (len(stream), stream.units) == (len(plain), plain.units) and np.array_equal(stream.ends, plain.ends)
            start, stop = sorted(data.draw(st.integers(0, len(plain))) for _ in range(2))
            for found, wanted in zip(stream.contexts(start, stop, 3), plain.contexts(start, stop, 3), strict=True):
                assert np.array_equal(found, wanted)


def test_a_sample_is_spread_and_whole_where_it_is_short() -> None:
    stream = Stream(np.zeros(10_000, np.int64), np.array([0, 9_999]), END)
    assert sample(stream, 20_000) == [(0, 10_000)]
    parts = sample(stream, 2_048)
    assert len(parts) == 4 and parts[0][0] == 0 and parts[-1][1] == 10_000
    assert sample(of_texts([], END), 10) == []


def test_an_empty_stream_has_no_place() -> None:
    with pytest.raises(IndexError):
        of_texts([], END).read(0, 1)
