"""The classification head: vectors of an example's windows → one vector → labels. It knows no family.

N examples · S sequences (an example's windows) · L layers read · D width of a layer · P pooled width · K labels
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foretext.errors import UsageError
from foretext.heads import hosts
from foretext.layers.initial import initialise
from foretext.layers.mixing import ScalarMix
from foretext.layers.ragged import gather, lengths, places, pool, pool_sequences, tensor
from foretext.layers.softmax import widened
from foretext.types import Batch, Target, TokenVectors

Pool = Literal["summary", "mean", "max", "concat"]
T = TypeVar("T")
EPSILON = 1e-12
"""Least length that a vector is divided by."""
INITIAL_SD = 0.02
"""Standard deviation of new weights (google-research/bert, run_classifier.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifyHeadConfig:
    """What the head reads and how it decides."""

    pool: Pool = "mean"
    """One vector from a sequence: the family's own summary; the mean or maximum over tokens; or last token, maximum
    and mean side by side (Howard & Ruder 2018, section 3.3)."""
    layers: Literal["last", "mix"] | int = "last"
    """Which layers: the last, one by number (0 = embeddings), or a learned scalar mix of all (Peters et al. 2018,
    eq. 1). Layers are pooled first and mixed then: for a mean the order does not matter, and it is cheaper."""
    dropout: float = 0.1
    """Share of the example vector's (and hidden layer's) entries dropped in training."""
    hidden: int = 0
    """Width of a hidden layer (dense, ReLU) before the decision; 0 = none."""
    normalize: bool = False
    """Subtract the mean vector of some training texts (`set_centres`), then bring every example vector to length √P: so
    what all texts share does not drown what sets them apart, and one learning rate suits families of any scale."""
    multi: bool = False
    """Several labels a text: each label has its own probability."""
    host: Literal["none"] | hosts.Name = "none"
    """A network that reads every token vector in place of `pool`, trained with the head. With `normalize` it reads token
    vectors less their mean over some training texts, brought to length √D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What an encoder offers: the width of each layer, and of its summary (None = it has none)."""

    widths: tuple[int, ...]
    summary: int | None = None


@final
class ClassifyHead(nn.Module):
    """Pool each sequence, or let the host read it; average an example's windows; then dropout → (hidden layer) → linear.

    Windows are averaged as vectors, unweighted: for a linear decision that equals averaging the windows' logits, so
    the answer is the normalised geometric mean of the windows' probabilities. Several sources stand side by side.
    """

    reads: Literal["joint"] = "joint"

    def __init__(
        self,
        sources: Mapping[str, Shape],
        labels: int,
        config: ClassifyHeadConfig,
        label_weights: tuple[float, ...] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.config, self.sources = config, dict(sources)
        mixes = {}
        for name, shape in sources.items():
            _check_layers(name, shape, config)
            if config.pool != "summary" and config.layers == "mix" and len(shape.widths) > 1:
                mixes[name] = ScalarMix(shape.widths)
        self.mixes = nn.ModuleDict(mixes)
        widths = {name: pooled_width(shape, config) for name, shape in sources.items()}
        made = {name: hosts.make_host(config.host, widths[name], seed, name) for name in sources} if config.host != "none" else {}
        self.hosts = nn.ModuleDict(made)
        self.centres = nn.ParameterDict()
        if config.normalize:
            for name, shape in sources.items():
                centre_LP = torch.zeros(layers_read(shape, config), widths[name])
                self.centres[name] = nn.Parameter(centre_LP, requires_grad=False)
        width = sum(host.width for host in made.values()) if made else sum(widths.values())
        self.dropout = nn.Dropout(config.dropout)
        self.hidden = nn.Linear(width, config.hidden) if config.hidden else None
        self.decision = nn.Linear(config.hidden or width, labels)
        for name, layer in (("hidden", self.hidden), ("decision", self.decision)):
            if layer is not None:
                initialise(layer, INITIAL_SD, seed, f"classify.{name}")
        weights = None if label_weights is None else torch.tensor(label_weights)
        self.register_buffer("label_weights", weights, persistent=False)

    def logits(self, vectors: Mapping[str, TokenVectors]) -> Tensor:
        """[N,K]; examples are numbered as in each view's `origin.example`."""
        x_NP = self.dropout(torch.cat([self._example_vectors(name, vectors[name]) for name in self.sources], dim=1))
        if self.hidden is not None:
            x_NP = self.dropout(torch.relu(self.hidden(x_NP)))
        out: Tensor = self.decision(x_NP)
        return out

    def _example_vectors(self, name: str, vectors: TokenVectors) -> Tensor:
        layers_IP = layers_of(vectors, self.config)
        if self.config.normalize:
            layers_IP = [layer - centre for layer, centre in zip(layers_IP, self.centres[name], strict=True)]
        x_SP: Tensor = self.mixes[name](layers_IP) if name in self.mixes else layers_IP[-1]
        if name in self.hosts:
            x_SP = self.hosts[name](self._to_length(x_SP), lengths(vectors.batch))
        origin = vectors.batch.origin
        assert origin is not None, "a classification batch says which example each sequence belongs to"
        example_S = torch.as_tensor(origin.example, device=x_SP.device)
        x_NP = pool(x_SP, example_S, int(example_S.max()) + 1)
        return x_NP if self.hosts else self._to_length(x_NP)

    def _to_length(self, x_NP: Tensor) -> Tensor:
        """Vectors brought to length √P, where the head is to do so."""
        return F.normalize(x_NP, dim=1, eps=EPSILON) * x_NP.shape[1] ** 0.5 if self.config.normalize else x_NP

    @torch.no_grad()
    def set_centres(self, centres: Mapping[str, Tensor]) -> None:
        """The mean of each source's layers, as the head reads them, over some training texts, [L,P]; they move no further."""
        for name, centre_LP in centres.items():
            self.centres[name].copy_(centre_LP)

    def loss(self, vectors: Mapping[str, TokenVectors], target: Target) -> Tensor:
        """Summed cross-entropy (nats) of `target.gold` [N] label numbers, weighted by label where asked; with several
        labels a text, gold [N,K] 0/1 and binary cross-entropy summed over labels."""
        logits_NK = widened(self.logits(vectors))[tensor(target.at).long()]
        gold, weights = tensor(target.gold), self._weights(logits_NK)
        if self.config.multi:
            loss_N = F.binary_cross_entropy_with_logits(
                logits_NK, gold.to(logits_NK.dtype), pos_weight=weights, reduction="none"
            ).sum(1)
        else:
            loss_N = F.cross_entropy(logits_NK, gold.long(), weight=weights, reduction="none")
        return loss_N.sum() if target.weight is None else (loss_N * tensor(target.weight)).sum()

    def places(self, batch: Batch, target: Target) -> Mapping[str, Tensor] | None:
        """The flat places that `loss` reads, by source: the summaries where nothing else is read, else None (all)."""
        summaries = {name: batch.views[name].summary for name in self.sources}
        if self.config.pool != "summary" or any(at is None for at in summaries.values()):
            return None
        return {name: tensor(at) for name, at in summaries.items() if at is not None}

    def predict(self, vectors: Mapping[str, TokenVectors], target: Target | None = None) -> Tensor:
        """Log-probabilities [N,K]: of the K labels against each other, or with `multi` of each label on its own."""
        logits_NK = widened(self.logits(vectors))
        return F.logsigmoid(logits_NK) if self.config.multi else torch.log_softmax(logits_NK, dim=1)

    @torch.no_grad()
    def measures(self, vectors: Mapping[str, TokenVectors], target: Target) -> Mapping[str, Tensor]:
        """"correct": examples whose likeliest label is theirs; with several labels a text, all decisions right."""
        said_NK, gold = self.predict(vectors, target)[tensor(target.at).long()], tensor(target.gold)
        if self.config.multi:
            return {"correct": ((said_NK.exp() >= 0.5) == (gold > 0)).all(1).sum()}
        return {"correct": (said_NK.argmax(1) == gold).sum()}

    def mix_weights(self) -> dict[str, list[float]]:
        """The learned share of each layer, bottom to top, by source; empty without a mix."""
        shares = {name: torch.softmax(mix.s.detach(), 0) for name, mix in self.mixes.items() if isinstance(mix, ScalarMix)}
        return {name: [float(v) for v in share] for name, share in shares.items()}

    def _weights(self, like: Tensor) -> Tensor | None:
        weights = self.label_weights
        assert weights is None or isinstance(weights, Tensor)
        return None if weights is None else weights.to(like.dtype)


def layers_of(vectors: TokenVectors, config: ClassifyHeadConfig) -> list[Tensor]:
    """The layers that the head reads, each as one vector a sequence, L × [S,P], or where a host reads them a token, L ×
    [N,D], sequence after sequence: everything before the first parameter, and so what a feature cache keeps."""
    if config.host != "none":
        return [gather(layer, places(vectors.batch)) for layer in _chosen(vectors.layers, config)]
    if config.pool == "summary":
        assert vectors.summary is not None, "checked when the head was built"
        return [vectors.summary]
    return [_pooled(layer, vectors, config.pool) for layer in _chosen(vectors.layers, config)]


def pooled_width(shape: Shape, config: ClassifyHeadConfig) -> int:
    """P: entries of one pooled layer of a source; for a host, of a token's."""
    if config.host == "none" and config.pool == "summary":
        return shape.summary or 0
    (width, *_) = _chosen(shape.widths, config)
    return width * (3 if config.pool == "concat" and config.host == "none" else 1)


def layers_read(shape: Shape, config: ClassifyHeadConfig) -> int:
    """L: how many pooled layers of a source the head reads."""
    return 1 if config.pool == "summary" else len(_chosen(shape.widths, config))


def _chosen(layers: tuple[T, ...], config: ClassifyHeadConfig) -> tuple[T, ...]:
    if config.layers == "mix":
        return layers
    return (layers[-1 if config.layers == "last" else config.layers],)


def _pooled(layer_RTD: Tensor, vectors: TokenVectors, how: Pool) -> Tensor:
    if how == "concat":
        bounds_S3 = tensor(vectors.batch.bounds).long()
        last_S = bounds_S3[:, 0] * layer_RTD.shape[1] + (bounds_S3[:, 2] - 1).clamp(min=0)
        some_S1 = (bounds_S3[:, 2] > bounds_S3[:, 1])[:, None]
        last_SD = gather(layer_RTD, last_S) * some_S1
        parts = [last_SD, pool_sequences(layer_RTD, vectors.batch, "max"), pool_sequences(layer_RTD, vectors.batch)]
        return torch.cat(parts, dim=1)
    assert how != "summary"
    return pool_sequences(layer_RTD, vectors.batch, how)


def _check_layers(name: str, shape: Shape, config: ClassifyHeadConfig) -> None:
    if config.host != "none" and config.pool != "mean":
        raise UsageError(f"a host reads every token: it does not go with pool {config.pool}", remedy="leave pool out")
    if config.pool == "summary" and shape.summary is None:
        raise UsageError(f"source {name!r} has no summary vector", remedy="choose pool mean, max or concat")
    if config.pool == "summary" and config.layers != "last":
        raise UsageError("a summary vector comes from the last layer only", remedy="choose pool mean to read other layers")
    top = len(shape.widths) - 1
    if isinstance(config.layers, int) and not 0 <= config.layers <= top:
        raise UsageError(f"source {name!r} has layers 0 to {top}, found {config.layers}", remedy="layer 0 is the embeddings")
