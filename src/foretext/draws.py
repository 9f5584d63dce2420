"""Randomness as a function, not a stream: a draw depends on (seed, purpose, counters), never on rank, thread or history.

So resuming needs no random state, and any worker can make any draw.
"""

import hashlib

import numpy as np


def number(seed: int, purpose: str, *counters: int) -> int:
    """A 63-bit integer that (seed, purpose, counters) alone determine, e.g. to seed torch for one micro-batch."""
    text = f"{seed}/{purpose}/{'/'.join(map(str, counters))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A numpy Generator (Philox, counter-based) for one purpose at one place, e.g. ("mask", epoch, block, record)."""
    return np.random.Generator(np.random.Philox(key=number(seed, purpose, *counters)))
