"""word2vec's layouts: there and back, and every kind of damage as one error."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext import api
from foretext.bundle import Pretrained, load_pretrained
from foretext.errors import ArtefactError, ForetextError, ResourceError, UsageError
from foretext.evaluation.neighbors import Words, neighbors
from foretext.interop import vector_checks
from foretext.interop.vectors import (
    LAYOUTS,
    as_pretrained,
    from_vectors,
    read_glove,
    read_vectors,
    read_word2vec,
    to_vectors,
)
from foretext.models.catalog import FAMILIES, static
from foretext.pretraining import Setting
from foretext.recipes import find
from foretext.text.corpus import strings_corpus

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


GLOVE = "the 0.5 -1.25\n河 1e-3 2\nat name@domain.com 0.1 3.0\n. . . 1 2\n7 3 4"


def test_glove_is_told_by_its_missing_header(tmp_path: Path) -> None:
    (tmp_path / "g").write_text(GLOVE, encoding="utf-8")
    words, table = read_vectors(tmp_path / "g")
    assert words == ["the", "河", "at name@domain.com", ". . .", "7"]
    assert np.array_equal(table, np.array([[0.5, -1.25], [1e-3, 2], [0.1, 3.0], [1, 2], [3, 4]], np.float32))


def test_glove_there_and_back(source: Path, tmp_path: Path) -> None:
    model = as_pretrained(source)
    to_vectors(model, tmp_path / "g", "glove")
    assert (tmp_path / "g").read_text(encoding="utf-8").splitlines()[1] == "the 0.5 -1.25"
    again = as_pretrained(tmp_path / "g")
    assert list(again.tokenizer.pieces) == list(model.tokenizer.pieces) and np.array_equal(again.vectors, model.vectors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1"),
        ("the\n", "line 1"),
        ("the river\n", "line 1"),
        ("the 1 2\nriver 3\n", "line 2"),
        ("the 1 2\nriver x 4\n", "line 2"),
        ("the 1 2\n\n", "line 2"),
        ("the 1 2\nthe 3 4\n", "twice"),
        ("the 1 2\n 3 4\n", "empty"),
        ("the 1 2 3 4\n\n\n\n\n\n\n\n\n", "too many"),
        ("the 1 inf\n", "finite"),
    ],
)
def test_damage_to_glove_is_one_error_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g").write_text(text)
    with pytest.raises(ArtefactError, match=message):
        read_glove(tmp_path / "g")
    with pytest.raises(UsageError, match="no such file"):
        read_glove(tmp_path / "absent")


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    import pickle

    (tmp_path / "v.kv").write_bytes(pickle.dumps({"the": [1.0]}))
    with pytest.raises(ArtefactError, match="save_word2vec_format"):
        read_vectors(tmp_path / "v.kv")


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # gensim's
@pytest.mark.parametrize("layout", ["word2vec", "word2vec-binary", "glove", "fasttext-vec"])
def test_gensim_and_we_read_each_other(source: Path, tmp_path: Path, layout: str) -> None:
    keyed = pytest.importorskip("gensim.models").KeyedVectors
    model = as_pretrained(source)
    to_vectors(model, tmp_path / "v", layout)
    binary = layout == "word2vec-binary"
    theirs = keyed.load_word2vec_format(str(tmp_path / "v"), binary=binary, no_header=layout == "glove")
    assert theirs.index_to_key == list(model.tokenizer.pieces) and np.array_equal(theirs.vectors, model.vectors)
    theirs.save(str(tmp_path / "v.kv"))
    again = keyed.load(str(tmp_path / "v.kv"))
    again.save_word2vec_format(str(tmp_path / "back"), binary=binary, write_header=layout != "glove")
    assert np.array_equal(as_pretrained(tmp_path / "back").vectors, model.vectors)


def test_words_without_counts_stay_so_and_in_order(source: Path) -> None:
    model = as_pretrained(source)
    assert list(model.tokenizer.pieces) == ["[UNK]", "the", "河", "river"]
    found = neighbors(model, "the", n=2)
    assert isinstance(found, Words) and found.counts == (None,) and {one.count for one in found.nearest[0]} == {None}


def test_a_binary_header_beyond_the_file_is_refused_before_anything_is_taken(tmp_path: Path) -> None:
    (tmp_path / "v").write_bytes(b"50 20\na " + b"\x80\x3f" * 1500)
    with pytest.raises(ArtefactError, match="claims 50 words"):
        read_word2vec(tmp_path / "v")


def test_more_than_the_memory_is_refused_before_it_is_taken(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_checks, "available", lambda: (10, "memory available"))
    with pytest.raises(ResourceError, match="memory available"):
        read_vectors(source)


@pytest.fixture(scope="module")
def families(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pretrained]:
    """A tiny model of every family that has static vectors, as the catalog says."""
    folder = tmp_path_factory.mktemp("families")
    setting = Setting(threads=1, device="cpu", workers=0, cache=folder / "cache")
    text = strings_corpus(["The river runs to the sea .", "A ship sails on the wide sea ."] * 6)
    made = {}
    for name in filter(static, FAMILIES):
        own = {"hidden": 4} if name == "nnlm" else {"min_count": 1}
        config = {"family": {"width": 4, "epochs": 1.0, **own}, "tokenizer": {"min_count": 2}, "held_out": 0.1}
        made[name] = api.pretrain(name, text, folder / name, config=config, setting=setting)
    return made


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", list(filter(static, FAMILIES)))
def test_every_family_of_static_vectors_is_written(
    name: str, layout: str, families: dict[str, Pretrained], tmp_path: Path
) -> None:
    """Whatever else it is: NNLM's matrix C, and the vectors that fastText makes of letters."""
    model = families[name]
    assert model.vectors.any()
    assert "read back and equal" in to_vectors(model, tmp_path / "out", layout)
    again = as_pretrained(tmp_path / "out")
    theirs = dict(zip(again.tokenizer.pieces, again.vectors, strict=True))
    for word, row in zip(model.tokenizer.pieces, model.vectors, strict=True):
        if word not in model.tokenizer.special:
            np.testing.assert_allclose(theirs[word], row, atol=1e-6)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_families_without_static_vectors_are_told_which_have_them(layout: str, tmp_path: Path) -> None:
    ngram = Pretrained(recipe=find("ngram"), tokenizers={}, arrays={})
    with pytest.raises(UsageError, match=r"ngram has none; these have: word2vec, glove, nnlm, fasttext"):
        to_vectors(ngram, tmp_path / "out", layout)
