"""The whole shell over a real, tiny BERT: two heads, two window lengths, packed and padded, stopped and resumed."""

import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from foretext.data.batches import to_torch
from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.errors import Preempted
from foretext.heads.sequence import next_sentence_head
from foretext.heads.vocabulary import masked_head
from foretext.models.bert.config import BertConfig
from foretext.models.bert.model import build
from foretext.objectives import MaskedConfig, NextSentenceConfig, make_objectives
from foretext.training.config import Limits, OptimizerConfig, Phase, ScheduleConfig
from foretext.training.gradient import Gradient, target_counts
from foretext.training.model import Model
from foretext.training.phases import PhasedBatches
from foretext.training.progress import SilentWatch
from foretext.training.run import run
from foretext.training.source import Batches
from miniature import BERT, random_store

TINY = BertConfig(layers=2, width=16, heads=2, inner=32, positions=64, dropout=0.1, attention_dropout=0.1)
STORE = random_store(40, held_out=[3, 11], size=100)


def bert_stepper(kind="pairs", micro=None, precision="fp32", optimizer="adam-bert", dropout=0.1, total=8):
    config = WindowsConfig(kind=kind, length=24, copies=2)
    phases = (Phase(share=0.75), Phase(share=0.25, windows=replace(config, length=48)))
    objectives = {"masked": MaskedConfig(), **({"next_sentence": NextSentenceConfig()} if kind == "pairs" else {})}
    made = make_objectives(objectives, STORE.tokenizer)
    sources = [Batches(STORE, make_windows(c, BERT, 3), made, rows=6, micro=micro) for c in (config, phases[1].windows)]
    encoder = build(replace(TINY, dropout=dropout, attention_dropout=dropout), STORE.tokenizer.size, seed=1)
    heads = {"masked": masked_head(encoder), "next_sentence": next_sentence_head(encoder)}
    return Gradient(
        Model({"text": encoder}, {name: heads[name] for name in objectives}),
        PhasedBatches(sources, phases, total),
        total=total,
        held_out=sources[0].held_out_batches(3),
        optimizer=OptimizerConfig(kind=optimizer, rate=1e-3),
        schedule=ScheduleConfig(warmup=0.25),
        phases=phases,
        precision=precision,
        seed=2,
    )


@pytest.mark.parametrize(
    ("kind", "precision", "optimizer"),
    [("pairs", "fp32", "adam-bert"), ("packed", "bf16", "muon"), ("single", "bf16", "adamw")],
)
def test_interrupted_runs_end_alike(tmp_path, kind, precision, optimizer):
    def fresh():
        return bert_stepper(kind, micro=4, precision=precision, optimizer=optimizer)

    limits = Limits(evaluations=2, checkpoint_steps=3)
    straight = fresh()
    whole = run(straight, tmp_path / "straight", limits, SilentWatch())
    ending = None
    for stop in (2, 5, 6, 9):  # 6 is where the second phase begins
        stepper = fresh()
        step = stepper.step

        def stopping(step=step, stepper=stepper, stop=stop):
            report = step()
            if stepper.done == stop:
                os.kill(os.getpid(), signal.SIGINT)
            return report

        stepper.step = stopping
        if stop < 9:
            with pytest.raises(Preempted):
                run(stepper, tmp_path / "cut", limits, SilentWatch())
        else:
            ending = run(stepper, tmp_path / "cut", limits, SilentWatch())
    assert ending.losses == whole.losses
    assert ending.tokens == whole.tokens
    ours, theirs = straight.state().arrays, stepper.state().arrays
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in ours)
    assert "heads.masked.table.weight" not in ours


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_any_split_gives_the_same_gradient(kind):
    def gradient(micro):
        stepper = bert_stepper(kind, micro=micro, dropout=0.0)
        stepper.model.double()
        micros = stepper._batches.step(0)
        counts = target_counts(micros)
        stepper._updater.prepare(0, 1.0)
        for batch in micros:
            stepper._accumulate(to_torch(batch), counts)
        return {n: p.grad for n, p in stepper.model.named_parameters() if p.grad is not None}

    whole = gradient(None)
    assert len(whole) > 20
    for micro in (1, 4):
        for name, grad in gradient(micro).items():
            torch.testing.assert_close(grad, whole[name], rtol=1e-9, atol=1e-13, msg=name)


def test_bf16_follows_fp32():
    a, b = bert_stepper(dropout=0.0), bert_stepper(dropout=0.0, precision="bf16")
    for _ in range(8):
        assert b.step().loss == pytest.approx(a.step().loss, rel=0.01)
    assert {p.dtype for p in b.model.parameters()} == {torch.float32}
    assert b.evaluate()["loss"] == pytest.approx(a.evaluate()["loss"], rel=0.01)
