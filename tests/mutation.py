"""Mutation testing of the modules on which trust rests: `make mutation`, or `python tests/mutation.py [MODULE …]`.

cosmic-ray makes the mutants: one operator, constant, condition, loop or decorator changed at a time. They run here
instead of under its own command, which would start Python and torch anew for each (four seconds): this process imports
everything and runs the module's tests once, noting which functions each test calls; then it forks a child a mutant,
which imports the mutated module (and what imports that) afresh and runs only the tests that reach the change, the
fastest first, up to the first failure. Nothing on the disk is altered.

Counted: killed = a test failed; timeout = more than ten times the CPU seconds of all its tests, and at least ten;
survived = all tests passed, none reached it included. Score = (killed + timeout) / (killed + timeout + survived).
Left out, and counted apart: mutants that cannot even be imported. No mutants at all are made of annotations, which
nothing evaluates for its value, nor of `|` between types.
"""

import argparse
import ast
import contextlib
import importlib
import importlib.util
import io
import itertools
import json
import os
import random
import resource
import signal
import sys
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"

# Tests that start or kill processes, or draw hundreds of examples, would run for every mutant they reach.
SLOW = "fails or dies or power_cut or last_of_a_process or take_turns or killed or terminated or fresh_process or pipe"
FUZZ = "flipped_bit or the_byte_named or any_bytes or real_chinese or giant or five_gigabytes or about_equal or plain_search"

TESTS: dict[str, tuple[str, ...]] = {
    "foretext.layers.softmax": ("tests/layers/test_softmax.py",),
    "foretext.heads.sequence": ("tests/heads/test_sequence.py",),
    "foretext.heads.vocabulary": ("tests/heads/test_vocabulary.py",),
    "foretext.heads.classify": ("tests/heads/test_classify.py",),
    "foretext.objectives": ("tests/test_objectives.py",),
    "foretext.training.checkpoint": ("tests/training/test_checkpoint.py",),
    "foretext.training.run": ("tests/training/test_shell.py", "tests/training/test_run.py"),
    "foretext.folder": ("tests/test_folder_refusals.py", "tests/test_folder.py"),
    "foretext.text.readers": ("tests/text/test_paragraphs.py", "tests/text/test_readers.py"),
    "foretext.text.records": ("tests/text/test_records.py", "tests/text/test_readers.py"),
    "foretext.text.sources": ("tests/text/test_sources.py", "tests/text/test_readers.py", "tests/text/test_corpus.py"),
}
"""The critical modules, and the tests that must notice any change in them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change: cosmic-ray's operator and its occurrence, the lines it touches, the changed text, the whole module."""

    operator: str
    occurrence: int
    line: int
    change: str
    source: str


@dataclass(slots=True, kw_only=True)
class Reach:
    """One test: the lines of the module's functions that it entered (their `def` lines), and its seconds."""

    functions: set[int] = field(default_factory=set)
    seconds: float = 0.0


# ── mutants ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def places_of(source: str) -> list[tuple[str, int, int]]:
    """(operator, occurrence, line) of every change that cosmic-ray can make to a module. Not the stars of `*, name`, `*args`
    and `**rest`, which it takes for products."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    annotated = _annotations(ast.parse(source))
    nodes, rows = list(ast_nodes(get_ast(source))), source.splitlines()
    found = []
    for name in operator_names():
        operator_class = get_operator(name)
        if operator_class.arguments():
            continue  # those that need names told
        places = [at for node in nodes for at in operator_class().mutation_positions(node)]
        for occurrence, (start, _) in enumerate(places):
            before = rows[start[0] - 1][: start[1]].rstrip()
            starred = rows[start[0] - 1].startswith("*", start[1]) and before[-1:] in ("", "(", "[", "{", ",", "*")
            if not starred and not any(first <= start < last for first, last in annotated):
                found.append((name, occurrence, start[0]))
    return found


def made(source: str, operator: str, occurrence: int, line: int) -> Mutant | None:
    """The mutant; None where the change is none, or no Python, or cosmic-ray fails (on `except (a.B, C)`)."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    try:
        changed = mutate_code(source, get_operator(operator)(), occurrence)
        with warnings.catch_warnings(action="ignore"):  # that "x is 3" looks odd
            compile(changed or "", operator, "exec")
    except (AttributeError, SyntaxError):
        return None
    if changed is None or changed == source:
        return None
    rows, now = source.splitlines(), changed.splitlines()
    at = next((i for i, (old, new) in enumerate(zip(rows, now, strict=False)) if old != new), len(now) - 1)
    change = f"{rows[at].strip()}  →  {now[at].strip()}"
    return Mutant(operator=operator, occurrence=occurrence, line=line, change=change, source=changed)


def _annotations(tree: ast.AST) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Where types stand: annotations, and what is assigned to a TypeAlias."""
    spans: list[ast.expr | None] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            spans.append(node.annotation)
        elif isinstance(node, ast.FunctionDef):
            spans.append(node.returns)
        elif isinstance(node, ast.AnnAssign):
            spans += [node.annotation, node.value if ast.unparse(node.annotation) == "TypeAlias" else None]
    return [
        ((e.lineno, e.col_offset), (e.end_lineno or e.lineno, e.end_col_offset or 0)) for e in spans if e is not None
    ]


def _functions(source: str) -> list[tuple[int, int]]:
    """(first line, last line) of every function, decorators left out: they run at import."""
    tree = ast.parse(source)
    return [(n.lineno, n.end_lineno or n.lineno) for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]


def _enclosing(functions: list[tuple[int, int]], line: int) -> int | None:
    """The innermost function whose body holds `line`; None = what runs at import, a signature's line included."""
    inside = [first for first, last in functions if first < line <= last]
    return max(inside, default=None)


# ── running tests ───────────────────────────────────────────────────────────────────────────────────────────────────


class Recorder:
    """A pytest plugin: which functions of `file` each test enters, its seconds, and whether all passed."""

    def __init__(self, file: str) -> None:
        self.file, self.reached, self.failed = file, {}, 0
        self.now: Reach | None = None

    def _trace(self, frame: FrameType, event: str, argument: Any) -> None:
        if self.now is not None and frame.f_code.co_filename == self.file:
            self.now.functions.add(frame.f_code.co_firstlineno)

    def pytest_runtest_protocol(self, item: Any, nextitem: Any) -> None:
        import threading

        self.now = self.reached[item.nodeid] = Reach()
        self.now.seconds = -time.process_time()
        threading.setprofile(self._trace)
        sys.setprofile(self._trace)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self.failed += report.failed
        if report.when == "teardown" and self.now is not None:
            sys.setprofile(None)
            self.now.seconds += time.process_time()


def _pytest(arguments: Sequence[str], plugins: Sequence[object] = ()) -> int:
    import pytest

    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(ROOT / "tests")) and name != __name__:
            del sys.modules[name]
    return int(pytest.main(["-W", "ignore", *arguments], plugins=list(plugins)))


def _quick() -> None:
    """No shrinking, no data base, the same examples for every mutant; and nothing waits for the disk."""
    from hypothesis import Phase, settings

    settings.register_profile("mutation", derandomize=True, database=None, phases=[Phase.explicit, Phase.generate])
    settings.load_profile("mutation")
    os.fsync = lambda handle: None


def _dependents(name: str) -> list[str]:
    """The loaded modules that hold the module `name`, or something that does: they must be imported afresh as well."""
    ours = {key: module for key, module in sys.modules.items() if key.split(".")[0] == "foretext"}
    imports = {key: _imports(module) for key, module in ours.items()}
    stale = {name}
    while more := {key for key, wanted in imports.items() if wanted & stale} - stale:
        stale |= more
    return sorted(stale & set(ours))


def _imports(module: ModuleType) -> set[str]:
    file = getattr(module, "__file__", None)
    found: set[str] = set()
    for node in ast.walk(ast.parse(Path(file).read_text())) if file else ():
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


class Mutated:
    """Import hooks that give `name` another source."""

    def __init__(self, name: str, file: Path, source: str) -> None:
        self.name, self.file, self.source = name, file, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        return importlib.util.spec_from_file_location(name, self.file, loader=self)  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self.source, str(self.file), "exec"), module.__dict__)


# ── one mutant, one module ──────────────────────────────────────────────────────────────────────────────────────────

KILLED, SURVIVED, BROKEN = 10, 11, 12


def judge(name: str, file: Path, mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
    """Run `tests` against the mutant in a forked child: killed, survived, timeout, or broken (it cannot be imported)."""
    if not tests:
        return "survived"
    pid = os.fork()
    if pid == 0:
        code = BROKEN
        try:
            os.setsid()
            quiet = os.open(os.devnull, os.O_RDWR)
            os.dup2(quiet, 1)
            os.dup2(quiet, 2)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            most = int(time.process_time() + max(10.0, 10 * seconds)) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
            signal.alarm(300)  # it may wait for a lock that it holds itself
            for stale in _dependents(name):
                del sys.modules[stale]
            sys.meta_path.insert(0, Mutated(name, file, mutant.source))  # type: ignore[arg-type]
            importlib.import_module(name)
            code = SURVIVED if _pytest(["-x", *tests]) == 0 else KILLED
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what its tests may have left running
    if os.WIFSIGNALED(status):
        return "timeout" if os.WTERMSIG(status) in (signal.SIGXCPU, signal.SIGKILL, signal.SIGALRM) else "killed"
    return {KILLED: "killed", SURVIVED: "survived", BROKEN: "broken"}.get(os.WEXITSTATUS(status), "killed")


def examine(name: str, sample: int, seed: int) -> Iterator[tuple[Mutant | None, str]]:
    """First (None, how many mutants there are), then each examined mutant with its fate."""
    module = importlib.import_module(name)
    file = Path(module.__file__ or "")
    source = file.read_text()
    recorder = Recorder(str(file))
    if _pytest(["-k", f"not ({SLOW} or {FUZZ})", *TESTS[name]], [recorder]) != 0:
        raise SystemExit(f"{name}: its tests fail without any change ({recorder.failed})")
    places = places_of(source)
    random.Random(seed).shuffle(places)
    mutants = (mutant for place in places if (mutant := made(source, *place)) is not None)
    yield None, str(len(places))
    functions = _functions(source)
    # A decorated function's code begins at its first decorator.
    tops = {n.lineno: min([n.lineno, *(d.lineno for d in n.decorator_list)]) for n in ast.walk(ast.parse(source)) if isinstance(n, ast.FunctionDef)}  # fmt: skip
    for mutant in itertools.islice(mutants, sample or None):
        function = _enclosing(functions, mutant.line)
        hit = {test: reach for test, reach in recorder.reached.items() if function is None or tops[function] in reach.functions}
        order = sorted(hit, key=lambda test: hit[test].seconds)
        yield mutant, judge(name, file, mutant, order, sum(reach.seconds for reach in hit.values()))


def main() -> None:
    """Print a line a survivor and a row a module; `--out FILE` keeps every fate as JSON lines."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("modules", nargs="*", help="such as foretext.folder; all where none is named")
    parser.add_argument("--sample", type=int, default=0, help="at most this many mutants a module, drawn with --seed; 0 = all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="keep every mutant's fate, as JSON lines")
    told = parser.parse_args()
    os.chdir(ROOT)
    sys.path[:0] = [str(SOURCE), str(ROOT / "tests")]
    _quick()
    out = told.out.open("a") if told.out else io.StringIO()
    with out:
        for name in told.modules or TESTS:
            began, counts, total = time.monotonic(), Counter[str](), "0"
            for mutant, fate in examine(name, told.sample, told.seed):
                if mutant is None:
                    total = fate
                    continue
                counts[fate] += 1
                out.write(json.dumps({"module": name, "fate": fate, "line": mutant.line, "operator": mutant.operator, "change": mutant.change}) + "\n")  # fmt: skip
                out.flush()
                if fate == "survived":
                    print(f"  {name}:{mutant.line}  {mutant.change}", flush=True)
            caught = counts["killed"] + counts["timeout"]
            examined = caught + counts["survived"]
            score = f"{caught / examined:.1%}" if examined else "–"
            print(f"{name}: {score} = {caught} of {examined} ({counts['timeout']} by timeout; {counts['broken']} more cannot be "
                  f"imported; {total} mutants in all; {time.monotonic() - began:.0f} s)", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
