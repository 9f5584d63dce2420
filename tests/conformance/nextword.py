"""What the suite must know of the NNLM, whose gradient is written out by hand (see `skipgram` for what such a module is)."""

from collections.abc import Callable
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from foretext.models.nnlm.config import NNLMConfig
from foretext.models.nnlm.model import HEAD, TABLE, Network
from foretext.models.stream import of_texts
from foretext.text.store import unigram_entropy

VOCABULARY, BATCH, SAMPLES, EDGES = 23, 11, 9, (7, 15)


def gradient(row: Any) -> None:
    """An update is −rate times autograd's gradient of the loss written plainly, and the weights' decay, for the row's
    softmax (and, beside the full one, for the sampled one that shares its parameters), with and without direct
    connections and hidden units, with dropout. float64: 1e-12; float32: 1e-5 of the largest entry."""
    kinds = ("full", "sampled") if row.recipe.family.softmax == "full" else (row.recipe.family.softmax,)
    for softmax, (hidden, direct) in product(kinds, ((4, True), (5, False), (0, True))):
        config = replace(
            row.recipe.family, softmax=softmax, width=3, hidden=hidden, order=4, direct=direct, clusters=EDGES, samples=SAMPLES,
            shrink=2, decay=0.3,
        )  # fmt: skip
        for dtype, tolerance in ((np.float64, 1e-12), (np.float32, 1e-5)):
            compare(config, dtype, tolerance)


def compare(config: NNLMConfig, dtype: Any, tolerance: float) -> None:
    """One update of a small network beside autograd's."""
    rng = np.random.default_rng(3)
    share = rng.random(VOCABULARY) + 0.1
    share /= share.sum()
    network = Network(config, VOCABULARY, share, dtype)
    network.start(1, share)
    network.load({name: array + 0.5 * rng.standard_normal(array.shape) for name, array in network.arrays().items()})
    before = {name: array.astype(np.float64) for name, array in network.arrays().items()}
    context, gold = rng.integers(0, VOCABULARY, (BATCH, 3)), rng.integers(0, VOCABULARY, BATCH)
    context[1], gold[1] = context[0], gold[0]  # the same rows twice in a batch
    drawn = rng.integers(0, VOCABULARY, SAMPLES)
    dropped = (rng.random((BATCH, config.inputs + 1)) > 0.3) * 1.5
    dropped[:, -1] = 1.0
    parameters = {name: torch.tensor(array, requires_grad=True) for name, array in before.items()}
    scores = _Plain(config, parameters, share, drawn)
    loss = sum((scores.nats(context[i], int(gold[i]), dropped[i]) for i in range(BATCH)), torch.zeros((), dtype=torch.float64))
    gradients = dict(zip(parameters, torch.autograd.grad(loss, list(parameters.values())), strict=True))
    rate = 1e-2
    found = network.learn(context, gold, rate, drawn, dropped.astype(dtype))
    assert found is not None and abs(found - float(loss.detach())) <= max(tolerance, 1e-12) * float(loss.detach())
    for name, array in network.arrays().items():
        kept = 1.0 if name.endswith("bias") else 1.0 - rate * 0.3 * BATCH
        wanted = kept * before[name] - rate * gradients[name].numpy()
        gap = np.abs(array - wanted).max() / max(1.0, np.abs(wanted).max())
        assert gap <= tolerance, f"{config.softmax}, {config.hidden} hidden: {name} is off by {gap:.3g}, allowed {tolerance:g}"


class _Plain:
    """The loss of one word, from the papers: Bengio et al. 2003, equation 1; Bengio and Senécal 2008; Grave et al. 2017."""

    def __init__(self, config: NNLMConfig, parameters: Any, share: Any, drawn: Any) -> None:
        self.config, self.parameters, self.drawn = config, parameters, drawn
        self.correction = torch.tensor(np.log(share * SAMPLES))

    def nats(self, context: Any, gold: int, dropped: Any) -> torch.Tensor:
        p, config = self.parameters, self.config
        x = p[TABLE][torch.tensor(context)].reshape(-1)
        parts = [x] if config.direct else []
        if config.hidden:
            parts.insert(0, torch.tanh(p[f"{HEAD}.hidden.weight"] @ x + p[f"{HEAD}.hidden.bias"]))
        features = torch.cat(parts) * torch.tensor(dropped[:-1])
        if config.softmax == "adaptive":
            return self._adaptive(features, gold)
        scores = p[f"{HEAD}.bias"]
        if config.hidden:
            scores = scores + p[f"{HEAD}.table.weight"] @ features[: config.hidden]
        if config.direct:
            scores = scores + p[f"{HEAD}.direct.table.weight"] @ features[config.hidden :]
        if config.softmax == "full":
            return F.cross_entropy(scores, torch.tensor(gold))
        asked = torch.tensor([gold, *(int(word) for word in self.drawn if word != gold)])
        return F.cross_entropy((scores - self.correction)[asked], torch.tensor(0))

    def _adaptive(self, features: torch.Tensor, gold: int) -> torch.Tensor:
        p, edges = self.parameters, [*EDGES, VOCABULARY]
        first = torch.log_softmax(p[f"{HEAD}.first.weight"] @ features + p[f"{HEAD}.first.bias"], 0)
        if gold < edges[0]:
            return -first[gold]
        cluster = 1 if gold < edges[1] else 2
        inner = p[f"{HEAD}.cluster_{cluster}.weight"] @ (p[f"{HEAD}.cluster_{cluster}.project"] @ features)
        return -first[edges[0] + cluster - 1] - torch.log_softmax(inner, 0)[gold - edges[cluster - 1]]


def epoch(stepper: Any) -> float:
    """Steps of one pass."""
    return float(stepper.steps_per_epoch)


def spy(stepper: Any, seen: list[Any]) -> None:
    """Note what each step reads, in order, under the step's number."""
    block = stepper._block

    def noted(step: int) -> Any:
        words, context = block(step)
        seen.append((step, tuple(words.tolist()), tuple(context.ravel().tolist())))
        return words, context

    stepper._block = noted


def break_in(stepper: Any, step: int, error: Exception) -> None:
    """Raise `error` in the second batch of update `step`."""
    learn, calls = stepper.network.learn, list[int]()

    def broken(*given: Any) -> Any:
        calls.append(stepper.done)
        if calls.count(step) == 2:
            raise error
        return learn(*given)

    stepper.network.learn = broken


def nothing(stepper: Any) -> None:
    """A step without a word."""
    block = stepper._block
    stepper._block = lambda step: tuple(part[:0] for part in block(step))


def poison(stepper: Any) -> Callable[[], None]:
    """Make the next step meet a NaN; what undoes it."""
    table, kept = stepper.network.table, stepper.network.table[stepper.boundary].copy()
    table[stepper.boundary] = np.nan

    def cure() -> None:
        table[stepper.boundary] = kept

    return cure


def held_out(row: Any) -> None:
    """In two epochs every word of the training part is trained twice and none of the held-out part, and what stands
    before it is of its own sentence."""
    stepper = row.stepper(1)
    seen: list[Any] = []
    spy(stepper, seen)
    passes = 2 * stepper.steps_per_epoch
    for _ in range(passes):
        stepper.step()
    store, size = stepper.store, row.recipe.family.order - 1
    held, sentences = np.asarray(store.held_out), np.asarray(store.sentences)
    assert held.any()
    wanted: list[tuple[int, ...]] = []
    for a, b, out in zip(sentences, sentences[1:], held, strict=False):
        unit = [*store.ids[a:b].tolist(), stepper.boundary]
        if not out:
            wanted += [(unit[at], *[*unit[:at][::-1], *[stepper.boundary] * size][:size]) for at in range(len(unit))]
    for first in (0, passes // 2):
        found = [
            (word, *context)
            for _, words, flat in seen[first : first + passes // 2]
            for word, context in zip(words, np.array(flat).reshape(-1, size).tolist(), strict=True)
        ]
        assert sorted(found) == sorted(wanted), "an epoch is not the training part, each word once, in its sentence"
        assert found != wanted, "the words come in the order of the text"


def measure(stepper: Any) -> None:
    """The held-out loss is the mean over its places, each sentence asked by itself, over all words (1e-6: float32)."""
    store, sentences = stepper.store, np.asarray(stepper.store.sentences)
    total = count = 0.0
    for i in np.flatnonzero(store.held_out):
        stream = of_texts([np.asarray(store.ids[sentences[i] : sentences[i + 1]])], stepper.boundary)
        words, context = stream.contexts(0, len(stream), stepper.config.order - 1)
        every = stepper.network.log_probability(
            np.tile(np.arange(store.tokenizer.size), len(words)), np.repeat(stepper._padded(context), store.tokenizer.size, axis=0)
        ).reshape(len(words), -1)
        assert np.abs(np.exp(every).sum(axis=1) - 1.0).max() <= 1e-5, "the probabilities of all words do not sum to one"
        total, count = total - float(every[np.arange(len(words)), words].sum()), count + len(words)
    assert abs(stepper.evaluate()["loss"] - total / count) <= 1e-6


def learning(row: Any) -> None:
    """Neighbours tell a word: a held-out loss of at least 1.5 nats below the line of word frequencies. Words in no
    order: not below it by more than what ends of sentences give away."""
    for shuffled in (False, True):
        family = replace(row.recipe.family, rate=0.1, decay=0.0)
        stepper = row.stepper(60, shuffled=shuffled, family=family)
        for _ in range(60):
            stepper.step()
        counts = np.array(stepper.store.counts)
        counts[stepper.boundary] += len(stepper.stream.ends)
        loss, line = stepper.evaluate()["loss"], unigram_entropy(counts)
        if shuffled:
            assert loss >= line - 0.35, f"words in no order, yet a loss of {loss:.2f} below {line:.2f}"
        else:
            assert loss <= line - 1.5, f"a loss of {loss:.2f}, wanted 1.5 below {line:.2f}"
