"""Checkpoints of a run: sealed folders `checkpoints/step-00001234` with `arrays.safetensors` and `cursor.json`.

A damaged checkpoint is stepped over to the good one before it; nothing good is deleted before something newer is safe
on disk, and never the only good one.
"""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foretext.errors import ArtefactError, ResourceError
from foretext.folder import (
    is_sealed,
    open_sealed,
    read_arrays,
    read_json,
    recover,
    remove_leftovers,
    sealing,
    write_arrays,
    write_json,
)
from foretext.types import State

KIND = "checkpoint"
_NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One checkpoint that opened whole."""

    step: int
    path: Path
    state: State


def save(state: State, folder: Path, step: int, *, keep: int = 2, best: int | None = None) -> Path:
    """Write the state after `step` updates into `folder`, durably, and only then prune to `keep` newest and `best`.

    On a full disk, older checkpoints that the policy would drop anyway are dropped first and the write is tried once
    more; then ResourceError with the bytes needed, older checkpoints untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    path = folder / f"step-{step:08d}"
    try:
        _write(state, path, step)
    except ResourceError:
        # The policy's own last resort: one good checkpoint and the best stay.
        prune(folder, keep=1, best=best)
        try:
            _write(state, path, step)
        except ResourceError as error:
            needed = sum(array.nbytes for array in state.arrays.values())
            raise ResourceError(
                f"no room for a checkpoint of {needed:,} bytes ({error.rule})",
                file=path,
                remedy="free some disk space and resume; the checkpoints before this one are whole",
            ) from error
    prune(folder, keep=keep, best=best, newest=step)
    return path


def _write(state: State, path: Path, step: int) -> None:
    with sealing(path, kind=KIND, meta={"step": step}, replace=True) as draft:
        write_arrays(draft / "arrays.safetensors", state.arrays)
        write_json(draft / "cursor.json", state.cursor)


def steps(folder: Path) -> list[int]:
    """Steps of the finished checkpoints in `folder`, oldest first (their bytes unread)."""
    for aside in folder.glob(".partial-old-step-*"):  # a rewrite of the same step was killed between its two renames
        recover(folder / aside.name.removeprefix(".partial-old-"))
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match, path in found if match and is_sealed(path))


def read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of one step; ArtefactError (naming file and tensor) when a byte of it differs."""
    path = folder / f"step-{step:08d}"
    sealed = open_sealed(path, kind=KIND)
    state = State(arrays=read_arrays(path / "arrays.safetensors"), cursor=read_json(path / "cursor.json"))
    if sealed.meta.get("step") != step:
        raise ArtefactError(f"expected the checkpoint of step {step}, found step {sealed.meta.get('step')}", file=path)
    return Checkpoint(step=step, path=path, state=state)


def latest(folder: Path, say: Callable[[str], None] = lambda _: None) -> Checkpoint | None:
    """The newest checkpoint that is whole, or None where there is none at all.

    Damaged ones are stepped over, each told to `say`; when every one is damaged, the newest one's ArtefactError.
    """
    first: ArtefactError | None = None
    for step in reversed(steps(folder)):
        try:
            return read(folder, step)
        except ArtefactError as error:
            first = first or error
            say(f"the checkpoint of step {step} is damaged and left aside ({error.message})")
    if first is not None:
        raise first
    return None


def prune(folder: Path, *, keep: int, best: int | None = None, newest: int | None = None) -> None:
    """Delete all but the `keep` newest checkpoints and `best`; the newest stays whatever `keep` says.

    `newest`: the one just written. Later ones were damaged when the run resumed before them, and go.
    """
    there = steps(folder)
    usable = there if newest is None else [step for step in there if step <= newest]
    stay = {*usable[-max(keep, 1) :], best}
    for step in there:
        if step not in stay:
            # Out of sight in one rename, so that a kill never leaves half a checkpoint under a checkpoint's name.
            path = folder / f"step-{step:08d}"
            gone = path.with_name(f".partial-{path.name}-{os.getpid()}-0")
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
