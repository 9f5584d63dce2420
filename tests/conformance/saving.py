"""Check 2: what is saved and loaded is the same, to the bit; tied weights are one tensor; labels go by name."""

import errno
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import torch

from conformance.rows import Row, TaskRow, scratch, spoken, texts_of
from conformance.texts import labelled
from foretext.adapted import load_adapted
from foretext.bundle import SOURCE, load_pretrained
from foretext.data.batches import to_torch
from foretext.errors import ResourceError
from foretext.models.catalog import family
from foretext.tasks.base import read_labelled
from foretext.tasks.classify import ClassifyConfig, settle
from foretext.training import checkpoint
from foretext.types import State

_NUMBER = itertools.count()


def fresh() -> Path:
    """A path that nothing has used."""
    return scratch() / f"folder-{next(_NUMBER)}"


def same_arrays(a: Any, b: Any) -> None:
    """Fail at the first array that is not equal to the bit."""
    assert a.keys() == b.keys(), f"names differ: {sorted(set(a) ^ set(b))[:4]}"
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].tobytes() == b[name].tobytes(), f"{name} differs"


def saving(row: Row | TaskRow) -> None:
    """Outputs and arrays of a folder; parameters, optimizer state and the next update of a checkpoint: bit for bit."""
    _checkpoint(row)
    if isinstance(row, Row):
        _folder(row)
    else:
        made = row.adapted()
        loaded = load_adapted(made.save(fresh()).path)
        texts = texts_of(row)
        assert loaded.labels == made.labels
        assert loaded.log_probabilities(texts).tobytes() == made.log_probabilities(texts).tobytes()
        assert [p.probabilities for p in loaded.predict(texts)] == [p.probabilities for p in made.predict(texts)]


def _folder(row: Row) -> None:
    made = row.pretrained()
    loaded = load_pretrained(made.save(fresh()).path)
    same_arrays(made.arrays, loaded.arrays)
    assert loaded.tokenizer.key == made.tokenizer.key
    for mine, yours in zip(spoken(made, texts_of(row)), spoken(loaded, texts_of(row)), strict=True):
        assert mine.tobytes() == yours.tobytes()
    if "encode" not in family(row.family).can:
        return
    for ours, theirs in zip(made.encode(texts_of(row)), loaded.encode(texts_of(row)), strict=True):
        assert [x.tobytes() for x in ours.layers] == [x.tobytes() for x in theirs.layers]
        assert ours.tokens == theirs.tokens
        assert (ours.summary is None) == (theirs.summary is None)
        assert ours.summary is None or ours.summary.tobytes() == theirs.summary.tobytes()
    table = loaded.model.encoder(SOURCE).table
    for name in row.recipe.objectives:
        head: Any = loaded.model.head(name)
        if hasattr(head, "table"):
            assert head.table.weight is table.weight, f"{name}: the output layer is not tied to the embeddings any more"
            assert f"heads.{name}.table.weight" not in loaded.arrays, "the tied table is written twice"
    if row.recipe.objectives:
        batch = to_torch(row.batch())
        with torch.no_grad():
            ours, theirs = made.model.losses(batch), loaded.model.losses(batch)
        assert {name: float(loss) for name, loss in ours.items()} == {name: float(loss) for name, loss in theirs.items()}


def _checkpoint(row: Row | TaskRow) -> None:
    steps, folder = 4, fresh()
    first, second = row.stepper(steps), row.stepper(steps)
    for _ in range(2):
        first.step()
    state = first.state()
    checkpoint.save(state, folder, 2)
    read = checkpoint.read(folder, 2).state
    same_arrays(state.arrays, read.arrays)
    if not (isinstance(row, Row) and row.own):
        assert any(name.startswith("optimizer.") for name in read.arrays), "no optimizer state is saved"
    _failed_saves(state)
    torch.manual_seed(99)
    second.restore(read)
    same_arrays(state.arrays, second.state().arrays)
    assert first.step().loss.hex() == second.step().loss.hex()
    same_arrays(first.state().arrays, second.state().arrays)


def _failed_saves(state: State) -> None:
    """A save that fails half-way, of a later step or of the same one, leaves the checkpoint before it whole; one that
    succeeds leaves the newest."""
    folder = fresh()
    checkpoint.save(state, folder, 2, keep=1)
    write = checkpoint.write_arrays

    def full(file: Path, arrays: Any) -> None:
        file.write_bytes(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    for step in (3, 2):
        checkpoint.write_arrays = full
        try:
            checkpoint.save(state, folder, step, keep=1)
            raise AssertionError("a save that failed says nothing")
        except ResourceError:
            pass
        finally:
            checkpoint.write_arrays = write
        found = checkpoint.latest(folder)
        assert found is not None and found.step == 2, f"the good checkpoint is gone after a failed save of step {step}"
        same_arrays(found.state.arrays, state.arrays)
    for step in (4, 5):
        checkpoint.save(state, folder, step, keep=1)
    assert checkpoint.steps(folder) == [5], "the newest checkpoint is not the one that stays"


def labels(row: TaskRow) -> None:
    """Label numbers are made from names, whatever the order of rows; class weights belong to their label; probabilities
    after loading carry the names they were trained under."""
    texts = labelled(30, 4, multi=row.multi)
    # One label is rarer, and another label comes first forwards than backwards.
    texts = sorted((pair for i, pair in enumerate(texts) if i % 4), key=lambda pair: str(pair[1]))
    config = ClassifyConfig(class_weights=True, dev_share=0.25)
    forward, backward = (settle(config, read_labelled(order)) for order in (texts, texts[::-1]))
    assert forward.labels == backward.labels
    gold, reverse = forward.gold(read_labelled(texts)), backward.gold(read_labelled(texts[::-1]))
    assert np.array_equal(gold, reverse[::-1])
    for number, name in enumerate(forward.labels):
        has = np.array([name == said or name in said for _, said in texts])
        column = gold[:, number] == 1 if row.multi else gold == number
        assert np.array_equal(column, has), f"label {name} has another's number"
        wanted = (~has).sum() / has.sum() if row.multi else len(texts) / (2 * has.sum())
        weights = forward.label_weights(gold)
        assert weights is not None and abs(weights[number] - wanted) < 1e-12, f"label {name} has another's weight"
    assert len(set(forward.label_weights(gold) or ())) == len(forward.labels)
    made = row.adapted(steps=100 if row.how == "finetune" else 40, strategy={"rate": 3e-3})
    loaded = load_adapted(made.save(fresh()).path)
    right = []
    for text, said in labelled(24, 1, multi=row.multi):
        if not row.multi or len(said) == 1:
            found = loaded.predict([text])[0].probabilities
            right.append(max(found, key=lambda name: found[name]) == (said[0] if row.multi else said))
    assert np.mean(right) >= 0.8, f"{np.mean(right):.0%} of easy texts are called by their name: names are mixed up"
