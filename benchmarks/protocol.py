"""How a speed is measured: one process a side, sides taking turns, rounds after a warm-up, medians with quartiles.

A side is a function (spec, channel) that builds what it measures, says that it is ready, and then answers every request
for a round by a `Round`. It runs in a process of its own; `inline` runs it in a thread of this one instead, which tests
use because importing a peer costs more than the whole test.
"""

import contextlib
import json
import os
import queue
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FEWEST_ON_CUDA = 50
"""Least steps of a round timed by CUDA events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One turn of one side. `units`: what is counted a second (real tokens, words); `wall`, `cpu`: seconds;
    `device`: seconds between two CUDA events where there is a GPU; `load`: the machine's one-minute load afterwards."""

    units: int
    wall: float
    cpu: float
    steps: int
    load: float
    device: float | None = None
    extra: Mapping[str, float] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return self.wall if self.device is None else self.device

    @property
    def rate(self) -> float:
        """Units a second of the device, or of the wall clock."""
        return self.units / self.seconds

    @property
    def frugality(self) -> float:
        """Units a CPU-second."""
        return self.units / max(self.cpu, 1e-9)


def _cpu_seconds() -> float:
    """Of this process and of the child processes that it has waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


class Clock:
    """Wall, CPU and, on a GPU, device seconds from its making to `read`."""

    def __init__(self, cuda: bool = False) -> None:
        self._events: Any = None
        if cuda:
            import torch

            self._events = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            torch.cuda.synchronize()
            self._events[0].record()
        self._wall, self._cpu = time.perf_counter(), _cpu_seconds()

    @property
    def elapsed(self) -> float:
        return time.perf_counter() - self._wall

    def read(self, units: int, steps: int, extra: Mapping[str, float] | None = None) -> Round:
        """The round so far."""
        device = None
        if self._events is not None:
            import torch

            self._events[1].record()
            torch.cuda.synchronize()
            device = self._events[0].elapsed_time(self._events[1]) / 1e3
        wall, cpu = self.elapsed, _cpu_seconds() - self._cpu
        load = os.getloadavg()[0]
        return Round(units=units, wall=wall, cpu=cpu, steps=steps, load=load, device=device, extra=extra or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A round is over after `seconds`, but not before `steps` updates."""

    seconds: float
    steps: int = 1

    def over(self, clock: Clock, steps: int) -> bool:
        return steps >= self.steps and clock.elapsed >= self.seconds


@dataclass(frozen=True, slots=True)
class Channel:
    """A side's end of the line."""

    receive: Callable[[], Any]
    send: Callable[[Any], None]

    def ready(self, **facts: Any) -> None:
        """Say that everything is built; `facts` are kept with the figures."""
        self.send({"ready": {**facts, "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}})

    def requests(self) -> Iterator[Request]:
        """Rounds to do, until the driver hangs up."""
        while (request := self.next()) is not None:
            yield request

    def next(self) -> Request | None:
        value = self.receive()
        return None if value is None else Request(**value)

    def answer(self, done: Round) -> None:
        self.send({"round": asdict(done)})


class Side:
    """A side at work elsewhere: built on construction, measured by `round`. `spec` is plain data; `spec["run"]` names
    the function ("benchmarks.ours:mlm"), `spec["threads"]` its processor threads. RuntimeError when it dies."""

    def __init__(self, name: str, spec: Mapping[str, Any], *, inline: bool = False) -> None:
        self.name, self.spec = name, dict(spec)
        self._line = _Thread(self.spec) if inline else _Process(self.spec)
        self.facts: dict[str, Any] = self._hear("ready")

    def round(self, request: Request) -> Round:
        self._line.tell(asdict(request))
        return Round(**self._hear("round"))

    def close(self) -> None:
        self._line.close()

    def _hear(self, what: str) -> dict[str, Any]:
        heard = self._line.hear()
        if what not in heard:
            raise RuntimeError(f"{self.name}: {heard.get('failed', heard)}")
        found: dict[str, Any] = heard[what]
        return found


class _Process:
    """Requests and answers as JSON lines over pipes; what the libraries print goes to standard error."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        threads = str(spec.get("threads", 1))
        counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
        env = {**os.environ, **counts, "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        env["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        command = [sys.executable, "-m", "benchmarks.protocol"]
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.tell(dict(spec))

    def tell(self, value: Any) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(json.dumps(value) + "\n")
        self._child.stdin.flush()

    def hear(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            return {"failed": f"the process ended with code {self._child.wait()}"}
        found: dict[str, Any] = json.loads(line)
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._child.stdin.close()  # type: ignore[union-attr]
        try:
            self._child.wait(60)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        self._child.stdout.close()  # type: ignore[union-attr]


class _Thread:
    """The same in a thread of this process."""

    def __init__(self, spec: Mapping[str, Any]) -> None:
        self._there: queue.Queue[Any] = queue.Queue()
        self._back: queue.Queue[Any] = queue.Queue()
        channel = Channel(self._there.get, self._back.put)
        self._thread = threading.Thread(target=_serve, args=(dict(spec), channel), daemon=True)
        self._thread.start()

    def tell(self, value: Any) -> None:
        self._there.put(value)

    def hear(self) -> dict[str, Any]:
        found: dict[str, Any] = self._back.get(timeout=600)
        return found

    def close(self) -> None:
        self._there.put(None)
        self._thread.join(60)


def _serve(spec: dict[str, Any], channel: Channel) -> None:
    try:
        module, _, function = spec["run"].partition(":")
        getattr(import_module(module), function)(spec, channel)
    except Exception as error:  # told to the driver, who raises it
        channel.send({"failed": f"{type(error).__name__}: {error}"})


def _child() -> None:
    """The other end of `_Process`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def receive() -> Any:
        line = sys.stdin.readline()
        return json.loads(line) if line else None

    def send(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    _serve(receive(), Channel(receive, send))


# ── taking turns ────────────────────────────────────────────────────────────────────────────────────────────────────


def alternate(
    sides: Sequence[Side], request: Request, *, rounds: int = 5, warmup: Request | None = None, quiet: bool = False
) -> dict[str, list[Round]]:
    """A warm-up each, then `rounds` times every side in turn: A, B, …, A, B, …; by side name."""
    found: dict[str, list[Round]] = {side.name: [] for side in sides}
    for side in sides:
        side.round(warmup or request)
    for number in range(rounds):
        for side in sides:
            found[side.name].append(side.round(request))
            if not quiet:
                last = found[side.name][-1]
                print(f"round {number + 1}: {side.name} {last.rate:,.0f}/s", file=sys.stderr, flush=True)
    return found


@contextlib.contextmanager
def started(specs: Mapping[str, Mapping[str, Any]], *, inline: bool = False) -> Iterator[list[Side]]:
    """The sides of `specs`, built one after the other; closed at the end."""
    sides: list[Side] = []
    try:
        for name, spec in specs.items():
            sides.append(Side(name, spec, inline=inline))
        yield sides
    finally:
        for side in sides:
            side.close()


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """(lower quartile, median, upper quartile); of a single value: that value."""
    if len(values) < 2:
        return (values[0],) * 3
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def ratios(ours: Sequence[Round], peer: Sequence[Round], *, cpu: bool = False) -> list[float]:
    """Ours over the peer's rate, round by round: neighbours in time met the same machine."""
    return [
        a.frugality / b.frugality if cpu else a.rate / b.rate for a, b in zip(ours, peer, strict=True)
    ]


if __name__ == "__main__":
    # As a module of its own name, so that what it hands out is what the sides import.
    import_module("benchmarks.protocol")._child()
