"""SIGTERM and SIGINT in every phase: exit code 75, everything that was done is saved, and resuming ends with the same bits.

The signal is sent from within: at the Nth Python or C call of a phase (N drawn at random from as many as the phase
makes), so that it meets the phase's own code wherever that happens to be.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import faults
from foretext import pretraining
from foretext.bundle import Pretrained
from foretext.models.word2vec.train import SkipGram
from foretext.text import store
from foretext.training import checkpoint
from foretext.training.gradient import Gradient
from foretext.training.optimizers import Updater
from trust.world import FAMILIES, WORDS, Child, Run, assert_like, finish, steps_of

ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@dataclass(frozen=True, kw_only=True)
class Phase:
    """A function of the product that the signal must arrive in, in its `call`-th call; whether a checkpoint is due."""

    bert: tuple[Any, str]
    word2vec: tuple[Any, str] | None = None
    call: int = 1
    saves: bool = True


PHASES = {
    "training step": Phase(bert=(Gradient, "step"), word2vec=(SkipGram, "step"), call=5),
    "update": Phase(bert=(Updater, "step"), call=5),
    "evaluation": Phase(bert=(Gradient, "evaluate"), word2vec=(SkipGram, "evaluate"), call=2),
    "checkpoint": Phase(bert=(checkpoint, "save"), word2vec=(checkpoint, "save"), call=2),
    "tokenizer training": Phase(bert=(pretraining, "train_tokenizer"), saves=False),
    "encoding": Phase(bert=(store, "_write"), saves=False),
    "the result": Phase(bert=(Pretrained, "save"), saves=False),
}


class Inside:
    """Counts the calls that happen within the `call`-th call of a function, and does something at the `nth`."""

    def __init__(self, where: tuple[Any, str], call: int, nth: int, then: Callable[[], None]) -> None:
        owner, name = where
        self.call, self.nth, self.then, self.count = call, nth, then, 0
        real = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self.call -= 1
            if self.call:
                return real(*arguments, **named)
            sys.setprofile(self._profile)
            try:
                return real(*arguments, **named)
            finally:
                sys.setprofile(None)

        setattr(owner, name, counted)

    def _profile(self, frame: FrameType, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.count += 1
            if self.count == self.nth:
                self.then()


def send(folder: Path, *numbers: int) -> None:
    """These signals to this process, one after the other; the time is written down."""
    (folder / "signal").write_text(str(time.monotonic()))
    for number in numbers:
        os.kill(os.getpid(), number)


@pytest.fixture(scope="module", params=FAMILIES)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run by the command line, saving when asked to only."""
    folder = tmp_path_factory.mktemp(request.param)
    settings = {"limits": {"evaluations": 3, "checkpoint_steps": 4}}
    run = Run(family=request.param, folder=folder / "straight", cache=folder / "cache", settings=settings)
    run.warm()
    finish(run, typed=True)
    return run


def stop_in(phase: Phase, straight: Run, tmp_path: Path, times: int, rng: np.random.Generator, *second: int) -> float:
    """Stop so many runs in a phase, each at its own place, and let each go on; the longest wait in seconds.

    `second`: further signals right after the first."""
    where = getattr(phase, straight.family)

    def fresh(name: str) -> Run:
        cache = straight.cache if phase.saves else tmp_path / name / "cache"
        return replace(straight, folder=tmp_path / name, cache=cache)

    def measured() -> int:
        inside = Inside(where, phase.call, -1, lambda: None)
        with pytest.raises(SystemExit) as left:
            fresh("measured").typed()
        assert left.value.code == 0
        return inside.count

    code, calls = faults.in_child(measured)
    assert code == 0
    assert calls > 10
    longest = 0.0
    for number in range(times):
        run = fresh(f"run-{number}")
        nth = 1 + int(calls * (number + rng.random()) / times)  # one in each part of the phase
        numbers = (int(rng.choice([signal.SIGTERM, signal.SIGINT])), *second)

        def work(run: Run = run, nth: int = nth, numbers: tuple[int, ...] = numbers) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a job that a script put in the background ignores it
            Inside(where, phase.call, nth, lambda: send(run.folder, *numbers))
            run.typed()

        child = Child(run.folder, work)
        code, text = child.wait(), child.err.read_text()
        assert code == 75, (nth, calls, code, text)
        longest = max(longest, time.monotonic() - float((run.folder / "signal").read_text()))
        assert text.startswith("foretext: "), (nth, text)
        assert text.count("\n") == 1, (nth, text)
        assert "--resume" in text
        made = steps_of(run.trace)
        if phase.saves:
            assert checkpoint.latest(run.checkpoints).step == max(made, default=0)
        finish(run, typed=True)
        assert_like(run, straight, lost=0)
        assert not list(run.cache.glob("**/.partial*"))
    assert longest < 30
    return longest


CASES = [(family, name) for family in FAMILIES for name in PHASES if getattr(PHASES[name], family)]
"""Updating parameters is BERT's alone; preparing and writing are the same code for both families."""


@pytest.mark.parametrize(("straight", "name"), CASES, indirect=["straight"])
def test_stopped_in_each_phase(straight: Run, tmp_path: Path, name: str) -> None:
    times = 4 if name == "update" else 2  # most of an update only prepares it
    stop_in(PHASES[name], straight, tmp_path, times, np.random.default_rng(0))


def test_more_signals_change_nothing(straight: Run, tmp_path: Path) -> None:
    """The second and third arrive within the save that the first asked for, or cut short."""
    more = (signal.SIGTERM, signal.SIGINT)
    stop_in(PHASES["checkpoint"], straight, tmp_path, 2, np.random.default_rng(1), *more)


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(
    ("straight", "name"), [*CASES, *((family, "second signal") for family in FAMILIES)], indirect=["straight"]
)
def test_a_hundred_signals_in_each_phase(
    straight: Run, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    times = int(os.environ.get("FORETEXT_SIGNALS", "100"))
    more = (signal.SIGTERM, signal.SIGINT) if name == "second signal" else ()
    phase = PHASES.get(name, PHASES["checkpoint"])
    longest = stop_in(phase, straight, tmp_path, times, np.random.default_rng(2), *more)
    with capsys.disabled():
        print(f"\n{straight.family}, {name}: {times} signals, {times} saves, longest wait {longest:.2f} s")


# ── a step that takes longer than anybody waits ─────────────────────────────────────────────────────────────────────


def slow_compile(folder: Path, seconds: float) -> None:
    """In torch.compile's place: the first call "compiles" for so long; a signal arrives meanwhile."""
    import torch

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        def first_slowly(*arguments: Any) -> Any:
            if seconds and not (folder / "signal").exists():
                end = time.monotonic() + seconds
                send(folder, signal.SIGTERM)
                while time.monotonic() < end:
                    time.sleep(0.01)
            return function(*arguments)

        return first_slowly

    torch.compile = compiled  # type: ignore[assignment]


def test_stopped_while_compiling(tmp_path: Path) -> None:
    """A stand-in that takes a minute, as the first step of a compiled model may: nobody waits for it."""
    cache, settings = tmp_path / "cache", {"batch": {"compile": True}}
    runs = {name: Run(family="bert", folder=tmp_path / name, cache=cache, steps=3, settings=settings) for name in ("straight", "cut")}

    def work(run: Run, seconds: float) -> Callable[[], None]:
        def typed() -> None:
            slow_compile(run.folder, seconds)
            run.typed()

        return typed

    for name, seconds, expected in (("straight", 0.0, 0), ("cut", 60.0, 75), ("cut", 0.0, 0)):
        run = runs[name]
        child = Child(run.folder, work(run, seconds))
        code = child.wait()
        assert code == expected, child.err.read_text()
        if code == 75:
            assert time.monotonic() - float((run.folder / "signal").read_text()) < 30
            assert checkpoint.latest(run.checkpoints).step == 0
    assert_like(runs["cut"], runs["straight"], lost=0)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_stopped_while_really_compiling(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """torch.compile itself, in fresh processes, stopped at five moments of its first step."""
    run = Run(family="bert", folder=tmp_path / "run", cache=tmp_path / "cache", steps=3, settings={"batch": {"compile": True}})
    run.command()
    finish(replace(run, folder=tmp_path / "prepared", settings={}), typed=True)
    waits = []
    for number in range(5):
        env = {**ENVIRONMENT, "FORETEXT_CACHE": str(run.cache), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / f"inductor-{number}")}
        process = subprocess.Popen([sys.executable, "-m", "foretext", *run.command()], stderr=subprocess.PIPE, text=True, env=env)
        wait_until(lambda: (run.folder / "out.run" / "log.jsonl").exists(), process)
        time.sleep(0.3 + 1.5 * number)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        _, text = process.communicate(timeout=120)
        waits.append(time.monotonic() - began)
        assert process.returncode == 75, text
        assert checkpoint.latest(run.checkpoints) is not None
        (run.folder / "out.run" / "log.jsonl").unlink()
    with capsys.disabled():
        print(f"\nstopped while compiling, waited {', '.join(f'{wait:.1f}' for wait in waits)} s")
    assert max(waits) < 30


# ── the real command line ───────────────────────────────────────────────────────────────────────────────────────────


def wait_until(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    for _ in range(2400):
        if true() or process.poll() is not None:
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail(f"nothing happened for two minutes: {process.communicate()}")


def stopped(words: list[str], cache: Path, under_way: Callable[[], object]) -> str:
    """Start the command in a fresh interpreter, send SIGTERM when it is under way; its last words."""
    process = subprocess.Popen(
        [sys.executable, "-m", "foretext", *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
        env={**ENVIRONMENT, "FORETEXT_CACHE": str(cache)},
    )  # fmt: skip
    wait_until(under_way, process)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, text = process.communicate(timeout=120)
    assert process.returncode == 75, text
    assert time.monotonic() - began < 30
    assert "Traceback" not in text
    return text.splitlines()[-1]


@pytest.mark.parametrize("straight", ["bert"], indirect=True)
def test_pretrain_is_stopped(straight: Run, tmp_path: Path) -> None:
    run = replace(straight, folder=tmp_path, steps=20_000, settings={})
    log = run.folder / "out.run" / "log.jsonl"
    last = stopped(run.command(), run.cache, lambda: log.exists() and log.stat().st_size)
    assert "SIGTERM: stopped and saved after step" in last
    assert checkpoint.latest(run.checkpoints).step > 0


def labelled(file: Path, count: int, seed: int = 0) -> Path:
    rng = np.random.default_rng(seed)
    rows = [{"text": " ".join(rng.choice(WORDS, 6)), "label": ("a", "b")[i % 2]} for i in range(count)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.mark.parametrize("straight", ["word2vec"], indirect=True)
def test_transfer_is_stopped(straight: Run, tmp_path: Path) -> None:
    train, out, config = labelled(tmp_path / "train.jsonl", 40), tmp_path / "made", tmp_path / "t.toml"
    config.write_text("[strategy]\nsteps = 10000000\n")
    words = ["transfer", str(straight.out), "classify", str(train), "--out", str(out), "--config", str(config), "--json"]
    last = stopped(words, straight.cache, lambda: (tmp_path / "made.run" / "seed-0.run").exists())
    assert "SIGTERM: stopped" in last
    assert not out.exists()


@pytest.mark.parametrize("straight", ["word2vec"], indirect=True)
def test_ladder_is_stopped(straight: Run, tmp_path: Path) -> None:
    text = straight.folder / "text.jsonl"
    files = [str(labelled(tmp_path / f"{name}.jsonl", 40, seed)) for seed, name in enumerate(("train", "test"))]
    words = ["ladder", "--corpus", str(text), "--train", files[0], "--test", files[1], "--rungs", "word2vec"]
    words += ["--minutes", "30", "--labels", "5", "--seeds", "1", "--out", str(tmp_path / "out")]
    last = stopped(words, straight.cache, lambda: list((tmp_path / "out").glob("cells/*.json")))
    assert "the ladder was stopped; its cells are kept" in last
