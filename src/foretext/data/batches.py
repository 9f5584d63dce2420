"""Rectangles from sequences, and batches from numpy to torch."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foretext.data.packing import best_fit
from foretext.data.plan import scatter, spread
from foretext.data.render import Rendered, joined
from foretext.types import Batch, Bits, Ints, Origin, Target, TokenBatch

if TYPE_CHECKING:
    import torch


def to_torch(batch: Batch, device: "torch.device | str" = "cpu") -> Batch:
    """The same batch as torch tensors on `device` (integers as int64, no copy on the CPU)."""
    return Batch(
        views={name: view_to_torch(view, device) for name, view in batch.views.items()},
        targets={name: _target(target, device) for name, target in batch.targets.items()},
    )


def view_to_torch(view: TokenBatch, device: "torch.device | str" = "cpu") -> TokenBatch:
    """One view as torch tensors; its origin stays numpy on the CPU, where words are stitched, and
    so do spellings."""
    names = [f.name for f in fields(TokenBatch) if f.name not in ("forms", "origin")]
    return replace(view, **{name: _tensor(getattr(view, name), device) for name in names})


def _target(target: Target, device: "torch.device | str") -> Target:
    names = ("at", "gold", "weight")
    return replace(target, **{name: _tensor(getattr(target, name), device) for name in names})


def _tensor(array: Any, device: "torch.device | str") -> Any:
    import torch

    if array is None or isinstance(array, torch.Tensor):
        return None if array is None else array.to(device)
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    return tensor.to(device, non_blocking=True)


def pack(
    sequences: Sequence[Rendered], length: int | None = None, *, packed: bool = True, pad_id: int = 0
) -> TokenBatch:
    """Sequences [S] as one rectangle [R,T], numpy, numbered in the order given.

    `packed`: best fit, several a row; otherwise one a row. `length`: T; None = the longest sequence. `origin` says
    which example, option, side and window each sequence is; `origin.words` [W,4] lists each owned word once.
    """
    lengths = np.array([len(s) for s in sequences], np.int64)
    width = max(int(lengths.max(initial=1)), 1) if length is None else length
    assert lengths.max(initial=0) <= width, f"a sequence of {lengths.max()} tokens does not fit rows of {width}"
    row = best_fit(lengths, width) if packed else np.arange(len(lengths))
    start = np.zeros(len(lengths), np.int64)
    used = np.zeros(int(row.max(initial=-1)) + 1, np.int64)
    for s, (r, n) in enumerate(zip(row.tolist(), lengths.tolist(), strict=True)):
        start[s] = used[r]
        used[r] += n
    place = row * width + start
    flat = spread(place, lengths)
    owner = np.repeat(np.arange(len(lengths)), lengths)
    shape = (max(len(used), 1), width)
    summary = [p + s.summary for p, s in zip(place.tolist(), sequences, strict=True) if s.summary is not None]
    return TokenBatch(
        ids=scatter(shape, flat, _joined([s.ids for s in sequences]), pad_id),
        sequence=scatter(shape, flat, owner, -1),
        position=scatter(shape, flat, flat - place[owner], 0),
        bounds=np.stack([row, start, start + lengths], 1),
        segment=scatter(shape, flat, _joined([s.segment for s in sequences]), 0),
        summary=np.array(summary, np.int64) if sequences and len(summary) == len(sequences) else None,
        forms=joined(s.forms for s in sequences) or None,
        origin=_origin(sequences, flat, owner, width),
    )


def pack_by_length(lengths: Ints, tokens: int) -> list[Ints]:
    """Sequences in groups for inference: sorted by length, each group's padded rectangle at most `tokens` places (or
    one sequence). Returns the sequences' numbers, longest group first; every number once."""
    order: Ints = np.argsort(-lengths, kind="stable")
    groups: list[Ints] = []
    first = 0
    while first < len(order):
        count = max(1, tokens // max(int(lengths[order[first]]), 1))
        groups.append(order[first : first + count])
        first += count
    return groups


def _origin(sequences: Sequence[Rendered], flat: Ints, owner: Ints, width: int) -> Origin:
    table = np.array([(s.example, s.option, s.side, s.window) for s in sequences], np.int64).reshape(-1, 4)
    word, owned = _joined([s.word for s in sequences]), _joined([s.owned for s in sequences]).astype(np.bool_)
    first = owned.copy()
    first[1:] &= (word[1:] != word[:-1]) | (owner[1:] != owner[:-1]) | ~owned[:-1]
    where = np.flatnonzero(first)
    words = np.stack([table[owner[where], 0], word[where], flat[where] // width, flat[where] % width], 1)
    return Origin(example=table[:, 0], option=table[:, 1], side=table[:, 2], window=table[:, 3], words=words)


def _joined(parts: Sequence[Ints | Bits]) -> Ints:
    return np.concatenate([np.zeros(0, np.int64), *parts])
