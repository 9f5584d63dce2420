"""Rungs as language models: the figures are those of `foretext perplexity`, and what cannot be compared says so."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext.bundle import load_pretrained
from foretext.errors import UsageError
from foretext.evaluation.language import crossed, perplexity
from foretext.ladder import LadderConfig, ladder
from foretext.ladder.cells import Cell, Plan, done
from foretext.ladder.index import Index
from foretext.ladder.language import grouped, language_rows, language_text, legend, masked, needed
from foretext.ladder.plan import plans, rungs
from foretext.ladder.report import page
from foretext.ladder.table import build
from foretext.ladder.watch import told
from foretext.tasks.base import read_labelled
from foretext.text.strings import strings_corpus
from ladder.test_run import Log
from ladder.world import some_cells, write_world

TOKENS = {"min_count": 1}
SETTINGS = {
    "ngram": {"tokenizer": TOKENS, "family": {"order": 3}},
    "nnlm": {"tokenizer": TOKENS, "family": {"width": 8, "hidden": 8, "order": 3, "batch": 16, "block": 256, "epochs": 2.0}},
}


def grid(config: LadderConfig, **changes: object) -> LadderConfig:
    return replace(config, rungs=("ngram", "nnlm"), settings=SETTINGS, **changes)  # type: ignore[arg-type]


def test_from_raw_text_to_the_table(tmp_path: Path) -> None:
    """An n-gram model, a network and their mixture; the n-gram model, which has no vectors, has no row of labels."""
    config = grid(write_world(tmp_path), how={"nnlm": ("features",)}, baselines=("majority",), labels=(4,), seeds=1, minutes=0.02)
    log = Log()
    result = ladder(config, tmp_path / "out", watch=log)  # type: ignore[arg-type]
    assert not result.table.failures
    assert [row.name for row in result.table.rows] == ["majority", "nnlm · features"]
    ngram, nnlm, mixed = result.language
    assert [row.name for row in result.language] == ["ngram", "nnlm", "ngram + nnlm"]
    texts = strings_corpus(read_labelled(config.test).texts)
    for row in (ngram, nnlm):
        found = perplexity([load_pretrained(result.model(row.name))], texts)
        assert (row.nats, row.tokens, row.ends) == (pytest.approx(found.nats[0], abs=1e-9), found.tokens, found.ends)
        assert row.perplexity == pytest.approx(np.exp(-row.nats)) and row.bits == pytest.approx(found.bits(found.nats[0]))
        assert row.ends == found.ends > 0 and row.pretraining and row.parameters
    assert mixed.weight is not None and 0 < mixed.weight < 1 and mixed.group == ngram.group == nnlm.group
    halves = [strings_corpus(read_labelled(config.test).texts[n::2]) for n in (0, 1)]
    both = crossed([load_pretrained(result.model(name)) for name in ("ngram", "nnlm")], (halves[0], halves[1]))
    assert (mixed.nats, mixed.weight) == (pytest.approx(both.mixture), pytest.approx(both.weight))
    assert mixed.nats not in (ngram.nats, nnlm.nats)
    assert mixed.pretraining == pytest.approx((ngram.pretraining or 0) + (nnlm.pretraining or 0))
    for text in (result.text(), (tmp_path / "out" / "table.txt").read_text()):
        assert "nats a word" in text and f"{ngram.perplexity:,.1f}" in text and "ngram + nnlm (" in text
    assert json.loads((tmp_path / "out" / "table.json").read_bytes())["language"][0]["nats"] == ngram.nats
    assert "n-gram language model, interpolated modified Kneser-Ney (Chen and Goodman 1998), order 3." in result.report.read_text()
    again = Log()
    ladder(config, tmp_path / "out", watch=again)  # type: ignore[arg-type]
    assert again.ran == [] and again.finished == len(log.todo)


def found(config: LadderConfig) -> list[Plan]:
    made = plans(config, rungs(config), "corpus", {"pool": "p", "test": "t"})
    return [plan for plan in made if plan.kind == "language"]


def test_two_are_mixed_where_they_have_one_vocabulary(tmp_path: Path) -> None:
    config = grid(write_world(tmp_path))
    alike = found(config)
    assert [plan.rung for plan in alike] == ["ngram", "nnlm", "ngram + nnlm"]
    assert needed(alike[2]) == needed(alike[0]) | needed(alike[1]) and len(needed(alike[2])) == 2
    other = replace(config, settings={**SETTINGS, "ngram": {"tokenizer": {"min_count": 2}}})
    assert [plan.rung for plan in found(other)] == ["ngram", "nnlm"]
    assert found(other)[1].key == alike[1].key != found(replace(config, reading=replace(config.reading, language="zh")))[1].key


def test_what_each_rung_can_do_is_asked_of_the_catalog(tmp_path: Path) -> None:
    config = replace(write_world(tmp_path), rungs=("ngram", "word2vec", "bert-budget"))
    assert [plan.rung for plan in found(config)] == ["ngram"]
    assert masked(rungs(config)) == ("bert-budget",)
    assert [rung.hows for rung in rungs(config)] == [(), ("features",), ("features", "finetune")]
    with pytest.raises(UsageError, match="the rung ngram needs a family that can finetune; ngram cannot"):
        rungs(replace(config, how={"ngram": ("features",)}))


def cell(rung: str, nats: float, vocabulary: str = "v", **changes: object) -> Cell:
    notes = {"vocabulary": vocabulary, "unit": "word", "tokens": 900, "ends": 100, "unknown": 0.125, **changes}
    weight = {"weight": 0.25} if "+" in rung else {}
    scores = {"nats": nats, "perplexity": float(np.exp(-nats)), "bits a character": 1.5, **weight}
    return done(Plan(kind="language", rung=rung), scores=scores, notes=notes, parameters=12_345)


def test_rows_of_other_vocabularies_stand_apart() -> None:
    cells = [cell("a", -5.0), cell("b", -4.0, "w", tokens=950), cell("a + c", -4.5), cell("d", -3.0, ends=0)]
    rows = language_rows(cells)
    assert [[row.name for row in group] for group in grouped(rows)] == [["a", "a + c"], ["b"], ["d"]]
    lines = language_text(rows, ("bert",)).splitlines()
    assert sum(line.startswith("─") for line in lines) == 3
    assert lines[2].split() == "rung perplexity nats a word bits a character unknown pretraining numbers".split()
    assert lines[4].split() == ["a", "148.4", "5.000", "1.500", "12.5%", "–", "12", "k"]
    assert lines[5].startswith("a + c (25% : 75%)")
    notes = " ".join(legend(rows, ("bert",)))
    assert "900 words and 100 ends of sentences; 950 words and 100 ends of sentences; 900 words." in notes
    assert "not comparable" in notes and "Without a row: bert." in notes
    alone = " ".join(legend(rows[:1], ()))
    assert "comparable" not in alone and "Without" not in alone and "w·p" not in alone
    assert language_text([], ("bert",)) == ""
    assert "nats a token" in language_text(language_rows([cell("a", -5.0), cell("b", -5.0, unit="token")]), ())


def test_the_page_shows_them_and_failures_are_told_once() -> None:
    lost = done(Plan(kind="language", rung="e"), failed="<no> token")
    cells = [*some_cells(), cell("a<b", -5.0), cell("b", -4.0, "w"), lost]
    html = page(Index(keys=tuple(one.key for one in cells), about={"b": "a model & more"}, masked=("bert",)), cells)
    section = html[html.index("<h2>Predicting text</h2>") : html.index("<h2>What pretraining reached</h2>")]
    assert section.count("<tbody>") == 2 and "<td>a&lt;b</td><td>148.4</td>" in section
    assert "Without a row: bert." in section and "<dd>a model &amp; more</dd>" in section
    assert html.count("e language: &lt;no&gt; token") == 1
    assert build(cells).failures == ("e language: <no> token",)
    assert "Predicting text" not in page(Index(keys=()), some_cells())
    assert (told(cells[-3]), told(lost)) == ("perplexity 148.4", "failed: <no> token")
