"""Batches cross to torch with the same numbers."""

import numpy as np
import torch

from foretext.data.batches import to_torch
from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.objectives import Masked, MaskedConfig
from miniature import BERT, random_store


def test_to_torch_keeps_every_number() -> None:
    store = random_store(20)
    windows = make_windows(WindowsConfig(kind="pairs", length=32), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    plan = plan.select(np.arange(6))
    before = Masked(MaskedConfig(slots=50), store.tokenizer).prepare(windows.take(store, plan), windows.keys(plan, 0))
    after = to_torch(before)
    view, moved = before.views["text"], after.views["text"]
    for name in ("ids", "sequence", "position", "bounds", "segment", "summary"):
        tensor = getattr(moved, name)
        assert tensor.dtype == torch.int64, name
        np.testing.assert_array_equal(tensor.numpy(), getattr(view, name))
    for name, target in before.targets.items():
        other = after.targets[name]
        assert other.count == target.count
        np.testing.assert_array_equal(other.at.numpy(), target.at)
        np.testing.assert_array_equal(other.gold.numpy(), target.gold)
    weight = after.targets["masked"].weight
    assert weight is not None
    assert weight.dtype == torch.float32
    assert weight.sum() == before.targets["masked"].count
    again = to_torch(after)  # already there: unchanged
    assert again.views["text"].ids.data_ptr() == moved.ids.data_ptr()
