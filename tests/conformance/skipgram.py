"""What the suite must know of word2vec, whose loss and update live in a kernel of their own.

A family with a stepper of its own (models/catalog.py) brings such a module: `gradient`, `epoch`, `spy`, `break_in`,
`poison`, `floor` and `learning`.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from foretext.models.word2vec import blocks, kernel

NEGATIVES, SHARED, WINDOW, WIDTH, WORDS, VOCABULARY = 3, 16, 3, 6, 16, 60
DISTINCT = 6
"""A seed whose first negatives are all different."""


def gradient(row: Any) -> None:
    """The kernel's update is −rate times the gradient that autograd finds of the loss written plainly (Mikolov et al.
    2013b, eq. 4). "pairs" in float64 to 1e-6 of the largest entry (it holds each step's factor in float32), then both
    in float32 to 1e-5."""
    if row.recipe.family.method == "pairs":
        # A rate so small that later pairs see the tables of the first: the sum of updates is one gradient.
        _compare(_pairs, np.float64, rate=1e-8, tolerance=1e-6)
        _one_pair(np.float32, rate=1.0, tolerance=1e-5)
    else:
        # All updates of a block see the tables before it, whatever the rate.
        _compare(_block, np.float32, rate=1.0, tolerance=1e-5)


def _world(dtype: Any) -> tuple[Any, ...]:
    rng = np.random.default_rng(11)
    tables = [(rng.standard_normal((VOCABULARY, WIDTH)) * 0.7).astype(dtype) for _ in range(2)]
    words = rng.permutation(VOCABULARY)[:WORDS].astype(np.int32)
    reach = rng.integers(1, WINDOW + 1, WORDS)
    sentence = np.arange(WORDS) // 9 * 9  # a border after nine words
    low = np.maximum(np.arange(WORDS) - reach, sentence).astype(np.int32)
    high = np.minimum(np.arange(WORDS) + reach + 1, np.minimum(sentence + 9, WORDS)).astype(np.int32)
    return (*tables, words, low, high, *kernel.alias_table(rng.random(VOCABULARY)))


def _pair_list(words: Any, low: Any, high: Any) -> list[tuple[int, int]]:
    return [(int(words[i]), int(words[j])) for i in range(len(words)) for j in range(low[i], high[i]) if j != i]


def _loss(inward: torch.Tensor, outward: torch.Tensor, pairs: Any, negatives: Any, weight: float) -> torch.Tensor:
    total = inward.new_zeros(())
    for (centre, context), drawn in zip(pairs, negatives, strict=True):
        total = total + F.softplus(-(inward[centre] @ outward[context]))
        for other in drawn:
            if other != context:
                total = total + weight * F.softplus(inward[centre] @ outward[other])
    return total


def _pairs(world: Any, rate: float, seed: int = 5) -> tuple[Any, Any, float]:
    """The kernel's answer, each pair's negatives, and their weight."""
    inward, outward, words, low, high, accept, other = world
    state = np.array([seed], np.uint64)
    drawn = [[int(kernel.negative(accept, other, state)) for _ in range(NEGATIVES)] for _ in _pair_list(words, low, high)]
    state = np.array([seed], np.uint64)
    answer = kernel.train_pairs(inward, outward, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, state)
    return answer, drawn, 1.0


def _block(world: Any, rate: float) -> tuple[Any, Any, float]:
    inward, outward, words, low, high, accept, other = world
    state = np.array([5], np.uint64)
    drawn = [int(kernel.negative(accept, other, state)) for _ in range(SHARED)]
    assert max(map(drawn.count, drawn)) <= 2, "this draw would shorten the block"
    memory = blocks.scratch(WIDTH, WINDOW, SHARED)
    state = np.array([5], np.uint64)
    answer = blocks.train_blocks(
        inward, outward, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, SHARED, WINDOW, state, memory
    )
    return answer, [drawn] * len(_pair_list(words, low, high)), NEGATIVES / SHARED


def _compare(train: Callable[..., Any], dtype: Any, *, rate: float, tolerance: float) -> None:
    world = _world(dtype)
    before = [table.astype(np.float64) for table in world[:2]]
    (loss, count, finite), negatives, weight = train(world, rate)
    tables = [torch.from_numpy(table).requires_grad_() for table in before]
    pairs = _pair_list(*world[2:5])
    total = _loss(*tables, pairs, negatives, weight)
    gradients, expected = torch.autograd.grad(total, tables), float(total.detach())
    assert finite and count == len(pairs)
    assert abs(loss - expected) <= tolerance * expected, f"loss {loss}, autograd's {expected}"
    for name, table, was, wanted in zip(("inward", "outward"), world[:2], before, gradients, strict=True):
        found = (table.astype(np.float64) - was) / -rate
        gap = np.abs(found - wanted.numpy()).max() / np.abs(wanted.numpy()).max()
        assert gap <= tolerance, f"{name}: the update differs from −rate · gradient by {gap:.3g}, allowed {tolerance:g}"


def _one_pair(dtype: Any, *, rate: float, tolerance: float) -> None:
    """One centre with one context, at a rate that float32 tables can hold: nothing has moved before."""
    world = _world(dtype)
    words, low, high = world[2][:2], np.array([0, 1], np.int32), np.array([2, 2], np.int32)
    cut = (*world[:2], words, low, high, *world[5:])
    before = [table.astype(np.float64) for table in cut[:2]]
    (_, count, finite), negatives, weight = _pairs(cut, rate, seed=DISTINCT)
    tables = [torch.from_numpy(table).requires_grad_() for table in before]
    assert finite and count == 1 and len({*negatives[0], int(words[1])}) == NEGATIVES + 1, "choose another DISTINCT"
    gradients = torch.autograd.grad(_loss(*tables, _pair_list(words, low, high), negatives, weight), tables)
    for table, was, wanted in zip(cut[:2], before, gradients, strict=True):
        assert np.abs((table - was) / -rate - wanted.numpy()).max() <= tolerance


def epoch(stepper: Any) -> float:
    """Steps of one pass."""
    return float(len(stepper._cuts) - 1)


def spy(stepper: Any, seen: list[Any]) -> None:
    """Note which tokens each shard reads, in order, under the step's number."""
    train = stepper._train

    def noted(start: int, stop: int, place: Any, *rates: float) -> Any:
        ids = tuple(np.asarray(stepper.store.ids[start:stop]).tolist())
        seen.append((stepper.done, place, start, stop, ids, *rates))
        return train(start, stop, place, *rates)

    stepper._train = noted


def break_in(stepper: Any, step: int, error: Exception) -> None:
    """Raise `error` in the second shard of update `step`."""
    train = stepper._train

    def broken(start: int, stop: int, place: Any, *rates: float) -> Any:
        if stepper.done == step and place[-1] == 1:
            raise error
        return train(start, stop, place, *rates)

    stepper._train = broken


def nothing(stepper: Any) -> None:
    """A step without a word: every one is sub-sampled away."""
    stepper.keep[:] = 0.0


def poison(stepper: Any) -> Callable[[], None]:
    """Make the next step meet a NaN; what undoes it."""
    word = int(np.flatnonzero(stepper.kept)[0])
    kept = stepper.inward[word].copy()
    stepper.inward[word] = np.nan

    def cure() -> None:
        stepper.inward[word] = kept

    return cure


def floor(row: Any, stepper: Any) -> float:
    """The lowest loss a pair (nats) of a model for which centre and context have nothing to do with one another:
    score s_c = ln(P(c) / (k·Pₙ(c)·(1 − P(c)))) for context c, whatever the centre; a negative that is the context is
    skipped."""
    counts = np.where(stepper.kept, np.asarray(stepper.store.counts)[: len(stepper.kept)], 0) * stepper.keep.astype(np.float64)
    counts = counts[counts > 0]
    context, noise = counts / counts.sum(), counts**row.recipe.family.power
    spent = row.recipe.family.negatives * noise / noise.sum() * (1.0 - context)
    score = np.log(context / spent)
    return float((context * np.logaddexp(0, -score) + spent * np.logaddexp(0, score)).sum())


def learning(row: Any) -> None:
    """Neighbours tell a word: a held-out loss of at least 0.8 nats below `floor`. Words in no order: not below it."""
    for shuffled in (False, True):
        stepper = row.stepper(150, shuffled=shuffled, family=replace(row.recipe.family, rate=0.1))
        for _ in range(150):
            stepper.step()
        loss, line = stepper.evaluate()["loss"], floor(row, stepper)
        if shuffled:
            assert loss >= line, f"words in no order, yet a loss of {loss:.2f} below {line:.2f}"
        else:
            assert loss <= line - 0.8, f"a loss of {loss:.2f}, wanted 0.8 below {line:.2f}"
