"""English sentences start exactly where nupunkt starts them, whatever the text."""

import lzma
from collections.abc import Callable, Iterable
from pathlib import Path
from time import process_time

import nupunkt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text import english
from foretext.text.english import LONG_CHUNK, Splitter, sentence_starts

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


@settings(deadline=None, max_examples=300)
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
    assert made.starts('It rained again. "Who cares?" he said. Nobody went (so far). We stayed!') == [17, 39, 61]
    assert not asked
    for _ in range(2):
        assert made.starts("It cost Dr. Hart in 1990. He paid 7. He left.") == [26, 37]
    assert asked == ["x Dr. Hart", "x 0000. He", "x 0. He"]
    monkeypatch.setattr(english, "MOST_PAIRS", 2)
    for number in range(9):
        assert made.starts(f"So cost{'a' * number}. He saw Mr. A{number} there.") == [number + 9]
    assert len(made.ends) <= 2
    assert len(asked) == 3 + 9


ODD = ["!", "…", ".)", '?"', "a.", "a.)", ". ", " ", "\n", " \n", ".[1]", "'", "[.", "! ", "!" * 255 + "a", "a.)" * 90 + " "]


@pytest.mark.parametrize("unit", ODD)
def test_odd_text_takes_no_quadratic_time(unit: str) -> None:
    """What takes minutes where time is quadratic: nupunkt alone 5 s for the first, an hour for the line feeds."""
    sentence_starts("Warm. Up.")
    paragraph = "x " + unit * ((1 << 16) // len(unit)) + " The end."
    begun = process_time()
    found = sentence_starts(paragraph)
    assert process_time() - begun < 1
    assert found == sorted(set(found))
    assert not found or 0 < found[0] <= found[-1] < len(paragraph)


@pytest.mark.parametrize("unit", ODD)
@pytest.mark.parametrize("size", [100, 400])
def test_odd_text_of_some_length_is_cut_as_nupunkt_would(unit: str, size: int) -> None:
    for end in (" The end.", ' "Why," he said.', " he said.", ""):
        paragraph = "It is so. x" + unit * (size // len(unit) + 1) + end
        if any(len(chunk) >= LONG_CHUNK for chunk in paragraph.split()):
            continue
        assert sentence_starts(paragraph) == starts(paragraph), (unit, end)


@pytest.mark.parametrize("middle", ["", "!", ".)", '."'])
@pytest.mark.parametrize(("before", "after"), [("x. Then A", "b. Then"), ("x. a", "b, then"), ('x. "', 'b." Then'), ("x. (", "b.) He")])
def test_a_long_chunk_is_one_word(before: str, after: str, middle: str) -> None:
    plain = f"{before}{'a' * 2000}{after}"
    filler = (middle * 2000)[:1500] or "a" * 1500
    assert sentence_starts(f"{before}{'a' * 250}{filler}{'a' * 250}{after}") == starts(plain)


def test_long_chunks_are_not_remembered() -> None:
    made = Splitter(nupunkt.sentence_spans, nupunkt.load("default").parameters)
    made.starts(f"He saw {'b' * 99}. Then {'c' * 99}.) Then {'d' * 70}! {'E' * 40} left.")
    assert not made.ends and not made._pairs


def compare(paragraphs: Iterable[str]) -> int:
    """Starts compared."""
    compared = 0
    for paragraph in paragraphs:
        expected = starts(paragraph)
        assert sentence_starts(paragraph) == expected, paragraph
        compared += len(expected)
    return compared


REAL = [
    ("en/enwiki-extract/enwiki_AA_00-63.txt.xz", 1000),
    ("en/eltec-eng/eltec_eng_level1.txt.xz", 900),
]


@pytest.mark.parametrize(("name", "least"), REAL)
def test_starts_are_nupunkts_in_real_text(name: str, least: int, data_set: Callable[[str], Path]) -> None:
    with lzma.open(data_set(name), "rt", encoding="utf-8") as file:
        assert compare(file.read(250_000).split("\n")) > least


@pytest.mark.soak
@pytest.mark.parametrize("name", [name for name, _ in REAL])
def test_starts_are_nupunkts_in_all_of_it(name: str, data_set: Callable[[str], Path]) -> None:
    with lzma.open(data_set(name), "rt", encoding="utf-8") as file:
        assert compare(line.rstrip("\n") for line in file) > 200_000
