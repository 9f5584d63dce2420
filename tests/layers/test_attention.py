"""Attention against a reference by loops, and the visibility rule against its definition."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.layers.attention import (
    Attention,
    attention_bias,
    best_kernel,
    fused_attention,
    matmul_attention,
    visible,
)
from foretext.layers.dropout import kept
from foretext.types import TokenBatch

numbers = st.lists(st.integers(-1, 2), min_size=1, max_size=7)


@settings(deadline=None, max_examples=80)
@given(numbers, st.sampled_from(["both", "left"]), st.lists(st.integers(0, 3), min_size=3, max_size=3), st.booleans())
def test_visible_is_its_definition(row, sees, prefix, prefixed) -> None:  # type: ignore[no-untyped-def]
    position = [row[:i].count(n) for i, n in enumerate(row)]
    found = visible(torch.tensor([row]), torch.tensor([position]), torch.tensor(prefix) if prefixed else None, sees)[0]
    for i, n in enumerate(row):
        for j, m in enumerate(row):
            allowed = n == m and n >= 0
            if sees == "left":
                allowed = allowed and (position[j] <= position[i] or (prefixed and position[j] < prefix[n]))
            assert bool(found[i, j]) == (allowed or i == j)


def by_loops(x: np.ndarray, sequence: np.ndarray, layer: Attention) -> np.ndarray:
    """Vaswani et al. 2017, section 3.2, one head, one query and one key at a time."""
    weight, bias = layer.qkv.weight.detach().numpy(), layer.qkv.bias.detach().numpy()
    T, D = x.shape
    d = D // layer.heads
    projected = x @ weight.T + bias
    joined = np.zeros((T, D))
    for h in range(layer.heads):
        q, k, v = (projected[:, part * D + h * d : part * D + (h + 1) * d] for part in range(3))
        for i in range(T):
            others = [j for j in range(T) if sequence[j] == sequence[i] and sequence[i] >= 0]
            if not others:
                continue
            scores = [math.exp(float(q[i] @ k[j]) / math.sqrt(d)) for j in others]
            joined[i, h * d : (h + 1) * d] = sum(s / sum(scores) * v[j] for s, j in zip(scores, others, strict=True))
    return joined @ layer.out.weight.detach().numpy().T + layer.out.bias.detach().numpy()


def batch_of(sequence: torch.Tensor) -> TokenBatch:
    zeros = torch.zeros_like(sequence)
    return TokenBatch(ids=zeros, sequence=sequence, position=zeros, bounds=torch.zeros(0, 3))


@pytest.mark.parametrize("kernel", [matmul_attention, fused_attention])
def test_attention_equals_the_loops_at_every_real_place(kernel, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("foretext.layers.attention.best_kernel", lambda device, tokens: kernel)
    torch.manual_seed(0)
    layer = Attention(8, 2).double()
    x = torch.randn(2, 6, 8, dtype=torch.float64)
    sequence = torch.tensor([[0, 0, 1, 1, 1, -1], [2, 3, 3, -1, -1, -1]])
    found = layer(x, attention_bias(batch_of(sequence), x))
    for row in range(2):
        expected = by_loops(x[row].numpy(), sequence[row].numpy(), layer)
        real = sequence[row].numpy() >= 0
        np.testing.assert_allclose(found[row].detach().numpy()[real], expected[real], atol=1e-12)
    assert bool(found.isfinite().all())


@pytest.mark.parametrize("kernel", [matmul_attention, fused_attention])
def test_gradients_check_and_never_cross_sequences(kernel) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    sequence = torch.tensor([[0, 0, 1, -1]])
    qkv = torch.randn(1, 4, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    bias = attention_bias(batch_of(sequence), qkv)
    assert torch.autograd.gradcheck(lambda qkv: kernel(qkv, bias, 0.0), qkv)
    kernel(qkv, bias, 0.0)[:, :2].sum().backward()
    assert qkv.grad is not None
    assert torch.count_nonzero(qkv.grad[:, 2:]) == 0, "a gradient crossed into another sequence or padding"
    assert torch.count_nonzero(qkv.grad[:, :2, 2]) == 12


def test_the_gradient_of_dropped_weights_is_autograds() -> None:
    """Against the same mask through autograd's own products."""
    torch.manual_seed(0)
    qkv = torch.randn(2, 5, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    bias = attention_bias(batch_of(torch.tensor([[0, 0, 1, 1, 1], [2, 2, 2, 2, -1]])), qkv)
    pull = torch.randn(2, 5, 8, dtype=torch.float64)
    torch.manual_seed(4)
    found = matmul_attention(qkv, bias, 0.3)
    torch.manual_seed(4)
    stays, scale = kept(torch.empty(2, 2, 5, 5, dtype=torch.float64), 0.3)
    assert 0 < int(stays.sum()) < 100
    q, k, v = qkv.permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(2, 3) / 2 + bias, dim=-1) * stays * scale
    expected = (weights @ v).transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    got, want = (torch.autograd.grad((x * pull).sum(), qkv)[0] for x in (found, expected))
    torch.testing.assert_close(got, want, atol=1e-12, rtol=0)


def test_dropout_drops_weights_in_training_only_and_from_the_global_generator() -> None:
    layer = Attention(8, 2, dropout_rate=0.5)
    x = torch.randn(1, 5, 8)
    bias = attention_bias(batch_of(torch.zeros(1, 5, dtype=torch.long)), x)
    quiet = layer.eval()(x, bias)
    torch.manual_seed(3)
    first = layer.train()(x, bias)
    torch.manual_seed(3)
    assert torch.equal(first, layer(x, bias))
    assert not torch.allclose(first, quiet)
    assert torch.equal(quiet, layer.eval()(x, bias))


def test_the_bias_takes_autocasts_type() -> None:
    batch, x = batch_of(torch.zeros(1, 2, dtype=torch.long)), torch.zeros(1, 2, 4)
    assert attention_bias(batch, x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert attention_bias(batch, x).dtype == torch.bfloat16


def test_the_kernel_is_chosen_by_device_and_length() -> None:
    assert best_kernel("cpu", 128) is matmul_attention
    assert best_kernel("cpu", 4096) is fused_attention
    assert best_kernel("cuda", 128) is fused_attention
