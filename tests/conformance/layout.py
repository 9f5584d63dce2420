"""The same sequences in other rows: what padding, packing and order may change, and what they may not.

A batch is taken apart into sequences with their targets (`explode`), laid out anew (`lay`), and its answers are read
back a sequence and an example at a time (`answers`), so that layouts can be compared.
"""

from collections.abc import Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from foretext.data.batches import to_torch
from foretext.training.model import Model
from foretext.types import Batch, Origin, Target, TokenBatch

SOURCE = "text"
COUNTS = {"masked": "tokens", "next_sentence": "sequences", "classify": "examples"}
"""What a head's `Target.at` numbers (types.Target: "as the head defines"). A new head adds its line."""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """One sequence as an encoder reads it [T], whatever row it stands in. `marked`: of heads that answer for tokens,
    (places, gold); `gold`: of heads that answer for the sequence, or for its example."""

    ids: np.ndarray[Any, Any]
    segment: np.ndarray[Any, Any] | None = None
    summary: int | None = None
    marked: Mapping[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]] = field(default_factory=dict)
    gold: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)


Row = Many[tuple[int, int]]
"""A row of a layout: (padding before, number of the sequence), one after the other."""


def explode(batch: Batch) -> list[list[Sequence]]:
    """The sequences of a batch (numpy), a list an example; its slots of weight 0 are left out."""
    view = batch.views[SOURCE]
    width = view.ids.shape[1]
    flat = view.sequence.ravel()
    examples: dict[int, list[Sequence]] = {}
    for number, (row, start, stop) in enumerate(np.asarray(view.bounds).tolist()):
        marked, gold = {}, {}
        example = number if view.origin is None else int(view.origin.example[number])
        for name, target in batch.targets.items():
            real = np.ones(len(target.at), bool) if target.weight is None else target.weight > 0
            if COUNTS[name] == "tokens":
                mine = real & (flat[target.at] == number)
                marked[name] = (target.at[mine] - row * width - start, target.gold[mine])
            else:
                gold[name] = target.gold[np.flatnonzero(target.at == (number if COUNTS[name] == "sequences" else example))[0]]
        examples.setdefault(example, []).append(
            Sequence(
                ids=view.ids[row, start:stop],
                segment=None if view.segment is None else view.segment[row, start:stop],
                summary=None if view.summary is None else int(view.summary[number]) - row * width - start,
                marked=marked,
                gold=gold,
            )
        )
    return [examples[number] for number in sorted(examples)]


def one_a_row(examples: Many[Many[Sequence]], gap: int = 0) -> list[Row]:
    """A row a sequence, each after `gap` pads."""
    return [[(gap, number)] for number in range(sum(map(len, examples)))]


def lay(
    examples: Many[Many[Sequence]], rows: Many[Row], width: int, *, junk: np.random.Generator | None = None, most: int = 2
) -> Batch:
    """These examples in these rows of `width` tokens. `junk`: pads hold random ids below `most`, positions and segments
    instead of zeros."""
    flat = [sequence for example in examples for sequence in example]
    example_of = [i for i, example in enumerate(examples) for _ in example]
    shape = (len(rows), width)
    ids, position = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    segment, sequence = np.zeros(shape, np.int64), np.full(shape, -1, np.int64)
    if junk is not None:
        ids, position, segment = junk.integers(0, most, shape), junk.integers(0, 30, shape), junk.integers(0, 2, shape)
    bounds = np.zeros((len(flat), 3), np.int64)
    for row, members in enumerate(rows):
        at = 0
        for gap, number in members:
            at += gap
            one, stop = flat[number], at + len(flat[number])
            ids[row, at:stop], sequence[row, at:stop], position[row, at:stop] = one.ids, number, np.arange(len(one))
            segment[row, at:stop] = 0 if one.segment is None else one.segment
            bounds[number] = row, at, stop
            at = stop
    first = bounds[:, 0] * width + bounds[:, 1]
    view = TokenBatch(
        ids=ids,
        sequence=sequence,
        position=position,
        bounds=bounds,
        segment=None if flat[0].segment is None else segment,
        summary=None if flat[0].summary is None else first + np.array([one.summary for one in flat]),
        origin=Origin(example=np.array(example_of)),
    )
    return Batch(views={SOURCE: view}, targets=_targets(examples, flat, first))


def _targets(examples: Many[Many[Sequence]], flat: Many[Sequence], first: np.ndarray[Any, Any]) -> dict[str, Target]:
    targets = {}
    for name in flat[0].marked:
        at = np.concatenate([start + one.marked[name][0] for start, one in zip(first, flat, strict=True)])
        targets[name] = Target(at=at, gold=np.concatenate([one.marked[name][1] for one in flat]), count=len(at))
    for name in flat[0].gold:
        said = flat if COUNTS[name] == "sequences" else [example[0] for example in examples]
        targets[name] = Target(at=np.arange(len(said)), gold=np.array([one.gold[name] for one in said]), count=len(said))
    return targets


@torch.no_grad()
def answers(model: Model, batch: Batch) -> list[dict[str, torch.Tensor]]:
    """What the model says, an entry an example: every layer's vectors of its tokens, its summaries, and each head's
    log-probabilities for it; and, in one more entry, each head's summed loss."""
    moved = to_torch(batch)
    view = batch.views[SOURCE]
    vectors = model(moved)
    found: list[dict[str, torch.Tensor]] = [{} for _ in range(int(view.origin.example.max()) + 1)]
    for number, (row, start, stop) in enumerate(np.asarray(view.bounds).tolist()):
        into = found[int(view.origin.example[number])]
        for level, layer in enumerate(vectors[SOURCE].layers):
            into[f"layer {level} of sequence {number - _first(view, number)}"] = layer[row, start:stop]
        if vectors[SOURCE].summary is not None:
            into[f"summary of sequence {number - _first(view, number)}"] = vectors[SOURCE].summary[number]
    for name, target in moved.targets.items():
        said = model.head(name).predict(vectors, target)
        owner = _owners(name, target, view)
        for example, into in enumerate(found):
            into[f"{name} answers"] = said[torch.from_numpy(np.flatnonzero(owner == example))]
    losses = model.losses(moved, vectors)
    return [*found, {f"{name} loss": value for name, value in losses.items()}]


def _first(view: TokenBatch, number: int) -> int:
    """The first sequence of the example that sequence `number` belongs to."""
    return int(np.flatnonzero(view.origin.example == view.origin.example[number])[0])


def _owners(name: str, target: Target, view: TokenBatch) -> np.ndarray[Any, Any]:
    """The example of each answer of a head."""
    at = np.asarray(target.at)
    if COUNTS[name] == "examples":
        return at
    sequence = at if COUNTS[name] == "sequences" else view.sequence.ravel()[at]
    return np.asarray(view.origin.example)[sequence]


def distance(ours: Many[Mapping[str, torch.Tensor]], theirs: Many[Mapping[str, torch.Tensor]]) -> tuple[float, str]:
    """The largest difference, relative to the size of the values where that is over 1, and where it is."""
    worst, where = 0.0, "nowhere"
    assert len(ours) == len(theirs)
    for number, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        assert a.keys() == b.keys(), f"example {number}: {sorted(a)} and {sorted(b)}"
        for name in a:
            assert a[name].shape == b[name].shape, f"example {number}, {name}"
            if a[name].numel():
                scale = max(1.0, float(b[name].abs().max()))
                gap = float((a[name] - b[name]).abs().max()) / scale
                if not gap <= worst:
                    worst, where = gap, f"example {number}, {name}"
    return worst, where


def close(ours: Any, theirs: Any, tolerance: float, what: str) -> None:
    """Fail where two sets of answers differ by more than `tolerance` (NaN differs from everything)."""
    worst, where = distance(ours, theirs)
    assert worst <= tolerance, f"{what}: {where} differs by {worst:.3g}, allowed {tolerance:g}"
