"""Word sets: how their files are read, and every figure against an independent reference or gensim's on the same vectors."""

import gzip
import itertools
import lzma
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.vector_world import CASED, model, names

from foretext.bundle import Pretrained
from foretext.errors import DataError, UsageError
from foretext.evaluation.intrinsic import (
    HEAD,
    Evaluation,
    Lookup,
    analogy_lines,
    evaluate_vectors,
    outlier_lines,
    purity_line,
    similarity_line,
)
from foretext.evaluation.neighbors import Words, neighbors
from foretext.evaluation.words import word_table
from foretext.evaluation.wordsets import SETS, Group, Pair, Question, chosen, read_groups, read_pairs, read_questions

WORDS = names(60)


@pytest.fixture(scope="module")
def world() -> Pretrained:
    return model(WORDS, width=5, seed=2)


def pairs(seed: int = 0, count: int = 80, extra: tuple[str, ...] = ("absent",)) -> list[Pair]:
    """Random pairs with scores of few values, so that there are ties; some have a word that no model knows."""
    rng = np.random.default_rng(seed)
    some = [*WORDS, *extra]
    return [
        Pair(first=some[i], second=some[j], score=float(s))
        for i, j, s in zip(*rng.integers(0, len(some), (2, count)), rng.integers(0, 6, count), strict=True)
    ]


def questions(world: Pretrained, seed: int = 1) -> list[Question]:
    """Questions of which about half have the nearest word to b − a + c as their answer."""
    rng = np.random.default_rng(seed)
    table = word_table(world)
    units = table.vectors / np.maximum(table.norms, 1e-9)[:, None]
    made = []
    for number in range(120):
        a, b, c, d = (int(i) for i in rng.integers(1, 61, 4))
        if number % 2:
            scores = units @ (units[b] - units[a] + units[c])
            scores[[0, a, b, c]] = -9
            d = int(scores.argmax())
        words = [world.tokenizer.pieces[i] for i in (a, b, c, d)]
        section = ("capitals", "gram1-plural", "gram2-past")[number % 3]
        made.append(Question(section=section, words=(words[0], words[1], words[2], "absent" if number % 10 == 0 else words[3])))
    return made


# ── figures ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_similarity_is_scipys_spearman_over_the_known_pairs(world: Pretrained) -> None:
    from scipy.stats import spearmanr

    given = pairs()
    line = similarity_line("s", given, Lookup(word_table(world)))
    known = [p for p in given if "absent" not in (p.first, p.second)]
    assert (line.kept, line.total) == (len(known), 80)
    assert len(known) < 80
    rows = {word: world.vectors[i + 1] for i, word in enumerate(WORDS)}
    cosines = [
        float(rows[p.first] @ rows[p.second] / math.hypot(*rows[p.first]) / math.hypot(*rows[p.second])) for p in known
    ]
    # equal words have the cosine 1, up to rounding that must not break their tie in one and not in the other
    np.testing.assert_allclose(line.score.score, spearmanr(np.round(cosines, 6), [p.score for p in known])[0], atol=2e-3)
    assert line.score.low < line.score.score < line.score.high


def test_analogies_by_section_with_totals(world: Pretrained) -> None:
    given = questions(world)
    lines = {line.part: line for line in analogy_lines("g", given, Lookup(word_table(world)))}
    assert list(lines) == ["", "semantic", "syntactic", "capitals", "gram1-plural", "gram2-past"]
    table = word_table(world)
    units = (table.vectors / np.maximum(table.norms, 1e-9)[:, None]).astype(np.float64)
    place = {word: i for i, word in enumerate(world.tokenizer.pieces)}
    right: dict[str, list[bool]] = {}
    for q in given:
        if "absent" in q.words:
            continue
        a, b, c, d = (place[word] for word in q.words)
        scores = {i: float(units[i] @ (units[b] - units[a] + units[c])) for i in range(1, 61) if i not in (a, b, c)}
        right.setdefault(q.section, []).append(max(scores, key=lambda i: scores[i]) == d)
    for section, said in right.items():
        line = lines[section]
        assert (line.kept, line.score.score) == (len(said), pytest.approx(np.mean(said)))
        assert line.of_all == pytest.approx(sum(said) / sum(q.section == section for q in given))
    assert lines[""].kept == 108
    assert lines["semantic"].score == lines["capitals"].score
    both = right["gram1-plural"] + right["gram2-past"]
    assert lines["syntactic"].score.score == pytest.approx(np.mean(both))
    assert 0.3 < np.mean(both) < 0.7


def test_questions_of_one_pair_are_resampled_together(world: Pretrained) -> None:
    """Ten pairs, every question of a pair answered alike: the interval is that of ten trials, not of a hundred."""
    table = word_table(world)
    units = table.vectors / np.maximum(table.norms, 1e-9)[:, None]
    given = []
    for pair in range(10):
        a, b = 2 * pair + 1, 2 * pair + 2
        for c in range(30, 40):
            scores = units @ (units[b] - units[a] + units[c])
            scores[[0, a, b, c]] = -9
            d = int(np.argsort(scores)[-1 if pair < 5 else -2])
            given.append(Question(section="", words=tuple(world.tokenizer.pieces[i] for i in (a, b, c, d))))  # type: ignore[arg-type]
    (line,) = analogy_lines("g", given, Lookup(table))
    assert line.score.score == pytest.approx(0.5)
    spread = (line.score.high - line.score.low) / 2
    assert 0.2 < spread < 0.4  # 1.96·√(0.25/10) = 0.31; a hundred independent trials would give 0.10


def test_gensim_says_the_same(world: Pretrained, tmp_path: Path) -> None:
    gensim = pytest.importorskip("gensim.models")
    vectors = gensim.KeyedVectors(vector_size=5)
    vectors.add_vectors(WORDS, world.vectors[1:])
    given = [p for p in pairs(extra=("absent", "unheard")) if p.first != p.second]
    (tmp_path / "pairs.tsv").write_text("".join(f"{p.first}\t{p.second}\t{p.score}\n" for p in given))
    _, (rho, _), missing = vectors.evaluate_word_pairs(str(tmp_path / "pairs.tsv"))
    line = similarity_line("s", read_pairs(tmp_path / "pairs.tsv"), Lookup(word_table(world)))
    assert line.score.score == pytest.approx(rho, abs=1e-9)
    assert line.kept / line.total == pytest.approx(1 - missing / 100)
    asked = questions(world)
    text = "".join(f": {s}\n" + "".join(" ".join(q.words) + "\n" for q in asked if q.section == s) for s in ("capitals", "gram1-plural", "gram2-past"))
    (tmp_path / "q.txt").write_text(text)
    for most in (0, 40):
        score, sections = vectors.evaluate_word_analogies(str(tmp_path / "q.txt"), restrict_vocab=most or 60)
        lines = {line.part: line for line in analogy_lines("g", read_questions(tmp_path / "q.txt"), Lookup(word_table(world, most=most)))}
        assert lines[""].score.score == pytest.approx(score)
        for section in sections[:-1]:
            right, wrong = len(section["correct"]), len(section["incorrect"])
            assert lines[section["section"]].kept == right + wrong
            assert lines[section["section"]].score.score == pytest.approx(right / (right + wrong))


def test_answers_ignore_case() -> None:
    """Athens is asked about; the vocabulary has Greece and GREECE: either is right, and case makes no word unknown."""
    places = {"athens": (1, 0, 0), "Greece": (1, 0, 1), "oslo": (0, 1, 0), "NORWAY": (0, 1, 1), "Norway": (0.2, 0.8, 1.0)}
    table = word_table(model(places, config=CASED))
    asked = [Question(section="", words=("Athens", "Greece", "Oslo", "Norway"))]
    (line,) = analogy_lines("g", asked, Lookup(table))
    assert (line.score.score, line.kept) == (1.0, 1)
    asked = [Question(section="", words=("Athens", "Greece", "Oslo", "Athens"))]
    assert next(analogy_lines("g", asked, Lookup(table))).score.score == 0.0


def test_purity_of_separate_classes_is_one_and_of_mixed_ones_what_counting_says() -> None:
    rng = np.random.default_rng(0)
    places = {f"{kind}{i}": (np.eye(3)[n] + rng.normal(0, 0.02, 3)).tolist() for n, kind in enumerate("abc") for i in range(8)}
    lookup = Lookup(word_table(model(places)))
    classes = [Group(name=kind, words=tuple(f"{kind}{i}" for i in range(8))) for kind in "abc"]
    line = purity_line("p", [*classes, Group(name="none", words=("absent", "gone"))], lookup)
    assert (line.score.score, line.kept, line.total) == (1.0, 24, 26)
    # a's words shared out among the classes: cluster a holds 3 x, 3 y, 2 z; b holds 5 y and 3 z; c holds 8 z
    mixed = [
        Group(name="x", words=("a0", "a1", "a2")),
        Group(name="y", words=("a3", "a4", "a5", "b0", "b1", "b2", "b3", "b4")),
        Group(name="z", words=("a6", "a7", "b5", "b6", "b7", *(f"c{i}" for i in range(8)))),
    ]
    assert purity_line("p", mixed, lookup).score.score == pytest.approx((3 + 5 + 8) / 24)
    assert purity_line("p", classes[:1], lookup).kept == 0


def test_outliers_are_the_words_least_like_the_others() -> None:
    places = {"cat": (1, 0.1), "lion": (1, 0.2), "lynx": (1, 0), "dog": (0.8, 0.5), "car": (-0.2, 1), "tiger": (1, 0.15)}
    group = Group(name="cats", words=("cat", "lion", "lynx", "absent"), outliers=("dog", "car", "tiger", "gone"))
    found, position = outlier_lines("o", [group], Lookup(word_table(model(places))))
    assert (found.score.score, found.kept, found.total) == (pytest.approx(2 / 3), 3, 4)
    # the tiger (0.15) is more like them than lynx (0) and cat (0.1) are, and less than nobody's outlier
    units = {w: np.array(v) / math.hypot(*v) for w, v in places.items()}
    four = ("cat", "lion", "lynx", "tiger")
    likeness = {w: sum(float(units[w] @ units[v]) for v in four) for w in four}
    place = sum(likeness[w] > likeness["tiger"] for w in four[:3]) / 3
    assert position.score.score == pytest.approx((1 + 1 + place) / 3)


# ── files ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_files_of_every_layout(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("tiger\tcat\t7.35\r\nbig  dog 3\n\n", newline="")
    assert [(p.first, p.second, p.score) for p in read_pairs(tmp_path / "a.txt")] == [("tiger", "cat", 7.35), ("big", "dog", 3.0)]
    (tmp_path / "b.txt.xz").write_bytes(lzma.compress("足球\t 老虎\t4.98\r\n".encode()))
    assert read_pairs(tmp_path / "b.txt.xz") == [Pair(first="足球", second="老虎", score=4.98)]
    (tmp_path / "c.csv").write_text(",word1,word2,similarity\n0,Promised Land,Baku,0.42\n")
    assert read_pairs(tmp_path / "c.csv") == [Pair(first="Promised Land", second="Baku", score=0.42)]
    (tmp_path / "d.txt.gz").write_bytes(gzip.compress(": 天文\n".encode("utf-8-sig") + "日 月 星 辰\r\n".encode()))
    assert read_questions(tmp_path / "d.txt.gz") == [Question(section="天文", words=("日", "月", "星", "辰"))]
    (tmp_path / "e.csv.xz").write_bytes(lzma.compress(b",type,word1,word2,word3,target\n0,2c,water,drop,hour,seconds\n"))
    assert read_questions(tmp_path / "e.csv.xz")[0].section == "2c"
    (tmp_path / "f.csv").write_text(",category,word\n0,gem,\n0,gem,ruby\n1,time, hour\n2,gem,opal\n")
    assert read_groups(tmp_path / "f.csv") == [Group(name="gem", words=("ruby", "opal")), Group(name="time", words=("hour",))]
    (tmp_path / "g.csv").write_text(",category,outliers,words\n0,cats,\"['dog', '']\",\"['lion', 'lynx']\"\n")
    assert read_groups(tmp_path / "g.csv") == [Group(name="cats", words=("lion", "lynx"), outliers=("dog",))]


@pytest.mark.parametrize(
    ("name", "text", "read", "said"),
    [
        ("a.txt", "one two 3\nfour 5\n", read_pairs, r"a\.txt:line 2: expected two words and a score"),
        ("a.txt", "one two three\n", read_pairs, "line 1: expected a score, found 'three'"),
        ("a.txt", "one two 3\none two nan\n", read_pairs, "line 2: expected a score, found 'nan'"),
        ("q.txt", ": s\na b c\n", read_questions, "line 2: expected four words"),
        ("q.csv", "type,word1\n", read_questions, "word2 is not there"),
        ("g.csv", "category,outliers,words\ncats,oh,no\n", read_groups, "line 2: expected a list of words"),
        ("q.txt.xz", "no archive", read_questions, "cannot be read"),
    ],
)
def test_damaged_files_are_named_with_their_line(tmp_path: Path, name: str, text: str, read: Any, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read(tmp_path / name)


# ── the whole ───────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: Pretrained) -> Path:
    """A data folder with three of the sets, one of them in another language."""
    root = tmp_path / "data"
    for one in SETS:
        if one.name in ("mc30", "google", "wordsim240"):
            (root / one.file).parent.mkdir(parents=True, exist_ok=True)
    (root / "en/word-similarity/EN-MC-30.txt").write_text("".join(f"{p.first} {p.second} {p.score}\n" for p in pairs()))
    text = "".join(f": {q.section}\n" + " ".join(q.words) + "\n" for q in questions(world))
    (root / "en/analogy-google/questions-words.txt.gz").write_bytes(gzip.compress(text.encode()))
    (root / "zh/word-similarity/240.txt.xz").write_bytes(lzma.compress("老虎\t足球\t1.5\n".encode()))
    monkeypatch.setenv("FORETEXT_DATA", str(root))
    return root


def test_all_that_are_here_and_what_is_not(data: Path, world: Pretrained) -> None:
    found = evaluate_vectors(world)
    assert [line.set for line in found.lines if not line.part] == ["mc30", "google"]
    assert found.unknown == ("wordsim240",)
    assert found.compared == 60
    said = "\n".join(found.remarks())
    assert "not here: wordsim353, wordsim353-sim" in said
    assert "FORETEXT_DATA" in said
    assert "too few items are known to this model, or all have one score: wordsim240" in said
    rows = found.rows()
    assert all(len(row) == len(HEAD) for row in rows)
    assert [row[0] for row in rows][:4] == ["mc30", "google", "  semantic", "  syntactic"]
    assert found.as_json()["lines"][0]["score"] == found.lines[0].score.score
    again = evaluate_vectors(world, ["google", "mc30"])
    assert {line.set: line.score for line in again.lines if not line.part} == {line.set: line.score for line in found.lines if not line.part}
    few = evaluate_vectors(world, ["google"], most=20)
    assert few.compared == 20
    assert few.lines[0].kept < found.lines[1].kept
    assert "the first 20 only" in few.remarks()[0]


def test_named_sets_must_be_here(data: Path, world: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match=r"'en/word-similarity/EN-SIMLEX-999.txt' is not here"):
        evaluate_vectors(world, ["simlex999"])
    with pytest.raises(UsageError, match="unknown word set 'gogle'; did you mean 'google'"):
        evaluate_vectors(world, ["gogle"])
    monkeypatch.delenv("FORETEXT_DATA")
    with pytest.raises(UsageError, match="FORETEXT_DATA is not set"):
        evaluate_vectors(world)


def test_a_file_of_ones_own(tmp_path: Path, world: Pretrained) -> None:
    (tmp_path / "mine.txt").write_text("".join(f"{p.first} {p.second} {p.score}\n" for p in pairs()))
    (tmp_path / "asked.txt").write_text(" ".join(WORDS[:4]) + "\n")
    found = evaluate_vectors(world, [str(tmp_path / "mine.txt"), str(tmp_path / "asked.txt")])
    assert [line.measure for line in found.lines] == ["Spearman", "3CosAdd"]
    assert found.lines[0].score == similarity_line("", pairs(), Lookup(word_table(world))).score


def test_too_little_to_measure_is_said(tmp_path: Path, world: Pretrained) -> None:
    """Two pairs are in the right order or the wrong one; a correlation of them would be a figure of nothing."""
    for number, kept in ((2, False), (3, True)):
        (tmp_path / "mine.txt").write_text("".join(f"{p.first} {p.second} {p.score}\n" for p in pairs()[:number]))
        found = evaluate_vectors(world, [str(tmp_path / "mine.txt")])
        assert bool(found.lines) is kept
        assert ("too few items are known" in "\n".join(found.remarks())) is not kept
    (tmp_path / "mine.txt").write_text("".join(f"{p.first} {p.second} 3.5\n" for p in pairs()))
    assert not evaluate_vectors(world, [str(tmp_path / "mine.txt")]).lines
    (tmp_path / "mine.txt").write_text("\n")
    with pytest.raises(DataError, match="found nothing"):
        evaluate_vectors(world, [str(tmp_path / "mine.txt")])


def test_many_sections_are_for_programs(world: Pretrained) -> None:
    asked = [Question(section=f"s{n}", words=tuple(WORDS[n : n + 4])) for n in range(30)]  # type: ignore[arg-type]
    lines = tuple(analogy_lines("g", asked, Lookup(word_table(world))))
    found = Evaluation(lines=lines, unknown=(), missing=(), compared=60, most=0, method="add", about="")
    assert len(found.rows()) == 1
    assert len(found.as_json()["lines"]) == 31


def test_phrases_may_be_one_entry() -> None:
    lookup = Lookup(word_table(model({"new_york": (1, 0), "new": (0, 1), "york": (0, 1)})))
    assert [lookup(word).ids for word in ("New York", "York New")] == [(1,), (3, 2)]  # type: ignore[union-attr]


@pytest.mark.parametrize(("query", "words"), [("new york", ["new york"]), ("new_york", ["new_york"]), ("york new", ["york", "new"])])
def test_a_phrase_is_asked_about_as_it_is_written(query: str, words: list[str]) -> None:
    """Joined, as the vocabulary shows it, or with its space."""
    phrases = model({"new_york": (1, 0), "new": (0, 1), "york": (0, 1), "city": (1, 0.1)})
    found = neighbors(phrases, query, n=1)
    assert isinstance(found, Words)
    assert list(found.words) == words
    if len(words) == 1:
        assert found.nearest[0][0].word == "city"
        assert word_table(phrases).known(query).whole


def test_the_sets_are_named_once_and_lie_where_the_catalogue_says() -> None:
    from foretext.datasets import _catalogue

    known = {row["name"] for row in _catalogue()}
    assert len({one.name for one in SETS}) == len(SETS)
    assert {"/".join(one.file.split("/")[:2]) for one in SETS} <= known
    assert len(chosen(["zh"])) == 5
    assert {one.kind for one in chosen(["similarity", "google"])} == {"similarity", "analogy"}


@pytest.mark.parametrize("one", SETS, ids=lambda s: s.name)
def test_the_real_files_hold_what_they_say(one: Any, data_set: Callable[[str], Path]) -> None:
    file = data_set(one.file)
    read: Any = {"similarity": read_pairs, "analogy": read_questions}.get(one.kind, read_groups)
    rows = read(file)
    sizes = {
        "wordsim353": 353, "men": 3000, "rw": 2034, "simlex999": 999, "google": 19_544, "google-phrases": 3218, "wordsim240": 240,
        "wordsim297": 297, "ca8-morphological": 10_177, "ca8-semantic": 7636, "cwe-analogies": 953, "semeval2012": 10_014,
    }
    assert len(rows) == sizes.get(one.name, len(rows)) > 0
    if one.name in ("ap", "bless", "battig"):  # as published: 402, 200, and 5,231 of 56 classes
        assert sum(len(group.words) for group in rows) == {"ap": 402, "bless": 200, "battig": 5231}[one.name]
    words = itertools.chain.from_iterable(
        (r.first, r.second) if isinstance(r, Pair) else r.words for r in rows
    )
    assert all(word and word == word.strip() for word in words)
