"""A miniature world for the shell's tests: an encoder, two heads and endless random data, in milliseconds.

As a script (`python tiny.py FOLDER [key=value …]`) it trains in FOLDER, prints every step's loss as hex, and can be
killed.
"""

import itertools
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from foretext.draws import generator, number
from foretext.errors import ForetextError
from foretext.training.config import Limits, OptimizerConfig, Phase, ScheduleConfig
from foretext.training.gradient import Gradient
from foretext.training.model import Model
from foretext.training.progress import SilentWatch
from foretext.training.run import run
from foretext.types import Batch, Target, TokenBatch, TokenVectors

VOCABULARY, WIDTH, LENGTH = 23, 8, 6


class TinyEncoder(nn.Module):
    """Embeddings, one dense layer with LayerNorm and dropout, a pooler."""

    widths, sees, limit = (WIDTH, WIDTH), "both", None

    def __init__(self, dropout=0.2):
        super().__init__()
        self.table = nn.Embedding(VOCABULARY, WIDTH)
        self.layer = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.pooler = nn.Linear(WIDTH, WIDTH)

    def forward(self, batch):
        bottom = self.table(batch.ids)
        around = bottom + bottom.mean(1, keepdim=True)
        top = self.norm(bottom + self.dropout(torch.tanh(self.layer(around))))
        summary = torch.tanh(self.pooler(top[:, 0]))
        return TokenVectors(layers=(bottom, top), batch=batch, summary=summary)

    def groups(self):
        layer = (*self.layer.parameters(), *self.norm.parameters())
        return {"embeddings": (self.table.weight,), "layer_0": layer, "pooler": tuple(self.pooler.parameters())}


class TinyMasked(nn.Module):
    """Tied to the table, with a bias of its own."""

    reads = "joint"

    def __init__(self, encoder):
        super().__init__()
        self.table = encoder.table
        self.bias = nn.Parameter(torch.zeros(VOCABULARY))

    def loss(self, vectors, target):
        top = vectors["text"].layers[-1].flatten(0, 1)[target.at]
        return nn.functional.cross_entropy(top @ self.table.weight.T + self.bias, target.gold, reduction="sum")


class TinyNext(nn.Module):
    """Two classes from the summary; measures its accuracy."""

    reads = "joint"

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(WIDTH, 2)

    def loss(self, vectors, target):
        scores = self.out(vectors["text"].summary[target.at])
        return nn.functional.cross_entropy(scores, target.gold, reduction="sum")

    def measures(self, vectors, target):
        scores = self.out(vectors["text"].summary[target.at])
        return {"correct": (scores.argmax(-1) == target.gold).sum()}


class TinyData:
    """Rows whose tokens follow one another (learnable), with uneven numbers of targets a row; pure in the step."""

    def __init__(self, rows=8, micros=2):
        self.rows, self.micros = rows, micros

    def step(self, step):
        rng = generator(7, "tiny", step)
        first = rng.integers(0, VOCABULARY, self.rows)
        ids = (first[:, None] + np.arange(LENGTH)) % VOCABULARY
        masked = [np.sort(rng.permutation(LENGTH)[: rng.integers(1, LENGTH)]) for _ in range(self.rows)]
        answers = rng.integers(0, 2, self.rows)
        cuts = np.linspace(0, self.rows, self.micros + 1).astype(int)
        return [self._batch(ids[a:b], masked[a:b], answers[a:b]) for a, b in itertools.pairwise(cuts)]

    def _batch(self, ids, masked, answers):
        rows = len(ids)
        at = np.concatenate([row * LENGTH + places for row, places in enumerate(masked)])
        gold = ids.reshape(-1)[at]
        view = TokenBatch(
            ids=ids,
            sequence=np.repeat(np.arange(rows)[:, None], LENGTH, 1),
            position=np.tile(np.arange(LENGTH), (rows, 1)),
            bounds=np.stack([np.arange(rows), np.zeros(rows, int), np.full(rows, LENGTH)], 1),
        )
        targets = {
            "masked": Target(at=at, gold=gold, count=len(at)),
            "next_sentence": Target(at=np.arange(rows), gold=answers, count=rows),
        }
        return Batch(views={"text": view}, targets=targets)




def model(seed=3, dropout=0.2):
    torch.manual_seed(number(seed, "init"))
    encoder = TinyEncoder(dropout)
    heads = {"masked": TinyMasked(encoder), "next_sentence": TinyNext()}
    return Model({"text": encoder}, heads, {"masked": 1.0, "next_sentence": 0.5})


def stepper(total=12, kind="adamw", micros=2, dropout=0.2, phases=None, **rest):
    held_out = TinyData(rows=16, micros=2).step(10**6)
    settings = {
        "optimizer": OptimizerConfig(kind=kind, rate=1e-2),
        "schedule": ScheduleConfig(shape="linear", warmup=0.2),
        "phases": phases or (Phase(),),
        "held_out": held_out,
        "seed": 5,
    }
    return Gradient(model(dropout=dropout), TinyData(micros=micros), total=total, **{**settings, **rest})


class Traced:
    """A stepper that prints each loss's bits, and pauses or kills itself where told."""

    def __init__(self, inner, pause=0.0, kill_at=0, term_at=0, term_evaluating=0):
        self.inner, self.pause, self.kill_at, self.term_at = inner, pause, kill_at, term_at
        self.term_evaluating = term_evaluating
        self.total, self.state, self.restore = inner.total, inner.state, inner.restore

    def step(self):
        time.sleep(self.pause)
        report = self.inner.step()
        print("loss", self.inner.done, report.loss.hex(), flush=True)
        if self.inner.done == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.inner.done == self.term_at:
            os.kill(os.getpid(), signal.SIGTERM)
        return report

    def evaluate(self):
        if self.inner.done == self.term_evaluating:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(60)
        return self.inner.evaluate()


def main(folder, **told):
    torch.set_num_threads(1)
    told = {name: value if name == "kind" else float(value) for name, value in told.items()}
    inner = stepper(total=int(told.pop("total", 12)), kind=told.pop("kind", "adamw"))
    limits = Limits(checkpoint_steps=int(told.pop("every", 3)), evaluations=int(told.pop("evaluations", 4)), keep=2)
    run(Traced(inner, **told), Path(folder), limits, SilentWatch())
    for name, array in sorted(inner.state().arrays.items()):
        print("array", name, array.tobytes().hex(), flush=True)


def exit_code(folder, **told):
    """`main`, with the error's line on standard error, as the command line would."""
    try:
        main(folder, **told)
    except ForetextError as error:
        print(error.message, file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(sys.argv[1], **dict(pair.split("=") for pair in sys.argv[2:])))
