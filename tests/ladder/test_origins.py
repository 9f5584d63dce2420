"""Rungs of weights that exist: found by content, taken as they are or pretrained further, told apart in the table."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext.bundle import SOURCE, Pretrained, build_model, load_pretrained
from foretext.config import override
from foretext.errors import UsageError
from foretext.ladder import LadderConfig, Origin, ladder, read_grid
from foretext.ladder import run as ladder_run
from foretext.ladder.bench import Bench
from foretext.ladder.cells import Cell, CellFolder, Plan, done
from foretext.ladder.findings import findings
from foretext.ladder.index import Index
from foretext.ladder.origins import content_key, opened_source
from foretext.ladder.plan import plans, rungs
from foretext.ladder.rendering import as_csv, as_text
from foretext.ladder.report import page
from foretext.ladder.table import build
from foretext.ladder.watch import Estimate, told
from foretext.recipes import find
from foretext.strategies import StrategyConfig
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from ladder.test_run import Log
from ladder.world import score_cell, some_cells, write_world

SMALL = {"layers": 2, "width": 32, "heads": 2, "inner": 64, "positions": 64}


def untrained(folder: Path, seed: int = 0) -> Path:
    """A BERT's folder, as it might come from elsewhere; its words are the miniature world's."""
    words = strings_corpus([" ".join(TEXT)])
    config = TokenizerConfig(size=120)
    recipe = override(find("bert-budget"), {"family": SMALL, "tokenizer": {"size": 120}, "seed": seed})
    tokenizer = train_tokenizer(config, words, workers=0)
    arrays = {n: np.asarray(a) for n, a in build_model(recipe, tokenizer.size).arrays().items()}
    Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays).save(folder)
    return folder


TEXT = "the cat dog horse bird fish bank coin price market loan rain snow wind cloud storm were here .".split()


@pytest.fixture(autouse=True)
def fresh() -> None:
    opened_source.cache_clear()


def test_a_source_is_known_by_its_content(tmp_path: Path) -> None:
    one, other = load_pretrained(untrained(tmp_path / "a")), load_pretrained(untrained(tmp_path / "b", seed=1))
    moved = one.save(tmp_path / "moved")
    assert content_key(moved) == content_key(one) != content_key(other)
    nudged = {**one.arrays, "heads.masked.bias": one.arrays["heads.masked.bias"] + np.float32(1e-7)}
    assert content_key(replace(one, arrays=nudged)) != content_key(one)
    with pytest.raises(UsageError, match="no such file or folder"):
        opened_source(str(tmp_path / "absent"))
    with pytest.raises(UsageError, match=r"no config\.json"):
        opened_source(str(tmp_path))


def test_plans_of_sources(tmp_path: Path) -> None:
    path = str(untrained(tmp_path / "m"))
    more = Origin(path=path, recipe="bert-budget", minutes=0.5)
    config = LadderConfig(
        rungs=("bert-budget", "made", "more"), sources={"made": path, "more": more}, labels=(5,), seeds=1, minutes=1.0
    )
    own, made, further = rungs(config)
    assert (made.trained, further.trained, made.source_key) == (False, True, further.source_key)
    assert (further.recipe.limits.minutes, own.recipe.limits.minutes) == (0.5, 1.0)
    assert made.family == further.family == load_pretrained(path).recipe.family
    one, two = (plans(config, rungs(config), corpus, {"pool": "p", "test": "t"}) for corpus in ("one", "two"))
    rows = {(plan.rung, plan.how) for plan in one}
    assert ("bert-budget", "scratch") in rows
    assert not {("made", "scratch"), ("more", "scratch")} & rows
    alone = replace(config, rungs=("bert-budget",), sources={})
    plain = plans(alone, rungs(alone), "one", {"pool": "p", "test": "t"})
    assert {plan.key for plan in plain} < {plan.key for plan in one}
    same = {plan.rung for plan in one if plan.kind == "pretraining"} - {
        a.rung for a, b in zip(one, two, strict=True) if a.kind == "pretraining" and a.key != b.key
    }
    assert same == {"made"}  # what is not trained depends on no corpus
    keys = {plan.rung: plan.key for plan in one if plan.kind == "pretraining"}
    assert {plan.needs for plan in one if plan.rung == "more" and plan.kind == "score"} == {keys["more"]}
    asked = replace(config, sources={**config.sources, "made": Origin(path=path, scratch=True)})
    assert ("made", "scratch") in {(p.rung, p.how) for p in plans(asked, rungs(asked), "one", {"pool": "p", "test": "t"})}
    estimate = Estimate([plan for plan in one if plan.kind == "pretraining"], 1.0, 1)
    assert estimate.left() == 60 * (1.0 + 0.0 + 0.5)


def test_sources_in_a_grid_file(tmp_path: Path) -> None:
    file = tmp_path / "GRID.toml"
    file.write_text(
        'rungs = ["made", "more"]\n[sources]\nmade = "weights"\n[sources.more]\npath = "/w"\nrecipe = "bert-budget"\nminutes = 2\n'
    )
    config = read_grid(file)
    assert config.origins == {
        "made": Origin(path=str(tmp_path / "weights")), "more": Origin(path="/w", recipe="bert-budget", minutes=2),
    }  # fmt: skip
    for text, words in (
        ('rungs = ["made"]\n[sources.made]\npaht = "w"', "paht"),
        ('rungs = ["word2vec"]\n[sources]\nmade = "w"', "no rung of this grid"),
        ('rungs = ["made"]\n[sources.made]\npath = "w"\nminutes = -1', "positive number of minutes"),
        ('rungs = ["made"]\n[sources]\nmade = "w"\n[settings.made.family]\nlayers = 2', "taken as they are"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=words):
            read_grid(file)


def cells() -> list[Cell]:
    """The hand-made cells and two rungs of weights made elsewhere: as they are, and pretrained further."""
    rng = np.random.default_rng(1)
    made = done(Plan(kind="pretraining", rung="made", config={"source": "k"}), parameters=9)
    more = done(
        Plan(kind="pretraining", rung="more", config={"source": "k", "limits": {}}),
        seconds={"pretraining": 30.0, "training": 20.0}, parameters=9,
    )  # fmt: skip
    found = [made, more, *some_cells()]
    for first, shares in ((made, (0.9, 0.9)), (more, (0.97, 0.9))):
        for labels, share in zip((5, 20), shares, strict=True):
            for seed in range(3):
                found.append(score_cell(first.rung, "features", labels, seed, rng.random(400) < share, needs=first.key))
    return found


def test_the_table_and_the_report_say_what_was_made_elsewhere() -> None:
    table = build(cells())
    rows = {row.name: row for row in table.rows}
    assert {name for name, row in rows.items() if row.source} == {"made · features", "more · features"}
    lines = {line.split("  ")[0]: line for line in as_text(table).splitlines()}
    assert "– †" in lines["made · features"]
    assert "30 s †" in lines["more · features"]
    assert "†" not in lines["word2vec · features"]
    assert "† starts from weights made elsewhere" in as_text(table)
    assert "†" not in as_text(build(some_cells()))
    last = [line.rsplit(",", 1) for line in as_csv(table).splitlines()]
    assert last[0][1] == "elsewhere"
    assert {line[0].split(",")[0]: line[1] for line in last[1:]}["made"] == "1"
    said = dict.fromkeys(text for _, text in findings(table))
    bought = next(text for text in said if text.startswith("What weights made elsewhere"))
    assert "(more · features v word2vec · features)" in bought
    kind, further = next(f for f in findings(table) if f[1].startswith("What pretraining further"))
    assert "bought more · features over made · features: +" in further
    made, more, *rest = cells()
    turned = build([more, made, *(cell for cell in rest if cell.rung == "more"), *(cell for cell in rest if cell.rung != "more")])
    assert further in [text for _, text in findings(turned)]
    assert kind == "level"  # above at 5 labels, level at 20
    assert any("(weights made elsewhere) beats the best baseline" in text for text in said)
    html = page(Index(keys=()), cells())
    for words in ("taken as they are", "have read is not known", "† starts from", "weights made elsewhere, on other text; 30 s"):
        assert words in html
    assert "is not known" not in page(Index(keys=()), some_cells())
    assert told(cells()[0]) == "taken as it is"


class Here:
    """A crew without processes (their own test is `test_run`): each cell is made here, failures not caught."""

    def __init__(self, *, config: LadderConfig, out: Path, cells: CellFolder, watch: Log) -> None:
        self.bench, self.cells, self.watch = Bench(config=config, out=out), cells, watch

    def run(self, given: list[Plan], workers: int, threads: int | None) -> None:
        for plan in given:
            self.cells.write(cell := self.bench.make(plan))
            self.watch.ended(plan, cell)


def test_a_grid_with_weights_that_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One rung as it is and one pretrained further, from a folder to the table; the folder may go afterwards."""
    monkeypatch.setattr(ladder_run, "Crew", Here)
    path = untrained(tmp_path / "weights")
    config = replace(
        write_world(tmp_path, documents=40, train=4, test=4),
        rungs=("made", "more"),
        sources={"made": str(path), "more": Origin(path=str(path), recipe="bert-budget", minutes=0.01)},
        settings={"more": {"family": SMALL, "windows": {"length": 64}, "batch": {"rows": 4, "precision": "fp32"}}},
        how={"made": ("features",), "more": ("features",)},
        baselines=("majority",),
        strategies={how: StrategyConfig(how=how, steps=10) for how in ("features", "finetune")},
        labels=(2,),
        seeds=1,
    )
    out = tmp_path / "out"
    result = ladder(config, out, watch=Log())  # type: ignore[arg-type]
    assert not result.table.failures
    assert [row.name for row in result.table.rows] == ["majority", "made · features", "more · features"]
    made, more = (next(c for c in result.cells if c.rung == n and c.kind == "pretraining") for n in ("made", "more"))
    assert dict(made.seconds) == {}
    assert more.seconds["pretraining"] > 0
    before, taken, further = (load_pretrained(p) for p in (path, result.model("made"), result.model("more")))
    assert all(np.array_equal(before.arrays[n], taken.arrays[n]) for n in before.arrays)
    assert further.tokenizer.key == before.tokenizer.key
    assert further.provenance.source == before.key
    assert any(not np.array_equal(before.arrays[n], further.arrays[n]) for n in before.arrays)
    (out / "cells" / f"{made.key}.json").unlink()
    again = Log()
    ladder(config, out, watch=again)  # type: ignore[arg-type]
    assert again.ran == [made.key]
    encoded = sorted((out / "cache" / "shared").rglob("features.safetensors"))
    assert len(encoded) == 2  # one part a rung: what the score cells read was encoded ahead, and nothing twice
