"""Batches by update number: pure, in order, nothing twice and nothing left out within an epoch."""

import numpy as np
import pytest

from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.errors import DataError
from foretext.objectives import MaskedConfig, NextSentenceConfig, make_objectives
from foretext.training.source import Batches
from foretext.types import Batch
from miniature import BERT, MiniStore, random_store


def source(store: MiniStore, kind: str = "packed", rows: int = 6, micro: int | None = None, copies: int = 2) -> Batches:
    config = WindowsConfig(kind=kind, length=32, block=1500, copies=copies)  # type: ignore[arg-type]
    objectives = {
        "masked": MaskedConfig(whole_word=True),
        **({"next_sentence": NextSentenceConfig()} if kind == "pairs" else {}),
    }
    return Batches(
        store, make_windows(config, BERT, 3), make_objectives(objectives, store.tokenizer), rows=rows, micro=micro
    )  # type: ignore[arg-type]


def same(a: Batch, b: Batch) -> bool:
    x, y = a.views["text"], b.views["text"]
    return np.array_equal(x.ids, y.ids) and all(
        np.array_equal(a.targets[n].at, b.targets[n].at) and np.array_equal(a.targets[n].gold, b.targets[n].gold)
        for n in a.targets
    )


@pytest.mark.parametrize("kind", ["packed", "pairs", "single"])
@pytest.mark.parametrize("copies", [0, 2])
def test_any_update_can_be_made_first(kind: str, copies: int) -> None:
    store = random_store(40)
    one = source(store, kind, copies=copies)
    steps = int(one.steps_per_epoch * 3.5)
    in_order = [one.step(s)[0] for s in range(steps)]
    fresh = source(store, kind, copies=copies)
    for step in np.random.default_rng(0).permutation(steps)[:25]:
        assert same(fresh.step(int(step))[0], in_order[step])


def test_an_epoch_reads_every_token_once() -> None:
    store = random_store(40, held_out=[1])
    batches = source(store, rows=1)
    rows = round(batches.steps_per_epoch)
    seen: list[int] = []
    for step in range(rows, 2 * rows):  # the second epoch
        batch = batches.step(step)[0]
        ids = batch.views["text"].ids.ravel().copy()
        target = batch.targets["masked"]
        ids[target.at] = target.gold
        seen += ids[ids > 4].tolist()
    wanted = [int(i) for t, i in enumerate(store.ids) if store.document_of(t) != 1]
    assert sorted(seen) == sorted(wanted)
    assert batches.epoch(rows) == 1.0
    assert batches.epoch(0) == 0.0


@pytest.mark.parametrize("kind", ["packed", "pairs"])
def test_micro_batches_are_the_update_cut_in_near_equal_parts(kind: str) -> None:
    store = random_store(40)
    whole, parts = source(store, kind, rows=11), source(store, kind, rows=11, micro=4)
    for step in (0, 5, 40):
        full, pieces = whole.step(step), parts.step(step)
        assert len(full) == 1
        assert sorted(len(p.views["text"].ids) for p in pieces) == [3, 4, 4]
        assert sum(p.targets["masked"].count for p in pieces) == full[0].targets["masked"].count
        gold = np.concatenate([p.targets["masked"].gold for p in pieces])
        np.testing.assert_array_equal(gold, full[0].targets["masked"].gold)


@pytest.mark.parametrize("kind", ["packed", "pairs"])
def test_the_held_out_set_is_fixed_and_apart(kind: str) -> None:
    store = random_store(60, held_out=[2, 9, 30])
    first = source(store, kind, micro=4).held_out_batches(5)
    other = source(store, kind, micro=4, copies=0)
    other.step(30)
    again = other.held_out_batches(5)
    assert 1 <= len(first) <= 5
    assert all(same(a, b) for a, b in zip(first, again, strict=True))
    allowed = {int(i) for t, i in enumerate(store.ids) if store.document_of(t) in (2, 9, 30)}
    for batch in first:
        assert set(batch.targets["masked"].gold.tolist()) <= allowed
    assert source(random_store(20), kind).held_out_batches(5) == []


def test_targets_without_an_objective_are_dropped() -> None:
    store = random_store(20)
    windows = make_windows(WindowsConfig(kind="pairs"), BERT)
    batches = Batches(store, windows, make_objectives({"masked": MaskedConfig()}, store.tokenizer), rows=2)  # type: ignore[arg-type]
    assert set(batches.step(0)[0].targets) == {"masked"}


def test_no_text_is_refused() -> None:
    with pytest.raises(DataError, match="no text"):
        source(MiniStore([[[]]]))
