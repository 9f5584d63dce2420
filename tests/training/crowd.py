"""Gradients that several processes build alike: a tiny one with planted faults, and a real, small BERT.

Worker processes find them by name ("training.crowd:tiny"), so this module imports no pytest.
"""

import math
import os
import signal
import time
from dataclasses import replace

import torch

from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.heads.sequence import next_sentence_head
from foretext.heads.vocabulary import masked_head
from foretext.models.bert.config import BertConfig
from foretext.models.bert.model import build
from foretext.objectives import MaskedConfig, NextSentenceConfig, make_objectives
from foretext.training.config import OptimizerConfig, Phase, ScheduleConfig
from foretext.training.gradient import Gradient
from foretext.training.model import Model
from foretext.training.phases import PhasedBatches
from foretext.training.ranks import ALONE
from foretext.training.source import Batches
from foretext.types import Batch
from miniature import BERT, random_store
from training import tiny as world

TINY = "training.crowd:tiny"
SMALL_BERT = "training.crowd:bert"


def tiny(ranks=ALONE, *, fault="", rank=1, at=0, trace="", thaw=False, narrow=False, **told):
    """tiny.stepper, whose rank `rank` has a `fault` at update `at` (from 0): "nan", "kill", "stop", or "slow":
    one second an evaluation. `thaw`: the encoder is frozen for the first third. `narrow`: one parameter is trained, its
    gradient clipped. `trace`: a folder for what was read."""
    torch.set_num_threads(1)
    if thaw:
        told["phases"] = (Phase(share=1, rates={"heads": 1.0}), Phase(share=2))
    if narrow:
        told["phases"] = (Phase(rates={"encoders.text.embeddings": 1.0}),)
        told["optimizer"] = OptimizerConfig(kind="adamw", rate=1e-2, clip=1e-6)
    made = world.stepper(ranks=ranks, **told)
    step, scores, source = made.step, made.scores, made._batches.step

    def faulty():
        if made.done == at:
            if fault in ("kill", "stop"):
                os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])
            if fault == "nan":
                weight = made.model.encoders["text"].layer.weight
                poison = weight.register_hook(lambda grad: grad * math.nan)
                try:
                    return step()
                finally:
                    poison.remove()
        return step()

    def slow():
        time.sleep(1.0)
        return scores()

    if ranks.rank == rank and fault:
        made.step, made.scores = faulty, slow if fault == "slow" else scores
    if trace:
        made._batches.step = lambda number: Traced(source(number), f"{trace}/{ranks.rank}", number)
    return made


class Traced:
    """The micro-batches of update `step`; notes in a file which of them were taken."""

    def __init__(self, micros, file, step):
        self.micros, self.file, self.step = micros, file, step

    def __len__(self):
        return len(self.micros)

    def __getitem__(self, index):
        micro = self.micros[index]
        with open(self.file, "a") as handle:
            print(self.step, index, micro.views["text"].ids.tolist(), file=handle)
        return micro


class Sparse:
    """Random rows whose next-sentence targets stand in the first micro-batch only, and in every third update nowhere."""

    def __init__(self, micros):
        self.data = world.TinyData(rows=9, micros=micros)

    def step(self, step):
        micros = self.data.step(step)
        for index, micro in enumerate(micros):
            if index or step % 3 == 2:
                kept = {"masked": micro.targets["masked"]}
                micros[index] = Batch(views=micro.views, targets=kept)
        return micros


def sparse(ranks=ALONE, *, micros, kind="adamw", total=12):
    """The tiny model over `Sparse` rows, without dropout."""
    torch.set_num_threads(1)
    return Gradient(
        world.model(dropout=0.0),
        Sparse(micros),
        total=total,
        optimizer=OptimizerConfig(kind=kind, rate=1e-2, decay=0.1),
        schedule=ScheduleConfig(warmup=0.1),
        ranks=ranks,
    )


def bert(ranks=ALONE, *, parts, micro=None, kind="pairs", optimizer="adamw", dropout=0.1, total=24):
    """Two phases with windows of 24 and 48 tokens over a store in memory; updates of 6 rows."""
    torch.set_num_threads(1)
    store = random_store(40, held_out=[3, 11], size=100)
    config = WindowsConfig(kind=kind, length=24, copies=2)
    phases = (Phase(share=0.75), Phase(share=0.25, windows=replace(config, length=48)))
    objectives = {"masked": MaskedConfig(), **({"next_sentence": NextSentenceConfig()} if kind == "pairs" else {})}
    made = make_objectives(objectives, store.tokenizer)
    sources = [
        Batches(store, make_windows(c, BERT, 3), made, rows=6, micro=micro, parts=parts)
        for c in (config, phases[1].windows)
    ]
    family = BertConfig(
        layers=2, width=16, heads=2, inner=32, positions=64, dropout=dropout, attention_dropout=dropout
    )
    encoder = build(family, store.tokenizer.size, seed=1)
    heads = {"masked": masked_head(encoder), "next_sentence": next_sentence_head(encoder)}
    return Gradient(
        Model({"text": encoder}, {name: heads[name] for name in objectives}),
        PhasedBatches(sources, phases, total),
        total=total,
        held_out=sources[0].held_out_batches(3),
        optimizer=OptimizerConfig(kind=optimizer, rate=1e-3),
        schedule=ScheduleConfig(warmup=0.25),
        phases=phases,
        seed=2,
        ranks=ranks,
    )
