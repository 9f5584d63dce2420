"""The classification task: what it settles on training texts, and what it refuses of others."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import DataError
from foretext.tasks.base import read_labelled
from foretext.tasks.classify import ClassifyConfig, settle, split


def task_of(pairs: list[tuple[str, str | list[str]]], **config: object):  # type: ignore[no-untyped-def]
    labelled = read_labelled(pairs)
    return settle(ClassifyConfig(**config), labelled), labelled  # type: ignore[arg-type]


def test_labels_are_stored_by_name_whatever_the_order() -> None:
    forward, _ = task_of([("a", "x"), ("b", "y"), ("c", "10"), ("d", "9")])
    backward, _ = task_of([("d", "9"), ("c", "10"), ("b", "y"), ("a", "x")])
    assert forward.labels == backward.labels == ("9", "10", "x", "y")


@pytest.mark.parametrize(
    ("cells", "multi", "labels"),
    [
        (["a", "b", "a|b"], True, ("a", "b")),
        (["a;b", "b;c", "c; a"], True, ("a", "b", "c")),
        (["体育、财经", "体育", "财经"], True, ("体育", "财经")),
        (["R&B; Soul", "Rock", "Jazz"], False, ("Jazz", "R&B; Soul", "Rock")),
        (['["a","b"]', '["a"]', "[]"], True, ("a", "b")),
        (["a", "b"], False, ("a", "b")),
        (["news|local", "news|world", "sport|ball"], False, ("news|local", "news|world", "sport|ball")),
    ],
)
def test_several_labels_are_told_from_the_cells(cells: list[str], multi: bool, labels: tuple[str, ...]) -> None:
    task, _ = task_of([(f"text {i}", cell) for i, cell in enumerate(cells)])
    assert (task.multi, task.labels) == (multi, labels)


def test_several_labels_can_be_forced_and_forbidden() -> None:
    cells = [("t", "a|b"), ("u", "a"), ("v", "b")]
    assert not task_of(cells, multi=False)[0].multi
    assert task_of([("t", "a+b"), ("u", "a")], separator="+")[0].labels == ("a", "b")
    assert task_of([("t", "a"), ("u", "b")], multi=True)[0].multi


def test_gold_of_one_and_of_several_labels() -> None:
    task, labelled = task_of([("t", "a|b"), ("u", "a"), ("v", "b|b")])
    assert task.gold(labelled).tolist() == [[1, 1], [1, 0], [0, 1]]
    single, labelled = task_of([("t", "b"), ("u", "a"), ("v", "b")])
    assert single.gold(labelled).tolist() == [1, 0, 1]


def test_unknown_labels_are_all_listed_with_the_first_line(tmp_path: Path) -> None:
    task, _ = task_of([("t", "a"), ("u", "b")])
    file = tmp_path / "dev.csv"
    file.write_text("text,label\nx,a\ny,d\nz,c\n")
    with pytest.raises(DataError, match=r"2 labels .* 'c', 'd'") as caught:
        task.gold(task.read(file))
    assert caught.value.place == "line 3"
    assert "'a', 'b'" in caught.value.remedy


def test_a_file_is_read_by_the_training_columns(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("words,stars,label\nx,1,p\ny,2,n\n")
    labelled = read_labelled(tmp_path / "train.csv", text="words", label="stars")
    task = settle(ClassifyConfig(), labelled)
    again = task.read(tmp_path / "train.csv")
    assert again.labels == (("1",), ("2",))


def test_one_label_only_is_refused() -> None:
    with pytest.raises(DataError, match="at least two different labels"):
        task_of([("t", "a"), ("u", "a")])


def test_class_weights_make_labels_count_alike() -> None:
    task, labelled = task_of([("t", "a"), ("u", "b"), ("v", "b"), ("w", "b")], class_weights=True)
    gold = task.gold(labelled)
    weights = np.array(task.label_weights(gold))
    assert np.allclose(np.bincount(gold, weights=weights[gold]), 2.0)
    several, labelled = task_of([("t", "a|b"), ("u", "b"), ("v", "b"), ("w", "a|b")], class_weights=True)
    assert several.label_weights(several.gold(labelled)) == (1.0, 0.0)
    assert task_of([("t", "a"), ("u", "b")])[0].label_weights(np.array([0, 1])) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.sampled_from("abcd"), min_size=4, max_size=80), st.integers(0, 5), st.sampled_from([0.1, 0.3]))
def test_split_is_a_stratified_seeded_partition(labels: list[str], seed: int, share: float) -> None:
    if len(set(labels)) < 2:
        return
    task, labelled = task_of([(f"text {i}", label) for i, label in enumerate(labels)])
    train, dev = split(task, labelled, share, seed)
    assert sorted([*train, *dev]) == list(range(len(labels)))
    for label in set(labels):
        whole = labels.count(label)
        inside = sum(labels[i] == label for i in dev)
        assert inside == (0 if whole == 1 else min(max(1, round(share * whole)), whole - 1))
    again = split(task, labelled, share, seed)
    assert (again[0] == train).all() and (again[1] == dev).all()


def test_split_depends_on_the_seed_and_keeps_equal_texts_together() -> None:
    task, labelled = task_of([(f"text {i // 2 if i < 20 else i}", "ab"[i % 2]) for i in range(60)])
    first, second = split(task, labelled, 0.3, 0)[1], split(task, labelled, 0.3, 1)[1]
    assert set(first) != set(second)
    assert min(first) >= 20


def test_decode_gives_names_and_probabilities() -> None:
    task, _ = task_of([("t", "a"), ("u", "b")])
    (one,) = task.decode(np.log([[0.2, 0.8]]))
    assert one.label == "b"
    assert one.probability == pytest.approx(0.8)
    assert one.probabilities == pytest.approx({"a": 0.2, "b": 0.8})
    several, _ = task_of([("t", "a|b"), ("u", "a"), ("v", "b")])
    none, both = several.decode(np.log([[0.2, 0.4], [0.9, 0.6]]))
    assert (none.labels, none.probability) == ((), pytest.approx(0.6))
    assert (both.labels, both.probability) == (("a", "b"), pytest.approx(0.6))
