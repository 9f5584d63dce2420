import math

import pytest
import torch

from foretext.errors import UsageError
from foretext.heads.sequence import NextSentenceHead
from foretext.types import Target, TokenBatch, TokenVectors

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
