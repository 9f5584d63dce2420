"""The register tiles against numpy, at widths that leave every kind of column group."""

import numba
import numpy as np
import pytest

from foretext.models.word2vec import lanes, tiles

WIDTHS = [16, 32, 48, 112, 208, 304]


@numba.njit
def run_dots(x, y, out):  # type: ignore[no-untyped-def]
    for i in range(0, 8, 4):
        for k in range(0, 16, 4):
            tiles.dots(x, i, y, k, out, k)


@numba.njit
def run_dots1(x, y, out):  # type: ignore[no-untyped-def]
    for i in range(8):
        for k in range(0, 16, 4):
            tiles.dots1(x, i, y, k, out, k)


@numba.njit
def run_add(out, y, w, first, count):  # type: ignore[no-untyped-def]
    for i in range(8):
        tiles.add_rows(out, i, y, first, w, i, first, count)


@numba.njit
def run_add8(out, y, w, first, count):  # type: ignore[no-untyped-def]
    tiles.add_rows8_across(out, 0, y, first, w, first, 0, count)


@numba.njit
def run_squash(scores, sign):  # type: ignore[no-untyped-def]
    return lanes.squash(scores, 0, 0, sign)


@numba.njit
def run_prefetch(table, row):  # type: ignore[no-untyped-def]
    tiles.prefetch(table, row)


def filled(*shape: int) -> np.ndarray:
    made = tiles.rows(*shape)
    made[:] = np.random.default_rng(sum(shape)).standard_normal(shape)
    return made


@pytest.mark.parametrize("width", WIDTHS)
def test_products_are_numpys(width: int) -> None:
    x, y, out = filled(8, width), filled(16, width), tiles.rows(8, 16)
    for run in (run_dots, run_dots1):
        out[:] = 0
        run(x, y, out)
        np.testing.assert_allclose(out, x @ y.T, atol=1e-4)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(("first", "count"), [(0, 16), (3, 7), (5, 0)])
def test_sums_of_rows_are_added_to_what_is_there(width: int, first: int, count: int) -> None:
    y, w, some = filled(16, width), filled(8, 16), slice(first, first + count)
    for run, weights in ((run_add, w), (run_add8, np.ascontiguousarray(w.T))):
        out = filled(8, width)
        expected = out + w[:, some] @ y[some]
        run(out, y, weights, first, count)
        np.testing.assert_allclose(out, expected, atol=1e-4)


def test_rows_begin_at_a_cache_line_and_are_whole_vectors() -> None:
    for shape in ((3, 16), (2, 5, 112)):
        assert tiles.rows(*shape).ctypes.data % 64 == 0
        assert not tiles.rows(*shape).any()
    assert [tiles.padded(width) for width in (1, 16, 100, 300)] == [16, 16, 112, 304]
    run_prefetch(filled(4, 16), 3)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_squash_is_the_logistic_function_and_tells_what_it_clamped(sign: float) -> None:
    for scores in (np.linspace(-9, 9, 8), np.array([-30.0, -10, -1, 0, 1, 10, 12, 500])):
        table = scores.astype(np.float32)[None]
        lost = run_squash(table, np.float32(sign))
        np.testing.assert_allclose(table[0], 1 / (1 + np.exp(-scores.clip(-10, 10))), atol=4e-7)
        assert lost == pytest.approx(np.maximum(0, sign * scores - 10).sum())
    for bad in (np.nan, np.inf, -np.inf):
        table = np.array([[0, 0, 0, bad, 0, 0, 0, 0]], np.float32)
        assert np.isnan(run_squash(table, np.float32(sign)))
