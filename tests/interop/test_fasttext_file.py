"""fastText's .bin: read as the released code reads it, written so that it reads ours, and every damage one error."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained, load_pretrained
from foretext.errors import ArtefactError, ForetextError, ResourceError, UsageError
from foretext.evaluation.neighbors import Words, neighbors
from foretext.interop import fasttext_file, vector_checks
from foretext.interop.convert import convert
from foretext.interop.vectors import as_pretrained
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.models.word2vec.subwords import subwords
from foretext.recipe import Recipe
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import Whole

WORDS = ["the", "river", "青蛙", "café", "banana", "</s>", "a", "清华大学"]
UNSEEN = ["rivers", "青蛙们", "cafés", "xyzzy", "é", "大学", "b"]


def lexicon(words: list[str]) -> ChunkTokenizer:
    config = TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",), unseen="spelling")
    return ChunkTokenizer(config, Whole(["[UNK]", *words], [0, *range(len(words), 0, -1)], 1, 0))


def model(**changes: Any) -> Pretrained:
    config = FastTextConfig(**{"width": 6, "bucket": 300, **changes})
    tokenizer, rng = lexicon(WORDS), np.random.default_rng(0)
    size = (subwords(tokenizer, config).size, config.width)
    arrays = {
        STATIC_TABLE: rng.standard_normal((tokenizer.size, config.width)).astype(np.float32),
        "encoders.text.ngrams.weight": rng.standard_normal(size).astype(np.float32),
        "heads.negative_sampling.table.weight": rng.standard_normal((tokenizer.size, config.width)).astype(np.float32),
    }
    arrays[STATIC_TABLE][0] = 0.0
    recipe = Recipe(name="tiny-fasttext", family=config, tokenizer=tokenizer.config)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays)


CASES: list[dict[str, Any]] = [{}, {"every_bucket": True}, {"min_n": 1, "max_n": 2}, {"min_n": 5, "max_n": 8}, {"max_n": 0}]


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_released_code_reads_ours(tmp_path: Path, changes: dict[str, Any]) -> None:
    fasttext = pytest.importorskip("fasttext")
    ours, out = model(**changes), tmp_path / "m.bin"
    fasttext_file.write(ours, out)
    theirs = fasttext.load_model(str(out))
    assert theirs.get_words() == WORDS
    for word in WORDS + UNSEEN:
        assert np.allclose(theirs.get_word_vector(word), ours.spelled([word])[0], atol=1e-6), word
    table = ours.vectors
    for number, word in enumerate(WORDS, start=1):
        assert np.allclose(theirs.get_word_vector(word), table[number], atol=1e-6), word


@pytest.mark.parametrize("changes", CASES, ids=str)
def test_there_and_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    ours = model(**changes)
    ours.save(tmp_path / "model")
    convert(tmp_path / "model", tmp_path / "m.bin", "fasttext")
    convert(tmp_path / "m.bin", tmp_path / "again", "foretext")
    again = load_pretrained(tmp_path / "again")
    assert list(again.tokenizer.pieces) == list(ours.tokenizer.pieces)
    assert again.tokenizer.counts.tolist() == ours.tokenizer.counts.tolist()  # type: ignore[attr-defined]
    assert np.allclose(again.vectors, ours.vectors, atol=1e-6)
    assert np.allclose(again.spelled(UNSEEN), ours.spelled(UNSEEN), atol=1e-6)  # type: ignore[arg-type]
    found = again.encode(["the rivers; 青蛙"])[0]
    assert found.tokens == ("the", "rivers", ";", "青蛙")
    assert np.allclose(found.layers[0], again.spelled(found.tokens), atol=1e-6)  # type: ignore[arg-type]
    name = "heads.negative_sampling.table.weight"
    assert np.array_equal(again.arrays[name][1:], ours.arrays[name][1:])


@pytest.mark.parametrize("architecture", ["skipgram", "cbow"])
def test_a_model_of_the_released_code_is_read_to_the_bit(tmp_path: Path, architecture: str) -> None:
    fasttext = pytest.importorskip("fasttext")
    rng = np.random.default_rng(1)
    words = [*(f"wort{n}" for n in range(40)), "青蛙", "清华大学", "judgement"]
    (tmp_path / "t.txt").write_text("\n".join(" ".join(rng.choice(words, 12)) for _ in range(120)), encoding="utf-8")
    theirs = fasttext.train_unsupervised(
        str(tmp_path / "t.txt"), model=architecture, dim=5, bucket=500, minCount=1, epoch=1, thread=1, verbose=0
    )
    theirs.save_model(str(tmp_path / "m.bin"))
    ours = as_pretrained(tmp_path / "m.bin")
    assert list(ours.tokenizer.pieces) == ["[UNK]", *theirs.get_words()]
    assert ours.tokenizer.counts[1:].tolist() == theirs.get_words(include_freq=True)[1].tolist()  # type: ignore[attr-defined]
    assert np.array_equal(ours.arrays[STATIC_TABLE][1:], theirs.get_input_matrix()[: len(theirs.get_words())])
    assert ours.recipe.family.architecture == architecture.replace("gr", "-gr")  # type: ignore[attr-defined]
    for word in [*theirs.get_words(), "wort99", "judgment", "青蛙们", "大学", "é"]:
        assert np.allclose(theirs.get_word_vector(word), ours.spelled([word])[0], atol=1e-7), word
    found = neighbors(ours, "judgment", n=3)
    assert isinstance(found, Words)
    assert [one.word for one in found.nearest[0]] == [word for _, word in theirs.get_nearest_neighbors("judgment", k=3)]


def test_a_family_without_letters_is_written_with_maxn_0(tmp_path: Path) -> None:
    fasttext = pytest.importorskip("fasttext")
    ours = model()
    plain = Pretrained(
        recipe=Recipe(name="w", family=Word2VecConfig(width=6), tokenizer=ours.recipe.tokenizer), tokenizers=ours.tokenizers,
        arrays={STATIC_TABLE: ours.arrays[STATIC_TABLE]},
    )  # fmt: skip
    fasttext_file.write(plain, tmp_path / "w.bin")
    theirs = fasttext.load_model(str(tmp_path / "w.bin"))
    assert all(np.array_equal(theirs.get_word_vector(w), plain.vectors[i]) for i, w in enumerate(WORDS, start=1))


def test_gensim_reads_ours(tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models.fasttext")
    ours = model(every_bucket=True)
    fasttext_file.write(ours, tmp_path / "m.bin")
    theirs = gensim.load_facebook_vectors(str(tmp_path / "m.bin"))
    assert theirs.index_to_key == WORDS
    for word in ["river", "青蛙", "rivers", "cafés"]:
        assert np.allclose(theirs[word], ours.spelled([word])[0], atol=1e-6), word


def place(raw: bytes, at: int, new: bytes) -> bytes:
    return raw[:at] + new + raw[at + len(new) :]


DICTIONARY = 8 + 12 * 4 + 8


def test_damage_is_one_error_with_its_place(tmp_path: Path) -> None:
    fasttext_file.write(model(), tmp_path / "m.bin")
    raw = (tmp_path / "m.bin").read_bytes()
    matrix = raw.index(b"\0" + struct.pack("<2q", len(WORDS) + 300, 6))
    for damaged, message in (
        (place(raw, 4, struct.pack("<i", 13)), "version"),
        (place(raw, 8, struct.pack("<i", 70_000)), "dim 70000"),
        (place(raw, 8, struct.pack("<i", 7)), "rows of 7 numbers"),
        (place(raw, 36, struct.pack("<i", 3)), "classifier"),
        (place(raw, 40, struct.pack("<i", 1 << 30)), "input matrix"),
        (place(raw, DICTIONARY, struct.pack("<2i", 1 << 30, 1 << 30)), "claims"),
        (place(raw, DICTIONARY + 8, struct.pack("<i", 1)), "labels"),
        (place(raw, DICTIONARY + 20, struct.pack("<q", 5)), "pruned"),
        (place(raw, matrix, b"\1"), "quantised"),
        (place(raw, matrix + 1, struct.pack("<q", 1 << 60)), "rows of 6"),
        (raw.replace(b"river\0", b"r\xffver\0"), "word 2"),
        (raw.replace(b"a\0" + struct.pack("<q", 2), b"a\0" + struct.pack("<q", -2)), "a count of -2"),
        (raw.replace(b"banana\0", b"\xe9\x9d\x92\xe8\x9b\x99\0"), "twice"),
        (raw[:-1], "bytes are left"),
        (raw + b"\0", "follow the end"),
        (raw[:50], "ends too early"),
        (raw[: matrix + 17] + struct.pack("<f", np.nan) + raw[matrix + 21 :], "finite"),
    ):
        (tmp_path / "d.bin").write_bytes(damaged)
        with pytest.raises(ArtefactError, match=message):
            as_pretrained(tmp_path / "d.bin")


def test_more_than_the_memory_is_refused_before_it_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fasttext_file.write(model(), tmp_path / "m.bin")
    monkeypatch.setattr(vector_checks, "available", lambda: (1000, "memory available"))
    with pytest.raises(ResourceError, match="memory available"):
        as_pretrained(tmp_path / "m.bin")


def test_words_that_it_cannot_hold_are_refused(tmp_path: Path) -> None:
    ours = model()
    wrong = Pretrained(recipe=ours.recipe, tokenizers={SOURCE: lexicon(["New York", *WORDS[1:]])}, arrays=ours.arrays)
    with pytest.raises(UsageError, match="New York"):
        fasttext_file.write(wrong, tmp_path / "m.bin")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120), st.integers(0, 400))
def test_any_bytes_are_vectors_or_one_error(tmp_path_factory: pytest.TempPathFactory, data: bytes, at: int) -> None:
    folder = tmp_path_factory.getbasetemp()
    if not (folder / "good.bin").exists():
        fasttext_file.write(model(bucket=3), folder / "good.bin")
    (folder / "fuzzed.bin").write_bytes(place((folder / "good.bin").read_bytes(), at, data))
    try:
        found = as_pretrained(folder / "fuzzed.bin")
    except ForetextError:
        return
    assert found.vectors.shape[0] == found.tokenizer.size
