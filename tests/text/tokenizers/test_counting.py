"""Counted words: the same for any number of workers, bounded, and never more text than the corpus has."""

from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text import shards
from foretext.text.corpus import strings_corpus
from foretext.text.shards import joined
from foretext.text.tokenizers import TokenizerConfig
from foretext.text.tokenizers.counting import count_words, prune
from foretext.types import Place, Sentence


def test_counts_are_ranked() -> None:
    corpus = strings_corpus(["b a B. c", "a b 北京 清华大学"])
    counts = count_words(TokenizerConfig(kind="words"), corpus)
    assert list(counts.items()) == [("b", 3), ("a", 2), (".", 1), ("c", 1), ("北京", 1), ("清华大学", 1)]


@pytest.mark.parametrize("most", [10_000, 30])
def test_workers_do_not_change_counts(most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A corpus said to be large is counted in eight shards, by one process or by two."""
    documents = [f"word{n % 37} word{n % 11} common and {n}" for n in range(200)]
    config = TokenizerConfig(kind="words", most_words=most)
    small = count_words(config, strings_corpus(documents))
    monkeypatch.setattr(shards, "corpus_size", lambda corpus: shards.SMALL)
    done: list[tuple[int, int]] = []
    alone = count_words(config, strings_corpus(documents), workers=0)
    assert alone == count_words(
        config, strings_corpus(documents), workers=2, progress=lambda *state: done.append(state)
    )
    assert done[-1] == (8, 8)
    if most == 10_000:
        assert alone == small
        assert alone["common"] == 200
    else:
        assert len(alone) <= most
        assert {"common", "and", "word0"} <= set(alone)


@settings(max_examples=200, deadline=None)
@given(counts=st.dictionaries(st.text(max_size=2), st.integers(1, 5), max_size=30), most=st.integers(1, 20))
def test_pruning_keeps_the_frequent(counts: dict[str, int], most: int) -> None:
    counted = Counter(counts)
    prune(counted, most)
    assert len(counted) <= max(most, 0)
    assert all(counts[word] == count for word, count in counted.items())
    if len(counts) > most and len(set(counts.values())) > 1:
        gone = [count for word, count in counts.items() if word not in counted]
        assert max(gone) <= min(counted.values(), default=5)
        other = Counter(dict(reversed(counts.items())))
        prune(other, most)
        assert other == counted
    assert counted or not counts


def test_white_space_goes_to_the_front() -> None:
    strings = [("A b. ", 0, 0), ("  ", 0, 0), ("C.\n", 0, 1), ("D. ", 1, 2), ("E", 1, 2)]

    def sentences() -> Iterator[Sentence]:
        for string, document, paragraph in strings:
            yield Sentence(string=string, document=document, paragraph=paragraph, place=Place(file="x"))

    assert [string for string, _ in joined(sentences())] == ["A b.", " ", "  \nC.\n", "D.", " E"]
    assert [sentence.string for _, sentence in joined(sentences())] == [string for string, _, _ in strings]
