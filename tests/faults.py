"""A disk that fails, dies or forgets, for tests of whatever writes files.

`Watched` sees every change that Python code makes under a folder (audit events, plus fsync and the swap of two names)
before it happens, and may refuse it, end the process there, or write it into a `Journal`. The journal knows what of a
folder is durable: a file's content as of its last fsync, a folder's entries as of its own. From it every state is
rebuilt that a power cut could leave: each change that was not synced kept or lost by itself, each content that was not
synced kept, lost, cut in half or zeroed.

Audit hooks cannot be taken off, so everything here runs in forked children.
"""

import hashlib
import itertools
import json
import os
import random
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foretext import disk

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
DIED = 9
CONTENTS = ("kept", "lost", "cut", "zeros")


class Dead(BaseException):
    """The process is gone: nothing may follow, no cleanup either (each of its changes meets this again)."""


def in_child(work: Callable[[], Any], *, seconds: int = 240) -> tuple[int, Any]:
    """Run `work` in a forked child: (exit code, or minus the signal; what it returned, as JSON). A failed assertion or
    any other exception in there is raised here, with its traceback as text."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(ours)
            signal.alarm(seconds)
            answer = {"value": work()}
            code = 0
        except BaseException:
            answer = {"error": traceback.format_exc()}
        try:
            with os.fdopen(theirs, "w") as pipe:
                json.dump(answer, pipe)
        finally:
            os._exit(code)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        told = pipe.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    answer = json.loads(told) if told else {}
    if "error" in answer:
        raise AssertionError(f"in the child:\n{answer['error']}")
    return code, answer.get("value")


# ── seeing every change ─────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Change:
    """One change about to happen: "open" (for writing), "mkdir", "rename", "remove", "rmdir", "fsync" or "exchange"."""

    kind: str
    path: Path


class Watched:
    """Calls `before(change)` ahead of every change under `root`, for as long as the process lives."""

    def __init__(self, root: Path, before: Callable[[Change], None]) -> None:
        self.root, self.before, self.asleep = str(root), before, False
        sys.addaudithook(self._audit)
        swap = disk.exchange

        def fsync(handle: int) -> None:  # a process that dies does not take the page cache along: nothing to wait for
            self._see("fsync", os.readlink(f"/proc/self/fd/{handle}"), None)

        def exchange(one: Path, other: Path) -> bool:
            try:
                self._see("exchange", other, None)
            except OSError:
                return False  # as the system call reports it
            return swap(one, other)

        os.fsync, disk.exchange = fsync, exchange

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & WRITING and not isinstance(path, int):
                self._see("open", path, None)
        elif event in ("os.mkdir", "os.remove", "os.rmdir", "os.rename"):
            self._see(event.removeprefix("os."), arguments[0], arguments[2] if event == "os.rename" else arguments[-1])

    def _see(self, kind: str, path: Any, folder: int | None) -> None:
        if self.asleep:
            return
        name = os.fsdecode(path)
        if folder is not None and folder >= 0:
            name = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), name)
        if name.startswith(self.root):
            self.asleep = True
            try:
                self.before(Change(kind, Path(name)))
            finally:
                self.asleep = False


# ── fails once, fails from then on, dies once: for every N ──────────────────────────────────────────────────────────


def failing(prepare: Callable[[Path], None], work: Callable[[Path], None], check: Callable[[Path, bool], None],
            root: Path, errors: tuple[int, ...], *, forever: bool = False, kept: tuple[str, ...] = ()) -> int:  # fmt: skip
    """For every N and every errno: `prepare` a folder, let `work`'s Nth change fail (`forever`: and all after it but
    those of a `kept` kind), `check(folder, whether it said it was done)`. How many faults there were.

    `work` may raise what it likes to raise for a full disk; `check` sees to what is left.
    """

    def every() -> int:
        state: dict[str, int] = {"count": 0, "nth": 0, "errno": 0}

        def before(change: Change) -> None:
            state["count"] += change.kind not in kept
            late = state["count"] > state["nth"] if forever else False
            if change.kind not in kept and (state["count"] == state["nth"] or late):
                raise OSError(state["errno"], os.strerror(state["errno"]))

        watched, faults = Watched(root, before), 0
        for number in errors:
            for nth in itertools.count(1):
                folder = root / f"{number}-{nth}-{forever}"
                watched.asleep = True
                folder.mkdir(parents=True)
                prepare(folder)
                watched.asleep = False
                state.update(count=0, nth=nth, errno=number)
                done = _answers(work, folder)
                watched.asleep = True
                check(folder, done)
                if state["count"] < nth:
                    assert done, "no fault was left, and yet it failed"
                    break
                faults += 1
        return faults

    code, faults = in_child(every)
    assert code == 0
    return int(faults)


def _answers(work: Callable[[Path], None], folder: Path) -> bool:
    from foretext.errors import ResourceError

    try:
        work(folder)
    except ResourceError:
        return False
    return True


def dying(prepare: Callable[[Path], None], work: Callable[[Path], None], check: Callable[[Path, bool], None], root: Path) -> int:
    """For every N: let a process that does `work` die at its Nth change, then `check`. How many died."""
    for nth in itertools.count(1):
        folder = root / f"dies-{nth}"
        folder.mkdir(parents=True)
        prepare(folder)

        def once(folder: Path = folder, nth: int = nth) -> None:
            count = [0]

            def before(change: Change) -> None:
                count[0] += 1
                if count[0] == nth:
                    os._exit(DIED)

            Watched(folder, before)
            work(folder)

        code, _ = in_child(once)
        assert code in (0, DIED)
        check(folder, code == 0)
        if code == 0:
            return nth - 1
    raise AssertionError("unreachable")


def limited(work: Callable[[], None], size: int, *, dies: bool = False) -> bool:
    """Do `work` in a process in which no file may grow beyond `size` bytes: the write that would fails, or (`dies`)
    ends the process there, whoever makes it, Python or a library. Whether the work was done."""

    def once() -> bool:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL if dies else signal.SIG_IGN)
        done = _answers(lambda _: work(), Path())
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        return done

    code, done = in_child(once)
    assert code in (0, -signal.SIGXFSZ)
    return bool(done)


# ── forgets what was not synced ─────────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Node:
    """A file (`content`, `durable` as of its last fsync, None = never) or a folder (`entries`, `lasting` as of its last
    fsync, and the changes since: (number in time, name → node or None))."""

    folder: bool
    content: bytes = b""
    durable: bytes | None = None
    entries: dict[str, "Node"] = field(default_factory=dict)
    lasting: dict[str, "Node"] = field(default_factory=dict)
    pending: list[tuple[int, dict[str, "Node | None"]]] = field(default_factory=list)


class Journal:
    """What of `root` is durable. Call `look` before every change, and `synced` for every fsync after it."""

    def __init__(self, root: Path) -> None:
        self.path, self.clock = root, 0
        self.nodes: dict[tuple[int, int], Node] = {}
        self.handles: list[int] = []  # an inode that is held open is not given to another file
        self.root = self._node(root)
        self.look(atomic=False)
        for node in self.nodes.values():  # what is there at the beginning has been there for long
            node.durable, node.lasting, node.pending = node.content, dict(node.entries), []

    def _node(self, path: Path) -> Node:
        found = os.stat(path, follow_symlinks=False)
        key = found.st_dev, found.st_ino
        if key not in self.nodes:
            self.handles.append(os.open(path, os.O_RDONLY))
            self.nodes[key] = Node(folder=path.is_dir())
        return self.nodes[key]

    def look(self, *, atomic: bool) -> None:
        """Take in what has changed since the last look; `atomic`: by one rename, whose two names change together."""
        self._look(self.path, self.root, atomic)

    def _look(self, path: Path, node: Node, atomic: bool) -> None:
        if not node.folder:
            node.content = path.read_bytes()
            return
        now = {entry.name: self._node(Path(entry.path)) for entry in os.scandir(path)}
        names = [name for name in {**node.entries, **now} if node.entries.get(name) is not now.get(name)]
        groups = [names] if atomic and names else [[name] for name in names]
        for group in groups:
            self.clock += 1
            node.pending.append((self.clock, {name: now.get(name) for name in group}))
        node.entries = now
        for name, child in now.items():
            self._look(path / name, child, atomic)

    def synced(self, path: Path) -> None:
        """`path` was fsynced."""
        node = self._node(path)
        node.durable, node.lasting, node.pending = node.content, dict(node.entries), []

    def states(self) -> Iterator[dict[str, bytes | None]]:
        """Every tree (path → content, None = a folder) that a power cut now could leave."""
        pending = sorted(number for node in self.nodes.values() for number, _ in node.pending)
        for kept in _subsets(pending):
            for content in CONTENTS:
                yield dict(self._tree(self.root, "", kept, content))

    def _tree(self, node: Node, path: str, kept: frozenset[int], content: str) -> Iterator[tuple[str, bytes | None]]:
        if not node.folder:
            yield path, _content(node, content)
            return
        if path:
            yield path, None
        entries: dict[str, Node | None] = dict(node.lasting)
        for number, change in node.pending:
            if number in kept:
                entries.update(change)
        for name, child in entries.items():
            if child is not None:
                yield from self._tree(child, f"{path}/{name}", kept, content)


def _content(node: Node, content: str) -> bytes:
    if node.durable == node.content or content == "kept":
        return node.content
    if content == "lost":
        return node.durable or b""
    half = len(node.content) // 2
    return node.content[:half] if content == "cut" else bytes(len(node.content))


def _subsets(numbers: list[int], all_up_to: int = 6) -> Iterator[frozenset[int]]:
    """Every subset of a few; of many: the beginnings, the single ones, all but one, and some at random."""
    if len(numbers) <= all_up_to:
        for size in range(len(numbers) + 1):
            yield from map(frozenset, itertools.combinations(numbers, size))
        return
    whole, draw = frozenset(numbers), random.Random(len(numbers))
    yield from (frozenset(numbers[:size]) for size in range(len(numbers) + 1))
    yield from (frozenset({number}) for number in numbers)
    yield from (whole - {number} for number in numbers)
    yield from (frozenset(number for number in numbers if draw.random() < 0.5) for _ in range(24))


def forgetting(
    prepare: Callable[[Path], None],
    works: list[Callable[[Path], None]],
    check: Callable[[Path, int], None],
    root: Path,
    *,
    deaths: Callable[[int], bool] = lambda _: False,
) -> int:
    """Do the `works` one after the other and `check(folder, works that have returned)` in every state that a power cut
    could leave before any of their changes and at the end. With `deaths`, once more for every N that it picks of the
    first work's changes: the process of the first work dies there, another does the rest. How many different states."""

    def every() -> int:
        states, last = _one_course(prepare, works, check, root / "whole", None)
        for nth in filter(deaths, range(1, last + 1)):
            states += _one_course(prepare, works, check, root / f"dead-{nth}", nth)[0]
        return states

    code, states = in_child(every)
    assert code == 0
    return int(states)


def _one_course(
    prepare: Callable[[Path], None],
    works: list[Callable[[Path], None]],
    check: Callable[[Path, int], None],
    root: Path,
    die_at: int | None,
) -> tuple[int, int]:
    """(different states seen, changes of the first work)."""
    folder, rebuilt = root / "disk", root / "rebuilt"
    folder.mkdir(parents=True)
    prepare(folder)
    journal = Journal(folder)
    seen: set[tuple[int, str]] = set()
    count, first, returned, dead = 0, 0, 0, False
    previous: Change | None = None

    def catch_up() -> None:
        nonlocal previous
        journal.look(atomic=previous is not None and previous.kind in ("rename", "exchange"))
        previous = None
        if die_at is None or count >= die_at:
            for tree in journal.states():
                digest = hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()
                if (returned, digest) not in seen:
                    seen.add((returned, digest))
                    place = rebuilt / f"{len(seen)}"
                    _rebuild(tree, place)
                    check(place, returned)

    def before(change: Change) -> None:
        nonlocal count, previous, dead
        if dead:
            raise Dead
        catch_up()
        count += 1
        if count == die_at:
            dead = True
            raise Dead
        previous = change
        if change.kind == "fsync":
            journal.synced(change.path)  # with what is in it now, not with what is written afterwards

    watched = Watched(folder, before)
    for number, work in enumerate(works):
        try:
            work(folder)
            returned = number + 1
        except Dead:
            dead = False
            disk._BEGAN = disk.time.monotonic_ns()  # the next process, which may have the same number
        watched.asleep = True
        catch_up()
        watched.asleep = False
        first = count if number == 0 else first
    watched.asleep = True
    for handle in journal.handles:
        os.close(handle)
    return len(seen), first


def _rebuild(tree: dict[str, bytes | None], place: Path) -> None:
    place.mkdir(parents=True)
    for name, content in sorted(tree.items()):
        path = place / name.removeprefix("/")
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
