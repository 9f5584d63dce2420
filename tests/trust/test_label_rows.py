"""TRUST.md section 2, rows 21 to 23: what labelled files may hold, through the real commands."""

from pathlib import Path

import numpy as np
import pytest
import torch

from foretext import load
from foretext.adapted import Adapted
from foretext.data.batches import to_torch
from foretext.errors import ExitCode
from foretext.heads.classify import ClassifyHead, ClassifyHeadConfig, Shape
from foretext.types import Batch, Origin, Target, TokenBatch, TokenVectors
from stage_two import labelled
from trust.command import done, refused

DATA = ExitCode.DATA
Capture = pytest.CaptureFixture[str]
TRANSFER = ["transfer", "model", "classify", "bad.csv", "--out", "x"]

# ── row 21: the same id twice ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("bad.csv", "id,text,label\n7,a wave,sea\n8,an oath,law\n7,a star,sky\n", ("line 4", "line 2")),
        ("bad.csv", 'id,text,label\na,"two\nlines",sea\nb,an oath,law\na,a star,sky\n', ("line 5", "line 2")),
        ("bad.tsv", "id\ttext\tlabel\nx\ta wave\tsea\nx\tan oath\tlaw\n", ("line 3", "line 2")),
        ("bad.jsonl", '{"id": 1, "text": "a", "label": "x"}\n\n{"id": 1, "text": "b", "label": "y"}\n', ("line 3", "line 1")),
    ],
)
def test_row_21_duplicate_ids_name_both_lines(world: Path, capsys: Capture, name: str, content: str, lines: tuple[str, str]) -> None:
    (world / name).write_text(content)
    for words in (["transfer", "model", "classify", name, "--out", "x"], ["evaluate", "classifier", name]):
        refused(words, DATA, (f"{name}:{lines[0]}: the id", f"first on {lines[1]}"), capsys)


# ── row 22: labels that training never saw, and labels in another order ─────────────────────────────────────────────


def test_row_22_a_label_of_dev_or_test_that_train_lacks(world: Path, capsys: Capture) -> None:
    (world / "other.csv").write_text("text,label\na wave,sea\nan oath,law\na vow,wedding\n")
    parts = ("other.csv:line 4:", "1 label that the training texts do not have: 'wedding'", "they have: 'law', 'sea', 'sky'")
    refused(["transfer", "model", "classify", "train.csv", "--dev", "other.csv", "--out", "x"], DATA, parts, capsys)
    refused(["evaluate", "classifier", "other.csv"], DATA, parts, capsys)


def test_row_22_labels_are_mapped_by_name(world: Path, capsys: Capture) -> None:
    """The order of rows, and with it the order in which labels are met, changes neither the labels nor what is said."""
    rows = labelled(30, seed=5, longest=6)
    (world / "few.toml").write_text("[strategy]\nsteps = 3\nevaluations = 1\ncache = false\n[task]\ndev_share = 0.0\n")
    found = []
    for name, order in (("a", rows), ("b", sorted(rows, key=lambda row: row[1], reverse=True))):
        (world / f"{name}.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in order))
        done(["transfer", "model", "classify", f"{name}.csv", "--out", name, "--how", "features", "--config", "few.toml"], capsys)
        made = load(world / name)
        assert isinstance(made, Adapted)
        found.append((made.labels, np.exp(made.log_probabilities([text for text, _ in rows]))))
        out, _ = done(["evaluate", name, "train.csv", "--json"], capsys)
        assert '"labels":["law","sea","sky"]' in out.replace(" ", "")
    assert found[0][0] == found[1][0] == ("law", "sea", "sky")
    # the order of the examples changes the batches of the few steps, and no more: the columns stay with their names
    correlation = np.corrcoef(found[0][1].ravel(), found[1][1].ravel())[0, 1]
    assert correlation > 0.7, correlation


# ── row 23: ragged rows, quotes that never close, rows without labels, one label, nothing to predict ────────────────


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("text,label\na wave,sea\nan oath,law,more\n", ("line 3", "expected 2 cells as in the first line, found 3")),
        ("text,label\na wave,sea\nan oath\n", ("line 3", "expected 2 cells as in the first line, found 1")),
        ('text,label\na wave,sea\n"an oath,law\na star,sky\n', ("line 3", "not valid csv")),
        ('text,label\n"a "wave"",sea\n', ("line 2", "not valid csv")),
        ("text,label\na wave,sea\nan oath,\n", ("line 3", "expected a label, found nothing")),
        ("text,label\na wave,sea\nan oath,  \n", ("line 3", "expected a label, found nothing")),
        ("text,label\na wave,sea\n,law\n", ("line 3", "the text is empty")),
        ("text,label\na wave,sea\nan oath,sea\n", ("at least two different labels, found 'sea'", "check the label column")),
        ("text,text\na,b\n", ("line 1", "two columns are named 'text'")),
        ("title,body,stars\na,b,1\n", ("cannot tell which column",)),
    ],
)
def test_row_23_faults_of_a_table_name_the_line(world: Path, capsys: Capture, content: str, parts: tuple[str, ...]) -> None:
    (world / "bad.csv").write_text(content)
    refused(TRANSFER, DATA, ("bad.csv", *parts), capsys)


@pytest.mark.parametrize(("multi", "shape"), [(False, (0,)), (True, (0, 3))])
def test_row_23_a_batch_without_targets_has_a_loss_of_zero(multi: bool, shape: tuple[int, ...]) -> None:
    config = ClassifyHeadConfig(pool="mean", layers="last", multi=multi)
    head = ClassifyHead({"text": Shape(widths=(4, 4), summary=None)}, 3, config, None, 0)
    ids = np.zeros((1, 2), np.int64)
    view = TokenBatch(ids=ids, sequence=ids, position=np.array([[0, 1]]), bounds=np.array([[0, 0, 2]]), origin=Origin(example=np.array([0])))
    view = to_torch(Batch(views={"text": view}), "cpu").views["text"]
    layers = tuple(torch.randn(1, 2, 4, requires_grad=True) for _ in range(2))
    vectors = {"text": TokenVectors(layers=layers, batch=view)}
    loss = head.loss(vectors, Target(at=torch.zeros(0, dtype=torch.int64), gold=torch.zeros(shape, dtype=torch.int64), count=0))
    assert float(loss.detach()) == 0.0
    loss.backward()
    assert all(p.grad is None or bool((p.grad == 0).all()) for p in head.parameters())
