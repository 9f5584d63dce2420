"""Saving, loading, keys, and what damage does."""

from pathlib import Path

import pytest

from foretext.errors import ArtefactError, UsageError
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, load_tokenizer, train_tokenizer
from foretext.text.tokenizers.spelling import WordPiece

DOCUMENTS = ["The cats sat on the mat, and the naïve café cats ate.", "我来到北京清华大学。今天天气不错。"] * 3
KINDS = ("words", "characters", "wordpiece", "bpe", "unigram")


def made(kind: str, **settings: object) -> ChunkTokenizer:
    return train_tokenizer(TokenizerConfig(kind=kind, size=300, **settings), strings_corpus(DOCUMENTS))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
def test_saved_and_loaded_it_is_the_same(kind: str, tmp_path: Path) -> None:
    first = made(kind)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first.save(tmp_path / "a")
    loaded = load_tokenizer(tmp_path / "a")
    loaded.save(tmp_path / "b")
    names = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert "vocab.txt" in names
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names)
    assert loaded.key == first.key
    assert loaded.counts.tolist() == first.counts.tolist()
    strings = ["The unseen café 北京 𠀀!", " x"]
    assert [a.tolist() for a in loaded.ids(strings)] == [a.tolist() for a in first.ids(strings)]


@pytest.mark.parametrize("kind", KINDS)
def test_training_twice_gives_the_same_key(kind: str) -> None:
    assert made(kind).key == made(kind).key


def test_the_key_knows_what_decides_ids() -> None:
    keys = [made("wordpiece").key, made("wordpiece", lowercase=False).key, made("wordpiece", chinese="words").key]
    keys += [made("wordpiece", whole_words="characters").key, made("bpe").key]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_found(kind: str, tmp_path: Path) -> None:
    made(kind).save(tmp_path)
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        middle = len(whole) // 2
        damaged = [whole[:-2], whole[:middle], b"", whole[:middle] + b"\xff" + whole[middle + 1 :], b"[" * 9000]
        damaged.append(whole.replace(b"1", b"2", 1) if b"1" in whole else whole + b"\n")
        for data in damaged:
            file.write_bytes(data)
            with pytest.raises(ArtefactError):
                load_tokenizer(tmp_path)
        file.unlink()
        with pytest.raises(ArtefactError):
            load_tokenizer(tmp_path)
        file.write_bytes(whole)
    load_tokenizer(tmp_path)


def test_a_prefix_knows_the_frequent_words() -> None:
    whole = made("words", special=("[UNK]",))
    counts = whole.counts.tolist()
    assert counts[0] == 0
    assert counts[1:] == sorted(counts[1:], reverse=True)
    ranked = [(-count, piece) for count, piece in zip(counts[1:], whole.pieces[1:], strict=True)]
    assert ranked == sorted(ranked)
    few = whole.prefix(5)
    all_ids, few_ids = whole.ids(DOCUMENTS)[0], few.ids(DOCUMENTS)[0]
    assert few_ids.tolist() == [number if number < 5 else 0 for number in all_ids.tolist()]
    assert few.counts.tolist() == counts[:5]
    with pytest.raises(UsageError, match="ranked"):
        made("wordpiece").prefix(5)
    with pytest.raises(UsageError, match="prefix of 1"):
        whole.prefix(1)


def test_an_imported_vocabulary_has_its_special_tokens_anywhere(tmp_path: Path) -> None:
    """google-research/bert's vocab.txt has [UNK] at 100 and [MASK] at 103, GPT-2's <|endoftext|> is the last."""
    pieces = ["[PAD]", "the", "[UNK]", "cat", "##s", "[MASK]", "[", "mask", "]"]
    config = TokenizerConfig(special=("[PAD]", "[UNK]", "[MASK]"), unseen="word")
    imported = ChunkTokenizer(config, WordPiece(pieces, {0, 2, 5}, 2, whole_unknown=True))
    assert imported.special == {"[PAD]": 0, "[UNK]": 2, "[MASK]": 5}
    assert imported.ids(["the cats [MASK] dog"])[0].tolist() == [1, 3, 4, 6, 7, 8, 2]
    imported.save(tmp_path)
    assert load_tokenizer(tmp_path).key == imported.key
    assert load_tokenizer(tmp_path).ids(["the cats [MASK] dog"])[0].tolist() == [1, 3, 4, 6, 7, 8, 2]
