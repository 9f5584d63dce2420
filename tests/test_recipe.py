from dataclasses import replace

import msgspec
import pytest

from foretext.api import settle
from foretext.errors import ArtefactError
from foretext.recipe import from_json, to_json
from foretext.recipes import RECIPES


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    recipe = RECIPES[name]()
    again = from_json(msgspec.json.decode(msgspec.json.encode(to_json(recipe))))
    assert again == recipe
    assert again.key() == recipe.key()
    assert recipe.name == name


def test_the_key_counts_what_decides_the_result() -> None:
    recipe = RECIPES["bert-mini"]()
    assert replace(recipe, cites={}, name="other").key() == recipe.key()
    assert replace(recipe, seed=1).key() != recipe.key()
    assert replace(recipe, batch=replace(recipe.batch, rows=8)).key() != recipe.key()


@pytest.mark.parametrize("damage", [{}, {"family": {"name": "bert", "layers": "two"}}, [1], {"family": {}}])
def test_what_is_no_recipe_is_an_artefact_error(damage: object) -> None:
    value = {**to_json(RECIPES["bert-mini"]()), **damage} if isinstance(damage, dict) and damage else damage
    with pytest.raises(ArtefactError, match="not a recipe"):
        from_json(value)


def test_a_configuration_that_sets_a_budget_sets_the_whole_of_it() -> None:
    assert settle("bert-tiny").limits.steps is not None
    limits = settle("bert-tiny", config=[None, {"limits": {"minutes": 60.0, "evaluations": 3}}]).limits
    assert (limits.minutes, limits.steps, limits.epochs, limits.evaluations) == (60.0, None, None, 3)
    both = settle("bert-tiny", config={"limits": {"minutes": 60.0, "epochs": 2.0}}).limits
    assert (both.minutes, both.steps, both.epochs) == (60.0, None, 2.0)
    assert settle("bert-tiny", config={"limits": {"evaluations": 3}}).limits.steps == settle("bert-tiny").limits.steps
    asked = settle("bert-tiny", config={"limits": {"steps": 5}}, minutes=1.0).limits
    assert (asked.minutes, asked.steps) == (1.0, None)
