from dataclasses import dataclass

import torch

from foretext.models.static import StaticVectors, build
from foretext.types import TokenBatch


@dataclass
class Config:
    width: int = 4


def test_a_token_is_its_row_and_padding_is_zero() -> None:
    model = build(Config(), 6)
    ids, sequence = torch.tensor([[5, 2, 0], [2, 0, 0]]), torch.tensor([[0, 0, -1], [1, -1, -1]])
    batch = TokenBatch(ids=ids, sequence=sequence, position=ids, bounds=torch.tensor([[0, 0, 2], [1, 0, 1]]))
    vectors = model(batch)
    assert len(vectors.layers) == 1
    assert vectors.summary is None
    assert torch.equal(vectors.layers[0][0, 1], vectors.layers[0][1, 0])
    assert torch.equal(vectors.layers[0][0, 0], model.table.weight[5])
    assert torch.count_nonzero(vectors.layers[0][sequence < 0]) == 0


def test_one_hot_times_q_is_the_look_up() -> None:
    """The first layer of a network that reads one-hot rows x is x·Q; an encoder reads row w of Q instead: the same vector, and
    the same gradient."""
    model, ids = build(Config(), 6), torch.tensor([[5, 2, 2, 0]])
    q = model.table.weight.detach().clone().requires_grad_()
    batch = TokenBatch(ids=ids, sequence=torch.zeros_like(ids), position=ids, bounds=torch.tensor([[0, 0, 4]]))
    looked_up, multiplied = model(batch).layers[0][0], torch.eye(6)[ids[0]] @ q
    assert torch.equal(looked_up, multiplied)
    weights = torch.arange(16.0).view(4, 4)
    (looked_up * weights).sum().backward()
    (multiplied * weights).sum().backward()
    assert model.table.weight.grad is not None and q.grad is not None
    assert torch.equal(model.table.weight.grad, q.grad) and bool(q.grad[2].any()) and not bool(q.grad[1].any())


def test_what_it_declares() -> None:
    model = StaticVectors(6, 4)
    assert (model.widths, model.sees, model.limit) == ((4,), "self", None)
    assert [name for name, _ in model.named_parameters()] == ["table.weight"]
    assert {name: list(map(id, group)) for name, group in model.groups().items()} == {
        "embeddings": [id(model.table.weight)]
    }
