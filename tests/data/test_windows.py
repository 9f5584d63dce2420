"""Plans are pure, visit every token once, never let text of two documents meet, and become the rectangles they say."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.data.config import WindowsConfig
from foretext.data.plan import Plan
from foretext.data.windows import Windows, make_windows
from foretext.errors import DataError, UsageError
from foretext.types import Template
from miniature import BERT, SPECIAL, MiniStore, random_store

LAST = Template(between="[MASK]", end="[SEP]", summary="end")
KINDS = ("pairs", "packed", "single")


def plans(windows: Windows, store: MiniStore, epoch: int, held_out: bool = False) -> list[Plan]:
    return [windows.plan(store, held_out, epoch, b) for b in range(windows.blocks(store, held_out))]  # type: ignore[misc]


def tokens_of(plan: Plan) -> list[int]:
    return [t for a, n, b, m in plan.runs.tolist() for t in (*range(a, a + n), *range(b, b + m))]


@pytest.mark.parametrize("kind", ["packed", "single"])
@pytest.mark.parametrize("block", [300, 5_000, 10**9])
def test_every_training_token_once_an_epoch(kind: str, block: int) -> None:
    store = random_store(held_out=[3, 7])
    windows = make_windows(WindowsConfig(kind=kind, length=32, block=block), BERT)  # type: ignore[arg-type]
    wanted = [t for t in range(len(store.ids)) if store.document_of(t) not in (3, 7)]
    for epoch in (0, 1, 13):
        assert sorted(t for p in plans(windows, store, epoch) for t in tokens_of(p)) == wanted
    held_out = sorted(t for p in plans(windows, store, 0, True) for t in tokens_of(p))
    assert held_out == [t for t in range(len(store.ids)) if store.document_of(t) in (3, 7)]


@pytest.mark.parametrize("kind", KINDS)
def test_plans_are_pure_and_epochs_differ(kind: str) -> None:
    store, config = random_store(), WindowsConfig(kind=kind, length=32, block=2_000)  # type: ignore[arg-type]
    one, two = (plans(make_windows(config, BERT, 5), store, 3) for _ in range(2))
    for a, b in zip(one, two, strict=True):
        assert np.array_equal(a.runs, b.runs)
        assert np.array_equal(a.rows, b.rows)
    other = plans(make_windows(config, BERT, 5), store, 4)
    assert not np.array_equal(other[0].runs[:50], one[0].runs[:50])
    assert not np.array_equal(plans(make_windows(config, BERT, 6), store, 3)[0].runs[:50], one[0].runs[:50])


@pytest.mark.parametrize("kind", KINDS)
def test_static_copies_repeat_instances_and_keys_in_another_order(kind: str) -> None:
    store = random_store()
    windows = make_windows(WindowsConfig(kind=kind, length=32, copies=3, block=2_000), BERT)  # type: ignore[arg-type]

    def instances(epoch: int) -> Counter[tuple[int, ...]]:
        return Counter(
            (int(key), *run)
            for p in plans(windows, store, epoch)
            for key, run in zip(windows.keys(p, epoch), p.runs.tolist(), strict=True)
        )

    assert instances(1) == instances(4)
    assert not (instances(1) & instances(2))
    first, again = plans(windows, store, 1), plans(windows, store, 4)
    assert not np.array_equal(first[0].runs[:50], again[0].runs[:50])


def test_packed_rows_are_full() -> None:
    store = random_store(600, seed=3)
    plan = make_windows(WindowsConfig(kind="packed", length=128), BERT).plan(store, False, 0, 0)
    assert plan is not None
    filled = (plan.tokens + 2 * len(plan.runs)) / (len(plan) * 128)
    assert filled >= 0.98


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", [BERT, Template(), Template(start="[CLS]", summary="start", segments=True), LAST])
def test_take_lays_out_what_the_plan_says(kind: str, template: Template) -> None:
    if kind == "pairs" and not (template.segments or template.between):
        with pytest.raises(DataError, match="packed"):
            make_windows(WindowsConfig(kind="pairs"), template)
        return
    store = random_store()
    windows = make_windows(WindowsConfig(kind=kind, length=24), template)  # type: ignore[arg-type]
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    plan = plan.select(np.arange(40))
    batch = windows.take(store, plan, words=True)
    view = batch.views["text"]
    ids, words = np.full(view.ids.shape, SPECIAL["[PAD]"]), []
    sequence, position = np.full(view.ids.shape, -1), np.zeros(view.ids.shape, int)
    segment = np.zeros(view.ids.shape, int)
    bounds = []
    for row in range(len(plan)):
        at = 0
        for s in range(plan.rows[row], plan.rows[row + 1]):
            a, n, b, m = plan.runs[s].tolist()
            start = [SPECIAL["[CLS]"]] if template.start else []
            middle = [SPECIAL[template.between]] if template.between and kind == "pairs" else []
            end = [SPECIAL["[SEP]"]] if template.end else []
            tokens = [*start, *store.ids[a : a + n], *middle, *store.ids[b : b + m], *end]
            stop = at + len(tokens)
            ids[row, at:stop], sequence[row, at:stop], position[row, at:stop] = tokens, s, range(len(tokens))
            b_at = at + len(start) + n + len(middle)
            if m:
                segment[row, b_at:stop] = 1
            count = 0
            for source, place, size in ((a, at + len(start), n), (b, b_at, m)):
                for i in range(size):
                    if i == 0 or store.word_starts[source + i]:
                        words.append((s, count, row, place + i))
                        count += 1
            bounds.append((row, at, stop))
            at = stop
    np.testing.assert_array_equal(view.ids, ids)
    np.testing.assert_array_equal(view.sequence, sequence)
    np.testing.assert_array_equal(view.position, position)
    np.testing.assert_array_equal(view.bounds, bounds)
    assert view.origin is not None
    np.testing.assert_array_equal(view.origin.words, words)
    if template.segments:
        np.testing.assert_array_equal(view.segment, segment)
    else:
        assert view.segment is None
    if template.summary == "start":
        np.testing.assert_array_equal(view.summary, [r * view.ids.shape[1] + a for r, a, _ in bounds])
    if template.summary == "end":
        np.testing.assert_array_equal(view.summary, [r * view.ids.shape[1] + b - 1 for r, _, b in bounds])
    if kind == "pairs":
        np.testing.assert_array_equal(batch.targets["next_sentence"].gold, plan.random)


def test_padded_rows_are_trimmed_to_the_longest() -> None:
    store = MiniStore([[[7] * 9], [[8] * 12]])
    windows = make_windows(WindowsConfig(kind="single", length=128), BERT)
    plan = windows.plan(store, False, 0, 0)
    assert plan is not None
    assert windows.take(store, plan).views["text"].ids.shape == (2, 16)
    assert windows.take(store, plan, trim=False).views["text"].ids.shape == (2, 128)


@settings(deadline=None, max_examples=40)
@given(
    sizes=st.lists(st.lists(st.integers(0, 40), min_size=1, max_size=8), min_size=1, max_size=12),
    block=st.integers(1, 200),
    length=st.integers(8, 40),
    kind=st.sampled_from(["packed", "single"]),
)
def test_any_corpus_any_block(sizes: list[list[int]], block: int, length: int, kind: str) -> None:
    """Empty sentences and documents, giants, tiny blocks: no block is empty, nothing is lost, nothing crosses."""
    store = MiniStore([[[9] * n for n in document] for document in sizes])
    windows = make_windows(WindowsConfig(kind=kind, length=length, block=block), BERT)  # type: ignore[arg-type]
    made = plans(windows, store, 0)
    assert windows.plan(store, False, 0, len(made)) is None
    assert all(len(p) for p in made)
    assert sorted(t for p in made for t in tokens_of(p)) == list(range(len(store.ids)))
    for plan in made:
        sums = np.add.reduceat(plan.runs[:, 1] + 2, plan.rows[:-1])
        assert sums.max() <= length
        for first, size, *_ in plan.runs.tolist():
            assert size > 0
            assert store.document_of(first) == store.document_of(first + size - 1)


def test_settings_are_checked() -> None:
    for wrong in ({"length": 2}, {"short": 2.0}, {"copies": -1}, {"block": 0}):
        with pytest.raises(UsageError, match="expected"):
            WindowsConfig(**wrong)  # type: ignore[arg-type]
