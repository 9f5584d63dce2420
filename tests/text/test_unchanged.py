"""A corpus that changes under a run is noticed, and one that does not is not read again to know it."""

import io
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from foretext.config import override
from foretext.errors import DataError, UsageError
from foretext.pretraining import Setting, prepare
from foretext.recipes import find
from foretext.text import unchanged
from foretext.text.corpus import SAMPLE, CorpusConfig, FileCorpus, open_corpus
from foretext.text.sources import Source
from foretext.training.progress import SilentWatch

CHANGED = r"text\.txt.*changed while it was read"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "text.txt").write_text("The river runs to the sea.\n" * 40_000)
    return tmp_path / "text.txt"


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the file had been written long ago."""
    monkeypatch.setattr(unchanged, "SETTLED", -60)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes read of sources, one number a read."""
    numbers: list[int] = []
    raw = Source.raw

    class Counting(io.FileIO):
        def read(self, size: int | None = -1) -> Any:
            data = super().read(-1 if size is None else size)
            numbers.append(len(data))
            return data

    @contextmanager
    def counting(self: Source) -> Iterator[Any]:
        with raw(self), Counting(self.location) as stream:
            yield stream

    monkeypatch.setattr(Source, "raw", counting)
    return numbers


def opened(file: Path) -> FileCorpus:
    corpus = open_corpus(str(file), CorpusConfig(documents="line", language="en"))
    assert corpus.key
    return corpus


def prepared(file: Path, folder: Path) -> None:
    recipe = override(find("word2vec"), {"family": {"width": 4}, "tokenizer": {"min_count": 1}})
    prepare(recipe, opened(file), None, Setting(cache=folder / "cache", workers=0), SilentWatch())


def passes(counted: list[int], file: Path) -> float:
    return sum(counted) / file.stat().st_size


def test_a_file_that_nobody_touches_is_read_three_times(file: Path, tmp_path: Path, settled: None, counted: list[int]) -> None:
    """To know it, to find its words, to encode it: two looks whether it changed cost no byte. (Besides the look at its
    beginning by which `open_corpus` decides how to read it.)"""
    prepared(file, tmp_path)
    assert 3 <= passes(counted, file) < 3 + 2.2 * (SAMPLE + unchanged.CHUNK) / file.stat().st_size


def test_a_file_just_written_is_read_again_each_time(file: Path, tmp_path: Path, counted: list[int]) -> None:
    """Its times cannot tell one write from the next: five readings, as many as there were before stamps."""
    prepared(file, tmp_path)
    assert 5 <= passes(counted, file) < 5 + 2.2 * (SAMPLE + unchanged.CHUNK) / file.stat().st_size


def test_every_change_is_noticed(file: Path, settled: None) -> None:
    """Of another size, of the same, with its time set back, and another file under its name."""
    text, times = file.read_bytes(), file.stat()
    other = text.replace(b"sea", b"hay", 1)

    def back() -> None:  # what `cp -p`, `rsync -t` and `touch -r` do
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))

    def replaced() -> None:
        (file.parent / "new").write_bytes(other)
        os.utime(file.parent / "new", ns=(times.st_atime_ns, times.st_mtime_ns))
        (file.parent / "new").replace(file)

    def patched() -> None:
        with open(file, "r+b") as stream:
            stream.write(b"A")

    changes = (
        lambda: file.write_bytes(text + b"More.\n"), lambda: file.write_bytes(other), lambda: (file.write_bytes(other), back()),
        lambda: (patched(), back()), replaced,
    )  # fmt: skip
    for change in changes:
        file.write_bytes(text)
        corpus = opened(file)
        corpus.require_unchanged()
        times = file.stat()
        time.sleep(0.02)  # two ticks of the clock by which Linux stamps files
        change()
        with pytest.raises(DataError, match=CHANGED):
            corpus.require_unchanged()
    file.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        corpus.require_unchanged()


def test_a_change_that_leaves_no_stamp_is_noticed_while_the_file_is_young(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within one tick of a file system's clock size and times stay: here they stand still altogether."""
    frozen = os.stat(file)
    corpus = opened(file)
    monkeypatch.setattr(os, "fstat", lambda _: frozen)
    file.write_bytes(file.read_bytes().replace(b"sea", b"hay", 1))
    with pytest.raises(DataError, match=CHANGED):
        corpus.require_unchanged()


def test_a_file_that_was_only_touched_is_read_once_and_accepted(file: Path, settled: None, counted: list[int]) -> None:
    corpus = opened(file)
    os.utime(file)
    counted.clear()
    corpus.require_unchanged()
    assert passes(counted, file) == 1
    corpus.require_unchanged()
    assert passes(counted, file) == 1


def test_what_has_no_stamp_is_read(file: Path, settled: None, counted: list[int]) -> None:
    source = replace(opened(file).files[0].source, remote=True)
    counted.clear()
    seen = unchanged.read(source)
    assert seen.stamp is None and unchanged.look_again(source, seen) == seen
    assert passes(counted, file) == 2
