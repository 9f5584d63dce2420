"""Cells: the ladder's memory. One finished piece of work is one sealed JSON record, found again by its content key.

A key fingerprints everything that decides the result (corpus, recipe, budget, strategy, label set, seed, version), so
the same grid finds its cells again, another grid shares what it has in common, and a changed setting never meets an
old figure. A record carries its own checksum: one that was cut off or altered is not believed, and is made again.
Tables, plots and reports read cells and nothing else.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from foretext.config import strict
from foretext.errors import ArtefactError
from foretext.folder import fingerprint, read_json, write_json
from foretext.types import JSON, Bits

FORMAT = 1
"""Version of what a cell means; part of every key."""

Kind = Literal["pretraining", "encoding", "score", "language"]
"""An encoding is shared work and no result: vectors of texts that several score cells read. No table shows it. A language
cell is a rung's perplexity on the test texts, or that of two and their mixture (`ladder.language`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A cell that is to be: what to do, and the identity its key fingerprints."""

    kind: Kind
    rung: str
    how: str = ""
    """Way of transfer ("features", "finetune", "scratch", …); "" for a baseline or a pretraining."""
    labels: int = 0
    """Labelled texts a class; 0 for a pretraining."""
    seed: int = 0
    config: JSON = None
    """Recipe, strategy and budget in full."""
    data: JSON = None
    """Content keys of the corpus or of the task."""
    needs: str = ""
    """Key of the pretraining cell this one starts from."""

    @property
    def key(self) -> str:
        return fingerprint(FORMAT, msgspec.to_builtins(self))

    @property
    def label(self) -> str:
        """How people are told of it: "bert-budget · finetune · 20 labels · seed 1"."""
        if self.kind == "pretraining":
            return f"{self.rung} · pretraining"
        if self.kind == "encoding":
            return f"{self.rung} · encoding texts, part {self.seed + 1}"
        if self.kind == "language":
            return f"{self.rung} · perplexity"
        parts = [self.rung, self.how, f"{self.labels} labels", f"seed {self.seed}"]
        return " · ".join(part for part in parts if part)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell that is done."""

    key: str
    kind: Kind
    rung: str
    how: str
    labels: int
    seed: int
    config_hash: str
    data_hash: str
    needs: str = ""
    config: JSON = None
    data: JSON = None
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Wall-clock seconds by part: "pretraining", or "transfer" and "predict"."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Shares in [0,1] ("accuracy", "macro F1") and, for a pretraining, held-out losses (nats)."""
    correct: str = ""
    """A bit a test text, in the test file's order: 1 where the answer was right; as hexadecimal bytes."""
    tests: int = 0
    """Test texts scored."""
    parameters: int = 0
    """Trained or loaded numbers that answering needs."""
    memory: int = 0
    """Peak resident bytes of the process while the cell ran."""
    machine: Mapping[str, JSON] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    finished: str = ""
    """UTC, ISO 8601."""
    failed: str = ""
    """The message of the error that ended it, or empty."""
    code: int = 0
    """The exit code that this error leaves a command with."""
    notes: Mapping[str, JSON] = field(default_factory=dict)
    """What else is worth knowing: steps, epochs, tokens read, share of tokens cut."""

    @property
    def source(self) -> str:
        """A pretraining's fingerprint of the weights it started from, made elsewhere; "" where there were none."""
        return str(self.config.get("source", "")) if isinstance(self.config, Mapping) else ""

    def bits(self) -> Bits:
        """[tests] whether each test text was answered rightly."""
        packed = np.frombuffer(bytes.fromhex(self.correct), dtype=np.uint8)
        return np.unpackbits(packed, count=self.tests).astype(bool)


def to_hex(bits: Bits) -> str:
    """A bit an answer, most significant first, padded with zeros to whole bytes."""
    return np.packbits(bits).tobytes().hex()


def done(plan: Plan, **results: object) -> Cell:
    """The finished cell of `plan`; `results` are Cell's remaining fields."""
    head = {"kind": plan.kind, "rung": plan.rung, "how": plan.how, "labels": plan.labels, "seed": plan.seed}
    return Cell(
        key=plan.key,
        needs=plan.needs,
        config=plan.config,
        data=plan.data,
        config_hash=fingerprint(plan.config),
        data_hash=fingerprint(plan.data),
        **head,  # type: ignore[arg-type]
        **results,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFolder:
    """A folder of cells, `<key>.json` each: {"cell": the record, "seal": its fingerprint}."""

    path: Path

    def file(self, key: str) -> Path:
        return self.path / f"{key}.json"

    def write(self, cell: Cell) -> None:
        body = msgspec.to_builtins(cell)
        write_json(self.file(cell.key), {"cell": body, "seal": fingerprint(body)})

    def read(self, key: str) -> Cell:
        """The cell of a key; ArtefactError where it is missing, damaged or another's."""
        file = self.file(key)
        value = read_json(file, exact=True)
        try:
            body = value["cell"]
            if fingerprint(body) != value["seal"]:
                raise ArtefactError("a ladder cell does not match its seal", file=file, remedy="remove it, and it is run again")
            cell: Cell = strict(body, Cell)
        except (msgspec.ValidationError, KeyError, TypeError) as error:
            raise ArtefactError(f"not a ladder cell: {error}", file=file, remedy="remove it, and it is run again") from error
        if cell.key != key:
            raise ArtefactError(f"the cell inside has the key {cell.key}", file=file)
        return cell

    def find(self, key: str) -> Cell | None:
        """The cell of a key if it is there, whole and not failed; None means: run it."""
        try:
            cell = self.read(key)
        except ArtefactError:
            return None
        return None if cell.failed else cell

    def read_all(self, keys: Iterable[str]) -> list[Cell]:
        """The cells of these keys that are there and whole, failed ones too, in order."""
        cells = []
        for key in keys:
            try:
                cells.append(self.read(key))
            except ArtefactError:
                continue
        return cells
