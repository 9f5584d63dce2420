"""Sequence numbers and bounds to what kernels want: flat places, cumulative lengths, pooled vectors.

R rows · T tokens a row · S sequences · W words · N real tokens · D width
"""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from foretext.layers.sizes import rounded
from foretext.types import Array, TokenBatch

Pool = Literal["mean", "sum", "max"]


def tensor(array: Array) -> Tensor:
    """The field of a batch as the tensor it must be by now (`data.batches.to_torch` moved it)."""
    assert isinstance(array, Tensor), f"expected a batch of tensors, found {type(array).__name__}; call to_torch first"
    return array


def real(batch: TokenBatch) -> Tensor:
    """Bool [R,T]: the places that hold a token, not padding."""
    return tensor(batch.sequence) >= 0


def lengths(batch: TokenBatch) -> Tensor:
    """Tokens of each sequence, [S]."""
    bounds_S3 = tensor(batch.bounds)
    return bounds_S3[:, 2] - bounds_S3[:, 1]


def owners(lengths_S: Tensor) -> Tensor:
    """The sequence of each token where sequences stand one after the other, [ΣT]."""
    return torch.repeat_interleave(torch.arange(len(lengths_S), device=lengths_S.device), lengths_S.long())


def cumulative(batch: TokenBatch) -> tuple[Tensor, int]:
    """`cu_seqlens` (int32 [S+1], starting at 0) and the longest length, as variable-length kernels ask for them.

    The order is that of `bounds`, and so of `places`. Reading the longest length waits for the device.
    """
    lengths_S = lengths(batch)
    ends_S = torch.cumsum(lengths_S, 0, dtype=torch.int32)
    longest = int(lengths_S.max()) if len(lengths_S) else 0
    return torch.cat([ends_S.new_zeros(1), ends_S]), longest


def places(batch: TokenBatch) -> Tensor:
    """Flat places (row·T + token) of the N real tokens, sequence by sequence in the order of `bounds`, [N]."""
    bounds_S3 = tensor(batch.bounds).long()
    lengths_S = lengths(batch).long()
    first_S = bounds_S3[:, 0] * tensor(batch.ids).shape[1] + bounds_S3[:, 1]
    before_S = torch.cumsum(lengths_S, 0) - lengths_S
    return torch.repeat_interleave(first_S - before_S, lengths_S) + torch.arange(
        int(lengths_S.sum()), device=first_S.device
    )


def gather(vectors_RTD: Tensor, at_M: Tensor) -> Tensor:
    """Vectors at flat places, [M,D]."""
    return vectors_RTD.flatten(0, 1).index_select(0, at_M.long())


def filled(at_M: Tensor) -> Tensor:
    """Flat places, followed by place 0 as often as a size that comes again asks, [P]: at most an eighth more. Who computes
    for P places reads the first M."""
    return F.pad(at_M, (0, rounded(len(at_M), octave=8) - len(at_M)))


def scattered(vectors_MD: Tensor, at_M: Tensor, rows: int, tokens: int) -> Tensor:
    """The inverse of `gather`: vectors at their flat places (each once) among zeros, [R,T,D]."""
    whole_ND = vectors_MD.new_zeros(rows * tokens, vectors_MD.shape[1])
    return whole_ND.index_copy(0, at_M.long(), vectors_MD).view(rows, tokens, -1)


def pool_sequences(vectors_RTD: Tensor, batch: TokenBatch, how: Pool = "mean") -> Tensor:
    """One vector a sequence, [S,D]: mean, sum or maximum over its tokens. Padding never enters, whatever it holds.

    An empty sequence gives zeros. Sums are taken in fp32 at least.
    """
    owner_N = owners(lengths(batch))
    return pool(gather(vectors_RTD, places(batch)), owner_N, len(tensor(batch.bounds)), how)


def pool(vectors_ND: Tensor, owner_N: Tensor, owners: int, how: Pool = "mean") -> Tensor:
    """One vector an owner, [owners,D], from vectors that each belong to the owner numbered in `owner_N` (0…owners−1)."""
    dtype = torch.promote_types(vectors_ND.dtype, torch.float32)
    start_OD = vectors_ND.new_zeros(owners, vectors_ND.shape[1], dtype=dtype)
    if how == "max":
        index_ND = owner_N.long()[:, None].expand_as(vectors_ND)
        return start_OD.scatter_reduce(0, index_ND, vectors_ND.to(dtype), "amax", include_self=False)
    sums_OD = start_OD.index_add(0, owner_N.long(), vectors_ND.to(dtype))
    if how == "sum":
        return sums_OD
    counts_O = torch.bincount(owner_N.long(), minlength=owners).clamp(min=1)
    return sums_OD / counts_O[:, None]


def first_pieces(vectors_RTD: Tensor, batch: TokenBatch) -> Tensor:
    """Vectors of each word's first token, [W,D], in the order of `origin.words` (Devlin et al. 2019, section 5.3)."""
    assert batch.origin is not None and batch.origin.words is not None, "expected a batch whose origin lists words"
    words_W4 = tensor(batch.origin.words)
    return gather(vectors_RTD, words_W4[:, 2] * vectors_RTD.shape[1] + words_W4[:, 3])
