"""BERT's sentence pairs: segments A and B of whole sentences, half of the Bs from another document.

Devlin et al. 2019, appendix A.2, and google-research/bert `create_pretraining_data.py`. Where we differ:
* the code draws the shorter target once a document and copy, the paper speaks of sequences: here once a pair;
* the code looks for another document ten times and then takes the same one, wrong label included: here B never comes
  from A's document;
* a chunk of one sentence can only get a random B (as in the code), so slightly more than half of the pairs are random.
"""

from bisect import bisect_left
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from foretext.data.plan import Plan
from foretext.errors import DataError
from foretext.types import Bits, Ints


class Chunks(NamedTuple):
    """A and the chunk it was cut from, a pair: token offsets [n]; `target`: tokens the pair aims at; `section` [n]."""

    start: Ints
    middle: Ints
    end: Ints
    random: Bits
    target: Ints
    section: Ints


def plan_pairs(
    sections: Ints, pool: Ints, sentences: Ints, *, room: int, short: float, rng: np.random.Generator
) -> Plan:
    """Pairs of the `sections` [k,3] (first sentence, last sentence exclusive, document), one a row, at most `room`
    tokens each. Random Bs start at a random sentence of a random section of the `pool` [m,3] (ordered by document)."""
    chunks = _chunks(sections, sentences, room, short, rng)
    b_start, b_end = chunks.middle.copy(), chunks.end.copy()
    which = np.flatnonzero(chunks.random)
    wanted = chunks.target[which] - (chunks.middle - chunks.start)[which]
    documents = sections[chunks.section[which], 2]
    b_start[which], b_end[which] = _elsewhere(documents, wanted, pool, sentences, rng)
    (a_start, a_end), (b_start, b_end) = _truncate(chunks.start, chunks.middle, b_start, b_end, room, rng)
    runs = np.stack([a_start, a_end - a_start, b_start, b_end - b_start], 1)
    return Plan(rows=np.arange(len(runs) + 1), runs=runs, random=chunks.random)


def refuse_one_document(pool: Ints) -> None:
    """DataError when no B can come from another document."""
    found = len(np.unique(pool[:, 2]))
    if found < 2:
        raise DataError(
            f"next-sentence pairs need at least two documents with text to train on, found {found}",
            remedy='give one file a document, or say where documents end (documents = "blank": at blank lines), '
            'or train without pairs: windows.kind = "packed" and no next_sentence objective',
        )


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    while True:
        yield from rng.random(8192).tolist()


def _chunks(sections: Ints, sentences: Ints, room: int, short: float, rng: np.random.Generator) -> Chunks:
    """Walks every section once; sentences after a random pair's A go back and begin the next chunk."""
    draw = _uniforms(rng).__next__
    found: list[tuple[int, int, int, bool, int, int]] = []
    for number, (first, last, _) in enumerate(sections.tolist()):
        bounds = np.unique(sentences[first : last + 1]).tolist()  # unique: sentences without a token vanish
        at, end = 0, len(bounds) - 1
        while at < end:
            target = 2 + int(draw() * (room - 1)) if draw() < short else room
            stop = min(bisect_left(bounds, bounds[at] + target, at + 1), end)
            middle = at + 1 + int(draw() * (stop - at - 1))  # A: 1 … n−1 of the chunk's n sentences, or its only one
            random = stop - at == 1 or draw() < 0.5
            found.append((bounds[at], bounds[middle], bounds[stop], random, target, number))
            at = middle if random else stop
    table = np.array(found, np.int64).reshape(-1, 6)
    start, middle_, stop_, random_, target_, section = table.T
    return Chunks(start, middle_, stop_, random_.astype(np.bool_), target_, section)


def _elsewhere(
    documents: Ints, wanted: Ints, pool: Ints, sentences: Ints, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """For each document [n]: whole sentences from a random place of another one, about `wanted` tokens (at least one
    sentence). Uniform over the other documents' sections, without retries."""
    low = np.searchsorted(pool[:, 2], documents, "left")
    own = np.searchsorted(pool[:, 2], documents, "right") - low
    pick = np.floor(rng.random(len(documents)) * (len(pool) - own)).astype(np.int64)
    first, last, _ = pool[np.where(pick >= low, pick + own, pick)].T
    sentence = first + np.floor(rng.random(len(documents)) * (last - first)).astype(np.int64)
    sentence = np.where(sentences[sentence] < sentences[last], sentence, first)  # only empty sentences from here on
    start = sentences[sentence].astype(np.int64)
    stop = np.searchsorted(sentences, start + np.maximum(wanted, 1), "left")
    return start, sentences[np.minimum(stop, last)].astype(np.int64)


def _truncate(
    a_start: Ints, a_end: Ints, b_start: Ints, b_end: Ints, room: int, rng: np.random.Generator
) -> tuple[tuple[Ints, Ints], tuple[Ints, Ints]]:
    """The longer of the two loses a token, at its front or its back by a fair coin, until both fit into `room`.

    Closed form of that loop: first the difference goes, then both in turn (B first); of n lost tokens the front loses
    Binomial(n, ½).
    """
    a, b = a_end - a_start, b_end - b_start
    excess = np.maximum(a + b - room, 0)
    lead = np.minimum(np.abs(a - b), excess)
    rest = excess - lead
    lost_a = np.where(a > b, lead, 0) + rest // 2
    lost_b = excess - lost_a
    front_a, front_b = rng.binomial(lost_a, 0.5), rng.binomial(lost_b, 0.5)
    return (a_start + front_a, a_end - (lost_a - front_a)), (b_start + front_b, b_end - (lost_b - front_b))
