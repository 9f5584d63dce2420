"""`score`: how likely a masked language model finds a text, token by token.

Pseudo-log-likelihood (Salazar et al. 2020, "Masked Language Model Scoring", section 2, eq. 2): each token is masked
in turn and scored given all the others. It is no probability of the text (the terms do not come from one joint
distribution); sums compare texts of one length, means texts of different lengths.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from foretext.bundle import Pretrained
from foretext.data.render import Rendered
from foretext.evaluation.masked import answers, require_masked, sequences
from foretext.types import Floats, Ints, Text

_QUESTIONS = 2048
"""Masked copies made at once: bounds memory, however long a text is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One text. `tokens` [T] pieces, `offsets` [T,2] characters, `nats` [T] log-probability of each token; a token
    that the tokenizer does not know is scored as [UNK]."""

    tokens: tuple[str, ...]
    offsets: Ints
    nats: Floats

    @property
    def sum(self) -> float:
        """Σ nats over the tokens; 0 for a text without tokens."""
        return float(self.nats.sum())

    @property
    def mean(self) -> float:
        """Nats a token; 0 for a text without tokens."""
        return float(self.nats.mean()) if len(self.nats) else 0.0


def score(pretrained: Pretrained, texts: Sequence[str], *, batch_tokens: int = 4096) -> list[Scored]:
    """Score each text, masking one token at a time; `batch_tokens`: most tokens the encoder reads at once.

    A text over the encoder's limit is read in overlapping windows, each token scored in the one that shows most of its
    surroundings. UsageError for a family that cannot score.
    """
    mask = require_masked(pretrained, "score", "score")
    encodings = pretrained.tokenizer.encode([Text(string=text) for text in texts])
    nats = [np.zeros(len(encoding.ids)) for encoding in encodings]
    questions = _questions(sequences(pretrained, encodings), mask)
    while part := list(islice(questions, _QUESTIONS)):
        golds = [gold for _, _, gold in part]
        asked, places = [masked for masked, _, _ in part], [np.array([place]) for _, place, _ in part]
        for owner, log_MV in answers(pretrained, asked, places, batch_tokens=batch_tokens):
            given = log_MV[range(len(owner)), [golds[i] for i in owner.tolist()]].double().numpy()
            for i, value in zip(owner.tolist(), given.tolist(), strict=True):
                nats[asked[i].example][asked[i].word[places[i][0]]] = value
    pieces = pretrained.tokenizer.pieces
    return [
        Scored(tokens=tuple(pieces[i] for i in encoding.ids.tolist()), offsets=encoding.offsets, nats=found)
        for encoding, found in zip(encodings, nats, strict=True)
    ]


def _questions(rendered: Sequence[Sequence[Rendered]], mask: int) -> Iterator[tuple[Rendered, int, int]]:
    """(copy with one token masked, its place in the sequence, the token) for every token of every text, once each."""
    for windows in rendered:
        for window in windows:
            for place in np.flatnonzero(window.owned & (window.word >= 0)).tolist():
                ids = np.array(window.ids)
                gold = int(ids[place])
                ids[place] = mask
                yield replace(window, ids=ids), place, gold
