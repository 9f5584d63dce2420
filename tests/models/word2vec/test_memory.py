"""Training holds its tables, the pages of the ids that it reads, and 64 MB: nothing that grows with the corpus."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SPARE = 64 << 20
CODE = """
import json, sys, numpy as np
from dataclasses import replace
from types import SimpleNamespace
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import stepper

def peak(name):
    return next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith(name))

def store(ids, sentences, counts):
    held = np.zeros(len(sentences) - 1, np.bool_)
    held[::50] = True
    return SimpleNamespace(ids=ids, sentences=sentences, held_out=held, counts=counts, key="m", tokenizer=SimpleNamespace(special={}))

folder, changes = sys.argv[1], json.loads(sys.argv[2])
config = Word2VecConfig(min_count=1, epochs=1.0, **changes)
few = np.arange(2000) % 50
made = stepper(replace(config, width=8), store(few, np.arange(0, 2001, 20), np.bincount(few)), threads=2, epochs=1.0)
made.step()
made.evaluate()  # kernels and imports are there now
del made
open("/proc/self/clear_refs", "w").write("5")  # the peak starts anew
before = peak("VmRSS")
ids = np.memmap(folder + "/ids", np.int32, mode="r")
text = store(ids, np.memmap(folder + "/sentences", np.int64, mode="r"), np.load(folder + "/counts.npy"))
made = stepper(config, text, threads=2, epochs=1.0)
while made.done < made.total:
    made.step()
made.evaluate()
tables = made.inward.nbytes + made.outward.nbytes
assert "torch" not in sys.modules
print(json.dumps({"spent": peak("VmHWM") - before, "tables": tables, "ids": ids.nbytes + text.sentences.nbytes}))
"""


def spent(folder: Path, words: int, vocabulary: int, **changes: object) -> dict[str, int]:
    """Bytes above the process after its imports, of the tables, and of the text."""
    rng = np.random.default_rng(0)
    part = np.minimum(rng.zipf(1.2, 1_000_000), vocabulary) - 1
    with open(folder / "ids", "wb") as file:
        for start in range(0, words, len(part)):
            file.write(np.roll(part, start)[: words - start].astype(np.int32).tobytes())
    np.arange(0, words + 1, 20, dtype=np.int64).tofile(folder / "sentences")
    np.save(folder / "counts.npy", np.bincount(part, minlength=vocabulary) + 1)
    done = subprocess.run([sys.executable, "-c", CODE, str(folder), json.dumps(changes)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("changes", [{}, {"loss": "hierarchical-softmax", "updates": "synchronous"}], ids=["hogwild", "tree, synchronous"])
def test_memory_is_the_tables_the_ids_and_64_mb(tmp_path: Path, changes: dict[str, object]) -> None:
    found = spent(tmp_path, 300_000, 40_000, width=32, block=50_000, **changes)
    assert found["tables"] > 10_000_000
    assert found["spent"] <= found["tables"] + found["ids"] + SPARE


@pytest.mark.soak
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_corpus(tmp_path: Path) -> None:
    """40M words: 160 MB of ids and 300 MB of tables."""
    found = spent(tmp_path, 40_000_000, 375_000, width=100)
    assert found["spent"] <= found["tables"] + found["ids"] + SPARE
