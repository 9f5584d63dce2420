"""Heads that name a vocabulary entry.

R rows · T tokens a row · M marked places · V vocabulary · D width
"""

from collections.abc import Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foretext.layers.initial import initialise
from foretext.layers.ragged import filled, gather, tensor
from foretext.layers.softmax import logits, summed_cross_entropy
from foretext.layers.transformer import ACTIVATIONS, Activation
from foretext.types import Batch, Encoder, Floats, Target, TokenVectors


@final
class MaskedHead(nn.Module):
    """The masked-LM output (Devlin et al. 2019, section 3.1, task 1): gather the marked places, then dense → GELU →
    LayerNorm, then the encoder's own embedding matrix with an output-only bias, then the softmax over the vocabulary.

    Input: `vectors[source].layers[-1]` [R,T,D]. Target: `at` [M] flat places, `gold` [M] ids, `weight` [M] 0 on slots
    that only fill up to a fixed M, `count` = how many are real.

    The Chinese essays of this project's sources reprint the function as `bert_masked_lm_output`. Against
    `get_masked_lm_output` of google-research/bert, run_pretraining.py, that excerpt
    1. has no activation in the dense layer (the original: `hidden_act`, GELU), so it has "one more non-linear
       transformation" in the comment alone;
    2. starts the dense layer's bias from the matrix initialiser (the original: zeros);
    3. multiplies by `output_weights` with `transpose=False`, and tf.matmul has no argument of that name; with
       [V,D] weights the product is only defined with `transpose_b=True`, as in the original;
    4. reads `bert_config.initializer`, which BertConfig lacks (`create_initializer(initializer_range)`), and passes
       the layer's width by place.
    We follow the original. Both divide by Σ weight + 1e-5 within a batch; `loss` here is the plain sum, because the
    caller divides by the count over the whole update (over micro-batches and machines), and so needs no 1e-5.
    The summary head of next-sentence prediction is `heads.sequence.NextSentenceHead`.
    """

    reads: Literal["joint", "apart"] = "joint"

    def __init__(
        self,
        table: nn.Embedding,
        width: int,
        *,
        source: str = "text",
        epsilon: float = 1e-12,
        activation: Activation = "gelu",
        initial_sd: float = 0.02,
        seed: int = 0,
    ) -> None:
        """`table`: the encoder's embeddings, shared and not owned; `width`: that of the encoder's top layer."""
        super().__init__()
        self.source = source
        self.dense = nn.Linear(width, table.embedding_dim)
        self.activation = ACTIVATIONS[activation]
        self.norm = nn.LayerNorm(table.embedding_dim, eps=epsilon)
        self.table = table
        self.bias = nn.Parameter(torch.zeros(table.num_embeddings))
        initialise(self.dense, initial_sd, seed, "masked.dense")

    def set_bias(self, log_frequencies_V: Floats) -> None:
        """Start the output bias at the log unigram frequencies, so that the first loss is the unigram entropy."""
        values_V = torch.as_tensor(log_frequencies_V, dtype=self.bias.dtype, device=self.bias.device)
        assert values_V.shape == self.bias.shape and bool(values_V.isfinite().all()), "expected V finite logarithms"
        with torch.no_grad():
            self.bias.copy_(values_V)

    def loss(self, vectors: Mapping[str, TokenVectors], target: Target) -> Tensor:
        """Σ weight · −log p(gold), a scalar (nats). No target: 0, still connected to the graph."""
        weight_M = None if target.weight is None else tensor(target.weight)
        hidden_PD = self._transform(vectors, filled(tensor(target.at)))
        return summed_cross_entropy(hidden_PD, self.table.weight, self.bias, tensor(target.gold), weight_M)

    def places(self, batch: Batch, target: Target) -> Mapping[str, Tensor] | None:
        """The flat places that `loss` reads, by source; None (all) where slots of weight 0 repeat a place."""
        return None if target.weight is not None else {self.source: tensor(target.at)}

    def predict(self, vectors: Mapping[str, TokenVectors], target: Target | None = None) -> Tensor:
        """Log-probabilities [M,V] at the target's places, or at all R·T places in order."""
        at_M = None if target is None else tensor(target.at)
        return F.log_softmax(logits(self._transform(vectors, at_M), self.table.weight, self.bias), dim=-1)

    def measures(self, vectors: Mapping[str, TokenVectors], target: Target) -> Mapping[str, Tensor]:
        """Sums by name: "correct", how many counted places have their gold entry first. Costs the output product once more."""
        with torch.no_grad():
            scores_PV = logits(self._transform(vectors, filled(tensor(target.at))), self.table.weight, self.bias)
            hit_M = scores_PV.argmax(-1)[: len(target.gold)] == tensor(target.gold)
            if target.weight is not None:
                hit_M = hit_M & (tensor(target.weight) > 0)
            return {"correct": hit_M.sum()}

    def _transform(self, vectors: Mapping[str, TokenVectors], at_M: Tensor | None) -> Tensor:
        """Dense → GELU → LayerNorm at the places only: the step that costs most runs on a fifth of the tokens or less."""
        top_RTD = vectors[self.source].layers[-1]
        hidden_MD = top_RTD.flatten(0, 1) if at_M is None else gather(top_RTD, at_M)
        out: Tensor = self.norm(self.activation(self.dense(hidden_MD)))
        return out


def masked_head(encoder: Encoder, config: Any = None, *, source: str = "text", seed: int = 0) -> MaskedHead:
    """The head of the masked objective on `encoder`; the objective's config holds nothing that a head needs. Activation
    and epsilon are the encoder's, as in `get_masked_lm_output` (`hidden_act`), where it has any."""
    own = getattr(encoder, "config", None)
    return MaskedHead(
        encoder.table,
        encoder.widths[-1],
        source=source,
        epsilon=getattr(own, "norm_epsilon", 1e-12),
        activation=getattr(own, "activation", "gelu"),
        seed=seed,
    )
