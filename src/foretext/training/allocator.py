"""Keeping large buffers between steps.

A training step asks for the same large buffers again and again. glibc returns them to the system after each use and
gets them back as fresh, zeroed pages: a third of a small model's step on a CPU (`docs/LOG.md`).
"""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Parameters of mallopt(3), numbered in glibc's malloc.h."""
SPARE_BYTES = 64 << 20


def keep_large_buffers() -> bool:
    """Ask the C library to keep freed memory for this process; True where it agreed (glibc on Linux).

    Call it before a long run; memory stays at its peak until the process ends. Results do not change.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    largest = 2**31 - 1
    wanted = ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, largest), (M_TOP_PAD, SPARE_BYTES))
    agreed = [mallopt(parameter, value) == 1 for parameter, value in wanted]  # every one is asked, whatever the first says
    return all(agreed)
