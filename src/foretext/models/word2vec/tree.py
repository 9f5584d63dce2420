"""The Huffman tree of hierarchical softmax (Morin & Bengio 2005; Mikolov et al. 2013a, section 4; 2013b, section 2.1).

A word is a leaf; what is learnt is one decision for each inner node between root and leaf. V words · V − 1 inner nodes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foretext.kernels import jit
from foretext.models.word2vec.kernel import Words
from foretext.types import Bits, Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """`children` [inner,2] int32: the two below each inner node; n ≥ 0 is inner node n, n < 0 the leaf of word −1 − n.
    The last inner node is the root. Word w decides at nodes[first[w] : first[w + 1]], root first, and goes the way
    `codes` [Σ] says there. Words outside the tree have no path."""

    children: Words
    first: Ints
    nodes: Words
    codes: NDArray[np.float32]

    @property
    def inner(self) -> int:
        """Inner nodes: rows of the table that is learnt."""
        return len(self.children)

    @property
    def deepest(self) -> int:
        """Decisions on the longest path."""
        return int(np.diff(self.first).max(initial=0))


def huffman(counts: Ints, kept: Bits) -> Tree:
    """The tree of the words that `kept` [V] marks, by their `counts` [V], as word2vec.c makes it (CreateBinaryTree):
    again and again the two rarest become one, the rarest as the child of code 0. Equal counts: an inner node is taken
    before a word, and of words the one of the higher id."""
    ids = np.flatnonzero(kept)
    ids = ids[np.argsort(-np.asarray(counts)[ids], kind="stable")]
    children = np.empty((max(0, len(ids) - 1), 2), np.int32)
    _merge(np.asarray(counts, np.int64)[ids], ids.astype(np.int32), children)
    return paths(children, len(kept))


def grafted(old: Tree, counts: Ints, kept: Bits) -> Tree:
    """`old` with the other words that `kept` [V] marks: a tree of their own beside the old one under a new root, so
    every old node keeps its number and its meaning. New nodes follow the old ones."""
    if not old.inner:
        return huffman(counts, kept)
    known = np.zeros(len(kept), np.bool_)
    known[: len(old.first) - 1] = np.diff(old.first)[: len(kept)] > 0
    added = kept & ~known
    if not added.any():
        return paths(old.children, len(kept))
    new = huffman(counts, added)
    moved = np.where(new.children >= 0, new.children + old.inner, new.children)
    top = old.inner + new.inner - 1 if new.inner else -1 - int(np.flatnonzero(added)[0])
    root = np.array([[top, old.inner - 1]], np.int32)
    return paths(np.concatenate([old.children, moved, root]).astype(np.int32), len(kept))


def paths(children: Words, vocabulary: int) -> Tree:
    """The tree of these inner nodes over words below `vocabulary`."""
    first = np.zeros(vocabulary + 1, np.int64)
    depth = np.zeros(len(children), np.int32)
    lengths = np.zeros(vocabulary, np.int64)
    _measure(children, depth, lengths)
    np.cumsum(lengths, out=first[1:])
    nodes, codes = np.zeros(int(first[-1]), np.int32), np.zeros(int(first[-1]), np.float32)
    parent, side = np.full(len(children), -1, np.int32), np.zeros(len(children), np.float32)
    _walk(children, parent, side, first, nodes, codes)
    return Tree(children=children, first=first, nodes=nodes, codes=codes)


@jit
def _merge(counts: Ints, ids: Words, children: Words) -> None:
    """Two queues, each in order: words from the rarest on, and inner nodes as they are made."""
    size = counts.shape[0]
    weight = np.empty(max(0, size - 1), np.int64)
    word, node = size - 1, 0
    for made in range(size - 1):
        total = np.int64(0)
        for side in range(2):
            if word >= 0 and (node >= made or counts[word] < weight[node]):
                children[made, side] = -1 - ids[word]
                total += counts[word]
                word -= 1
            else:
                children[made, side] = node
                total += weight[node]
                node += 1
        weight[made] = total


@jit
def _measure(children: Words, depth: Words, lengths: Ints) -> None:
    """Depth of each inner node and of each leaf. Children come before their parents, so from the root down is from the
    end to the start."""
    for n in range(children.shape[0] - 1, -1, -1):
        for side in range(2):
            child = children[n, side]
            if child >= 0:
                depth[child] = depth[n] + 1
            else:
                lengths[-1 - child] = depth[n] + 1


@jit
def _walk(children: Words, parent: Words, side: NDArray[np.float32], first: Ints, nodes: Words,
          codes: NDArray[np.float32]) -> None:
    """Each leaf's path, written from its end to the root."""
    for n in range(children.shape[0]):
        for which in range(2):
            if children[n, which] >= 0:
                parent[children[n, which]] = n
                side[children[n, which]] = which
    for n in range(children.shape[0]):
        for which in range(2):
            if children[n, which] < 0:
                word = -1 - children[n, which]
                at, node, code = first[word + 1] - 1, n, np.float32(which)
                while at >= first[word]:
                    nodes[at], codes[at] = node, code
                    code, node = side[node], parent[node]
                    at -= 1
