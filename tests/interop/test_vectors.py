"""word2vec's layouts: there and back, and every kind of damage as one error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.bundle import load_pretrained
from foretext.errors import ArtefactError, ForetextError, UsageError
from foretext.interop.vectors import from_vectors, read_word2vec, to_vectors

TEXT = "3 2\nthe 0.5 -1.25\n河 1e-3 2\nriver 0.1 3.0\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "v.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "v.txt"


def test_read(source: Path) -> None:
    words, table = read_word2vec(source)
    assert words == ["the", "河", "river"]
    assert np.array_equal(table, np.array([[0.5, -1.25], [1e-3, 2], [0.1, 3.0]], np.float32))


@pytest.mark.parametrize("binary", [False, True])
def test_there_and_back(source: Path, tmp_path: Path, binary: bool) -> None:
    from_vectors(source, tmp_path / "model")
    model = load_pretrained(tmp_path / "model")
    assert list(model.tokenizer.pieces) == ["[UNK]", "the", "河", "river"]
    assert np.array_equal(model.encode(["the river, unseen"])[0].layers[0][:2], model.vectors[[1, 3]])
    to_vectors(model, tmp_path / "out", "word2vec-binary" if binary else "word2vec")
    words, table = read_word2vec(tmp_path / "out")
    assert words == list(model.tokenizer.pieces)
    assert np.array_equal(table, model.vectors)
    from_vectors(tmp_path / "out", tmp_path / "again")
    assert np.array_equal(load_pretrained(tmp_path / "again").vectors, model.vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header"),
        ("the 0.5 1\n", "header"),
        ("3000000000 300\nthe 1 2\n", "claims 3000000000"),
        ("2 2\nthe 1 2\nthe 3 4\n", "twice"),
        ("2 2\nthe 1 2\nriver nan 4\n", "finite"),
        ("2 2\nthe 1 2\nriver 4\n", "line 3"),
        ("2 2\nthe 1 2\n", "line 3"),
        ("2 2\nthe 1 2\nriver x 4\n", "line 3"),
    ],
)
def test_damage_is_one_error_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "v").write_text(text)
    with pytest.raises(ArtefactError, match=message):
        read_word2vec(tmp_path / "v")
    with pytest.raises(UsageError, match="no such file"):
        read_word2vec(tmp_path / "absent")


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60).map(lambda tail: tail) | st.binary(max_size=60).map(lambda tail: b"2 3\n" + tail))
def test_any_bytes_are_vectors_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzzed"
    file.write_bytes(data)
    try:
        words, table = read_word2vec(file)
    except ForetextError:
        return
    assert len(words) == len(table) == len(set(words))
