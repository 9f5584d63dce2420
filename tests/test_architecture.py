"""The layout shows the architecture: a module imports only from lower levels, or from its own folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "foretext"
LEVELS = {
    0: ("errors", "config", "disk", "pickles", "draws", "folder", "types", "kernels"),
    1: ("text", "metrics", "layers", "datasets"),
    2: ("models", "data"),
    3: ("heads", "objectives", "tasks"),
    4: ("training",),
    5: (
        "recipe", "bundle", "inference", "first_vectors", "steppers", "budget", "preflight", "pretraining", "resuming",
        "adapted", "prediction", "strategies", "features", "transferring", "extending",
    ),
    6: ("evaluation", "interop"),
    7: ("recipes", "baselines", "ladder"),
    8: ("api", "cli", "demo", "web", "__init__", "__main__"),
}
LEVEL_OF = {name: level for level, names in LEVELS.items() for name in names}
SIDE_BY_SIDE = (0, 5, 7)
MODULES = sorted(SOURCE.rglob("*.py"))


def room(parts: tuple[str, ...]) -> str:
    return parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Every foretext module that `file` imports, wherever in the file the import stands (TYPE_CHECKING too)."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative import"
            names = [node.module or ""] if node.module != "foretext" else [f"foretext.{a.name}" for a in node.names]
        elif isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            continue
        for name in names:
            parts = tuple(name.split("."))
            if parts[0] == "foretext" and len(parts) > 1:
                yield node.lineno, parts[1:]


@pytest.mark.parametrize("file", MODULES, ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_imports_go_downwards(file: Path) -> None:
    own = file.relative_to(SOURCE).parts
    level = LEVEL_OF[room(own)]
    for line, target in imports(file):
        name = room(target)
        # These levels hold parts of one job side by side: they may import one another, without a cycle (tested below).
        beside = level in (*SIDE_BY_SIDE, 8) and LEVEL_OF.get(name) == level
        assert name == room(own) or LEVEL_OF.get(name, 0) < level or beside, (
            f"{file}:{line}: level {level} imports {'.'.join(target)} of level {LEVEL_OF.get(name)}"
        )
        if own[0] == "models" and len(own) == 3 and target[0] == "models" and len(target) > 2:
            assert target[1] == own[1] or target[1] in ("static", "catalog"), f"{file}:{line}: a family room imports another"


def test_every_module_has_a_level() -> None:
    for file in MODULES:
        assert room(file.relative_to(SOURCE).parts) in LEVEL_OF, f"{file} has no level: add it to LEVELS"


@pytest.mark.parametrize("level", SIDE_BY_SIDE)
def test_no_cycle_within_a_level(level: int) -> None:
    graph: dict[str, set[str]] = {}
    for file in MODULES:
        name = room(file.relative_to(SOURCE).parts)
        if LEVEL_OF[name] == level:
            graph.setdefault(name, set()).update(room(target) for _, target in imports(file))
    done: set[str] = set()
    while graph:
        free = [name for name, needs in graph.items() if not (needs & set(graph)) - {name}]
        assert free, f"a cycle among {sorted(graph)}"
        done.update(free)
        graph = {name: needs for name, needs in graph.items() if name not in done}


@pytest.mark.parametrize("file", MODULES, ids=lambda f: f.relative_to(SOURCE).as_posix())
def test_files_fit_a_sitting(file: Path) -> None:
    text = file.read_text()
    assert len(text.splitlines()) <= 400, "split it"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{file}:{node.lineno}: {node.name} is longer than a screen"


def test_no_pickle_and_no_registry() -> None:
    for file in MODULES:
        tree = ast.parse(file.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = [a.name for a in node.names] + [getattr(node, "module", "") or ""]
                assert not {"pickle", "dill", "joblib", "shelve"} & {n.split(".")[0] for n in names}, file
