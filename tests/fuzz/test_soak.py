"""The long run: a million inputs a parser, coverage-guided, with a second and 1.5 GiB an input (`make soak`)."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.targets import TARGETS

RUNS = int(os.environ.get("FORETEXT_FUZZ_RUNS", "1000000"))


@pytest.mark.soak
@pytest.mark.parametrize("name", TARGETS)
def test_a_million_inputs_find_nothing(tmp_path: Path, name: str) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed here: pip install atheris")
    script = Path(__file__).parent / "run.py"
    command = [sys.executable, str(script), name, "--runs", str(RUNS), "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    found = {file.name: file.read_bytes()[:2000] for file in tmp_path.iterdir()}
    assert done.returncode == 0, f"{found}\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
