"""The limited process: results and errors come back, limits hold, nothing else does."""

import os
import time
from pathlib import Path
from typing import Any

import pytest

from foretext.errors import ArtefactError
from foretext.interop.sandbox import limited

HERE = "interop.test_sandbox"


@pytest.fixture(autouse=True)
def reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH", "")]))


# What the other process is asked to do, by name.


def double(argument: Any) -> Any:
    return {"twice": argument * 2}


def refuse(argument: Any) -> Any:
    raise ArtefactError("no good", file="theirs", place="line 3", remedy="mend it")


def spin(argument: Any) -> Any:
    while True:
        pass


def swell(argument: Any) -> Any:
    return len(bytearray(argument << 20))


def abort(argument: Any) -> Any:
    os.abort()


def recurse(argument: Any) -> Any:
    return recurse(argument)


def write(argument: Any) -> Any:
    with open(argument, "w") as file:
        file.write("x")
    return True


def test_a_result_and_an_error_come_back() -> None:
    assert limited(f"{HERE}:double", "河\u0000x") == {"twice": "河\0x河\0x"}
    with pytest.raises(ArtefactError) as caught:
        limited(f"{HERE}:refuse", None)
    assert caught.value.message == "theirs:line 3: no good; mend it"


def test_time_is_limited() -> None:
    began = time.monotonic()
    with pytest.raises(ArtefactError, match="signal") as caught:
        limited(f"{HERE}:spin", None, seconds=1, about="their.json")
    assert "their.json" in caught.value.message
    assert time.monotonic() - began < 65  # one second of its own, on a machine that may be busy


@pytest.mark.parametrize(("name", "argument"), [("swell", 4000), ("abort", None), ("recurse", None)])
def test_memory_crashes_and_recursion_are_one_error(name: str, argument: Any) -> None:
    with pytest.raises(ArtefactError):
        limited(f"{HERE}:{name}", argument, megabytes=1024)
    if name == "swell":
        assert limited(f"{HERE}:swell", 10, megabytes=1024) == 10 << 20


def test_it_writes_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError):
        limited(f"{HERE}:write", str(tmp_path / "made"))
    assert not (tmp_path / "made").exists() or (tmp_path / "made").stat().st_size == 0
