"""Counter-based uniforms for whole arrays: `draws.generator` costs microseconds a key, this nanoseconds.

SplitMix64 (Steele, Lea & Flood 2014, figure 12 and Stafford's mixing constants): the n-th number of the stream with
seed k is mix(k + n · γ), so any token's draw can be made alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.types import Floats, Ints

UInts = NDArray[np.uint64]
GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def mix(state: NDArray[Any]) -> UInts:
    """The finaliser: a bijection of 64-bit numbers in which every input bit moves every output bit."""
    z: UInts = state.astype(np.uint64)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def uniforms(keys: Ints, counters: Ints, stream: int) -> Floats:
    """Uniform numbers in [0, 1), one for each (key, counter) pair; `stream` keeps different uses apart."""
    seeds = mix(keys.astype(np.uint64) ^ mix(np.full(1, stream, np.uint64)))
    numbers = mix(seeds + (counters.astype(np.uint64) + np.uint64(1)) * GOLDEN)
    uniform: Floats = (numbers >> np.uint64(11)) * 2.0**-53
    return uniform
