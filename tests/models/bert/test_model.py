"""BERT against a float64 reference by numpy, and packed rows against padded ones."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from foretext.errors import UsageError
from foretext.models.bert.config import BertConfig
from foretext.models.bert.model import Bert, build
from foretext.types import TokenBatch

VOCABULARY = 30
SMALL = BertConfig(layers=2, width=8, heads=2, inner=12, positions=9, dropout=0.0, attention_dropout=0.0)
# Larger than published, so that every part leaves a trace in the numbers.
LOUD = replace(SMALL, initial_sd=0.5)
PRE = replace(LOUD, norm="pre")


def sequences(seed: int = 0, lengths: tuple[int, ...] = (5, 2, 9, 1, 3)) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(seed)
    return [(rng.integers(1, VOCABULARY, n), np.sort(rng.integers(0, 2, n))) for n in lengths]


def rows(parts: list[list[tuple[np.ndarray, np.ndarray]]], width: int, junk: int = 0) -> TokenBatch:
    """One row a list of (ids, segments); what is left of `width` holds the id `junk`."""
    shape = (len(parts), width)
    ids, segment, position = np.full(shape, junk), np.zeros(shape, int), np.zeros(shape, int)
    sequence, bounds = np.full(shape, -1), []
    for row, row_parts in enumerate(parts):
        start = 0
        for number, (its_ids, its_segment) in enumerate(row_parts, len(bounds)):
            place = slice(start, start + len(its_ids))
            ids[row, place], segment[row, place] = its_ids, its_segment
            position[row, place], sequence[row, place] = np.arange(len(its_ids)), number
            bounds.append((row, start, place.stop))
            start = place.stop
    bounds_S3 = torch.tensor(bounds)
    return TokenBatch(
        ids=torch.tensor(ids),
        sequence=torch.tensor(sequence),
        position=torch.tensor(position),
        segment=torch.tensor(segment),
        bounds=bounds_S3,
        summary=bounds_S3[:, 0] * width + bounds_S3[:, 1],
    )


def by_sequence(values: torch.Tensor, batch: TokenBatch) -> list[torch.Tensor]:
    return [values[row, start:stop] for row, start, stop in batch.bounds.tolist()]


def reference(model: Bert, ids: np.ndarray, segment: np.ndarray) -> tuple[list[np.ndarray], np.ndarray]:
    """Layers and pooled vector of one sequence, from the papers: Devlin et al. 2019, Vaswani et al. 2017."""
    p = {name: value.detach().double().numpy() for name, value in model.named_parameters()}
    pre = model.config.norm == "pre"

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * p[f"{name}.weight"] + p[f"{name}.bias"]

    def dense(x: np.ndarray, name: str) -> np.ndarray:
        return x @ p[f"{name}.weight"].T + p[f"{name}.bias"]

    def attend(x: np.ndarray, name: str) -> np.ndarray:
        d = model.config.width // model.config.heads
        q, k, v = np.split(dense(x, f"{name}.qkv"), 3, axis=-1)
        heads = []
        for h in range(model.config.heads):
            part = slice(h * d, (h + 1) * d)
            e = np.exp(q[:, part] @ k[:, part].T / math.sqrt(d))
            heads.append(e / e.sum(-1, keepdims=True) @ v[:, part])
        return dense(np.concatenate(heads, -1), f"{name}.out")

    def feed_forward(x: np.ndarray, name: str) -> np.ndarray:
        inner = dense(x, f"{name}.inner")
        phi = 0.5 * (1 + np.vectorize(math.erf)(inner / math.sqrt(2)))
        return dense(inner * phi, f"{name}.out")

    x = p["embeddings.table.weight"][ids] + p["embeddings.position.weight"][: len(ids)]
    layers = [norm(x + p["embeddings.segment.weight"][segment], "embeddings.norm")]
    for number in range(model.config.layers):
        x, name = layers[-1], f"layers.{number}"
        for part, f in (("attention", attend), ("feed_forward", feed_forward)):
            if pre:
                x = x + f(norm(x, f"{name}.{part}_norm"), f"{name}.{part}")
            else:
                x = norm(x + f(x, f"{name}.{part}"), f"{name}.{part}_norm")
        layers.append(x)
    if pre:
        layers[-1] = norm(layers[-1], "final_norm")
    return layers, np.tanh(dense(layers[-1][0], "pooler"))


@pytest.mark.parametrize("config", [LOUD, PRE], ids=["post", "pre"])
@pytest.mark.parametrize("layout", ["padded", "packed"])
def test_equals_the_reference(config: BertConfig, layout: str) -> None:
    model = build(config, VOCABULARY).double()
    given = sequences()
    parts = [[one] for one in given] if layout == "padded" else [given[:2], [given[2]], given[3:]]
    batch = rows(parts, 9)
    vectors = model(batch)
    assert model.widths == (8, 8, 8)
    assert vectors.summary is not None
    for number, (ids, segment) in enumerate(given):
        layers, pooled = reference(model, ids, segment)
        for found, expected in zip(vectors.layers, layers, strict=True):
            np.testing.assert_allclose(by_sequence(found, batch)[number].detach().numpy(), expected, atol=1e-10)
        np.testing.assert_allclose(vectors.summary[number].detach().numpy(), pooled, atol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("config", [SMALL, replace(SMALL, norm="pre")], ids=["post", "pre"])
def test_packing_changes_nothing(config: BertConfig, dtype: torch.dtype, tolerance: float) -> None:
    model = build(config, VOCABULARY).to(dtype)
    given = sequences(lengths=(4, 3, 2, 6, 1))
    padded, packed = rows([[one] for one in given], 6), rows([given[:3], given[3:]], 9, junk=7)
    a, b = model(padded), model(packed)
    for x, y in zip(a.layers, b.layers, strict=True):
        for one, other in zip(by_sequence(x, padded), by_sequence(y, packed), strict=True):
            torch.testing.assert_close(one, other, atol=tolerance, rtol=0)
    torch.testing.assert_close(a.summary, b.summary, atol=tolerance, rtol=0)


@pytest.mark.parametrize("config", [SMALL, PRE], ids=["post", "pre"])
def test_nan_in_padding_never_appears_elsewhere(config: BertConfig) -> None:
    """Forward and backward: the row of the padding id is NaN in the table."""
    model = build(config, VOCABULARY)
    with torch.no_grad():
        model.table.weight[0] = torch.nan
    given = sequences(lengths=(4, 3))
    clean, dirty = rows([given], 7), rows([given], 9, junk=0)
    vectors = model(dirty)
    for x, y in zip(model(clean).layers, vectors.layers, strict=True):
        for one, other in zip(by_sequence(x, clean), by_sequence(y, dirty), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    (sum(x.sum() for x in by_sequence(vectors.layers[-1], dirty)) + vectors.summary.sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        assert bool(parameter.grad.isfinite().all()), name


def test_a_sequence_depends_on_itself_alone() -> None:
    model = build(PRE, VOCABULARY).double()
    given = sequences(lengths=(4, 5))
    batch = rows([given], 9)
    kept = []
    model.embeddings.register_forward_hook(lambda module, inputs, out: (out.retain_grad(), kept.append(out), None)[2])
    model(batch).layers[-1][0, :4].pow(3).sum().backward()
    assert torch.count_nonzero(kept[0].grad[0, 4:]) == 0
    assert torch.count_nonzero(kept[0].grad[0, :4]) == 32


def test_bf16_stays_close_and_answers_finite() -> None:
    model = build(replace(SMALL, width=64, inner=256), VOCABULARY)
    batch = rows([[one] for one in sequences()], 9)
    exact = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(batch)
    for x, y in zip(exact.layers, rough.layers, strict=True):
        for one, other in zip(by_sequence(x, batch), by_sequence(y, batch), strict=True):
            assert (one - other).abs().mean() < 0.02, "bf16 rounding of unit-variance vectors is about 0.004"
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_dropout_is_the_global_generators_and_off_in_evaluation() -> None:
    model = build(replace(SMALL, dropout=0.5, attention_dropout=0.5), VOCABULARY)
    batch = rows([sequences(lengths=(5,))], 5)
    torch.manual_seed(1)
    first = model(batch).layers[-1]
    assert not torch.equal(first, model(batch).layers[-1])
    torch.manual_seed(1)
    assert torch.equal(first, model(batch).layers[-1])
    model.eval()
    assert torch.equal(model(batch).layers[-1], model(batch).layers[-1])


def test_groups_hold_every_parameter_once_bottom_to_top() -> None:
    post, pre = build(SMALL, VOCABULARY), build(replace(PRE, pooler="none"), VOCABULARY)
    assert list(post.groups()) == ["embeddings", "layer_0", "layer_1", "pooler"]
    assert list(pre.groups()) == ["embeddings", "layer_0", "layer_1", "final_norm"]
    for model in (post, pre):
        grouped = [id(parameter) for group in model.groups().values() for parameter in group]
        assert sorted(grouped) == sorted(map(id, model.parameters()))


def test_starting_values() -> None:
    model = build(replace(SMALL, width=64, inner=256, heads=4), 500)
    assert abs(model.table.weight.std().item() / (0.02 * 0.8796) - 1) < 0.02
    assert torch.equal(model.table.weight, build(model.config, 500).table.weight)
    assert not torch.equal(model.table.weight, build(model.config, 500, seed=1).table.weight)
    first, second = model.layers
    assert not torch.equal(first.feed_forward.inner.weight, second.feed_forward.inner.weight)


def test_zero_residuals_start_as_the_identity() -> None:
    model = build(replace(PRE, initial_residual="zero"), VOCABULARY)
    vectors = model(rows([sequences(lengths=(5,))], 5))
    assert torch.equal(vectors.layers[0], vectors.layers[1])
    with pytest.raises(UsageError, match='set norm = "pre"'):
        replace(SMALL, initial_residual="zero")


def test_summary_without_pooler_is_the_top_vector_and_none_without_places() -> None:
    model = build(replace(SMALL, pooler="none"), VOCABULARY)
    batch = rows([sequences(lengths=(4, 3))], 7)
    vectors = model(batch)
    assert torch.equal(vectors.summary, vectors.layers[-1][0, [0, 4]])
    assert model(replace(batch, summary=None)).summary is None


def test_published_sizes_have_the_published_number_of_parameters() -> None:
    """110M for base (Devlin et al. 2019, section 3); 109,482,240 is the exact sum of the released shapes."""
    with torch.device("meta"):
        size = sum(parameter.numel() for parameter in _unstarted(BertConfig()).parameters())
    assert size == 109_482_240


def _unstarted(config: BertConfig) -> Bert:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("foretext.models.bert.model.initialise", lambda *arguments: None)
        return Bert(config, 30522)


def test_a_sequence_beyond_the_positions_is_refused_but_a_long_packed_row_is_not() -> None:
    model = build(SMALL, VOCABULARY)
    model(rows([sequences(lengths=(9, 9))], 18))
    with pytest.raises(UsageError, match="10 tokens, the model has positions for 9"):
        model(rows([sequences(lengths=(10,))], 10))


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="768 does not divide into 7 heads"):
        BertConfig(heads=7)
    with pytest.raises(UsageError, match="at least 1"):
        BertConfig(layers=0)
    with pytest.raises(UsageError, match="no segment vectors"):
        BertConfig(segments=0)
