"""The word-vector benchmark at its tiniest size, and the measures of quality against plain ones."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

pytest.importorskip("benchmarks", reason="the benchmarks are no part of an installed package")

from benchmarks import cells, render, static, vectors

TINY = [
    "--words", "4000", "--text", "zipf", "--min-count", "2", "--rounds", "1", "--widths", "8", "--square", "32", "--seconds", "0",
    "--inline",
]  # fmt: skip


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Test sets over made-up words, where FORETEXT_DATA points; the words."""
    words = [f"{letter}{number}" for letter in "abcdefgh" for number in range(10)]
    rng = np.random.default_rng(0)
    rows = "".join(f"{a.upper()}\t{b}\t{score:.2f}\n" for a, b, score in zip(words[:30], words[30:60], rng.random(30), strict=True))
    for file, text in (("EN-WS-353-ALL.txt", rows + "absent\ta0\t3\n"), ("EN-SIMLEX-999.txt", "a0\tb0\t1\n")):
        path = tmp_path / "data" / "en" / "word-similarity" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    questions = ": numbers\n" + "".join(f"a{n} b{n} a{n + 1} b{n + 1}\n" for n in range(9)) + "A0 b0 a9 b9\na0 b0 absent b9\n"
    (tmp_path / "data" / "en" / "analogy-google").mkdir()
    (tmp_path / "data" / "en" / "analogy-google" / "questions-words.txt.gz").write_bytes(gzip.compress(questions.encode()))
    monkeypatch.setenv("FORETEXT_DATA", str(tmp_path / "data"))
    return words


def test_quality_is_scipys_rank_correlation_and_a_plain_3cosadd(sets: list[str]) -> None:
    table = np.random.default_rng(1).standard_normal((80, 6)).astype(np.float32)
    table[10:20] = table[:10] + 5 * table[70]  # b is a, moved: analogies hold
    found = vectors.quality(sets, table)
    rows = (vectors.find("en/word-similarity") / "EN-WS-353-ALL.txt").read_text().lower().splitlines()[:-1]
    people = [float(row.split("\t")[2]) for row in rows]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    assert found["WordSim"] == pytest.approx(100 * spearmanr([unit[n] @ unit[n + 30] for n in range(30)], people).statistic)
    assert "SimLex" not in found, "one row is no figure"
    right = 0
    fours = [(n, 10 + n, n + 1, 11 + n) for n in range(9)] + [(0, 10, 9, 19)]
    for a, b, c, wanted in fours:
        scores = unit @ (unit[b] - unit[a] + unit[c])
        scores[[a, b, c]] = -np.inf
        right += int(scores.argmax() == wanted)
    assert found["analogies"] == pytest.approx(100 * right / 10)
    assert right > 0


def test_quality_is_left_out_where_the_sets_are_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORETEXT_DATA", str(tmp_path))
    assert vectors.quality(["a"], np.ones((1, 2), np.float32)) == {}


def test_all_sides_read_the_same_words(tmp_path: Path) -> None:
    vectors.make(tmp_path / "words", "zipf", 3000)
    text = vectors.read(tmp_path / "words")
    lines = text.text.read_text(encoding="utf-8").splitlines()
    assert [text.words[i] for i in text.ids] == [word for line in lines for word in line.split(" ")]
    assert np.diff(text.sentences).tolist() == [len(line.split(" ")) for line in lines]
    assert len(text.ids) == 3000
    assert (np.diff(text.counts) <= 0).all()
    assert len(text.held_out) == len(lines)


@pytest.mark.filterwarnings("ignore")  # what the peers warn of is theirs
def test_every_part_is_measured_and_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static, "missing", lambda: ["gensim", "fastText"])
    parts = ["skip-gram", "cbow", "tree", "subwords", "vocabulary", "threads", "quality"]
    made = static.main([*TINY, "--out", str(tmp_path / "cells"), "--parts", *parts])
    names = {"skip-gram-8", "cbow-8", "tree-8", "cbow-tree-8", "subwords-8", "subwords-cbow-8", "vocabulary", "threads"}
    names |= {f"quality-{one}" for one in ("skip-gram", "cbow", "tree", "cbow-tree")}
    assert {cell.name.split(".")[0].removeprefix("static-") for cell in made} == names
    page = render.render(cells.read_all(tmp_path / "cells"))
    assert "Word vectors beside gensim and fastText" in page
    assert "gensim was not measured: it is not installed" in page
    assert f"{131 * 8:,} FLOP a raw word" in page
    one = next(cell for cell in made if "skip-gram-8" in cell.name)
    assert one.rounds["ours"][0].extra["vocabulary"] > 100
    assert one.facts["peak"] > 0
    assert "static-threads" in page and "≥ 1.8" in page


def test_the_first_step_of_a_fresh_process_needs_no_torch() -> None:
    import subprocess
    import sys

    check = static.FIRST_STEP + "\nassert 'torch' not in sys.modules\n"
    subprocess.run([sys.executable, "-c", check], check=True)
