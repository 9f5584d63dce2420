"""What the suite must know of the n-gram model, whose "training" is counting (see `skipgram` for what such a module is)."""

from typing import Any

import numpy as np

from foretext.models.ngram.model import Ngram
from foretext.models.stream import of_texts
from foretext.text.store import unigram_entropy


def epoch(stepper: Any) -> float:
    """Text is counted once, so the suite's one and a half epochs and four steps must fit into that."""
    return (stepper.blocks - 5) / 1.5


def spy(stepper: Any, seen: list[Any]) -> None:
    """Note which words each step reads, in order, under the step's number."""
    read = stepper._read

    def noted(start: int, stop: int) -> Any:
        words, context = read(start, stop)
        seen.append((stepper.done, start, stop, tuple(words.tolist()), tuple(context.ravel().tolist())))
        return words, context

    stepper._read = noted


def break_in(stepper: Any, step: int, error: Exception) -> None:
    """Raise `error` when the words of update `step` have been read."""
    read = stepper._read

    def broken(start: int, stop: int) -> Any:
        found = read(start, stop)
        if stepper.done == step:
            raise error
        return found

    stepper._read = broken


def nothing(stepper: Any) -> None:
    """A step without a word."""
    read = stepper._read
    stepper._read = lambda start, stop: read(start, start)


def held_out(row: Any) -> None:
    """Units of the held-out part are never counted, and no n-gram crosses the end of a unit."""
    stepper = row.stepper(1000)
    seen: list[Any] = []
    spy(stepper, seen)
    while stepper.done < stepper.total:
        stepper.step()
    store = stepper.store
    held, sentences = np.asarray(store.held_out), np.asarray(store.sentences)
    assert held.any()
    wanted = [[*store.ids[a:b].tolist(), stepper.boundary] for a, b, out in zip(sentences, sentences[1:], held, strict=False) if not out]
    assert [word for _, _, _, words, _ in seen for word in words] == [word for unit in wanted for word in unit]
    size = row.recipe.family.order - 1
    contexts = np.array([word for *_, context in seen for word in context]).reshape(-1, size)
    line = [[*unit[:at][::-1], stepper.boundary, *[-1] * size][:size] for unit in wanted for at in range(len(unit))]
    assert np.array_equal(contexts, np.array(line)), "a context is not what stands before its word in its sentence"


def measure(stepper: Any) -> None:
    """The held-out loss is the mean over its places, each asked by itself."""
    one = Ngram(stepper.config, stepper.arrays(), stepper.vocabulary, stepper.boundary)
    store, sentences = stepper.store, np.asarray(stepper.store.sentences)
    units = [store.ids[sentences[i] : sentences[i + 1]] for i in np.flatnonzero(store.held_out)]
    nats = np.concatenate([one.nats(of_texts([np.asarray(unit)], stepper.boundary)) for unit in units])
    assert abs(stepper.evaluate()["loss"] + nats.mean()) <= 1e-12


def learning(row: Any) -> None:
    """Neighbours tell a word: a held-out loss of at least 1.5 nats below the line of word frequencies. Words in no
    order: not below it by more than what ends of sentences give away."""
    for shuffled in (False, True):
        stepper = row.stepper(1000, shuffled=shuffled)
        while stepper.done < stepper.total:
            stepper.step()
        counts = np.array(stepper.store.counts)
        counts[stepper.boundary] += len(stepper.stream.ends)
        loss, line = stepper.evaluate()["loss"], unigram_entropy(counts)
        if shuffled:
            assert loss >= line - 0.35, f"words in no order, yet a loss of {loss:.2f} below {line:.2f}"
        else:
            assert loss <= line - 1.5, f"a loss of {loss:.2f}, wanted 1.5 below {line:.2f}"


