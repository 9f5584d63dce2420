import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from foretext.errors import UsageError
from foretext.heads.sequence import NextSentenceHead, next_sentence_head
from foretext.types import Batch, Target, TokenBatch, TokenVectors

zeros = torch.zeros(1, 1, dtype=torch.long)
BATCH = TokenBatch(ids=zeros, sequence=zeros, position=zeros, bounds=torch.zeros(0, 3))


def test_loss_predict_and_measures_by_hand() -> None:
    torch.manual_seed(0)
    head = NextSentenceHead(4, initial_sd=0.5).double()
    with torch.no_grad():
        head.out.bias.copy_(torch.tensor([0.3, -0.2]))
    summary = torch.randn(3, 4, dtype=torch.float64)
    vectors = {"text": TokenVectors(layers=(), batch=BATCH, summary=summary)}
    target = Target(at=torch.tensor([2, 0]), gold=torch.tensor([0, 1]), count=2)
    expected, correct = 0.0, 0
    for s, gold in ((2, 0), (0, 1)):
        scores = [(summary[s] @ head.out.weight[k] + head.out.bias[k]).item() for k in range(2)]
        expected += math.log(sum(map(math.exp, scores))) - scores[gold]
        correct += scores[gold] > scores[1 - gold]
    assert head.loss(vectors, target).item() == pytest.approx(expected, abs=1e-12)
    assert head.measures(vectors, target)["correct"].item() == correct
    assert head.predict(vectors).shape == (3, 2)
    half = Target(at=target.at, gold=target.gold, count=1, weight=torch.tensor([0.0, 1.0]))
    last = Target(at=torch.tensor([0]), gold=torch.tensor([1]), count=1)
    assert head.loss(vectors, half).item() == pytest.approx(head.loss(vectors, last).item(), abs=1e-12)


def test_without_a_summary_it_says_what_to_use() -> None:
    with pytest.raises(UsageError, match='summary = "start"'):
        NextSentenceHead(4).predict({"text": TokenVectors(layers=(), batch=BATCH)})


def test_measures_count_places_that_weigh_something() -> None:
    head = NextSentenceHead(2).double()
    with torch.no_grad():
        head.out.weight.copy_(torch.eye(2))
    # The larger entry is the answer: 0, 1, 1, 0.
    summary = torch.tensor([[2.0, 1.0], [1.0, 2.0], [0.0, 3.0], [3.0, 0.0]], dtype=torch.float64)
    vectors = {"text": TokenVectors(layers=(), batch=BATCH, summary=summary)}
    gold = torch.tensor([0, 0, 1, 1])  # right, wrong (too low), right, wrong (too high)
    target = Target(at=torch.arange(4), gold=gold, count=4)
    assert head.measures(vectors, target)["correct"].item() == 2
    weighed = {  # weights → right answers that count
        (0.0, 0.0, 0.0, 0.0): 0, (1.0, 1.0, 0.0, 0.0): 1, (0.0, 1.0, 0.5, 1.0): 1, (0.25, 0.0, 2.0, 0.0): 2,
        (-1.0, 1.0, 1.0, 1.0): 1,
    }  # fmt: skip
    for weight, correct in weighed.items():
        found = head.measures(vectors, replace(target, weight=torch.tensor(weight)))["correct"]
        assert found.item() == correct
        assert found.dtype == torch.int64


def test_the_loss_reads_the_summaries_where_there_are_any() -> None:
    head = NextSentenceHead(4, source="other")
    empty = Target(at=zeros[0], gold=zeros[0], count=1)
    with_them = Batch(views={"other": replace(BATCH, summary=torch.tensor([0, 5]))}, targets={})
    places = head.places(with_them, empty)
    assert places is not None
    assert {name: at.tolist() for name, at in places.items()} == {"other": [0, 5]}
    assert head.places(Batch(views={"other": BATCH}, targets={}), empty) is None


def test_a_new_head_fits_the_encoders_top_layer_and_depends_on_its_seed() -> None:
    encoder = SimpleNamespace(widths=(3, 5, 400))
    made = next_sentence_head(encoder, source="pair", seed=3)  # type: ignore[arg-type]
    assert made.source == "pair"
    assert made.out.weight.shape == (2, 400)
    assert torch.equal(made.out.weight, NextSentenceHead(400, seed=3).out.weight)
    assert not torch.equal(made.out.weight, NextSentenceHead(400).out.weight)
    plain = next_sentence_head(encoder)  # type: ignore[arg-type]
    assert plain.source == "text"
    assert torch.equal(plain.out.weight, NextSentenceHead(400, seed=0, initial_sd=0.02).out.weight)
    assert torch.equal(NextSentenceHead(400).out.weight, plain.out.weight)
    assert not plain.out.bias.any()


def test_scores_in_half_precision_are_normalised_in_fp32() -> None:
    head = NextSentenceHead(4).bfloat16()
    summary = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).bfloat16()
    found = head.predict({"text": TokenVectors(layers=(), batch=BATCH, summary=summary)})
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.exp().sum(1), torch.ones(3), atol=1e-6, rtol=0)
