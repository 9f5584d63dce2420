"""spaCy's vectors: keys as spaCy has them, the folder there and back, damage as one error."""

import json
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest

from foretext.errors import ArtefactError, UsageError
from foretext.interop import spacy_folder
from foretext.interop.convert import convert
from foretext.interop.vectors import as_pretrained, is_vectors

WORDS = ["the", "river", "青蛙", "a word of many letters"]
TABLE = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    spacy_folder.write(WORDS, TABLE, tmp_path / "v")
    return tmp_path / "v"


@pytest.mark.parametrize(
    ("word", "key"), [("apple", 8566208034543834098), ("coffee", 3197928453018144401), ("is", 3411606890003347522)]
)
def test_keys_are_spacys(word: str, key: int) -> None:
    """"coffee" stands so in spaCy's own guide (Vocab, hashes and lexemes); the others are nlp.vocab.strings'."""
    assert spacy_folder.key(word) == key


def test_there_and_back(folder: Path, tmp_path: Path) -> None:
    words, table = spacy_folder.read(folder)
    assert words == WORDS and np.array_equal(table, TABLE)
    model = as_pretrained(folder)
    assert list(model.tokenizer.pieces) == ["[UNK]", *WORDS] and np.array_equal(model.vectors[1:], TABLE)
    model.save(tmp_path / "m")
    convert(tmp_path / "m", tmp_path / "out", "spacy")
    convert(tmp_path / "out", tmp_path / "again", "foretext")
    assert np.array_equal(as_pretrained(tmp_path / "out").vectors, model.vectors)


def test_the_vectors_of_a_pipeline_are_found(folder: Path, tmp_path: Path) -> None:
    shutil.move(folder, tmp_path / "pipeline" / "vocab")
    assert is_vectors(tmp_path / "pipeline")
    assert list(as_pretrained(tmp_path / "pipeline").tokenizer.pieces)[1:] == WORDS


def test_spacy_reads_it(folder: Path) -> None:
    vocab = pytest.importorskip("spacy.vocab").Vocab().from_disk(folder)
    for word, row in zip(WORDS, TABLE, strict=True):
        assert np.array_equal(vocab[word].vector, row)


def test_words_that_share_a_row_each_get_it(folder: Path) -> None:
    rows = {spacy_folder.key(word): row for word, row in zip(WORDS, (0, 1, 1, 2), strict=True)}
    (folder / "key2row").write_bytes(msgspec.msgpack.encode(rows))
    words, table = spacy_folder.read(folder)
    assert words == WORDS and np.array_equal(table, TABLE[[0, 1, 1, 2]])


def test_damage_is_one_error(folder: Path, tmp_path: Path) -> None:
    header = (folder / "vectors").read_bytes()
    for name, data, message in (
        ("vectors", header[:-4], "shape"),
        ("vectors", header.replace(b"(4, 3)", b"(9, 3)"), "shape"),
        ("vectors", header.replace(b"<f4", b"<i4"), "rows of floats"),
        ("vectors", header.replace(b"<f4", b"|O8"), "O8"),
        ("vectors", b"", "npy"),
        ("vectors", header[:-4] + np.float32(np.nan).tobytes(), "finite"),
        ("key2row", b"\xff", "expected a map|damaged"),
        ("key2row", msgspec.msgpack.encode({spacy_folder.key("the"): 4}), "row 4 of 4"),
        ("key2row", msgspec.msgpack.encode({7: 0}), "no string"),
        ("strings.json", b'["the"]', "have no word"),
        ("strings.json", b"[1]", "list of strings"),
        ("strings.json", b"[", "damaged"),
        ("vectors.cfg", json.dumps({"mode": "floret"}).encode(), "floret"),
    ):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        (copy / name).write_bytes(data)
        with pytest.raises(ArtefactError, match=message):
            spacy_folder.read(copy)
    (folder / "strings.json").unlink()
    with pytest.raises(ArtefactError, match="missing"):
        spacy_folder.read(folder)


def test_a_word_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="twice"):
        spacy_folder.write(["a", "a"], TABLE[:2], tmp_path / "v")
