"""The miniature texts: sentences whose words follow one another in rings, so that neighbours tell a word; two topics.

A document stays in one ring and starts anywhere in it; lengths are uneven, so that rows need padding or packing.
"""

from typing import Any

from foretext.draws import generator
from foretext.text.corpus import strings_corpus

RINGS = {
    "law": "court judge verdict trial lawyer bench oath crime jury appeal sentence statute".split(),
    "sea": "harbour sailor anchor tide wave salt ship cargo pilot lantern island rope".split(),
}
DOCUMENTS = 24


def sentence(ring: list[str], start: int, size: int) -> str:
    """`size` words of a ring from `start` on."""
    return " ".join(ring[(start + i) % len(ring)] for i in range(size))


def documents(*, shuffled: bool = False, mixed: bool = False, seed: int = 0) -> list[str]:
    """The corpus, a string a document; `shuffled`: the words of all documents in no order, lengths kept; `mixed`: every
    third document changes the ring at each sentence."""
    rng = generator(seed, "conformance documents")
    names = sorted(RINGS)
    made = []
    for number in range(DOCUMENTS):
        sizes = rng.integers(3, 11, int(rng.integers(3, 8))).tolist()
        rings = [RINGS[names[(number + i * (mixed and number % 3 == 0)) % len(names)]] for i in range(len(sizes))]
        made.append([sentence(ring, int(rng.integers(12)), size).split() for ring, size in zip(rings, sizes, strict=True)])
    if shuffled:
        words = [word for document in made for line in document for word in line]
        pool = iter(rng.permutation(words).tolist())
        made = [[[next(pool) for _ in line] for line in document] for document in made]
    return ["\n".join(" ".join(line) + "." for line in document) for document in made]


def corpus(*, shuffled: bool = False, mixed: bool = False) -> Any:
    """The corpus of `documents`."""
    return strings_corpus(documents(shuffled=shuffled, mixed=mixed))


def labelled(count: int, seed: int, *, multi: bool = False, shuffled: bool = False) -> list[tuple[str, Any]]:
    """`count` texts of 2 to 12 words and the ring(s) they come from; `shuffled`: labels dealt anew.

    `multi`: every third text has words of both rings and both labels."""
    rng = generator(seed, "conformance labelled")
    names = sorted(RINGS)
    texts, labels = [], []
    for number in range(count):
        name = names[number % len(names)]
        words = sentence(RINGS[name], int(rng.integers(12)), int(rng.integers(2, 9))).split()
        said = [name]
        if multi and number % 3 == 0:
            other = names[(number + 1) % len(names)]
            words += sentence(RINGS[other], int(rng.integers(12)), int(rng.integers(2, 5))).split()
            said = names
        texts.append(" ".join(words))
        labels.append(said if multi else name)
    if shuffled:
        labels = [labels[i] for i in rng.permutation(count)]
    return list(zip(texts, labels, strict=True))
