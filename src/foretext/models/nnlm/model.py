"""The network of Bengio et al. 2003 in NumPy: word vectors, hidden layer, output layer; its update by hand.

B words of a batch · D width · n order · F inputs of the output layer · V vocabulary
"""

from itertools import pairwise
from typing import Any

import numpy as np

from foretext import draws
from foretext.models.nnlm.config import NNLMConfig
from foretext.models.nnlm.output import HEAD, Adaptive, Full, PutOff, checked, make_output, scatter
from foretext.models.stream import NOTHING, Stream, boundary_of
from foretext.types import Arrays, Bits, Floats, Ints, Tokenizer

TABLE = "encoders.text.table.weight"
_MOST = 1e36
"""A number that may be added to a weight: two hundred of them still are a float32."""
_CHUNK, _SCORES = 256, 1 << 22
"""Most words scored at once, so that their scores over all words fit into the cache's next level, and most such scores."""
_DRAWN = 1 << 20
"""About how many numbers are drawn at once."""


class Network(PutOff):
    """C [V,D], its decay put off; H [h,(n−1)D] and d [h]; an output layer. All in `dtype`."""

    def __init__(self, config: NNLMConfig, vocabulary: int, share: Floats, dtype: Any = np.float32) -> None:
        self.config, self.dtype = config, dtype
        spread = (config.order - 1) * config.width
        self.table = np.zeros((vocabulary, config.width), dtype)
        self.weight, self.bias = np.zeros((config.hidden, spread), dtype), np.zeros(config.hidden, dtype)
        self.output = make_output(config, vocabulary, share, dtype)
        self.still: Bits = np.zeros(0, np.bool_)
        """Which rows of C stand still [V]; [0]: none does."""

    def start(self, seed: int, share: Floats) -> None:
        """First values: normal, of variance 1/D in C and 1/inputs in the layers; biases 0, or those of the output the
        log frequencies (one added to each count, so that all are finite)."""
        rng = draws.generator(seed, "nnlm start")
        matrices = [self.table, self.weight]
        output = self.output
        if isinstance(output, Adaptive):
            matrices += [output.head[:, :-1], *(part for tail in output.tails for part in tail)]
        else:
            matrices.append(output.matrix[:, :-1])
        for matrix in matrices:
            each = max(1, _DRAWN // max(1, matrix.shape[1]))
            for first in range(0, len(matrix) if matrix.size else 0, each):
                rows = matrix[first : first + each]
                rows[...] = rng.standard_normal(rows.shape, np.float32) / np.sqrt(matrix.shape[1])
        if self.config.bias == "unigram":
            logs = np.log(share)
            if isinstance(output, Adaptive):
                edges = [*output.edges]
                logs = np.append(logs[: edges[0]], [np.log(share[a:b].sum()) for a, b in pairwise(edges)])
                output.head[:, -1] = logs
            else:
                output.matrix[:, -1] = logs

    def features(self, context: Ints) -> tuple[Floats, Floats, Floats]:
        """`context` [B,n−1] ids → (x [B,(n−1)D], hidden [B,h], inputs of the output layer [B,F+1], the last of them 1)."""
        rows = self.table[context]
        if self.kept != 1.0:
            rows *= np.where(self.still[context], 1.0, self.kept)[..., None] if len(self.still) else self.kept
        x = rows.reshape(len(context), -1)
        hidden = np.tanh(x @ self.weight.T + self.bias)
        parts = [hidden, x] if self.config.direct else [hidden]
        return x, hidden, np.concatenate([*parts, np.ones((len(context), 1), self.dtype)], axis=1)

    def learn(self, context: Ints, gold: Ints, rate: float, drawn: Ints, dropped: Floats | None = None) -> float | None:
        """One update on a batch; the summed loss (nats), or None, with nothing changed, where something is not finite.
        `dropped` [B,F+1]: what each input of the output layer is multiplied by."""
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is seen below
            return self._learn(context, gold, rate, drawn, dropped)

    def _learn(self, context: Ints, gold: Ints, rate: float, drawn: Ints, dropped: Floats | None) -> float | None:
        config = self.config
        x, hidden, inputs = self.features(context)
        if dropped is not None:
            inputs *= dropped
        loss, gradient, apply = self.output.learn(inputs, gold, drawn)
        if dropped is not None:
            gradient *= dropped
        back = gradient[:, : config.hidden] * (1.0 - hidden * hidden)
        into = back @ self.weight
        if config.direct:
            into += gradient[:, config.hidden : -1]
        # All that an update adds is a sum over the batch of products of two of these, and errors of at most 1.
        largest = float(np.max([1.0, *(np.abs(part).max(initial=0.0) for part in (inputs, gradient, into))]))
        if not (np.isfinite(loss) and rate * len(gold) * largest * largest < _MOST):
            return None
        kept = max(0.0, 1.0 - rate * config.decay * len(gold))
        apply(rate, kept)
        if kept != 1.0:
            self.weight *= self.dtype(kept)
            self.shrink(kept)
        self.weight -= self.dtype(rate) * (back.T @ x)
        self.bias -= self.dtype(rate) * back.sum(axis=0)
        scatter(self.table, context, into, self.dtype(rate / self.kept), self.still)
        return loss

    def settle(self) -> None:
        """Also the output layer's; at the end of each step, so that a checkpoint changes no bit of a run."""
        super().settle()
        self.output.settle()

    def multiply(self, factor: float) -> None:
        """The rows of C that move."""
        moving = ~self.still[:, None] if len(self.still) else True
        np.multiply(self.table, self.dtype(factor), out=self.table, where=moving)

    def log_probability(self, words: Ints, context: Ints) -> Floats:
        """Log-probability [M] of `words` [M] after `context` [M,n−1], nats, over all words."""
        found = np.empty(len(words))
        each = min(_CHUNK, max(1, _SCORES // len(self.table)))
        for start in range(0, len(words), each):
            part = slice(start, start + each)
            found[part] = self.output.nats(self.features(context[part])[2], words[part])
        return found

    def arrays(self) -> dict[str, Any]:
        """Copies of all parameters, under their names on disk."""
        self.settle()
        own: dict[str, Any] = {TABLE: self.table.copy()}
        if self.config.hidden:
            own.update({f"{HEAD}.hidden.weight": self.weight.copy(), f"{HEAD}.hidden.bias": self.bias.copy()})
        return {**own, **self.output.arrays()}

    def load(self, arrays: Arrays) -> None:
        """Take the parameters that `arrays` wrote; ArtefactError where one is missing or does not fit."""
        self.kept = 1.0
        self.table[...] = checked(arrays, TABLE, self.table.shape)
        if self.config.hidden:
            self.weight[...] = checked(arrays, f"{HEAD}.hidden.weight", self.weight.shape)
            self.bias[...] = checked(arrays, f"{HEAD}.hidden.bias", self.bias.shape)
        self.output.load(arrays)


def grown(arrays: Arrays, counts: Ints, unknown: int) -> Arrays:
    """The arrays of a model for a vocabulary that has grown to `counts` [V]: new words follow the old ones. Each was the
    unknown word before, whose rows it starts with; its bias takes a part of the unknown word's probability, in proportion
    to `counts`, one added to each, so that no other word's probability changes."""
    old, size = len(arrays[TABLE]), len(counts)
    if old == size:
        return arrays
    own = np.append(unknown, np.arange(old, size))
    logs = np.log((counts[own] + 1.0) / (counts[own] + 1.0).sum())
    made = dict(arrays)
    for name, array in arrays.items():
        if name == f"{HEAD}.bias" or name.endswith(".table.weight"):
            made[name] = np.concatenate([array, np.repeat(array[unknown : unknown + 1], size - old, axis=0)])
    made[f"{HEAD}.bias"][own] += logs.astype(made[f"{HEAD}.bias"].dtype)
    return made


class NNLM:
    """A model at rest (`stream.Scorer`)."""

    def __init__(self, config: NNLMConfig, arrays: Arrays, tokenizer: Tokenizer) -> None:
        self.unit, self.boundary = config.unit, boundary_of(tokenizer, config.boundary)
        self._order = config.order
        self._network = Network(config, tokenizer.size, np.full(tokenizer.size, 1.0 / tokenizer.size))
        self._network.load(arrays)

    def nats(self, stream: Stream) -> Floats:
        """Log-probability [M] of every place, ends included."""
        found = np.empty(len(stream))
        for start in range(0, len(stream), 8192):
            stop = min(start + 8192, len(stream))
            words, context = stream.contexts(start, stop, self._order - 1)
            found[start:stop] = self._network.log_probability(words, np.where(context == NOTHING, self.boundary, context))
        return found


def scorer(config: NNLMConfig, arrays: Arrays, tokenizer: Tokenizer) -> NNLM:
    """The model that these arrays are."""
    return NNLM(config, arrays, tokenizer)


__all__ = ["HEAD", "NNLM", "TABLE", "Adaptive", "Full", "Network", "scorer"]
