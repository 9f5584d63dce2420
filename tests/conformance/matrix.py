"""The matrix: which check runs on which row, and why one does not. What is not declared here must pass."""

import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from conformance import (
    arranging,
    bad_input,
    counting,
    gradients,
    learning,
    masking,
    measuring,
    repeating,
    resuming,
    saving,
    updating,
)
from conformance.layout import SOURCE
from conformance.rows import ALL, Row, TaskRow
from foretext.models.catalog import FAMILIES
from foretext.types import Encoder

Any_ = Row | TaskRow


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its number in the standard, its name, and the function that fails where a row does not conform."""

    number: int
    name: str
    run: Callable[[Any], None]

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


CHECKS = (
    Check(1, "gradient", gradients.gradient),
    Check(2, "saving", saving.saving),
    Check(2, "labels", saving.labels),
    Check(3, "resuming", resuming.resuming),
    Check(4, "accumulation", updating.accumulation),
    Check(4, "update", updating.update),
    Check(5, "padding", arranging.padding),
    Check(6, "order", arranging.order),
    Check(6, "remembered", arranging.remembered),
    Check(7, "determinism", repeating.determinism),
    Check(7, "processes", repeating.processes),
    Check(7, "stores", repeating.stores),
    Check(8, "future", arranging.future),
    Check(8, "neighbours", arranging.neighbours),
    Check(9, "NaN", masking.hidden),
    Check(9, "masked", masking.masked),
    Check(9, "pairs", masking.pairs),
    Check(9, "held out", masking.held_out),
    Check(10, "learning", learning.learning),
    Check(11, "measuring", measuring.measuring),
    Check(13, "bad input", bad_input.bad_input),
)


@cache
def sees(row: Any_) -> str:
    """What a token of the row's encoder may look at."""
    source = row if isinstance(row, Row) else row.source
    if FAMILIES[row.family].encoder is None:
        return "nothing"
    encoder: Encoder = source.model(torch.float32).encoder(SOURCE)
    return encoder.sees


def _own(row: Any_) -> bool:
    return isinstance(row, Row) and FAMILIES[row.family].stepper is not None


def _objective(name: str) -> Callable[[Any_], bool]:
    return lambda row: isinstance(row, TaskRow) or name not in row.recipe.objectives


def _remembers(row: Any_) -> bool:
    return isinstance(row, TaskRow) and row.how == "features"


@dataclass(frozen=True, slots=True)
class Declared:
    """Rows for which `check` has no meaning, and why."""

    check: str
    applies: Callable[[Any_], bool]
    reason: str


def _counts(row: Any_) -> bool:
    return isinstance(row, Row) and row.own is counting


DECLARED = (
    Declared("gradient", _counts, "counts: there is no gradient; tests/models/ngram compares its tables with a slow reference"),
    Declared("update", _counts, "counts: whole numbers, which cannot fail to be finite, and no rate that could be too high"),
    *(
        Declared(name, lambda row: sees(row) == "nothing", "has no encoder")
        for name in ("padding", "order", "neighbours", "NaN", "future")
    ),
    Declared("labels", lambda row: isinstance(row, Row), "has no labels"),
    Declared("stores", lambda row: isinstance(row, TaskRow), "reads labelled texts, not a token store"),
    Declared("accumulation", _own, "its step is a stream of updates in place: there is no sum of gradients to divide"),
    Declared("remembered", lambda row: not _remembers(row), "remembers nothing between encoder and head"),
    Declared("padding", _remembers, "reads remembered vectors: no row has a pad; they are compared under 6"),
    Declared("neighbours", _remembers, "reads remembered vectors, and no ids to change; they are compared under 6"),
    Declared("NaN", _remembers, "reads remembered vectors: nothing is masked; they are compared under 6"),
    Declared("future", lambda row: sees(row) == "both", "its tokens see both ways: there is no future to hide"),
    Declared("future", lambda row: sees(row) == "self", "its tokens see themselves alone: neighbours (8) tests more"),
    Declared("masked", _objective("masked"), "guesses no masked tokens"),
    Declared("pairs", _objective("next_sentence"), "judges no sentence pairs"),
    Declared("held out", lambda row: not _own(row), "reads whole windows of the training part only: masked and pairs see them"),
)
MISSING = {12: "nothing is exported as a traced graph yet; weights in other layouts are compared by `convert` itself"}
"""Checks that no row can be put to yet."""


def reason(check: Check, row: Any_, declared: tuple[Declared, ...] = DECLARED) -> str:
    """Why `check` has no meaning for `row`; "" where it must pass."""
    return next((one.reason for one in declared if one.check == check.name and one.applies(row)), "")


def cells() -> Iterator[tuple[Check, Any_]]:
    """Every check on every row, declared or not."""
    for row in ALL:
        for check in CHECKS:
            yield check, row


def outcome(check: Check, row: Any_, declared: tuple[Declared, ...] = DECLARED) -> str:
    """Run one cell: "" when it conforms, else the declared reason. A check that skips without one fails."""
    why = reason(check, row, declared)
    if why:
        return why
    try:
        check.run(row)
    except pytest.skip.Exception as skipped:
        raise AssertionError(f"{check} was skipped for {row.name} without a declared reason: {skipped.msg}") from None
    return ""


def report(checks: list[Check], rows: list[Any_], say: Callable[[str], None]) -> tuple[str, bool]:
    """Run cells and write the matrix as Markdown: (text, all conform)."""
    lines = ["| | " + " | ".join(str(check) for check in checks) + " |", "|---" * (len(checks) + 1) + "|"]
    reasons: dict[str, int] = {}
    good = True
    for row in rows:
        marks = []
        for check in checks:
            began = time.process_time()
            try:
                why = outcome(check, row)
                marks.append(f"–{reasons.setdefault(why, len(reasons) + 1)}" if why else "✓")
            except Exception as error:
                good = False
                marks.append("✗")
                say(f"{check} · {row.name}: {type(error).__name__}: {error}\n{traceback.format_exc(limit=-3)}")
            say(f"{marks[-1]} {time.process_time() - began:6.2f} s  {check} · {row.name}")
        lines.append(f"| {row.name} | " + " | ".join(marks) + " |")
    notes = [f"–{number}: {why}" for why, number in reasons.items()]
    notes += [f"Check {number}: {why}" for number, why in MISSING.items()]
    return "\n".join([*lines, "", *(f"- {note}" for note in notes)]) + "\n", good
