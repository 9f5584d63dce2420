"""The NNLM Stepper: blocks of a memory-mapped token store in a drawn order, without torch.

A step is `config.block` words: eight stretches of text from anywhere in the training part, their words mixed, in
updates of `config.batch` words. Every word of every unit, and every end, is trained once an epoch.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from foretext import draws
from foretext.errors import DivergedError
from foretext.models.nnlm.config import NNLMConfig
from foretext.models.nnlm.model import TABLE, Network, grown
from foretext.models.stepping import Store, require_own, require_sane
from foretext.models.stream import NOTHING, Stream, boundary_of, of_store, require_words, sample
from foretext.text.tokenizers.spelling import unknown_token
from foretext.types import Arrays, Floats, Ints, Report, State

_STRETCHES = 8
"""Stretches of text that a step mixes."""
_LOOK = 40_000
"""Most places of the held-out part that a look scores, and of the training part half as many."""


class NNLMTraining:
    """A Stepper (`types.Stepper`): stochastic gradient descent on the loss of the next word.

    Deterministic to the bit for a given number of threads, and after `restore`.
    """

    def __init__(
        self, config: NNLMConfig, store: Store, *, seed: int, threads: int, steps: int | None, epochs: float | None,
        init: Arrays | None, first: tuple[Ints, Floats] | None,
    ) -> None:
        self.config, self.store, self.seed, self.threads = config, store, seed, max(1, threads)
        require_words(store, config.name)
        self.boundary = boundary_of(store.tokenizer, config.boundary)
        self.stream = of_store(store, config.unit, self.boundary, held_out=False)
        self.held_out = of_store(store, config.unit, self.boundary, held_out=True)
        size = max(1, config.block // _STRETCHES)
        self._edges = np.append(np.arange(0, len(self.stream), size), len(self.stream))
        self.steps_per_epoch = -(-(len(self._edges) - 1) // _STRETCHES)
        passes = epochs if epochs is not None else config.epochs
        self.total = steps if steps is not None else max(1, round(passes * self.steps_per_epoch))
        self.done = self.words = 0
        counts = np.asarray(store.counts, np.float64).copy()
        counts[self.boundary] += self.stream.units
        share = (counts + 1.0) / (counts + 1.0).sum()
        self._cumulated = np.cumsum(share)
        self.network = Network(config, store.tokenizer.size, share)
        still = np.zeros(store.tokenizer.size, np.bool_)
        if init is None:
            self.network.start(seed, share)
        else:
            self.network.load(_grown(config, init, store))
            still[: len(init[TABLE])] = True
        if first is not None:
            self.network.table[first[0]] = first[1]
            still[first[0]] = True
        if config.frozen == "given":
            self.network.still = still
        self._blas: Any = None

    def step(self) -> Report:
        """Train on the next block. DivergedError at the first loss or gradient that is not finite, before it is used, and
        where the loss has run away."""
        words, context = self._block(self.done)
        self.store.let_go()
        epoch, block = divmod(self.done, self.steps_per_epoch)
        where = f"step {self.done + 1} (epoch {epoch + 1}, block {block + 1})"
        remedy = f"lower family.rate (now {self.config.rate:g}) or family.batch (now {self.config.batch})"
        loss, rate = 0.0, self.config.rate
        with self._limited():
            for number, start in enumerate(range(0, len(words), self.config.batch)):
                part = slice(start, start + self.config.batch)
                rate = self.rate(self.words + start)
                found = self.network.learn(context[part], words[part], rate, *self._draws(number, len(words[part])))
                if found is None:
                    raise DivergedError(f"nnlm met a number that is not finite in {where}", remedy=remedy)
                loss += found
            self.network.settle()
        mean = loss / max(1, len(words))
        require_sane(mean, "nnlm", where, remedy)
        self.done += 1
        self.words += len(words)
        tokens = len(words) - int((words == self.boundary).sum())
        return Report(loss=mean, count=len(words), tokens=tokens, done=min(1.0, self.done / self.total), rate=rate)

    def rate(self, words: int) -> float:
        """ε₀ / (1 + r·t) after t words (Bengio et al. 2003, section 4.1)."""
        return self.config.rate / (1.0 + self.config.slowing * words)

    def _block(self, step: int) -> tuple[Ints, Ints]:
        """The words [m] of a step and what stands before each [m, n−1], in the order in which they are trained."""
        epoch, block = divmod(step, self.steps_per_epoch)
        order = draws.generator(self.seed, "nnlm stretches", epoch).permutation(len(self._edges) - 1)
        chosen = order[block * _STRETCHES : (block + 1) * _STRETCHES]
        parts = [self.stream.contexts(int(self._edges[i]), int(self._edges[i + 1]), self.config.order - 1) for i in chosen]
        words, context = np.concatenate([w for w, _ in parts]), np.concatenate([c for _, c in parts])
        mixed = draws.generator(self.seed, "nnlm words", epoch, block).permutation(len(words))
        return words[mixed], self._padded(context[mixed])

    def _padded(self, context: Ints) -> Ints:
        return np.where(context == NOTHING, self.boundary, context)

    def _draws(self, update: int, count: int) -> tuple[Ints, Floats | None]:
        """What an update draws: words for the sampled softmax, and which inputs dropout leaves out."""
        config = self.config
        drawn, dropped = np.zeros(0, np.int64), None
        if config.softmax != "sampled" and not config.dropout:
            return drawn, dropped
        rng = draws.generator(self.seed, "nnlm update", self.done, update)
        if config.softmax == "sampled":
            drawn = np.searchsorted(self._cumulated, rng.random(config.samples) * self._cumulated[-1], side="right")
        if config.dropout:
            kept = rng.random((count, config.inputs + 1), np.float32) >= config.dropout
            kept[:, -1] = True  # the bias
            dropped = kept.astype(np.float32)
            dropped[:, :-1] /= np.float32(1.0 - config.dropout)
        return drawn, dropped

    def _limited(self) -> Any:
        """BLAS on `threads` threads, for as long as it lasts."""
        import threadpoolctl  # type: ignore[import-untyped]  # scikit-learn's, which needs it too

        self._blas = self._blas or threadpoolctl.ThreadpoolController()
        return self._blas.limit(limits=self.threads, user_api="blas")

    def state(self) -> State:
        """Copies of all parameters, and where the run stands."""
        cursor = {"step": self.done, "words": self.words, "total": self.total, "seed": self.seed, "store": self.store.key}
        return State(arrays=self.network.arrays(), cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`. ArtefactError when it belongs to another store, seed, length or size."""
        require_own(state.cursor, total=self.total, seed=self.seed, store=self.store.key)
        self.network.load(state.arrays)
        self.done, self.words = int(state.cursor["step"]), int(state.cursor["words"])

    def evaluate(self) -> Mapping[str, float]:
        """"loss": mean nats a place on fixed stretches of the held-out part, over all words whatever the softmax of
        training, and its "perplexity"; "training loss": the same of fixed stretches of the training part; {} where
        nothing is held out."""
        if not len(self.held_out):
            return {}
        with self._limited():
            loss, training = self._mean(self.held_out, _LOOK), self._mean(self.stream, _LOOK // 2)
        return {"loss": loss, "perplexity": float(np.exp(min(loss, 700.0))), "training loss": training}

    def _mean(self, stream: Stream, most: int) -> float:
        total, count = 0.0, 0
        for start, stop in sample(stream, most):
            words, context = stream.contexts(start, stop, self.config.order - 1)
            total -= float(self.network.log_probability(words, self._padded(context)).sum())
            count += len(words)
        return total / count


def _grown(config: NNLMConfig, init: Arrays, store: Store) -> Arrays:
    """`init` with the words that the store's lexicon has beyond it."""
    if config.closed or len(init[TABLE]) == store.tokenizer.size:
        return init
    unknown = unknown_token("words", list(store.tokenizer.special)) or ""
    return grown(init, np.asarray(store.counts), store.tokenizer.special[unknown])


def stepper(
    config: NNLMConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> NNLMTraining:
    """An NNLMTraining ready to step. `steps` (blocks) fixes the length of the run, else `epochs`, else `config.epochs`.

    `init`: arrays to go on from; words of the tokenizer that they lack are added (`model.grown`). `first`: ids [K] and vectors [K,D], as they are, in place of the random start of these
    rows of C. DataError when the training part has no known word."""
    return NNLMTraining(config, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)


def memory(config: NNLMConfig, store: Store) -> tuple[int, int, int]:
    """Bytes: (parameters, the scores of a batch with their errors and a block's contexts, a checkpoint's copy)."""
    size, spread = store.tokenizer.size, (config.order - 1) * config.width
    weights = 4 * (size * config.width + config.hidden * (spread + 1) + size * (config.inputs + 1))
    rows = {"full": size, "adaptive": size, "sampled": config.samples}[config.softmax]
    return weights, 8 * config.batch * rows + 16 * config.block * config.order, weights


__all__ = ["TABLE", "NNLMTraining", "memory", "stepper"]
