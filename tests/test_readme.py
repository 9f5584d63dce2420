"""The README's commands and Python run as written, offline, in a miniature world (budgets cut to a few steps)."""

import contextlib
import io
import os
import random
import re
import shlex
from pathlib import Path

import pytest

from foretext.cli import run

README = (Path(__file__).parent.parent / "README.md").read_text()
TOPICS = {
    "water": "the boat sailed down the river past the bank and the old bridge while the sailor watched the water".split(),
    "money": "the bank raised its interest rates and the market sold shares while the trader counted the money".split(),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def sentence(draw: random.Random, topic: str) -> str:
    return " ".join(draw.choices(TOPICS[topic], k=12)) + "."


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    draw = random.Random(0)
    (tmp_path / "texts").mkdir()
    for number in range(24):
        topic = ("water", "money")[number % 2]
        (tmp_path / "texts" / f"{number:02}.txt").write_text(" ".join(sentence(draw, topic) for _ in range(12)) + "\n")
    for name, count in (("labels", 24), ("test", 10)):
        rows = [f'"{sentence(draw, topic)}",{topic}' for _ in range(count // 2) for topic in TOPICS]
        (tmp_path / f"{name}.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    (tmp_path / "new.txt").write_text("A boat on the river.\nThe market fell.\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(line: str) -> str:
    """Run one README line in this process with its budget cut; what it printed."""
    words = shlex.split(line)
    assert words.pop(0) == "foretext"
    if "--minutes" in words and words[0] == "pretrain":
        at = words.index("--minutes")
        words[at : at + 2] = ["--steps", "2", "--threads", "1"]  # they would be this process's from then on
    elif "--minutes" in words:
        words[words.index("--minutes") + 1] = "0.02"
    if words[0] == "transfer":
        Path("quick.toml").write_text("[strategy]\nsteps = 4\nevaluations = 1\n")
        words += ["--config", "quick.toml"]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run(words)
    return printed.getvalue()


def test_the_commands(world: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if not line.startswith("foretext ladder")]
    assert len(lines) >= 10
    printed: dict[str, str] = {}
    for line in lines:
        printed.setdefault(" ".join(line.split()[1:3]), command(line))
    said = [row.split("\t") for row in printed["predict classifier"].splitlines()]
    assert [row[2] for row in said] == ["A boat on the river.", "The market fell."]
    assert all(row[0] in TOPICS and 0.5 <= float(row[1]) <= 1 for row in said)
    assert "accuracy" in printed["evaluate classifier"]
    assert "[MASK]" in printed["show bert-budget"]
    assert "layer 0" in printed["neighbors model"]
    assert "every checksum holds" in printed["info classifier"]
    assert len(printed["score model"].splitlines()) == 2
    assert os.path.exists("vectors.npz")
    assert "rivers (seen 0 times)" in printed["neighbors vectors"]
    assert "river" in printed["similarity vectors"]
    assert Path("bank.svg").read_text().startswith("<?xml")
    assert "perplexity" in printed["perplexity ngram"]


def test_the_ladder(world: Path) -> None:
    """The ladder's line, with the one rung that a test can afford to pretrain."""
    line = next(line for block in blocks("sh") for line in block.splitlines() if line.startswith("foretext ladder"))
    printed = command(line.replace(" bert-budget", ""))
    assert [row.split("  ")[0] for row in printed.splitlines() if "±" in row][:2] == ["majority", "TF-IDF + LR"]
    assert "word2vec · features" in printed
    assert "<svg" in Path("ladder/report.html").read_text()


def test_the_python(world: Path) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(blocks("python")[0], "README.md", "exec"), {})
    assert "['the', 'bank', 'and', 'the', 'river', '.']" in printed.getvalue().replace("(", "[").replace(")", "]")
    assert printed.getvalue().splitlines()[-1].split()[0] in TOPICS


def test_every_command_is_known() -> None:
    from foretext.cli import COMMANDS

    for name in re.findall(r"`?foretext ([a-z]+)\b", README):
        assert name in {*COMMANDS, "turns"}, name
