import torch
from torch import nn

from foretext.bundle import build_model
from foretext.layers.initial import initialise, to_be_counted, to_be_loaded, truncated_normal_
from stage_two import pretrained


def test_truncated_normal_has_the_moments_of_the_definition() -> None:
    x = torch.empty(400, 500)
    truncated_normal_(x, 0.02, 0, "x")
    assert x.abs().max() <= 0.04
    # The deviation of N(0,1) cut off at ±2 is 0.8796.
    assert abs(x.std().item() / 0.02 - 0.8796) < 0.005
    assert abs(x.mean().item()) < 2e-4


def test_a_value_depends_on_seed_and_name_alone() -> None:
    def made(seed: int, *parts: nn.Module) -> nn.Module:
        module = nn.ModuleDict({str(i): part for i, part in enumerate(parts)})
        initialise(module, 0.02, seed, "m")
        return module

    alone = made(0, nn.Linear(3, 4))
    torch.rand(5)
    beside = made(0, nn.Linear(3, 4), nn.LayerNorm(4))
    assert torch.equal(alone["0"].weight, beside["0"].weight)  # type: ignore[index]
    assert not torch.equal(alone["0"].weight, made(1, nn.Linear(3, 4))["0"].weight)  # type: ignore[index]
    assert not torch.equal(*(made(0, nn.Linear(3, 4), nn.Linear(3, 4))[i].weight for i in "01"))  # type: ignore[index]
    assert beside["0"].bias.tolist() == [0.0] * 4  # type: ignore[index]
    assert beside["1"].weight.tolist() == [1.0] * 4  # type: ignore[index]
    assert beside["1"].bias.tolist() == [0.0] * 4  # type: ignore[index]


def test_shared_parameters_are_left_alone() -> None:
    table, linear = nn.Embedding(3, 4), nn.Linear(4, 4)
    before = table.weight.clone()
    initialise(nn.ModuleList([linear, table]), 0.02, 0, "m", shared=table)
    assert torch.equal(table.weight, before)


def test_what_is_to_be_loaded_is_left_unset_and_loads_whole() -> None:
    linear = nn.Linear(4, 4)
    before = linear.weight.clone()
    with to_be_loaded():
        initialise(linear, 0.02, 0, "m")
    assert torch.equal(linear.weight, before)
    initialise(linear, 0.02, 0, "m")
    assert not torch.equal(linear.weight, before)
    source = pretrained("bert")
    loaded = {name: tensor.numpy() for name, tensor in source.encoder().state_dict().items()}  # type: ignore[attr-defined]
    assert set(loaded) == {name.removeprefix("encoders.text.") for name in source.arrays}
    assert all((loaded[name.removeprefix("encoders.text.")] == array).all() for name, array in source.arrays.items())


def test_what_is_to_be_counted_has_every_shape_and_no_memory() -> None:
    recipe = pretrained("bert").recipe
    with to_be_counted():
        counted = build_model(recipe, 100)
    made = build_model(recipe, 100)
    shapes = [{name: p.shape for name, p in model.named_parameters()} for model in (counted, made)]
    assert shapes[0] == shapes[1] and all(p.is_meta for p in counted.parameters())
    assert not any(p.is_meta for p in made.parameters())
