"""What a word2vec run learns: how words are told from one another, and which vectors tell them.

An objective knows its output table, trains a planned shard by the exact or the fast kernel, and says what the held-out
set loses. V vocabulary · D width · E held-out examples
"""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.models.word2vec import blocks, decisions, exact, kernel, means
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.tree import Tree
from foretext.types import Bits, Floats, Ints

Planned = tuple[kernel.Words, kernel.Words, kernel.Words, int]
"""Words, low, high and n of `kernel.plan`."""
Trained = tuple[float, int, bool]
"""Summed loss (nats), pairs (with CBOW: centres), and whether all scores were finite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Fixed examples to score. The mean of the vectors inputs[first[e] : first[e + 1]] tells the word told[e]."""

    inputs: Ints
    first: Ints
    told: Ints

    def hidden(self, inward: Floats, start: int, stop: int) -> Floats:
        """The means [stop − start, D] of examples start…stop − 1."""
        rows = inward[self.inputs[self.first[start] : self.first[stop]]]
        lengths = np.diff(self.first[start : stop + 1])
        if len(rows) == stop - start:
            return rows
        sums = np.add.reduceat(rows, self.first[start:stop] - self.first[start], axis=0, dtype=np.float64)
        found: Floats = sums / lengths[:, None]
        return found


class Objective(Protocol):
    """`head`: the output table's name on disk; `rows`: how many it has."""

    @property
    def head(self) -> str: ...
    @property
    def rows(self) -> int: ...

    def train(self, inward: Any, outward: Any, planned: Planned, rates: tuple[float, float], state: Any, still: Bits) -> Trained: ...

    def part(self, words: kernel.Words, state: Any) -> "tuple[Ints, Ints, Objective]":
        """For training on copies of a few rows: the rows of the input table and of the output table that `words` need,
        and this objective as it numbers words by their place in the first."""
        ...

    def met(self, words: kernel.Words) -> tuple[Ints, Ints]:
        """How often training on `words` meets each row of the input and of the output table of a `part`."""
        ...

    def examples(self, planned: Planned) -> Any:
        """The held-out set of a plan."""
        ...

    def loss(self, inward: Floats, outward: Floats, examples: Any) -> float | None:
        """Mean loss an example (nats); None where there is none."""
        ...


def scored_at_once(numbers: int) -> int:
    """How many examples are scored at once, of so many numbers each: 16 MB of them, but no more than 4,096."""
    return max(1, min(4096, (1 << 22) // max(1, numbers)))


# ── negative sampling ───────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeSampling:
    """`accept`, `other` [·]: the alias table of the words drawn as negatives."""

    config: Word2VecConfig
    rows: int
    accept: kernel.Table
    other: kernel.Words
    head: str = "negative_sampling"

    def train(self, inward: Any, outward: Any, planned: Planned, rates: tuple[float, float], state: Any, still: Bits) -> Trained:
        """A planned shard, by the config's method."""
        config = self.config
        given = (inward, outward, *planned, *rates, self.accept, self.other, config.negatives)
        fast = (config.shared, state)
        if config.method == "pairs":
            train = exact.train_cbow if config.architecture == "cbow" else kernel.train_pairs
            answer = train(*given, state, still)
        elif config.architecture == "cbow":
            memory = means.scratch(inward.shape[1], config.window, config.shared, 0)
            answer = means.train_cbow(*given, *fast, memory, still)
        else:
            memory = blocks.scratch(inward.shape[1], config.window, config.shared)
            answer = blocks.train_blocks(*given, *fast, memory, still)
        return float(answer[0]), int(answer[1]), bool(answer[2])

    def part(self, words: kernel.Words, state: Any) -> "tuple[Ints, Ints, NegativeSampling]":
        """Negatives are drawn from a pool that was drawn from the whole vocabulary: each one's odds are the same."""
        mine = np.unique(words)
        pool = np.empty(max(64, 2 * len(words)), np.int32)
        kernel.draw_many(self.accept, self.other, state, pool)
        extra = np.setdiff1d(pool, mine)
        place = np.searchsorted(mine, pool)
        known = mine[np.minimum(place, len(mine) - 1)] == pool
        numbers = np.where(known, place, len(mine) + np.searchsorted(extra, pool)).astype(np.int32)
        local = replace(
            self, rows=len(mine) + len(extra), accept=np.zeros(len(pool), np.float32), other=numbers,
        )  # fmt: skip
        return mine, np.concatenate([mine, extra]), local

    def met(self, words: kernel.Words) -> tuple[Ints, Ints]:
        """Words as they stand there; negatives by their odds."""
        seen = np.bincount(words, minlength=self.rows)
        drawn = len(words) * self.config.negatives / len(self.other) * np.bincount(self.other, minlength=self.rows)
        inward = np.bincount(words)
        return inward, (seen + drawn).astype(np.int64)

    def examples(self, planned: Planned) -> tuple[Examples, Ints]:
        """The examples and their negatives [E,K], drawn as in training; −1 stands for one that was skipped."""
        found = _by_mean(planned) if self.config.architecture == "cbow" else _by_centre(planned)
        return found, drawn_negatives(self.accept, self.other, found.told, self.config.negatives)

    def loss(self, inward: Floats, outward: Floats, examples: tuple[Examples, Ints]) -> float | None:
        """Mean over examples of −log σ(h·told) − Σ log σ(−h·negative) (2013b, eq. 4 with its sign turned)."""
        found, negatives = examples
        total, size, chunk = 0.0, len(found.told), scored_at_once(outward.shape[1] * (1 + negatives.shape[1]))
        for i in range(0, size, chunk):
            some = slice(i, min(i + chunk, size))
            total += negative_loss(found.hidden(inward, i, some.stop), outward, found.told[some], negatives[some])
        return total / size if size else None


def drawn_negatives(accept: kernel.Table, other: kernel.Words, told: Ints, negatives: int) -> Ints:
    """Fixed negatives [E,K] of examples that tell the words `told` [E]; −1: the word itself was drawn."""
    rng = draws.generator(0, "word2vec held-out negatives")
    guess = rng.integers(len(accept), size=(len(told), negatives))
    drawn: Ints = np.where(rng.random(guess.shape) < accept[guess], guess, other[guess])
    drawn[drawn == told[:, None]] = -1
    return drawn


def negative_loss(hidden: Floats, outward: Floats, told: Ints, negative: Ints) -> float:
    """Summed loss of vectors [E,D] that tell `told` [E] from `negative` [E,K]."""
    near = np.einsum("pd,pd->p", hidden, outward[told], dtype=np.float64)
    far = np.einsum("pd,pkd->pk", hidden, outward[negative], dtype=np.float64)
    return float(np.logaddexp(0.0, -near).sum() + np.logaddexp(0.0, far)[negative >= 0].sum())


# ── hierarchical softmax ────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class HierarchicalSoftmax:
    """The decisions of a Huffman tree."""

    config: Word2VecConfig
    tree: Tree
    head: str = "hierarchical_softmax"

    @property
    def rows(self) -> int:
        """At least one row: a file holds no empty table."""
        return max(1, self.tree.inner)

    def train(self, inward: Any, outward: Any, planned: Planned, rates: tuple[float, float], state: Any, still: Bits) -> Trained:
        """A planned shard, by the config's method."""
        config, tree = self.config, self.tree
        given = (inward, outward, *planned, *rates, tree.first, tree.nodes, tree.codes)
        width, window, deepest = inward.shape[1], config.window, tree.deepest
        if config.method == "pairs":
            train = exact.train_cbow_tree if config.architecture == "cbow" else exact.train_tree
            answer = train(*given, still)
        elif config.architecture == "cbow":
            answer = means.train_cbow_tree(*given, means.scratch(width, window, 8, deepest), still)
        else:
            answer = decisions.train_tree(*given, window, decisions.scratch(width, window, deepest), still)
        return float(answer[0]), int(answer[1]), bool(answer[2])

    def part(self, words: kernel.Words, state: Any) -> "tuple[Ints, Ints, HierarchicalSoftmax]":
        """The paths of `words` alone."""
        mine = np.unique(words)
        lengths = self.tree.first[mine + 1] - self.tree.first[mine]
        first = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(first[-1]) + np.repeat(self.tree.first[mine] - first[:-1], lengths)
        used, nodes = np.unique(self.tree.nodes[places], return_inverse=True)
        tree = replace(self.tree, first=first, nodes=nodes.astype(np.int32), codes=self.tree.codes[places])
        return mine, used, replace(self, tree=tree)

    def met(self, words: kernel.Words) -> tuple[Ints, Ints]:
        """Words as they stand there, and the nodes on their ways."""
        inward = np.bincount(words, minlength=len(self.tree.first) - 1)
        lengths = np.diff(self.tree.first)
        return inward, np.bincount(self.tree.nodes, np.repeat(inward, lengths)).astype(np.int64)

    def examples(self, planned: Planned) -> Examples:
        """With skip-gram each word around tells the centre, as in training."""
        return _by_mean(planned) if self.config.architecture == "cbow" else _by_context(planned)

    def loss(self, inward: Floats, outward: Floats, examples: Examples) -> float | None:
        """Mean over examples of −Σ log σ(±h·node) along the path (2013b, eq. 3)."""
        total, size, tree = 0.0, len(examples.told), self.tree
        chunk = scored_at_once(outward.shape[1] * tree.deepest)
        for i in range(0, size, chunk):
            stop = min(i + chunk, size)
            told = examples.told[i:stop]
            lengths = tree.first[told + 1] - tree.first[told]
            ends = np.cumsum(lengths)
            places = np.arange(ends[-1]) + np.repeat(tree.first[told] - (ends - lengths), lengths)
            hidden = np.repeat(examples.hidden(inward, i, stop), lengths, axis=0)
            scores = np.einsum("pd,pd->p", hidden, outward[tree.nodes[places]], dtype=np.float64)
            total += float(np.logaddexp(0.0, (2.0 * tree.codes[places] - 1.0) * scores).sum())
        return total / size if size else None


# ── held-out examples ───────────────────────────────────────────────────────────────────────────────────────────────


def _pairs(planned: Planned) -> tuple[Ints, Ints]:
    """The places of centre and context of every pair of a plan."""
    _, low, high, n = planned
    width = (high - low)[:n]
    centre = np.repeat(np.arange(n), width)
    other = np.arange(len(centre)) - np.repeat(np.cumsum(width) - width, width) + np.repeat(low[:n], width)
    return centre[other != centre], other[other != centre]


def _by_centre(planned: Planned) -> Examples:
    centre, other = _pairs(planned)
    return Examples(inputs=planned[0][centre], first=np.arange(len(centre) + 1), told=planned[0][other])


def _by_context(planned: Planned) -> Examples:
    centre, other = _pairs(planned)
    return Examples(inputs=planned[0][other], first=np.arange(len(centre) + 1), told=planned[0][centre])


def _by_mean(planned: Planned) -> Examples:
    centre, other = _pairs(planned)
    places, first = np.unique(centre, return_index=True)
    return Examples(inputs=planned[0][other], first=np.append(first, len(centre)), told=planned[0][places])


def alias(config: Word2VecConfig, counts: NDArray[np.float64]) -> tuple[kernel.Table, kernel.Words]:
    """The alias table of counts^power [V]."""
    return kernel.alias_table(counts**config.power)
