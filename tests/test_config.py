from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from foretext.config import assigned, differences, override, read_toml
from foretext.errors import UsageError
from foretext.recipes import find


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    rate: float = 0.1
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    inner: Inner = Inner()
    many: Mapping[str, Inner] = field(default_factory=lambda: {"one": Inner()})
    parts: tuple[Inner, ...] = ()
    count: int = 3
    on: bool = False


def test_values_are_laid_over_records_and_mappings_of_records() -> None:
    got = override(Outer(), {"count": 5, "inner": {"rate": 1}, "many": {"one": {"kind": "b"}}, "parts": [{"rate": 0.5}]})
    assert got == Outer(count=5, inner=Inner(rate=1.0), many={"one": Inner(kind="b")}, parts=(Inner(rate=0.5),))
    assert Outer().inner.rate == 0.1


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"cuont": 1}, r"grid\.toml:cuont: unknown key 'cuont'; did you mean 'count'\?"),
        ({"inner": {"raet": 1}}, r"inner\.raet: unknown key 'raet'; did you mean 'rate'\?"),
        ({"many": {"two": {}}}, r"many\.two: unknown key 'two'"),
        ({"many": {"one": {"knid": "a"}}}, r"many\.one\.knid.*'kind'"),
        ({"parts": [{"raet": 1}]}, r"raet.*rate"),
        ({"count": "1e-4"}, r"count: Expected `int`, got `str`"),
        ({"inner": {"rate": "1e-4"}}, r"inner\.rate: Expected `float`, got `str`"),
        ({"count": 1.5}, "Expected `int`, got `float`"),
        ({"on": "no"}, "Expected `bool`, got `str`"),
        ({"on": 1}, "Expected `bool`, got `int`"),
        ({"inner": {"kind": "c"}}, r"inner\.kind: Invalid enum value 'c'"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        override(Outer(), values, file="grid.toml")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["a = 1\na = 2\n", "[t]\n[t]\n", "a = \n", "a = 1e-\n", b"a = '\xff'"])
def test_bad_toml_is_one_error_with_its_line(tmp_path: Path, text: str | bytes) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=r"x\.toml: not valid TOML"):
        read_toml(file)
    with pytest.raises(UsageError, match="no such"):
        read_toml(tmp_path / "absent.toml")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ([], {}),
        (["a=1", "b.c = 0.5", "b.d=x=y"], {"a": 1, "b": {"c": 0.5, "d": "x=y"}}),
        (["a=[1, 2]", "b={c = true}", 'd="1"'], {"a": [1, 2], "b": {"c": True}, "d": "1"}),
        (['a=say "no"', "b=C:\\new", "c=ü\n"], {"a": 'say "no"', "b": "C:\\new", "c": "ü"}),
    ],
)
def test_settings_of_a_command_line(words: list[str], values: dict[str, Any]) -> None:
    assert assigned(words) == values


@pytest.mark.parametrize("words", [["a"], ["=1"], ["a="], ["a b=1"], ["a.=1"], ["a=1", "a=2"], ["a=1", "a.b=2"], ['"a"=1'], ["a=\udcff"]])
def test_what_is_no_setting(words: list[str]) -> None:
    with pytest.raises(UsageError):
        assigned(words)


@example("1\nb=2")
@example("\x7f")
@example("[" * 2000)
@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_any_word_is_a_setting_or_refused(word: str) -> None:
    try:
        values = assigned([f"a={word}"])
    except UsageError:
        assert not word.strip()
    else:
        assert list(values) == ["a"]


def test_a_recipe_keeps_its_own_defaults_under_an_override() -> None:
    large = find("bert-large")
    got = override(large, {"family": {"dropout": 0.2}, "objectives": {"masked": {"rate": 0.3}}})
    assert (got.family.layers, got.family.dropout, got.objectives["masked"].rate) == (24, 0.2, 0.3)
    assert differences(large, got) == [("family.dropout", 0.1, 0.2), ("objectives.masked.rate", 0.15, 0.3)]


def test_a_record_own_rules_name_the_place() -> None:
    with pytest.raises(UsageError, match="divide"):
        override(find("bert-mini"), {"family": {"heads": 3}})
