"""One vector against picked rows, beside numpy; what lies around the rows must neither be read nor changed."""

import numba
import numpy as np
import pytest

from foretext.models.word2vec import picks, registers

WIDTHS = [1, 7, 16, 20, 100, 128, 150]
ROWS = np.array([3, 38, 5, 7, 0, 11, 30, 20, 3, 21, 22, 22, 24, 25, 26, 27, 1], np.int32)


@numba.njit
def run_dots(x, table, rows, out):  # type: ignore[no-untyped-def]
    picks.dots8(x, 2, (table, rows), 1, out, 1, 8)
    picks.dots_each(x, (table, rows), 1, out, 2)


@numba.njit
def run_meet(x, dx, table, rows, steps, count):  # type: ignore[no-untyped-def]
    picks.meet(x, dx, 3, (table, rows), steps, 1, count)


def world(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Sixteen padded vectors, and a table in which all rows but the picked ones are no numbers."""
    rng = np.random.default_rng(width)
    x = registers.zero_rows(16, registers.padded(width))
    x[:, :width] = rng.standard_normal((16, width))
    table = np.full((40, width), np.nan, np.float32)
    table[ROWS] = rng.standard_normal((len(ROWS), width))
    return x, table


@pytest.mark.parametrize("width", WIDTHS)
def test_products_are_numpys(width: int) -> None:
    x, table = world(width)
    out = registers.zero_rows(3, 16)
    run_dots(x, table, ROWS, out)
    picked = table[ROWS[1:]].astype(np.float64)
    np.testing.assert_allclose(out[1, 8:], picked[:8] @ x[2, :width], atol=1e-4)
    np.testing.assert_allclose(out[2], (picked * x[:, :width]).sum(axis=1), atol=1e-4)
    assert not out[0].any()
    assert not out[1, :8].any()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_vector_and_its_rows_change_by_what_both_were(width: int, count: int) -> None:
    x, table = world(width)
    dx, steps = registers.zero_rows(*x.shape), registers.zero_rows(2, 16)
    dx[:, :width] = 1.0
    steps[:] = np.linspace(-1, 1, 32).reshape(2, 16)
    expected, change = table.astype(np.float64), dx.astype(np.float64)
    change[3, :width] += steps[1, :count] @ expected[ROWS[:count]]
    expected[ROWS[:count]] += np.outer(steps[1, :count], x[3, :width])
    run_meet(x, dx, table, ROWS, steps, count)
    np.testing.assert_allclose(table, expected, atol=1e-5)
    np.testing.assert_allclose(dx, change, atol=1e-5)
