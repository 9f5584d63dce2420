"""The run's log: `log.jsonl`, one JSON object a line, read as one run however often it was interrupted.

Lines of training hold means over the steps since the line before (`step`, `loss`, `tokens` and `seconds` so far,
`rate`, `norm`, `parts`); lines of evaluation hold `step`, `seconds` and `held_out`.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from foretext.disk import fsync, make_folder
from foretext.errors import ResourceError
from foretext.types import JSON, Report

LINES = 1000
"""Training lines of a whole run, about: more than a plot can show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogState:
    """What `Log.state` writes. A loss that was not finite comes back as None."""

    steps: int
    loss: float | None
    parts: dict[str, tuple[float | None, int]]
    tokens: int


class Log:
    """Appends to the log of a run of `total` steps."""

    def __init__(self, file: Path, total: int) -> None:
        self._file = file
        self._total = total
        self._every = max(1, total // LINES)
        self._handle: IO[bytes] | None = None
        self._steps = 0
        self._loss = 0.0
        self._parts: dict[str, list[float]] = {}
        self.tokens = 0
        """Real tokens read since the run began."""

    def open(self, step: int) -> None:
        """Drop what was written after `step` (and a torn last line), and append from there."""
        with self._writing():
            make_folder(self._file.parent)
            kept = self._file.read_bytes().splitlines() if self._file.exists() else []
            draft = self._file.with_name(f".partial-{self._file.name}")
            draft.write_bytes(b"".join(line + b"\n" for line in kept if 0 <= _step_of(line) <= step))
            fsync(draft)
            draft.replace(self._file)
            fsync(self._file.parent)
            self._handle = self._file.open("ab")

    def report(self, step: int, seconds: float, report: Report) -> None:
        """Note one step; write a line when enough have gathered."""
        self._steps += 1
        self._loss += report.loss
        self.tokens += report.tokens
        for name, value in report.parts.items():
            total_and_count = self._parts.setdefault(name, [0.0, 0])
            total_and_count[0] += value
            total_and_count[1] += 1
        if step % self._every == 0 or step == self._total:
            parts = {name: value / count for name, (value, count) in self._parts.items()}
            self._write({
                "step": step,
                "loss": self._loss / self._steps,
                "tokens": self.tokens,
                "seconds": round(seconds, 3),
                "rate": report.rate,
                "norm": report.norm,
                "parts": parts,
            })
            self._steps, self._loss, self._parts = 0, 0.0, {}

    def evaluated(self, step: int, seconds: float, losses: Mapping[str, float]) -> None:
        """Write one evaluation."""
        self._write({"step": step, "seconds": round(seconds, 3), "held_out": dict(losses)})

    def sync(self) -> None:
        """Make what is written durable: a checkpoint is about to rely on it."""
        if self._handle is not None:
            with self._writing():
                os.fsync(self._handle.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            with contextlib.suppress(OSError):  # what it could not write, it has said already
                self._handle.close()
            self._handle = None

    def state(self) -> JSON:
        """The means in the making, so that a resumed log equals an uninterrupted one."""
        return {"steps": self._steps, "loss": self._loss, "parts": self._parts, "tokens": self.tokens}

    def restore(self, state: JSON) -> None:
        """Continue from `state`."""
        self._steps, self._loss, self.tokens = state["steps"], state["loss"], state["tokens"]
        self._parts = {name: list(pair) for name, pair in state["parts"].items()}

    def _write(self, line: JSON) -> None:
        assert self._handle is not None, "open the log first"
        with self._writing():
            self._handle.write(msgspec.json.encode(line) + b"\n")
            self._handle.flush()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ResourceError(f"cannot write: {error.strerror or error}", file=self._file, remedy="free some disk space") from error


def _step_of(line: bytes) -> int:
    try:
        step = msgspec.json.decode(line)["step"]
    except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError):
        return -1
    return step if isinstance(step, int) else -1
