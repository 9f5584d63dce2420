"""Words numbered in bytes: the same words, lines and documents as strings give, whatever the text."""

import random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretext.text import numbering
from foretext.text.lines import Block
from foretext.text.numbering import Lexicon, Numbered, cut_block, number_blocks

SPACES = " \t\u00a0\u1680\u2000\u2005\u200a\u202f\u205f\u3000"
NEARLY = "\u00a1\u200b\u2010\u3001\u167f\u2060é中"
"""No white space, though their first bytes are those of some."""


def block(text: str, documents: str = "file", first: bool = True) -> Block:
    return Block(text=text.encode(), documents=documents, first=first)  # type: ignore[arg-type]


def number_words(found: Block) -> Numbered:
    return Lexicon().number(cut_block(found))


def words_of(found: Numbered) -> list[str]:
    return [found.lexicon.words[number] for number in found.numbers.tolist()]


def rows_of(text: str) -> list[list[str]]:
    return [words for line in text.split("\n")[:-1] if (words := line.split())]


def read(text: str) -> list[list[str]]:
    found = number_words(block(text))
    words = words_of(found)
    ends = np.cumsum(found.lines[:, 2])
    return [words[end - length : end] for end, length in zip(ends.tolist(), found.lines[:, 2].tolist(), strict=True)]


LETTERS = st.text(alphabet="ab\n" + SPACES + NEARLY, max_size=60)


@settings(max_examples=300, deadline=None)
@given(LETTERS)
@example("")
@example("\n\n")
@example("\u3000a\u3000\n")
def test_the_words_of_each_line_are_those_that_strings_have(text: str) -> None:
    text += "\n"
    assert read(text) == rows_of(text)
    found = number_words(block(text))
    known = found.lexicon.words
    assert len(set(known)) == len(known) == found.distinct
    assert found.counts.tolist() == [sum(row.count(word) for row in rows_of(text)) for word in known]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    assert [one.decode() for one in found.texts(np.arange(len(lines)))] == lines
    assert found.characters().tolist() == [*map(len, lines)]


@pytest.mark.parametrize("length", [1, 7, 8, 9, 15, 16, 17, 23, 24, 40, 300])
def test_words_that_differ_in_one_byte_are_two(length: int) -> None:
    for at in {0, length // 2, length - 1}:
        one, other = "x" * length, "x" * at + "y" + "x" * (length - at - 1)
        assert read(f"{one} {other} {one}\n{one}x {other}\n") == [[one, other, one], [one + "x", other]]
        assert len(number_words(block(f"{one} {other} {one}\n{one}x {other}\n")).lexicon.words) == 3


def test_words_start_at_every_place_of_eight() -> None:
    line = " ".join("abcdefghijklmnop"[: n % 16 + 1] for n in range(200))
    for shift in range(8):
        assert read("x" * shift + " " + line + "\n") == rows_of("x" * shift + " " + line + "\n")


def test_more_distinct_words_than_the_table_holds_at_first() -> None:
    draw = random.Random(0)
    words = [f"w{draw.randrange(200_000)}" + "ö" * (n % 20) for n in range(150_000)]
    text = "".join(" ".join(words[at : at + 10]) + "\n" for at in range(0, len(words), 10))
    assert len(set(words)) > 1 << 16
    assert read(text) == rows_of(text)


def starts(parts: list[Block]) -> list[bool]:
    found, due = [], True
    for numbered in number_blocks(parts, 0):
        first, due = numbered.starts(due or numbered.block.first)
        found += first.tolist()
    return found


def test_where_documents_start() -> None:
    text = "\n a\nb\n\x1fc\n\n \t\nd\n"
    assert starts([block(text)]) == [True, False, False, False]
    assert starts([block(text, "line")]) == [True, True, False, True]
    assert starts([block(text, "blank")]) == [True, False, False, True]
    assert starts([block(text), block(text)]) == [True, False, False, False] * 2, "each file is a document"


@pytest.mark.parametrize("cut", range(9))
def test_documents_do_not_depend_on_where_blocks_end(cut: int) -> None:
    lines = ["a\n", "\n", "\n", "b\n", "c\n", " \n", "\n", "d\n"]
    for kind in ("file", "line", "blank"):
        whole = starts([block("".join(lines), kind)])
        parts = [block("".join(lines[:cut]), kind), block("".join(lines[cut:]), kind, first=False)]
        assert starts(parts) == whole, kind


@pytest.mark.parametrize("threads", [0, 3])
def test_a_lexicon_goes_on_from_block_to_block(threads: int) -> None:
    long = "long words are kept byte by byte".replace(" ", "_")
    parts = [block(f"a b{n}\nc a {long}{n % 2}\n", first=n == 0) for n in range(9)]
    found = list(number_blocks(iter(parts), threads))
    assert [words_of(one) for one in found] == [["a", f"b{n}", "c", "a", f"{long}{n % 2}"] for n in range(9)]
    assert found[-1].lexicon.words == ["a", "b0", "c", f"{long}0", "b1", f"{long}1", *(f"b{n}" for n in range(2, 9))]
    assert [one.distinct for one in found] == [4, 6, *range(7, 14)]
    assert found[1].counts.tolist() == [2, 0, 1, 0, 1, 1], "a block's own counts, of all words so far"


@pytest.mark.parametrize("limit", ["MOST_WORDS", "MOST_BYTES"])
def test_a_lexicon_that_is_full_is_followed_by_another(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbering, limit, 4)
    parts = [block(f"a b{n}\n", first=n == 0) for n in range(5)]
    found = list(number_blocks(iter(parts), 0))
    assert [words_of(one) for one in found] == [["a", f"b{n}"] for n in range(5)]
    assert len({id(one.lexicon) for one in found}) > 1
    assert max(len(one.lexicon.words) for one in found) < 6


def test_growing_between_blocks_forgets_nothing() -> None:
    texts = ["".join(f"w{n % 50_000} x{n}{'ö' * (n % 20)}\n" for n in range(at, at + 20_000)) for at in range(0, 80_000, 20_000)]
    found = list(number_blocks(map(block, texts), 0))
    assert [words_of(one) for one in found] == [text.split() for text in texts]
    assert len(found[-1].lexicon.words) == 130_000
