"""Worker processes: each makes one cell at a time and writes it; a worker that dies costs its cell and nothing else.

Parent and worker exchange JSON lines over a pipe. A timed pretraining runs alone with every core; the other cells run
side by side, one thread each, which for small networks is faster than one process with many threads.
"""

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType

import msgspec

from foretext.errors import ExitCode, ForetextError, Preempted
from foretext.ladder.bench import Bench
from foretext.ladder.cells import CellFolder, Plan, done
from foretext.ladder.config import LadderConfig
from foretext.ladder.watch import LadderWatch
from foretext.types import Report

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
PATIENCE = 60.0
"""Seconds that a stopped worker has for saving a checkpoint."""


# ── inside the worker ───────────────────────────────────────────────────────────────────────────────────────────────


def serve(pipe: Connection, config: LadderConfig, out: Path, folder: Path) -> None:
    """A worker's life: read a plan, make and write its cell, say so; until the pipe closes."""
    # Ctrl-C reaches the whole process group; the parent decides what becomes of it and sends SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    bench, cells = Bench(config=config, out=out), CellFolder(path=folder)
    while True:
        try:
            plan = msgspec.json.decode(pipe.recv_bytes(), type=Plan)
        except EOFError:
            return
        try:
            cell = bench.make(plan, PipeWatch(pipe))
        except Preempted:
            return
        except ForetextError as error:
            cell = done(plan, failed=error.message, code=error.exit_code)
        except Exception as error:  # a fault of ours in one cell must not cost the others
            traceback.print_exc()
            cell = done(plan, failed=f"internal error: {type(error).__name__}: {error}", code=ExitCode.DEFECT)
        cells.write(cell)
        _send(pipe, event="done")


class PipeWatch:
    """A training run's news, over the pipe to the ladder's watch; at most four a second."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe, self._total, self._next, self._tokens = pipe, 1, 0.0, 0
        self._start = time.monotonic()

    def begin(self, *, total: int, step: int = 0, tokens: int = 0, unigram: float | None = None) -> None:
        self._total, self._tokens, self._start = max(1, total), 0, time.monotonic()

    def report(self, step: int, report: Report) -> None:
        self._tokens += report.tokens
        now = time.monotonic()
        if now >= self._next:
            self._next = now + 0.25
            rate = self._tokens / max(now - self._start, 1e-9)
            _send(self._pipe, event="news", text=f"loss {report.loss:.3f} · {rate:,.0f} tokens/s", share=step / self._total)

    def evaluated(self, step: int, losses: Mapping[str, float]) -> None:
        """The final losses are in the cell."""

    def alarm(self, text: str) -> None:
        _send(self._pipe, event="say", text=text)

    def say(self, text: str) -> None:
        _send(self._pipe, event="news", text=text, share=0.0)

    def close(self) -> None:
        """The pipe stays open for the next cell."""


def _send(pipe: Connection, **message: object) -> None:
    with contextlib.suppress(OSError):
        pipe.send_bytes(msgspec.json.encode(message))


# ── outside ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True)
class _Worker:
    process: BaseProcess
    pipe: Connection
    plan: Plan | None = None


@dataclass(kw_only=True)
class Crew:
    """Runs plans in worker processes; `run` may be called again and again."""

    config: LadderConfig
    out: Path
    cells: CellFolder
    watch: LadderWatch
    _workers: list[_Worker] = field(default_factory=list)

    def run(self, plans: Sequence[Plan], workers: int, threads: int | None) -> None:
        """Make these cells, `workers` at a time with `threads` each (None: all cores). Failures become failed cells.

        Errors: SIGINT or SIGTERM → the workers save what they can and end, Preempted."""
        todo = list(plans)
        with _stopping() as stopped:
            try:
                while todo or any(worker.plan for worker in self._workers):
                    while todo and len(self._workers) < workers:
                        self._workers.append(self._hire(threads))
                    for worker in self._workers:
                        if worker.plan is None and todo:
                            self._give(worker, todo.pop(0))
                    self._listen()
                    if stopped:
                        raise Preempted("the ladder was stopped; its cells are kept", remedy="run the same command to go on")
            finally:
                self._dismiss()

    def _hire(self, threads: int | None) -> _Worker:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, self.config, self.out, self.cells.path), daemon=True
        )
        # Threads are counted when the child's libraries load: the environment must say so before.
        values = {"FORETEXT_CACHE": str(self.out / "cache"), **(dict.fromkeys(_THREADS, str(threads)) if threads else {})}
        with _environment(values):
            process.start()
        theirs.close()
        return _Worker(process=process, pipe=ours)

    def _give(self, worker: _Worker, plan: Plan) -> None:
        worker.plan = plan
        self.watch.started(plan)
        with contextlib.suppress(OSError):  # a worker that is dead already is noticed by `_listen`
            worker.pipe.send_bytes(msgspec.json.encode(plan))

    def _listen(self) -> None:
        """Take in what workers say, for at most a quarter of a second."""
        by_pipe = {worker.pipe: worker for worker in self._workers}
        for pipe in wait(list(by_pipe), timeout=0.25):
            worker = by_pipe[pipe]  # type: ignore[index]
            try:
                message = msgspec.json.decode(worker.pipe.recv_bytes())
            except (EOFError, OSError):
                self._buried(worker)
                continue
            self._heard(worker, message)

    def _heard(self, worker: _Worker, message: Mapping[str, object]) -> None:
        plan = worker.plan
        assert plan is not None, message
        if message["event"] == "news":
            self.watch.news(plan, str(message["text"]), float(str(message["share"])))
        elif message["event"] == "say":
            self.watch.say(f"{plan.label}: {message['text']}")
        else:
            worker.plan = None
            self.watch.ended(plan, self.cells.read(plan.key))

    def _buried(self, worker: _Worker) -> None:
        """A worker that died takes its cell with it: written down as failed, tried again by the next run."""
        worker.process.join(PATIENCE)
        self._workers.remove(worker)
        plan = worker.plan
        if plan is not None:
            ended = f"the process ended with code {worker.process.exitcode} (out of memory, or killed)"
            cell = done(plan, failed=ended, code=ExitCode.RESOURCES)
            self.cells.write(cell)
            self.watch.ended(plan, cell)

    def _dismiss(self) -> None:
        """Send everybody home: the idle by closing their pipe, the busy by SIGTERM, and wait."""
        for worker in self._workers:
            if worker.plan is not None and worker.process.is_alive():
                worker.process.terminate()
            worker.pipe.close()
        for worker in self._workers:
            worker.process.join(PATIENCE)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _stopping() -> Iterator[list[int]]:
    """A list that receives SIGINT and SIGTERM instead of this process; outside the main thread it stays empty."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    try:
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # signals belong to the main thread
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
