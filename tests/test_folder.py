import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import ArtefactError, ResourceError, UsageError
from foretext.folder import (
    fingerprint,
    is_sealed,
    locked,
    open_sealed,
    read_arrays,
    read_json,
    remove_leftovers,
    sealing,
    write_arrays,
    write_json,
)

ARRAYS = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], dtype=np.int64)}


def write(path: Path, *, value: int = 1, replace: bool = False) -> None:
    with sealing(path, kind="test", key="k", meta={"value": value}, replace=replace) as draft:
        write_arrays(draft / "w.safetensors", {name: a + value for name, a in ARRAYS.items()})
        (draft / "sub").mkdir()
        (draft / "sub" / "note.txt").write_text(f"note {value}")


def test_round_trip(tmp_path: Path) -> None:
    write(tmp_path / "x")
    sealed = open_sealed(tmp_path / "x", kind="test")
    assert (sealed.kind, sealed.key, sealed.meta) == ("test", "k", {"value": 1})
    assert sorted(sealed.files) == ["sub/note.txt", "w.safetensors"]
    arrays = read_arrays(tmp_path / "x" / "w.safetensors")
    assert all(np.array_equal(arrays[n], a + 1) and arrays[n].dtype == a.dtype for n, a in ARRAYS.items())
    assert os.listdir(tmp_path) == ["x"]


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    write(tmp_path / "x")
    write(tmp_path / "y")
    for name in ("foretext.json", "w.safetensors"):
        assert (tmp_path / "x" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_existing_is_refused_and_replaced_on_request(tmp_path: Path) -> None:
    write(tmp_path / "x")
    with pytest.raises(UsageError, match="exists"):
        write(tmp_path / "x", value=2)
    write(tmp_path / "x", value=2, replace=True)
    assert open_sealed(tmp_path / "x").meta == {"value": 2}
    assert os.listdir(tmp_path) == ["x"]


def test_an_exception_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="boom"), sealing(tmp_path / "x", kind="test"):
        raise RuntimeError("boom")
    assert os.listdir(tmp_path) == []


def test_exit_codes(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        open_sealed(tmp_path / "absent")
    (tmp_path / "plain").mkdir()
    with pytest.raises(ArtefactError):
        open_sealed(tmp_path / "plain")
    write(tmp_path / "x")
    with pytest.raises(ArtefactError, match="expected a store folder"):
        open_sealed(tmp_path / "x", kind="store")


@settings(deadline=None, max_examples=150)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), which=st.integers(0, 2))
def test_every_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, where: float, bit: int, which: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "x"
    write(path)
    file = path / ("foretext.json", "w.safetensors", "sub/note.txt")[which]
    raw = bytearray(file.read_bytes())
    raw[int(where * len(raw))] ^= 1 << bit
    file.write_bytes(raw)
    with pytest.raises(ArtefactError):
        open_sealed(path)


@pytest.mark.parametrize("name", ["foretext.json", "w.safetensors", "sub/note.txt"])
def test_every_truncation_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path / "x")
    raw = (tmp_path / "x" / name).read_bytes()
    for length in range(0, len(raw), 16):
        (tmp_path / "x" / name).write_bytes(raw[:length])
        with pytest.raises(ArtefactError):
            open_sealed(tmp_path / "x")


def test_damage_names_the_tensor(tmp_path: Path) -> None:
    write(tmp_path / "x")
    file = tmp_path / "x" / "w.safetensors"
    raw = bytearray(file.read_bytes())
    at = raw.index((ARRAYS["b.weight"] + 1).tobytes())
    raw[at + 9] ^= 4
    file.write_bytes(raw)
    with pytest.raises(ArtefactError, match=r"tensor b\.weight"):
        open_sealed(tmp_path / "x")


def test_missing_and_surplus_files(tmp_path: Path) -> None:
    write(tmp_path / "x")
    (tmp_path / "x" / "more.txt").write_text("?")
    with pytest.raises(ArtefactError, match=r"more\.txt"):
        open_sealed(tmp_path / "x")
    (tmp_path / "x" / "more.txt").unlink()
    (tmp_path / "x" / "sub" / "note.txt").unlink()
    with pytest.raises(ArtefactError, match=r"note\.txt"):
        open_sealed(tmp_path / "x")


CALLS = ("fsync", "rename", "mkdir")


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("call", CALLS)
def test_every_failing_call_leaves_old_or_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, replace: bool
) -> None:
    """Fail the nth fsync, rename or mkdir for every n: the folder is the old one or the new one, and always opens."""
    for nth in range(1, 40):
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        if replace:
            write(tmp_path / "x", value=1)
        with monkeypatch.context() as patch:
            calls = _fail_nth(patch, call, nth)
            with contextlib.suppress(ResourceError):
                write(tmp_path / "x", value=2, replace=replace)
        if replace or (tmp_path / "x").exists():
            assert open_sealed(tmp_path / "x").meta["value"] in ((1, 2) if replace else (2,))
        if calls() < nth:
            return
    raise AssertionError("never ran to the end")


def _fail_nth(patch: pytest.MonkeyPatch, call: str, nth: int):  # type: ignore[no-untyped-def]
    real, count = getattr(os, call), 0

    def counted(*args, **kwargs):  # type: ignore[no-untyped-def]
        nonlocal count
        count += 1
        if count == nth:
            raise OSError(28, "No space left on device")
        return real(*args, **kwargs)

    patch.setattr(os, call, counted)
    return lambda: count


DIE = """
import os, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_folder
nth, count = int(sys.argv[2]), 0
def wrap(real):
    def counted(*a, **k):
        global count
        count += 1
        if count == nth: os._exit(9)
        return real(*a, **k)
    return counted
os.fsync, os.rename = wrap(os.fsync), wrap(os.rename)
test_folder.write(Path(sys.argv[1]), value=2, replace=True)
"""


def test_dying_at_every_call_leaves_old_or_new(tmp_path: Path) -> None:
    for nth in range(1, 30):
        path = tmp_path / f"{nth}" / "x"
        write(path, value=1)
        code = DIE.format(tests=str(Path(__file__).parent))
        done = subprocess.run([sys.executable, "-c", code, str(path), str(nth)], check=False)
        assert open_sealed(path).meta["value"] in (1, 2)
        remove_leftovers(path.parent)
        assert [n for n in os.listdir(path.parent) if n != "x"] in ([], [".partial-old-x"])
        if done.returncode == 0:
            assert open_sealed(path).meta["value"] == 2
            return
        assert done.returncode == 9
    raise AssertionError("never ran to the end")


def test_lock_refuses_a_second_writer(tmp_path: Path) -> None:
    with locked(tmp_path / "x"), pytest.raises(UsageError, match="another foretext process"), locked(tmp_path / "x", wait=False):
        pass
    with locked(tmp_path / "x", wait=False):
        pass
    assert os.listdir(tmp_path) == []


COUNT = """
import sys; from pathlib import Path; from foretext.folder import locked
for _ in range(200):
    with locked(Path(sys.argv[1])):
        n = int(Path(sys.argv[2]).read_text()); Path(sys.argv[2]).write_text(str(n + 1))
"""


def test_writers_that_wait_take_turns(tmp_path: Path) -> None:
    (tmp_path / "n").write_text("0")
    command = [sys.executable, "-c", COUNT, str(tmp_path / "x"), str(tmp_path / "n")]
    writers = [subprocess.Popen(command) for _ in range(3)]
    assert [w.wait() for w in writers] == [0, 0, 0]
    assert (tmp_path / "n").read_text() == "600"


def test_json_and_fingerprint(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, "é"]})
    assert read_json(tmp_path / "a.json") == {"a": [1.5, "é"], "b": 1}
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ArtefactError):
        read_json(tmp_path / "a.json")
    assert fingerprint("ab", "c") != fingerprint("a", "bc")
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    assert not is_sealed(tmp_path)


def test_a_single_number_keeps_its_shape(tmp_path: Path) -> None:
    given = {"gamma": np.array(1.5, np.float32), "across": np.arange(6.0).reshape(2, 3).T}
    write_arrays(tmp_path / "a.safetensors", given)
    found = read_arrays(tmp_path / "a.safetensors")
    assert {name: array.shape for name, array in found.items()} == {"gamma": (), "across": (3, 2)}
    assert all(np.array_equal(found[name], array) for name, array in given.items())
