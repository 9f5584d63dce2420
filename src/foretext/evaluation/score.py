"""`score`: how likely a language model finds a text, token by token.

A model that reads from left to right says it exactly: the sum over the tokens and the text's end is the log-probability
of the text. What a masked one says is its pseudo-log-likelihood (Salazar et al. 2020, "Masked Language Model Scoring", section 2, eq. 2): each token
is masked in turn and scored given all the others. That is no probability of the text (the terms do not come from one
joint distribution); sums compare texts of one length, means texts of different lengths. Which of the two a family is
scored by stands in models/catalog.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np

from foretext.bundle import Pretrained
from foretext.data.render import Rendered
from foretext.errors import UsageError
from foretext.evaluation.masked import answers, require_masked, sequences
from foretext.models.catalog import FAMILIES, family, require, resolve
from foretext.models.stream import Scorer, of_texts
from foretext.types import Floats, Ints, Text

_QUESTIONS = 2048
"""Masked copies made at once: bounds memory, however long a text is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One text. `tokens` [T] pieces, `offsets` [T,2] characters, `nats` [T] log-probability of each token; a token
    that the tokenizer does not know is scored as [UNK]. `end`: log-probability of the text's end, None where the family
    gives it none."""

    tokens: tuple[str, ...]
    offsets: Ints
    nats: Floats
    end: float | None = None

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
    surroundings. A family that reads from left to right scores each text as one unit, whatever sentences it has.
    UsageError for a family that cannot score.
    """
    if reads_on(pretrained):
        return _scored(pretrained, texts)
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


def reads_on(pretrained: Pretrained) -> bool:
    """Whether the model gives each token a probability given those before it; UsageError where it cannot score."""
    require(pretrained.recipe.family.name, "score", "score")
    return family(pretrained.recipe.family.name).scorer is not None


def scorer_of(pretrained: Pretrained) -> Scorer:
    """The model as a left-to-right scorer; UsageError where it cannot score, or only by masking."""
    if not reads_on(pretrained):
        able = [name for name, row in FAMILIES.items() if row.scorer is not None]
        raise UsageError(
            f"this needs a family that reads from left to right; {pretrained.recipe.family.name} does not",
            file=pretrained.path,
            remedy=f"these do: {', '.join(able)}",
        )
    made: Scorer = resolve(family(pretrained.recipe.family.name).scorer or "")(
        pretrained.recipe.family, pretrained.arrays, pretrained.tokenizer
    )
    return made


def _scored(pretrained: Pretrained, texts: Sequence[str]) -> list[Scored]:
    scorer, pieces = scorer_of(pretrained), pretrained.tokenizer.pieces
    encodings = pretrained.tokenizer.encode([Text(string=text) for text in texts])
    stream = of_texts([np.asarray(encoding.ids) for encoding in encodings], scorer.boundary)
    parts = np.split(scorer.nats(stream), stream.ends[:-1] + 1) if texts else []
    return [
        Scored(
            tokens=tuple(pieces[i] for i in encoding.ids.tolist()), offsets=encoding.offsets, nats=found[:-1], end=float(found[-1])
        )
        for encoding, found in zip(encodings, parts, strict=True)
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
