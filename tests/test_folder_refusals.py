"""Sealed folders, locks and JSON: every refusal names its file, its rule and its cure, and leaves nothing behind."""

import errno
import fcntl
import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from foretext.errors import ArtefactError, ResourceError, UsageError
from foretext.folder import (
    fingerprint,
    is_finished,
    locked,
    open_sealed,
    read_arrays,
    read_json,
    read_record,
    sealing,
    work_folder,
    write_arrays,
    write_json,
    write_record,
)

ARRAYS = {"b.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "a": np.array([1, 2], dtype=np.int64)}


def write(path: Path, *, value: int = 1, replace: bool = False) -> None:
    with sealing(path, kind="test", key="k", meta={"value": value}, replace=replace) as draft:
        write_arrays(draft / "w.safetensors", ARRAYS)
        (draft / "sub").mkdir()
        (draft / "sub" / "note.txt").write_text(f"note {value}")


def test_whoever_comes_first_has_the_name(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="exists already") as caught, sealing(tmp_path / "x", kind="test"):
        write(tmp_path / "x", value=7)
    assert caught.value.file == str(tmp_path / "x")
    assert open_sealed(tmp_path / "x").meta == {"value": 7}
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize(("number", "replace"), [(errno.EIO, False), (errno.EIO, True), (errno.ENOTEMPTY, True)])
def test_another_trouble_with_the_name_is_the_disks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, replace: bool
) -> None:
    def refuse(draft: Path, path: Path, *, replace: bool) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("foretext.folder.publish", refuse)
    with pytest.raises(ResourceError, match=os.strerror(number)) as caught:
        write(tmp_path / "x", replace=replace)
    assert caught.value.file == str(tmp_path / "x")


def test_an_error_without_words_is_shown_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no number")

    monkeypatch.setattr("foretext.folder.make_folder", refuse)
    for work in (lambda: write(tmp_path / "x"), lambda: write_json(tmp_path / "a", 1), locked(tmp_path / "l").__enter__):
        with pytest.raises(ResourceError, match="cannot write: no number"):
            work()


def test_a_work_folder_waits_beside_its_output(tmp_path: Path) -> None:
    out, work = tmp_path / "x", tmp_path / "x.run"
    assert not is_finished(out)
    assert work_folder(out, resume=False) == work_folder(out, resume=True) == work
    (work / "checkpoints").mkdir(parents=True)
    (work / "checkpoints" / "step-00000001").write_text("x")
    with pytest.raises(UsageError, match="--resume") as caught:
        work_folder(out, resume=False)
    assert caught.value.file == str(work)
    assert work_folder(out, resume=True) == work
    assert not is_finished(out)
    assert work.exists()
    write(out)
    assert is_finished(out)
    assert os.listdir(tmp_path) == ["x"]
    for resume in (False, True):
        with pytest.raises(UsageError, match="exists already"):
            work_folder(out, resume=resume)


def test_the_folder_that_one_stands_in_has_a_work_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "x")
    (tmp_path / "x" / "y").mkdir()
    for here, out in (("x", "."), ("x/y", "..")):
        (tmp_path / "x.run").mkdir()
        monkeypatch.chdir(tmp_path / here)
        assert is_finished(Path(out))
        assert not (tmp_path / "x.run").exists()


def test_a_run_that_saved_nothing_stands_in_nobodys_way(tmp_path: Path) -> None:
    out, work = tmp_path / "x", tmp_path / "x.run"
    (work / "checkpoints").mkdir(parents=True)
    for name in ("run.json", "log.jsonl", ".checkpoints.lock"):
        (work / name).write_text("{}")
    assert work_folder(out, resume=True) == work
    assert work.exists()
    assert work_folder(out, resume=False) == work
    assert not work.exists()
    for kept in ("checkpoints/step-00000002/manifest.json", "diverged-step-2.npz", "before/files/run"):
        for name in ("run.json", "log.jsonl", kept):
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            (work / name).write_text("{}")
        with pytest.raises(UsageError, match="unfinished run"):
            work_folder(out, resume=False)
        shutil.rmtree(work)


def test_what_is_no_sealed_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "plain").mkdir()
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "foretext.json").mkdir()
    for name in ("file", "plain", "odd"):
        with pytest.raises(ArtefactError, match=r"no foretext\.json") as caught:
            open_sealed(tmp_path / name)
        assert caught.value.file == str(tmp_path / name)


def test_a_manifest_of_another_version_and_one_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("foretext.folder.FORMAT", 2)
        write(tmp_path / "x")
        assert open_sealed(tmp_path / "x").meta == {"value": 1}
    with pytest.raises(ArtefactError, match="manifest format 2, this version reads 1"):
        open_sealed(tmp_path / "x")
    write(tmp_path / "y")
    raw = (tmp_path / "y" / "foretext.json").read_bytes()
    for wrong in (
        b"[]", b"{}", b'{"seal":"' + b"0" * 64 + raw[73:], raw.replace(b"}\n", b'},"more":1}\n', 1), raw + b" ", b"\xff", b"[" * 10**5,
        b'{"more":1,' + raw[1:],
    ):  # fmt: skip
        (tmp_path / "y" / "foretext.json").write_bytes(wrong)
        with pytest.raises(ArtefactError, match="manifest") as caught:
            open_sealed(tmp_path / "y", verify=False)
        assert caught.value.file == str(tmp_path / "y" / "foretext.json")


def test_bytes_are_read_only_where_asked(tmp_path: Path) -> None:
    write(tmp_path / "x")
    note = tmp_path / "x" / "sub" / "note.txt"
    note.write_text("NOTE 1")
    assert open_sealed(tmp_path / "x", verify=False).kind == "test"
    with pytest.raises(ArtefactError, match="checksum differs") as caught:
        open_sealed(tmp_path / "x")
    assert (caught.value.file, caught.value.place) == (str(note), "")
    note.write_text("longer than before")
    with pytest.raises(ArtefactError, match="18 bytes where 6 were written"):
        open_sealed(tmp_path / "x")
    note.unlink()
    note.symlink_to("nowhere")
    with pytest.raises(ArtefactError, match="cannot read: No such file"):
        open_sealed(tmp_path / "x")


def test_damage_outside_the_tensors_is_the_headers(tmp_path: Path) -> None:
    write(tmp_path / "x")
    file = tmp_path / "x" / "w.safetensors"
    raw = file.read_bytes()
    renamed = raw.replace(b'"b.weight"', b'"b.weighs"')
    for changed, place in (
        (b"\xff" * 8 + raw[8:], "header"),  # its length
        (raw.replace(b"},", b"}\x20", 1), "header"),
        (renamed, "tensor b.weight"),
        (raw.replace(b"[2,3]", b"[3,2]"), "tensor b.weight"),
        (raw.replace(b'"dtype":"I64","shape":[2]', b'"shape":[2],"dtype":"I64"'), "header"),  # reads alike
    ):
        assert len(changed) == len(raw) and changed != raw
        file.write_bytes(changed)
        with pytest.raises(ArtefactError) as caught:
            open_sealed(tmp_path / "x")
        assert caught.value.place == place


def test_a_lock_beside_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="cannot write") as caught, locked(tmp_path / "file" / "x"):
        pass
    assert caught.value.file == str(tmp_path / "file")
    with pytest.raises(ResourceError, match="cannot write"):
        write_json(tmp_path / "file" / "a.json", {})
    with pytest.raises(ResourceError, match="cannot write"):
        write(tmp_path / "file" / "x")


def test_a_lock_that_vanishes_while_one_waits_is_taken_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between opening the file and holding it, its owner removed it, or another has made a new one: try again."""
    real, file, tries = fcntl.flock, tmp_path / ".x.lock", []

    def lose(handle: int, how: int) -> None:
        real(handle, how)
        tries.append(how)
        if len(tries) <= 2:
            file.rename(tmp_path / f"other {len(tries)}")
        if len(tries) == 2:
            file.write_text("")

    monkeypatch.setattr(fcntl, "flock", lose)
    before = len(os.listdir("/proc/self/fd"))
    with locked(tmp_path / "x", wait=False):
        assert tries == [fcntl.LOCK_EX | fcntl.LOCK_NB] * 3
        assert len(os.listdir("/proc/self/fd")) == before + 1
        assert file.exists()
    assert len(os.listdir("/proc/self/fd")) == before
    with locked(tmp_path / "x"):
        assert tries[3:] == [fcntl.LOCK_EX]
    assert not file.exists()


def test_a_refused_lock_leaves_no_handle_open(tmp_path: Path) -> None:
    with locked(tmp_path / "x"):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(UsageError), locked(tmp_path / "x", wait=False):
                pass
        assert len(os.listdir("/proc/self/fd")) == before


def test_arrays_that_cannot_be_written_or_read(tmp_path: Path) -> None:
    with pytest.raises(ResourceError, match="cannot write") as refused:
        write_arrays(tmp_path / "no" / "a.safetensors", ARRAYS)
    assert refused.value.file == str(tmp_path / "no" / "a.safetensors")
    with pytest.raises(ArtefactError, match="missing"):
        read_arrays(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(b"half")
    with pytest.raises(ArtefactError, match="not a whole safetensors file"):
        read_arrays(tmp_path / "a.safetensors")


def test_json_that_is_not_there_damaged_or_written_by_another(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    with pytest.raises(ArtefactError, match="missing: No such file"):
        read_json(file)
    write_json(file, {"b": 1, "a": None})
    assert file.read_text() == '{\n "a": null,\n "b": 1\n}\n'
    assert os.listdir(tmp_path) == ["a.json"]
    assert read_json(file, exact=True) == {"a": None, "b": 1}
    file.write_text('{"b":1,"a":null}')
    assert read_json(file) == {"a": None, "b": 1}
    with pytest.raises(ArtefactError, match="not as they were written"):
        read_json(file, exact=True)
    for damage in (b"\xff", b'"\xff"', b"[" * 100_000):
        file.write_bytes(damage)
        with pytest.raises(ArtefactError, match="damaged JSON"):
            read_json(file)


def test_a_record_is_what_was_written_or_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    write_record(file, {"n": [1, 2]})
    assert read_record(file) == {"n": [1, 2]}
    seal = fingerprint({"n": [1, 2]})
    for wrong in ([], {"seal": seal}, {"seal": seal, "value": {"n": [1, 3]}}, {"seal": seal, "value": {"n": [1, 2]}, "more": 1}):
        write_json(file, wrong)
        with pytest.raises(ArtefactError, match="its own checksum") as caught:
            read_record(file)
        assert caught.value.file == str(file)


def test_a_fingerprint_is_the_documented_digest() -> None:
    assert fingerprint() == hashlib.blake2b(digest_size=16).hexdigest()
    parts = (b"ab", b'"c"', b'{"a":1,"b":2}')  # bytes as they are; strings and values as JSON with sorted keys
    whole = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    assert fingerprint(b"ab", "c", {"b": 2, "a": 1}) == hashlib.blake2b(whole, digest_size=16).hexdigest()
