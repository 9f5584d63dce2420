"""`curve`: the losses of a run over the tokens it has read, in training and on held-out text."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from foretext.bundle import Provenance
from foretext.errors import ArtefactError, UsageError
from foretext.evaluation.canvas import COLOURS, checked_ending, figure, fonts, printable, write
from foretext.types import JSON

LOGS = ("training.jsonl", "log.jsonl")
"""A finished folder's copy of the log; the log of a run that is still going on, or was cut off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One run. `training`: (step, tokens read, mean loss since the line before); `held_out`: (step, tokens, loss), the
    tokens those of the nearest line of training; `line`: the loss of knowing word frequencies alone, where it compares."""

    name: str
    training: tuple[tuple[int, int, float], ...]
    held_out: tuple[tuple[int, int, float], ...]
    line: float | None = None

    def text(self) -> str:
        """For people."""
        said = [f"{self.name}: {len(self.training):,} lines of training"]
        if self.training:
            (_, _, first), (step, tokens, last) = self.training[0], self.training[-1]
            said.append(f"  training loss {first:.3f} → {last:.3f} at step {step:,}, {tokens:,} tokens")
        if self.held_out:
            best = min(self.held_out, key=lambda point: point[2])
            said.append(f"  held-out loss {self.held_out[0][2]:.3f} → {self.held_out[-1][2]:.3f}, least {best[2]:.3f} at step {best[0]:,}")
        else:
            said.append("  nothing was held out")
        return "\n".join(said)

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "name": self.name,
            "training": [{"step": s, "tokens": t, "loss": loss} for s, t, loss in self.training],
            "held_out": [{"step": s, "tokens": t, "loss": loss} for s, t, loss in self.held_out],
            "unigram entropy": self.line,
        }


def read_curve(run: str | Path) -> Curve:
    """The curve of a pretrained folder, of the work folder OUT.run of a run that is not finished, or of a log itself.

    Errors: nothing there → UsageError; a line that is no log line → ArtefactError with its number.
    """
    given = Path(run)
    file = given if given.is_file() else next((given / name for name in LOGS if (given / name).is_file()), None)
    if file is None:
        raise UsageError(
            f"no training log: neither {' nor '.join(LOGS)}" if given.exists() else "no such folder",
            file=given,
            remedy="give a pretrained folder, or the OUT.run beside an unfinished one",
        )
    training: list[tuple[int, int, float]] = []
    held_out: list[tuple[int, float]] = []
    lines = file.read_bytes().splitlines()
    for number, line in enumerate(lines, start=1):
        try:
            said = msgspec.json.decode(line)
            if "held_out" in said:
                held_out += [(int(said["step"]), float(said["held_out"]["loss"]))] if "loss" in said["held_out"] else []
            elif said["loss"] is not None:
                training.append((int(said["step"]), int(said["tokens"]), float(said["loss"])))
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError) as error:
            if number == len(lines):  # a run that was cut off may have left its last line torn
                break
            raise ArtefactError(f"no line of a training log: {error}", file=file, place=f"line {number}") from error
    if not training and not held_out:
        raise ArtefactError("the training log is empty", file=file)
    steps = np.array([step for step, _, _ in training])
    read = [training[int(np.abs(steps - step).argmin())][1] if training else step for step, _ in held_out]
    return Curve(
        name=file.parent.name if given.is_file() else given.name,
        training=tuple(training),
        held_out=tuple((step, tokens, loss) for (step, loss), tokens in zip(held_out, read, strict=True)),
        line=_unigram(file.parent / "provenance.json"),
    )


def _unigram(file: Path) -> float | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Provenance).results.get("unigram entropy")
    except (OSError, msgspec.MsgspecError):  # a run that goes on has none yet
        return None


def curve_picture(curves: Sequence[Curve], file: Path) -> list[str]:
    """A panel a run: training losses as a line (means between two looks), held-out ones as marked points, over millions of
    tokens read. Losses of different objectives do not compare, so every run has its own axis. Returns remarks, as
    `maps.map_picture`."""
    checked_ending(file)
    names, remarks = printable([curve.name for curve in curves], file, longest=40)
    with fonts():
        made, panels = figure(max(6.0, 4.6 * len(curves)), 3.8, len(curves))
        for axes, curve, name in zip(panels, curves, names, strict=True):
            _panel(axes, curve, name)
    write(made, file)
    return remarks


def _panel(axes: Any, curve: Curve, name: str) -> None:
    if curve.training:
        axes.plot(
            [tokens / 1e6 for _, tokens, _ in curve.training], [loss for *_, loss in curve.training], color=COLOURS[0],
            linewidth=1.1, label="training",
        )
    if curve.held_out:
        axes.plot(
            [tokens / 1e6 for _, tokens, _ in curve.held_out], [loss for *_, loss in curve.held_out], "o-", color=COLOURS[1],
            markersize=4, linewidth=1.1, label="held out",
        )
    if curve.line is not None:
        axes.axhline(curve.line, color="#777777", linestyle="--", linewidth=0.9, label="word frequencies alone")
    axes.set_title(name, fontsize=10)
    axes.set_xlabel("million tokens read")
    axes.set_ylabel("loss (nats a target)")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
