"""Heads that judge a whole sequence by its summary.

S sequences · N judged sequences · D width
"""

from collections.abc import Mapping
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foretext.errors import UsageError
from foretext.layers.initial import initialise
from foretext.layers.ragged import tensor
from foretext.types import Batch, Encoder, Target, TokenVectors


@final
class NextSentenceHead(nn.Module):
    """Does B follow A? Two scores from the summary (Devlin et al. 2019, section 3.1, task 2).

    Input: `vectors[source].summary` [S,D]. Target: `at` [N] sequence numbers, `gold` [N]: 0 = B follows A, 1 = B is
    from elsewhere, as in google-research/bert, run_pretraining.py, `get_next_sentence_output`.
    """

    reads: Literal["joint", "apart"] = "joint"

    def __init__(self, width: int, *, source: str = "text", initial_sd: float = 0.02, seed: int = 0) -> None:
        super().__init__()
        self.source = source
        self.out = nn.Linear(width, 2)
        initialise(self.out, initial_sd, seed, "next_sentence.out")

    def loss(self, vectors: Mapping[str, TokenVectors], target: Target) -> Tensor:
        """Σ weight · −log p(gold), a scalar (nats)."""
        nats_N = F.nll_loss(self.predict(vectors, target), tensor(target.gold).long(), reduction="none")
        return nats_N.sum() if target.weight is None else (nats_N * tensor(target.weight)).sum()

    def places(self, batch: Batch, target: Target) -> Mapping[str, Tensor] | None:
        """The flat places that `loss` reads, by source: where the summaries stand."""
        summary_S = batch.views[self.source].summary
        return None if summary_S is None else {self.source: tensor(summary_S)}

    def predict(self, vectors: Mapping[str, TokenVectors], target: Target | None = None) -> Tensor:
        """Log-probabilities [N,2] of the target's sequences, or of all S in order; fp32 at least."""
        summary_SD = vectors[self.source].summary
        if summary_SD is None:
            raise UsageError(
                "next-sentence prediction needs a vector a sequence, and these sequences have none",
                remedy='use a template with summary = "start" and a family that has a summary, such as bert',
            )
        read_ND = summary_SD if target is None else summary_SD.index_select(0, tensor(target.at).long())
        scores_N2: Tensor = self.out(read_ND)
        return F.log_softmax(scores_N2.to(torch.promote_types(scores_N2.dtype, torch.float32)), dim=-1)

    def measures(self, vectors: Mapping[str, TokenVectors], target: Target) -> Mapping[str, Tensor]:
        """Sums by name: "correct", how many counted pairs are judged rightly."""
        with torch.no_grad():
            hit_N = self.predict(vectors, target).argmax(-1) == tensor(target.gold)
            if target.weight is not None:
                hit_N = hit_N & (tensor(target.weight) > 0)
            return {"correct": hit_N.sum()}


def next_sentence_head(
    encoder: Encoder, config: Any = None, *, source: str = "text", seed: int = 0
) -> NextSentenceHead:
    """The head of the next-sentence objective on `encoder`; the objective's config holds nothing that a head needs."""
    return NextSentenceHead(encoder.widths[-1], source=source, seed=seed)
