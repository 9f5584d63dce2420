import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.layers import ragged
from foretext.types import Origin, TokenBatch


def rows(lengths: list[list[int]], width: int) -> TokenBatch:
    """Rows of the given sequence lengths, padded to `width`."""
    sequence = np.full((len(lengths), width), -1)
    position = np.zeros((len(lengths), width), int)
    bounds, number = [], 0
    for row, row_lengths in enumerate(lengths):
        start = 0
        for length in row_lengths:
            sequence[row, start : start + length] = number
            position[row, start : start + length] = np.arange(length)
            bounds.append((row, start, start + length))
            start, number = start + length, number + 1
    as_tensor = torch.as_tensor
    ids = as_tensor(np.where(sequence >= 0, sequence * 10 + position, 0))
    return TokenBatch(
        ids=ids,
        sequence=as_tensor(sequence),
        position=as_tensor(position),
        bounds=as_tensor(np.array(bounds).reshape(-1, 3)),
    )


row_lengths = st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=4)


@settings(deadline=None, max_examples=60)
@given(row_lengths, st.integers(0, 3))
def test_places_and_lengths_follow_the_bounds_in_order(lengths: list[list[int]], spare: int) -> None:
    batch = rows(lengths, max(map(sum, lengths)) + spare)
    flat = [length for row in lengths for length in row]
    at = ragged.places(batch)
    assert batch.sequence.flatten()[at].tolist() == [s for s, n in enumerate(flat) for _ in range(n)]
    assert batch.position.flatten()[at].tolist() == [i for n in flat for i in range(n)]
    ends, longest = ragged.cumulative(batch)
    assert ends.dtype == torch.int32
    assert ends.tolist() == [sum(flat[:s]) for s in range(len(flat) + 1)]
    assert longest == max(flat, default=0)
    assert int(ragged.real(batch).sum()) == sum(flat)


@settings(deadline=None, max_examples=40)
@given(row_lengths, st.integers(1, 3), st.sampled_from(["mean", "sum", "max"]))
def test_pooling_is_numpys_over_each_sequence_and_padding_never_enters(lengths, spare, how) -> None:  # type: ignore[no-untyped-def]
    batch = rows(lengths, max(map(sum, lengths)) + spare)
    vectors = torch.randn(*batch.ids.shape, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vectors[batch.sequence < 0] = torch.nan
    found = ragged.pool_sequences(vectors, batch, how).numpy()
    for number, (row, start, stop) in enumerate(batch.bounds.tolist()):
        expected = getattr(np, how)(vectors[row, start:stop].numpy(), axis=0)
        np.testing.assert_allclose(found[number], expected, rtol=1e-12)
    assert len(found) == len(batch.bounds)


def test_pooling_half_precision_sums_in_fp32() -> None:
    batch = rows([[1000]], 1000)
    ones = torch.ones(1, 1000, 1, dtype=torch.bfloat16)
    assert ragged.pool_sequences(ones, batch, "sum").item() == 1000.0


def test_first_pieces_are_gathered_in_the_order_of_the_words() -> None:
    batch = rows([[3], [2, 2]], 4)
    words = torch.tensor([[0, 0, 1, 2], [0, 1, 0, 0]])
    batch = TokenBatch(
        ids=batch.ids,
        sequence=batch.sequence,
        position=batch.position,
        bounds=batch.bounds,
        origin=Origin(example=torch.zeros(3), words=words),
    )
    vectors = torch.arange(8.0).view(2, 4, 1)
    assert ragged.first_pieces(vectors, batch).flatten().tolist() == [6.0, 0.0]


def test_a_numpy_batch_is_named() -> None:
    with pytest.raises(AssertionError, match="ndarray; call to_torch"):
        ragged.tensor(np.zeros(2))


@settings(deadline=None, max_examples=80)
@given(st.integers(0, 5000))
def test_filled_places_stand_before_what_fills_up(count: int) -> None:
    at = torch.arange(10, 10 + count)
    found = ragged.filled(at)
    assert torch.equal(found[:count], at)
    assert not found[count:].any()
    assert len(found) <= count + count // 8
