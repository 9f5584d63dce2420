"""What the suite must know of GloVe, whose loss and update live in a kernel of their own (see `skipgram`)."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from conformance.texts import RINGS
from foretext.models.glove import kernel
from foretext.models.glove.train import TABLE

WORDS, WIDTH, ENTRIES = 20, 6, 40
X_MAX, ALPHA = 10.0, 0.75
STILL = np.zeros(0, np.bool_)


def gradient(row: Any) -> None:
    """The kernel's first update is −rate times the gradient that autograd finds of Σ ½·f·(…)² written plainly (2014, eq. 8):
    float64 to 1e-6 of the largest entry, at a rate so small that later entries see the tables of the first; then one entry
    in float32 to 1e-5. A clip takes part: no entry of an update is longer."""
    _compare(np.float64, ENTRIES, rate=1e-8, tolerance=1e-6)
    _compare(np.float32, 1, rate=0.5, tolerance=1e-5)
    for clip in (1e-3, 1e3):
        tables, before, entries = _world(np.float64)
        kernel.train_entries(*tables, *_parts(entries, np.float64), 1, 1.0, clip, STILL)
        longest = max(float(np.abs(table - was).max()) for table, was in zip(tables, before, strict=True))
        assert (abs(longest - clip) <= 1e-12) == (clip < 1), f"a step of {longest} at a clip of {clip}"


def _world(dtype: Any) -> tuple[list[Any], list[Any], Any]:
    rng = np.random.default_rng(3)
    tables = [np.ones((WORDS, 2, 16)), np.ones((WORDS, 2, 16)), np.ones((WORDS, 2)), np.ones((WORDS, 2))]
    for table in tables[:2]:
        table[:, 0] = 0.0
        table[:, 0, :WIDTH] = rng.standard_normal((WORDS, WIDTH)) * 0.7
    for table in tables[2:]:
        table[:, 0] = rng.standard_normal(WORDS)
    cast = [table.astype(dtype) for table in tables]
    pairs = rng.integers(WORDS, size=(ENTRIES, 2))
    return cast, [table.astype(np.float64) for table in cast], (pairs, rng.gamma(0.5, 20.0, ENTRIES) + 0.1)


def _parts(entries: Any, dtype: Any) -> list[Any]:
    pairs, counts = entries
    logs, weights = np.log(counts), np.minimum(1.0, (counts / X_MAX) ** ALPHA)
    assert (weights == 1).any() and (weights < 0.5).any()
    return [np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), logs.astype(dtype), weights.astype(dtype)]


def _compare(dtype: Any, count: int, *, rate: float, tolerance: float) -> None:
    tables, before, entries = _world(dtype)
    loss, done, finite = kernel.train_entries(*tables, *_parts(entries, dtype), count, dtype(rate), dtype(100.0), STILL)
    (pairs, counts), given = entries, [torch.from_numpy(table).requires_grad_() for table in before]
    words, contexts, biases, others = given
    i, j, x = (torch.from_numpy(part[:count]) for part in (pairs[:, 0], pairs[:, 1], counts))
    difference = (words[i, 0] * contexts[j, 0]).sum(1) + biases[i, 0] + others[j, 0] - torch.log(x)
    total = (0.5 * torch.clamp((x / X_MAX) ** ALPHA, max=1.0) * difference**2).sum()
    expected = float(total.detach())
    assert finite and done == count and abs(loss - expected) <= tolerance * expected, f"loss {loss}, autograd's {expected}"
    for table, was, wanted in zip(tables, before, torch.autograd.grad(total, given), strict=True):
        found = (table.astype(np.float64) - was)[:, 0] / -rate
        gap = np.abs(found - wanted.numpy()[:, 0]).max() / np.abs(wanted.numpy()).max()
        assert gap <= tolerance, f"the update differs from −rate · gradient by {gap:.3g}, allowed {tolerance:g}"


def epoch(stepper: Any) -> float:
    """Steps of one pass."""
    return float(stepper._steps)


def spy(stepper: Any, seen: list[Any]) -> None:
    """Note which units each step trains, in order, and the seed of their entries' order."""
    train = stepper._train

    def noted(unit: Any, seed: int) -> Any:
        seen.append((stepper.done, unit.mirrored, unit.rows, unit.columns, tuple(unit.tiles.tolist()), unit.part, seed))
        return train(unit, seed)

    stepper._train = noted


def break_in(stepper: Any, step: int, error: Exception) -> None:
    """Raise `error` in the second unit of update `step`."""
    train, calls = stepper._train, []

    def broken(unit: Any, seed: int) -> Any:
        calls.append(stepper.done)
        if calls.count(step) == 2:
            raise error
        return train(unit, seed)

    stepper._train = broken


def poison(stepper: Any) -> Callable[[], None]:
    """Make the next step meet a NaN; what undoes it."""
    kept = stepper.words[:, 0, 0].copy()
    stepper.words[:, 0, 0] = np.nan

    def cure() -> None:
        stepper.words[:, 0, 0] = kept

    return cure


def nothing(stepper: Any) -> None:
    """Leave the next step without a non-zero."""
    stepper._planned = (0, [[] for _ in range(stepper._steps)])


def measure(stepper: Any) -> None:
    """The held-out loss against a plain loop over both halves of what is held out (float64: 1e-6, counts being float32)."""
    found, config, total, number = stepper.found, stepper.config, 0.0, 0
    for (i, j), x in zip(found.held_places.tolist(), found.held_counts.tolist(), strict=True):
        for a, b in {(i, j), (j, i)}:
            score = float(stepper.words[a, 0].astype(np.float64) @ stepper.contexts[b, 0].astype(np.float64))
            score += float(stepper.word_biases[a, 0]) + float(stepper.context_biases[b, 0])
            total += 0.5 * min(1.0, (x / config.x_max) ** config.alpha) * (score - np.log(x)) ** 2
            number += 1
    assert number > 10 and abs(stepper.evaluate()["loss"] - total / number) <= 1e-6 * total / number


def pairs_of(config: Any, store: Any, words: Any) -> dict[tuple[int, int], float]:
    """X by a dictionary, word by word: ranks (row, column) of the training part's text, nothing across its borders."""
    rank = {int(word): number for number, word in enumerate(words)}
    begins = set(np.asarray(store.documents).tolist())
    found: dict[tuple[int, int], float] = defaultdict(float)
    line: list[int] = []
    for s in range(len(store.sentences) - 1):
        if s in begins or config.within == "sentences" or store.held_out[s]:
            line = []
        if store.held_out[s]:
            continue
        for token in np.asarray(store.ids[store.sentences[s] : store.sentences[s + 1]]).tolist():
            if token in rank:
                for distance, other in enumerate(reversed(line[-config.window :]), start=1):
                    found[rank[token], other] += 1.0 / distance
                    if config.symmetric:
                        found[other, rank[token]] += 1.0 / distance
                line.append(rank[token])
    return dict(found)


def entries_of(found: Any) -> dict[tuple[int, int], float]:
    """The non-zeros to be trained on, as they lie on disk."""
    made: dict[tuple[int, int], float] = {}
    for tile in range(found.across**2):
        for k in range(int(found.tiles[tile]), int(found.tiles[tile + 1])):
            place = int(found.places[k])
            pair = tile // found.across * found.side + (place >> 16), tile % found.across * found.side + (place & 0xFFFF)
            assert pair not in made, f"{pair} stands there twice"
            made[pair] = float(found.counts[k])
    return made


def held_out(row: Any) -> None:
    """No held-out sentence is counted and no held-out non-zero trained on; every other one is, once an epoch a side."""
    stepper, seen = row.stepper(6), list[Any]()
    found, store = stepper.found, row.store()
    assert np.asarray(store.held_out).any()
    whole = pairs_of(stepper.config, store, found.words)
    trained = entries_of(found)
    kept = {(int(i), int(j)) for i, j in found.held_places}
    assert kept and not kept & trained.keys(), "a held-out non-zero is trained on"
    assert kept | trained.keys() == {pair for pair in whole if pair[0] <= pair[1]}
    assert all(abs(count - whole[pair]) <= 1e-6 * count for pair, count in trained.items())
    spy(stepper, seen)
    for _ in range(2 * stepper._steps):
        stepper.step()
    for first in (0, stepper._steps):
        tiles = [(tile, e[1]) for e in seen if first <= e[0] < first + stepper._steps for tile in e[4]]
        wanted = {(int(tile), side) for tile in np.flatnonzero(np.diff(found.tiles)) for side in (False, True)}
        assert len(tiles) == len(wanted) and set(tiles) == wanted


def floor(row: Any, stepper: Any) -> tuple[float, float]:
    """The losses, on what is trained on and on what is held out, of the best model in which row and column have nothing to
    do with one another: log X = b_i + b̃_j by weighted least squares on the non-zeros that are trained on."""
    entries = entries_of(stepper.found)
    held = {(int(i), int(j)): float(x) for (i, j), x in zip(stepper.found.held_places, stepper.found.held_counts, strict=True)}

    def system(half: Any) -> tuple[Any, Any, Any]:
        pairs = {**half, **{(j, i): x for (i, j), x in half.items()}}
        x = np.array(list(pairs.values()))
        weight = np.minimum(1.0, (x / row.recipe.family.x_max) ** row.recipe.family.alpha)
        rows, columns = np.array(list(pairs)).T
        size = len(stepper.found.words)
        return np.hstack([np.eye(size)[rows], np.eye(size)[columns]]), np.log(x), weight

    a, y, f = system(entries)
    solution = np.linalg.lstsq(np.sqrt(f)[:, None] * a, np.sqrt(f) * y, rcond=None)[0]
    losses = [float((0.5 * f * (a @ solution - y) ** 2).mean()) for a, y, f in map(system, (entries, held))]
    return losses[0], losses[1]


def learning(row: Any) -> None:
    """The non-zeros are learned by heart: a training loss of at most a quarter of `floor`. Of running text, words of one topic
    are each other's neighbours; of words in no order they are not, and the held-out loss stays at or above `floor`."""
    for shuffled in (False, True):
        stepper = row.stepper(150, shuffled=shuffled, family=replace(row.recipe.family, held_out=0.15))
        for _ in range(150):
            report = stepper.step()
        trained, held = floor(row, stepper)
        assert report.loss <= 0.25 * trained, f"a loss of {report.loss:.4f} on what is trained on, wanted a quarter of {trained:.4f}"
        share = _same_topic(row, stepper)
        if shuffled:
            loss = stepper.evaluate()["loss"]
            assert loss >= 0.95 * held, f"words in no order, yet a held-out loss of {loss:.4f} below {held:.4f}"
            assert share <= 0.75, f"words in no order, yet {share:.0%} of nearest words are of one topic"
        else:
            assert share >= 0.9, f"only {share:.0%} of nearest words are of one topic"


def _same_topic(row: Any, stepper: Any) -> float:
    """The share of ring words whose nearest word (cosine) is of their own ring; half by chance."""
    table, pieces = stepper.arrays()[TABLE], row.store().tokenizer.pieces
    ids = {pieces[i]: i for i in range(len(table))}
    words = [(name, ids[word]) for name, ring in RINGS.items() for word in ring if word in ids]
    vectors = table[[i for _, i in words]]
    cosine = vectors @ vectors.T / np.outer(*[np.linalg.norm(vectors, axis=1)] * 2)
    np.fill_diagonal(cosine, -1.0)
    return float(np.mean([words[k][0] == words[near][0] for k, near in enumerate(cosine.argmax(1))]))
