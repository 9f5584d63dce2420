"""Check 14: every planted defect makes the checks that must catch it fail, and the same checks pass without it."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import foretext
from conformance import planted
from conformance.defects import DEFECTS, Defect

SOURCE = Path(str(foretext.__file__)).parent


def answers(defects: Sequence[dict[str, Any]], scratch: Path) -> list[list[str]]:
    """What the runner says of each, in one process that imports the large libraries once."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", planted.__file__, str(SOURCE), str(scratch)],
        input="".join(json.dumps(defect) + "\n" for defect in defects),
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def missed(defects: Sequence[Defect], scratch: Path) -> list[str]:
    """The defects that some check did not catch, and what happened instead."""
    found = answers([{"edits": one.edits, "catch": one.catch} for one in defects], scratch)
    assert len(found) == len(defects)
    return [
        f"{one.name}: {check} on {row} {said}"
        for one, told in zip(defects, found, strict=True)
        for (check, row), said in zip(one.catch, told, strict=True)
        if not said.startswith("fails: ")
    ]


@pytest.mark.timeout(1200)  # half a minute of work, on a machine that may be busy
def test_a_few_defects_are_caught(tmp_path: Path) -> None:
    """Each by the first check that must catch it."""
    assert missed([replace(one, catch=one.catch[:1]) for one in DEFECTS if one.soon], tmp_path) == []


@pytest.mark.soak
def test_every_defect_is_caught(tmp_path: Path) -> None:
    assert missed(DEFECTS, tmp_path) == []


@pytest.mark.soak
def test_without_a_defect_the_same_checks_pass(tmp_path: Path) -> None:
    cells = sorted({cell for one in DEFECTS for cell in one.catch})
    (found,) = answers([{"edits": [], "catch": cells}], tmp_path)
    assert [(cell, said) for cell, said in zip(cells, found, strict=True) if said != "conforms"] == []


def test_a_patch_that_does_not_fit_fails_loudly(tmp_path: Path) -> None:
    for one in DEFECTS:
        for file, old, new in one.edits:
            assert (SOURCE / file).read_text().count(old) == 1, f"{one.name}: {file} has changed: plant this defect anew"
            assert old != new
    with pytest.raises(ValueError, match="found 0 times"):
        planted.patched(SOURCE, tmp_path / "copy", [["draws.py", "no such text", ""]])


def test_there_are_enough() -> None:
    assert len(DEFECTS) >= 20 and len({one.name for one in DEFECTS}) == len(DEFECTS)
    assert sum(one.soon for one in DEFECTS) >= 10
