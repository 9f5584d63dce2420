"""Phrases against a plain word2phrase, on disk, in prefixes, in English and Chinese."""

import random
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from foretext.errors import ArtefactError, UsageError
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, load_tokenizer, train_tokenizer
from foretext.text.tokenizers.config import plain
from foretext.text.tokenizers.phrases import Phrases
from foretext.types import UNSEEN, Text

WORDS = "red blue green small large house tree road river town walks runs sees likes near far".split()
CONFIG = TokenizerConfig(kind="words", special=("[UNK]",), phrases=(8.0, 4.0))


def sentences(seed: int = 0, count: int = 300) -> list[list[str]]:
    draw = random.Random(seed)
    found = []
    for number in range(count):
        words = draw.choices(WORDS, k=8)
        if number % 3 == 0:
            words[2:2] = ["new", "york"]
        if number % 4 == 0:
            words[5:5] = ["new", "york", "times"]
        if number % 5 == 0:
            words[1:1] = ["new", "new", "york", "york"]
        found.append([*words, "."])
    return found


def word2phrase(lines: list[list[str]], threshold: float, discount: float) -> list[list[str]]:
    """One pass, as word2phrase.c makes it, but that marks are joined to nothing."""
    words = Counter(word for line in lines for word in line)
    pairs = Counter(pair for line in lines for pair in pairwise(line))
    total = sum(words.values())
    made = []
    for line in lines:
        out: list[str] = []
        joined = True  # the word before may not be joined again
        for word in line:
            last = out[-1] if out else ""
            fits = not joined and last.replace("_", "").isalnum() and word.replace("_", "").isalnum()
            fits = fits and min(words[last], words[word]) >= discount
            if fits and (pairs[last, word] - discount) / words[last] / words[word] * total > threshold:
                out[-1] = f"{last}_{word}"
                joined = True
            else:
                out.append(word)
                joined = False
        made.append(out)
    return made


@pytest.fixture(scope="module")
def made() -> ChunkTokenizer:
    return train_tokenizer(CONFIG, strings_corpus([" ".join(line) for line in sentences()]), workers=0)


def spelt(tokenizer: ChunkTokenizer, string: str) -> list[str]:
    return [tokenizer.pieces[number] for number in tokenizer.ids([string])[0]]


@pytest.mark.parametrize("thresholds", [(8.0,), (8.0, 4.0), (3.0, 3.0, 3.0)])
def test_phrases_are_those_of_word2phrase(thresholds: tuple[float, ...]) -> None:
    lines = sentences(1)
    config = TokenizerConfig(kind="words", special=("[UNK]",), phrases=thresholds)
    tokenizer = train_tokenizer(config, strings_corpus([" ".join(line) for line in lines]), workers=0)
    expected = lines
    for threshold in thresholds:
        expected = word2phrase(expected, threshold, 5.0)
    assert any("_" in word for line in expected for word in line)
    ids, lengths, _ = tokenizer.ids([" ".join(line) for line in lines])
    found = np.split(ids, np.cumsum(lengths)[:-1])
    assert [[tokenizer.pieces[number] for number in line] for line in found] == expected
    counts = Counter(word for line in expected for word in line)
    assert dict(zip(tokenizer.pieces[1:], tokenizer.counts[1:].tolist(), strict=True)) == counts
    assert (np.diff(tokenizer.counts[1:]) <= 0).all()


def test_a_new_text_is_joined_alike_and_both_ways_agree(made: ChunkTokenizer) -> None:
    assert {"new_york", "new_york_times"} <= set(made.pieces)
    text = "He sees New York, likes the New York Times; new york york\nnear New  York town."
    encoded = made.encode([Text(string=text)])[0]
    fast, lengths, begins = made.ids([text, "", "new", "york"])
    assert fast[: lengths[0]].tolist() == encoded.ids.tolist()
    assert lengths.tolist() == [len(encoded.ids), 0, 1, 1]
    assert begins.all()
    covered = [text[start:stop] for start, stop in encoded.offsets]
    assert "New York Times" in covered
    assert "New  York" in covered
    assert covered[0] == "He"
    assert encoded.word.tolist() == list(range(len(covered)))
    assert "new_york" in made.decode(encoded.ids.tolist())


def test_given_words_are_joined_to_nothing(made: ChunkTokenizer) -> None:
    string = "near New York town"
    given = made.encode([Text(string=string, words=((5, 8), (9, 13)))])[0]
    assert [string[a:b] for a, b in given.offsets] == ["near", "New", "York", "town"]
    assert given.word.tolist() == [-1, 0, 1, -1]


def test_phrases_go_to_disk_and_back(made: ChunkTokenizer, tmp_path: Path) -> None:
    made.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert again.key == made.key
    for text in ("New York Times near New York", "the new york"):
        assert again.ids([text])[0].tolist() == made.ids([text])[0].tolist()
    lines = (tmp_path / "phrases.txt").read_text(encoding="utf-8").splitlines()
    assert "0 new york" in lines
    for bad in ("0 new", "x new york", "0 new york times", "1 new york\n0 a b"):
        (tmp_path / "phrases.txt").write_text(bad + "\n", encoding="utf-8")
        with pytest.raises(ArtefactError, match=r"phrases\.txt.*a pass and two words"):
            load_tokenizer(tmp_path)
    (tmp_path / "phrases.txt").write_text("\n".join([*lines[:-1], "0 red blue"]) + "\n", encoding="utf-8")
    with pytest.raises(ArtefactError):
        load_tokenizer(tmp_path)


def test_a_prefix_joins_what_it_still_knows_and_parts_need_no_entry(made: ChunkTokenizer) -> None:
    place = list(made.pieces).index("new_york_times")
    shorter = made.prefix(place + 1)
    assert spelt(shorter, "New York Times")[0] == "new_york_times"
    assert "times" not in shorter.pieces
    cut = made.prefix(place)
    assert isinstance(cut.spelling, Phrases)
    assert "new_york_times" not in cut.pieces
    assert spelt(cut, "near New York Times") == ["near", "new_york", "[UNK]"]


def test_chinese_words_are_joined_too() -> None:
    draw = random.Random(3)
    nouns = "苹果 河流 房子 老师 学生 天气 电影 音乐".split()
    texts = ["，".join(draw.choices(nouns, k=4)) + ("，人工智能很好。" if number % 2 else "。") for number in range(200)]
    config = TokenizerConfig(kind="words", chinese="words", special=("[UNK]",), phrases=(6.0,))
    tokenizer = train_tokenizer(config, strings_corpus(texts), workers=0)
    assert any("人工" in piece and "_" in piece for piece in tokenizer.pieces) or "人工智能_很" in tokenizer.pieces


def test_memory_is_bounded_and_workers_agree(tmp_path: Path) -> None:
    texts = strings_corpus([" ".join(line) for line in sentences(2, 600)])
    few = TokenizerConfig(kind="words", special=("[UNK]",), phrases=(8.0,), most_words=30)
    assert "new_york" in train_tokenizer(few, texts, workers=0).pieces
    assert train_tokenizer(CONFIG, texts, workers=0).key == train_tokenizer(CONFIG, texts, workers=2).key


def test_what_asks_for_none_is_as_it_was() -> None:
    assert not any(name.startswith("phrase") for name in plain(TokenizerConfig()))
    assert plain(CONFIG)["phrases"] == (8.0, 4.0)
    with pytest.raises(UsageError, match="only words are joined to phrases, not wordpiece"):
        TokenizerConfig(phrases=(1.0,))
    with pytest.raises(UsageError, match="above 0"):
        TokenizerConfig(kind="words", phrases=(0.0,))


def test_unseen_words_keep_their_spelling_and_join_nothing() -> None:
    open_words = replace(CONFIG, unseen="spelling", min_count=100)
    corpus = strings_corpus([" ".join(line) for line in [*sentences(), *[["old", "york"]] * 30]])
    closed = train_tokenizer(replace(CONFIG, min_count=100), corpus, workers=0)
    tokenizer = train_tokenizer(open_words, corpus, workers=0)
    assert list(tokenizer.pieces) == list(closed.pieces) and "new_york" in tokenizer.pieces and "york" not in tokenizer.pieces
    for text in ("near zebra new york zebra york near", "york", "zebra", "new york new zebra"):
        found, plainly = (one.encode([Text(string=text)])[0] for one in (tokenizer, closed))
        assert found.offsets.tolist() == plainly.offsets.tolist() and found.word.tolist() == plainly.word.tolist()
        assert np.where(found.ids >= UNSEEN, 0, found.ids).tolist() == plainly.ids.tolist() == tokenizer.ids([text])[0].tolist()
        words = [text[start:stop].replace(" ", "_") for start, stop in found.offsets.tolist()]
        assert [found.forms[i] if i >= UNSEEN else tokenizer.pieces[i] for i in found.ids.tolist()] == words
    given = tokenizer.encode([Text(string="new york new zebra", words=((0, 8), (9, 18)))])[0]
    assert [given.forms.get(i) or tokenizer.pieces[i] for i in given.ids.tolist()] == ["new_york", "new zebra"]
