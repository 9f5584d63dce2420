"""The rows' world: a corpus, labelled files, and one small folder of every kind, made once and never changed."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext import api
from foretext.adapted import Adapted
from foretext.bundle import Pretrained, build_model
from foretext.recipes import find
from stage_two import labelled, pretrained

POSITIONS = 16


def masked(model: Pretrained) -> Pretrained:
    """The same with a masked-LM head, as `fill` and `score` need it."""
    recipe = replace(model.recipe, objectives={"masked": find("bert-budget").objectives["masked"]})
    arrays = build_model(recipe, model.tokenizer.size).arrays()
    return replace(model, recipe=recipe, arrays={name: np.asarray(array) for name, array in arrays.items()})


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `model` (bert, 16 positions), `vectors` (word2vec) and `classifier`."""
    root = tmp_path_factory.mktemp("trust")
    bert = masked(pretrained("bert", positions=POSITIONS)).save(root / "model")
    vectors = pretrained("word2vec").save(root / "vectors")
    rows = labelled(60, seed=3, longest=6)
    config = {"strategy": {"steps": 3, "evaluations": 1, "cache": False}}
    adapted = api.transfer(bert, rows, root / "classifier", how="features", config=config)
    assert isinstance(adapted, Adapted)
    assert vectors.path is not None
    return root


@pytest.fixture
def world(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with links to the folders, `corpus.txt`, `train.csv` and `small.toml`."""
    monkeypatch.chdir(tmp_path)
    for name in ("model", "vectors", "classifier"):
        shutil.copytree(made / name, tmp_path / name)
    rows = labelled(40, seed=1, longest=8)
    (tmp_path / "corpus.txt").write_text("\n".join(f"{text}." for text, _ in rows) + "\n")
    (tmp_path / "train.csv").write_text("text,label\n" + "".join(f"{text},{label}\n" for text, label in rows))
    (tmp_path / "small.toml").write_text(
        "held_out = 0.0\n[family]\nlayers = 1\nwidth = 16\nheads = 2\ninner = 16\npositions = 16\n[windows]\nlength = 16\n"
        "[tokenizer]\nsize = 100\n[batch]\nrows = 2\n"
    )
    return tmp_path
