"""Changes on disk that a crash leaves done or not done: drafts, swaps, durable folders, and what killed writers left.

A draft is `.partial-NAME-PID-TIME` beside NAME. Nothing is deleted before what replaces it is durable: a crash may keep
the deletion and lose the rename that came before it, unless the folder was synced in between.
"""

import contextlib
import ctypes
import mmap
import os
import shutil
import time
from pathlib import Path

_TEMPORARY = ".partial-"
_ASIDE = f"{_TEMPORARY}old-"
_BEGAN = time.monotonic_ns()


def draft_of(path: Path) -> Path:
    """A new name beside `path` for what is to become it."""
    return path.parent / f"{_TEMPORARY}{path.name}-{os.getpid()}-{time.monotonic_ns():x}"


def fsync(path: Path) -> None:
    """Make a file's content, or a folder's entries, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """`mkdir -p`, durably: each folder's entry is synced before the next is made in it, and so is that of the deepest
    one there, which a killed process may have made."""
    missing = [made for made in (folder, *folder.parents) if not made.exists()]
    deepest = missing[-1].parent if missing else folder
    for made in (deepest, *reversed(missing)):
        made.mkdir(exist_ok=True)
        with contextlib.suppress(PermissionError):  # a parent that may be passed through but not read
            fsync(made.parent)


def remove(path: Path) -> None:
    """Delete a file or a folder and all that is in it, as far as the disk lets us."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def discard(*folders: Path) -> None:
    """Delete folders of one parent, as far as the disk lets us: out of sight by a rename, the parent synced, and only
    then emptied, so that no crash leaves half of one under its name."""
    gone = []
    with contextlib.suppress(OSError):
        for folder in folders:
            hidden = draft_of(folder)
            os.rename(folder, hidden)
            gone.append(hidden)
        if gone:
            fsync(gone[0].parent)
            for hidden in gone:
                remove(hidden)


# ── one folder in the place of another ──────────────────────────────────────────────────────────────────────────────


def publish(draft: Path, path: Path, *, replace: bool) -> None:
    """Give the finished folder `draft` the name `path`, durably; with `replace` in the place of the one that has it.

    Errors: OSError. Where it came from a rename, the draft is gone; after a failed sync it stays, for it may be the old
    folder, and `remove_leftovers` takes it once the parent can be synced.
    """
    old: Path | None = None
    try:
        if not (replace and path.exists()):
            os.rename(draft, path)
        elif exchange(draft, path):
            old = draft
        else:
            old = _step_aside(draft, path)
    except OSError:
        remove(draft)
        raise
    fsync(path.parent)
    if old is not None:
        remove(old)


def exchange(one: Path, other: Path) -> bool:
    """Swap two names in one step (Linux: renameat2 with RENAME_EXCHANGE); False where system or disk cannot."""
    swap = getattr(ctypes.CDLL(None), "renameat2", None)
    here, flag = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return swap is not None and swap(here, os.fsencode(one), here, os.fsencode(other), flag) == 0


def _step_aside(draft: Path, path: Path) -> Path:
    """Replace `path` in two renames, as a folder cannot be renamed over one that is not empty; where the old one is.
    Should we die between them, `recover` puts it back."""
    aside = path.parent / f"{_ASIDE}{path.name}"
    os.rename(path, aside)
    try:
        os.rename(draft, path)
    except OSError:
        recover(path)
        raise
    return aside


def recover(path: Path) -> None:
    """Bring the old folder back where a killed writer had it step aside and no new one came."""
    aside = path.parent / f"{_ASIDE}{path.name}"
    if aside.exists() and not path.exists():
        with contextlib.suppress(OSError):  # its writer lives after all, or another reader was faster
            os.rename(aside, path)


def recover_all(parent: Path) -> None:
    """`recover` whatever stepped aside in `parent`."""
    for aside in parent.glob(f"{_ASIDE}*"):
        recover(parent / aside.name.removeprefix(_ASIDE))


# ── what killed writers left ────────────────────────────────────────────────────────────────────────────────────────


def remove_leftovers(parent: Path, name: str | None = None) -> int:
    """Remove what killed writers left in `parent`, of the folder or file `name` or of any: drafts whose process is gone,
    and old folders beside the new ones. How many there were."""
    found = [left for left in parent.glob(f"{_TEMPORARY}*") if _is_leftover(left, name)]
    try:
        if found:
            fsync(parent)  # first: what stands under its proper name must do so for good
    except OSError:
        return 0
    for left in found:
        remove(left)
    return len(found)


def _is_leftover(left: Path, name: str | None) -> bool:
    if left.name.startswith(_ASIDE):
        new = left.name.removeprefix(_ASIDE)
        if name in (None, new) and (left.parent / new).exists():
            return True
    words = left.name.removeprefix(_TEMPORARY).rsplit("-", 2)
    if len(words) < 3 or name not in (None, words[0]):
        return False
    try:
        pid, made = int(words[1]), int(words[2], 16)
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except (ValueError, OverflowError, PermissionError):
        return False
    return pid == os.getpid() and made < _BEGAN  # in a container every process may have the same number


LARGE = 256 << 20
"""Bytes of maps that a run may hold for having read them."""


def forget_large(*arrays: object) -> None:
    """`forget`, where the arrays are larger together than `LARGE`. For who reads them again and again, here and there: a
    page that is missing is mapped again in a microsecond, so that smaller maps may as well stay."""
    if sum(getattr(array, "nbytes", 0) for array in arrays) > LARGE:
        forget(*arrays)


def forget(*arrays: object) -> None:
    """Let go of the pages of those arrays that are maps of files: what was read or written there stays, but no longer
    counts as this process's memory."""
    for array in arrays:
        pages = getattr(array, "_mmap", None)
        if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)
