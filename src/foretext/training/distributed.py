"""Data-parallel training on one machine: `Crew` starts worker processes, and each follows rank 0 update by update.

Rank 0 is the process that runs `training.run.run`; it alone evaluates limits, writes checkpoints and speaks. A worker
builds the same Gradient (from the same recipe and store, with rank 0's numbers) and then does what rank 0 orders:

    rank 0                    a worker
    order("step")      ───▶   step(): its micro-batches, its parameters; they `gather` four times on the way
    order("evaluate")  ───▶   scores() of its held-out batches
    order("restore")   ───▶   hold(): its part of the optimizer's state
    order("state")     ───▶   sends that part

Messages are bytes over one socket a worker: a kind, the order's number, a body. Rank 0 may abandon an order (a signal
leaves an evaluation at once): it passes over answers to older orders, and a worker that waits for an answer and meets a
new order turns to that one.

No worker outlives its parent: the kernel kills it (Linux), or it finds its socket closed. Signals are rank 0's business:
a worker is born with SIGINT and SIGTERM blocked, so Ctrl-C or a SIGTERM to the whole group ends nothing half-way.
"""

import contextlib
import ctypes
import itertools
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import msgspec
import numpy as np
from safetensors.numpy import load as unpacked
from safetensors.numpy import save as packed

from foretext.errors import PeerLost
from foretext.models.catalog import resolve
from foretext.training.gradient import Gradient
from foretext.training.ranks import Ranks, SharedMemory
from foretext.training.run import NonFiniteStep
from foretext.types import JSON, Arrays

PATIENCE = 45.0
"""Seconds without an answer and without any processor time used, after which a worker counts as hung."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
REMEDY = "the checkpoints are whole: run the same command with --resume"
_ORDER, _VALUES, _ARRAYS, _FAILED = b"O", b"V", b"A", b"F"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _frame(kind: bytes, number: int, body: bytes = b"") -> bytes:
    return kind + number.to_bytes(8, "little") + body


def _read(frame: bytes) -> tuple[bytes, int, bytes]:
    return frame[:1], int.from_bytes(frame[1:9], "little"), frame[9:]


def _floats(values: Sequence[float]) -> bytes:
    return np.asarray(values, np.float64).tobytes()


# ── rank 0 ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(kw_only=True)
class Worker:
    """One worker process as rank 0 sees it.

    A thread reads what it says: Python runs signal handlers in the main thread only, so a message is never cut in two
    by one that raises. `said` holds whole messages; the empty one means that it will say no more.
    """

    rank: int
    process: "subprocess.Popen[bytes]"
    pipe: Connection
    said: "queue.SimpleQueue[bytes]" = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.reader = threading.Thread(target=self._listen, name=f"rank {self.rank}", daemon=True)
        self.reader.start()

    def _listen(self) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.said.put(self.pipe.recv_bytes())
        self.said.put(b"")

    def used(self) -> float:
        """Processor seconds so far; where the system does not tell, nothing is ever used."""
        try:
            fields = Path(f"/proc/{self.process.pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # utime, stime: proc(5), fields 14 and 15

    def dismiss(self) -> None:
        """It keeps nothing that is not rank 0's as well, so it need not be asked."""
        self.process.kill()
        self.process.wait()
        self.reader.join()
        self.pipe.close()


class Leader(SharedMemory):
    """Rank 0's view (`ranks.Ranks`)."""

    def __init__(self, workers: Sequence[Worker], memory: int, patience: float, numbers: Iterator[int]) -> None:
        super().__init__(0, 1 + len(workers), memory)
        self._workers, self._patience, self._numbers, self._number = workers, patience, numbers, 0

    def order(self, name: str, arrays: Arrays | None = None, **told: JSON) -> None:
        """Tell every worker; `arrays` follow as a message of their own."""
        self._number = next(self._numbers)
        self._tell(_frame(_ORDER, self._number, msgspec.json.encode({"name": name, **told})))
        if arrays is not None:
            self._tell(_frame(_ARRAYS, self._number, packed(dict(arrays))))

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """Hear every worker, then tell them all what all have said."""
        body = _floats(values) + b"".join(self._hear(worker, _VALUES) for worker in self._workers)
        self._tell(_frame(_VALUES, self._number, body))
        rows: list[list[float]] = np.frombuffer(body).reshape(self.size, len(values)).tolist()
        return rows

    def collect(self, arrays: Arrays) -> list[Arrays]:
        """Own arrays, and what the workers send."""
        return [arrays, *(unpacked(self._hear(worker, _ARRAYS)) for worker in self._workers)]

    def _tell(self, frame: bytes) -> None:
        for worker in self._workers:
            try:
                worker.pipe.send_bytes(frame)
            except OSError:
                self._lost(worker)

    def _hear(self, worker: Worker, wanted: bytes) -> bytes:
        """The body of a worker's answer to the newest order."""
        pause, idle, used = min(1.0, self._patience / 4), 0.0, -1.0
        while True:
            try:
                frame = worker.said.get(timeout=pause)
            except queue.Empty:
                # Time is counted in pauses: if this process is stopped and goes on later, the worker gets its time too.
                now = worker.used()
                used, idle = now, idle + pause if now == used else 0.0
                if idle >= self._patience:
                    self._hangs(worker, idle)
                continue
            if not frame:
                worker.said.put(b"")
                self._lost(worker)
            kind, number, body = _read(frame)
            if kind == _FAILED:
                raise PeerLost(f"{self._name(worker)} failed: {body.decode(errors='replace')}", remedy=REMEDY)
            if number == self._number:
                assert kind == wanted, (kind, wanted)
                return body

    def _name(self, worker: Worker) -> str:
        return f"process {worker.rank + 1} of {self.size}"

    def _lost(self, worker: Worker) -> NoReturn:
        for frame in iter(worker.said.get, b""):  # its last words, where it has left any
            kind, _, body = _read(frame)
            if kind == _FAILED:
                raise PeerLost(f"{self._name(worker)} failed: {body.decode(errors='replace')}", remedy=REMEDY)
        worker.said.put(b"")
        try:
            code = worker.process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # it has closed its socket and does not end
            worker.process.kill()
            code = worker.process.wait()
        how = f"was ended by {signal.Signals(-code).name} (out of memory, or killed)" if code < 0 else f"ended with code {code}"
        raise PeerLost(f"{self._name(worker)} {how}; no update is made without it", remedy=REMEDY)

    def _hangs(self, worker: Worker, seconds: float) -> NoReturn:
        raise PeerLost(
            f"{self._name(worker)} hangs: no answer and no work for {seconds:.0f} s; no update is made without it",
            remedy=REMEDY,
        )


class Crew:
    """The worker processes of a run, for the length of a `with` block: size − 1 of them, `threads` threads each.

    They serve one Gradient after the other (that of a trial, that of the run), not two at once.
    """

    def __init__(self, size: int, *, threads: int = 1, patience: float = PATIENCE) -> None:
        assert size >= 1, size
        self.size, self.threads = size, threads
        self._patience = patience
        self._numbers = itertools.count(1)
        self.workers: list[Worker] = []
        self._memory = -1

    def __enter__(self) -> Self:
        self._memory = _memory()
        try:
            for rank in range(1, self.size):
                self.workers.append(self._hire(rank))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self.workers:
            worker.dismiss()
        self.workers.clear()
        os.close(self._memory)

    def lead(self, build: str, **told: JSON) -> Ranks:
        """Have every worker build its Gradient: `build` ("module:function") is called there with the worker's Ranks
        and `told`. Returns rank 0's Ranks, for a Gradient like theirs."""
        leader = Leader(self.workers, self._memory, self._patience, self._numbers)
        leader.order("build", build=build, told=told)
        return leader

    def _hire(self, rank: int) -> Worker:
        ours, theirs = Pipe()
        told = (theirs.fileno(), self._memory, rank, self.size, os.getpid())
        # -P, and the parent's own search path instead: a file in the working directory must not shadow a module.
        script = f"from foretext.training.distributed import serve; serve{told}"
        path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
        env = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(THREADS, str(self.threads))}
        with theirs, _blocked(signal.SIGINT, signal.SIGTERM):  # the child keeps the mask, from its first instruction
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), self._memory),
                env=env,
            )
        return Worker(rank=rank, process=process, pipe=ours)


def _memory() -> int:
    """A file without a name, in memory where the system can; it grows when numbers are put in."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("foretext")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


@contextlib.contextmanager
def _blocked(*signals: signal.Signals) -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# ── the others ──────────────────────────────────────────────────────────────────────────────────────────────────────


class _NewOrder(Exception):
    """Rank 0 has abandoned the order at hand and given another one."""


class Follower(SharedMemory):
    """A worker's view (`ranks.Ranks`)."""

    def __init__(self, pipe: Connection, memory: int, rank: int, size: int) -> None:
        super().__init__(rank, size, memory)
        self._pipe, self._number = pipe, 0
        self._next: bytes | None = None

    def order(self, name: str, arrays: Arrays | None = None, **told: JSON) -> None:
        """Nothing: rank 0 gives the orders."""

    def follow(self) -> dict[str, JSON]:
        """The next order. EOFError when rank 0 is gone."""
        kind = b""
        while kind != _ORDER:  # anything else was still said in an order that was abandoned
            frame, self._next = self._next or self._pipe.recv_bytes(), None
            kind, self._number, body = _read(frame)
        order: dict[str, JSON] = msgspec.json.decode(body)
        return order

    def arrays(self) -> Arrays:
        """What came with the order."""
        return unpacked(self._answer())

    def gather(self, values: Sequence[float]) -> list[list[float]]:
        """Tell rank 0, and hear from it what all have said."""
        self._pipe.send_bytes(_frame(_VALUES, self._number, _floats(values)))
        rows: list[list[float]] = np.frombuffer(self._answer()).reshape(self.size, len(values)).tolist()
        return rows

    def collect(self, arrays: Arrays) -> list[Arrays]:
        """Send to rank 0."""
        self._pipe.send_bytes(_frame(_ARRAYS, self._number, packed(dict(arrays))))
        return [arrays]

    def fail(self, error: BaseException) -> None:
        """Last words."""
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(_frame(_FAILED, self._number, f"{type(error).__name__}: {error}".encode()))

    def _answer(self) -> bytes:
        frame = self._pipe.recv_bytes()
        kind, _, body = _read(frame)
        if kind == _ORDER:
            self._next = frame
            raise _NewOrder
        return body


def serve(pipe: int, memory: int, rank: int, size: int, parent: int) -> None:
    """A worker's life: build, then follow orders until rank 0 is gone."""
    _die_with(parent)
    follower = Follower(Connection(pipe), memory, rank, size)
    stepper: Gradient | None = None
    try:
        while True:
            order = follower.follow()
            with contextlib.suppress(_NewOrder):
                stepper = _obey(order, follower, stepper)
    except (EOFError, ConnectionError):
        return  # rank 0 has ended, or nobody would hear why we do
    except BaseException as error:
        follower.fail(error)
        sys.exit(1)


def _obey(order: dict[str, Any], follower: Follower, stepper: Gradient | None) -> Gradient | None:
    name = order["name"]
    if name == "build":
        build: Callable[..., Gradient] = resolve(order["build"])
        return build(follower, **order["told"])
    assert stepper is not None, order
    if name == "step":
        stepper.done, stepper.total = order["done"], order["total"]
        with contextlib.suppress(NonFiniteStep):  # all ranks know it; rank 0 tells
            stepper.step()
    elif name == "evaluate":
        follower.gather(stepper.scores())
    elif name == "restore":
        slots = follower.arrays()
        stepper.hold(slots)
        follower.gather([])
    elif name == "state":
        follower.collect(stepper.slots())
    else:
        raise ValueError(name)
    return stepper


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, even while it is stopped; elsewhere the socket tells."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before it could be asked for
        sys.exit(1)
