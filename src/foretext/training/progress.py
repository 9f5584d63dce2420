"""What a person or a program sees of a run while it runs. Display only: nothing here affects what is computed."""

import sys
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

from foretext.types import Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text


class Watch(Protocol):
    """Listens to a run; `begin` and `close` frame it, and may come again for the next run."""

    def begin(self, *, total: int, step: int = 0, tokens: int = 0, unigram: float | None = None) -> None:
        """A run of `total` updates goes on after `step`; `unigram`: the entropy (nats) that it must beat."""
        ...

    def report(self, step: int, report: Report) -> None:
        """One update is done."""
        ...

    def evaluated(self, step: int, losses: Mapping[str, float]) -> None:
        """The held-out set was looked at."""
        ...

    def alarm(self, text: str) -> None:
        """Something is wrong; the text names the cure."""
        ...

    def say(self, text: str) -> None:
        """Something worth a line."""
        ...

    def close(self) -> None:
        """The run is over, well or not; may be called twice."""
        ...


class SilentWatch:
    """Shows nothing, and remembers the alarms."""

    def __init__(self) -> None:
        self.alarms: list[str] = []

    def begin(self, *, total: int, step: int = 0, tokens: int = 0, unigram: float | None = None) -> None:
        """Nothing."""

    def report(self, step: int, report: Report) -> None:
        """Nothing."""

    def evaluated(self, step: int, losses: Mapping[str, float]) -> None:
        """Nothing."""

    def alarm(self, text: str) -> None:
        """Remember it."""
        self.alarms.append(text)

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class JsonWatch:
    """One JSON object a line, for programs: events begin, step (at most one a second), evaluated, alarm, say, end."""

    def __init__(self, stream: TextIO | None = None, *, every: float = 1.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every  # seconds
        self._next = 0.0
        self._total = 0

    def begin(self, *, total: int, step: int = 0, tokens: int = 0, unigram: float | None = None) -> None:
        """{"event":"begin","total","step","tokens","unigram"}"""
        self._total, self._next = total, 0.0
        self._write("begin", total=total, step=step, tokens=tokens, unigram=unigram)

    def report(self, step: int, report: Report) -> None:
        """{"event":"step","step", …the report's fields}"""
        now = time.monotonic()
        if now >= self._next or step == self._total:
            self._next = now + self._every
            self._write("step", step=step, **msgspec.to_builtins(report))

    def evaluated(self, step: int, losses: Mapping[str, float]) -> None:
        """{"event":"evaluated","step","losses"}"""
        self._write("evaluated", step=step, losses=dict(losses))

    def alarm(self, text: str) -> None:
        """{"event":"alarm","text"}"""
        self._write("alarm", text=text)

    def say(self, text: str) -> None:
        """{"event":"say","text"}"""
        self._write("say", text=text)

    def close(self) -> None:
        """{"event":"end"}"""
        self._write("end")

    def _write(self, event: str, **fields: object) -> None:
        print(msgspec.json.encode({"event": event, **fields}).decode(), file=self._stream, flush=True)


class RichWatch:
    """A live line on standard error; where that is no terminal, a plain line now and then.

    `label` names what runs ("bert-mini"); it may be changed between runs.
    """

    def __init__(self, label: str = "", *, console: "Console | None" = None, every: float = 30.0) -> None:
        from rich.console import Console

        self.label = label
        self._console = console or Console(stderr=True, highlight=False)
        self._every = every if not self._console.is_terminal else 0.5  # seconds between two pictures
        self._live: Live | None = None
        self._total = self._first = self._step = 0
        self._tokens = 0
        self._loss: float | None = None
        self._unigram: float | None = None
        self._held_out = ""
        self._began = self._next = 0.0

    def begin(self, *, total: int, step: int = 0, tokens: int = 0, unigram: float | None = None) -> None:
        """Start the clock and, on a terminal, the live line."""
        from rich.live import Live

        self._total, self._first, self._step, self._tokens = total, step, step, 0
        self._loss, self._unigram, self._held_out = None, unigram, ""
        self._began = time.monotonic()
        self._next = self._began + min(self._every, 5.0)
        if self._console.is_terminal and self._live is None:
            # No refresh thread: a picture every half second costs nothing, ten a second cost a percent.
            self._live = Live(self._picture(), console=self._console, auto_refresh=False, transient=False)
            self._live.start()

    def report(self, step: int, report: Report) -> None:
        """Smooth the loss (1 % a step, and faster at the start) and redraw when it is time."""
        self._step = step
        self._tokens += report.tokens
        weight = max(0.01, 1.0 / (step - self._first))
        if report.count:  # a step that only prepares, as counting does, is the mean of nothing
            self._loss = report.loss if self._loss is None else self._loss + weight * (report.loss - self._loss)
        now = time.monotonic()
        if now >= self._next or step == self._total:
            self._next = now + self._every
            self._draw()

    def evaluated(self, step: int, losses: Mapping[str, float]) -> None:
        """Keep the held-out figures on the line; a plain line where there is no live one."""
        shown = (f"{name} {value:.1%}" if name.endswith("accuracy") else f"{name} {value:.3f}"
                 for name, value in losses.items() if name.endswith(("loss", "accuracy")))
        self._held_out = "held out: " + ", ".join(shown)
        if self._live is None:
            self._print(f"step {step:,} · {self._held_out}")
        else:
            self._draw()

    def alarm(self, text: str) -> None:
        """A line that stays."""
        self._print(f"warning: {text}", style="yellow")

    def say(self, text: str) -> None:
        """A line that stays."""
        self._print(text)

    def close(self) -> None:
        """Leave the last picture standing."""
        if self._live is not None:
            self._draw()
            self._live.stop()
            self._live = None

    def _draw(self) -> None:
        if self._live is not None:
            self._live.update(self._picture(), refresh=True)
        else:
            self._print(self._line())

    def _print(self, text: str, style: str = "") -> None:
        self._console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def _picture(self) -> "Text":
        from rich.text import Text

        return Text(self._line())  # a bare string would be read as markup

    def _line(self) -> str:
        seconds = max(time.monotonic() - self._began, 1e-9)
        parts = [self.label] if self.label else []
        parts.append(f"step {self._step:,}/{self._total:,}")
        if self._loss is not None:
            parts.append(f"loss {self._loss:.3f}")
        if self._unigram is not None:
            parts.append(f"to beat {self._unigram:.3f}")
        if self._tokens:
            parts.append(f"{self._tokens / seconds:,.0f} tokens/s")
        if self._first < self._step < self._total:
            parts.append(f"{duration(seconds / (self._step - self._first) * (self._total - self._step))} left")
        if self._live is not None and self._held_out:
            parts.append(self._held_out)
        return " · ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as people say them: "45 s", "12 min", "3 h 05 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
