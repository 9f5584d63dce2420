"""Checkpoints of a run: sealed folders `checkpoints/step-00001234` with `arrays.safetensors` and `cursor.json`.

A damaged checkpoint is stepped over to the good one before it; nothing good is deleted before something newer is safe
on disk, and never the only good one.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from foretext.disk import discard, recover_all, remove_leftovers
from foretext.errors import ArtefactError, ResourceError
from foretext.folder import is_sealed, open_sealed, read_arrays, read_json, sealing, write_arrays, write_json
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
    remove_leftovers(folder)
    path = _path(folder, step)
    try:
        _write(state, path, step)
    except ResourceError:
        # The policy's own last resort: one good checkpoint and the best stay.
        prune(folder, keep=1, best=best, whole=_newest_whole(folder))
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
    recover_all(folder)  # a rewrite of the same step may have been killed between two renames
    found = ((_NAME.fullmatch(path.name), path) for path in folder.glob("step-*"))
    return sorted(int(match[1]) for match, path in found if match and is_sealed(path))


def read(folder: Path, step: int) -> Checkpoint:
    """The checkpoint of one step; ArtefactError (naming file and tensor) when a byte of it differs."""
    path = _path(folder, step)
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


def _newest_whole(folder: Path) -> int | None:
    """The newest step whose checkpoint has every byte that was written."""
    for step in reversed(steps(folder)):
        try:
            open_sealed(_path(folder, step), kind=KIND)
        except ArtefactError:
            continue
        return step
    return None


def prune(
    folder: Path, *, keep: int, best: int | None = None, newest: int | None = None, whole: int | None = None
) -> None:
    """Delete all but the `keep` newest checkpoints, `best` and `whole`; the newest stays whatever `keep` says.

    `newest`: the one just written. Later ones were damaged when the run resumed before them, and go.
    """
    there = steps(folder)
    usable = there if newest is None else [step for step in there if step <= newest]
    stay = {*usable[-max(keep, 1) :], best, whole}
    discard(*(_path(folder, step) for step in there if step not in stay))


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:08d}"
