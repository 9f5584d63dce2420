"""The output layers of the NNLM, with their gradients written out: full, sampled and adaptive softmax.

B words of a batch · F inputs (hidden units, direct connections) · V vocabulary. Each layer keeps its weights and bias in
one matrix [rows, F+1], whose last column meets an input of 1: a product gives the scores whole, and one more, added
in place by BLAS, makes the update. A layer answers the SUM of the losses (nats), and the gradient of its input; it
changes nothing before the caller has seen that both are finite.

Weights decay at every update, and to multiply all of them each time is most of an update's work. A full or sampled layer
keeps the factor s aside instead: its weights are s·M, inputs and gradients are multiplied by s, what is added to M is
divided by it; `settle` multiplies M at the end of a step.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import get_blas_funcs

from foretext.errors import ArtefactError
from foretext.kernels import jit
from foretext.models.nnlm.config import NNLMConfig
from foretext.types import Arrays, Bits, Floats, Ints

HEAD = "heads.next_word"
_LEAST = 0.5
"""Least factor that is kept aside: no number grows to more than twice its size, and a factor of 0 divides nothing."""
NONE_STILL: Bits = np.zeros(0, np.bool_)
Apply = Callable[[float, float], None]
"""(rate, share of the weights that is kept): makes the update."""


class Output(Protocol):
    """What the network asks of its output layer."""

    def learn(self, inputs: Floats, gold: Ints, drawn: Ints) -> tuple[float, Floats, Apply]:
        """`inputs` [B,F+1], `gold` [B], `drawn` words of the batch (sampled softmax only) → loss, gradient [B,F+1] of
        the inputs, and the update, not yet made."""
        ...

    def nats(self, inputs: Floats, gold: Ints) -> Floats:
        """Log-probability [B] of `gold` among all words."""
        ...

    def arrays(self) -> dict[str, Any]:
        """Copies of the parameters, under their names on disk."""
        ...

    def load(self, arrays: Arrays) -> None:
        """Take the parameters that `arrays` wrote."""
        ...

    def settle(self) -> None:
        """Make the decay of the weights that was put off."""
        ...


def normalised(scores: Floats) -> tuple[Floats, Floats]:
    """Scores [B,K] → (exp(score − the row's greatest), in place, [B,K]; log of the normaliser [B])."""
    most = scores.max(axis=1)
    scores -= most[:, None]
    np.exp(scores, out=scores)
    sums = scores.sum(axis=1)
    return scores, most + np.log(sums)


def added(matrix: Floats, rate: float, errors: Floats, inputs: Floats) -> None:
    """matrix [rows, F+1] −= rate · errorsᵀ·inputs, in place by one BLAS call."""
    (gemm,) = get_blas_funcs(("gemm",), (matrix,))
    gemm(-rate, inputs.T, errors.T, beta=1.0, c=matrix.T, trans_b=1, overwrite_c=1)


@jit
def scatter(table: Floats, rows: Ints, change: Floats, rate: float, still: Bits) -> None:
    """table[rows[i, j]] −= rate · change[i, j·D : (j+1)·D], one after the other, but for rows that stand still ([0]: none
    does); `change` [B, n·D]."""
    width = table.shape[1]
    for i in range(rows.shape[0]):
        for j in range(rows.shape[1]):
            row = rows[i, j]
            if still.shape[0] > 0 and still[row]:
                continue
            for d in range(width):
                table[row, d] -= rate * change[i, j * width + d]


def by(inputs: Floats, factor: float) -> Floats:
    """`inputs` [B,F+1] times `factor`, but for the last column, the bias's."""
    if factor == 1.0:
        return inputs
    made = inputs * inputs.dtype.type(factor)
    made[:, -1] = inputs[:, -1]
    return made


class PutOff:
    """Weights whose decay is put off: what they are is `kept` times what they hold."""

    kept = 1.0

    def multiply(self, factor: float) -> None:
        """Multiply the weights that decay."""
        raise NotImplementedError

    def shrink(self, kept: float) -> None:
        """An update's decay."""
        self.kept *= kept
        if self.kept < _LEAST:
            self.settle()

    def settle(self) -> None:
        """Make the decay that was put off."""
        if self.kept != 1.0:
            self.multiply(self.kept)
            self.kept = 1.0


class Full(PutOff):
    """Scores of all words: O [V,F+1] = (U, W, b) of Bengio et al. 2003, equation 1."""

    def __init__(self, config: NNLMConfig, vocabulary: int, dtype: Any) -> None:
        self.config = config
        self.matrix = np.zeros((vocabulary, config.inputs + 1), dtype)

    def learn(self, inputs: Floats, gold: Ints, drawn: Ints) -> tuple[float, Floats, Apply]:
        rows = np.arange(len(gold))
        scores = by(inputs, self.kept) @ self.matrix.T
        own = scores[rows, gold].astype(np.float64)
        errors, normaliser = normalised(scores)
        sums = errors.sum(axis=1)
        loss = float((normaliser - own).sum())
        # errors stay unnormalised: instead of V numbers a word, its inputs and its gradient are divided by the sum.
        errors[rows, gold] -= sums
        gradient = by(errors @ self.matrix, self.kept) / sums[:, None]

        def apply(rate: float, kept: float) -> None:
            self.shrink(kept)
            added(self.matrix, rate, errors, by(inputs / sums[:, None], 1.0 / self.kept))

        return loss, gradient, apply

    def multiply(self, factor: float) -> None:
        """All but the bias."""
        self.matrix[:, :-1] *= self.matrix.dtype.type(factor)

    def nats(self, inputs: Floats, gold: Ints) -> Floats:
        self.settle()
        scores = inputs @ self.matrix.T
        own = scores[np.arange(len(gold)), gold].astype(np.float64)
        found: Floats = own - normalised(scores)[1]
        return found

    def _split(self) -> Mapping[str, slice]:
        hidden, inputs = self.config.hidden, self.config.inputs
        parts = {f"{HEAD}.table.weight": slice(0, hidden)} if hidden else {}
        return {**parts, f"{HEAD}.direct.table.weight": slice(hidden, inputs)} if self.config.direct else parts

    def arrays(self) -> dict[str, Any]:
        self.settle()
        made = {name: np.ascontiguousarray(self.matrix[:, part]) for name, part in self._split().items()}
        return {**made, f"{HEAD}.bias": self.matrix[:, -1].copy()}

    def load(self, arrays: Arrays) -> None:
        for name, part in self._split().items():
            self.matrix[:, part] = checked(arrays, name, self.matrix[:, part].shape)
        self.matrix[:, -1] = checked(arrays, f"{HEAD}.bias", self.matrix[:, -1].shape)
        self.kept = 1.0


class Sampled(Full):
    """Full, but an update looks at the batch's own words and drawn ones alone. A drawn word that is the gold is left
    out; scores are lessened by the log of how often each is expected among the k drawn, which makes the softmax over
    the few an estimate of that over all (Bengio and Senécal 2008, section 3; Jean et al. 2015, section 3.1)."""

    def __init__(self, config: NNLMConfig, vocabulary: int, dtype: Any, share: Floats) -> None:
        super().__init__(config, vocabulary, dtype)
        self.expected = np.log(np.maximum(share, 1e-12) * config.samples).astype(dtype)

    def learn(self, inputs: Floats, gold: Ints, drawn: Ints) -> tuple[float, Floats, Apply]:
        others = self.matrix[drawn]
        own = self.matrix[gold]
        met = by(inputs, self.kept)
        scores = np.empty((len(gold), len(drawn) + 1), inputs.dtype)
        scores[:, 0] = np.einsum("bf,bf->b", met, own) - self.expected[gold]
        scores[:, 1:] = met @ others.T - self.expected[drawn]
        scores[:, 1:][drawn[None, :] == gold[:, None]] = -np.inf
        first = scores[:, 0].astype(np.float64)
        errors, normaliser = normalised(scores)
        errors /= errors.sum(axis=1, keepdims=True)
        errors[:, 0] -= 1.0
        gradient = by(errors[:, 1:] @ others + errors[:, :1] * own, self.kept)

        def apply(rate: float, kept: float) -> None:
            self.shrink(kept)
            moved, by_rate = by(inputs, 1.0 / self.kept), inputs.dtype.type(rate)
            scatter(self.matrix, drawn[:, None], errors[:, 1:].T @ moved, by_rate, NONE_STILL)
            scatter(self.matrix, gold[:, None], errors[:, :1] * moved, by_rate, NONE_STILL)

        return float((normaliser - first).sum()), gradient, apply


class Adaptive:
    """Grave et al. 2017, "Efficient softmax approximation for GPUs", section 4: the first softmax is over the frequent
    words and one entry a cluster of rarer ones; the words of a cluster have a softmax of their own, over inputs
    projected to fewer numbers."""

    def __init__(self, config: NNLMConfig, vocabulary: int, dtype: Any) -> None:
        self.edges = [*(edge for edge in config.clusters if edge < vocabulary), vocabulary]
        self.frequent, self.inputs = self.edges[0], config.inputs
        self.head = np.zeros((self.frequent + len(self.edges) - 1, config.inputs + 1), dtype)
        self.tails: list[tuple[Floats, Floats]] = []
        for number, (low, high) in enumerate(zip(self.edges, self.edges[1:], strict=False), start=1):
            fewer = max(1, config.inputs // config.shrink**number)
            self.tails.append((np.zeros((fewer, config.inputs), dtype), np.zeros((high - low, fewer), dtype)))

    def _cluster(self, gold: Ints) -> Ints:
        """0 for the frequent words, then the cluster's number [B]."""
        return np.searchsorted(self.edges[:-1], gold, side="right") if self.tails else np.zeros(len(gold), np.int64)

    def _first(self, gold: Ints, cluster: Ints) -> Ints:
        """Which entry of the first softmax each word belongs to [B]."""
        return np.where(cluster == 0, gold, self.frequent + cluster - 1)

    def learn(self, inputs: Floats, gold: Ints, drawn: Ints) -> tuple[float, Floats, Apply]:
        cluster = self._cluster(gold)
        loss, gradient, errors = _softmax(inputs, self.head, self._first(gold, cluster))
        updates: list[Any] = []
        for number, (project, table) in enumerate(self.tails, start=1):
            mine = np.flatnonzero(cluster == number)
            if len(mine):
                few = inputs[mine, :-1] @ project.T
                nats, into, wrong = _softmax(few, table, gold[mine] - self.edges[number - 1])
                loss += nats
                gradient[mine, :-1] += into @ project
                updates.append((number - 1, wrong, few, into, inputs[mine, :-1]))

        def apply(rate: float, kept: float) -> None:
            self.head[:, :-1] *= kept
            added(self.head, rate, errors, inputs)
            for project, table in self.tails:
                project *= kept
                table *= kept
            for number, wrong, few, into, given in updates:
                project, table = self.tails[number]
                table -= rate * (wrong.T @ few)
                project -= rate * (into.T @ given)

        return loss, gradient, apply

    def nats(self, inputs: Floats, gold: Ints) -> Floats:
        cluster = self._cluster(gold)
        found = _nats(inputs, self.head, self._first(gold, cluster))
        for number, (project, table) in enumerate(self.tails, start=1):
            mine = np.flatnonzero(cluster == number)
            found[mine] += _nats(inputs[mine, :-1] @ project.T, table, gold[mine] - self.edges[number - 1])
        return found

    def settle(self) -> None:
        """Nothing: it puts nothing off."""

    def _named(self) -> dict[str, Floats]:
        named = {f"{HEAD}.first.weight": self.head[:, :-1], f"{HEAD}.first.bias": self.head[:, -1]}
        for number, (project, table) in enumerate(self.tails, start=1):
            named.update({f"{HEAD}.cluster_{number}.project": project, f"{HEAD}.cluster_{number}.weight": table})
        return named

    def arrays(self) -> dict[str, Any]:
        return {name: np.array(array, order="C") for name, array in self._named().items()}

    def load(self, arrays: Arrays) -> None:
        for name, array in self._named().items():
            array[...] = checked(arrays, name, array.shape)


def _softmax(inputs: Floats, table: Floats, gold: Ints) -> tuple[float, Floats, Floats]:
    """(summed loss, gradient of the inputs, errors [B,K])."""
    rows = np.arange(len(gold))
    scores = inputs @ table.T
    own = scores[rows, gold].astype(np.float64)
    errors, normaliser = normalised(scores)
    errors /= errors.sum(axis=1, keepdims=True)
    errors[rows, gold] -= 1.0
    return float((normaliser - own).sum()), errors @ table, errors


def _nats(inputs: Floats, table: Floats, gold: Ints) -> Floats:
    scores = inputs @ table.T
    if not len(gold):
        return np.zeros(0)
    own = scores[np.arange(len(gold)), gold].astype(np.float64)
    found: Floats = own - normalised(scores)[1]
    return found


def checked(arrays: Arrays, name: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array called `name`; ArtefactError where it is missing or of another shape."""
    if name not in arrays:
        raise ArtefactError("a parameter of the nnlm is missing", place=name)
    if arrays[name].shape != shape:
        raise ArtefactError(f"expected {name} of shape {shape}, found {arrays[name].shape}", place=name)
    return arrays[name]


def make_output(config: NNLMConfig, vocabulary: int, share: Floats, dtype: Any) -> Full | Adaptive:
    """The layer that `config.softmax` names, all zeros; `share` [V]: the words' frequencies."""
    if config.softmax == "sampled":
        return Sampled(config, vocabulary, dtype, share)
    return (Adaptive if config.softmax == "adaptive" else Full)(config, vocabulary, dtype)
