"""What the suite must know of word2vec, whose loss and update live in a kernel of their own.

A family with a stepper of its own (models/catalog.py) brings such a module: `gradient`, `epoch`, `spy`, `break_in`,
`poison`, `measure`, `floor` and `learning`; and, where they are not word2vec's, `nothing` and `held_out`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from foretext.models.word2vec import blocks, kernel, tree
from foretext.models.word2vec.objectives import HierarchicalSoftmax, NegativeSampling

NEGATIVES, SHARED, WINDOW, WIDTH, WORDS, VOCABULARY = 3, 16, 3, 6, 16, 60
DISTINCT = 6
"""A seed whose first negatives are all different."""


def gradient(row: Any) -> None:
    """The kernel's update is −rate times the gradient that autograd finds of the loss written plainly (Mikolov et al.
    2013b, eq. 3 and 4; with CBOW the vectors around get the gradient by their mean, undivided). "pairs" in float64 to
    1e-6 of the largest entry (skip-gram holds each step's factor in float32), then both in float32 to 1e-5."""
    family = row.recipe.family
    world = _World.made(family)
    if family.method == "pairs":
        # A rate so small that later examples see the tables of the first: the sum of updates is one gradient.
        world.compare(np.float64, rate=1e-8, tolerance=1e-6)
        world.alone(1).compare(np.float32, rate=1.0, tolerance=1e-5, seed=DISTINCT)
    else:
        # All updates of a block see the tables before it, whatever the rate; the nodes of a tree those before a vector.
        tree_alone = world.alone(2 * WINDOW if family.architecture == "cbow" else 1)
        (world if family.loss == "negative-sampling" else tree_alone).compare(np.float32, rate=1.0, tolerance=1e-5)


def _world(dtype: Any) -> tuple[Any, ...]:
    """Random tables, a planned stream with a border after nine words, and an alias table."""
    rng = np.random.default_rng(11)
    tables = [(rng.standard_normal((VOCABULARY, WIDTH)) * 0.7).astype(dtype) for _ in range(2)]
    words = rng.permutation(VOCABULARY)[:WORDS].astype(np.int32)
    reach = rng.integers(1, WINDOW + 1, WORDS)
    sentence = np.arange(WORDS) // 9 * 9
    low = np.maximum(np.arange(WORDS) - reach, sentence).astype(np.int32)
    high = np.minimum(np.arange(WORDS) + reach + 1, np.minimum(sentence + 9, WORDS)).astype(np.int32)
    return (*tables, words, low, high, *kernel.alias_table(rng.random(VOCABULARY)))


def _pair_list(words: Any, low: Any, high: Any) -> list[tuple[int, int]]:
    """Centre and context of every pair."""
    return [(int(words[i]), int(words[j])) for i in range(len(words)) for j in range(low[i], high[i]) if j != i]


@dataclass(frozen=True)
class _World:
    """A planned stream over random tables, and what is to be learnt of it."""

    objective: Any
    words: Any
    low: Any
    high: Any

    @classmethod
    def made(cls, family: Any) -> "_World":
        _, _, words, low, high, accept, other = _world(np.float64)
        config = replace(family, width=WIDTH, window=WINDOW, negatives=NEGATIVES, shared=SHARED)
        if family.loss == "hierarchical-softmax":
            counts = np.random.default_rng(1).integers(1, 900, VOCABULARY)
            return cls(HierarchicalSoftmax(config=config, tree=tree.huffman(counts, counts > 0)), words, low, high)
        return cls(NegativeSampling(config=config, rows=VOCABULARY, accept=accept, other=other), words, low, high)

    def alone(self, contexts: int) -> "_World":
        """One centre with so many words around it: nothing has moved before it."""
        n, centre = contexts + 1, (contexts + 1) // 2
        low, high = np.arange(n, dtype=np.int32), np.arange(1, n + 1, dtype=np.int32)
        low[centre], high[centre] = 0, n
        return replace(self, words=self.words[:n], low=low, high=high)

    def examples(self) -> list[tuple[list[int], int]]:
        """The words whose mean tells a word, and that word."""
        config = self.objective.config
        if config.architecture == "cbow":
            places = range(len(self.words))
            around = [[int(self.words[j]) for j in range(self.low[i], self.high[i]) if j != i] for i in places]
            return [(around[i], int(self.words[i])) for i in places if around[i]]
        pairs = _pair_list(self.words, self.low, self.high)
        if config.loss == "hierarchical-softmax":
            return [([context], centre) for centre, context in pairs]
        return [([centre], context) for centre, context in pairs]

    def drawn(self, seed: int, examples: int) -> tuple[list[list[int]], float]:
        """Each example's negatives, and their weight."""
        if isinstance(self.objective, HierarchicalSoftmax):
            return [[]] * examples, 0.0
        state, given = np.array([seed], np.uint64), (self.objective.accept, self.objective.other)
        if self.objective.config.method == "pairs":
            return [[int(kernel.negative(*given, state)) for _ in range(NEGATIVES)] for _ in range(examples)], 1.0
        shared = [int(kernel.negative(*given, state)) for _ in range(SHARED)]
        assert max(map(shared.count, shared)) <= 2, "this draw would shorten the block"
        return [shared] * examples, NEGATIVES / SHARED

    def loss(self, inward: torch.Tensor, outward: torch.Tensor, seed: int) -> torch.Tensor:
        """The loss as it is written."""
        total = inward.new_zeros(())
        examples = self.examples()
        negatives, weight = self.drawn(seed, len(examples))
        for (around, told), drawn in zip(examples, negatives, strict=True):
            rows = inward[around]
            hidden = rows.detach().mean(0) + rows.sum(0) - rows.sum(0).detach()  # the mean; its gradient, undivided
            if isinstance(self.objective, HierarchicalSoftmax):
                made = self.objective.tree
                for at in range(made.first[told], made.first[told + 1]):
                    score = hidden @ outward[int(made.nodes[at])]
                    total = total + F.softplus(score if made.codes[at] else -score)
                continue
            total = total + F.softplus(-(hidden @ outward[told]))
            for other in drawn:
                if other != told:
                    total = total + weight * F.softplus(hidden @ outward[other])
        return total

    def compare(self, dtype: Any, *, rate: float, tolerance: float, seed: int = 5) -> None:
        """Train once, and compare with autograd."""
        rng = np.random.default_rng(12)
        made = [(rng.standard_normal((size, WIDTH)) * 0.7).astype(dtype) for size in (VOCABULARY, self.objective.rows)]
        before = [table.astype(np.float64) for table in made]
        planned = (self.words, self.low, self.high, len(self.words))
        loss, count, finite = self.objective.train(*made, planned, (rate, rate), np.array([seed], np.uint64), blocks.NOTHING)
        tables = [torch.from_numpy(table).requires_grad_() for table in before]
        total = self.loss(*tables, seed)
        gradients, expected = torch.autograd.grad(total, tables), float(total.detach())
        assert finite and count == len(self.examples()) > 0
        assert abs(loss - expected) <= tolerance * expected, f"loss {loss}, autograd's {expected}"
        for name, table, was, wanted in zip(("inward", "outward"), made, before, gradients, strict=True):
            found = (table.astype(np.float64) - was) / -rate
            gap = np.abs(found - wanted.numpy()).max() / np.abs(wanted.numpy()).max()
            assert gap <= tolerance, f"{name}: the update differs from −rate · gradient by {gap:.3g}, allowed {tolerance:g}"


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


def measure(stepper: Any) -> None:
    """The held-out loss against a plain loop over its examples (float64: 1e-9)."""
    found = stepper.objective.examples(stepper._held_out_plan())
    inward, outward = stepper.inward.astype(np.float64), stepper.outward.astype(np.float64)
    made = getattr(stepper.objective, "tree", None)
    examples, negatives = (found, None) if made else found
    total = 0.0
    for e, told in enumerate(examples.told):
        rows = inward[examples.inputs[examples.first[e] : examples.first[e + 1]]]
        hidden = np.array([math.fsum(column) / len(rows) for column in rows.T])
        if made:
            decisions = slice(made.first[told], made.first[told + 1])
            for node, code in zip(made.nodes[decisions], made.codes[decisions], strict=True):
                total += math.log1p(math.exp((2 * code - 1) * float(hidden @ outward[node])))
            continue
        total += math.log1p(math.exp(-float(hidden @ outward[told])))
        total += sum(math.log1p(math.exp(float(hidden @ outward[k]))) for k in negatives[e] if k >= 0)
    assert abs(stepper.evaluate()["loss"] - total / len(examples.told)) <= 1e-9


def floor(row: Any, stepper: Any) -> float:
    """The lowest loss an example (nats) of a model for which a word and what stands around it have nothing to do with
    one another. Negative sampling: score s_c = ln(P(c) / (k·Pₙ(c)·(1 − P(c)))) for the told word c, whatever tells it; a
    negative that is the word is skipped. The tree: the entropy of the words."""
    counts = np.where(stepper.kept, np.asarray(stepper.store.counts)[: len(stepper.kept)], 0) * stepper.keep.astype(np.float64)
    counts = counts[counts > 0]
    told, noise = counts / counts.sum(), counts**row.recipe.family.power
    if getattr(row.recipe.family, "loss", "") == "hierarchical-softmax":
        return float(-(told * np.log(told)).sum())
    spent = row.recipe.family.negatives * noise / noise.sum() * (1.0 - told)
    score = np.log(told / spent)
    return float((told * np.logaddexp(0, -score) + spent * np.logaddexp(0, score)).sum())


def learning(row: Any) -> None:
    """Neighbours tell a word: a held-out loss well below `floor`. Words in no order: not below it."""
    for shuffled in (False, True):
        stepper = row.stepper(150, shuffled=shuffled, family=replace(row.recipe.family, rate=0.1))
        for _ in range(150):
            stepper.step()
        loss, line = stepper.evaluate()["loss"], floor(row, stepper)
        if shuffled:
            assert loss >= line, f"words in no order, yet a loss of {loss:.2f} below {line:.2f}"
        else:
            assert loss <= line - 0.8, f"a loss of {loss:.2f}, wanted 0.8 below {line:.2f}"
