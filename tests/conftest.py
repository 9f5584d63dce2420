"""Fixtures that every test may use. Tests bring their own miniature world; real data sets are optional."""

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
_BESIDE = Path(__file__).parent.parent.parent / "shared" / "data"
if _BESIDE.is_dir():  # as the Makefile has it, for whoever calls pytest without make
    os.environ.setdefault("FORETEXT_DATA", str(_BESIDE))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or fills the user's cache."""
    monkeypatch.setenv("FORETEXT_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """A run gives torch as many threads as there are cores, for the rest of its process. The next test starts with one
    again: threads of two test processes on the same cores wait for one another, at five times the processor time."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def data_set() -> Callable[[str], Path]:
    """`data_set("en/brown/brown.zip")` → its path under FORETEXT_DATA, or the test skips and says which set it lacks."""

    def find(name: str) -> Path:
        root = os.environ.get("FORETEXT_DATA")
        path = Path(root or "") / name
        if not root or not path.exists():
            pytest.skip(f"data set {name} is not there (FORETEXT_DATA={root or 'unset'})")
        return path

    return find


def pytest_configure(config: pytest.Config) -> None:
    """One thread a test process, from its collection on: xdist already uses every core, and numbers repeat."""
    import torch

    torch.set_num_threads(1)


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Millions of objects come into being here and stay: looking through them again and again for garbage would take a
    third of the collection's time, and a twentieth of the tests'."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long proofs run only when asked for: `pytest -m soak` (`make soak`). They are left out and not skipped: a skip is a
    test that this machine could not run, and among scores of others nobody would see it."""
    if "soak" in (config.getoption("-m") or ""):
        return
    long = [item for item in items if item.get_closest_marker("soak")]
    if long:
        items[:] = [item for item in items if not item.get_closest_marker("soak")]
        config.hook.pytest_deselected(items=long)
