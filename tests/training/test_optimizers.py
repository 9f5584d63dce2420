"""The optimizers against their formulas; groups, rates and state by name."""

import numpy as np
import pytest
import torch
from torch import nn

from foretext.errors import ArtefactError, UsageError
from foretext.training import optimizers
from foretext.training.config import OptimizerConfig, Phase
from foretext.training.optimizers import AdamBert, AdamW, Muon, Updater, multiplier, named_parameters, orthogonalize


def test_adam_bert_is_googles_in_numpy():
    rng = np.random.default_rng(0)
    start = rng.normal(size=(4, 3))
    grads = rng.normal(size=(6, 4, 3))
    rates = [0.0, 0.1, 0.3, 0.2, 0.1, 0.05]
    p, m, v = start.copy(), np.zeros((4, 3)), np.zeros((4, 3))
    for grad, rate in zip(grads, rates, strict=True):
        m = 0.9 * m + 0.1 * grad
        v = 0.999 * v + 0.001 * np.square(grad)
        p = p - rate * (m / (np.sqrt(v) + 1e-6) + 0.01 * p)
    weight = nn.Parameter(torch.tensor(start))
    still = nn.Parameter(torch.ones(2, dtype=torch.float64))
    optimizer = AdamBert([weight, still], lr=1.0, weight_decay=0.01)
    for grad, rate in zip(grads, rates, strict=True):
        optimizer.param_groups[0]["lr"] = rate
        weight.grad = torch.tensor(grad)
        optimizer.step()
    np.testing.assert_allclose(weight.detach().numpy(), p, rtol=1e-12)
    assert torch.equal(still, torch.ones(2, dtype=torch.float64))
    assert still not in optimizer.state


@pytest.mark.parametrize("fused", [True, False])
def test_adamw_is_torchs_to_the_bit(fused):
    """The method inside torch's guard is the optimizer: gradients off, hooks called."""
    made = []
    for kind in (AdamW, torch.optim.AdamW):
        torch.manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(5, 3)), torch.nn.Parameter(torch.randn(3))]
        optimizer, calls = kind(parameters, lr=0.1, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.3, fused=fused), []
        optimizer.register_step_post_hook(lambda *given, calls=calls: calls.append(1))
        for _ in range(4):
            for parameter in parameters:
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        assert calls == [1] * 4 and torch.is_grad_enabled()
        made.append([*parameters, *(slot for p in parameters for slot in optimizer.state[p].values())])
    assert len(made[0]) == 8
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*made, strict=True))


def test_adam_bert_has_no_bias_correction():
    # The first step moves by (1−β1)/√(1−β2) ≈ 3.16 rates, where Kingma & Ba's moves by one.
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.full((1,), 0.5, dtype=torch.float64)
    AdamBert([weight], lr=1.0, eps=0.0).step()
    assert weight.item() == pytest.approx(-0.1 / np.sqrt(0.001))


@pytest.mark.parametrize("shape", [(8, 8), (16, 4), (4, 16)])
def test_orthogonalize_flattens_the_spectrum(shape):
    matrices = torch.randn(3, *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float32)
    flat = orthogonalize(matrices)
    u, _, vt = torch.linalg.svd(matrices, full_matrices=False)
    values = torch.linalg.svdvals(flat)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # Same singular vectors: in that basis it is diagonal.
    inner = u.mT @ flat @ vt.mT
    assert (inner - torch.diag_embed(torch.diagonal(inner, dim1=-2, dim2=-1))).abs().max() < 0.05  # bf16 where that is fast


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7)])
def test_orthogonalize_in_numpy(monkeypatch, shape):
    monkeypatch.setattr(optimizers, "fast_bf16", lambda device: False)
    matrices = np.random.default_rng(4).normal(size=(2, *shape))
    got = orthogonalize(torch.tensor(matrices)).numpy()
    for matrix, flat in zip(matrices, got, strict=True):
        # The iteration acts on singular values alone: s ← a s + b s³ + c s⁵, after division by the Frobenius norm.
        u, values, vt = np.linalg.svd(matrix, full_matrices=False)
        values = values / (np.sqrt((values**2).sum()) + 1e-7)
        for _ in range(5):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        np.testing.assert_allclose(flat, u @ np.diag(values) @ vt, atol=1e-10)


def test_muon_follows_its_formula_and_scale():
    start = torch.randn(6, 3, generator=torch.Generator().manual_seed(2))
    grads = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(3))
    p, momentum = start.clone(), torch.zeros(6, 3)
    for grad in grads:
        momentum = 0.95 * momentum + 0.05 * grad
        ahead = 0.05 * grad + 0.95 * momentum
        p = p * (1 - 0.02 * 0.1) - 0.02 * np.sqrt(2) * orthogonalize(ahead[None])[0]
    weight = nn.Parameter(start.clone())
    optimizer = Muon([weight], lr=0.02, weight_decay=0.1)
    for grad in grads:
        weight.grad = grad.clone()
        optimizer.step()
    torch.testing.assert_close(weight.detach(), p, rtol=1e-5, atol=1e-6)


def test_multiplier_takes_the_longest_whole_part():
    rates = {"": 1.0, "encoders": 0.5, "encoders.text.layer_1": 0.0}
    assert multiplier(rates, "heads.masked") == 1.0
    assert multiplier(rates, "encoders.text.layer_1") == 0.0
    assert multiplier(rates, "encoders.text.layer_10") == 0.5
    assert multiplier({"heads": 1.0}, "encoders.text.layer_0") == 0.0


def test_groups_say_what_muon_and_decay_touch(tiny):
    named = {n.name: n for n in named_parameters(tiny.model())}
    assert {n for n, x in named.items() if x.hidden} == {"encoders.text.layer.weight", "encoders.text.pooler.weight"}
    assert named["encoders.text.table.weight"].group == "encoders.text.embeddings"
    assert named["heads.masked.bias"].group == "heads.masked"
    assert "heads.masked.table.weight" not in named
    updater = Updater(OptimizerConfig(kind="muon", decay=0.01), tiny.model(), [Phase()])
    rules = {
        name: (type(o).__name__, group["weight_decay"])
        for o in updater.optimizers
        for group in o.param_groups
        for name in (updater._names[p] for p in group["params"])
    }
    assert set(rules) == set(named)
    assert rules["encoders.text.layer.weight"] == ("Muon", 0.01)
    assert rules["encoders.text.layer.bias"] == ("AdamW", 0.0)
    assert rules["encoders.text.norm.weight"] == ("AdamW", 0.0)
    assert rules["encoders.text.table.weight"] == ("AdamW", 0.01)
    assert rules["heads.next_sentence.out.weight"] == ("AdamW", 0.01)


def test_rate_keys_are_checked(tiny):
    with pytest.raises(UsageError, match=r"'encoders.text.layer' fits no"):
        Updater(OptimizerConfig(), tiny.model(), [Phase(rates={"encoders.text.layer": 0.0})])
    with pytest.raises(UsageError, match="-1"):
        Updater(OptimizerConfig(), tiny.model(), [Phase(rates={"": -1.0})])


def test_equal_multipliers_share_a_group(tiny):
    rates = {"": 1.0, "encoders.text.layer_0": 1.0, "encoders.text.embeddings": 0.0}
    updater = Updater(OptimizerConfig(), tiny.model(), [Phase(rates=rates)])
    assert [len(o.param_groups) for o in updater.optimizers] == [2]  # decayed and not; the frozen table is in none


def test_foreign_state_is_refused(tiny):
    updater = Updater(OptimizerConfig(), tiny.model(), [Phase(rates={"heads": 1.0})])
    with pytest.raises(ArtefactError, match="does not train"):
        updater.load({"optimizer.encoders.text.layer.weight.exp_avg": np.zeros((8, 8), np.float32)})
    with pytest.raises(ArtefactError, match="expected shape"):
        updater.load({"optimizer.heads.masked.bias.exp_avg": np.zeros(2, np.float32)})
