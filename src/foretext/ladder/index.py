"""The ladder's index: which cells make up one report, and the words around them. Written once a run is planned."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from foretext.config import strict
from foretext.errors import ArtefactError
from foretext.folder import read_record, write_record
from foretext.ladder.cells import Cell, CellFolder

FILE = "ladder.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What a report is about. `keys`: its cells, in the table's order."""

    keys: tuple[str, ...]
    title: str = ""
    command: str = ""
    corpus: Mapping[str, str] = field(default_factory=dict)
    """What was pretrained on, for people: name → value ("documents" → "8,033")."""
    task: Mapping[str, str] = field(default_factory=dict)
    """The same of the labelled texts."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Row name → what it is, one sentence or two."""
    transductive: bool = False
    """Whether the corpus may hold test texts."""
    minutes: float = 0.0
    """Pretraining budget of each rung."""
    masked: tuple[str, ...] = ()
    """Rungs that are masked models, which have no perplexity."""


def write_index(out: Path, index: Index) -> None:
    """Write the index into the ladder's folder."""
    write_record(out / FILE, msgspec.to_builtins(index))


def read_index(out: Path) -> Index:
    """The index of a ladder's folder; ArtefactError where there is none or it is damaged."""
    file = out / FILE
    try:
        index: Index = strict(read_record(file), Index)
    except msgspec.ValidationError as error:
        raise ArtefactError(f"not a ladder's index: {error}", file=file) from error
    return index


def cell_folder(out: Path) -> CellFolder:
    """Where a ladder's cells lie."""
    return CellFolder(path=out / "cells")


def read_ladder(out: Path) -> tuple[Index, list[Cell]]:
    """The index, and those of its cells that are there and whole (an unfinished ladder has fewer)."""
    index = read_index(out)
    return index, cell_folder(out).read_all(index.keys)
