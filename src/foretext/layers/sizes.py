"""Sizes that come again.

On a CPU a bf16 product is compiled for each size that it meets (1 to 10 ms, where the product itself may take 0.2:
`docs/LOG.md`). How many places are masked, and how long a batch's longest text is, differs at every step; rounded, few
of these sizes are new.
"""


def rounded(count: int, *, octave: int) -> int:
    """The next of `octave` (a power of two) evenly spaced sizes between two powers of two: at most count/octave more."""
    step = 1 << max(0, count.bit_length() - octave.bit_length())
    return -(-count // step) * step
