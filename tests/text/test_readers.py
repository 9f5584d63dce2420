"""Strict decoding with exact places, bounded lines, layouts, records, Wikipedia."""

import bz2
import gzip
import json
import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretext.errors import DataError, ForetextError
from foretext.text import readers, sources
from foretext.text.corpus import CorpusConfig, open_corpus
from foretext.text.layout import detect, joined
from foretext.text.normalize import clean
from foretext.text.readers import Counts, cut, decoded, lines
from foretext.text.sources import Source
from foretext.text.wikipedia import running_text

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def source(path: Path, data: bytes) -> Source:
    path.write_bytes(data)
    return Source(name=str(path), location=str(path))


def paragraphs(*paths: Path, **config: str) -> list[tuple[int, str]]:
    """(document, paragraph text) of everything."""
    corpus = open_corpus(paths, CorpusConfig(**config))  # type: ignore[arg-type]
    rows: dict[int, tuple[int, str]] = {}
    for sentence in corpus.sentences():
        document, text = rows.get(sentence.paragraph, (sentence.document, ""))
        rows[sentence.paragraph] = (document, text + sentence.string)
    return list(rows.values())


def first_invalid(data: bytes) -> int | None:
    """Where Python's own decoder stops."""
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return error.start
    return None


# ── decoding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=150, suppress_health_check=SHARED_FOLDER)
@given(st.binary(max_size=40) | st.text(max_size=20).map(str.encode), st.integers(1, 7))
def test_the_byte_named_is_the_one_python_names(tmp_path: Path, data: bytes, chunk: int) -> None:
    data = b"\n" + data  # or it might start as a compressed file does
    file = source(tmp_path / "a.txt", data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        wrong = first_invalid(data)
        if wrong is None:
            assert "".join(decoded(file, "strict", Counts())) == clean(data.decode())
            return
        with pytest.raises(DataError) as caught:
            list(decoded(file, "strict", Counts()))
        assert caught.value.place == f"byte {wrong}"
        assert caught.value.file == file.name


@settings(deadline=None, max_examples=100, suppress_health_check=SHARED_FOLDER)
@given(st.binary(max_size=60), st.integers(1, 5))
def test_replacing_counts_what_it_replaced(tmp_path: Path, data: bytes, chunk: int) -> None:
    counts = Counts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "CHUNK", chunk)
        text = "".join(decoded(source(tmp_path / "a.txt", b"\n" + data), "replace", counts))
    assert counts.replaced == text.count("\ufffd") - data.count("\ufffd".encode())


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst"])
def test_compressed_files_read_alike_and_damage_is_one_error(tmp_path: Path, suffix: str) -> None:
    text = "".join(f"Line {n} of this file. It has two sentences.\n" for n in range(3000)).encode()
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}[suffix]
    data = pack(text[:50_000]) + pack(text[50_000:])  # two members or frames one after another
    assert b"".join(source(tmp_path / f"a.txt.{suffix}", data).chunks()) == text
    for stop in (6, len(data) // 2, len(data) - 3):
        with pytest.raises(DataError, match=r"a\.txt"):
            list(source(tmp_path / f"a.txt.{suffix}", data[:stop]).chunks())
    flipped = bytearray(data)
    flipped[len(data) // 3] ^= 0xFF
    with pytest.raises(DataError):
        list(source(tmp_path / f"a.txt.{suffix}", bytes(flipped)).chunks())
    with pytest.raises(DataError, match=f"expected {suffix}"):
        list(source(tmp_path / f"a.txt.{suffix}", b"plain text").chunks())


# ── lines ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet="ab. \n。", max_size=200), st.integers(1, 50), st.integers(4, 30))
def test_long_lines_come_in_pieces_that_lose_nothing(string: str, chunk: int, longest: int) -> None:
    counts = Counts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "LONGEST", longest)
        patch.setattr(cut, "__defaults__", (longest,))
        pieces = list(lines((string[at : at + chunk] for at in range(0, len(string), chunk)), counts))
    assert all(len(piece) <= longest for _, piece, _ in pieces)
    whole: dict[int, str] = {}
    for number, piece, _ in pieces:
        whole[number] = whole.get(number, "") + piece
    expected = string.split("\n")
    assert [whole.get(n, "") for n in range(1, len(expected) + 1)] == expected
    assert sum(not complete for _, _, complete in pieces) == counts.split


def test_cuts_prefer_sentence_ends_then_spaces_and_spare_marks() -> None:
    assert cut("aaaa bbb. cc dddd", 12) == ("aaaa bbb. ", "cc dddd")
    assert cut("aaaaaa bb ccccc", 12) == ("aaaaaa bb ", "ccccc")
    assert cut("一二三四五。六七八", 8) == ("一二三四五。", "六七八")
    assert cut("aaaaaae\u0301aaa", 7) == ("aaaaaa", "e\u0301aaa")


# ── layouts ──────────────────────────────────────────────────────────────────────────────────────────────────────────

WRAPPED = """The quick brown fox jumped over the lazy dog and then it went
home to its den, where it slept for the rest of the long and quiet
day until the evening came and it was hungry once more; so it rose-
like and went out.

A second paragraph begins here and it too is broken by hand to fit
the narrow page of an old book, as they all were in those days when
text was typed, and every line ends where the paper ends, and never
at the end of a sentence, unless by chance. This goes on for a few
more lines, so that the rule may see enough of them to be sure that
what it sees is no accident of a short file with only a few lines.
"""


def test_wrapped_lines_are_joined(tmp_path: Path) -> None:
    (tmp_path / "book.txt").write_text(WRAPPED)
    found = paragraphs(tmp_path / "book.txt")
    assert [document for document, _ in found] == [0, 0]
    assert found[0][1].startswith(
        "The quick brown fox jumped over the lazy dog and then it went home to its den, where"
    )
    assert found[0][1].endswith("so it rose-like and went out.")
    assert joined("你好，", "世界") == "你好，世界"
    assert joined("word", "next") == "word next"


def test_wrapped_chinese_is_joined_without_spaces(tmp_path: Path) -> None:
    line = "话说天下大势分久必合合久必分周末七国分争并入于秦及秦灭之后楚汉"
    text = "".join(f"    {line}\n{line}，\n{line}\n{line[:5]}。\n" for _ in range(6))
    (tmp_path / "a.txt").write_text(f"{text}\n{text}", encoding="utf-8")
    whole = f"{line}{line}，{line}{line[:5]}。"
    assert paragraphs(tmp_path / "a.txt") == [(0, whole)] * 6 + [(1, whole)] * 6


@pytest.mark.parametrize(
    ("sample", "documents"),
    [
        ("First headline\nIts long text follows here.\n\nSecond headline\nMore text.\n", "blank"),
        ("A paragraph of a novel.\n\nAnother paragraph of the novel.\n\nA third.\n", "file"),
        ("Good film. I liked it. Go.\nBad film. I left. Never again.\n", "line"),
        ("今天好。明天也好。\n他走了。我也走了。\n", "line"),
        ("one short line\nanother short line\nand a third\n", "file"),
        (" = Robert = \n\n Robert was an actor . \n\n = = Life = = \n\n He lived . \n", "headings"),
        ("", "file"),
    ],
)
def test_document_ends_are_detected(sample: str, documents: str) -> None:
    assert detect(sample, whole=True).documents == documents


def test_many_small_files_are_a_document_each() -> None:
    sample = "A headline\nSome text. More.\n\nAnother headline\nText.\n"
    assert detect(sample, whole=True, files=8, mean_bytes=1000).documents == "file"
    assert detect(sample, whole=True, files=8, mean_bytes=1 << 21).documents == "blank"


def test_documents_may_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One.\nTwo.\n\n\nThree.\n")
    assert [d for d, _ in paragraphs(tmp_path / "a.txt", documents="file")] == [0, 0, 0]
    assert [d for d, _ in paragraphs(tmp_path / "a.txt", documents="line")] == [0, 1, 2]
    assert [d for d, _ in paragraphs(tmp_path / "a.txt", documents="blank")] == [0, 0, 1]


def test_headings_start_documents(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" = One = \n\n Text . \n\n = = Part = = \n\n More . \n\n = Two = \n\n End . \n")
    assert paragraphs(tmp_path / "a.txt") == [
        (0, "One"), (0, "Text ."), (0, "Part"), (0, "More ."), (1, "Two"), (1, "End ."),
    ]  # fmt: skip


# ── records ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_json_lines(tmp_path: Path) -> None:
    rows = [{"id": 1, "text": "One.\n\nTwo\u2028Three."}, {"id": 2, "text": ["A.", "B."]}, {"id": 3, "text": None}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\r\n" for row in rows) + "\n")
    assert paragraphs(tmp_path / "a.jsonl") == [(0, "One."), (0, "Two"), (0, "Three."), (1, "A."), (1, "B.")]
    (tmp_path / "b.jsonl").write_text('{"text": "a\\u0000b\\u2028c", "score": NaN}\n{"text": "x\\udc00"}\n')
    assert paragraphs(tmp_path / "b.jsonl", encoding_errors="replace") == [(0, "ab"), (0, "c"), (1, "x\ufffd")]
    report = open_corpus([tmp_path / "a.jsonl"]).report()
    assert (report.documents, report.counts.empty) == (2, 1)


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ('{"text": "a"', "one JSON object a line"),
        ("[1]", "found a list"),
        ('{"text": 3}', "found int"),
        ('{"txt": "a"}', "found only txt"),
        ('{"text": "\\ud83d"}', "half of a surrogate pair"),
        ("[" * 100_000, "one JSON object a line"),
    ],
)
def test_bad_json_names_its_line(tmp_path: Path, row: str, rule: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fine"}\n\n' + row + "\n")
    with pytest.raises(DataError, match=rule) as caught:
        paragraphs(tmp_path / "a.jsonl")
    assert caught.value.place == "line 3"


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,Text\n1,"He said ""hi"", then\nleft."\n0,Fine.\n')
    assert paragraphs(tmp_path / "a.csv") == [(0, 'He said "hi", then'), (0, "left."), (1, "Fine.")]
    (tmp_path / "b.tsv").write_text('id\tbody\n1\t"Open quote, never closed\n2\t"It said ""no""."\n')
    assert paragraphs(tmp_path / "b.tsv") == [(0, '"Open quote, never closed'), (1, 'It said "no".')]
    (tmp_path / "c.csv").write_text(
        '"3","Wall St. falls again today.","Shares fell sharply on the news, traders said."\n' * 3
    )
    assert {text for _, text in paragraphs(tmp_path / "c.csv", text_field="column 2")} == {
        "Wall St. falls again today."
    }
    huge = "word " * 60_000
    (tmp_path / "d.csv").write_text(f"label,text\n1,{huge}\n")
    assert " ".join(text for _, text in paragraphs(tmp_path / "d.csv")).split() == huge.split()


def test_a_ragged_table_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('label,text\n1,"two\nlines"\n0,a, b\n')
    with pytest.raises(DataError, match="expected 2 cells") as caught:
        paragraphs(tmp_path / "a.csv")
    assert caught.value.place == "line 4"


@pytest.mark.parametrize("rows", ['1,"never closed\n2,b\n', '1,"closed" early\n'])
def test_bad_quotes_name_their_line(tmp_path: Path, rows: str) -> None:
    (tmp_path / "a.csv").write_text(f"label,text\n0,fine\n{rows}")
    with pytest.raises(DataError, match="quote") as caught:
        paragraphs(tmp_path / "a.csv")
    assert caught.value.place == "line 3"


def test_the_text_field_is_found_or_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text('{"headline": "Some short title", "lead": "Another short string"}\n')
    with pytest.raises(DataError, match="--text-field"):
        open_corpus([file])
    assert paragraphs(file, text_field="lead") == [(0, "Another short string")]
    with pytest.raises(DataError, match="did you mean 'lead'"):
        open_corpus([file], CorpusConfig(text_field="leed"))
    file.write_text('{"n": "12", "body": "' + "A long body of text. " * 9 + '", "by": "Ann"}\n')
    assert paragraphs(file)[0][1].startswith("A long body")


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"label": [1, 0, 1], "text": ["One. Two.", None, "三。"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    assert paragraphs(tmp_path / "a.parquet") == [(0, "One. Two."), (1, "三。")]
    data = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "b.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"b\.parquet"):
        paragraphs(tmp_path / "b.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ForetextError, match="foretext\\[data\\]") as caught:
        open_corpus([tmp_path / "a.parquet"])
    assert caught.value.exit_code == 5


# ── Wikipedia ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_wikiextractor(tmp_path: Path) -> None:
    text = (
        '<doc id="1" url="?curid=1" title="Tom &amp; Co">\nTom &amp; Co\n\nTom &lt;3 Co. They met.\nLater.\n\n</doc>\n'
        '<doc id="2" url="?curid=2" title="Stub">\nStub\n\n\n</doc>\n<doc id="3" url="" title="Last">\nBody.\n</doc>\n'
    )
    (tmp_path / "wiki_00").write_text(text)
    assert paragraphs(tmp_path) == [(0, "Tom <3 Co. They met."), (0, "Later."), (1, "Body.")]
    assert open_corpus([tmp_path]).report().counts.empty == 1


def page(title: str, text: str, space: int = 0, extra: str = "") -> str:
    return f"<page><title>{title}</title><ns>{space}</ns><id>7</id>{extra}<revision><id>9</id><text>{text}</text></revision></page>"


DUMP = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo><namespaces>'
    '<namespace key="6">Datei</namespace></namespaces></siteinfo>'
    + page(
        "A",
        "'''Alpha''' is a [[letter|Greek letter]].{{cite|x}}&lt;ref&gt;no&lt;/ref&gt;\n\n== Head ==\n* item\nIt comes first.",
    )
    + page("B", "#REDIRECT [[A]]", extra='<redirect title="A"/>')
    + page("Talk:A", "chatter", space=1)
    + page("C", "{| class=x\n| cell\n|}\n[[Datei:x.jpg|thumb|caption]]Gamma.\n[[Category:Letters]]")
    + "</mediawiki>"
)


def test_dump(tmp_path: Path) -> None:
    (tmp_path / "dump.xml.bz2").write_bytes(bz2.compress(DUMP.encode()))
    assert paragraphs(tmp_path / "dump.xml.bz2") == [
        (0, "Alpha is a Greek letter."),
        (0, "It comes first."),
        (1, "Gamma."),
    ]
    assert open_corpus([tmp_path / "dump.xml.bz2"]).report().counts.redirects == 2
    (tmp_path / "dump.xml").write_text(DUMP[:-30])
    with pytest.raises(DataError, match="dump"):
        paragraphs(tmp_path / "dump.xml")


def test_markup_leaves_running_text_only() -> None:
    assert (
        running_text("A {{convert|3|km}} road ({{lang|fr|x}}) of [[Paris]].\n# list\n: indent") == "A  road  of Paris."
    )
    assert running_text("{|\n{|\n|x\n|}\n|}\nAfter.") == "After."


# ── fuzz ─────────────────────────────────────────────────────────────────────────────────────────────────────────────

SEEDS = [
    b'{"text": "a b"}\n',
    b"label,text\n1,x\n",
    b'<doc id="1" title="t">\nx\n</doc>\n',
    DUMP.encode(),
    gzip.compress(b"a. b."),
]


def mutated() -> st.SearchStrategy[bytes]:
    def change(parts: tuple[bytes, list[tuple[int, bytes]]]) -> bytes:
        data, edits = parts
        for at, new in edits:
            at %= len(data) + 1
            data = data[:at] + new + data[at + len(new) // 2 :]
        return data

    edits = st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=6)), max_size=4)
    return st.tuples(st.sampled_from(SEEDS), edits).map(change) | st.binary(max_size=200)


@pytest.mark.parametrize(
    "name", ["a.txt", "a.jsonl", "a.csv", "a.tsv", "a.xml", "a.parquet", "a.txt.gz", "a.jsonl.zst", "a.txt.xz"]
)
@settings(deadline=None, max_examples=40, suppress_health_check=SHARED_FOLDER)
@given(data=mutated(), errors=st.sampled_from(["strict", "replace"]))
def test_any_bytes_read_or_are_refused_by_one_message(tmp_path: Path, name: str, data: bytes, errors: str) -> None:
    (tmp_path / name).write_bytes(data)

    def read() -> Iterator[str]:
        for sentence in open_corpus([tmp_path / name], CorpusConfig(encoding_errors=errors)).sentences():  # type: ignore[arg-type]
            yield sentence.string

    try:
        for string in read():
            assert string
            string.encode()
    except ForetextError as error:
        message = error.message
        assert "\n" not in message and str(tmp_path / name) in message
