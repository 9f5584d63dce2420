"""`info`, `recipes`, `data`, `convert`: what is there."""

from pathlib import Path
from typing import Any

from foretext.cli import options
from foretext.cli.output import say, table, write_json
from foretext.config import differences
from foretext.datasets import as_json, as_text, listing
from foretext.folder import open_sealed, read_json
from foretext.recipe import to_json
from foretext.recipes import RECIPES, find


def info(chosen: options.Info) -> None:
    """Kind, key, files and provenance of a sealed folder."""
    sealed = open_sealed(Path(chosen.dir), verify=chosen.verify)
    about: dict[str, Any] = {"kind": sealed.kind, "key": sealed.key, "meta": sealed.meta}
    about["files"] = {name: seal.size for name, seal in sealed.files.items()}
    about["verified"] = chosen.verify
    if "provenance.json" in sealed.files:
        about["provenance"] = read_json(sealed.path / "provenance.json")
    if chosen.json:
        write_json(about)
        return
    say(f"{chosen.dir}: {sealed.kind}, key {sealed.key}")
    for name, value in {**(sealed.meta or {}), **about.get("provenance", {})}.items():
        if value not in ("", {}):
            say(f"  {name}: {_plain(value)}")
    table(["file", "bytes"], [[name, f"{size:,}"] for name, size in about["files"].items()])
    say("every checksum holds" if chosen.verify else "checksums not read; --verify reads them")


def _plain(value: object) -> str:
    """A value for people, in one line: `{"a": [1, 2], "b": {"c": True}}` → "a 1 2, b (c yes)"; what is empty is left out."""
    if isinstance(value, dict):
        parts = {k: f"({_plain(v)})" if isinstance(v, dict) else _plain(v) for k, v in value.items() if v not in ("", {}, [], None)}
        return ", ".join(f"{k} {part}" for k, part in parts.items())
    if isinstance(value, list):
        return ("; " if any(isinstance(v, dict) for v in value) else " ").join(map(_plain, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def recipes(chosen: options.Recipes) -> None:
    """List the recipes, show one with the source of each number, or how two differ."""
    if chosen.name is None:
        rows = [[name, make().family.name, (make.__doc__ or "").strip().splitlines()[0]] for name, make in RECIPES.items()]
        if chosen.json:
            write_json([dict(zip(("name", "family", "about"), row, strict=True)) for row in rows])
        else:
            table(["recipe", "family", "what it is"], rows)
        return
    recipe = find(chosen.name)
    if chosen.diff is not None:
        changes = [d for d in differences(recipe, find(chosen.diff)) if not d[0].startswith(("cites", "name"))]
        if chosen.json:
            write_json([{"field": f, chosen.name: a, chosen.diff: b} for f, a, b in changes])
        else:
            table(["field", chosen.name, chosen.diff], [[f, str(a), str(b)] for f, a, b in changes])
        return
    if chosen.json:
        write_json(to_json(recipe))
        return
    values = to_json(recipe)
    cites = values.pop("cites")
    values = {name: value for name, value in values.items() if name not in recipe.lacks}
    rows = [[name, str(value), _cite(cites, name)] for name, value in _leaves(values)]
    table(["field", "value", "source"], rows)
    shown = {row[2] for row in rows}
    for name, source in cites.items():
        if source not in shown:
            say(f"{name}: {source}")


def _cite(cites: dict[str, str], name: str) -> str:
    """The source of the field or of its last part, as recipes write either."""
    return cites.get(name) or cites.get(name.rsplit(".", 1)[-1], "")


def _leaves(value: Any, place: str = "") -> list[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        return [leaf for k, v in value.items() for leaf in _leaves(v, f"{place}.{k}" if place else k)]
    return [(place, value)]


def data(chosen: options.Data) -> None:
    """Every known data set: whether it is there, what it is for, where it comes from."""
    rows = listing()
    if chosen.json:
        write_json(as_json(rows))
    else:
        say(as_text(rows))


def convert(chosen: options.Convert) -> None:
    """Convert between layouts, then read the result back and compare it with the source."""
    from foretext.interop.convert import convert

    say(convert(Path(chosen.src), Path(chosen.dst), chosen.to))
