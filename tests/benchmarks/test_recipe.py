"""The recipe benchmark: cells are made once, sealed and found again; the held-out loss is one protocol for all."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import recipe as bench
from benchmarks import recipe_cells as cells
from benchmarks import render
from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.config import override
from foretext.errors import ArtefactError, UsageError
from foretext.recipe import Recipe, to_json
from foretext.text.corpus import open_corpus
from foretext.text.tokenizers import train_tokenizer

WORDS = np.array("the a river bank boat water money market price ship sailor trader rises falls moves past".split())


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """corpus.txt and task.csv, whose two labels have words of their own."""
    root, rng = tmp_path_factory.mktemp("world"), np.random.default_rng(0)
    lines = [" ".join(rng.choice(WORDS, 10)) + "." for _ in range(1600)]
    documents = ["\n".join(lines[i : i + 8]) for i in range(0, len(lines), 8)]
    (root / "corpus.txt").write_text("\n\n".join(documents))
    with open(root / "task.csv", "w", newline="") as file:
        rows = [(" ".join(rng.choice(WORDS[8 * (i % 2) :][:8], 8)), "ab"[i % 2]) for i in range(40)]
        csv.writer(file).writerows([("text", "label"), *rows])
    return root


def words(root: Path, *more: str) -> list[str]:
    places = ["--corpus", str(root / "corpus.txt"), "--task", str(root / "task.csv")]
    return ["--quick", "--minutes", "0.01", *places, "--work", str(root / "work"), "--out", str(root / "out"), *more]


def test_a_cell_is_made_once_sealed_and_found_again(
    world: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bench.main(words(world, "--only", "init-random")) == 0
    said = capsys.readouterr().out
    assert "1 of 1: init-random, 0.01 minutes, seed 0" in said and "finetune 2" in said
    (file,) = (world / "out").glob("*.json")
    cell = json.loads(file.read_text())["cell"]
    assert cell["minutes"] == 0.01 and cell["seed"] == 0 and cell["command"].endswith("--only init-random")
    assert cell["config"]["recipe"]["init_embeddings"] == "random"
    assert cell["cost"]["first vectors"] == pytest.approx(0.0, abs=1e-3)
    assert cell["steps"] == max(1, int((0.6 - cell["cost"]["first vectors"]) / cell["cost"]["update"]))
    assert 0 < cell["scores"]["loss"] < np.log(300) and 0 <= cell["scores"]["features 2"] <= 1
    assert not list((world / "work" / "models").iterdir())
    row = next(line for line in render.render([], render.recipe_cells(world / "out")).splitlines() if "init-random" in line)
    loss, accuracy = cell["scores"]["loss"], 100 * cell["scores"]["finetune 2"]
    assert row.startswith(f"| 0.01 | init-random | 0 | {cell['steps']:,} |") and f"| {loss:.3f} |" in row and row.endswith(f"| {accuracy:.1f} |")

    made: list[list[str]] = []

    def spy(todo: Any, arguments: Any, at_once: int) -> int:
        made.append([plan.variant for plan in todo])
        return 0

    monkeypatch.setattr(bench, "work_through", spy)
    bench.main(words(world, "--only", "init-random"))
    bench.main(words(world, "--only", "mask-15", "init-random", "--seeds", "2"))
    file.write_text(file.read_text().replace('"minutes": 0.01', '"minutes": 0.02'))
    with pytest.raises(ArtefactError, match="its own seal"):
        render.recipe_cells(world / "out")
    bench.main(words(world, "--only", "init-random"))
    bench.main(words(world, "--only", "init-random", "--draws", "0"))
    assert made == [[], ["mask-15", "mask-15", "init-random"], ["init-random"], ["init-random"]]


def test_at_least_one_cell_at_once(world: Path) -> None:
    with pytest.raises(UsageError, match="--at-once"):
        bench.main(words(world, "--at-once", "0"))


def test_texts_are_divided_once_and_nothing_is_lost(world: Path) -> None:
    protocol = replace(cells.QUICK, corpus=str(world / "corpus.txt"), task=str(world / "task.csv"))
    folder, keys = cells.texts(protocol, world / "work")
    assert cells.texts(protocol, world / "work") == (folder, keys)
    parts = {name: (folder / name).read_text().strip().split("\n\n") for name in ("train.txt", "held-out.txt")}
    assert sorted(parts["train.txt"] + parts["held-out.txt"]) == sorted((world / "corpus.txt").read_text().split("\n\n"))
    assert protocol.held_out <= sum(map(len, parts["held-out.txt"])) < protocol.held_out + 1000
    pool, test = cells.split_task(protocol)
    assert not set(pool.texts) & set(test.texts) and len(test.texts) == 20


def untrained(world: Path, **more: Any) -> Pretrained:
    recipe: Recipe = override(bench.quick_recipe(), more)
    tokenizer = train_tokenizer(recipe.tokenizer, open_corpus([world / "corpus.txt"]), workers=0)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=build_model(recipe, tokenizer.size).arrays())


def test_every_variant_is_asked_for_the_same_places(world: Path) -> None:
    def measured(**more: Any) -> dict[str, float]:
        return cells.held_out(untrained(world, **more), world / "corpus.txt", 4096, world / "work")

    base = measured()
    assert measured(objectives={"masked": {"rate": 0.5}}, batch={"rows": 2}, windows={"length": 64}) == base
    assert 0.08 * 4096 < base["masked"] <= 0.15 * 4096  # of tokens without [CLS] and [SEP]
    assert base["loss"] == pytest.approx(np.log(len(untrained(world).tokenizer.pieces)), abs=0.2)
    assert base["nats a character"] < base["loss"]
    assert measured(seed=1)["loss"] != base["loss"]  # another network


def test_variants_are_settled_and_each_differs_from_all_others(world: Path) -> None:
    protocol = replace(cells.QUICK, corpus=str(world / "corpus.txt"), task=str(world / "task.csv"))
    options = bench.parser().parse_args(["--minutes", "5", "30", "--seeds", "2"])
    made = bench.plans(options, protocol, {"corpus": "c"})
    assert [plan.minutes for plan in made] == sorted(plan.minutes for plan in made)
    assert len({plan.key for plan in made}) == len({plan.file for plan in made}) == len(made) > 80
    assert len({json.dumps(to_json(plan.recipe), sort_keys=True) for plan in made}) == len(made) / 2
    options.only = ["mask-51"]
    with pytest.raises(UsageError, match="did you mean 'mask-15'"):
        bench.plans(options, protocol, {})
