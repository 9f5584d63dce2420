"""A full disk and a diverged run, by the command line: the exit code, one line, and nothing good lost."""

import errno
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import faults
from foretext.training import checkpoint
from trust.world import FAMILIES, Child, Run, assert_like, finish, steps_of

pytestmark = pytest.mark.soak

SETTINGS: dict[str, object] = {"limits": {"evaluations": 3, "checkpoint_steps": 2}}


@pytest.fixture(scope="module", params=FAMILIES)
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp(request.param)
    run = Run(family=request.param, folder=folder / "straight", cache=folder / "cache", steps=6, settings=SETTINGS)
    run.warm()
    finish(run, typed=True)
    return run


def ends(run: Run, work: Callable[[], object]) -> tuple[int, str]:
    """(exit code, standard error) of `work` in a child; never a traceback, never more than a line."""
    child = Child(run.folder, work)
    code, text = child.wait(), child.err.read_text()
    assert "Traceback" not in text, text
    assert text.count("\n") == (code != 0), text
    return code, text


@pytest.mark.parametrize("straight", ["bert"], indirect=True)
def test_no_room_for_a_checkpoint(straight: Run, tmp_path: Path) -> None:
    """The kernel lets no file grow beyond half a checkpoint: the one before stays, and the run goes on from it. (A
    checkpoint of the miniature word2vec is smaller than the files of the test itself.)"""
    run = replace(straight, folder=tmp_path)

    def stopped() -> None:
        from foretext.training.run import _Shell

        save = _Shell._save

        def once(self: _Shell) -> None:
            save(self)
            if self.at.step == 2:
                os.kill(os.getpid(), signal.SIGTERM)

        _Shell._save = once  # type: ignore[method-assign]
        run.typed()

    def limited() -> None:
        file = run.checkpoints / "step-00000002" / "arrays.safetensors"
        resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size // 2, resource.RLIM_INFINITY))
        run.typed()

    assert ends(run, stopped)[0] == 75
    code, text = ends(run, limited)
    assert code == 5
    arrays = checkpoint.latest(run.checkpoints).state.arrays
    assert f"no room for a checkpoint of {sum(a.nbytes for a in arrays.values()):,} bytes" in text
    assert "free some disk space and resume" in text
    assert checkpoint.steps(run.checkpoints) == [2]
    finish(run, typed=True)
    assert_like(run, straight)


OWN = ("text.jsonl", "recipe.toml", "trace")
"""The test's own files, which nothing happens to."""


def filling(run: Run, nth: int, forever: bool) -> int:
    """The run, in which the Nth change on the disk finds it full (`forever`: and all after it that need room); how
    many changes there were."""
    count = 0

    def before(change: faults.Change) -> None:
        nonlocal count
        if change.kind in ("remove", "rmdir") or change.path.name in OWN:
            return
        count += 1
        if count == nth or (forever and nth and count > nth):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(change.path))

    faults.Watched(run.folder, before)
    try:
        run.typed()
    except SystemExit as left:
        if left.code:
            raise
    return count


def fill_anywhere(straight: Run, tmp_path: Path, times: int, seed: int) -> int:
    """Runs from raw text to the folder, the disk full at one change or from there on; how many ended with exit code 5.
    Each then goes on to the bits of a run that had room."""
    rng, full = np.random.default_rng(seed), 0

    def fresh(name: str) -> Run:
        return replace(straight, folder=tmp_path / name, cache=tmp_path / name / "cache")

    code, changes = faults.in_child(lambda: filling(fresh("measured"), 0, False))
    assert code == 0
    assert changes > 60
    for number in range(times):
        run, forever = fresh(f"run-{number}"), bool(number % 2)
        nth = 1 + int(changes * (number + rng.random()) / times)
        code, text = ends(run, partial(filling, run, nth, forever))
        assert code in (0, 5), (nth, text)
        assert code == 5 or not forever or run.out.exists(), nth
        full += code == 5
        finish(run, typed=True)
        assert_like(run, straight)
    return full


def test_full_anywhere(straight: Run, tmp_path: Path) -> None:
    assert fill_anywhere(straight, tmp_path, 6, seed=0) >= 4


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_full_at_two_hundred_places(straight: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full = fill_anywhere(straight, tmp_path, 200, seed=1)
    with capsys.disabled():
        print(f"\n{straight.family}: 200 full disks, {full} exits with code 5, the others did without; all went on")


@pytest.mark.parametrize("straight", FAMILIES, indirect=True)
def test_a_diverged_run(straight: Run, tmp_path: Path) -> None:
    """A rate beyond all reason: exit 6, nothing of the update that went wrong kept, the batch or its place told."""
    wild = {"family": {"rate": 1e30}} if straight.family == "word2vec" else {"optimizer": {"rate": 1e30, "kind": "adamw", "clip": 1e30}}
    settings = {**wild, "limits": {"evaluations": 0, "checkpoint_steps": 1}}
    run = replace(straight, folder=tmp_path, settings=settings)
    code, text = ends(run, run.typed)
    assert code == 6, text
    assert ("nothing of the update is kept" if run.family == "word2vec" else "the update was not applied") in text
    made = steps_of(run.trace)
    kept = checkpoint.latest(run.checkpoints)  # word2vec's first step may go wrong already
    assert (kept.step if kept else 0) == len(made)
    assert f"step {len(made) + 1:,}: " in text
    for name, array in (kept.state.arrays if kept else {}).items():
        assert np.isfinite(array).all(), name
    if straight.family == "bert":
        batch = np.load(tmp_path / "out.run" / f"diverged-step-{len(made) + 1}.npz")
        assert batch["micro-0/text/ids"].size > 10
    else:
        assert "block" in text
