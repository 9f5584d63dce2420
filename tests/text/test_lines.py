"""Text cut into sentences and words already: reading it as bytes gives what reading it as strings gives, to the bit."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from foretext.errors import DataError
from foretext.text import lines
from foretext.text.corpus import CorpusConfig, FileCorpus, open_corpus, strings_corpus
from foretext.text.lines import Block, line_blocks
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer

SPACES = TokenizerConfig(kind="spaces", special=("[UNK]",))
HARD = "a B\u00e9 \t\n\r\x00\x0b\x0c\x1f\x7f\x85\u00a0\u00ad\u200b\u2028\ufeff\u3000\ufe0f中"
KINDS = ("file", "line", "blank")


class AsStrings(FileCorpus):
    """The same corpus, read sentence by sentence."""

    def blocks(self) -> Iterator[Block] | None:
        return None


def both(path: Path, **config: str) -> tuple[FileCorpus, FileCorpus]:
    corpus = open_corpus([path], CorpusConfig(sentences="line", **config))  # type: ignore[arg-type]
    assert line_blocks(corpus) is not None
    return corpus, AsStrings(corpus.files, corpus.config)


def made(corpus: FileCorpus, cache: Path, workers: int = 0) -> tuple[ChunkTokenizer, TokenStore]:
    tokenizer = train_tokenizer(SPACES, corpus, workers=workers)
    return tokenizer, build_store(corpus, tokenizer, cache, workers=workers, held_out=0.2)


def assert_alike(path: Path, cache: Path, workers: int = 0, **config: str) -> TokenStore:
    native, strings = both(path, **config)
    assert native.key == strings.key
    (mine, store), (theirs, other) = made(native, cache / "native", workers), made(strings, cache / "strings")
    assert mine.pieces == theirs.pieces
    assert mine.key == theirs.key
    assert mine.counts.tolist() == theirs.counts.tolist()
    for column in ("ids", "sentences", "documents", "held_out", "counts"):
        assert np.array_equal(getattr(store, column), getattr(other, column)), column
    assert store.word_starts[:].tolist() == other.word_starts[:].tolist()
    return store


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet=HARD, max_size=40), st.sampled_from(KINDS))
@example("\ufeffa b\r\n\r\nc", "blank")
@example("\u00adx \u00ad\ny", "line")
@example("a\u2028b\n\u2029\nc", "line")
def test_any_text(tmp_path_factory: pytest.TempPathFactory, text: str, documents: str) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "text.txt").write_bytes(("seen first\n" + text).encode())
    assert_alike(folder / "text.txt", folder, documents=documents)


def test_progress_goes_to_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 64)
    monkeypatch.setattr("foretext.text.sources.CHUNK", 32)
    (tmp_path / "text.txt").write_text("some words of a line\n" * 40)
    corpus, _ = both(tmp_path / "text.txt")
    told: list[tuple[int, int]] = []
    tokenizer = train_tokenizer(SPACES, corpus, workers=0, progress=lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1][0] == told[-1][1]
    assert len(told) > 5
    first = len(told)
    build_store(corpus, tokenizer, tmp_path, workers=0, progress=lambda done, of: told.append((done, of)))
    assert len(told) == 2 * first
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("documents", KINDS)
def test_blocks_and_workers_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, documents: str) -> None:
    monkeypatch.setattr(lines, "BLOCK", 64)
    rows = [f"Das {n} wört{n % 7} 中文 , long{'er' * (n % 13)}\n" + "\n" * (n % 3 == 0) for n in range(200)]
    (tmp_path / "text.txt").write_text("".join(rows), encoding="utf-8")
    store = assert_alike(tmp_path / "text.txt", tmp_path, workers=2, documents=documents)
    assert len(store.sentences) - 1 == 200
    assert len(store.documents) - 1 == {"file": 1, "line": 200, "blank": 68}[documents]


def test_a_line_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("One . Two ! Three\n\nMr. Four\n")
    corpus = open_corpus([tmp_path / "text.txt"], CorpusConfig(sentences="line"))
    assert [sentence.string for sentence in corpus.sentences()] == ["One . Two ! Three", "Mr. Four"]
    other = open_corpus([tmp_path / "text.txt"])
    assert len(list(other.sentences())) == 4
    assert corpus.key != other.key


def test_lines_are_not_joined_though_they_look_wrapped(tmp_path: Path) -> None:
    text = "".join(f"the words of line number {n} are as many as fit into a line of this\n" for n in range(40))
    (tmp_path / "text.txt").write_text(text)
    (layout,) = [file.layout for file in open_corpus([tmp_path / "text.txt"]).files]
    assert layout is not None
    assert layout.columns
    store = assert_alike(tmp_path / "text.txt", tmp_path)
    assert len(store.sentences) - 1 == 40


@pytest.mark.parametrize("documents", ["line", "blank"])
def test_a_line_too_long_for_a_paragraph_is_cut_as_readers_cut_it(tmp_path: Path, documents: str) -> None:
    (tmp_path / "text.txt").write_text("before\n" + "wörd " * 40_000 + "end\n\nafter\n", encoding="utf-8")
    store = assert_alike(tmp_path / "text.txt", tmp_path, documents=documents)
    assert len(store.sentences) - 1 > 3
    assert len(store.documents) - 1 == {"line": 3, "blank": 2}[documents]


def test_a_line_longer_than_a_block_loses_no_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 1 << 10)
    monkeypatch.setattr("foretext.text.sources.CHUNK", 1 << 8)
    words = [f"w{n}" for n in range(5000)] + ["中" * 3000]
    (tmp_path / "text.txt").write_text(" ".join(words), encoding="utf-8")
    native, _ = both(tmp_path / "text.txt", documents="line")
    _, store = made(native, tmp_path)
    assert len(store.documents) - 1 == 1, "still one line"
    assert store.text(0, 5000).split() == words[:5000]
    assert store.text(5000, len(store.ids)).replace(" ", "") == words[-1]


def test_bytes_that_are_no_text_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK", 4)
    (tmp_path / "text.txt").write_bytes(b"fine\nand \xff\nx\n")
    native, strings = both(tmp_path / "text.txt")
    with pytest.raises(DataError, match="expected UTF-8, found the bytes ff") as mine:
        train_tokenizer(SPACES, native)
    with pytest.raises(DataError) as theirs:
        train_tokenizer(SPACES, strings)
    assert mine.value.place == theirs.value.place == "byte 9"
    assert_alike(tmp_path / "text.txt", tmp_path, encoding_errors="replace")


def test_text_without_words(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(" \n\t\n")
    native, strings = both(tmp_path / "text.txt")
    for corpus in (native, strings):
        with pytest.raises(DataError, match="only white space or nothing"):
            train_tokenizer(SPACES, corpus)


def test_what_cannot_be_read_in_blocks(tmp_path: Path) -> None:
    (tmp_path / "text.jsonl").write_text('{"text": "a b\\nc"}\n')
    records = open_corpus([tmp_path / "text.jsonl"], CorpusConfig(sentences="line"))
    assert line_blocks(records) is None
    assert [sentence.string for sentence in records.sentences()] == ["a b", "c"]
    assert line_blocks(strings_corpus(["a b"])) is None
    (tmp_path / "text.txt").write_text("a b\n")
    assert line_blocks(open_corpus([tmp_path / "text.txt"])) is None
