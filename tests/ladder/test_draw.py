"""Label sets: nested, balanced, a function of (pool, seed) alone."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import DataError
from foretext.ladder.draw import check_task, label_set
from foretext.tasks.base import Labelled, read_labelled

pools = st.lists(st.sampled_from("abcde"), min_size=5, max_size=80).filter(lambda labels: min(Counter(labels).values()) >= 2)


def pool_of(labels: list[str]) -> Labelled:
    return read_labelled([(f"text {n}", label) for n, label in enumerate(labels)])


@settings(deadline=None, max_examples=60)
@given(labels=pools, seed=st.integers(0, 1000), data=st.data())
def test_smaller_sets_lie_inside_larger_ones(labels: list[str], seed: int, data: st.DataObject) -> None:
    pool = pool_of(labels)
    most = min(Counter(labels).values())
    large = data.draw(st.integers(1, most))
    small = data.draw(st.integers(1, large))
    few, many = label_set(pool, small, seed), label_set(pool, large, seed)
    assert set(few.texts) <= set(many.texts)
    assert len(set(many.texts)) == len(many)
    assert Counter(many.labels) == {(label,): large for label in set(labels)}
    truth = dict(zip(pool.texts, pool.labels, strict=True))
    assert all(truth[text] == said for text, said in zip(many.texts, many.labels, strict=True))
    assert label_set(pool, large, seed) == many


def test_a_class_draws_the_same_texts_whatever_other_classes_there_are() -> None:
    pool = pool_of(list("ab" * 30))
    alone = pool.take([row for row in range(len(pool)) if pool.labels[row] == ("a",)])
    both = set(label_set(pool, 4, 1).texts)
    assert set(label_set(alone, 4, 1).texts) == {text for text in both if int(text.split()[1]) % 2 == 0}


def test_seeds_draw_differently_and_orders_mix_classes() -> None:
    pool = pool_of(list("ab" * 50))
    draws = {frozenset(label_set(pool, 5, seed).texts) for seed in range(6)}
    assert len(draws) == 6
    orders = {tuple(label_set(pool, 5, seed).labels) for seed in range(6)}
    assert len(orders) > 1
    assert (("a",),) * 5 + (("b",),) * 5 not in orders


def test_tasks_that_cannot_be_scored_are_refused() -> None:
    pool = pool_of(list("aabb"))
    test = read_labelled([("new", "a")])
    check_task(pool, test, 2)
    with pytest.raises(DataError, match="'a' has only 2"):
        check_task(pool, test, 3)
    with pytest.raises(DataError, match="no training text has: z"):
        check_task(pool, read_labelled([("new", "z")]), 2)
    with pytest.raises(DataError, match="1 test texts are training texts too"):
        check_task(pool, read_labelled([("new", "a"), ("text 0", "a")]), 2)
    with pytest.raises(DataError, match="two or more labels"):
        check_task(pool_of(["a", "a"]), test, 2)
    with pytest.raises(DataError, match="one label a text"):
        check_task(pool, read_labelled([("new", ["a", "b"])]), 2)
