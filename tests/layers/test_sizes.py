from hypothesis import given
from hypothesis import strategies as st

from foretext.layers.sizes import rounded


@given(st.integers(0, 100_000), st.sampled_from([1, 2, 8, 16]))
def test_rounded_is_the_next_of_the_sizes(count: int, octave: int) -> None:
    sizes = sorted({0, *(power * (octave + k) // octave for power in (1 << e for e in range(18)) for k in range(octave))})
    assert rounded(count, octave=octave) == min(size for size in sizes if size >= count)
    assert count <= rounded(count, octave=octave) <= count + count // octave


def test_few_sizes_are_new() -> None:
    assert [rounded(count, octave=8) for count in (577, 640, 641)] == [640, 640, 704]
    assert len({rounded(count, octave=16) for count in range(1, 513)}) < 100
