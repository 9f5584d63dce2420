"""The exact kernel as plain Python: what the compiler made of it is what it says, branch by branch.

The same small runs twice, compiled here and interpreted in a child (`NUMBA_DISABLE_JIT`), which coverage can see into. The
fast kernels name vector registers, which plain Python has not; the exact one is their oracle.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext.errors import DivergedError
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import INWARD, OUTWARD, stepper
from models.word2vec.mini import MiniStore, finish, store

CONFIG = Word2VecConfig(width=5, window=3, negatives=3, shared=8, min_count=1, sample=0.05, block=40, epochs=2, rate=0.3, shards=2)
METHODS = ("pairs",)


def few_words() -> MiniStore:
    """So few that negatives meet the context words and words come again within a block; a sentence is held out."""
    rng = np.random.default_rng(3)
    lengths = [1, 19, 0, 30, 12, 7, 16]
    return store(lengths, np.minimum(rng.geometric(0.3, sum(lengths)), 9), [False, False, False, False, True, False, False])


def learned(method: Any) -> dict[str, Any]:
    """A run's tables, mean losses and held-out losses; then a step from values that have overflowed."""
    run = stepper(replace(CONFIG, method=method), few_words(), seed=7)
    reports = []
    while run.done < run.total:
        reports.append(run.step())
    large = stepper(replace(CONFIG, method=method), few_words(), seed=7)
    large.inward *= 100.0  # ±10, so that scores of ±20 and more are clamped
    large.outward += 1.0
    clamped = large.step().loss
    broken = stepper(replace(CONFIG, method=method), few_words(), seed=7)
    broken.outward[:] = np.inf
    with pytest.raises(DivergedError):
        broken.step()
    return {
        "in": run.state().arrays[INWARD].tolist(),
        "out": run.state().arrays[OUTWARD].tolist(),
        "losses": [report.loss for report in reports],
        "counts": [report.count for report in reports],
        "held out": run.evaluate()["loss"],
        "clamped": clamped,
    }


@pytest.fixture(scope="module")
def interpreted() -> dict[str, Any]:
    code = "import json, warnings; warnings.simplefilter('ignore'); from models.word2vec.test_interpreted import METHODS, learned\n"
    code += "print(json.dumps({method: learned(method) for method in METHODS}))"
    tests = Path(__file__).parents[2]
    path = os.pathsep.join([str(tests), *(p for p in sys.path if p)])
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("method", METHODS)
def test_compiled_and_interpreted_learn_the_same(method: str, interpreted: dict[str, Any]) -> None:
    compiled, plain = learned(method), interpreted[method]
    assert compiled["counts"] == plain["counts"]
    assert sum(compiled["counts"]) > 100
    for name in ("in", "out", "losses", "held out", "clamped"):
        np.testing.assert_allclose(compiled[name], plain[name], rtol=2e-4, atol=2e-5, err_msg=name)
    assert np.abs(compiled["out"]).max() > 0.01


def test_the_run_is_of_the_length_planned() -> None:
    assert finish(stepper(CONFIG, few_words())).done == 2 * 2
