"""Labelled files: every format and compression gives the same rows, and every fault names its line."""

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import DataError, UsageError
from foretext.tasks.base import read_labelled
from foretext.tasks.classify import ClassifyConfig, ClassifyTask
from foretext.tasks.columns import Columns
from foretext.tasks.tables import read_rows, read_texts

ROWS = [("a fine day", "good"), ('he said "no", twice', "bad"), ("今天 天气 很好", "good"), ("two\tcells", "bad")]


def as_csv(rows: list[tuple[str, str]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([("text", "label"), *rows])
    return out.getvalue().encode()


def as_jsonl(rows: list[tuple[str, str]]) -> bytes:
    return "".join(json.dumps({"text": t, "label": lab}, ensure_ascii=False) + "\n" for t, lab in rows).encode()


def zst(data: bytes) -> bytes:
    import zstandard

    half = len(data) // 2  # two frames, as parallel writers make them
    return zstandard.compress(data[:half]) + zstandard.compress(data[half:])


@pytest.mark.parametrize(("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zst)])
def test_every_format_and_compression_gives_the_same_rows(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    for name, data in (("a.csv", as_csv(ROWS)), ("a.jsonl", as_jsonl(ROWS))):
        file = tmp_path / (name + ending)
        file.write_bytes(pack(data))
        read = read_labelled(file)
        assert read.texts == tuple(text for text, _ in ROWS)
        assert read.labels == tuple((label,) for _, label in ROWS)


@pytest.mark.parametrize(("ending", "pack"), [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zst)])
def test_a_truncated_compressed_file_is_a_data_error(tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]) -> None:
    file = tmp_path / ("a.csv" + ending)
    file.write_bytes(pack(as_csv(ROWS * 400))[:-20])
    with pytest.raises(DataError, match="damaged"):
        read_labelled(file)


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = {"text": [t for t, _ in ROWS], "topics": [["x", "y"], ["x"], [], ["y"]]}
    pyarrow.parquet.write_table(pyarrow.table(table), tmp_path / "a.parquet")
    read = read_labelled(tmp_path / "a.parquet")
    assert read.labels == (("x", "y"), ("x",), (), ("y",))
    assert read.listed
    (tmp_path / "b.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(DataError, match="parquet"):
        read_labelled(tmp_path / "b.parquet")


def test_tsv_keeps_bare_quotes_and_opens_quoted_cells(tmp_path: Path) -> None:
    file = tmp_path / "a.tsv"
    file.write_text('sentence\tlabel\n"bare start\t0\n"whole ""cell"" quoted"\t1\nend"\t0\n')
    assert read_labelled(file).texts == ('"bare start', 'whole "cell" quoted', 'end"')


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.text(min_size=1).filter(str.strip), st.sampled_from(["a", "b", "数"])), min_size=1, max_size=8))
def test_any_text_survives_csv_and_jsonl(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    folder = tmp_path_factory.mktemp("tables")
    rows = [(text.encode("utf-8", "ignore").decode().replace("\r", " ") or "x", label) for text, label in rows]
    rows = [(text if text.strip() else "x", label) for text, label in rows]
    for name, data in (("a.csv", as_csv(rows)), ("a.jsonl", as_jsonl(rows))):
        (folder / name).write_bytes(data)
        assert read_labelled(folder / name).texts == tuple(text for text, _ in rows)


@pytest.mark.parametrize(
    ("name", "text", "place", "rule"),
    [
        ("a.csv", "text,label\nx,1\ny\n", "line 3", "expected 2 cells"),
        ("a.csv", "text,label\nx,1\ny,\n", "line 3", "expected a label"),
        ("a.csv", "text,label\n,1\n", "line 2", "text is empty"),
        ("a.csv", 'text,label\n"two\nlines",1\n"z" z,0\n', "line 4", "not valid csv"),
        ("a.csv", "id,text,label\n7,x,1\n8,y,0\n7,z,1\n", "line 4", "comes twice, first on line 2"),
        ("a.csv", "text,text\nx,1\n", "line 1", "two columns"),
        ("a.csv", "", "", "empty file"),
        ("a.csv", "text,label\n", "", "found none"),
        ("a.tsv", "text\tlabel\nx\t1\ty\n", "line 2", "expected 2 cells"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": }\n', "line 2", "JSON object"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]\n', "line 2", "JSON object"),
        ("a.jsonl", '{"text": "x", "label": null}\n', "line 1", "expected a label"),
        ("a.jsonl", '{"text": 5, "label": 1}\n', "line 1", "expected a text"),
        ("a.csv", "This film is a joy from start to end.,1\nbad bad,0\n", "line 1", "reads like data"),
        ("a.csv", "one,two,three\nx,1,2\n", "", "cannot tell which column"),
    ],
)
def test_faults_name_their_line(tmp_path: Path, name: str, text: str, place: str, rule: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=rule) as caught:
        read_labelled(tmp_path / name)
    assert caught.value.place == place
    assert caught.value.file == str(tmp_path / name)


def test_damaged_utf8_names_file_line_and_byte(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_bytes("text,label\n好,1\n".encode() + b"b\xe9,0\n")
    with pytest.raises(DataError, match=r"0xe9 at byte 18") as caught:
        read_labelled(file)
    assert caught.value.place == "line 3"


def test_columns_are_found_named_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("\ufeffTitle,Review,stars,Sentiment\nshort,the long one,5,pos\n")
    assert read_labelled(file).columns.text == "Review"
    assert read_labelled(file).columns.label == "Sentiment"
    assert read_labelled(file, text="Title", label="stars").labels == (("5",),)
    with pytest.raises(DataError, match="no column 'titel'") as caught:
        read_labelled(file, text="titel")
    assert "Title, Review" in caught.value.remedy


def test_a_file_without_names(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("词汇阅读是关键\t3\n中国人民公安大学\t3\n北京楼市\t1\n")
    with pytest.raises(DataError, match="reads like data"):
        read_labelled(file)
    read = read_labelled(file, header=False)
    assert (read.columns.text, read.columns.label) == ("1", "2")
    assert read.texts[0] == "词汇阅读是关键"


def test_lines_are_streamed_with_blank_ones_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"one\r\n\ntwo\tcells\n")
    assert list(read_texts(file)) == ["one", "", "two\tcells"]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("é\n中".encode())))
    assert list(read_texts("-")) == ["é", "中"]
    (tmp_path / "a.csv").write_bytes(as_csv(ROWS))
    assert list(read_texts(tmp_path / "a.csv")) == [text for text, _ in ROWS]


@pytest.mark.parametrize("mark", [";", "\t"])
def test_a_csv_of_other_marks_than_commas(tmp_path: Path, mark: str) -> None:
    """Spreadsheets write these where the comma is the decimal point; texts may hold commas all the same."""
    file = tmp_path / "a.csv"
    file.write_text(f"label{mark}text\na{mark}one, two\nb{mark}\"three{mark} four\"\n")
    read = read_labelled(file)
    assert (read.texts, read.labels) == (("one, two", f"three{mark} four"), (("a",), ("b",)))
    file.write_text(f'\n"a, text\n of two"{mark}label\none, x{mark}a\n')  # a comma inside quotes separates nothing
    assert read_labelled(file, text="a, text\n of two").texts == ("one, x",)
    file.write_text('"text; main\n",label\none; two,a\n')
    assert read_labelled(file, text="text; main").texts == ("one; two",)
    file.write_text("text,label\none; two,a\n")
    assert read_labelled(file).texts == ("one; two",)
    file.write_text("one; two\tthree\nfour\n")  # without names, what the first line holds is text
    assert list(read_texts(file, header=False)) == ["one; two\tthree", "four"]


def test_the_column_of_texts_is_one_for_the_whole_file(tmp_path: Path) -> None:
    """Of a later record another field would be guessed, and its answer taken for the text's."""
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "x", "title": "t"}\n{"title": "another"}\n')
    rows = read_texts(file)
    assert next(rows) == "x"
    with pytest.raises(DataError, match=r"line 2: column 'text': expected a text, found only title"):
        next(rows)


def test_the_usual_column_goes_before_guesses_and_after_what_is_named(tmp_path: Path) -> None:
    usual = Columns(text="body", label="y")
    file = tmp_path / "a.csv"
    file.write_text("title,body\nt,b\n")
    assert list(read_texts(file, usual=usual)) == ["b"]
    assert list(read_texts(file, text="title", usual=usual)) == ["t"]
    file.write_text("body\nb\n")  # one column, whose name is known: no text is lost
    assert list(read_texts(file, usual=usual)) == ["b"]
    file.write_text("a,an afternoon on the river\nb,no names here\n")
    found = list(read_texts(file, header=False, usual=Columns(text="2", label="1", header=False)))
    assert found == ["an afternoon on the river", "no names here"]


def test_a_line_of_names_is_none_of_the_texts_though_training_had_none(tmp_path: Path) -> None:
    file, usual = tmp_path / "a.csv", Columns(text="2", label="1", header=False)
    file.write_text("label,text\na,an afternoon\n")
    assert list(read_texts(file, header=False, usual=usual)) == ["an afternoon"]  # usual names and nothing else
    file.write_text("y,body\na,an afternoon\n")
    assert list(read_texts(file, header=False, usual=usual)) == ["body", "an afternoon"]  # it may be a text
    assert list(read_texts(file, header=False, usual=usual, text="body")) == ["an afternoon"]
    assert list(read_texts(file, header=False, usual=usual, text="1")) == ["y", "a"]
    task = ClassifyTask(labels=("a", "b"), multi=False, separator="", columns=usual, config=ClassifyConfig(header=False))
    assert task.read(file, text="body", label="y").texts == ("an afternoon",)
    assert task.read(file).texts == ("body", "an afternoon")


@pytest.mark.parametrize(("name", "told"), [("a.csv", True), ("a.tsv.gz", True), ("a.jsonl", False)])
def test_only_where_lines_may_be_names_is_that_the_remedy(tmp_path: Path, name: str, told: bool) -> None:
    rows = {"a.csv": b"one,two,three\nx,1,2\n", "a.tsv.gz": gzip.compress(b"one\ttwo\tthree\nx\t1\t2\n"), "a.jsonl": b'{"one": 1, "two": 2, "three": 3}\n'}
    (tmp_path / name).write_bytes(rows[name])
    with pytest.raises(DataError, match="cannot tell which column") as caught:
        read_labelled(tmp_path / name)
    assert ("task.header=false" in caught.value.remedy) is told


def test_rows_are_not_held(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\nx,1\nbroken\n")
    rows = read_rows(file)
    assert next(rows).cells == {"text": "x", "label": "1"}


def test_missing_and_unknown_files(tmp_path: Path) -> None:
    for path, found in ((tmp_path, "found a folder"), ("https://example.org/a.csv", "found a URL"), ("/dev/null", "a pipe or a device")):
        for read in (read_labelled, lambda path: list(read_texts(path))):
            with pytest.raises(UsageError, match=found):
                read(path)
    with pytest.raises(UsageError, match="no such file"):
        read_labelled("nowhere.csv")
    with pytest.raises(UsageError, match="ends in"):
        read_labelled(__file__)
