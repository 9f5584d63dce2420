"""The torch Stepper: what it computes, and that it can be stopped anywhere."""

import math

import numpy as np
import pytest
import torch

from foretext.data.batches import to_torch
from foretext.errors import ArtefactError, DivergedError
from foretext.training.config import OptimizerConfig, Phase
from foretext.training.phases import Ahead, PhasedBatches, phase_at, starts


def same(a, b):
    assert set(a.arrays) == set(b.arrays)
    assert all(np.array_equal(a.arrays[n], b.arrays[n]) for n in a.arrays)
    assert a.cursor == b.cursor


def double(stepper):
    stepper.model.double()
    return stepper


@pytest.mark.parametrize("micros", [2, 3, 8])
def test_any_split_gives_the_same_gradient(tiny, micros):
    """float64, so that 1e-12 tells a wrong denominator from rounding; the rows have uneven numbers of targets."""

    def after(micros):
        s = double(tiny.stepper(micros=micros, dropout=0.0, optimizer=OptimizerConfig(clip=0.05, rate=1e-2)))
        reports = [s.step() for _ in range(3)]
        return s, reports

    (whole, one), (split, many) = after(1), after(micros)
    for a, b in zip(one, many, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-12)
        assert b.norm == pytest.approx(a.norm, rel=1e-10)
        assert (b.count, b.tokens) == (a.count, a.tokens)
    for (name, a), b in zip(whole.model.named_parameters(), split.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-11, msg=name)


def test_the_loss_is_the_weighted_mean_over_targets(tiny):
    s = tiny.stepper(dropout=0.0)
    batch = tiny.TinyData(micros=1).step(0)[0]
    before = {n: p.detach().clone() for n, p in s.model.named_parameters()}
    sums = s.model.losses(to_torch(batch))
    total = sum(weight * sums[name] / batch.targets[name].count for name, weight in s.model.weights.items())
    grads = torch.autograd.grad(total, list(s.model.parameters()))
    report = s.step()
    assert report.norm == pytest.approx(torch.cat([g.flatten() for g in grads]).norm().item(), rel=1e-4)
    masked = sums["masked"].item() / batch.targets["masked"].count
    following = sums["next_sentence"].item() / batch.targets["next_sentence"].count
    assert report.loss == pytest.approx(masked + 0.5 * following, rel=1e-5)
    assert report.parts == pytest.approx({"masked loss": masked, "next_sentence loss": following}, rel=1e-5)
    assert report.tokens == 8 * tiny.LENGTH
    # Google's first rate is 0: nothing moved yet, though Adam has seen the gradient.
    assert report.rate == 0.0
    assert all(torch.equal(before[n], p) for n, p in s.model.named_parameters())


def test_clipping_scales_the_whole_gradient(tiny):
    s = tiny.stepper(dropout=0.0, kind="adamw", optimizer=OptimizerConfig(clip=1e-3))
    seen = []
    s._updater.step = lambda: seen.append([p.grad.clone() for p in s._updater.trained])
    norm = s.step().norm
    clipped = torch.linalg.vector_norm(torch.cat([g.flatten() for g in seen[0]])).item()
    assert norm > 0.1
    assert clipped == pytest.approx(1e-3, rel=1e-4)


@pytest.mark.parametrize("kind", ["adam-bert", "adamw", "muon"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_resumes_to_the_bit(tiny, kind, precision):
    straight, first, second = (tiny.stepper(kind=kind, precision=precision) for _ in range(3))
    for parameter in second.model.parameters():  # another start, so that every tensor must come from the state
        torch.nn.init.constant_(parameter, 0.5)
    losses = [straight.step().loss for _ in range(8)]
    assert [first.step().loss for _ in range(4)] == losses[:4]
    first.evaluate()
    second.restore(first.state())
    torch.rand(5)  # the global stream must not matter
    assert [second.step().loss for _ in range(4)] == losses[4:]
    same(straight.state(), second.state())
    assert all(a.dtype == np.float32 for a in straight.state().arrays.values())


def test_it_learns(tiny):
    s = tiny.stepper(total=150, dropout=0.0)
    start = s.evaluate()
    assert start["masked count"] > 40
    for _ in range(150):
        s.step()
    end = s.evaluate()
    assert end["masked loss"] < 0.3 * start["masked loss"]
    assert end["loss"] == pytest.approx(end["masked loss"] + 0.5 * end["next_sentence loss"])
    assert end["next_sentence accuracy"] * 16 == pytest.approx(round(end["next_sentence accuracy"] * 16))
    assert s.model.training
    assert s.evaluate() == end


def test_dropout_depends_on_step_and_micro_batch_only(tiny):
    a, b = tiny.stepper(), tiny.stepper()
    a.step(), a.evaluate(), a.evaluate()
    torch.manual_seed(99)
    b.step()
    same(a.state(), b.state())

    def drawn(done, micro):
        a.done = done
        a._reseed(micro)
        return torch.rand(3).tolist()

    assert drawn(4, 1) == drawn(4, 1)
    assert len({tuple(drawn(done, micro)) for done in range(3) for micro in range(3)}) == 9


@pytest.mark.parametrize("poison", ["loss", "gradient"])
def test_nothing_moves_on_a_non_finite_step(tiny, poison):
    s = tiny.stepper()
    s.step()
    s.step()
    before = s.state()
    handle = None
    if poison == "loss":
        real = s.model.heads["masked"].loss
        s.model.heads["masked"].loss = lambda v, t: real(v, t) * math.inf
    else:
        weight = s.model.encoders["text"].layer.weight
        handle = weight.register_hook(lambda g: g * math.nan)
    with pytest.raises(DivergedError, match="masked loss is inf" if poison == "loss" else "norm is nan") as caught:
        s.step()
    assert np.array_equal(caught.value.arrays["micro-0/text/ids"], tiny.TinyData().step(2)[0].views["text"].ids)
    assert "micro-1/masked/gold" in caught.value.arrays
    same(s.state(), before)
    if handle:
        handle.remove()
    else:
        del s.model.heads["masked"].loss
    healthy = tiny.stepper()
    healthy.restore(before)
    assert s.step() == healthy.step()


def test_phases_freeze_thaw_and_discriminate(tiny):
    phases = (
        Phase(share=1, rates={"heads": 1.0}),
        Phase(share=2, rates={"": 1.0, "encoders.text.embeddings": 0.0, "encoders.text.layer_0": 0.1}),
    )
    s = tiny.stepper(total=12, phases=phases, kind="adamw")
    assert starts(phases, 12) == [0, 4, 12]

    def weights():
        return {n: p.detach().clone() for n, p in s.model.named_parameters()}

    before = weights()
    for _ in range(4):
        s.step()
    middle = weights()
    moved = {n for n in before if not torch.equal(before[n], middle[n])}
    assert moved == {"heads.masked.bias", "heads.next_sentence.out.weight", "heads.next_sentence.out.bias"}
    s.step()
    after = weights()
    moved = {n for n in middle if not torch.equal(middle[n], after[n])}
    assert "encoders.text.table.weight" not in moved
    assert {"encoders.text.layer.weight", "encoders.text.pooler.weight", "heads.masked.bias"} <= moved
    # Adam's first step is one rate long, so the layer moved a tenth of the pooler.
    step_of = {n: (middle[n] - after[n]).abs().max().item() for n in moved}
    assert step_of["encoders.text.layer.weight"] == pytest.approx(0.1 * step_of["encoders.text.pooler.weight"], rel=0.05)
    # A frozen parameter keeps no optimizer state, a thawed one starts its own.
    arrays = s.state().arrays
    assert not any("table" in n for n in arrays if n.startswith("optimizer."))
    assert arrays["optimizer.heads.masked.bias.step"].item() == 5
    assert arrays["optimizer.encoders.text.layer.weight.step"].item() == 1
    again = tiny.stepper(total=12, phases=phases)
    again.restore(s.state())
    assert again.step() == s.step()
    same(again.state(), s.state())


def test_phase_of_a_step():
    edges = starts([Phase(share=0.9), Phase(share=0.0), Phase(share=0.1)], 10)
    assert edges == [0, 9, 9, 10]
    assert [phase_at(edges, s) for s in range(12)] == [0] * 9 + [2] * 3

    class Source:
        def __init__(self, name):
            self.name = name

        def step(self, step):
            return [(self.name, step)]

    batches = PhasedBatches([Source("a"), Source("b")], [Phase(share=9), Phase(share=1)], 20)
    assert [batches.step(s)[0] for s in (0, 17, 18, 19)] == [("a", 0), ("a", 17), ("b", 0), ("b", 1)]


def test_a_head_without_targets_costs_nothing(tiny):
    s = tiny.stepper(dropout=0.0)
    batch = tiny.TinyData(micros=1).step(0)[0]
    empty = type(batch.targets["masked"])(at=np.zeros(0, np.int64), gold=np.zeros(0, np.int64), count=0)
    lone = type(batch)(views=batch.views, targets={**batch.targets, "masked": empty})
    s._batches = type("One", (), {"step": lambda self, n: [lone]})()
    report = s.step()
    assert set(report.parts) == {"next_sentence loss"}
    assert math.isfinite(report.loss)


def test_foreign_states_are_refused(tiny):
    state = tiny.stepper(total=12).state()
    with pytest.raises(ArtefactError, match="total 12, this one has 13"):
        tiny.stepper(total=13).restore(state)
    with pytest.raises(ArtefactError, match="seed"):
        tiny.stepper(total=12, seed=6).restore(state)


def test_data_made_ahead_is_the_same_data():
    asked = []

    class Source:
        def step(self, step):
            asked.append(step)
            if step == 5:
                raise ValueError("update 5 has no data")
            return [step]

    ahead = Ahead(Source())
    assert [ahead.step(s)[0] for s in (0, 1, 2)] == [0, 1, 2]
    assert ahead.step(7) == [7]  # a restored run jumps
    assert sorted(asked[:4]) == [0, 1, 2, 3]
    ahead.step(4)
    with pytest.raises(ValueError, match="update 5"):
        ahead.step(5)
    assert ahead.step(6) == [6]
