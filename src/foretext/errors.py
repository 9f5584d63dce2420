"""What a user may see when something goes wrong: one message (file, place, rule, remedy) and an exit code."""

import difflib
import operator
import os
import re
from collections.abc import Iterable, Sequence
from enum import IntEnum
from os import PathLike
from typing import ClassVar


class ExitCode(IntEnum):
    """Process exit codes. 1 is Python's own for an exception that nobody expected: a fault of foretext's. 75 is EX_TEMPFAIL of
    sysexits.h: saved, run me again."""

    DONE = 0
    DEFECT = 1
    USAGE = 2
    DATA = 3
    ARTEFACT = 4
    RESOURCES = 5
    DIVERGED = 6
    PEER_LOST = 7
    PREEMPTED = 75


class ForetextError(Exception):
    """Base of every failure a user can cause or meet; abstract: raise one of the subclasses below.

    `rule` says what was expected and what was found; `file` and `place` (line, byte, tensor, field) say where;
    `remedy` says what to write instead.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE

    def __init__(
        self, rule: str, *, file: str | PathLike[str] | None = None, place: str = "", remedy: str = ""
    ) -> None:
        self.rule = rule
        self.file = None if file is None else str(file)
        self.place = place
        self.remedy = remedy
        super().__init__(self.message)

    @property
    def message(self) -> str:
        """One line: `file:place: rule; remedy`, absent parts left out."""
        where = ":".join(part for part in (self.file, self.place) if part)
        what = f"{where}: {self.rule}" if where else self.rule
        line = f"{what}; {self.remedy}" if self.remedy else what
        return " ".join(line.split())


class UsageError(ForetextError):
    """A wrong command, name, option or configuration (exit 2)."""

    exit_code = ExitCode.USAGE


class DataError(ForetextError):
    """The user's text or labels break a rule (exit 3)."""

    exit_code = ExitCode.DATA


class ArtefactError(ForetextError):
    """A folder that we or others wrote is damaged or does not fit (exit 4)."""

    exit_code = ExitCode.ARTEFACT


class ResourceError(ForetextError):
    """Memory, disk or a missing optional package (exit 5)."""

    exit_code = ExitCode.RESOURCES


class DivergedError(ForetextError):
    """Training produced a non-finite loss or gradient (exit 6)."""

    exit_code = ExitCode.DIVERGED


class PeerLost(ForetextError):
    """Another process of the run died or hangs (exit 7)."""

    exit_code = ExitCode.PEER_LOST


class Preempted(ForetextError):
    """A signal asked us to stop; everything is saved and `--resume` continues (exit 75)."""

    exit_code = ExitCode.PREEMPTED


class Defect(ForetextError):
    """A fault of foretext's own, told by a process that went on (exit 1)."""

    exit_code = ExitCode.DEFECT


def failure(code: int, rule: str, *, file: str | PathLike[str] | None = None, remedy: str = "") -> ForetextError:
    """An error that leaves with the exit code `code`; a ResourceError (5) where none does."""
    kinds = {int(kind.exit_code): kind for kind in ForetextError.__subclasses__()}
    return kinds.get(code, ResourceError)(rule, file=file, remedy=remedy)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine refused memory: Python's and numpy's MemoryError (pyarrow's is one), torch's RuntimeErrors of
    the processor ("DefaultCPUAllocator: can't allocate memory") and of an accelerator ("out of memory")."""
    if isinstance(error, MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        sign in str(error) for sign in ("can't allocate memory", "not enough memory", "out of memory")
    )


_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")
"""Its scheme; a single letter is a drive."""


def no_file(file: str | PathLike[str], remedy: str = "") -> UsageError:
    """The error for a path where a file of this machine must be: what is there instead."""
    path = os.fspath(file)
    if (url := _URL.match(path)) and not os.path.exists(path):
        whole = f"{url[1]}://{path[url.end() :]}"  # a Path has folded the second slash
        return UsageError("expected a file of this machine, found a URL", file=whole, remedy="download it first")
    if os.path.isdir(path):
        return UsageError("expected a file, found a folder", file=path, remedy=remedy)
    if os.path.exists(path):
        return UsageError("expected a file, found a pipe or a device", file=path, remedy="write it to a file first")
    return UsageError("no such file or folder", file=path, remedy=remedy or "check the spelling of the path")


def require_whole(name: str, value: object, least: int = 1) -> None:
    """UsageError where `value` is no whole number (of Python's or numpy's) of at least `least`."""
    if isinstance(value, bool) or not hasattr(value, "__index__") or operator.index(value) < least:
        raise UsageError(f"{name}: expected a whole number from {least} on, found {value!r}")


def shorten(text: str, most: int = 60) -> str:
    """`text`, or as much of its start as a line has room for."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


def few(items: Sequence[str], most: int, between: str = ", ") -> str:
    """The first `most` of `items`, and how many more there are."""
    return between.join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None when nothing is close."""
    close = difflib.get_close_matches(name.lower(), {k.lower(): k for k in known}, n=1, cutoff=0.5)
    by_lower = {k.lower(): k for k in known}
    return by_lower[close[0]] if close else None


def unknown(kind: str, name: str, known: Iterable[str], *, file: str | PathLike[str] | None = None) -> UsageError:
    """The error for a name that is not in `known`: offers the nearest, and lists all when there are few."""
    names = sorted(known)
    guess = nearest(name, names)
    remedy = f"did you mean {guess!r}?" if guess else ""
    if len(names) <= 20:
        remedy = f"{remedy} known: {', '.join(names)}".strip()
    return UsageError(f"unknown {kind} {name!r}", file=file, remedy=remedy)
