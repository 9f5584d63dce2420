"""What the suite must know of fastText: word2vec's, but that a hidden vector is a mean of rows, each of which gets the
hidden vector's gradient, and that CBOW tells a centre by the words around it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from conformance import skipgram
from conformance.skipgram import NEGATIVES, SHARED, VOCABULARY, WIDTH, WINDOW
from foretext.models.word2vec import blocks, fasttext_kernel, kernel, means

ROWS = 40
"""Rows of n-grams, shared by all words."""
STILL = (blocks.NOTHING, blocks.NOTHING)

break_in, epoch, nothing, poison, spy = skipgram.break_in, skipgram.epoch, skipgram.nothing, skipgram.poison, skipgram.spy


def gradient(row: Any) -> None:
    """The kernel's update is −rate times the gradient that autograd finds of the loss written plainly, each row of a
    mean counted as if it were the hidden vector (the released code's rule). "pairs" in float64 at a rate so small that
    the sum of updates is one gradient; a block within a span is one, in float32."""
    cbow = row.recipe.family.architecture == "cbow"
    if row.recipe.family.method == "pairs":
        _compare(_cbow_pairs if cbow else _pairs, cbow, np.float64, 1e-8, 1e-6)
    else:
        _compare(_cbow_spans if cbow else _spans, cbow, np.float32, 1.0, 1e-5)


def _world(dtype: Any) -> tuple[Any, ...]:
    """(inward, grams, outward), the rows of words, and the plan with the alias table."""
    inward, outward, *plan = skipgram._world(dtype)
    rng = np.random.default_rng(5)
    grams = (rng.standard_normal((ROWS, WIDTH)) * 0.7).astype(dtype)
    first = np.concatenate([[0], np.cumsum(rng.integers(0, 5, VOCABULARY))]).astype(np.int64)
    rows = rng.integers(0, ROWS, first[-1]).astype(np.int32)
    return (inward, grams, outward), (first, rows), tuple(plan)


def _negatives(plan: Any, count: int) -> list[list[int]]:
    state = np.array([5], np.uint64)
    return [[int(kernel.negative(*plan[3:], state)) for _ in range(NEGATIVES)] for _ in range(count)]


def _pairs(tables: Any, spelt: Any, plan: Any, rate: float) -> tuple[Any, Any, float]:
    words, low, high, accept, other = plan
    state = np.array([5], np.uint64)
    answer = fasttext_kernel.train_pairs(*tables, *spelt, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, state, *STILL)
    return answer, _negatives(plan, len(skipgram._pair_list(words, low, high))), 1.0


def _cbow_pairs(tables: Any, spelt: Any, plan: Any, rate: float) -> tuple[Any, Any, float]:
    words, low, high, accept, other = plan
    state = np.array([5], np.uint64)
    answer = fasttext_kernel.train_cbow_pairs(
        *tables, *spelt, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, state, *STILL
    )
    return answer, _negatives(plan, len(words)), 1.0


def _shared(plan: Any) -> list[int]:
    """The negatives of the first block."""
    state = np.array([5], np.uint64)
    return [int(kernel.negative(*plan[3:], state)) for _ in range(SHARED)]


def _cbow_spans(tables: Any, spelt: Any, plan: Any, rate: float) -> tuple[Any, Any, float]:
    words, low, high, accept, other = plan
    state = np.array([5], np.uint64)
    memory, local = means.scratch(WIDTH, WINDOW, SHARED, 0), fasttext_kernel.scratch(VOCABULARY, WIDTH, WINDOW)
    answer = fasttext_kernel.train_cbow_spans(
        *tables, *spelt, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, SHARED, state, memory, local, *STILL
    )
    return answer, [_shared(plan)] * len(_told(plan, cbow=True)), NEGATIVES / SHARED


def _spans(tables: Any, spelt: Any, plan: Any, rate: float) -> tuple[Any, Any, float]:
    words, low, high, accept, other = plan
    state = np.array([5], np.uint64)
    memory, local = blocks.scratch(WIDTH, WINDOW, SHARED), fasttext_kernel.scratch(VOCABULARY, WIDTH, WINDOW)
    answer = fasttext_kernel.train_spans(
        *tables, *spelt, words, low, high, len(words), rate, rate, accept, other, NEGATIVES, SHARED, state, memory, local, *STILL
    )
    return answer, [_shared(plan)] * len(_told(plan, cbow=False)), NEGATIVES / SHARED


def _hidden(tables: Any, spelt: Any, words: list[int]) -> torch.Tensor:
    """The mean over all rows of `words`, through which each row has the gradient of the mean itself."""
    first, rows = spelt
    parts = [tables[0][words]] + [tables[1][torch.from_numpy(rows[first[w] : first[w + 1]].astype(np.int64))] for w in words]
    whole = torch.cat(parts)
    total = whole.sum(dim=0)
    return total - (total - whole.mean(dim=0)).detach()


def _told(plan: Any, cbow: bool) -> list[tuple[list[int], int]]:
    """(words whose mean tells, the word told)."""
    words, low, high = plan[:3]
    if not cbow:
        return [([centre], context) for centre, context in skipgram._pair_list(words, low, high)]
    around = [[int(words[j]) for j in range(low[i], high[i]) if j != i] for i in range(len(words))]
    return [(others, int(words[i])) for i, others in enumerate(around) if others]


def _compare(train: Callable[..., Any], cbow: bool, dtype: Any, rate: float, tolerance: float) -> None:
    tables, spelt, plan = _world(dtype)
    before = [table.astype(np.float64) for table in tables]
    (loss, count, finite), negatives, weight = train(tables, spelt, plan, rate)
    leaves = [torch.from_numpy(table).requires_grad_() for table in before]
    told, total = _told(plan, cbow), leaves[0].new_zeros(())
    for (read, word), drawn in zip(told, negatives, strict=True):
        hidden = _hidden(leaves, spelt, read)
        total = total + F.softplus(-(hidden @ leaves[2][word]))
        for other in drawn:
            if other != word:
                total = total + weight * F.softplus(hidden @ leaves[2][other])
    gradients, expected = torch.autograd.grad(total, leaves), float(total.detach())
    assert finite and count == len(told)
    assert abs(loss - expected) <= tolerance * expected, f"loss {loss}, autograd's {expected}"
    for name, table, was, wanted in zip(("words", "n-grams", "outward"), tables, before, gradients, strict=True):
        found = (table.astype(np.float64) - was) / -rate
        gap = np.abs(found - wanted.numpy()).max() / np.abs(wanted.numpy()).max()
        assert gap <= tolerance, f"{name}: the update differs from −rate · gradient by {gap:.3g}, allowed {tolerance:g}"


def measure(stepper: Any) -> None:
    """The held-out loss is that of a plain sum over the fixed places (float64; the product sums in float32)."""
    words, low, high, n = stepper._held_out_plan()
    plan = (words[:n], low[:n], high[:n])
    told = _told(plan, stepper.shape.architecture == "cbow")
    negatives = stepper._held_out_negatives(np.array([word for _, word in told]))
    tables = [torch.from_numpy(table.astype(np.float64)) for table in (stepper.inward, stepper.grams, stepper.outward)]
    spelt, total = (stepper.spelt.first, stepper.spelt.rows), 0.0
    for (read, word), drawn in zip(told, negatives.tolist(), strict=True):
        hidden = _hidden(tables, spelt, read)
        scores = tables[2][[word, *(other for other in drawn if other >= 0)]] @ hidden
        total += float(F.softplus(-scores[0]) + F.softplus(scores[1:]).sum())
    assert len(told) and abs(stepper.evaluate()["loss"] - total / len(told)) <= 1e-6 * total / len(told)


floor = skipgram.floor


def learning(row: Any) -> None:
    """As `skipgram.learning`; with CBOW, whose loss is one word's, by a third of the margin."""
    margin = 0.3 if row.recipe.family.architecture == "cbow" else 0.8
    for shuffled in (False, True):
        stepper = row.stepper(150, shuffled=shuffled, family=replace(row.recipe.family, rate=0.1))
        for _ in range(150):
            stepper.step()
        loss, line = stepper.evaluate()["loss"], floor(row, stepper)
        if shuffled:
            assert loss >= line, f"words in no order, yet a loss of {loss:.2f} below {line:.2f}"
        else:
            assert loss <= line - margin, f"a loss of {loss:.2f}, wanted {margin} below {line:.2f}"
