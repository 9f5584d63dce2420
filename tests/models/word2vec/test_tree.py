"""The Huffman tree against a plain one, and what a grafted tree must keep."""

import heapq
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.models.word2vec.tree import Tree, grafted, huffman


def plain_depths(counts: list[int]) -> list[int]:
    """Merge the two lightest again and again."""
    ticket = itertools.count()
    heap = [(count, next(ticket), [word]) for word, count in enumerate(counts)]
    heapq.heapify(heap)
    depths = [0] * len(counts)
    while len(heap) > 1:
        a, b = heapq.heappop(heap), heapq.heappop(heap)
        for word in a[2] + b[2]:
            depths[word] += 1
        heapq.heappush(heap, (a[0] + b[0], next(ticket), a[2] + b[2]))
    return depths


def path(tree: Tree, word: int) -> list[tuple[int, int]]:
    return [(int(tree.nodes[at]), int(tree.codes[at])) for at in range(tree.first[word], tree.first[word + 1])]


def follow(tree: Tree, steps: list[tuple[int, int]]) -> int:
    """The word that a path leads to, by the children alone."""
    at = tree.inner - 1
    for node, code in steps:
        assert at == node
        at = int(tree.children[node, code])
    return -1 - at


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_paths_are_as_short_as_huffmans_and_lead_to_their_words(counts: list[int]) -> None:
    tree = huffman(np.array(counts), np.ones(len(counts), np.bool_))
    assert tree.inner == len(counts) - 1
    lengths = np.diff(tree.first)
    assert (lengths * counts).sum() == np.dot(plain_depths(counts), counts)
    assert tree.deepest == lengths.max()
    if len(counts) > 1:
        assert [follow(tree, path(tree, word)) for word in range(len(counts))] == list(range(len(counts)))


def test_the_rarest_is_the_child_of_code_0_as_in_word2vec_c() -> None:
    """CreateBinaryTree: binary[min2] = 1, the less rare of the two."""
    tree = huffman(np.array([0, 9, 5, 2, 1]), np.array([False, True, True, True, True]))
    assert [path(tree, word) for word in range(5)] == [
        [], [(2, 1)], [(2, 0), (1, 1)], [(2, 0), (1, 0), (0, 1)], [(2, 0), (1, 0), (0, 0)],
    ]  # fmt: skip


@pytest.mark.parametrize("new", [0, 1, 2, 5])
def test_a_grafted_tree_keeps_every_old_node(new: int) -> None:
    old = huffman(np.array([0, 7, 4, 4, 1]), np.array([False, True, True, True, True]))
    counts = np.concatenate([[0, 3, 0, 9, 9], np.arange(1, new + 1)])
    grown = grafted(old, counts, np.arange(5 + new) > 0)
    assert np.array_equal(grown.children[: old.inner], old.children)
    assert grown.inner == old.inner + new
    for word in range(1, 5):
        assert path(grown, word)[-len(path(old, word)) :] == path(old, word)
    assert [follow(grown, path(grown, word)) for word in range(1, 5 + new)] == list(range(1, 5 + new))
    assert grafted(huffman(counts, counts < 0), counts, counts > 2).inner == (counts > 2).sum() - 1
