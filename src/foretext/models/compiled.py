"""Numba's compiler as every family room uses it: compiled at the first call, kept on disk for the next process."""

from typing import Any

import numba

_FINITE = {"reassoc", "contract", "nsz", "arcp"}
"""Reordering is allowed; the assumption that no NaN or infinity occurs is not."""


def jit(function: Any) -> Any:
    """`function` compiled at its first call; importing it compiles nothing."""
    settings: dict[str, Any] = {"nogil": True, "fastmath": _FINITE, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor a user's cache folder can be written
        return numba.njit(**settings)(function)
