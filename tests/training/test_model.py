import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from foretext.errors import ArtefactError
from foretext.heads.sequence import next_sentence_head
from foretext.heads.vocabulary import masked_head
from foretext.models.bert.config import BertConfig
from foretext.models.bert.model import build
from foretext.training.model import Model, copy_in, to_arrays
from foretext.types import Batch, Target, TokenBatch

CONFIG = BertConfig(layers=2, width=8, heads=2, inner=12, positions=6, dropout=0.0, attention_dropout=0.0)


def made(seed: int = 0, **weights: float) -> Model:
    encoder = build(CONFIG, 20, seed)
    heads = {"masked": masked_head(encoder, seed=seed), "next_sentence": next_sentence_head(encoder, seed=seed)}
    return Model({"text": encoder}, heads, weights)


def batch(rows: slice = slice(None)) -> Batch:
    """Three rows of 6; some places masked (a row's slots filled up to 2), one pair a row."""
    rng = np.random.default_rng(0)
    ids = torch.tensor(rng.integers(1, 20, (3, 6)))[rows]
    n = len(ids)
    sequence = torch.arange(n)[:, None].expand(n, 6)
    number = torch.arange(n)
    view = TokenBatch(
        ids=ids,
        sequence=sequence,
        position=torch.arange(6).expand(n, 6),
        bounds=torch.stack([number, 0 * number, 0 * number + 6], 1),
        summary=number * 6,
    )
    slots = torch.tensor([[1, 4], [2, 0], [3, 5]])[rows]
    weight = torch.tensor([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])[rows].flatten()
    masked = Target(
        at=(slots + number[:, None] * 6).flatten(),
        gold=torch.tensor([[3, 4], [5, 0], [7, 8]])[rows].flatten(),
        count=int(weight.sum()),
        weight=weight,
    )
    pairs = Target(at=number, gold=torch.tensor([0, 1, 0])[rows], count=n)
    return Batch(views={"text": view}, targets={"masked": masked, "next_sentence": pairs})


def test_loss_is_weighted_means_and_micro_batches_add_up_to_the_batch() -> None:
    model = made(masked=1.0, next_sentence=0.5).double()
    loss, sums = model.loss(batch())
    assert loss.item() == pytest.approx(sums["masked"].item() / 5 + 0.5 * sums["next_sentence"].item() / 3, abs=1e-12)
    whole = torch.autograd.grad(loss, list(model.parameters()))
    counts = {"masked": 5, "next_sentence": 3}
    for rows in (slice(0, 1), slice(1, 3)):
        model.loss(batch(rows), counts)[0].backward()
    for (name, parameter), expected in zip(model.named_parameters(), whole, strict=True):
        torch.testing.assert_close(parameter.grad, expected, atol=1e-12, rtol=1e-9, msg=name)


def test_measures_are_those_of_the_heads() -> None:
    model = made()
    found = model.measures(batch())
    assert {name: set(sums) for name, sums in found.items()} == {"masked": {"correct"}, "next_sentence": {"correct"}}


def test_names_on_disk_and_tied_tensors_once() -> None:
    arrays = made().arrays()
    assert {"encoders.text.embeddings.table.weight", "encoders.text.pooler.weight", "heads.masked.bias"} <= set(arrays)
    assert "heads.masked.table.weight" not in arrays
    assert all(value.dtype == np.float32 for value in arrays.values())
    assert sum(value.shape == (20, 8) for value in arrays.values()) == 1


def test_arrays_round_trip_and_stay_tied() -> None:
    old, new = made(seed=1), made(seed=2)
    new.load(old.arrays())
    for name, value in new.arrays().items():
        np.testing.assert_array_equal(value, old.arrays()[name])
    assert new.head("masked").table.weight is new.encoder("text").table.weight  # type: ignore[attr-defined]
    assert torch.equal(new.loss(batch())[0], old.loss(batch())[0])
    twin = copy.deepcopy(new)
    assert twin.head("masked").table.weight is twin.encoder("text").table.weight  # type: ignore[attr-defined]


def test_arrays_are_copies() -> None:
    model = made()
    arrays = model.arrays()
    with torch.no_grad():
        model.encoder("text").table.weight.zero_()
    assert arrays["encoders.text.embeddings.table.weight"].any()


def test_load_names_every_fault_and_then_changes_nothing() -> None:
    model = made()
    before, arrays = model.arrays(), made(seed=3).arrays()
    del arrays["heads.masked.bias"], arrays["encoders.text.pooler.bias"]
    arrays["heads.other.bias"] = np.zeros(3)
    arrays["encoders.text.embeddings.table.weight"] = np.zeros((21, 8))
    with pytest.raises(ArtefactError) as caught:
        model.load(arrays, file="model.safetensors")
    for part in (
        "model.safetensors",
        "missing heads.masked.bias [20]",
        "missing encoders.text.pooler.bias [8]",
        "surplus heads.other.bias [3]",
        "encoders.text.embeddings.table.weight: expected [20, 8], found [21, 8]",
    ):
        assert part in str(caught.value)
    for name, value in model.arrays().items():
        np.testing.assert_array_equal(value, before[name])


def test_loading_a_part() -> None:
    old, new = made(seed=1), made(seed=2)
    heads = {name: value for name, value in new.arrays().items() if name.startswith("heads.")}
    new.load(old.arrays(), within="encoders.text.")
    for name, value in new.arrays().items():
        np.testing.assert_array_equal(value, heads.get(name, old.arrays()[name]))
    encoder = build(CONFIG, 20, seed=5)
    copy_in(encoder, old.arrays(), prefix="encoders.text.")
    for name, value in to_arrays(encoder, "encoders.text.").items():
        np.testing.assert_array_equal(value, old.arrays()[name])


def test_groups_hold_every_parameter_once_the_table_with_the_encoder() -> None:
    model = made()
    groups = model.groups()
    assert list(groups) == [
        "encoders.text.embeddings",
        "encoders.text.layer_0",
        "encoders.text.layer_1",
        "encoders.text.pooler",
        "heads.masked",
        "heads.next_sentence",
    ]
    grouped = [id(parameter) for group in groups.values() for parameter in group]
    assert sorted(grouped) == sorted(map(id, model.parameters()))
    table = model.encoder("text").table.weight
    assert any(parameter is table for parameter in groups["encoders.text.embeddings"])


def test_a_batch_without_targets_of_a_head_still_has_a_finite_loss() -> None:
    model, whole = made(), batch()
    empty = torch.zeros(0, dtype=torch.long)
    none = Batch(views=whole.views, targets={"masked": Target(at=empty, gold=empty, count=0)})
    loss, _ = model.loss(none)
    loss.backward()
    assert loss.item() == 0.0


def unweighted(whole: Batch) -> Batch:
    """The same batch without its filling slots; one place is [CLS]'s, which next-sentence prediction reads too."""
    masked = whole.targets["masked"]
    at, gold = torch.cat([masked.at[masked.weight > 0], torch.tensor([6])]), torch.cat([masked.gold[masked.weight > 0], torch.tensor([9])])
    return Batch(views=whole.views, targets={**whole.targets, "masked": Target(at=at, gold=gold, count=6)})


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("heads", [("masked",), ("next_sentence",), ("masked", "next_sentence")])
def test_a_top_block_for_the_read_places_alone_gives_the_same_losses_and_gradients(norm: str, heads: tuple[str, ...]) -> None:
    encoder = build(replace(CONFIG, norm=norm, initial_sd=0.5), 20, 0)
    model = Model({"text": encoder}, {"masked": masked_head(encoder), "next_sentence": next_sentence_head(encoder)}).double()
    given = unweighted(batch())
    given = Batch(views=given.views, targets={name: given.targets[name] for name in heads})
    seen: list[int] = []
    hook = encoder.layers[-1].feed_forward.register_forward_hook(lambda _m, args, _o: seen.append(args[0].numel() // 8))
    parameters = [p for n, p in model.named_parameters() if n.startswith("encoders")]
    found = {}
    for way, vectors in (("alone", None), ("all", model(given))):
        losses = model.losses(given, vectors)
        gradients = torch.autograd.grad(sum(losses.values()), parameters, allow_unused=True, materialize_grads=True)
        found[way] = [*losses.values(), *gradients]
    hook.remove()
    assert seen == [18, {1: 6, 2: 8}[len(heads)] if "masked" in heads else 3]
    for alone, whole in zip(found["alone"], found["all"], strict=True):
        torch.testing.assert_close(alone, whole, atol=1e-12, rtol=1e-9)


def test_heads_that_repeat_a_place_or_do_not_say_get_every_vector() -> None:
    model = made()
    assert model._wanted(batch()).views["text"].wanted is None  # filling slots repeat place 0
    given = unweighted(batch())
    assert model._wanted(given).views["text"].wanted is not None
    model.heads["next_sentence"].places = None
    assert model._wanted(given).views["text"].wanted is None
