"""SIGKILL at any moment: real training runs, killed again and again, end with the bits of a run that was not."""

import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import faults
from trust.world import FAMILIES, Child, Run, assert_like, finish


@pytest.fixture(scope="module", params=FAMILIES)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An uninterrupted run; its kernels are compiled here, before any child is forked."""
    folder = tmp_path_factory.mktemp(request.param)
    run = Run(family=request.param, folder=folder / "straight", cache=folder / "cache")
    run.warm()
    finish(run)
    return run


def killing_at(nth: int, folder: Path, work: object) -> object:
    """`work`, in a process that kills itself at its Nth change on the disk."""

    def dies() -> None:
        left = [nth]

        def before(change: faults.Change) -> None:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

        faults.Watched(folder, before)
        work()  # type: ignore[operator]

    return dies


def kill_again_and_again(straight: Run, tmp_path: Path, kills: int, seed: int) -> dict[str, int]:
    """Runs, each killed up to five times and then left to end, until there were so many kills. Every second kill comes
    at a random time, the others at a random change on the disk, which is mostly within a save."""
    rng = np.random.default_rng(seed)
    timed = Child(tmp_path / "timed", Run(family=straight.family, folder=tmp_path / "timed", cache=straight.cache).work)
    began = time.monotonic()
    assert timed.wait() == 0
    usual = time.monotonic() - began
    told = dict.fromkeys(("kills", "runs", "inside a save", "while preparing", "came too late"), 0)
    while told["kills"] < kills:
        folder = tmp_path / f"run-{told['runs']}"
        # Every third run prepares its own text, so that kills find the tokenizer and the store half made as well.
        own = told["runs"] % 3 == 0
        run = Run(family=straight.family, folder=folder, cache=folder / "cache" if own else straight.cache)
        told["runs"] += 1
        for _ in range(int(rng.integers(1, 6))):
            if told["kills"] == kills:
                break
            by_clock = rng.random() < 0.5
            work = run.work if by_clock else killing_at(int(rng.integers(1, 160)), folder, run.work)
            child = Child(folder, work)  # type: ignore[arg-type]
            if by_clock:
                time.sleep(rng.uniform(0.0, usual))
                child.kill()
            if child.wait() != -signal.SIGKILL:
                told["came too late"] += 1
                break
            told["kills"] += 1
            told["inside a save"] += any(run.checkpoints.glob(".partial-step-*")) or any(folder.glob(".partial-out-*"))
            told["while preparing"] += not run.checkpoints.exists()
        finish(run)
        assert_like(run, straight)
    return told


def test_thirty_kills(straight: Run, tmp_path: Path) -> None:
    """Fifteen a family."""
    told = kill_again_and_again(straight, tmp_path, kills=15, seed=0)
    assert told["inside a save"] > 0


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_thousand_kills(straight: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kills = int(os.environ.get("FORETEXT_KILLS", "1000"))
    began = time.monotonic()
    told = kill_again_and_again(straight, tmp_path, kills=kills, seed=1)
    with capsys.disabled():
        print(f"\n{straight.family}: {told}, 0 corrupt, 0 stuck, 0 bits of difference, {time.monotonic() - began:.0f} s")
    assert told["kills"] == kills
