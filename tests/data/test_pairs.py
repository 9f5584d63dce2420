"""Sentence pairs: never from A's document, whole sentences, next means next, and truncation as the loop would do it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.data.config import WindowsConfig
from foretext.data.pairs import _truncate
from foretext.data.plan import Plan
from foretext.data.windows import make_windows
from foretext.errors import DataError
from miniature import BERT, MiniStore, random_store


def pairs(store: MiniStore, length: int = 64, held_out: bool = False, **settings: float) -> Plan:
    windows = make_windows(WindowsConfig(kind="pairs", length=length, **settings), BERT)  # type: ignore[arg-type]
    plan = windows.plan(store, held_out, 0, 0)
    assert plan is not None
    return plan


def test_b_follows_a_or_comes_from_another_document() -> None:
    store = random_store(200)
    plan = pairs(store, short=0.0)
    whole = 0
    for (a, n, b, m), random in zip(plan.runs.tolist(), plan.random, strict=True):
        assert n > 0
        assert m > 0
        assert n + m <= 61
        same = store.document_of(a) == store.document_of(b)
        assert same != random
        assert store.document_of(a) == store.document_of(a + n - 1)
        assert store.document_of(b) == store.document_of(b + m - 1)
        if not random:
            assert b >= a + n  # a gap only where truncation cut
            assert b == a + n or n + m == 61
        whole += {a, a + n, b, b + m} <= set(store.sentences.tolist())
    assert whole / len(plan) > 0.05
    assert 0.48 < plan.random.mean() < 0.65


def test_half_are_random_when_documents_are_long() -> None:
    rng = np.random.default_rng(1)
    store = MiniStore([[rng.integers(5, 99, 6).tolist() for _ in range(3000)] for _ in range(6)])
    plan = pairs(store)
    error = 4 * (0.25 / len(plan)) ** 0.5
    assert abs(plan.random.mean() - 0.5) < 0.02 + error
    sizes = plan.runs[:, 1] + plan.runs[:, 3]
    assert 0.05 < (sizes < 50).mean() < 0.12  # short = 0.1, uniform over 2 … 61


def test_unused_sentences_go_back() -> None:
    """Without truncation every sentence of a document stands in some A or following B, each once."""
    store = MiniStore([[[d] * 5 for _ in range(40)] for d in range(5, 25)])
    plan = pairs(store, length=53, short=0.0)  # 50 tokens of room: chunks of exactly ten sentences
    assert (plan.runs[:, 1] % 5 == 0).all()
    covered = np.zeros(len(store.ids), int)
    for (a, n, b, m), random in zip(plan.runs.tolist(), plan.random, strict=True):
        covered[a : a + n] += 1
        if not random:
            covered[b : b + m] += 1
    assert (covered == 1).all()


def test_one_document_is_refused_with_a_cure() -> None:
    with pytest.raises(DataError, match=r"at least two documents with text to train on, found 1.*packed"):
        pairs(MiniStore([[[5, 6], [7]], [[], []]]))


def test_one_held_out_document_borrows_its_random_bs() -> None:
    store = random_store(30, held_out=[4])
    plan = pairs(store, held_out=True)
    for (a, _, b, _), random in zip(plan.runs.tolist(), plan.random, strict=True):
        assert store.document_of(a) == 4
        assert (store.document_of(b) == 4) != random


def test_empty_sentences_never_make_an_empty_segment() -> None:
    store = MiniStore([[[], [5] * 3, [], [6] * 2, []], [[], [7] * 4, []], [[8], [], []]])
    for epoch in range(20):
        plan = make_windows(WindowsConfig(kind="pairs", length=16, copies=0), BERT).plan(store, False, epoch, 0)
        assert plan is not None
        assert (plan.runs[:, [1, 3]] > 0).all()


def loop(a: int, b: int, room: int) -> tuple[int, int]:
    """The published loop, on lengths."""
    while a + b > room:
        if a > b:
            a -= 1
        else:
            b -= 1
    return a, b


@settings(deadline=None, max_examples=200)
@given(a=st.integers(1, 80), b=st.integers(1, 80), room=st.integers(5, 100))
def test_truncation_leaves_the_lengths_of_the_loop(a: int, b: int, room: int) -> None:
    zero = np.zeros(1, np.int64)
    rng = np.random.default_rng(0)
    (a0, a1), (b0, b1) = _truncate(zero, zero + a, zero + 100, zero + 100 + b, room, rng)
    assert (int((a1 - a0)[0]), int((b1 - b0)[0])) == loop(a, b, room)
    assert a0[0] >= 0
    assert a1[0] <= a
    assert b0[0] >= 100
    assert b1[0] <= 100 + b


def test_truncation_takes_from_both_ends_alike() -> None:
    n = 4000
    zero = np.zeros(n, np.int64)
    (a0, a1), _ = _truncate(zero, zero + 60, zero, zero + 10, 50, np.random.default_rng(0))
    assert (a1 - a0 == 40).all()
    assert abs(a0.mean() - 10) < 4 * (20 * 0.25 / n) ** 0.5
    assert a0.var() == pytest.approx(5, rel=0.15)
