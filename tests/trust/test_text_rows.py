"""TRUST.md section 2, rows 16 to 20: what text may hold, through the real commands."""

import subprocess
import sys
from pathlib import Path

import pytest

from foretext.bundle import load_pretrained
from foretext.errors import ExitCode
from foretext.text.corpus import open_corpus
from trust.command import done, refused
from trust.conftest import POSITIONS

DATA = ExitCode.DATA
Capture = pytest.CaptureFixture[str]

# ── row 16: bytes that are no UTF-8 ─────────────────────────────────────────────────────────────────────────────────

BROKEN = {
    "a stray byte": (b"the boat sails.\nand \xff then\n", 20),
    "a cut character at the end": ("the boat sails. 今天".encode()[:-1], 19),
    "latin-1": ("the café by the river.\n".encode("latin-1"), 7),
    "an encoded surrogate": (b"words \xed\xa0\x80 words\n", 6),
    "overlong": (b"words \xc0\xaf words\n", 6),
    "utf-16": ("the boat".encode("utf-16"), 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_row_16_invalid_utf8_names_file_and_byte(world: Path, capsys: Capture, name: str) -> None:
    data, at = BROKEN[name]
    (world / "bad.txt").write_bytes(data)
    refused(["pretrain", "word2vec", "bad.txt", "--out", "x"], DATA, ("bad.txt:byte ", f"byte {at}:", "iconv"), capsys)
    # `check` lists it among its findings, with the same place, and refuses as well
    refused(["check", "bad.txt"], DATA, (), capsys)


@pytest.mark.parametrize("name", BROKEN)
def test_row_16_replace_reads_on_and_counts(world: Path, capsys: Capture, name: str) -> None:
    data, _ = BROKEN[name]
    (world / "bad.txt").write_bytes(data + b"\n" + b"the boat sails on the river.\n" * 20)
    words = ["pretrain", "word2vec", "bad.txt", "--out", "x", "--encoding-errors", "replace", "--config", "v.toml", "--threads", "1"]
    (world / "v.toml").write_text("[family]\nmin_count = 1\nwidth = 4\n")
    out, _ = done(words, capsys)
    assert "invalid byte sequences replaced by U+FFFD" in out
    assert (world / "x" / "foretext.json").exists()


@pytest.mark.parametrize("command", ["transfer", "evaluate", "predict"])
def test_row_16_labelled_files_too(world: Path, capsys: Capture, command: str) -> None:
    (world / "bad.csv").write_bytes(b"text,label\na wave,sea\nb\xe9,law\n")
    words = {
        "transfer": ["transfer", "model", "classify", "bad.csv", "--out", "x"],
        "evaluate": ["evaluate", "classifier", "bad.csv"],
        "predict": ["predict", "classifier", "bad.csv"],
    }[command]
    refused(words, DATA, ("bad.csv:line 3:", "0xe9 at byte 23"), capsys)


# ── row 17: one normalisation, the same tokens ──────────────────────────────────────────────────────────────────────

CLEAN = {"en": "the old ship.\nthe wave was near.\na sailor.\n", "zh": "海上有船。\n法官说罪。\n天上有云。\n"}
VARIANTS = {
    "a byte order mark": lambda text: "\ufeff" + text,
    "CR LF": lambda text: text.replace("\n", "\r\n"),
    "CR": lambda text: text.replace("\n", "\r"),
    "U+2028": lambda text: text.replace("\n", "\u2028"),
    "U+2029": lambda text: text.replace("\n", "\u2029"),
    "NEL and form feed": lambda text: text.replace("\n", "\x85", 1).replace("\n", "\x0c", 1),
    "NUL and controls": lambda text: text.replace("a", "\x00a", 1).replace("船", "\x07船\x00").replace("\n", "\x00\n"),
    "a mark inside": lambda text: text.replace("\n", "\n\ufeff"),
}


@pytest.mark.parametrize("language", CLEAN)
@pytest.mark.parametrize("name", VARIANTS)
def test_row_17_normalised_text_gives_the_tokens_of_its_clean_copy(world: Path, name: str, language: str) -> None:
    text = CLEAN[language]
    varied = VARIANTS[name](text)
    assert varied != text
    tokenizer = load_pretrained("model").tokenizer
    ids = []
    for file, content in (("clean.txt", text), ("varied.txt", varied)):
        (world / file).write_bytes(content.encode())
        strings = [sentence.string for sentence in open_corpus([file]).sentences()]
        ids.append([found.tolist() for found in (tokenizer.ids([string.strip()])[0] for string in strings)])
    assert ids[0] == ids[1]
    assert sum(map(len, ids[0])) > 8


# ── row 18: no text ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", "\ufeff".encode(), "\u3000\u2028\n".encode(), b"\x00\x00\n"])
def test_row_18_an_empty_corpus_is_refused(world: Path, capsys: Capture, content: bytes) -> None:
    (world / "none.txt").write_bytes(content)
    for words in (["pretrain", "word2vec", "none.txt", "--out", "x"], ["show", "bert-budget", "none.txt"]):
        refused(words, DATA, ("none.txt", "expected text, found only white space or nothing"), capsys)
    refused(["check", "none.txt"], DATA, (), capsys)


@pytest.mark.parametrize("content", [b"", b"text,label\n", b"\n\n"])
def test_row_18_an_empty_labelled_file_is_refused(world: Path, capsys: Capture, content: bytes) -> None:
    (world / "none.csv").write_bytes(content)
    refused(["transfer", "model", "classify", "none.csv", "--out", "x"], DATA, ("none.csv", "found"), capsys)
    refused(["evaluate", "classifier", "none.csv"], DATA, ("none.csv", "found"), capsys)


def test_row_18_a_folder_without_text(world: Path, capsys: Capture) -> None:
    (world / "folder").mkdir()
    (world / "folder" / "picture.png").write_bytes(b"\x89PNG")
    refused(["pretrain", "word2vec", "folder", "--out", "x"], DATA, ("folder", "no text found"), capsys)


# ── row 19: one very long line (five gigabytes in soak: text/test_readers.py) ───────────────────────────────────────

LONG = """
import resource, sys
from foretext.text.corpus import open_corpus
next(open_corpus(["corpus.txt"]).sentences())  # what is loaded once is loaded
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
characters = sum(len(s.string) - s.string.count(" ") for s in open_corpus([sys.argv[1]]).sentences())
print(characters, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.parametrize(("unit", "size"), [("the old ship near the harbour sails. ", 6_000_000), ("x", 40_000_000)])
def test_row_19_a_long_line_is_read_whole_in_bounded_memory(world: Path, unit: str, size: int) -> None:
    line = unit * (size // len(unit))
    (world / "line.txt").write_text(line)
    found = subprocess.run([sys.executable, "-c", LONG, "line.txt"], capture_output=True, text=True, check=True)
    characters, grown = map(int, found.stdout.split())
    assert characters == len(line) - line.count(" "), "no visible character of it is lost"
    assert grown < 16_000, f"{grown} KiB for a line of {len(line):,} characters"


# ── row 20: sequences longer than the model's positions ─────────────────────────────────────────────────────────────

ROOM = POSITIONS - 2  # [CLS] and [SEP]
CALLS = {
    "predict": ["predict", "classifier", "texts.txt"],
    "evaluate": ["evaluate", "classifier", "texts.csv"],
    "encode": ["encode", "model", "texts.txt", "--out", "v.npz"],
    "score": ["score", "model", "texts.txt"],
    "transfer": ["transfer", "model", "classify", "texts.csv", "--out", "x", "--how", "features", "--config", "few.toml"],
}


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize("tokens", [ROOM, ROOM + 1, 10 * ROOM])
def test_row_20_long_texts_are_read_in_windows_and_counted(world: Path, capsys: Capture, command: str, tokens: int) -> None:
    long = "船" * tokens  # a character is a token
    (world / "texts.txt").write_text(f"the ship\n{long}\n")
    (world / "texts.csv").write_text("text,label\n" + f"the ship,sea\n{long},law\nthe court,law\nold wave,sea\n")
    (world / "few.toml").write_text("[strategy]\nsteps = 2\nevaluations = 1\ncache = false\n[task]\ndev_share = 0.0\n")
    out, err = done(CALLS[command], capsys)
    said = "exceed the limit" in err or "are longer than the 16 positions" in err
    assert said == (tokens > ROOM), err
    if said:
        assert "1 of " in err
        assert "0.0 % were cut" in err or "no token was left out" in err
    if command == "score":
        assert [int(line.split("\t")[1]) for line in out.splitlines()][1] == tokens
    if command == "encode":
        import numpy as np

        assert np.load("v.npz")["00000001.layer_2"].shape[0] == tokens


@pytest.mark.parametrize("tokens", [ROOM, ROOM + 1, 10 * ROOM])
def test_row_20_fill(world: Path, capsys: Capture, tokens: int) -> None:
    _, err = done(["fill", "model", "船" * (tokens - 1) + "___"], capsys)
    assert ("1 of 1 texts" in err) == (tokens > ROOM)


def test_row_20_what_is_cut_or_refused_on_request_is_said(world: Path, capsys: Capture) -> None:
    (world / "texts.csv").write_text("text,label\n" + "the ship,sea\n" + "船" * 100 + ",law\nthe court,law\nold wave,sea\n")
    base = "[strategy]\nsteps = 2\nevaluations = 1\ncache = false\n[task]\ndev_share = 0.0\nfit = "
    (world / "cut.toml").write_text(base + '{policy = "cut"}\n')
    words = ["transfer", "model", "classify", "texts.csv", "--out", "x", "--how", "features", "--config"]
    _, err = done([*words, "cut.toml"], capsys)
    assert "1 of 4 texts exceed the limit" in err
    assert "were cut" in err
    assert " 0.0 % were cut" not in err
    (world / "refuse.toml").write_text(base + '{policy = "refuse"}\n')
    refused([*words[:-3], "--how", "frozen", "--config", "refuse.toml", "--out", "y"], DATA, ("100",), capsys)


def test_row_20_windows_longer_than_the_model_are_refused_before_training(world: Path, capsys: Capture) -> None:
    (world / "long.toml").write_text((world / "small.toml").read_text().replace("length = 16", "length = 17"))
    words = ["pretrain", "bert-budget", "corpus.txt", "--out", "x", "--steps", "1", "--config", "long.toml"]
    refused(words, ExitCode.USAGE, ("windows of 17 tokens for a model of 16 positions",), capsys)
