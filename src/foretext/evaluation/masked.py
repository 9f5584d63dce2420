"""Asking a masked language model about places of a text: what `fill` and `score` share.

T tokens of a text · M places asked about · V vocabulary
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foretext.bundle import SOURCE, Pretrained
from foretext.data.batches import pack, pack_by_length, view_to_torch
from foretext.data.render import Example, Fit, Rendered, render_all
from foretext.errors import UsageError
from foretext.models.catalog import Ability, require
from foretext.types import Batch, Encoding, Ints, Target, Text

if TYPE_CHECKING:
    from torch import Tensor

HEAD = "masked"
MASK = "[MASK]"


@dataclass(frozen=True, slots=True)
class _Encoded:
    """A tokenizer for texts that are encoded already. Every token is a word of its own, so that windows over a long
    text own tokens, not words."""

    special: Mapping[str, int]
    encodings: Sequence[Encoding]

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        return [replace(e, word=np.arange(len(e.ids))) for e in self.encodings]


def require_masked(pretrained: Pretrained, ability: Ability, command: str) -> int:
    """The mask's id. UsageError for a family that cannot do `command`, or a folder without the masked head."""
    require(pretrained.recipe.family.name, ability, command)
    special = pretrained.tokenizer.special
    if MASK not in special or not any(name.startswith(f"heads.{HEAD}.") for name in pretrained.arrays):
        raise UsageError(
            f"{command} needs the masked-LM head and a tokenizer with {MASK}; this model has not both",
            file=pretrained.path,
            remedy="use a model pretrained with the objective `masked`",
        )
    return special[MASK]


def sequences(pretrained: Pretrained, encodings: Sequence[Encoding]) -> list[list[Rendered]]:
    """Each encoding as the sequences that the encoder reads: one, or overlapping windows where it is longer than the
    limit. In a window, `owned` marks the tokens it answers for and `word` is the token's number [T] in its text."""
    encoder = pretrained.model.encoder(SOURCE)
    texts = [Example(options=(((Text(string=""),),),)) for _ in encodings]
    ready: Any = _Encoded(pretrained.tokenizer.special, encodings)
    fit = Fit(policy="window", stride=(encoder.limit or 0) // 4)
    return render_all(texts, ready, pretrained.recipe.family.template, "joint", fit, encoder.limit)


def answers(
    pretrained: Pretrained, asked: Sequence[Rendered], places: Sequence[Ints], *, batch_tokens: int = 8192
) -> "Iterator[tuple[Ints, Tensor]]":
    """Log-probabilities [M,V] (nats) at `places[i]` of sequence `asked[i]`, in groups of alike length, longest first.

    Yields (which sequence each of the M rows belongs to, the log-probabilities), places of a sequence in order.
    """
    import torch

    model, pad = pretrained.model, pretrained.tokenizer.special.get("[PAD]", 0)
    head = model.head(HEAD)
    for group in pack_by_length(np.array([len(s) for s in asked], np.int64), batch_tokens):
        view = pack([asked[i] for i in group.tolist()], packed=False, pad_id=pad)
        width = np.asarray(view.ids).shape[1]
        owner = np.repeat(group, [len(places[i]) for i in group.tolist()])
        starts = [row * width + start for row, start, _ in np.asarray(view.bounds).tolist()]
        at = np.concatenate([start + places[i] for start, i in zip(starts, group.tolist(), strict=True)])
        target = Target(at=torch.from_numpy(at), gold=torch.zeros(len(at), dtype=torch.int64), count=len(at))
        with torch.inference_mode():
            vectors = model(Batch(views={SOURCE: view_to_torch(view)}))
            yield owner, head.predict(vectors, target).float()
