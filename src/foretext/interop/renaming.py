"""A layout's table applied: strangers' tensors to ours, and ours to theirs."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.errors import ArtefactError, UsageError, few
from foretext.interop.layouts import LAYOUTS, MASKED, NEXT, OPTIONAL, POOLER, TABLE, Layout, Row
from foretext.types import Arrays

SHOWN = 6
"""Names that one message lists."""


def canonical(layout: Layout, names: Iterable[str]) -> dict[str, str]:
    """Canonical name → the name as it stands there, without what is no weight. Errors: two spellings of one tensor →
    ArtefactError."""
    found: dict[str, str] = {}
    for name in names:
        new = name
        for pattern, replacement in layout.spellings:
            new = re.sub(pattern, replacement, new)
        if re.match(layout.ignored, new):
            continue
        if new in found:
            raise ArtefactError(f"{found[new]} and {name} are one tensor")
        found[new] = name
    return found


def detect(names: Iterable[str], folder: Path) -> Layout:
    """The layout that the tensors' names tell. Errors: none, or several → ArtefactError with a few of the names."""
    names = list(names)
    matching = [layout for layout in LAYOUTS.values() if any(n.startswith(layout.mark) for n in _spelt(layout, names))]
    if len(matching) != 1:
        raise ArtefactError(
            f"tensors of no layout that is known: {', '.join(sorted(names)[:SHOWN])}",
            file=folder,
            remedy=f"known are BERT as {', '.join(layout.title for layout in LAYOUTS.values())} name it",
        )
    return matching[0]


def _spelt(layout: Layout, names: Iterable[str]) -> Iterable[str]:
    for name in names:
        for pattern, replacement in layout.spellings:
            name = re.sub(pattern, replacement, name)
        yield name


def part_of(ours: str) -> str:
    """Which of the optional parts a tensor of ours belongs to, or ""."""
    return next((part for part in OPTIONAL if ours.startswith(part)), "")


def parts(layout: Layout, there: Mapping[str, Any], layers: int) -> set[str]:
    """The optional parts of which anything is there."""
    return {part_of(row.ours) for row in layout.rows(layers) if any(name in there for name in row.theirs)} - {""}


def to_ours(layout: Layout, foreign: Arrays, sizes: Mapping[str, int], layers: int, folder: Path) -> dict[str, NDArray[Any]]:
    """Our tensors. `sizes`: D, I, V, P, S. Errors: missing, surplus, mis-shaped or untied tensors → ArtefactError that
    names them as they stand there."""
    there = canonical(layout, foreign)
    given = parts(layout, there, layers)
    rows = [row for row in layout.rows(layers) if part_of(row.ours) in given | {""}]
    used = {name for row in rows for name in row.theirs}
    faults = [f"missing {name}" for row in rows for name in row.theirs if name not in there]
    faults += [f"surplus {there[name]}" for name in there if name not in used and name not in layout.copies]
    faults += list(_misshapen(rows, there, foreign, sizes))
    if faults:
        raise ArtefactError(f"the tensors are not those of {layout.title}: {few(faults, SHOWN, '; ')}", file=folder)
    arrays = {row.ours: _joined(row, [foreign[there[name]] for name in row.theirs]) for row in rows}
    _compare_copies(layout, arrays, foreign, there, folder)
    return arrays


def _misshapen(rows: Iterable[Row], there: Mapping[str, str], foreign: Arrays, sizes: Mapping[str, int]) -> Iterable[str]:
    for row in rows:
        shape = [sizes[letter] if letter in sizes else int(letter) for letter in row.shape]
        shape[0] += row.blank
        expected = tuple(reversed(shape)) if row.turned else tuple(shape)
        for name in row.theirs:
            if name in there and foreign[there[name]].shape != expected:
                yield f"{there[name]}: expected {list(expected)}, found {list(foreign[there[name]].shape)}"


def _joined(row: Row, pieces: list[NDArray[Any]]) -> NDArray[Any]:
    turned = [piece.T if row.turned else piece for piece in pieces]
    return np.ascontiguousarray(np.concatenate(turned)[row.blank :] if len(turned) > 1 else turned[0][row.blank :])


def _compare_copies(layout: Layout, arrays: Arrays, foreign: Arrays, there: Mapping[str, str], folder: Path) -> None:
    for name, ours in layout.copies.items():
        if name not in there:
            continue
        if ours not in arrays:
            raise ArtefactError(f"surplus {there[name]}: the head that it belongs to is not there", file=folder)
        if not np.array_equal(foreign[there[name]], arrays[ours]):
            raise ArtefactError(
                "the output layer has weights of its own, not the embeddings'; here the two are tied",
                file=folder,
                place=f"tensor {there[name]}",
                remedy="leave the masked head out, or tie it before",
            )


def to_theirs(layout: Layout, arrays: Arrays, layers: int) -> dict[str, NDArray[Any]]:
    """Their tensors. What the layout cannot say is refused by `refuse` before."""
    made: dict[str, NDArray[Any]] = {}
    for row in layout.rows(layers):
        if row.ours not in arrays:
            continue
        value = np.asarray(arrays[row.ours])
        if row.blank:
            value = np.concatenate([np.zeros((row.blank, *value.shape[1:]), value.dtype), value])
        for name, piece in zip(row.theirs, np.split(value, len(row.theirs)), strict=True):
            made[name] = np.ascontiguousarray(piece.T if row.turned else piece)
    if any(name.startswith(MASKED) for name in arrays):
        made.update({name: np.asarray(arrays[layout.copies[name]]) for name in layout.written})
    if layout.base and not any(name.startswith((MASKED, NEXT)) for name in arrays):
        made = {name.removeprefix(layout.base): value for name, value in made.items()}
    return made


def refuse(layout: Layout, arrays: Arrays) -> None:
    """UsageError for a model with tensors that no row of the layout names."""
    layers = 1 + max((int(n.split(".")[3]) for n in arrays if n.startswith("encoders.text.layers.")), default=-1)
    known = {row.ours for row in layout.rows(layers)}
    for name in sorted(set(arrays) - known):
        raise UsageError(f"{layout.title} has no place for the tensor {name}", remedy="export a published BERT")
    if any(n.startswith(NEXT) for n in arrays) and not any(n.startswith(POOLER) for n in arrays):
        raise UsageError(f"{layout.title} reads the next sentence from a dense pooler", place="family.pooler", remedy='train with pooler = "dense"')
    if TABLE not in arrays:
        raise UsageError("this model has no token embeddings to export")
