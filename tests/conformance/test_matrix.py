"""Every check on every row; a family without a row, an undeclared skip and a stale declaration fail."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from conformance import arranging, matrix
from conformance.matrix import CHECKS, DECLARED, MISSING, Check, outcome, reason
from conformance.rows import ALL, ROWS, TASKS
from foretext.models.catalog import FAMILIES

CELLS = [(check, row) for check, row in matrix.cells() if not reason(check, row)]


@pytest.mark.parametrize(("check", "row"), CELLS, ids=[f"{check} · {row.name}" for check, row in CELLS])
def test_conforms(check: Check, row: Any) -> None:
    assert outcome(check, row) == ""


def test_every_family_has_a_row() -> None:
    assert {row.family for row in ROWS} == set(FAMILIES), "a family in models/catalog.py has no row in conformance/rows.py"
    assert {row.family for row in TASKS} == {name for name, family in FAMILIES.items() if "finetune" in family.can}
    for row in ROWS:
        assert (row.own is not None) == (FAMILIES[row.family].stepper is not None), f"{row.name}: a loss of its own, or none?"
    assert len({row.name for row in ALL}) == len(ALL)


def test_an_undeclared_skip_fails() -> None:
    skipping = Check(99, "skipping", lambda row: pytest.skip("no reason at all"))
    with pytest.raises(AssertionError, match="without a declared reason"):
        outcome(skipping, ROWS[0])
    declared = (matrix.Declared("skipping", lambda row: True, "because"),)
    assert outcome(skipping, ROWS[0], declared) == "because"


def test_no_declaration_is_stale() -> None:
    """Each excuses some cell, names a check, and leaves the check some row to run on or a proof of its own."""
    names = {check.name for check in CHECKS}
    for one in DECLARED:
        assert one.check in names
        assert any(one.applies(row) for row in ALL), f"{one.check}: nothing is excused by {one.reason!r}"
    used = {check.name for check, _ in CELLS}
    assert names - used == {"future"}, "a check runs on no row: prove it by itself, as test_future_leakage_is_seen does"


def test_every_check_of_the_standard_is_there() -> None:
    assert {check.number for check in CHECKS} | set(MISSING) | {14} == set(range(1, 15)), "14: test_planted.py"


def test_future_leakage_is_seen() -> None:
    """No family sees to the left yet: the check is proven on a small causal encoder, and on one that lies."""
    row = ROWS[0]
    examples, size = row.sequences()[:4], row.store().tokenizer.size
    batch = arranging._packed(examples, size)
    arranging.no_future(arranging.Causal(size).double(), batch, size)
    with pytest.raises(AssertionError, match="saw it change"):
        arranging.no_future(arranging.Causal(size, leak=True).double(), batch, size)


@pytest.mark.soak
@pytest.mark.parametrize("row", [row for row in ROWS if row.own is None], ids=lambda row: row.name)
def test_compiled_is_eager(row: Any) -> None:
    """torch.compile: the first updates' losses agree to 1e-4 relative (fp32; kernels sum in another order)."""
    eager, compiled = row.stepper(3), row.stepper(3, batch=replace(row.recipe.batch, compile=True))
    for stepper in (eager, compiled):
        for module in stepper.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if hasattr(module, "dropout_rate"):
                module.dropout_rate = 0.0
    for _ in range(3):
        a, b = eager.step(), compiled.step()
        assert abs(a.loss - b.loss) <= 1e-4 * a.loss
