"""Checkpoints: what stays, what goes, and what a full disk or a killed writer leaves."""

import errno

import numpy as np
import pytest

import faults
from foretext.errors import ArtefactError, ResourceError
from foretext.training import checkpoint
from foretext.types import State


def state(n):
    arrays = {"a": np.full(3, n, np.float32), "b": np.arange(n), "c": np.array([2.5])}
    return State(arrays=arrays, cursor={"n": n, "x": 0.1 + 0.2, "none": None})


def damage(folder, step, name="arrays.safetensors"):
    file = folder / f"step-{step:08d}" / name
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def test_round_trip(tmp_path):
    path = checkpoint.save(state(7), tmp_path, 7)
    assert path == tmp_path / "step-00000007"
    found = checkpoint.latest(tmp_path)
    assert (found.step, found.state.cursor) == (7, state(7).cursor)
    for name, array in state(7).arrays.items():
        assert np.array_equal(found.state.arrays[name], array)
        assert found.state.arrays[name].dtype == array.dtype
    assert checkpoint.latest(tmp_path / "nowhere") is None


def test_keeps_the_newest_and_the_best(tmp_path):
    for step in range(1, 7):
        checkpoint.save(state(step), tmp_path, step, keep=2, best=2 if step >= 2 else None)
    assert checkpoint.steps(tmp_path) == [2, 5, 6]
    checkpoint.save(state(7), tmp_path, 7, keep=0)
    assert checkpoint.steps(tmp_path) == [7]


@pytest.mark.parametrize("name", ["arrays.safetensors", "cursor.json", "foretext.json"])
def test_falls_back_past_damage(tmp_path, name):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step, keep=3)
    damage(tmp_path, 3, name)
    said = []
    assert checkpoint.latest(tmp_path, said.append).step == 2
    assert len(said) == 1
    # The next save is newest whatever the damaged one's number, and clears it away.
    checkpoint.save(state(2), tmp_path, 2, keep=1)
    assert checkpoint.steps(tmp_path) == [2]
    damage(tmp_path, 2)
    with pytest.raises(ArtefactError):
        checkpoint.latest(tmp_path)


def test_the_same_step_can_be_written_again(tmp_path):
    checkpoint.save(state(4), tmp_path, 4)
    checkpoint.save(state(5), tmp_path, 4)
    assert checkpoint.latest(tmp_path).state.cursor["n"] == 5
    # Killed between the two renames of such a rewrite: the old one is brought back.
    (tmp_path / "step-00000004").rename(tmp_path / ".partial-old-step-00000004")
    assert checkpoint.latest(tmp_path).state.cursor["n"] == 5


def test_leftovers_of_killed_saves_go(tmp_path):
    left = tmp_path / ".partial-step-00000001-999999999-1a"
    left.mkdir(parents=True)
    (left / "arrays.safetensors").write_bytes(b"half")
    assert checkpoint.latest(tmp_path) is None
    checkpoint.save(state(1), tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000001"]


def full(monkeypatch, times):
    real, left = checkpoint.write_arrays, [times]

    def write(file, arrays):
        if left[0]:
            left[0] -= 1
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        real(file, arrays)

    monkeypatch.setattr(checkpoint, "write_arrays", write)


def test_a_full_disk_keeps_what_was_good(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step, keep=3)
    full(monkeypatch, 2)
    with pytest.raises(ResourceError, match=r"a checkpoint of 52 bytes"):
        checkpoint.save(state(4), tmp_path, 4, keep=3)
    assert checkpoint.latest(tmp_path).step == 3
    assert [p.name for p in tmp_path.iterdir()] == ["step-00000003"]


def test_a_disk_with_room_after_pruning(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step, keep=3, best=1)
    full(monkeypatch, 1)
    checkpoint.save(state(4), tmp_path, 4, keep=3, best=1)
    assert checkpoint.steps(tmp_path) == [1, 3, 4]


# ── every change of a save fails once and dies once; what was not synced is lost ────────────────────────────────────


def three(folder):
    for step in (1, 2, 3):
        checkpoint.save(state(step), folder / "checkpoints", step, keep=3, best=1)


def fourth(folder):
    checkpoint.save(state(4), folder / "checkpoints", 4, keep=2, best=1)


def again(folder):
    checkpoint.save(state(5), folder / "checkpoints", 4, keep=2, best=1)  # the same step anew, as after a resume


def newest(folder):
    """What the newest checkpoint holds; none may be damaged, and the best is always there."""
    for step in checkpoint.steps(folder):  # not even of those that a crash kept from being pruned
        assert checkpoint.read(folder, step).step == step
    assert 1 in checkpoint.steps(folder)
    found = checkpoint.latest(folder, say=pytest.fail)
    held = int(found.state.arrays["a"][0])
    assert (held, found.state.cursor) == (found.state.cursor["n"], state(held).cursor)
    return held


def test_each_change_of_a_save_fails_once(tmp_path):
    def check(folder, done):
        assert newest(folder / "checkpoints") in ((4,) if done else (3, 4))
        for left in (folder / "checkpoints").glob(".partial*"):
            assert left.is_dir()

    assert faults.failing(three, fourth, check, tmp_path, (errno.ENOSPC, errno.EIO)) >= 20
    changes = ("remove", "rmdir", "rename")  # a full disk lets one delete
    assert faults.failing(three, fourth, check, tmp_path, (errno.ENOSPC,), forever=True, kept=changes) >= 8


def test_each_change_of_a_save_is_the_last_of_a_process(tmp_path):
    def check(folder, done):
        assert newest(folder / "checkpoints") in ((4,) if done else (3, 4))
        again(folder)
        assert newest(folder / "checkpoints") == 5
        assert sorted(p.name for p in (folder / "checkpoints").iterdir()) in (
            ["step-00000001", "step-00000003", "step-00000004"],
        )

    assert faults.dying(three, fourth, check, tmp_path) >= 15


@pytest.mark.parametrize("dies", [False, True])
def test_each_write_of_a_save_fails_or_dies(tmp_path, dies):
    for size in (0, 8, 60, 150, 300, 500):
        folder = tmp_path / f"{size}"
        three(folder)
        done = faults.limited(lambda folder=folder: fourth(folder), size, dies=dies)
        assert newest(folder / "checkpoints") in ((4,) if done else (3, 4))
        assert done == (size >= 1000)
        fourth(folder)
        assert newest(folder / "checkpoints") == 4


@pytest.mark.parametrize("swap", [True, False])
def test_no_power_cut_loses_the_newest_checkpoint(tmp_path, swap, monkeypatch):
    if not swap:
        monkeypatch.setattr("foretext.disk.exchange", lambda one, other: False)

    def check(folder, returned):
        assert newest(folder / "checkpoints") in {0: (3, 4, 5), 1: (4, 5), 2: (5,)}[returned]

    states = faults.forgetting(three, [fourth, again], check, tmp_path, deaths=lambda nth: nth in (9, 12, 14))
    assert states > 100


def test_the_only_good_checkpoint_is_not_pruned_for_room(tmp_path, monkeypatch):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step, keep=3)
    damage(tmp_path, 3)
    full(monkeypatch, 2)
    with pytest.raises(ResourceError):
        checkpoint.save(state(3), tmp_path, 3, keep=3)
    assert checkpoint.latest(tmp_path).step == 2


def test_a_checkpoint_under_another_steps_name_is_refused(tmp_path):
    checkpoint.save(state(3), tmp_path, 3)
    (tmp_path / "step-00000003").rename(tmp_path / "step-00000004")
    with pytest.raises(ArtefactError, match="expected the checkpoint of step 4, found step 3") as caught:
        checkpoint.read(tmp_path, 4)
    assert caught.value.file == str(tmp_path / "step-00000004")


def test_no_room_for_the_first_checkpoint(tmp_path, monkeypatch):
    full(monkeypatch, 2)
    with pytest.raises(ResourceError, match="no room for a checkpoint"):
        checkpoint.save(state(1), tmp_path, 1)
    assert list(tmp_path.iterdir()) == []


def test_by_default_the_two_newest_stay(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step)
    assert checkpoint.steps(tmp_path) == [2, 3]


def test_what_a_folder_holds_besides_is_no_checkpoint(tmp_path):
    for step in (7, 99_999_999, 100_000_000):
        checkpoint.save(state(1), tmp_path, step, keep=3)
    for name in ("step-0000008", "step-00000009x", "step-best"):
        (tmp_path / "step-00000007").rename(tmp_path / name)
        assert checkpoint.steps(tmp_path) == [99_999_999, 100_000_000]
        (tmp_path / name).rename(tmp_path / "step-00000007")
    (tmp_path / "step-00000008").mkdir()  # without a manifest: never finished
    assert checkpoint.steps(tmp_path) == [7, 99_999_999, 100_000_000]


def test_the_error_is_the_newests_when_all_are_damaged(tmp_path):
    for step in (1, 2, 3):
        checkpoint.save(state(step), tmp_path, step, keep=3)
        damage(tmp_path, step)
    said = []
    with pytest.raises(ArtefactError) as caught:
        checkpoint.latest(tmp_path, said.append)
    assert "step-00000003" in caught.value.file
    assert [line.split()[4] for line in said] == ["3", "2", "1"]


def test_pruning_by_itself(tmp_path):
    def kept(**policy):
        for step in range(1, 7):
            (tmp_path / f"step-{step:08d}").mkdir(exist_ok=True)
            (tmp_path / f"step-{step:08d}" / "foretext.json").touch()
        checkpoint.prune(tmp_path, **policy)
        return checkpoint.steps(tmp_path)

    assert kept(keep=2) == [5, 6]
    assert kept(keep=0) == [6]
    assert kept(keep=1, best=2, whole=4) == [2, 4, 6]
    assert kept(keep=2, newest=4) == [3, 4]
    assert kept(keep=9) == [1, 2, 3, 4, 5, 6]
    assert kept(keep=1, newest=5, best=6) == [5, 6]
