"""The fast merge learner against the definition, slowly."""

from collections import Counter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text.tokenizers.merges import learn_merges


def slowly(
    words: list[list[int]], counts: list[int], symbols: list[str], size: int, least: int
) -> list[tuple[int, int]]:
    """Sennrich et al. 2016, algorithm 1, word for word; ties: the pair with the lowest symbol numbers."""
    words, symbols, merges = [list(word) for word in words], list(symbols), []
    while len(symbols) < size:
        pairs: Counter[tuple[int, int]] = Counter()
        for word, count in zip(words, counts, strict=True):
            for pair in pairwise(word):
                pairs[pair] += count
        if not pairs:
            break
        (left, right), count = min(pairs.items(), key=lambda item: (-item[1], item[0]))
        if count < least:
            break
        joined = symbols[left] + symbols[right]
        if joined not in symbols:
            symbols.append(joined)
        number = symbols.index(joined)
        merges.append((left, right))
        for word in words:
            at = 0
            while at < len(word) - 1:
                if (word[at], word[at + 1]) == (left, right):
                    word[at : at + 2] = [number]
                at += 1
    return merges


@settings(max_examples=100, deadline=None)
@given(
    entries=st.lists(st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.integers(1, 4)), max_size=8),
    size=st.integers(3, 14),
    least=st.integers(1, 3),
)
def test_the_merges_are_those_of_the_definition(entries: list[tuple[list[int], int]], size: int, least: int) -> None:
    words, counts = [word for word, _ in entries], [count for _, count in entries]
    expected = slowly(words, counts, ["a", "b", "c"], size, least)
    symbols = ["a", "b", "c"]
    assert learn_merges(words, counts, symbols, lambda x, y: x + y, size, least) == expected
    assert len(symbols) <= max(3, size)
    assert len(set(symbols)) == len(symbols)


def test_the_papers_example() -> None:
    """Sennrich et al. 2016, figure 1: low ×5, lower ×2, newest ×6, widest ×3 merges e s, es t, … (without </w>)."""
    letters = sorted(set("lowernewestwidest"))
    words = [[letters.index(letter) for letter in word] for word in ("low", "lower", "newest", "widest")]
    symbols = list(letters)
    merges = learn_merges(words, [5, 2, 6, 3], symbols, lambda x, y: x + y, len(letters) + 3)
    assert [(symbols[left], symbols[right]) for left, right in merges] == [("e", "s"), ("es", "t"), ("l", "o")]
