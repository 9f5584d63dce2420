"""The command line: one message and one exit code a failure, light to start, JSON where a program may read."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from foretext.cli import COMMANDS, main, run
from foretext.errors import ForetextError

TEXTS = ["the boat on the river by the old bank.\nthe sailor watched the water.", "the bank raised its rates.\nmoney moved."]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    for number in range(12):
        (tmp_path / "texts" / f"{number}.txt").write_text(TEXTS[number % 2] + f"\nnumber {number}.\n")
    return tmp_path


@pytest.fixture
def vectors(world: Path) -> Path:
    Path("word.toml").write_text("[family]\nmin_count = 1\nwidth = 8\n")
    run(["pretrain", "word2vec", "texts", "--out", "vectors", "--config", "word.toml", "--threads", "1"])
    return world / "vectors"


def leave(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        main(words)
    return int(left.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pretrian"], 2, "did you mean 'pretrain'"),
        (["pretrain", "bert-budgt", "texts", "--out", "x"], 2, "unknown recipe 'bert-budgt'; did you mean 'bert-budget'"),
        (["pretrain", "bert-budget", "absent.txt", "--out", "x", "--steps", "1"], 2, "absent.txt"),
        (["pretrain", "bert-budget", "texts", "--out", "texts", "--steps", "1"], 2, "exists already"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--steps", "1", "--minutes", "1"], 2, "one budget at a time"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--minutes", "-1"], 2, "above 0"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--from", "texts"], 4, "not a foretext folder"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--config", "absent.toml"], 2, "no such configuration file"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--init-embeddings", "atuo"], 2, "expected random, auto, a pretrained folder or a file of word vectors"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--set", "family.layer=2"], 2, "family.layer: unknown key 'layer'; did you mean 'layers'"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--set", "family.layers=x"], 2, "family.layers: Expected `int`"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--set", "seed=1", "--set", "seed=2"], 2, "Cannot overwrite"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--steps", "1", "--threads", "0"], 2, "--threads: expected a whole number from 1 on, found 0"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--steps", "1", "--device", "meta"], 2, "none of those that foretext trains on"),
        (["pretrain", "bert-budget", "texts", "--out", "x", "--set", "init_embeddings=\udcff"], 2, "expected UTF-8"),
        (["transfer", "x", "classify", "y.csv", "--out", "z", "--threads", "0"], 2, "--threads: expected a whole number from 1 on, found 0"),
        (["neighbors", "absent", "a", "--n", "0"], 2, "--n: expected a whole number from 1 on, found 0"),
        (["evaluate-vectors", "absent", "--most", "-5"], 2, "--most: expected a whole number from 0 on, found -5"),
        (["map", "absent", "--out", "x.png"], 2, "expected a word or more"),
        (["map", "absent", "a", "--out", "x.png", "--seed", "-1"], 2, "--seed"),
        (["curve"], 2, "expected a folder or more"),
        (["info", "absent"], 2, "no such folder"),
        (["info", "texts"], 4, "not a foretext folder"),
        (["recipes", "bert-tny"], 2, "bert-tiny"),
        (["transfer", "x", "clasify", "y.csv", "--out", "z"], 2, "did you mean 'classify'"),
        (["transfer", "x", "--out", "z"], 2, "PRETRAINED… TASK TRAIN"),
        (["predict", "absent"], 2, "no such folder"),
        (["check", "absent.txt"], 2, "absent.txt"),
        (["convert", "a", "b", "--to", "wrod2vec"], 2, "word2vec"),
        (["ladder"], 2, "a ladder needs"),
        (["ladder", "--from", "minilm"], 2, "expected NAME=PATH, found 'minilm'"),
        (["ladder", "--corpus", "texts", "--train", "a.csv", "--test", "b.csv", "--from", "m=absent"], 2, "absent: no such file or folder"),
        (["analogy", "absent", "a", "b"], 2, "c"),
        (["similarity", "absent", "a", "b"], 2, "no such folder"),
        (["map", "absent", "a", "--out", "x.gif"], 2, "expected .png, .svg, .pdf, found .gif"),
        (["curve", "texts"], 2, "no training log"),
        (["polysemy", "texts", "bank"], 4, "not a foretext folder"),
        (["evaluate-vectors", "absent", "--sets", "gogle"], 2, "no such folder"),
        (["extend", "absent", "texts", "--out", "x"], 2, "no such folder"),
        (["extend", "texts", "texts", "--out", "texts"], 2, "exists already"),
        (["extend", "texts", "texts", "--out", "x", "--words", "w.txt", "--most", "3"], 2, "words are given"),
    ],
)
def test_failures(world: Path, capsys: pytest.CaptureFixture[str], words: list[str], code: int, message: str) -> None:
    got, text = leave(words, capsys)
    assert (got, message in text) == (code, True), text
    line = text.strip().splitlines()[-1]
    assert line.startswith("foretext: ")
    assert "Traceback" not in text


def test_bad_text_is_exit_3_with_file_and_byte(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad.txt").write_bytes(b"fine words\nand then \xff\xfe")
    code, text = leave(["pretrain", "word2vec", "bad.txt", "--out", "x"], capsys)
    assert code == 3
    assert "bad.txt" in text
    assert "byte 20" in text
    Path("empty.txt").write_text(" \n")
    assert leave(["pretrain", "word2vec", "empty.txt", "--out", "x"], capsys)[0] == 3
    assert leave(["check", "empty.txt"], capsys)[0] == 3


def test_debug_shows_the_traceback_too(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, text = leave(["info", "absent", "--debug"], capsys)
    assert code == 2
    assert text.startswith("Traceback")
    assert text.splitlines()[-1] == "foretext: absent: no such folder"


def test_an_unnamed_defect_keeps_its_traceback(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours is no ForetextError: it must not be dressed up as one."""
    monkeypatch.setattr("foretext.cli.house.open_sealed", lambda *a, **k: [][1])
    with pytest.raises(IndexError):
        main(["info", "texts"])


def test_a_flipped_bit_is_exit_4_and_names_the_tensor(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = vectors / "weights.safetensors"
    raw = bytearray(file.read_bytes())
    raw[-5] ^= 1
    file.write_bytes(raw)
    code, text = leave(["info", str(vectors), "--verify"], capsys)
    assert code == 4
    assert "tensor heads.negative_sampling.table.weight" in text
    assert leave(["neighbors", str(vectors), "river"], capsys)[0] == 4


def test_an_ability_that_a_family_lacks_is_refused(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["fill", str(vectors), "the [MASK]"], ["score", str(vectors), "texts/0.txt"]):
        code, text = leave(command, capsys)
        assert code == 2
        assert "bert" in text
    code, text = leave(["neighbors", str(vectors), "rivr"], capsys)
    assert (code, "river" in text) == (2, True)


def test_json(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    run(["info", str(vectors), "--json", "--verify"])
    about = json.loads(capsys.readouterr().out)
    assert (about["kind"], about["verified"], about["meta"]["family"]) == ("pretrained", True, "word2vec")
    run(["neighbors", str(vectors), "river", "--json", "--n", "2"])
    assert "river" in json.dumps(json.loads(capsys.readouterr().out))
    run(["recipes", "bert-mini", "--json"])
    assert json.loads(capsys.readouterr().out)["family"]["layers"] == 4
    run(["recipes", "bert-mini", "--diff", "bert-tiny", "--json"])
    assert {d["field"] for d in json.loads(capsys.readouterr().out)} == {"family.layers", "family.width", "family.heads", "family.inner"}
    run(["data", "--json"])
    assert json.loads(capsys.readouterr().out)
    run(["check", "texts", "--json"])
    assert json.loads(capsys.readouterr().out)
    run(["encode", str(vectors), "texts/0.txt", "--out", "v.safetensors", "--pool", "mean", "--json"])
    assert json.loads(capsys.readouterr().out)["texts"] >= 3


def test_questions_to_vectors(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(vectors)
    capsys.readouterr()
    run(["analogy", folder, "river", "boat", "bank", "--n", "2"])
    said = capsys.readouterr().out
    assert "river (seen 6 times) : boat (seen 6 times) = bank (seen 12 times) : ?   by 3CosAdd" in said
    assert "warning: river is rare, seen 6 times" in said
    run(["analogy", folder, "river", "boat", "bank", "--method", "mul", "--json"])
    assert json.loads(capsys.readouterr().out)["method"] == "mul"
    run(["similarity", folder, "river", "boat", "water"])
    assert capsys.readouterr().out.count(" – ") == 3
    run(["similarity", folder, "river", "boat", "--json"])
    assert len(json.loads(capsys.readouterr().out)["cosines"]) == 2
    Path("mine.txt").write_text("river boat 9\nriver money 1\nbank money 7\nriver ship 5\n")
    run(["evaluate-vectors", folder, "--sets", "mine.txt"])
    said = capsys.readouterr().out
    assert "Spearman" in said
    assert "3/4" in said
    run(["evaluate-vectors", folder, "--sets", "mine.txt", "--json"])
    assert json.loads(capsys.readouterr().out)["lines"][0]["kept"] == 3
    code, text = leave(["evaluate-vectors", folder, "--sets", "gogle"], capsys)
    assert (code, "did you mean 'google'" in text) == (2, True)


def test_pictures(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(vectors)
    capsys.readouterr()
    run(["map", folder, "river", "money", "--out", "map.svg", "--n", "3"])
    assert capsys.readouterr().out.startswith("river: ")
    assert ">river</text>" in Path("map.svg").read_text()
    run(["curve", folder, "--out", "curve.svg"])
    assert "training loss" in capsys.readouterr().out
    assert ">training</text>" in Path("curve.svg").read_text()
    run(["curve", folder, "--json"])
    assert json.loads(capsys.readouterr().out)[0]["training"]
    run(["polysemy", folder, "river: the old [bank]", "money: the [bank] raised its rates", "--out", "bank.svg"])
    assert "one vector in every sentence" in capsys.readouterr().out
    assert ">bank ×2</text>" in Path("bank.svg").read_text()


def test_unknown_toml_key_names_file_key_and_nearest(world: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("r.toml").write_text("[optimizer]\nraet = 1e-3\n")
    code, text = leave(["pretrain", "bert-budget", "texts", "--out", "x", "--config", "r.toml", "--steps", "1"], capsys)
    assert code == 2
    assert "r.toml:optimizer.raet: unknown key 'raet'; did you mean 'rate'?" in text


def test_help_is_light_and_names_every_command() -> None:
    untraced = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([sys.executable, "-m", "foretext", "--help"], capture_output=True, text=True, check=True, env={**untraced, "COLUMNS": "100"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert all(name in found.stdout for name in COMMANDS)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 0.6, "expected under 0.3 s on a quiet machine; this bound allows for a busy one"
    code = "import sys; from foretext.cli import COMMANDS; assert not {'numpy', 'torch', 'numba'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run([command, "--help"])
    assert left.value.code == 0
    assert f"foretext {command}" in capsys.readouterr().out


def test_python_says_the_same_words(vectors: Path) -> None:
    import foretext

    model = foretext.load(vectors)
    assert isinstance(model, foretext.Pretrained)
    with pytest.raises(ForetextError) as missing:
        foretext.load("absent")
    assert missing.value.exit_code == 2
    (vectors / "recipe.json").write_text("{}")
    with pytest.raises(foretext.ForetextError) as damaged:
        foretext.load(vectors)
    assert damaged.value.exit_code == 4


def test_embeddings_start_from_a_folder(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["pretrain", "word2vec", "texts", "--out", "second", "--config", "word.toml", "--steps", "1", "--threads", "1"]
    run([*words, "--init-embeddings", "vectors", "--json"])
    capsys.readouterr()
    run(["info", "second", "--json"])
    init = json.loads(capsys.readouterr().out)["provenance"]["init"]
    run(["info", "vectors", "--json"])
    assert init["from"] == json.loads(capsys.readouterr().out)["key"]
    assert (init["name"], init["tokens"]) == ("vectors", 1.0)


def test_only_commands_that_resume_are_said_to(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(words: list[str]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("foretext.cli.run", stopped)
    for words, how in ((["check", "-"], "run the same command again"), (["pretrain", "bert-tiny"], "run the same command with --resume")):
        code, text = leave(words, capsys)
        assert code == 75 and how in text


def test_a_lone_column_is_not_guessed_to_have_a_name(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else the first text would be lost without a word."""
    rows = "text,label\n" + "the boat on the river,a\nthe bank raised rates,b\n" * 6
    Path("labels.csv").write_text(rows)
    run(["transfer", "vectors", "classify", "labels.csv", "--out", "made", "--how", "features", "--threads", "1", "--set", "strategy.epochs=1"])
    Path("lone.csv").write_text("hello there\nsecond text\n")
    code, text = leave(["predict", "made", "lone.csv"], capsys)
    assert code == 3 and "lone.csv" in text and "--text 'hello there'" in text
    capsys.readouterr()
    run(["predict", "made", "lone.csv", "--text", "hello there"])
    assert capsys.readouterr().out.count("\n") == 1
    Path("lone.jsonl").write_text('{"foo": "hello there"}\n{"foo": "second text"}\n')  # there a name is never a text
    run(["predict", "made", "lone.jsonl"])
    assert capsys.readouterr().out.count("\n") == 2
    Path("lone.csv").write_text("text\nhello there\nsecond text\n")
    run(["predict", "made", "lone.csv"])
    assert capsys.readouterr().out.count("\n") == 2


def test_a_file_without_names_is_predicted_as_it_was_trained(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The classifier remembers that the first line was data, and which column held the text."""
    Path("labels.csv").write_text("a,the boat on the river\nb,the bank raised its rates\n" * 6)
    words = ["transfer", "vectors", "classify", "labels.csv", "--out", "made", "--how", "features", "--threads", "1"]
    code, text = leave(words, capsys)
    assert code == 3 and "--set task.header=false" in text
    run([*words, "--set", "strategy.epochs=1", "--set", "task.header=false"])
    Path("more.csv").write_text("x,the boat on the river\nx,the bank\n")
    capsys.readouterr()
    run(["predict", "made", "more.csv"])
    assert [line.split("\t")[2] for line in capsys.readouterr().out.splitlines()] == ["the boat on the river", "the bank"]
    code, text = leave(["predict", "vectors", "more.csv"], capsys)
    assert code == 2 and "expected a classifier, found a pretrained model" in text


def test_a_ladder_that_lost_cells_is_no_success(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its table is shown all the same, and it leaves with the code of what went wrong first."""
    from foretext.cli import compare
    from foretext.ladder.cells import Plan, done

    plan = Plan(kind="score", rung="tfidf", labels=5)
    cells = {"whole": (done(plan),), "lost": (done(plan), done(plan, failed="it diverged", code=6))}

    def result(name: str) -> object:
        index = SimpleNamespace(keys=range(3 if name == "lost" else 1))  # one needed what failed, and was never run
        return SimpleNamespace(cells=cells[name], index=index, report=tmp_path / "report.html", text=lambda: "the table")

    words = ["ladder", "--corpus", "c", "--train", "a.csv", "--test", "b.csv", "--out"]
    monkeypatch.setattr(compare, "run_ladder", lambda config, out: result(str(out)))
    with pytest.raises(SystemExit) as left:
        main([*words, "whole"])
    assert not left.value.code
    assert capsys.readouterr().out == "the table\n"
    code, text = leave([*words, "lost"], capsys)
    assert code == 6 and "report.html: 2 of 3 cells failed, or need one that did" in text


def told(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    run(words)
    return capsys.readouterr().out


def test_recipes_are_listed_shown_with_sources_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    assert "bert-budget" in told(["recipes"], capsys)
    listed = json.loads(told(["recipes", "--json"], capsys))
    assert {"name": "word2vec", "family": "word2vec"}.items() <= next(one for one in listed if one["name"] == "word2vec").items()
    shown = told(["recipes", "word2vec"], capsys)
    assert "family.negatives" in shown and "word2vec.c: negative = 5" in shown
    assert "optimizer" not in shown and "schedule" not in shown  # which word2vec does not read
    assert "optimizer.muon_rate" in told(["recipes", "bert-budget"], capsys)
    assert json.loads(told(["recipes", "bert-mini", "--json"], capsys))["family"]["layers"] == 4
    rows = [line.split() for line in told(["recipes", "bert-mini", "--diff", "bert-tiny"], capsys).splitlines()]
    assert ["family.layers", "4", "2"] in rows
    changes = json.loads(told(["recipes", "bert-mini", "--diff", "bert-tiny", "--json"], capsys))
    assert {"field": "family.layers", "bert-mini": 4, "bert-tiny": 2} in changes


def test_info_is_for_people_and_for_programs(vectors: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("labels.csv").write_text("text,label\n" + "the boat on the river,a\nthe bank raised rates,b\n" * 6)
    run(["transfer", "vectors", "classify", "labels.csv", "--out", "made", "--how", "features", "--threads", "1", "--set", "strategy.epochs=1"])
    shown = told(["info", "made"], capsys)
    assert "made: adapted, key " in shown and "checksums not read" in shown
    assert "several labels a text no" in shown and "columns (header yes, label label, text text)" in shown
    assert not any(mark in shown for mark in "{}[]'"), "a record as Python writes it is nothing for people"
    assert "every checksum holds" in told(["info", "vectors", "--verify"], capsys)
    about = json.loads(told(["info", "vectors", "--json"], capsys))
    assert about["kind"] == "pretrained" and about["meta"]["family"] == "word2vec" and "weights.safetensors" in about["files"]
    assert about["provenance"]["steps"] >= 5


def test_data_sets_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    text, rows = told(["data"], capsys), json.loads(told(["data", "--json"], capsys))
    assert len(rows) > 10 and all(row["name"] in text for row in rows)
