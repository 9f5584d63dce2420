"""A corpus: what its sources may be, order and numbers, shards, keys, refusals, memory."""

import gzip
import io
import os
import pickle
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretext.errors import DataError, UsageError
from foretext.text import sources
from foretext.text.corpus import CorpusConfig, excluding, open_corpus, strings_corpus
from foretext.text.excluding import FEWEST, SHORTEST, units
from foretext.types import Corpus, Sentence

SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def texts(corpus: Corpus) -> list[str]:
    return [sentence.string for sentence in corpus.sentences()]


def numbered(sentences: Iterator[Sentence]) -> list[tuple[int, int, str]]:
    return [(sentence.document, sentence.paragraph, sentence.string) for sentence in sentences]


# ── sources ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_folders_globs_and_single_files(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "2.txt").write_text("Two.")
    (tmp_path / "b" / "10.txt.gz").write_bytes(gzip.compress(b"Ten."))
    (tmp_path / "a.txt").write_text("A.")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    (tmp_path / ".hidden.txt").write_text("no")
    folder = open_corpus([tmp_path])
    assert texts(folder) == ["A.", "Ten.", "Two."]
    assert f"{tmp_path / 'a.txt'} and 2 more: text; the file is one document" in folder.report().text()
    assert [row.split(" ")[0] for row in folder.report().skipped] == [str(tmp_path / "picture.png")]
    assert texts(open_corpus([f"{tmp_path}/b/*.txt"])) == ["Two."]
    assert texts(open_corpus([f"{tmp_path}/**/*.txt"])) == ["A.", "Two."]
    assert texts(open_corpus([tmp_path / "b", tmp_path / "a.txt", tmp_path])) == ["Ten.", "Two.", "A."]


@pytest.mark.parametrize("name", ["missing.txt", "missing/*.txt", "missing/", "nosuchscheme://x/y.txt"])
def test_what_is_not_there_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError) as caught:
        open_corpus([name if "://" in name else tmp_path / name])
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError):
        open_corpus([])


@pytest.mark.parametrize("data", [b"", b" \n\t\r\n\xe3\x80\x80", b"\xef\xbb\xbf\n\x00"])
def test_an_empty_corpus_is_a_data_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    with pytest.raises(DataError, match="white space or nothing"):
        list(open_corpus([tmp_path / "a.txt"]).sentences())
    with pytest.raises(DataError):
        list(open_corpus([tmp_path / "a.txt"]).sentences(1, 2))
    with pytest.raises(DataError):
        strings_corpus([data.decode("utf-8")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError):
        open_corpus([tmp_path / "empty"])


def test_standard_input_may_be_read_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sources._spooled_input.cache_clear()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(gzip.compress(b"One. Two.\n\nThree."))))
    corpus = open_corpus(["-"])
    assert texts(corpus) == texts(corpus) == ["One. ", "Two.", "Three."]
    assert next(iter(corpus.sentences())).place.file == "<standard input>"
    sources._spooled_input.cache_clear()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_is_spooled(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["sh", "-c", f"printf 'One. Two.' > '{pipe}'"]):
        corpus = open_corpus([pipe])
    assert texts(corpus) == texts(corpus) == ["One. ", "Two."]


def test_urls() -> None:
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    files.pipe("/foretext-test/b.txt", b"B.")
    files.pipe("/foretext-test/a.jsonl", b'{"text": "A."}\n')
    assert texts(open_corpus(["memory://foretext-test/b.txt"])) == ["B."]
    assert texts(open_corpus(["memory://foretext-test"])) == ["A.", "B."]
    assert texts(open_corpus(["memory://foretext-test/*.txt"])) == ["B."]
    with pytest.raises(UsageError):
        open_corpus(["memory://foretext-test/none.txt"])


def test_a_table_without_text_is_skipped_in_a_folder_but_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Text.")
    (tmp_path / "meta.tsv").write_text("title\tauthor\nEmma\tAusten\nHamlet\tShakespeare\n")
    corpus = open_corpus([tmp_path])
    assert texts(corpus) == ["Text."]
    assert "meta.tsv" in corpus.report().skipped[0]
    with pytest.raises(DataError, match="--text-field"):
        open_corpus([tmp_path / "meta.tsv"])


def test_archives_are_refused_with_a_cure(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.txt", "w") as archive:
        archive.writestr("b.txt", "Text.")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as packed:
        packed.add(tmp_path / "a.txt")
    for name, kind in (("a.txt", "zip"), ("c.tar.gz", "tar")):
        with pytest.raises(DataError, match=kind):
            open_corpus(tmp_path / name)


# ── encodings ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_invalid_utf8_names_file_and_byte(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("fine")
    data = "é".encode() * 300_000 + b"\xff and more"
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(data))
    with pytest.raises(DataError) as caught:
        list(open_corpus([tmp_path]).sentences())
    assert caught.value.exit_code == 3
    assert caught.value.message.startswith(f"{tmp_path / 'b.txt.gz'}:byte 600000: ")
    assert "--encoding-errors replace" in caught.value.remedy
    report = open_corpus([tmp_path], CorpusConfig(encoding_errors="replace")).report()
    assert report.counts.replaced == 1
    assert "1 invalid byte sequences" in report.text()


def test_utf16_is_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Hello.".encode("utf-16"))
    with pytest.raises(DataError, match="UTF-16"):
        list(open_corpus([tmp_path / "a.txt"]).sentences())


CLEAN = "First line. More.\n第二行。还有！\n\nAnother block.\nIts end.\n"


@pytest.mark.parametrize(
    "variant",
    [
        CLEAN.encode("utf-8-sig"),
        CLEAN.replace("\n", "\r\n").encode(),
        CLEAN.replace("\n", "\r").encode(),
        CLEAN.replace("i", "\x00i").encode(),
        CLEAN.replace("\n", "\u2028").encode(),
        CLEAN.replace("\n", "\u2029").encode(),
        CLEAN.replace("\n", "\x85").encode(),
        (CLEAN + "\x1a").encode(),
    ],
)
def test_every_variant_reads_as_the_clean_copy(tmp_path: Path, variant: bytes) -> None:
    (tmp_path / "clean.txt").write_text(CLEAN, encoding="utf-8")
    (tmp_path / "variant.txt").write_bytes(variant)
    clean, other = (numbered(open_corpus([tmp_path / name]).sentences()) for name in ("clean.txt", "variant.txt"))
    assert len({document for document, _, _ in clean}) == 2
    assert other == clean


# ── order, shards, keys ──────────────────────────────────────────────────────────────────────────────────────────────

DOCUMENTS = st.lists(
    st.lists(st.sampled_from(["One. Two.", "Three", "四。五！", "six seven."]), min_size=1, max_size=3),
    min_size=1,
    max_size=12,
)


@settings(deadline=None, max_examples=60, suppress_health_check=SHARED_FOLDER)
@given(DOCUMENTS, st.integers(1, 7), st.integers(1, 4), st.integers(1, 60), st.integers(2, 6))
def test_shards_concatenate_to_the_corpus(
    tmp_path: Path, documents: list[list[str]], of: int, files: int, block: int, most: int
) -> None:
    for number in range(files):
        part = documents[number::files]
        (tmp_path / f"{number}.txt").write_text("\n\n\n".join("\n".join(lines) for lines in part), encoding="utf-8")
    names = [tmp_path / f"{number}.txt" for number in range(files)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foretext.text.survey.BLOCK", block)
        patch.setattr("foretext.text.survey.MOST_BLOCKS", most)
        corpus = open_corpus(names, CorpusConfig(documents="blank"))
        whole = numbered(corpus.sentences())
        shards = [numbered(corpus.sentences(shard, of)) for shard in range(of)]
    assert list(chain(*shards)) == whole
    in_order = [document for number in range(files) for document in documents[number::files]]
    assert [document for document, _, _ in whole] == sorted(document for document, _, _ in whole)
    assert {document for document, _, _ in whole} == set(range(len(in_order)))
    paragraphs: dict[tuple[int, int], str] = {}
    for document, paragraph, string in whole:
        paragraphs[document, paragraph] = paragraphs.get((document, paragraph), "") + string
    assert list(paragraphs.values()) == [line for lines in in_order for line in lines]
    assert [paragraph for _, paragraph in paragraphs] == list(range(len(paragraphs)))


BOOK = "".join(
    f"    {'一二三四五六七八九十' * 3}\n{'甲乙丙丁戊己庚辛壬癸' * 3}\n{'子丑'}{n}。\n{chr(10) * (n % 6 == 5)}"
    for n in range(72)
)
EVERY_FORMAT = {
    "a.txt": "\n".join(f"One {n}. Two {n}." for n in range(40)),
    "b.txt": "".join(f"Head {n}\u2028Text {n}. More.\n\n" for n in range(40)),
    "book.txt": BOOK,
    "wikitext.txt": "".join(f" = Title {n} = \n\n Some text {n} . \n\n = = Part = = \n" for n in range(40)),
    "wiki_00": "".join(f'<doc id="{n}" title="T{n}">\nT{n}\n\nText {n}.\nMore.\n</doc>\n' for n in range(40)),
    "a.jsonl": "".join(f'{{"text": "One {n}.\\nTwo."}}\n\n' for n in range(40)),
    "a.csv": "id,text\n" + "".join(f'{n},"Row {n}.\nIts second line."\n' for n in range(40)),
    "a.tsv": "".join(f"{n}\tRow {n} has text here.\n" for n in range(40)),
    "a.xml": "<mediawiki>" + "".join(f"<page><ns>{n % 5}</ns><text>Page {n}.\n\nMore.</text></page>" for n in range(60)) + "</mediawiki>",
}  # fmt: skip


@pytest.mark.parametrize("name", [*EVERY_FORMAT, "a.parquet", "all"])
@pytest.mark.parametrize("of", [2, 5])
def test_every_format_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, of: int) -> None:
    monkeypatch.setattr("foretext.text.survey.BLOCK", 1)
    monkeypatch.setattr(sources, "CHUNK", 37)
    for file, text in EVERY_FORMAT.items():
        (tmp_path / file).write_text(text, encoding="utf-8")
    if name == "a.parquet":
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(arrow.table({"text": [f"Row {n}." for n in range(40)]}), tmp_path / name)
    corpus = open_corpus([tmp_path / file for file in EVERY_FORMAT] if name == "all" else [tmp_path / name])
    whole = list(corpus.sentences())
    assert whole[-1].document >= 9
    assert sum(any(corpus.sentences(shard, of)) for shard in range(of)) >= min(of, 4)
    assert list(chain(*(corpus.sentences(shard, of) for shard in range(of)))) == whole


@settings(deadline=None, max_examples=60)
@given(DOCUMENTS, st.integers(1, 7))
def test_strings_shard_alike(documents: list[list[str]], of: int) -> None:
    corpus = strings_corpus(["\n".join(lines) for lines in documents])
    shards = [numbered(corpus.sentences(shard, of)) for shard in range(of)]
    assert list(chain(*shards)) == numbered(corpus.sentences())
    assert len({document for document, _, _ in numbered(corpus.sentences())}) == len(documents)


def test_shards_are_about_equal(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(f"Document {n} has text. It has two sentences." for n in range(20_000)))
    corpus = pickle.loads(pickle.dumps(open_corpus([tmp_path / "a.txt"])))
    sizes = [sum(len(sentence.string) for sentence in corpus.sentences(shard, 4)) for shard in range(4)]
    assert min(sizes) > 0.8 * max(sizes)


def test_places_name_lines(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Head one\nText. More.\n\n\nHead two\nText.\n")
    places = [str(sentence.place) for sentence in open_corpus([tmp_path / "a.txt"]).sentences()]
    assert places == [f"{tmp_path / 'a.txt'}:{line}" for line in (1, 2, 2, 5, 6)]


def test_the_key_is_of_content_and_rules_not_of_names(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("One. Two.")
    (tmp_path / "b.txt").write_text("One. Two.")
    (tmp_path / "c.txt").write_text("One. Two!")
    keys = [open_corpus([tmp_path / f"{name}.txt"]).key for name in "abc"]
    assert keys[0] == keys[1] != keys[2]
    assert open_corpus([tmp_path / "a.txt"], CorpusConfig(documents="line")).key != keys[0]
    assert (
        open_corpus([tmp_path / "a.txt", tmp_path / "c.txt"]).key
        != open_corpus([tmp_path / "c.txt", tmp_path / "a.txt"]).key
    )
    assert strings_corpus(["a b"]).key != strings_corpus(["a", "b"]).key
    assert strings_corpus(["a\nb"]).key == strings_corpus(["a\r\nb\n"]).key


# ── held-out texts ───────────────────────────────────────────────────────────────────────────────────────────────────


def naive(documents: Sequence[str], held_out: Sequence[str]) -> list[str]:
    def inside(text: list[str], document: list[str]) -> bool:
        return any(document[at : at + len(text)] == text for at in range(len(document) - len(text) + 1))

    kept = []
    for document in documents:
        have = units(document)
        hit = any(
            units(text)
            and (
                units(text) == have
                or (len(units(text)) >= FEWEST and len("".join(units(text))) >= SHORTEST and inside(units(text), have))
            )
            for text in held_out
        )
        if not hit:
            kept.append(document)
    return kept


WORDS = st.lists(st.sampled_from(["the", "Bank", "river.", "of", "money", "water;"]), min_size=1, max_size=24).map(
    " ".join
)


@settings(deadline=None, max_examples=150)
@given(st.lists(WORDS, min_size=1, max_size=8), st.lists(WORDS, max_size=4), st.data())
def test_excluding_drops_what_a_plain_search_drops(
    documents: list[str], held_out: list[str], data: st.DataObject
) -> None:
    if data.draw(st.booleans()):
        words = data.draw(st.sampled_from(documents)).split()
        start = data.draw(st.integers(0, len(words) - 1))
        held_out = [*held_out, " ".join(words[start:]).upper()]
    corpus = excluding(strings_corpus(documents), held_out)
    kept = naive(documents, held_out)
    found: dict[int, str] = {}
    for sentence in corpus.sentences():
        found[sentence.document] = found.get(sentence.document, "") + sentence.string
    assert list(found.values()) == kept
    assert list(found) == list(range(len(kept)))
    assert corpus.excluded == len(documents) - len(kept)
    assert list(chain(*(numbered(corpus.sentences(shard, 3)) for shard in range(3)))) == numbered(corpus.sentences())


def test_excluding_across_lines_case_and_punctuation() -> None:
    held = "the quick brown fox jumps over the lazy dog"
    documents = [
        "Before.\nThe quick, brown fox\njumps OVER the lazy dog! After.",
        "A fox.",
        "我们今天一起去公园里看花，然后再一起回家吃饭睡觉。",
    ]
    corpus = excluding(strings_corpus(documents), [held, "今天一起去公园里看花然后再一起回家", "  "])
    assert texts(corpus) == ["A fox."]
    assert corpus.excluded == 2
    assert corpus.key != excluding(strings_corpus(documents), [held]).key
    assert [paragraph for _, paragraph, _ in numbered(corpus.sentences())] == [0]


# ── size and real data ───────────────────────────────────────────────────────────────────────────────────────────────

GIANT = """
import resource, sys
from foretext.text.corpus import CorpusConfig, open_corpus
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
corpus = open_corpus([sys.argv[1]], CorpusConfig(language="zh"))  # the faster rule
letters = sum(len(sentence.string.split()) for sentence in corpus.sentences())
print(letters, corpus.report().counts.split, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)
"""


def test_one_giant_line_streams_in_bounded_memory(tmp_path: Path) -> None:
    sentence = b"The river bank was wet and the money was in the other bank. "
    with gzip.open(tmp_path / "giant.txt.gz", "wb", compresslevel=1) as stream:
        for _ in range(600):
            stream.write(sentence * 1000)
    done = subprocess.run(
        [sys.executable, "-c", GIANT, str(tmp_path / "giant.txt.gz")], capture_output=True, text=True, check=True
    )
    words, splits, megabytes = map(int, done.stdout.split())
    assert words == 600_000 * len(sentence.split())  # every token, though the line has 36 MB
    assert splits > 500
    assert megabytes < 30


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_line_of_five_gigabytes(tmp_path: Path) -> None:
    words = b"The river bank was wet and the money was in the other bank. " * 1000
    with gzip.open(tmp_path / "giant.txt.gz", "wb", compresslevel=1) as stream:
        for _ in range(5 * (1 << 30) // len(words)):
            stream.write(words)
    done = subprocess.run(
        [sys.executable, "-c", GIANT, str(tmp_path / "giant.txt.gz")], capture_output=True, text=True, check=True
    )
    found, _, megabytes = map(int, done.stdout.split())
    assert found == 5 * (1 << 30) // len(words) * 13_000
    assert megabytes < 60


def test_real_chinese_and_english_files(data_set: Callable[[str], Path]) -> None:
    essays = open_corpus([data_set("zh/raw-literature-essays/validation.txt.xz")]).report()
    assert essays.documents == 58  # as its manifest says
    laws = open_corpus([data_set("zh/raw-laws/laws.txt.xz")]).report()
    assert (laws.documents, laws.paragraphs) == (359, 57_512)
    emma = list(open_corpus([data_set("en/gutenberg-nltk/austen-emma.txt.gz")]).sentences())
    assert emma[3].string.startswith("Emma Woodhouse, handsome, clever, and rich, with a comfortable home and happy")
