"""Recipes hold the published numbers, say where each stands, and survive the way to disk."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from foretext.config import override
from foretext.errors import UsageError
from foretext.recipe import from_json, to_json
from foretext.recipes import RECIPES, find
from foretext.training.schedules import factor


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in leaves(inner, f"{place}.{key}".lstrip(".")).items()}
    return {place: value}


@pytest.mark.parametrize("name", RECIPES)
def test_round_trip_names_and_documentation(name: str) -> None:
    recipe = find(name)
    assert recipe.name == name
    assert from_json(to_json(recipe)) == recipe
    assert RECIPES[name].__doc__


@pytest.mark.parametrize("name", RECIPES)
def test_cites_name_fields_that_exist(name: str) -> None:
    recipe = find(name)
    known = set(leaves(to_json(recipe))) | {field.name for field in dataclasses.fields(recipe)}
    parents = {place.rsplit(".", depth)[0] for place in known for depth in (1, 2)}
    assert set(recipe.cites) <= known | parents
    assert all(source.strip() for source in recipe.cites.values())


@pytest.mark.parametrize("name", ["word2vec", "glove", "fasttext", "ngram", "nnlm"])
def test_what_a_family_does_not_read_cannot_be_set(name: str) -> None:
    """A rate that is written down and never used is believed."""
    for values in ({"optimizer": {"rate": 0.1}}, {"batch": {"rows": 8}}, {"schedule": {"warmup": 0.5}}):
        (field,) = values
        with pytest.raises(UsageError, match=f"{find(name).family.name} trains in its own way.*reads no {field}"):
            override(find(name), values)
    assert override(find("bert-mini"), {"optimizer": {"rate": 0.1}}).optimizer.rate == 0.1


def test_every_number_of_bert_base_is_cited() -> None:
    recipe = find("bert-base")
    used = {"optimizer.muon_rate", "optimizer.muon_momentum", "schedule.warmup", "schedule.start", "schedule.fall"}
    ours = ("limits.", "tokenizer.min_count", "tokenizer.coverage", "tokenizer.most_words", "tokenizer.phrase_discount", "windows.block", "seed")
    numbers = [
        place
        for place, value in leaves(to_json(recipe)).items()
        if isinstance(value, float | int)
        and not isinstance(value, bool)
        and place not in {*used, "schedule.floor"}
        and (place == "limits.steps" or not place.startswith(ours))
    ]
    assert len(numbers) > 20
    assert [place for place in numbers if place not in recipe.cites] == []


def test_bert_base_is_as_published() -> None:
    recipe = find("bert-base")
    values = leaves(to_json(recipe))
    published = {
        "family.layers": 12,
        "family.width": 768,
        "family.heads": 12,
        "family.inner": 3072,
        "family.positions": 512,
        "family.segments": 2,
        "family.dropout": 0.1,
        "family.attention_dropout": 0.1,
        "family.norm_epsilon": 1e-12,
        "family.initial_sd": 0.02,
        "tokenizer.size": 30522,
        "windows.kind": "pairs",
        "windows.length": 128,
        "windows.short": 0.1,
        "windows.copies": 10,
        "objectives.masked.rate": 0.15,
        "objectives.masked.mask": 0.8,
        "objectives.masked.random": 0.1,
        "objectives.masked.weight": 1.0,
        "objectives.next_sentence.weight": 1.0,
        "optimizer.kind": "adam-bert",
        "optimizer.rate": 1e-4,
        "optimizer.epsilon": 1e-6,
        "optimizer.decay": 0.01,
        "optimizer.clip": 1.0,
        "batch.rows": 256,
        "limits.steps": 1_000_000,
    }
    assert {place: values[place] for place in published} == published
    assert recipe.optimizer.betas == (0.9, 0.999)
    assert [(p.share, (p.windows or recipe.windows).length) for p in recipe.phases] == [(0.9, 128), (0.1, 512)]  # type: ignore[union-attr]
    # Paper, appendix A.2: up over 10,000 steps, then down to 0.
    rates = [factor(recipe.schedule, step / 1_000_000, 1_000_000) for step in (0, 5_000, 10_000, 500_000, 1_000_000)]
    assert rates == pytest.approx([0.0, 0.5, 0.99, 0.5, 0.0])


@pytest.mark.parametrize(
    ("name", "layers", "width", "heads"),
    [
        ("bert-tiny", 2, 128, 2),
        ("bert-mini", 4, 256, 4),
        ("bert-small", 4, 512, 8),
        ("bert-medium", 8, 512, 8),
        ("bert-large", 24, 1024, 16),
    ],
)
def test_sizes_differ_from_base_in_size_alone(name: str, layers: int, width: int, heads: int) -> None:
    recipe, base = find(name), find("bert-base")
    assert recipe.family == dataclasses.replace(
        base.family,  # type: ignore[type-var]
        layers=layers,
        width=width,
        heads=heads,
        inner=4 * width,
    )
    assert dataclasses.replace(recipe, name="", cites={}, family=base.family) == dataclasses.replace(
        base, name="", cites={}
    )


def test_variants() -> None:
    assert find("bert-base-wwm").objectives["masked"].whole_word  # type: ignore[attr-defined]
    assert not find("bert-base").objectives["masked"].whole_word  # type: ignore[attr-defined]
    assert find("bert-base-chinese").tokenizer.size == 21128
    budget = find("bert-budget")
    assert set(budget.objectives) == {"masked"}
    assert budget.windows is not None
    assert (budget.windows.kind, budget.windows.copies) == ("packed", 0)
    assert budget.family.positions >= budget.windows.length  # type: ignore[attr-defined]


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'bert-base'"):
        find("bertbase")


def test_listing_recipes_imports_neither_torch_nor_numba() -> None:
    code = "import sys, foretext.recipes as r; [f() for f in r.RECIPES.values()]; print(*({'torch', 'numba'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
