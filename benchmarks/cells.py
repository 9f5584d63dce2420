"""Results as cells: one measurement is one JSON file in results/cells, and documents are rendered from cells alone.

A cell says what was measured (`config`, `data`, with a hash of each), on what (`machine`, `load`), when and by which
command, how long it took, the raw rounds of every side, and the correctness checks that stood beside it.
"""

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.protocol import ROOT, Round
from foretext.config import strict
from foretext.errors import ArtefactError
from foretext.folder import fingerprint, read_json, write_json
from foretext.ladder.machine import machine, versions
from foretext.types import JSON

FOLDER = ROOT / "results" / "cells"
PEERS = ("transformers", "accelerate", "datasets", "pyarrow")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A correctness gate beside a speed: `value` must not exceed `limit`."""

    name: str
    value: float
    limit: float
    note: str = ""

    @property
    def passed(self) -> bool:
        return self.value <= self.limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measurement. `name` is the file's; `benchmark` says which module made it, and so which table shows it."""

    name: str
    benchmark: str
    config: JSON
    data: JSON
    config_hash: str
    data_hash: str
    seed: int
    seconds: float
    machine: Mapping[str, JSON]
    versions: Mapping[str, str]
    load: float
    """One-minute load when the measurement began."""
    command: str
    date: str
    """UTC, ISO 8601."""
    rounds: Mapping[str, Sequence[Round]]
    """Raw rounds by side."""
    facts: Mapping[str, JSON] = field(default_factory=dict)
    """What else was counted: by side, or about the whole."""
    checks: Sequence[Check] = ()

    @property
    def fast_bf16(self) -> bool:
        """Measured where bf16 products are faster than fp32 ones: a GPU, or a processor with AMX."""
        return bool(self.machine.get("gpu")) or "amx_bf16" in self.machine["flags"]


def device() -> str:
    """The GPU's name, or nothing."""
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""


def place(gpu: str = "") -> str:
    """A short name of this machine for file names: its widest arithmetic and its cores, or its GPU."""
    if gpu:
        return "".join(c if c.isalnum() else "-" for c in gpu.lower())
    here = machine()
    flags = here["flags"]
    widest = next((f for f in ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "asimd") if f in flags), "plain")
    return f"{widest.replace('_', '-')}-{here['cores']}"


def cell(
    name: str,
    benchmark: str,
    *,
    config: JSON,
    data: JSON,
    seconds: float,
    load: float,
    rounds: Mapping[str, Sequence[Round]],
    facts: Mapping[str, JSON] | None = None,
    checks: Sequence[Check] = (),
    seed: int = 0,
    gpu: str = "",
) -> Cell:
    """A cell of this machine and this command, `name` completed by the machine's."""
    import importlib.metadata

    installed = dict(versions())
    for package in PEERS:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Cell(
        name=f"{name}.{place(gpu)}",
        benchmark=benchmark,
        config=config,
        data=data,
        config_hash=fingerprint(config),
        data_hash=fingerprint(data),
        seed=seed,
        seconds=seconds,
        machine={**machine(), "gpu": gpu},
        versions=installed,
        load=load,
        command=command(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
        rounds=rounds,
        facts=facts or {},
        checks=checks,
    )


def command() -> str:
    """How this process was started, as a person would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    module = spec.name.removesuffix(".__main__") if spec else Path(sys.argv[0]).name
    return shlex.join(["python", *(["-m"] if spec else []), module, *sys.argv[1:]])


def write(folder: Path, made: Cell) -> Path:
    """Write (or replace) the cell's file."""
    file = folder / f"{made.name}.json"
    write_json(file, asdict(made))
    return file


def read(file: Path) -> Cell:
    """A cell; ArtefactError where it is not one, or its configuration no longer matches its hash."""
    try:
        found: Cell = strict(read_json(file), Cell)
    except (msgspec.ValidationError, TypeError, KeyError) as error:
        raise ArtefactError(f"not a benchmark cell: {error}", file=file) from error
    if (fingerprint(found.config), fingerprint(found.data)) != (found.config_hash, found.data_hash):
        raise ArtefactError("the cell's hashes do not fit its configuration: it was edited", file=file)
    return found


def read_all(folder: Path = FOLDER) -> list[Cell]:
    """Every cell of a folder, by name."""
    return [read(file) for file in sorted(folder.glob("*.json"))]


def load() -> float:
    """The machine's one-minute load."""
    return os.getloadavg()[0]


def figures(made: Any) -> str:
    """A cell's rates on one line a side, for the terminal."""
    from benchmarks.protocol import quartiles

    lines = []
    for side, rounds in made.rounds.items():
        low, middle, high = quartiles([r.rate for r in rounds])
        _, frugal, _ = quartiles([r.frugality for r in rounds])
        lines.append(f"{side:<24}{middle:>14,.0f}/s  ({low:,.0f}–{high:,.0f})  {frugal:>14,.0f} a CPU-second")
    for check in made.checks:
        verdict = "holds" if check.passed else "FAILS"
        lines.append(f"{verdict}: {check.name}: {check.value:.3g} (at most {check.limit:g}) {check.note}".rstrip())
    return "\n".join(lines)
