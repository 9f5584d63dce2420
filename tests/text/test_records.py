"""Files of records, read without a corpus around them: which field, which dialect, which line, what is counted."""

import csv
from pathlib import Path

import pytest

from foretext.errors import DataError
from foretext.text import records
from foretext.text.readers import Counts
from foretext.text.records import (
    Fields,
    NoTextField,
    choose,
    columns_wide,
    document,
    json_fields,
    json_lines,
    table,
    table_fields,
)
from foretext.text.sources import Source


def source(path: Path, data: str | bytes = b"") -> Source:
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return Source(name=str(path), location=str(path))


NOWHERE = Source(name="a.csv", location="a.csv")
TEXT = Fields(text="text")


# ── choosing the field ──────────────────────────────────────────────────────────────────────────────────────────────


def test_the_field_called_text_wins_whatever_its_case() -> None:
    assert choose({"body": ["long " * 99], "Text": ["x"]}, None, NOWHERE) == "Text"
    assert choose({"TEXT": ["a"], "text": ["b"]}, None, NOWHERE) == "TEXT"  # the first of several
    assert choose({"text": [], "body": ["b"]}, "body", NOWHERE) == "body"
    with pytest.raises(DataError, match="unknown text field 'bod'") as caught:
        choose({"text": [], "body": ["b"]}, "bod", NOWHERE)
    assert caught.value.file == "a.csv"
    assert "did you mean 'body'" in caught.value.remedy


@pytest.mark.parametrize(
    ("samples", "chosen"),
    [
        ({"a": ["x"]}, "a"),  # the only one with strings
        ({"a": ["x"], "n": ["1", "2.5", "-3e4", "10%"], "none": []}, "a"),
        ({"a": ["x"], "n": ["", " 7 "]}, "a"),  # blank cells do not make a number a string
        ({"a": ["12345"], "b": ["1", "x"]}, "b"),  # one string among numbers does
        ({"a": ["x" * 20], "b": ["y" * 5]}, "a"),  # 20 characters, 4 times as many
        ({"b": ["y" * 5], "a": ["x" * 20]}, "a"),
        ({"b": ["y" * 4, "y" * 6], "a": ["x" * 30, "x" * 10]}, "a"),  # means decide
    ],
)
def test_the_only_field_of_strings_or_by_far_the_longest(samples: dict[str, list[str]], chosen: str) -> None:
    assert choose(samples, None, NOWHERE) == chosen


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ({"b": ["x" * 19], "a": ["y" * 2]}, "several could be: a, b"),
        ({"a": ["x" * 39], "b": ["y" * 10]}, "several could be: a, b"),
        ({"n": ["1"], "m": ["2"]}, "only n, m"),
        ({"n": [""]}, "only n"),
        ({}, "only nothing"),
    ],
)
def test_where_several_fields_would_do_the_user_is_asked(samples: dict[str, list[str]], found: str) -> None:
    with pytest.raises(NoTextField, match=found) as caught:
        choose(samples, None, NOWHERE)
    assert (caught.value.file, caught.value.remedy) == ("a.csv", "name it with --text-field")


def test_the_width_of_wrapped_fields() -> None:
    line = "word " * 11 + "words"
    wrapped = "\n".join([line] * 12)
    assert columns_wide([wrapped, wrapped]) == len(line)
    assert columns_wide([line] * 12) == 0  # a line a record is no wrapping
    assert columns_wide([]) == 0


# ── JSON lines ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_fields_come_from_whole_lines_of_the_sample() -> None:
    row = '{"label": "a", "review": "long enough to be a text"}\n'
    assert json_fields(NOWHERE, row, None) == Fields(text="review")
    assert json_fields(NOWHERE, "\n \n" + row + '{"label": "b", "rev', None) == Fields(text="review")
    assert json_fields(NOWHERE, row + "not JSON\n" + row, None) == Fields(text="review")
    assert json_fields(NOWHERE, '{"a": "x"}\n{"text": "y"}', None) == Fields(text="a")  # the last may be cut short
    assert json_fields(NOWHERE, "", None) == Fields(text="text")
    assert json_fields(NOWHERE, "", "body") == Fields(text="body")
    assert json_fields(NOWHERE, '{"text": "a very long first li', None) == Fields(text="text")
    assert json_fields(NOWHERE, '{"list": ["a", "b"], "n": 3, "text": null}\n', None) == Fields(text="text")
    assert json_fields(NOWHERE, '{"list": ["a", "b"], "mixed": ["a", 1], "none": [], "n": 3}\n', None) == Fields(text="list")
    wrapped = "\\n".join(["word " * 11 + "words"] * 12)
    assert json_fields(NOWHERE, f'{{"text": "{wrapped}"}}\n', None) == Fields(text="text", columns_wide=60)


@pytest.mark.parametrize("sample", ["plain text", "plain text\nand more\n", "{broken\n", "[1]\n"])
def test_a_first_line_that_is_no_record_is_refused_at_once(sample: str) -> None:
    with pytest.raises(DataError, match="one JSON object a line") as caught:
        json_fields(NOWHERE, sample, None)
    assert caught.value.place == "line 1"


def test_what_is_no_record_is_shown_by_its_first_forty_characters() -> None:
    with pytest.raises(DataError, match=f"found '{'x' * 40}' "):
        json_fields(NOWHERE, "  " + "x" * 50 + "\n", None)


def test_only_the_first_two_hundred_lines_are_sampled() -> None:
    first, later = '{"a": "some words"}\n', '{"a": "some words", "text": "x"}\n'
    assert json_fields(NOWHERE, first * 199 + later, None).text == "text"
    assert json_fields(NOWHERE, first * 200 + later, None).text == "a"


def test_lines_are_numbered_from_where_reading_starts(tmp_path: Path) -> None:
    file = source(tmp_path / "a.jsonl", '{"text": "A.\\nB."}\n\n{"text": ""}\n{"text": ["C.", "D."]}\n')
    counts = Counts()
    assert list(json_lines(file, TEXT, "strict", counts)) == [(True, 1, "A."), (False, 1, "B."), (True, 4, "C."), (False, 4, "D.")]
    assert counts == Counts(empty=1)
    for start, rest in ((1, 4), (2, 2), (3, 2), (4, 2), (5, 0)):
        found = list(json_lines(file, TEXT, "strict", Counts(), start))
        assert len(found) == rest
        assert {line for _, line, _ in found} == ({1, 4} if start == 1 else {4} if rest else set())


def test_what_is_dropped_or_replaced_is_counted(tmp_path: Path) -> None:
    file = source(tmp_path / "a.jsonl", '{"text": "a\\u0000b\\r\\nc\\u0007"}\n{"text": "x\\udc00y"}\n')
    counts = Counts()
    assert [text for _, _, text in json_lines(file, TEXT, "replace", counts)] == ["ab", "c", "x\ufffdy"]
    assert counts == Counts(dropped=2, replaced=1)
    with pytest.raises(DataError, match="half of a surrogate pair") as caught:
        list(json_lines(file, TEXT, "strict", Counts()))
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "a.jsonl"), "line 2")


@pytest.mark.parametrize(
    ("row", "found"),
    [('{"text": 3}', "found int"), ('{"text": ["a", 1]}', "found list"), ('{"text": []}', "found list"),
     ('{"a": 1, "b": 2}', "found only a, b"), ("{}", "found only no field")],
)  # fmt: skip
def test_a_record_without_the_field_names_what_it_has(tmp_path: Path, row: str, found: str) -> None:
    with pytest.raises(DataError, match=f"expected a string field 'text', {found}") as caught:
        list(json_lines(source(tmp_path / "a.jsonl", '{"text": null}\n' + row), TEXT, "strict", Counts()))
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "a.jsonl"), "line 2")


def test_a_record_may_be_long_but_not_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MOST", 30)
    fits = '{"text": "' + "x" * 18 + '"}'
    assert len(fits) == 30
    file = source(tmp_path / "a.jsonl", f"{fits}\n{fits}\n{fits}")
    assert [text for _, _, text in json_lines(file, TEXT, "strict", Counts())] == ["x" * 18] * 3
    file = source(tmp_path / "a.jsonl", f'{fits}\n{fits}\n{{"text": "{"x" * 19}"}}')
    with pytest.raises(DataError, match="longer than 30 characters") as caught:
        list(json_lines(file, TEXT, "strict", Counts()))
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "a.jsonl"), "line 3")


def test_a_record_without_text_is_counted() -> None:
    counts = Counts()
    assert list(document("A.\n\nB.", 7, TEXT, counts)) == [(True, 7, "A."), (False, 7, "B.")]
    assert list(document(" \n", 8, TEXT, counts)) == []
    assert counts == Counts(empty=1)
    assert list(document("one line\nof two", 9, Fields(text="text", columns_wide=9), counts)) == [(True, 9, "one line of two")]


# ── csv and tsv ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "sample", "expected"),
    [
        ("a.csv", "label,text\n1,x\n", Fields(text="text", column=1, columns=2)),
        ("a.csv", "label;text\n1;x\n", Fields(text="text", column=1, columns=2, delimiter=";")),
        ("a.csv", "text|n|label,s\nx|1|2\n", Fields(text="text", columns=3, delimiter="|")),
        ("a.csv", "text\nx\n", Fields(text="text", columns=1)),
        ("a.csv", "1,some words here\n0,other words here\n", Fields(text="column 2", column=1, columns=2, header=False)),
        ("a.csv", "some words here\n", Fields(text="column 1", columns=1, header=False)),
        ("a.csv", "", Fields(text="text")),
        ("a.csv", "\n\n", Fields(text="text")),
        ("a.csv", " Text ,n\nx,1\n", Fields(text="Text", columns=2)),
        ("a.tsv", "text\tn, m\nx\t1\ny\t2\n", Fields(text="text", columns=2, delimiter="\t", quoted=False)),
        ("a.tsv", "text\tn\nx\t1\ny\n", Fields(text="text", columns=2, delimiter="\t")),
        ("a.tsv", "text\tn\n", Fields(text="column 1", columns=2, delimiter="\t", header=False)),
        ("a.csv", "text\tn\nx\t1\n", Fields(text="text", columns=2, delimiter="\t", quoted=False)),
    ],
)
def test_dialect_header_and_column(name: str, sample: str, expected: Fields) -> None:
    file = Source(name=name, location=name)
    wanted = "column 1" if expected.text == "column 1" and expected.columns > 1 else None
    assert table_fields(file, sample, True, wanted) == expected


def test_the_last_row_of_a_sample_may_be_cut_short() -> None:
    rows = 'label,text\n1,first words\n2,"half a'
    assert table_fields(NOWHERE, rows, False, None) == Fields(text="text", column=1, columns=2)
    # Two rows are all there is: the second counts although it may be cut.
    assert table_fields(NOWHERE, "n,words\n1,some words", False, None).text == "words"
    # A record that lies in several lines may be cut inside its quotes: its cells say nothing.
    cut = 'words,n\nfirst words,1\nsecond words,2\nthird words,3\n"fourth\nwords,\nmore'
    assert table_fields(NOWHERE, cut, False, None).text == "words"
    long = "note,words\n" + f"n,{'words ' * 9}\n" * 3 + f'"{"a long note " * 6}\nand cut",w\nand more'
    assert table_fields(NOWHERE, long, False, None).text == "words"
    with pytest.raises(NoTextField):  # here it is whole, and counts
        table_fields(NOWHERE, long.removesuffix("\nand more") + "\n", True, None)


@pytest.mark.parametrize(
    ("first", "header"),
    [
        ("n,body", True),
        ("n,n", False),  # names differ
        ("n,3", False),  # a number is no name
        ("n," + "x" * 40, True),
        ("n," + "x" * 41, False),
        ("n,why?", False),
        ("no. 1/a,user_name #-b", True),
        ("x" * 20, True),
        ("x" * 21, False),  # one long cell is a text
        ("Text," + "long words. " * 9, True),
    ],
)
def test_a_header_holds_different_short_names(first: str, header: bool) -> None:
    cells = len(next(csv.reader([first])))
    rows = "\n".join([first, *[",".join(["some words of a text"] * cells)] * 2])
    wanted = None if cells == 1 or first.startswith("Text") else next(csv.reader([first]))[1] if header else "column 2"
    assert table_fields(NOWHERE, rows, True, wanted).header is header
    assert table_fields(NOWHERE, "why?,n\nx,1\n", True, "why?").header


def test_rows_are_read_with_their_lines(tmp_path: Path) -> None:
    file = source(tmp_path / "a.csv", 'n,text\n1,"A.\nB."\n\n2,\n3,C.\n')
    fields = Fields(text="text", column=1, columns=2)
    counts = Counts()
    found = [(True, 2, "A."), (False, 2, "B."), (True, 6, "C.")]
    assert list(table(file, fields, "strict", counts)) == found
    assert counts == Counts(empty=1)
    assert list(table(file, fields, "strict", Counts(), 2)) == found
    assert list(table(file, fields, "strict", Counts(), 6)) == found[2:]
    bare = Fields(text="column 2", column=1, columns=2, header=False)
    assert list(table(file, bare, "strict", Counts())) == [(True, 1, "text"), *found]


def test_a_table_without_quoting_takes_quotes_off_whole_cells(tmp_path: Path) -> None:
    cells = ['"said ""no"""', '"open', 'shut"', '"a" and "b"', '""', '"', 'plain', '"one "" two"']
    file = source(tmp_path / "a.tsv", "".join(f"{n}\t{cell}\n" for n, cell in enumerate(cells)))
    fields = Fields(text="column 2", column=1, columns=2, header=False, delimiter="\t", quoted=False)
    counts = Counts()
    texts = ['said "no"', '"open', 'shut"', '"a" and "b"', '"', "plain", 'one " two']
    assert [text for _, _, text in table(file, fields, "strict", counts)] == texts
    assert counts == Counts(empty=1)


@pytest.mark.parametrize(
    ("name", "delimiter", "shown", "data", "line"),
    [
        ("a.csv", ",", "','", 'n,text\n1,fine\n2,"closed" early\n', "line 3"),
        ("a.tsv", "\t", "tab", 'n\ttext\n1\t"never closed\n', "line 2"),
    ],
)
def test_what_is_no_table_names_its_line(tmp_path: Path, name: str, delimiter: str, shown: str, data: str, line: str) -> None:
    fields = Fields(text="text", column=1, columns=2, delimiter=delimiter)
    with pytest.raises(DataError, match=f"expected a {shown}-separated table") as caught:
        list(table(source(tmp_path / name, data), fields, "strict", Counts()))
    assert (caught.value.file, caught.value.place) == (str(tmp_path / name), line)


@pytest.mark.parametrize(("row", "cells"), [("1", 1), ("1,a,b", 3)])
def test_a_row_of_another_length_names_its_line(tmp_path: Path, row: str, cells: int) -> None:
    fields = Fields(text="text", column=1, columns=2)
    with pytest.raises(DataError, match=f"expected 2 cells as in the first row, found {cells}") as caught:
        list(table(source(tmp_path / "a.csv", f'n,text\n1,"a\nb"\n{row}\n'), fields, "strict", Counts()))
    assert (caught.value.file, caught.value.place) == (str(tmp_path / "a.csv"), "line 4")
