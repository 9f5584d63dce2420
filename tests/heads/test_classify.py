"""The classification head against sums written out by hand: pooling, windows, mixes, losses."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from foretext.errors import UsageError
from foretext.heads.classify import ClassifyHead, ClassifyHeadConfig, Shape, layers_of, layers_read, pooled_width
from foretext.types import Batch, Origin, Target, TokenBatch, TokenVectors

WIDTH = 6


def vectors(seed: int = 0, *, summary: bool = True, layers: int = 3, junk: float = 0.0) -> TokenVectors:
    """Four sequences in three rows: lengths 3 and 2 in row 0, 4 in row 1, 1 in row 2; examples 0, 1, 1, 2."""
    bounds = torch.tensor([[0, 0, 3], [0, 3, 5], [1, 0, 4], [2, 0, 1]])
    sequence = torch.full((3, 5), -1)
    for number, (row, start, stop) in enumerate(bounds.tolist()):
        sequence[row, start:stop] = number
    generator = torch.Generator().manual_seed(seed)
    made = torch.randn(layers, 3, 5, WIDTH, generator=generator, dtype=torch.float64)
    made[:, sequence < 0] = junk
    batch = TokenBatch(
        ids=torch.zeros(3, 5, dtype=torch.long),
        sequence=sequence,
        position=torch.zeros(3, 5, dtype=torch.long),
        bounds=bounds,
        summary=torch.tensor([0, 3, 5, 10]),
        origin=Origin(example=np.array([0, 1, 1, 2])),
    )
    tops = made[-1].flatten(0, 1)[batch.summary] if summary else None
    return TokenVectors(layers=tuple(made), batch=batch, summary=tops)


PLAIN = ClassifyHeadConfig()


def head(config: ClassifyHeadConfig = PLAIN, labels: int = 4, layers: int = 3, **more: object) -> ClassifyHead:
    made = ClassifyHead({"text": Shape(widths=(WIDTH,) * layers, summary=WIDTH)}, labels, config, **more)  # type: ignore[arg-type]
    torch.nn.init.normal_(made.decision.weight, generator=torch.Generator().manual_seed(1))
    return made.double().eval()


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def tokens(seen: TokenVectors, sequence: int, layer: int = -1) -> torch.Tensor:
    return seen.layers[layer][seen.batch.sequence == sequence]


@pytest.mark.parametrize("pool", ["summary", "mean", "max", "concat"])
def test_windows_are_pooled_and_averaged(pool: str) -> None:
    seen = vectors()
    made = head(ClassifyHeadConfig(pool=pool))  # type: ignore[arg-type]
    each = []
    for s in range(4):
        t = tokens(seen, s)
        parts = {"summary": [t[0]], "mean": [t.mean(0)], "max": [t.amax(0)], "concat": [t[-1], t.amax(0), t.mean(0)]}
        each.append(torch.cat(parts[pool]))
    examples = torch.stack([each[0], (each[1] + each[2]) / 2, each[3]])
    expected = examples @ made.decision.weight.T + made.decision.bias
    assert torch.allclose(made.logits({"text": seen}), expected, atol=1e-12)


def test_average_of_window_vectors_is_the_geometric_mean_of_their_probabilities() -> None:
    seen, made = vectors(), head()
    apart = replace(seen, batch=replace(seen.batch, origin=Origin(example=np.arange(4))))
    each = made.predict({"text": apart})
    together = made.predict({"text": seen})
    assert torch.allclose(together[1], torch.log_softmax((each[1] + each[2]) / 2, 0), atol=1e-6)


@pytest.mark.parametrize("pool", ["mean", "max", "concat"])
def test_junk_in_the_padding_changes_nothing(pool: str) -> None:
    made = head(ClassifyHeadConfig(pool=pool))  # type: ignore[arg-type]
    assert torch.equal(made.logits({"text": vectors(junk=0.0)}), made.logits({"text": vectors(junk=float("nan"))}))


def test_a_mix_starts_as_the_mean_of_all_layers_and_one_layer_can_be_chosen() -> None:
    seen = vectors()
    mixed = head(ClassifyHeadConfig(layers="mix"))
    layer = torch.stack([torch.stack([tokens(seen, s, level).mean(0) for s in range(4)]) for level in range(3)]).mean(0)
    expected = torch.stack([layer[0], (layer[1] + layer[2]) / 2, layer[3]]) @ mixed.decision.weight.T
    assert torch.allclose(mixed.logits({"text": seen}), expected, atol=1e-12)
    assert mixed.mix_weights() == {"text": pytest.approx([1 / 3] * 3)}
    lowest = head(ClassifyHeadConfig(layers=0))
    only = replace(seen, layers=(seen.layers[0],))
    assert torch.equal(lowest.logits({"text": seen}), head(ClassifyHeadConfig(), layers=1).logits({"text": only}))


def test_several_sources_stand_side_by_side() -> None:
    made = ClassifyHead({"a": Shape(widths=(WIDTH,)), "b": Shape(widths=(WIDTH,))}, 3, ClassifyHeadConfig()).double().eval()
    a, b = vectors(1, layers=1), vectors(2, layers=1)
    assert made.decision.in_features == 2 * WIDTH
    swapped = made.logits({"a": b, "b": a})
    assert not torch.allclose(made.logits({"a": a, "b": b}), swapped)


def test_loss_is_the_weighted_sum_of_cross_entropies() -> None:
    seen = {"text": vectors()}
    gold = torch.tensor([2, 0, 2])
    target = Target(at=torch.arange(3), gold=gold, count=3)
    plain = head()
    logs = torch.log_softmax(plain.logits(seen), 1).float()
    assert plain.loss(seen, target) == pytest.approx(-sum(float(logs[i, g]) for i, g in enumerate(gold.tolist())), rel=1e-6)
    weighed = head(label_weights=(2.0, 1.0, 0.5, 1.0))
    assert weighed.loss(seen, target) == pytest.approx(-float(0.5 * logs[0, 2] + 2.0 * logs[1, 0] + 0.5 * logs[2, 2]), rel=1e-6)
    slots = replace(target, weight=torch.tensor([1.0, 0.0, 1.0]))
    assert plain.loss(seen, slots) == pytest.approx(-float(logs[0, 2] + logs[2, 2]), rel=1e-6)


def test_loss_of_several_labels_is_summed_binary_cross_entropy() -> None:
    seen = {"text": vectors()}
    gold = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]])
    made = head(ClassifyHeadConfig(multi=True))
    p = torch.sigmoid(made.logits(seen))
    expected = -(gold * p.log() + (1 - gold) * (1 - p).log()).sum()
    assert made.loss(seen, Target(at=torch.arange(3), gold=gold, count=3)) == pytest.approx(float(expected), rel=1e-5)
    assert torch.allclose(made.predict(seen).exp(), p, atol=1e-12)
    right = (p >= 0.5).long()
    assert made.measures(seen, Target(at=torch.arange(3), gold=right, count=3))["correct"] == 3


def test_measures_count_the_likeliest_label() -> None:
    seen, made = {"text": vectors()}, head()
    said = made.predict(seen).argmax(1)
    said[1] = (said[1] + 1) % 4
    assert made.measures(seen, Target(at=torch.arange(3), gold=said, count=3))["correct"] == 2


def test_normalising_makes_scale_irrelevant() -> None:
    made = head(ClassifyHeadConfig(normalize=True))
    seen = vectors()
    scaled = replace(seen, layers=tuple(100 * layer for layer in seen.layers))
    assert torch.allclose(made.logits({"text": seen}), made.logits({"text": scaled}), atol=1e-4)


def test_what_all_texts_share_is_subtracted() -> None:
    shift = torch.full((WIDTH,), 50.0, dtype=torch.float64)
    seen, plain, centred = vectors(), head(ClassifyHeadConfig(normalize=True)), head(ClassifyHeadConfig(normalize=True))
    centred.set_centres({"text": shift[None]})
    shifted = replace(seen, layers=tuple(layer + shift for layer in seen.layers))
    assert torch.allclose(centred.logits({"text": shifted}), plain.logits({"text": seen}), atol=1e-9)
    assert not centred.centres["text"].requires_grad


def test_new_heads_depend_on_the_seed_alone() -> None:
    shapes = {"text": Shape(widths=(WIDTH,))}
    first = ClassifyHead(shapes, 4, ClassifyHeadConfig(hidden=5), seed=3)
    torch.randn(7)
    again, other = ClassifyHead(shapes, 4, ClassifyHeadConfig(hidden=5), seed=3), ClassifyHead(shapes, 4, ClassifyHeadConfig(hidden=5), seed=4)
    assert torch.equal(first.decision.weight, again.decision.weight)
    assert not torch.equal(first.decision.weight, other.decision.weight)
    assert first.hidden is not None and first.hidden.out_features == 5


def test_what_an_encoder_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="no summary"):
        ClassifyHead({"text": Shape(widths=(6,))}, 2, ClassifyHeadConfig(pool="summary"))
    with pytest.raises(UsageError, match="layers 0 to 1, found 2"):
        ClassifyHead({"text": Shape(widths=(6, 6))}, 2, ClassifyHeadConfig(layers=2))
    with pytest.raises(UsageError, match="one width"):
        ClassifyHead({"text": Shape(widths=(6, 7))}, 2, ClassifyHeadConfig(layers="mix"))


def test_layers_of_are_all_that_comes_before_the_first_parameter() -> None:
    seen = vectors()
    made = head(ClassifyHeadConfig(layers="mix"))
    layers = layers_of(seen, made.config)
    assert [tuple(layer.shape) for layer in layers] == [(4, WIDTH)] * 3
    for level, layer in enumerate(layers):
        assert torch.allclose(layer[2], tokens(seen, 2, level).mean(0))


def test_a_hidden_layer_is_dense_and_relu() -> None:
    seen, made = vectors(), head(ClassifyHeadConfig(hidden=5))
    each = torch.stack([tokens(seen, s).mean(0) for s in range(4)])
    examples = torch.stack([each[0], (each[1] + each[2]) / 2, each[3]])
    assert made.hidden is not None
    torch.nn.init.normal_(made.hidden.weight, generator=torch.Generator().manual_seed(2))
    inner = (examples @ made.hidden.weight.T + made.hidden.bias).clamp(min=0)
    assert (inner == 0).any()
    expected = inner @ made.decision.weight.T + made.decision.bias
    assert torch.allclose(made.logits({"text": seen}), expected, atol=1e-12)


def test_dropout_acts_in_training_on_vector_and_hidden_layer() -> None:
    seen = {"text": vectors()}
    for hidden in (0, 5):
        made = head(ClassifyHeadConfig(dropout=0.5, hidden=hidden))
        said = made.logits(seen)
        assert torch.equal(said, made.logits(seen))
        made.train()
        torch.manual_seed(0)
        assert not torch.allclose(said, made.logits(seen))


@pytest.mark.parametrize("chosen", [0, 1, 2])
def test_every_layer_can_be_read_alone(chosen: int) -> None:
    seen = vectors()
    (only,) = layers_of(seen, ClassifyHeadConfig(layers=chosen))
    assert torch.allclose(only[2], tokens(seen, 2, chosen).mean(0))
    with pytest.raises(UsageError, match="layers 0 to 2, found"):
        head(ClassifyHeadConfig(layers=3))
    with pytest.raises(UsageError, match="layers 0 to 2, found -1"):
        head(ClassifyHeadConfig(layers=-1))


def test_widths_and_layers_by_configuration() -> None:
    shape = Shape(widths=(4, 4, 4), summary=7)
    rows = {  # (pool, layers) → (pooled width, layers read)
        ("summary", "last"): (7, 1), ("mean", "last"): (4, 1), ("max", "mix"): (4, 3), ("concat", "last"): (12, 1),
        ("concat", "mix"): (12, 3), ("mean", 0): (4, 1),
    }  # fmt: skip
    for (pool, layers), (width, read) in rows.items():
        config = ClassifyHeadConfig(pool=pool, layers=layers)  # type: ignore[arg-type]
        assert (pooled_width(shape, config), layers_read(shape, config)) == (width, read)
        made = ClassifyHead({"text": shape}, 2, replace(config, normalize=True))
        assert made.decision.in_features == width
        assert made.centres["text"].shape == (read, width)
        assert made.mix_weights() == ({"text": pytest.approx([1 / 3] * 3)} if layers == "mix" else {})
    uneven = Shape(widths=(3, 5))
    assert pooled_width(uneven, ClassifyHeadConfig()) == 5
    assert pooled_width(uneven, ClassifyHeadConfig(layers=0)) == 3
    assert ClassifyHead({"text": Shape(widths=(4,))}, 2, ClassifyHeadConfig(layers="mix")).mix_weights() == {}


def test_a_summary_is_of_the_last_layer_only() -> None:
    for layers in ("mix", 0):
        with pytest.raises(UsageError, match="last layer only"):
            head(ClassifyHeadConfig(pool="summary", layers=layers))  # type: ignore[arg-type]


def test_the_loss_reads_the_summaries_where_nothing_else_is_read() -> None:
    target = Target(at=torch.arange(3), gold=torch.arange(3), count=3)
    view = vectors().batch
    made = head(ClassifyHeadConfig(pool="summary"))
    places = made.places(Batch(views={"text": view}, targets={}), target)
    assert places is not None
    assert {name: at.tolist() for name, at in places.items()} == {"text": [0, 3, 5, 10]}
    assert made.places(Batch(views={"text": replace(view, summary=None)}, targets={}), target) is None
    assert head().places(Batch(views={"text": view}, targets={}), target) is None


def test_an_empty_sequence_adds_zeros_to_a_concatenation() -> None:
    seen = vectors()
    bounds = seen.batch.bounds.clone()
    bounds[3] = torch.tensor([2, 0, 0])
    empty = replace(seen, batch=replace(seen.batch, bounds=bounds))
    (pooled,) = layers_of(empty, ClassifyHeadConfig(pool="concat"))
    assert not pooled[3].any()
    assert torch.equal(pooled[2, :WIDTH], tokens(seen, 2)[-1])


def test_normalised_vectors_are_as_long_as_the_root_of_their_width() -> None:
    made = head(ClassifyHeadConfig(normalize=True), labels=WIDTH)
    made.decision.weight.copy_(torch.eye(WIDTH))
    made.decision.bias.zero_()
    lengths = made.logits({"text": vectors()}).norm(dim=1)
    assert torch.allclose(lengths, torch.full((3,), WIDTH**0.5, dtype=torch.float64))


def test_one_wrong_label_of_several_makes_an_example_wrong() -> None:
    seen, made = {"text": vectors()}, head(ClassifyHeadConfig(multi=True))
    right = (torch.sigmoid(made.logits(seen)) >= 0.5).long()
    assert 0 < right.sum() < right.numel()
    for example in range(3):
        wrong = right.clone()
        wrong[example, 1] = 1 - wrong[example, 1]
        assert made.measures(seen, Target(at=torch.arange(3), gold=wrong, count=3))["correct"] == 2
    order = torch.tensor([2, 0])
    assert made.measures(seen, Target(at=order, gold=right[order], count=2))["correct"] == 2


def test_defaults_are_those_written_down() -> None:
    config = ClassifyHeadConfig()
    assert (config.pool, config.layers, config.dropout, config.hidden, config.normalize, config.multi) == (
        "mean", "last", 0.1, 0, False, False,
    )  # fmt: skip
    big = ClassifyHead({"text": Shape(widths=(400,))}, 50, config)
    assert float(big.decision.weight.std()) == pytest.approx(0.02 * 0.88, rel=0.02)
    assert not big.decision.bias.any()
    assert torch.equal(big.decision.weight, ClassifyHead({"text": Shape(widths=(400,))}, 50, config, seed=0).decision.weight)
