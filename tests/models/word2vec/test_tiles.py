"""The register tiles against numpy, at widths that leave every kind of column group."""

import numba
import numpy as np
import pytest

from foretext.models.word2vec import registers, tiles

WIDTHS = [16, 32, 48, 112, 208, 304]


@numba.njit
def run_add(out, y, w, first, count):  # type: ignore[no-untyped-def]
    for i in range(8):
        tiles.add_rows(out, i, y, first, w, i, first, count)


@numba.njit
def run_picked(out, rows, x, weights, steps, first, count):  # type: ignore[no-untyped-def]
    told = (out, rows)
    tiles.add_rows8_late(told, 0, x, 0, weights, 0, 0, 16)
    tiles.add_rows(told, 8, x, first, weights, 8, first, count)
    tiles.add_rows_across(x, 1, told, first, steps, first, 2, count)
    tiles.set_rows8_across(x, 8, told, 0, steps, 0, 8, 16)


@numba.njit
def run_across(x, xt, out, table, rows):  # type: ignore[no-untyped-def]
    for column in range(0, x.shape[1], 16):
        tiles.across16(x, column, xt)
    tiles.dots_across(out, 3, (table, rows), 5, xt)


def filled(*shape: int) -> np.ndarray:
    made = registers.zero_rows(*shape)
    made[:] = np.random.default_rng(sum(shape)).standard_normal(shape)
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("first", "count"), [(0, 16), (3, 7), (5, 0)])
def test_sums_of_rows_are_added_to_what_is_there(width: int, first: int, count: int) -> None:
    y, w, some = filled(16, width), filled(8, 16), slice(first, first + count)
    out = filled(8, width)
    expected = out + w[:, some] @ y[some]
    run_add(out, y, w, first, count)
    np.testing.assert_allclose(out, expected, atol=1e-4)


def test_rows_begin_at_a_cache_line_and_are_whole_vectors() -> None:
    for shape in ((3, 16), (2, 5, 112)):
        assert registers.zero_rows(*shape).ctypes.data % 64 == 0
        assert not registers.zero_rows(*shape).any()
    assert [registers.padded(width) for width in (1, 16, 100, 300)] == [16, 16, 112, 304]


@pytest.mark.parametrize("width", [1, 7, 16, 20, 100, 128, 150])
def test_picked_rows_are_read_and_changed_where_they_are(width: int) -> None:
    wide = registers.padded(width)
    table = np.ascontiguousarray(filled(40, wide)[:, :width])
    rows = np.array([3, 39, 3, 7, 3, 0, 11, 7, 20, 21, 22, 23, 24, 25, 26, 27], np.int32)  # 3 and 7 more than once
    x, weights, steps = filled(16, wide), filled(16, 16), filled(16, 16)
    x[:, width:] = 0.0
    expected, y = table.astype(np.float64), x.astype(np.float64)
    np.add.at(expected, rows[:8], weights[:8] @ y[:, :width])
    expected[rows[8]] += weights[8, 2:9] @ y[2:9, :width]
    y[1, :width] += steps[2:9, 2] @ expected[rows[2:9]]
    y[8:, :width] = steps[:, 8:].T @ expected[rows]
    run_picked(table, rows, x, weights, steps, 2, 7)
    np.testing.assert_allclose(table, expected, atol=1e-3)
    np.testing.assert_allclose(x, y, atol=1e-3)


@pytest.mark.parametrize("width", [1, 20, 100, 300])
def test_a_product_a_lane(width: int) -> None:
    wide = registers.padded(width)
    table, rows = np.ascontiguousarray(filled(9, wide)[:, :width]), np.array([1] * 5 + [8, 0, 2, 2, 3, 4, 5, 6], np.int32)
    x, xt, out = filled(16, wide), registers.zero_rows(wide, 16), registers.zero_rows(16, 16)
    run_across(x, xt, out, table, rows)
    np.testing.assert_array_equal(xt, x.T)
    np.testing.assert_allclose(out[3:11], table[rows[5:13]] @ x[:, :width].T, atol=1e-4)
    assert not out[:3].any()
    assert not out[11:].any()
