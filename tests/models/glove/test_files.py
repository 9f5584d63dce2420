"""Files that only grow, and runs read as one: what a failed or later write left is cut off; ranges hold every key once."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from foretext.errors import ArtefactError
from foretext.models.glove.files import Growing, Runs


def test_what_was_written_beyond_is_cut_off(tmp_path: Path) -> None:
    grown = Growing(tmp_path / "file")
    grown.append(np.arange(4, dtype=np.uint8))
    state = grown.state()
    grown.append(np.arange(100, dtype=np.uint8))
    again = Growing(tmp_path / state[0], *state[1:])
    again.check()
    again.append(np.array([9], np.uint8))
    assert (tmp_path / "file").read_bytes() == bytes([0, 1, 2, 3, 9])
    again.check()
    with pytest.raises(ArtefactError, match="missing or damaged"):
        grown.check()


def test_ranges_of_runs_hold_every_row_once(tmp_path: Path) -> None:
    rng, files, rows = np.random.default_rng(0), [], []
    for number, size in enumerate((0, 1, 700, 40, 3000)):
        keys = np.sort(rng.choice(5000, size, replace=False))
        run = Growing(tmp_path / f"run-{number}")
        run.append(np.stack([keys, keys * 7 + number], axis=1).astype(np.uint64))
        files.append(run)
        rows += [(int(key), int(key) * 7 + number) for key in keys]
    runs = Runs(files)
    runs.open()
    borders = runs.borders(8)
    assert borders[0] == 0 and borders[-1] == 1 << 63 and borders == sorted(borders)
    sizes, found, last = [], [], -1
    for low, high in pairwise(borders):
        for piece in runs.pieces(low, high, 100):
            assert int(piece[:, 0].min()) > last, "a key is in two pieces"
            last = int(piece[:, 0].max())
            sizes.append(len(piece))
            found += [(int(a), int(b)) for a, b in piece]
    assert sorted(found) == sorted(rows) and max(sizes) <= 100
    whole = [sum(len(p) for p in runs.pieces(a, b, 10**9)) for a, b in pairwise(borders)]
    assert max(whole) < 2 * len(rows) / 8, "the ranges are uneven"
