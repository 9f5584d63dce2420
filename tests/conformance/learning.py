"""Check 10: a little data is learned by heart, and shuffled data teaches nothing that holds elsewhere."""

from dataclasses import replace
from typing import Any

import numpy as np

from conformance.rows import Row, TaskRow
from conformance.texts import labelled
from conformance.updating import still
from foretext.text.store import unigram_entropy
from foretext.types import Floats

HEART, UPDATES = 0.5, 140
"""Loss of guessing hidden tokens (nats) that is learned by heart, and in how many updates; unread it is over 3."""


def learning(row: Row | TaskRow) -> None:
    """Stage one: words in no order are learned by heart, and that is worth nothing on held-out text, which stays at or
    above the line of knowing no context. Stage two: every training text's label is learned and those of new texts are
    told; with labels dealt at random, new texts are guessed no better than chance."""
    if isinstance(row, TaskRow):
        _labels(row)
    elif row.own:
        row.own.learning(row)
    else:
        _by_heart(row)


def _by_heart(row: Row) -> None:
    assert row.recipe.windows is not None
    stepper = row.stepper(
        UPDATES,
        shuffled=True,
        optimizer=replace(row.recipe.optimizer, rate=row.rate),
        batch=replace(row.recipe.batch, rows=16, micro=None),
        windows=replace(row.recipe.windows, copies=1),
    )
    still(stepper.model)
    first = stepper.step().parts["masked loss"]
    for _ in range(UPDATES - 1):
        report = stepper.step()
    found, line = report.parts["masked loss"], unigram_entropy(row.store(shuffled=True).counts)
    assert first > line - 0.5, f"a loss of {first:.2f} before anything is learned"
    assert found <= HEART, f"a masked loss of {found:.2f} after {UPDATES} updates on a few hundred words"
    loss = stepper.evaluate()["masked loss"]
    assert loss >= line - 0.1, f"words in no order, yet those held out are guessed at {loss:.2f}, below {line:.2f}"


def _labels(row: TaskRow) -> None:
    steps = 100 if row.how == "finetune" else 60
    made = row.adapted(steps=steps, strategy={"rate": 3e-3})
    assert _right(made.log_probabilities, row, 1) >= 0.95, "its own training texts are not learned"
    assert _right(made.log_probabilities, row, 7) >= 0.8
    guessed = row.adapted(steps=60, strategy={"rate": 3e-3}, texts=labelled(48, 1, multi=row.multi, shuffled=True))
    chance = _right(guessed.log_probabilities, row, 7)
    assert chance <= 0.75, f"labels dealt at random, yet {chance:.0%} of new texts are right"


def _right(answer: Any, row: TaskRow, seed: int) -> float:
    """Share of decisions that are right on labelled texts."""
    texts = labelled(60, seed, multi=row.multi)
    said: Floats = answer([text for text, _ in texts])
    names = ("law", "sea")
    if row.multi:
        gold = np.array([[name in labels for name in names] for _, labels in texts])
        return float(((said >= np.log(0.5)) == gold).mean())
    return float(np.mean([names[k] == label for k, (_, label) in zip(said.argmax(1), texts, strict=True)]))
