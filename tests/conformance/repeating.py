"""Check 7: the same seed gives the same bits: again, in a fresh process, under another hash seed, with more workers."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch

from conformance import rows as table
from conformance.rows import Row, TaskRow, scratch, spoken, texts_of
from conformance.texts import corpus
from foretext.text.store import build_store
from foretext.text.tokenizers import train_tokenizer


def digest(row: Row | TaskRow) -> str:
    """A fingerprint of three updates: losses, every array of the state, and what the model then says of some texts."""
    whole = hashlib.sha256()
    stepper = row.stepper(3)
    for _ in range(3):
        whole.update(stepper.step().loss.hex().encode())
    for name, array in sorted(stepper.state().arrays.items()):
        whole.update(name.encode() + array.tobytes())
    whole.update(json.dumps(stepper.evaluate(), sort_keys=True).encode())
    if isinstance(row, TaskRow):
        whole.update(row.adapted(steps=3).log_probabilities(texts_of(row)).tobytes())
    else:
        for array in spoken(row.pretrained(), texts_of(row)):
            whole.update(array.tobytes())
    return whole.hexdigest()


@cache
def _here(row: Row | TaskRow) -> str:
    """`digest`, made once in this process."""
    torch.manual_seed(1)
    np.random.seed(1)
    return digest(row)


def determinism(row: Row | TaskRow) -> None:
    """Twice in this process, whatever the global random states are: equal to the bit."""
    first = _here(row)
    torch.manual_seed(2)
    np.random.seed(2)
    assert digest(row) == first


@cache
def _elsewhere(hash_seed: str) -> dict[str, str]:
    """Every row's digest in a fresh process."""
    here = Path(__file__).parent.parent
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-m", "conformance", "--digests"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def all_digests() -> dict[str, str]:
    """`digest` of every row, by name. Nothing of it imports torch's compiler, which takes two seconds."""
    found = {row.name: digest(row) for row in table.ALL}
    assert "torch._dynamo" not in sys.modules
    return found


def processes(row: Row | TaskRow) -> None:
    """A fresh process with another PYTHONHASHSEED: equal to the bit."""
    assert _elsewhere("123")[row.name] == _here(row)


def stores(row: Row) -> None:
    """The token store: the same bytes from this process and from two workers; never another tokenizer's."""
    tokenizer = train_tokenizer(row.recipe.tokenizer, corpus(), workers=0)
    assert train_tokenizer(row.recipe.tokenizer, corpus(), workers=2).key == tokenizer.key
    letters = train_tokenizer(replace(row.recipe.tokenizer, kind="characters"), corpus(), workers=0)
    beside = build_store(corpus(), letters, scratch() / f"workers {row.name} 0", workers=0, held_out=0.2)
    made = [build_store(corpus(), tokenizer, scratch() / f"workers {row.name} {n}", workers=n, held_out=0.2) for n in (0, 2)]
    for name in ("ids", "word_starts", "sentences", "documents", "held_out", "counts"):
        files = [(store.path / f"{name}.bin").read_bytes() for store in made]
        assert files[0] == files[1], f"{name}.bin depends on the number of workers"
    assert len(beside.ids) > 2 * len(made[0].ids) and made[0].path != beside.path
    again = build_store(corpus(), letters, scratch() / f"workers {row.name} 0", workers=0, held_out=0.2)
    assert again.ids.tolist() == beside.ids.tolist(), "a store of another tokenizer was read"
