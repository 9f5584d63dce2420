"""Cells: keys that mean the work, records that are whole or not believed."""

import json
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import ArtefactError
from foretext.ladder.cells import Cell, CellFolder, Plan, done, to_hex

PLAN = Plan(kind="score", rung="word2vec", how="features", labels=5, seed=1, config={"a": 1}, data={"pool": "x"}, needs="k")


def test_every_field_of_a_plan_decides_the_key() -> None:
    other = {
        "kind": "pretraining", "rung": "bert", "how": "finetune", "labels": 6, "seed": 2, "config": {"a": 2},
        "data": {"pool": "y"}, "needs": "l",
    }  # fmt: skip
    assert set(other) == {f.name for f in fields(Plan)}
    keys = {replace(PLAN, **{name: value}).key for name, value in other.items()}  # type: ignore[arg-type]
    assert len(keys | {PLAN.key}) == len(other) + 1


def test_key_is_stable_across_processes_and_orders() -> None:
    """Pinned: a key that changes by itself would throw every user's cells away."""
    assert PLAN.key == replace(PLAN, config={"a": 1}).key
    assert replace(PLAN, config={"b": 1, "a": 2}).key == replace(PLAN, config={"a": 2, "b": 1}).key
    assert PLAN.key == "db295565a81f42efa3ebcea9c368380d"


@settings(deadline=None, max_examples=50)
@given(bits=st.lists(st.booleans(), min_size=1, max_size=70))
def test_bits_survive(bits: list[bool]) -> None:
    cell = done(PLAN, correct=to_hex(np.array(bits)), tests=len(bits))
    assert cell.bits().tolist() == bits


def test_cells_come_back_as_written(tmp_path: Path) -> None:
    folder = CellFolder(path=tmp_path)
    cell = done(PLAN, scores={"accuracy": 0.25}, seconds={"transfer": 1.5}, machine={"flags": ["avx2"]}, correct="a0", tests=4)
    folder.write(cell)
    assert folder.read(PLAN.key) == cell
    assert folder.find(PLAN.key) == cell
    assert (cell.config_hash, cell.data_hash) != ("", "")
    assert cell.bits().tolist() == [True, False, True, False]


@pytest.mark.parametrize("damage", ["cut", "flipped score", "not json", "empty", "other key", "unknown field"])
def test_damaged_cells_are_not_believed(tmp_path: Path, damage: str) -> None:
    folder = CellFolder(path=tmp_path)
    folder.write(done(PLAN, scores={"accuracy": 0.25}))
    file = folder.file(PLAN.key)
    text = file.read_text()
    value = json.loads(text)
    if damage == "flipped score":
        assert "0.25" in text
        text = text.replace("0.25", "0.95")
    elif damage == "unknown field":
        value["cell"]["surplus"] = 1
        text = json.dumps(value)
    elif damage == "other key":
        folder.write(done(replace(PLAN, seed=9)))
        text = folder.file(replace(PLAN, seed=9).key).read_text()
    else:
        text = {"cut": text[: len(text) // 2], "not json": "hello", "empty": ""}[damage]
    file.write_text(text)
    with pytest.raises(ArtefactError):
        folder.read(PLAN.key)
    assert folder.find(PLAN.key) is None
    assert folder.read_all([PLAN.key, "absent"]) == []


def test_a_failed_cell_is_told_and_tried_again(tmp_path: Path) -> None:
    folder = CellFolder(path=tmp_path)
    folder.write(done(PLAN, failed="it diverged"))
    assert folder.find(PLAN.key) is None
    assert [cell.failed for cell in folder.read_all([PLAN.key])] == ["it diverged"]


def test_records_are_complete() -> None:
    names = {f.name for f in fields(Cell)}
    assert {"config_hash", "data_hash", "seed", "seconds", "machine", "versions", "parameters", "memory", "correct"} <= names
