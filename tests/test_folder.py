import errno
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import faults
from foretext.disk import remove_leftovers
from foretext.errors import ArtefactError, UsageError
from foretext.folder import (
    fingerprint,
    is_sealed,
    locked,
    open_sealed,
    read_arrays,
    read_json,
    sealing,
    write_arrays,
    write_json,
)

ARRAYS = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], dtype=np.int64), "one": np.array(3.0, dtype=np.float32)}


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
    for name, array in ARRAYS.items():
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(arrays[name], array + 1)
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
    with pytest.raises(ArtefactError, match="expected a folder of kind store, found one of kind test"):
        open_sealed(tmp_path / "x", kind="store")
    with pytest.raises(ArtefactError, match="expected a folder of kind zebra, found one of kind test"):
        open_sealed(tmp_path / "x", kind="zebra")


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


# ── every change fails once and dies once; what was not synced is lost ──────────────────────────────────────────────


def old_one(folder: Path) -> None:
    write(folder / "x", value=1)
    write_json(folder / "run.json", {"value": 1})


def nothing(folder: Path) -> None: ...


def new_folder(folder: Path) -> None:
    write(folder / "far" / "away" / "x", value=2)


def replaced(folder: Path) -> None:
    write(folder / "x", value=2, replace=True)


def json_written(folder: Path) -> None:
    write_json(folder / "run.json", {"value": 2})


def value_of(path: Path) -> int | None:
    """The value in there, whole; None where there is nothing. Damage raises."""
    if path.suffix == ".json":
        return read_json(path)["value"] if path.exists() else None
    try:
        return open_sealed(path).meta["value"]
    except UsageError:  # no such folder
        return None


SAVES = {
    "new folder": (nothing, new_folder, "far/away/x", None),
    "replaced folder": (old_one, replaced, "x", 1),
    "replaced in two renames": (old_one, replaced, "x", 1),
    "new JSON": (nothing, json_written, "run.json", None),
    "replaced JSON": (old_one, json_written, "run.json", 1),
}
FULL, BROKEN = errno.ENOSPC, errno.EIO


@pytest.fixture(params=SAVES)
def save(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    if request.param == "replaced in two renames":
        monkeypatch.setattr("foretext.disk.exchange", lambda one, other: False)
    return SAVES[request.param]


def test_each_change_fails_once(tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    prepare, work, name, old = save

    def check(folder: Path, done: bool) -> None:
        assert value_of(folder / name) in ((2,) if done else (old, 2))

    assert faults.failing(prepare, work, check, tmp_path, (FULL, BROKEN)) >= 8
    full = faults.failing(prepare, work, check, tmp_path, (FULL,), forever=True, kept=("remove", "rmdir", "rename", "exchange"))
    assert full >= 3


def test_each_change_is_the_last_of_a_process(tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    prepare, work, name, old = save

    def check(folder: Path, done: bool) -> None:
        path = folder / name
        assert value_of(path) in ((2,) if done else (old, 2))
        if path.parent.exists():  # what it left is ignored, and goes with the next save
            work = write_json if path.suffix else None
            work(path, {"value": 3}) if work else write(path, value=3, replace=True)
            assert value_of(path) == 3
            assert not [left for left in os.listdir(path.parent) if left.startswith(".partial")]

    assert faults.dying(prepare, work, check, tmp_path) >= 5


def test_each_write_fails_or_dies(tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    """The kernel refuses to let a file grow beyond N bytes: the write that would fails, or ends the process."""
    prepare, work, name, old = save
    sizes = (*range(0, 40, 8), *range(64, 1100, 90))
    done = []
    for size in sizes:
        for dies in (False, True):
            folder = tmp_path / f"{size}-{dies}"
            folder.mkdir()
            prepare(folder)
            done.append(faults.limited(partial(work, folder), size, dies=dies))
            assert value_of(folder / name) in ((2,) if done[-1] else (old, 2))
    assert not done[0]
    assert done[-1]


def test_no_power_cut_loses_old_and_new(tmp_path: Path, save) -> None:  # type: ignore[no-untyped-def]
    """In every state that a power cut may leave: old or new, whole; once the save has returned, the new one."""
    prepare, work, name, old = save

    def again(folder: Path) -> None:
        value_of(folder / name)
        remove_leftovers((folder / name).parent)
        write_json(folder / name, {"value": 3}) if name.endswith(".json") else write(folder / name, value=3, replace=True)

    def check(folder: Path, returned: int) -> None:
        assert value_of(folder / name) in {0: (old, 2, 3), 1: (2, 3), 2: (3,)}[returned]

    # Killed first, then the power fails while the next process tidies up: of the kills those after the draft is whole.
    states = faults.forgetting(prepare, [work, again], check, tmp_path, deaths=lambda nth: nth in (1, 3, 9, 13, 14, 15))
    assert states > 20


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


def test_arrays_keep_their_shape_scalars_and_strided_views_too(tmp_path: Path) -> None:
    """A classifier's mix has a scalar; it once came back as a row of one, and `predict` refused its own folder."""
    given = {"scalar": np.array(1.5), "columns": np.arange(12.0).reshape(3, 4)[:, ::2], "none": np.zeros((0, 3))}
    write_arrays(tmp_path / "a.safetensors", given)
    found = read_arrays(tmp_path / "a.safetensors")
    assert {name: array.shape for name, array in found.items()} == {"scalar": (), "columns": (3, 2), "none": (0, 3)}
    assert all(np.array_equal(found[name], given[name]) for name in given)
