"""From text to paragraphs, step by step: counts, lines from anywhere, cuts, and the layouts' own rules."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foretext.errors import DataError
from foretext.text import readers
from foretext.text.layout import Layout
from foretext.text.readers import Counts, cut, decoded, field_paragraphs, from_line, lines, plain_text
from foretext.text.sources import Source


def source(path: Path, data: bytes) -> Source:
    path.write_bytes(data)
    return Source(name=str(path), location=str(path))


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> int:
    """Paragraphs of at most 20 characters."""
    monkeypatch.setattr(readers, "LONGEST", 20)
    monkeypatch.setattr(cut, "__defaults__", (20,))
    return 20


def test_counts_add_up_by_name() -> None:
    total = Counts(replaced=1, dropped=2, split=3, empty=4, redirects=5)
    total.add(Counts(replaced=10, dropped=20, split=30, empty=40, redirects=50))
    assert total == Counts(replaced=11, dropped=22, split=33, empty=44, redirects=55)


@pytest.mark.parametrize(
    ("data", "shown", "place", "guess"),
    [
        (b"ab\xff\xfe cd", "ff fe 20 63 (invalid start byte)", "byte 2", "GB18030"),
        (b"\xff\xfea\x00", "ff fe 61 00", "byte 0", "UTF-16"),
        (b"\xfe\xff\x00a", "fe ff 00 61", "byte 0", "UTF-16"),
        (b"\xff\x00", "ff 00", "byte 0", "GB18030"),
        (b"abcdefg\xff rest", "ff 20 72 65", "byte 7", "GB18030"),
        (b"abc\xe4\xb8", "e4 b8 (unexpected end of data)", "byte 3", "GB18030"),
    ],
)
def test_bytes_that_are_no_utf8_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, shown: str, place: str, guess: str
) -> None:
    file = source(tmp_path / "a.txt", data)
    for chunk in (2, 1 << 20):
        monkeypatch.setattr("foretext.text.sources.CHUNK", chunk)
        with pytest.raises(DataError) as caught:
            list(decoded(file, "strict", Counts()))
        assert (caught.value.file, caught.value.place) == (str(tmp_path / "a.txt"), place)
        assert guess in caught.value.remedy
        if chunk > 2:
            assert f"found the bytes {shown}" in caught.value.rule


def test_reading_starts_at_any_line() -> None:
    chunks = ["a\nb", "\n\nc\nd", "d\n", "e"]
    rows = "".join(chunks).split("\n")
    for start in range(-1, 8):
        assert "".join(from_line(chunks, start)) == "\n".join(rows[max(0, start - 1) :])
        found = list(lines(chunks, Counts(), start))
        assert found == [(n, row, True) for n, row in enumerate(rows, 1) if n >= start]
    assert list(lines(["a\n"], Counts())) == [(1, "a", True)]


def test_a_long_line_comes_in_pieces(short: int) -> None:
    counts = Counts()
    found = list(lines(["one two three four f", "ive six seven eight\nnext\n", "x" * 45], counts))
    assert found == [
        (1, "one two three four ", False), (1, "five six seven eight", True), (2, "next", True),
        (3, "x" * 20, False), (3, "x" * 20, False), (3, "x" * 5, True),
    ]  # fmt: skip
    assert counts == Counts(split=3)
    exact = Counts()
    assert list(lines(["x" * 20 + "\n" + "y" * 20], exact)) == [(1, "x" * 20, True), (2, "y" * 20, True)]
    assert exact == Counts()


@pytest.mark.parametrize(
    ("string", "place"),
    [
        ("aaaaa. bbb. ccc ddd eee", 12),  # the last sentence end, not the last space
        ("aaaaaaa. bbb.ccc ddd eee", 17),  # the end at 9 lies in the first half; a point alone ends nothing
        ("aaaaaaaaaaa!” bbbbbbbbbbb", 14),
        ("一二三四五六七八九十一。”二三四五六七八九十", 13),
        ("一二三四五六七八九十一。三.四五六七八九十一", 12),
        ("一二三四五六七八九十一.。三四五六七八九十一", 13),
        ("一二三四五六七八九十一。.三四五六七八九十一", 12),  # the point after it ends nothing by itself
        ("一二三四五六七八九十一。)三四五六七八九十一", 12),
        ("aaaaaaaaaaaaa\tbbbbbbbbbbbbb", 14),
        ("aaaaaaaaaaaaa\u3000bbbbb bbbbbbbb", 20),
        ("aaaaaaaaaaaaa\u3000bbbbbbbbbbbbb", 14),
        ("aaaaaaaa bbbbbbbbbbbbbbbbbb", 20),  # the only space lies in the first half
        ("a" * 19 + "e\u0301\u0301bbb", 19),
        ("a" * 20 + "\u0300bbb", 19),
        ("a" * 20 + "\u036fbbb", 19),
        ("a" * 20 + "\u0370bbb", 20),
        ("a" * 20 + "\u02ffbbb", 20),
        ("a" * 20 + "\u200dbbb", 19),
        ("a" * 20 + "\ufe0fbbb", 19),
        ("a" * 20 + "\U0001f3fbbbb", 19),
        ("a" * 20 + "\U0001f3ffbbb", 19),
        ("a" * 20 + "\U0001f400bbb", 20),
        ("a" * 20 + "\U0001f3fabbb", 20),
        ("a" + "\u0301" * 40, 10),  # a heap of marks is cut at half
    ],
)
def test_where_a_long_paragraph_is_cut(string: str, place: int) -> None:
    assert cut(string, 20) == (string[:place], string[place:])


def test_cuts_start_at_half_and_end_at_most() -> None:
    assert cut("aaaaaaaaa bbbbbbbbbbbbbbb", 20)[0] == "aaaaaaaaa bbbbbbbbbb"  # the space is the tenth
    assert cut("aaaaaaaaaa bbbbbbbbbbbbbbb", 20)[0] == "aaaaaaaaaa "
    assert cut("a" * 19 + " bbbbbbbbbb", 20)[0] == "a" * 19 + " "
    assert cut("a" * 20 + " bbbbbbbbbb", 20)[0] == "a" * 20
    assert cut("a" * (1 << 16) + "b")[0] == "a" * (1 << 16)


def read(tmp_path: Path, text: str, layout: Layout, start: int = 1) -> list[tuple[bool, int, str]]:
    return list(plain_text(source(tmp_path / "a.txt", text.encode()), layout, "strict", Counts(), start))


TEXT = "One.\nTwo.\n\n\n  Three. \nFour.\n"


@pytest.mark.parametrize(
    ("documents", "firsts"),
    [("file", [True, False, False, False]), ("line", [True] * 4), ("blank", [True, False, True, False])],
)
def test_a_line_is_a_paragraph(tmp_path: Path, documents: str, firsts: list[bool]) -> None:
    found = read(tmp_path, TEXT, Layout(documents=documents))  # type: ignore[arg-type]
    assert found == list(zip(firsts, [1, 2, 5, 6], ["One.", "Two.", "Three.", "Four."], strict=True))
    later = read(tmp_path, TEXT, Layout(documents=documents), 5)  # type: ignore[arg-type]
    assert later == [(True, 5, "Three."), (documents == "line", 6, "Four.")]


def test_pieces_of_a_long_line_stay_together(tmp_path: Path, short: int) -> None:
    text = "a" * 20 + " " * 25 + "b\nc\n\nd\n"
    pieces = ["a" * 20, "b", "c", "d"]
    for documents, firsts in (("line", [1, 0, 1, 1]), ("blank", [1, 0, 0, 1]), ("file", [1, 0, 0, 0])):
        found = read(tmp_path, text, Layout(documents=documents))  # type: ignore[arg-type]
        assert found == [(bool(f), n, p) for f, n, p in zip(firsts, [1, 1, 2, 4], pieces, strict=True)]


def test_headings_start_documents_and_lose_their_marks(tmp_path: Path) -> None:
    text = "before\n = One = \n\n = = Part = = \nText .\n = no heading\n=x=\n = Two = \n"
    found = read(tmp_path, text, Layout(documents="headings"))
    assert found == [
        (True, 1, "before"), (True, 2, "One"), (False, 4, "Part"), (False, 5, "Text ."), (False, 6, "no heading"),
        (False, 7, "=x="), (True, 8, "Two"),
    ]  # fmt: skip
    assert read(tmp_path, " = One = \n", Layout(documents="file")) == [(True, 1, "= One =")]


def test_wrapped_lines_are_joined_until_a_paragraph_ends(tmp_path: Path) -> None:
    text = "one two three\nfour.\nfive six seven eight\nnine ten\n\n   eleven twelve\nthirteen\n  fourteen fifteen\nsixteen"
    parts = ["one two three four.", "five six seven eight nine ten", "eleven twelve thirteen", "fourteen fifteen sixteen"]
    for documents, firsts in (("file", [1, 0, 0, 0]), ("blank", [1, 0, 1, 0])):
        found = read(tmp_path, text, Layout(documents=documents, columns=20))  # type: ignore[arg-type]
        assert found == [(bool(f), n, p) for f, n, p in zip(firsts, [1, 3, 6, 8], parts, strict=True)]
    assert read(tmp_path, "\n\nlate\n\n", Layout(documents="file", columns=20)) == [(True, 3, "late")]
    assert read(tmp_path, "", Layout(documents="file", columns=20)) == []


def test_a_wrapped_paragraph_longer_than_the_longest_is_cut(tmp_path: Path, short: int) -> None:
    counts = Counts()
    text = "one two\nthree four\nfive six\nseven eight\n\nnine\n"
    layout = Layout(documents="blank", columns=12)
    found = list(plain_text(source(tmp_path / "a.txt", text.encode()), layout, "strict", counts, 1))
    assert found == [(True, 1, "one two three four"), (False, 3, "five six seven eight"), (True, 6, "nine")]
    assert counts == Counts(split=1)


def test_a_long_line_among_wrapped_ones_ends_no_paragraph(tmp_path: Path, short: int) -> None:
    found = read(tmp_path, "a" * 20 + ". " + "b" * 20 + "\nc\n\nd\n", Layout(documents="blank", columns=60))
    assert "".join(text for _, _, text in found).replace(" ", "") == "a" * 20 + "." + "b" * 20 + "cd"
    assert [first for first, _, _ in found] == [True] + [False] * (len(found) - 2) + [True]


def test_fields_are_read_as_files_are() -> None:
    def read_field(text: str, columns: int) -> Iterator[tuple[bool, int, str]]:
        return field_paragraphs(text, 7, columns, Counts())

    assert list(read_field("a\u2028b\r\nc", 0)) == [(True, 7, "a"), (False, 7, "b"), (False, 7, "c")]
    assert list(read_field("a b\nc d\n\ne", 20)) == [(True, 7, "a b c d"), (False, 7, "e")]
