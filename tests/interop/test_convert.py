"""`foretext convert` in every direction, and what a converted folder is good for: every command, both stages."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext import api
from foretext.bundle import load_pretrained
from foretext.cli import main, run
from foretext.errors import ArtefactError, UsageError
from foretext.interop.convert import convert
from foretext.interop.vectors import read_word2vec
from foretext.recipes import find
from interop import foreign_world as tiny

BOTH = ("masked", "next_sentence")


@pytest.fixture
def saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tiny.bert(*BOTH).save(tmp_path / "model")
    return tmp_path


def test_round_the_houses(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """foretext → Hugging Face → Google → UER-py → foretext: the same numbers, each step compared."""
    for source, out, to in (("model", "a", "hf"), ("a", "b", "google"), ("b", "c", "uer"), ("c", "d", "foretext")):
        run(["convert", source, out, "--to", to])
        assert "largest difference" in capsys.readouterr().out
    first, last = load_pretrained("model"), load_pretrained("d")
    assert set(first.arrays) == set(last.arrays)
    assert all(np.array_equal(first.arrays[name], last.arrays[name]) for name in first.arrays)
    assert list(last.tokenizer.pieces) == tiny.PIECES
    assert last.recipe.name == "bert-from-uer"
    assert last.key != first.key


def test_word2vec_to_word2vec(tmp_path: Path) -> None:
    (tmp_path / "v.txt").write_text("2 3\nriver 1 2 3\nbank 4 5 6\n")
    convert(tmp_path / "v.txt", tmp_path / "v.bin", "word2vec-binary")
    words, table = read_word2vec(tmp_path / "v.bin")
    assert words == ["[UNK]", "river", "bank"]
    assert table[1:].tolist() == [[1, 2, 3], [4, 5, 6]]
    with pytest.raises(UsageError, match=r"holds BERT; this is word2vec"):
        convert(tmp_path / "v.txt", tmp_path / "x", "hf")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["convert", "model", "out", "--to", "hgf"], 2, "did you mean 'hf'"),
        (["convert", "absent", "out", "--to", "hf"], 2, "no such file or folder"),
        (["convert", "model", "model", "--to", "hf"], 2, "exists already"),
        (["convert", "model", "out", "--to", "foretext"], 2, "foretext folder already"),
        (["convert", "model", "out", "--to", "word2vec"], 2, "static"),
        (["convert", "nothing", "out", "--to", "foretext"], 4, "no tensors there"),
        (["convert", "pickled", "out", "--to", "foretext"], 4, "pickle"),
        (["convert", "strange", "out", "--to", "foretext"], 4, "transformer.wte"),
    ],
)
def test_failures(saved: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    for name in ("nothing", "pickled", "strange"):
        (saved / name).mkdir()
    (saved / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    np.savez(saved / "strange" / "w.npz", **{"transformer.wte": np.zeros(3)})
    with pytest.raises(SystemExit) as left:
        main(words)
    text = capsys.readouterr().err
    assert (left.value.code, message in text, "Traceback" in text) == (code, True, False), text
    assert not (saved / "out").exists()


def test_a_folder_half_written_is_removed(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from foretext.interop import bert

    def fail(*_: object) -> None:
        raise ArtefactError("differs")

    monkeypatch.setattr(bert, "_check_written", fail)
    with pytest.raises(ArtefactError):
        convert(Path("model"), Path("out"), "hf")
    assert not Path("out").exists()


def test_a_converted_folder_serves_every_command(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    convert(Path("model"), Path("hf"), "hf")
    shutil.rmtree("model")
    with pytest.raises(ArtefactError, match="foretext convert hf OUT --to foretext"):
        load_pretrained("hf")
    convert(Path("hf"), Path("there"), "foretext")
    Path("lines.txt").write_text("the river boat\nmoney bank, water!\n")
    for words in (["fill", "there", "the [MASK] boat"], ["score", "there", "lines.txt"], ["info", "there", "--verify"]):
        run([*words, "--json"])
        assert json.loads(capsys.readouterr().out.strip().splitlines()[0])
    run(["encode", "there", "lines.txt", "--out", "vectors.npz", "--pool", "mean"])
    run(["neighbors", "there", "the [bank] river", "--in", "lines.txt"])
    rows = [(text, label) for text, label in (("the river boat", "w"), ("money bank", "m")) for _ in range(12)]
    made = api.transfer("there", rows, "adapted", config={"strategy": {"epochs": 1}})
    assert set(made.labels) == {"w", "m"}


def test_pretraining_goes_on_from_it(saved: Path) -> None:
    """A model without heads, under a recipe with them: the network stays the source's and the loss falls."""
    convert(Path("model"), Path("hf"), "hf")
    bare = tiny.bert(pooler="none", initial_sd=0.1)
    quiet = {name: array * 0.2 + ("norm.weight" in name) for name, array in bare.arrays.items()}
    replace(bare, arrays=quiet).save(Path("bare"))
    convert(Path("bare"), Path("bare-hf"), "hf")
    convert(Path("bare-hf"), Path("there"), "foretext")
    assert load_pretrained("there").recipe.objectives == {}
    text = api.strings_corpus(["the river boat water. money bank the boat!\n" * 4 + f"the {n}" for n in range(40)])
    recipe = find("bert-continue")
    config = {"windows": {"length": 24}, "batch": {"rows": 4, "precision": "fp32"}, "optimizer": {"rate": 5e-3}, "held_out": 0.1}
    made = api.pretrain(recipe, text, "more", source="there", steps=40, config=config)
    assert made.recipe.family.layers == 2
    assert made.recipe.family.pooler == "none"
    assert list(made.tokenizer.pieces) == tiny.PIECES
    assert made.provenance.results["loss"] < made.provenance.results["unigram entropy"]
    with pytest.raises(UsageError, match="windows of 128 tokens for a source of 24 positions"):
        api.pretrain(recipe, text, "again", source="there", steps=1)
    run(["convert", "more", "out", "--to", "hf"])
    assert json.loads(Path("out/config.json").read_text())["architectures"] == ["BertForMaskedLM"]
