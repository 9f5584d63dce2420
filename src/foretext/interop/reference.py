"""BERT once more, in a page of NumPy and in double precision, straight from strangers' tensors by their own names.

The second opinion of every conversion: it shares no layer, no table of names and no tensor of ours, so a wrong
transposition, order or name cannot cancel out. Equations: Devlin et al. 2019; Vaswani et al. 2017, equation 1.

T tokens · D width · H heads · V vocabulary
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Get = Callable[[str], Doubles]
"""A tensor by its part's name below, dense weights as [out, in]."""

NAMES: Mapping[str, Mapping[str, str]] = {
    "hf": {
        "word": "bert.embeddings.word_embeddings.weight",
        "position": "bert.embeddings.position_embeddings.weight",
        "segment": "bert.embeddings.token_type_embeddings.weight",
        "norm": "bert.embeddings.LayerNorm.{weight|bias}",
        "q": "bert.encoder.layer.{n}.attention.self.query.{weight|bias}",
        "k": "bert.encoder.layer.{n}.attention.self.key.{weight|bias}",
        "v": "bert.encoder.layer.{n}.attention.self.value.{weight|bias}",
        "o": "bert.encoder.layer.{n}.attention.output.dense.{weight|bias}",
        "norm1": "bert.encoder.layer.{n}.attention.output.LayerNorm.{weight|bias}",
        "up": "bert.encoder.layer.{n}.intermediate.dense.{weight|bias}",
        "down": "bert.encoder.layer.{n}.output.dense.{weight|bias}",
        "norm2": "bert.encoder.layer.{n}.output.LayerNorm.{weight|bias}",
        "pool": "bert.pooler.dense.{weight|bias}",
        "mlm": "cls.predictions.transform.dense.{weight|bias}",
        "mlm norm": "cls.predictions.transform.LayerNorm.{weight|bias}",
        "mlm bias": "cls.predictions.bias",
        "nsp": "cls.seq_relationship.{weight|bias}",
    },
    "google": {
        "word": "bert/embeddings/word_embeddings",
        "position": "bert/embeddings/position_embeddings",
        "segment": "bert/embeddings/token_type_embeddings",
        "norm": "bert/embeddings/LayerNorm/{gamma|beta}",
        "q": "bert/encoder/layer_{n}/attention/self/query/{kernel|bias}",
        "k": "bert/encoder/layer_{n}/attention/self/key/{kernel|bias}",
        "v": "bert/encoder/layer_{n}/attention/self/value/{kernel|bias}",
        "o": "bert/encoder/layer_{n}/attention/output/dense/{kernel|bias}",
        "norm1": "bert/encoder/layer_{n}/attention/output/LayerNorm/{gamma|beta}",
        "up": "bert/encoder/layer_{n}/intermediate/dense/{kernel|bias}",
        "down": "bert/encoder/layer_{n}/output/dense/{kernel|bias}",
        "norm2": "bert/encoder/layer_{n}/output/LayerNorm/{gamma|beta}",
        "pool": "bert/pooler/dense/{kernel|bias}",
        "mlm": "cls/predictions/transform/dense/{kernel|bias}",
        "mlm norm": "cls/predictions/transform/LayerNorm/{gamma|beta}",
        "mlm bias": "cls/predictions/output_bias",
        "nsp": "cls/seq_relationship/{output_weights|output_bias}",
    },
    "uer": {
        "word": "embedding.word.embedding.weight",
        "position": "embedding.pos.embedding.weight",
        "segment": "embedding.seg.embedding.weight",
        "norm": "embedding.layer_norm.{gamma|beta}",
        "q": "encoder.transformer.{n}.self_attn.linear_layers.0.{weight|bias}",
        "k": "encoder.transformer.{n}.self_attn.linear_layers.1.{weight|bias}",
        "v": "encoder.transformer.{n}.self_attn.linear_layers.2.{weight|bias}",
        "o": "encoder.transformer.{n}.self_attn.final_linear.{weight|bias}",
        "norm1": "encoder.transformer.{n}.layer_norm_1.{gamma|beta}",
        "up": "encoder.transformer.{n}.feed_forward.linear_1.{weight|bias}",
        "down": "encoder.transformer.{n}.feed_forward.linear_2.{weight|bias}",
        "norm2": "encoder.transformer.{n}.layer_norm_2.{gamma|beta}",
        "pool": "target.sp.linear_1.{weight|bias}",
        "mlm": "target.mlm.linear_1.{weight|bias}",
        "mlm norm": "target.mlm.layer_norm.{gamma|beta}",
        "mlm bias": "target.mlm.linear_2.bias",
        "nsp": "target.sp.linear_2.{weight|bias}",
    },
}
FIRST_SEGMENT = {"hf": 0, "google": 0, "uer": 1}
"""The row of segment A; UER-py's row 0 is padding's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`activation`: "gelu" (by erf), "gelu_tanh" or "relu"; `epsilon` is added to variances."""

    layers: int
    heads: int
    activation: str
    epsilon: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Of one sequence: `layers` (0 = embeddings) [T,D]; `summary` [D], `masked` [T,V] and `next_sentence` [2]
    log-probabilities, None where the model has no such part."""

    layers: tuple[Doubles, ...]
    summary: Doubles | None
    masked: Doubles | None
    next_sentence: Doubles | None


class Reference:
    """A model of `layout` ("hf", "google", "uer"); `tensor` gives a foreign tensor by its canonical name, or None."""

    def __init__(self, layout: str, tensor: Callable[[str], NDArray[Any] | None], settings: Settings) -> None:
        self.layout, self.tensor, self.settings = layout, tensor, settings

    def __call__(self, ids: list[int], segments: list[int]) -> Answer:
        """Every layer, and what the heads say."""
        s = self.settings
        word = self._one("word")
        rows = word[ids] + self._one("position")[: len(ids)]
        x = self._norm(rows + self._one("segment")[[FIRST_SEGMENT[self.layout] + n for n in segments]], "norm")
        layers = [x]
        for n in range(s.layers):
            x = self._norm(x + self._dense(self._attention(x, n), "o", n), "norm1", n)
            x = self._norm(x + self._dense(self._activate(self._dense(x, "up", n)), "down", n), "norm2", n)
            layers.append(x)
        summary = np.tanh(self._dense(x[:1], "pool"))[0] if self._has("pool") else None
        masked = None
        if self._has("mlm"):
            hidden = self._norm(self._activate(self._dense(x, "mlm")), "mlm norm")
            masked = _log_softmax(hidden @ word.T + self._one("mlm bias"))
        judged = None
        if self._has("nsp") and summary is not None:
            weight, bias = self._two("nsp", 0)
            judged = _log_softmax(weight @ summary + bias)
        return Answer(layers=tuple(layers), summary=summary, masked=masked, next_sentence=judged)

    def _attention(self, x: Doubles, n: int) -> Doubles:
        heads, width = self.settings.heads, x.shape[1] // self.settings.heads
        q, k, v = (self._dense(x, part, n) for part in "qkv")
        mixed = []
        for h in range(heads):
            at = slice(h * width, (h + 1) * width)
            scores = q[:, at] @ k[:, at].T / math.sqrt(width)
            mixed.append(np.exp(_log_softmax(scores)) @ v[:, at])
        return np.concatenate(mixed, axis=1)

    def _has(self, part: str) -> bool:
        return self.tensor(_name(NAMES[self.layout][part], 0, 0)) is not None

    def _one(self, part: str) -> Doubles:
        found = self.tensor(NAMES[self.layout][part])
        assert found is not None, part
        return np.asarray(found, np.float64)

    def _two(self, part: str, n: int) -> tuple[Doubles, Doubles]:
        pattern = NAMES[self.layout][part]
        weight, bias = (self.tensor(_name(pattern, n, leaf)) for leaf in (0, 1))
        assert weight is not None and bias is not None, (part, n)
        return np.asarray(weight, np.float64), np.asarray(bias, np.float64)

    def _dense(self, x: Doubles, part: str, n: int = 0) -> Doubles:
        weight, bias = self._two(part, n)
        # TensorFlow multiplies rows by [in, out], torch by the transpose of [out, in].
        out: Doubles = x @ (weight if "kernel" in NAMES[self.layout][part] else weight.T) + bias
        return out

    def _norm(self, x: Doubles, part: str, n: int = 0) -> Doubles:
        gain, shift = self._two(part, n)
        centred = x - x.mean(axis=1, keepdims=True)
        out: Doubles = gain * centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + self.settings.epsilon) + shift
        return out

    def _activate(self, x: Doubles) -> Doubles:
        if self.settings.activation == "relu":
            return np.maximum(x, 0.0)
        if self.settings.activation == "gelu_tanh":
            return 0.5 * x * (1.0 + np.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)))
        erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2.0)), np.float64)
        return 0.5 * x * (1.0 + erf)


def _name(pattern: str, n: int, leaf: int) -> str:
    name = pattern.replace("{n}", str(n))
    start = name.find("{")
    if start < 0:
        return name
    stop = name.index("}")
    return name[:start] + name[start + 1 : stop].split("|")[leaf] + name[stop + 1 :]


def _log_softmax(x: Doubles) -> Doubles:
    shifted = x - x.max(axis=-1, keepdims=True)
    found: Doubles = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
