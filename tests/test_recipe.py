from dataclasses import replace

import msgspec
import pytest

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
