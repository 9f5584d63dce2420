"""English sentences start exactly where nupunkt starts them, whatever the text."""

from collections.abc import Callable
from pathlib import Path

import nupunkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.datasets import find
from foretext.text import english
from foretext.text.corpus import open_corpus
from foretext.text.english import Splitter, sentence_starts

ENDS = [".", "?", "!", "…", "...", ". . .", "?!", "--", ",", ";", ".)", '."', ".”", ".'", ".’", "?”", "*", "]", "»", ".[3]", "!!!"]
STARTS = ['"', "“", "'", "(", "[", "--", "‘", "$", "*", ".", "(.", '"(']
WORDS = [
    *("word", "The", "he", "Smith", "I", "Dr", "Mr", "U.S", "J", "a", "e.g", "etc", "Inc", "No", "vs", "p", "St", "Jr", "Jan"),
    *("1", "1990", "3.5", "12,000", "1-2", "ii", "IV", "Civil", "mid-Jan", "well-known", "don't", "Sept", "Café", "ΟΔΟΣ", "中文"),
    *("I'm", "x²", "K.", "b.1920", "Yahoo", "naïve", "A.B", "p.m", "_", "-", "2nd", "Ph.D", "so-called", "Ave", "l,ambie"),
]
GAPS = [" ", " ", " ", " ", "  ", "", "\n", "\n\n", "\t", "\xa0", " \n "]
CHUNK = st.tuples(st.sampled_from(["", "", *STARTS]), st.sampled_from(WORDS), st.sampled_from(["", "", ".", *ENDS]))
PIECE = st.tuples(CHUNK, st.sampled_from(GAPS[:5]) | st.sampled_from(GAPS)).map(lambda two: "".join(two[0]) + two[1])
TEXT = st.lists(PIECE, max_size=9).map("".join) | st.text(alphabet="aB1 .?!…\"'”’)(-*", max_size=30)


def starts(paragraph: str) -> list[int]:
    """nupunkt's own."""
    return [start for start, _ in nupunkt.sentence_spans(paragraph)][1:]


@settings(deadline=None, max_examples=1500)
@given(TEXT)
def test_starts_are_nupunkts(paragraph: str) -> None:
    assert sentence_starts(paragraph) == starts(paragraph)


@pytest.mark.soak
@settings(deadline=None, max_examples=100_000)
@given(TEXT)
def test_starts_are_nupunkts_at_length(paragraph: str) -> None:
    assert sentence_starts(paragraph) == starts(paragraph)


@pytest.mark.parametrize("first", WORDS)
@pytest.mark.parametrize("end", [".", "?", '."', ".)", ").", "!”"])
def test_every_kind_of_end_before_every_kind_of_start(first: str, end: str) -> None:
    for second in ("The", "he", "Smith", "1990", '"Go"', "“he", "(see", "'Tis", "l,ambie", "—", '"', "", "I."):
        for before in ("", "so ", "so (", 'so. "'):
            paragraph = f"{before}{first}{end} {second} more"
            assert sentence_starts(paragraph) == starts(paragraph), paragraph


def test_plain_ends_are_not_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def spans(string: str) -> list[tuple[int, int]]:
        asked.append(string)
        return nupunkt.sentence_spans(string)

    made = Splitter(spans, nupunkt.load("default").parameters)
    assert made.starts('It rained hard. "Who cares?" he said. Nobody went (so far). We stayed!') == [16, 38, 60]
    assert not asked
    for _ in range(2):
        assert made.starts("It cost Dr. Hart in 1990. He paid 7. He left.") == [26, 37]
    assert asked == ["x Dr. Hart", "x 0000. He", "x 0. He"]
    monkeypatch.setattr(english, "MOST_PAIRS", 2)
    for number in range(9):
        assert made.starts(f"So cost{'a' * number}. He saw Mr. A{number} there.") == [number + 9]
    assert len(made.ends) <= 2
    assert len(asked) == 3 + 9


@pytest.mark.soak
@pytest.mark.parametrize("name", ["en/enwiki-extract", "en/eltec-eng/eltec_eng_level1.txt.xz"])
def test_starts_are_nupunkts_in_real_text(name: str, data_set: Callable[[str], Path]) -> None:
    data_set(name)
    files = find(name) if name.count("/") == 1 else [data_set(name)]
    last, compared, paragraph = -1, 0, ""
    for sentence in open_corpus(files).sentences():
        if sentence.paragraph != last:
            compared += len(starts(paragraph))
            assert sentence_starts(paragraph) == starts(paragraph), paragraph
            last, paragraph = sentence.paragraph, ""
        paragraph += sentence.string
    assert compared > 200_000
