"""The corpus doctor: right figures, each illness found in its place, and a clean corpus written."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretext.errors import UsageError
from foretext.text import measures
from foretext.text.check import Finding, Findings, dedupe, examine
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.text.duplicates import Duplicates
from foretext.text.measures import Vocabulary

WORDS = [f"{a}{b}{c}" for a in "bdkmprst" for b in "aeiou" for c in ("n", "l", "rt", "sk")]


def story(seed: int, sentences: int = 12) -> str:
    """A document of made-up sentences."""
    draw = random.Random(seed)
    rows = [" ".join(draw.choices(WORDS, k=draw.randint(4, 12))).capitalize() + "." for _ in range(sentences)]
    return " ".join(rows)


def rules(findings: Findings, part: str) -> list[Finding]:
    return [finding for finding in findings.findings if part in finding.rule]


def write(folder: Path, **files: str | bytes) -> list[Path]:
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data if isinstance(data, bytes) else data.encode())
    return sorted(folder.iterdir())


def test_figures_by_hand() -> None:
    findings = examine(strings_corpus(["One two. Three!\nOne.", "四五。"]))
    figures = findings.figures
    assert (figures["documents"], figures["paragraphs"], figures["sentences"]) == (2, 3, 4)
    assert figures["tokens"] == len(["one", "two", ".", "three", "!", "one", ".", "四五", "。"])
    assert figures["words_a_document"]["longest"] == 7
    assert figures["vocabulary"]["words"] == 7
    assert figures["vocabulary"]["seen_once"] == pytest.approx(5 / 9)
    assert figures["vocabulary"]["covered_by_8000"] == 1
    assert figures["scripts"] == {"Latin": pytest.approx(14 / 16), "Chinese": pytest.approx(2 / 16)}
    assert figures["several_sentences"] == 0.5


def test_a_healthy_corpus_has_nothing_fatal_and_renders() -> None:
    findings = examine(strings_corpus([story(seed) for seed in range(300)]))
    assert not findings.fatal
    assert not rules(findings, "cop")
    assert json.loads(json.dumps(findings.as_json()))["figures"]["documents"] == 300
    assert "documents" in findings.text()
    assert "tokens" in findings.text()


def test_copies_are_found_with_both_places(tmp_path: Path) -> None:
    stories = [story(seed, 30) for seed in range(20)]
    near = stories[3].replace(stories[3].split()[40], "changed", 1)
    documents = [*stories, f"  {stories[5]}\n", near]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    findings = examine([tmp_path / "a.jsonl"])
    assert (findings.figures["exact_duplicates"], findings.figures["near_duplicates"]) == (1, 1)
    (exact,), (close,) = rules(findings, "exact copies"), rules(findings, "near copies")
    assert str(exact.place).endswith("a.jsonl:21")
    assert "a.jsonl:6" in exact.rule
    assert str(close.place).endswith("a.jsonl:22")
    assert "a.jsonl:4" in close.rule
    assert "--dedupe" in exact.cure
    assert not findings.fatal
    assert examine(strings_corpus([stories[0]] * 3 + [stories[1]])).figures["exact_duplicates"] == 2


def test_mostly_copies_are_fatal() -> None:
    assert examine(strings_corpus([story(1)] * 5 + [story(2)])).fatal


@pytest.mark.parametrize(
    ("text", "rule", "severity"),
    [
        ("The cafÃ© was â€œniceâ€\x9d. ", "wrong encoding", "fatal"),
        ("Lost \ufffd\ufffd here. ", "U+FFFD", "fatal"),
        ("Some <br /> markup &amp; more. ", "markup", "warning"),
        ("a\tb\tc\td\n", "several tabs", "warning"),
        ("word " * 500, "longer than 2,000", "warning"),
    ],
)
def test_damage_is_found_where_it_stands(tmp_path: Path, text: str, rule: str, severity: str) -> None:
    (tmp_path / "a.txt").write_text(
        "A fine line. It goes on.\n\nAnother. It ends.\n" + (text * 5).strip() + "\n", encoding="utf-8"
    )
    (found,) = rules(examine([tmp_path / "a.txt"]), rule)
    assert found.severity == severity
    assert str(found.place) == f"{tmp_path / 'a.txt'}:4"
    assert found.cure


def test_marks_of_our_own_reading_are_told_as_such(tmp_path: Path) -> None:
    """Reading with errors replaced makes the same marks as an earlier conversion has left."""
    (tmp_path / "a.txt").write_bytes("A fine line. Lost \ufffd here.\n".encode() + b"And caf\xe9, ol\xe9.\n")
    for errors in ("replace", "strict"):  # which names the file, and examines the rest all the same
        (found,) = rules(examine([tmp_path / "a.txt"], CorpusConfig(encoding_errors=errors)), "U+FFFD")  # type: ignore[arg-type]
        assert found.count == 3
        assert "of 2 byte sequences that are no UTF-8, or lost by an earlier conversion" in found.rule
    (tmp_path / "a.txt").write_text("A fine line. Lost \ufffd here.\n", encoding="utf-8")
    (found,) = rules(examine([tmp_path / "a.txt"]), "U+FFFD")
    assert "byte sequences" not in found.rule


def test_good_unicode_is_not_called_damage() -> None:
    fine = [
        "Ça va, “déjà vu”? Ångström – naïve… 50 €.",
        "“你好”，他说……价格是５０％。",
        "Привет, мир! Ещё раз.",
        "Âme, Ô, É à l'âge. São",
    ]
    findings = examine(strings_corpus([*fine, *(story(seed) for seed in range(5))]))
    assert not rules(findings, "wrong encoding")


def test_every_invalid_file_is_named_and_the_rest_examined(tmp_path: Path) -> None:
    whole = gzip.compress(story(1).encode())
    write(tmp_path, a_txt=story(2), b_txt=b"caf\xe9. More.", c_txt=b"ok. \xff no. " + story(3).encode())
    findings = examine([tmp_path])
    bad = [finding for finding in findings.findings if finding.severity == "fatal"]
    assert [finding.place and Path(finding.place.file).name for finding in bad][:2] == ["b.txt", "c.txt"]
    assert "byte 3" in bad[0].rule
    assert "byte 4" in bad[1].rule
    assert findings.fatal
    assert findings.figures["documents"] == 3
    relaxed = examine([tmp_path], CorpusConfig(encoding_errors="replace"))
    assert relaxed.report is not None
    assert relaxed.report.counts.replaced == 2
    write(tmp_path, d_txt_gz=whole[:-9])
    cut = examine([tmp_path])
    assert cut.fatal
    assert cut.figures == {}
    assert any("damaged or cut short" in finding.rule for finding in cut.findings)


@pytest.mark.parametrize("data", [b"", b"\n \n"])
def test_an_empty_corpus_is_fatal_and_a_missing_one_is_an_error(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(data)
    assert examine([tmp_path / "a.txt"]).fatal
    with pytest.raises(UsageError):
        examine([tmp_path / "b.txt"])


def test_a_bad_record_is_a_finding_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "One. Two."}\n{"text": 3}\n')
    (found,) = examine([tmp_path / "a.jsonl"]).findings
    assert (found.severity, str(found.place)) == ("fatal", f"{tmp_path / 'a.jsonl'}:2")


def test_shape(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(story(1) + "\n")
    assert rules(examine([tmp_path / "one.txt"], CorpusConfig(documents="file")), "one document")
    assert rules(examine(strings_corpus(["One.", "Two.", "Three. Four."])), "few next-sentence pairs")
    assert rules(examine(strings_corpus([" ".join(f"w{n}" for n in range(3000))])), "words seen once")
    (tmp_path / "giant.txt").write_text("word " * 40_000)
    assert rules(examine([tmp_path / "giant.txt"]), "cuts were made")
    (tmp_path / "binary.txt").write_bytes(b"\x00\x01\x02text" * 100)
    assert rules(examine([tmp_path / "binary.txt"]), "control characters")[0].severity == "fatal"


def test_sampling_and_progress() -> None:
    calls: list[tuple[int, int]] = []
    corpus = strings_corpus([story(seed) for seed in range(600)])
    whole = examine(corpus, near=False)
    part = examine(corpus, near=False, closely=5000, progress=lambda *at: calls.append(at))
    assert part.figures["sampled"]
    assert part.figures["documents"] == whole.figures["documents"] == 600
    assert 0.1 < part.figures["tokens"] / whole.figures["tokens"] < 0.3
    assert [documents for documents, _ in calls] == [1, 257, 513]


def test_the_word_table_is_pruned_but_the_common_words_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures, "MOST_WORDS", 50)
    vocabulary = Vocabulary()
    for number in range(300):
        vocabulary.add(f"the cat w{number}")
    assert len(vocabulary.counts) <= 51
    assert vocabulary.counts["the"] == 300
    assert vocabulary.figures()["words"] == 302
    assert vocabulary.figures()["seen_once"] == pytest.approx(1 / 3)


# ── dedupe ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.sampled_from(["clean.txt", "clean.jsonl"]))
def test_dedupe_keeps_the_first_of_each_in_order(tmp_path: Path, seeds: list[int], name: str) -> None:
    documents = [story(seed, 5).replace(". ", ".\n") + (' "è\\ 你' if seed == 2 else "") for seed in seeds]
    (tmp_path / name).unlink(missing_ok=True)
    counts = dedupe(strings_corpus(documents), tmp_path / name)
    reading = CorpusConfig(documents="blank") if name.endswith(".txt") else CorpusConfig()
    back: dict[int, str] = {}
    last = -1
    for sentence in open_corpus([tmp_path / name], reading).sentences():
        back[sentence.document] = (
            back.get(sentence.document, "")
            + ("\n" if sentence.paragraph != last and sentence.document in back else "")
            + sentence.string
        )
        last = sentence.paragraph
    assert list(back.values()) == list(dict.fromkeys(documents))
    assert (counts.documents, counts.kept, counts.exact) == (len(seeds), len(set(seeds)), len(seeds) - len(set(seeds)))


def test_dedupe_drops_near_copies_and_refuses_an_existing_file(tmp_path: Path) -> None:
    text = story(1, 40)
    documents = [text, text.replace(text.split()[100], "changed", 1), story(2, 40)]
    assert dedupe(strings_corpus(documents), tmp_path / "new" / "a.jsonl").near == 1
    assert dedupe(strings_corpus(documents), tmp_path / "b.jsonl", near=False).kept == 3
    with pytest.raises(UsageError, match="exists"):
        dedupe(strings_corpus(documents), tmp_path / "b.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.jsonl", "new"]


def test_a_failed_dedupe_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"One. Two. \xff")
    with pytest.raises(Exception, match="UTF-8"):
        dedupe(open_corpus([tmp_path / "a.txt"]), tmp_path / "b.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_unrelated_documents_are_no_copies() -> None:
    copies = Duplicates()
    for seed in range(200):
        fingerprint = copies.fingerprint()
        fingerprint.update(story(seed, 20))
        assert copies.seen(fingerprint, measures.Place(file="x", line=seed)) is None


def test_known_copies_in_real_reviews(data_set: Callable[[str], Path]) -> None:
    findings = examine([data_set("zh/raw-laws/laws.txt.xz")])
    assert findings.figures["exact_duplicates"] == 3
    assert findings.figures["near_duplicates"] > 0  # superseded versions of some laws, as its manifest says
    assert not findings.fatal
