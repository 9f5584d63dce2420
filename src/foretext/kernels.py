"""What hand-written kernels share: how Numba compiles them, and their random numbers. Importing this compiles nothing.

Floating-point reordering is allowed (that is what lets the compiler use vector registers), the assumption that no NaN
or infinity occurs is not: a non-finite number must be seen.
"""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

_FINITE = {"reassoc", "contract", "nsz", "arcp"}
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX2 = np.uint64(0x94D049BB133111EB)
_S27, _S30, _S31, _S32 = (np.uint64(s) for s in (27, 30, 31, 32))


def jit(function: Any) -> Any:
    """A kernel or a part of one: compiled at its first call, and kept on disk for the next process where any folder can
    be written. The file on disk is renewed when the function's own module changes, not when one that it calls into does."""
    settings: dict[str, Any] = {"nogil": True, "fastmath": _FINITE, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **settings)(function)
    except RuntimeError:  # neither the package's folder nor a user's cache folder can be written
        return numba.njit(**settings)(function)


@jit
def mixed(z: Any) -> Any:
    """64 bits scattered over 64 bits, one to one (the finaliser of SplitMix64: Steele, Lea & Flood 2014)."""
    z = (z ^ (z >> _S30)) * _MIX1
    z = (z ^ (z >> _S27)) * _MIX2
    return z ^ (z >> _S31)


@jit
def draw(state: NDArray[np.uint64]) -> Any:
    """The next 64 random bits of `state` [1], which advances (SplitMix64)."""
    state[0] += _GOLDEN
    return mixed(state[0])


@jit
def below(state: NDArray[np.uint64], limit: int) -> Any:
    """A whole number from 0 to `limit` − 1, `limit` ≤ 2³²; even to one part in 2³² / `limit`."""
    return np.int64(((draw(state) >> _S32) * np.uint64(limit)) >> _S32)
