"""`fill`: what a masked language model would write in place of a mask.

The mask is written [MASK] or as three or more underscores (___, or full-width ＿＿ twice or more). Only this command
reads it so; everywhere else such text is text.
"""

import re
from dataclasses import dataclass

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import UsageError, require_whole
from foretext.evaluation.masked import answers, require_masked, sequences
from foretext.types import JSON, Encoding, Span, Text

_MARK = re.compile(r"\[MASK\]|_{3,}|＿{2,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Guess:
    """A vocabulary entry as shown to people, and its probability."""

    piece: str
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """`string` as given; for each mask its place and the likeliest entries, best first."""

    string: str
    places: tuple[Span, ...]
    guesses: tuple[tuple[Guess, ...], ...]
    tokens: int = 0
    """Tokens of the text, masks counted."""

    def text(self) -> str:
        """For people: a line a mask, then the text with the best guess in each place."""
        lines = []
        for number, guesses in enumerate(self.guesses, 1):
            label = f"mask {number}: " if len(self.guesses) > 1 else ""
            lines.append(label + "  ".join(f"{g.piece} {g.probability:.3f}" for g in guesses))
        filled, at = "", 0
        for (start, stop), guesses in zip(self.places, self.guesses, strict=True):
            filled += f"{self.string[at:start]}[{guesses[0].piece}]"
            at = stop
        return "\n".join([*lines, filled + self.string[at:]])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "text": self.string,
            "masks": [
                {"start": start, "stop": stop, "guesses": [{"piece": g.piece, "probability": g.probability} for g in guesses]}
                for (start, stop), guesses in zip(self.places, self.guesses, strict=True)
            ],
        }


def fill(pretrained: Pretrained, text: str, *, n: int = 5) -> Filled:
    """The `n` likeliest entries for each mask of `text`, special tokens left out.

    Each mask is one token, and each is answered with the others still masked; write two masks for a word of two pieces
    or two characters. UsageError: no mask, or a family that fills none.
    """
    mask = require_masked(pretrained, "fill", "fill")
    require_whole("n", n)
    marks = [match.span() for match in _MARK.finditer(text)]
    if not marks:
        raise UsageError(f"expected a mask in the text, found none in {text!r}", remedy="write [MASK] or ___ where a word is missing")
    encoded = _encode(pretrained, text, marks, mask)
    windows = sequences(pretrained, [encoded])[0]
    places = [np.flatnonzero((window.ids == mask) & window.owned) for window in windows]
    special = sorted(pretrained.tokenizer.special.values())
    pieces = pretrained.tokenizer.pieces
    found: list[tuple[int, tuple[Guess, ...]]] = []
    for owner, log_MV in answers(pretrained, windows, places):
        seen = dict.fromkeys(owner.tolist(), 0)
        log_MV[:, special] = -float("inf")
        best = log_MV.topk(min(n, log_MV.shape[1] - len(special)), dim=-1)
        for window, values, ids in zip(owner.tolist(), best.values.exp().tolist(), best.indices.tolist(), strict=True):
            token = int(windows[window].word[places[window][seen[window]]])
            seen[window] += 1
            found.append((token, tuple(Guess(piece=pieces[i], probability=p) for i, p in zip(ids, values, strict=True))))
    guesses = tuple(guess for _, guess in sorted(found, key=lambda pair: pair[0]))
    assert len(guesses) == len(marks), f"{len(marks)} masks, {len(guesses)} answers"
    return Filled(string=text, places=tuple(marks), guesses=guesses, tokens=len(encoded.ids))


def _encode(pretrained: Pretrained, text: str, marks: list[Span], mask: int) -> Encoding:
    """The ids of the text with one mask token at each mark; what lies between is encoded as any other text."""
    cuts = [0, *(edge for mark in marks for edge in mark), len(text)]
    between = pretrained.tokenizer.encode([Text(string=text[a:b]) for a, b in zip(cuts[::2], cuts[1::2], strict=True)])
    ids = []
    for number, encoding in enumerate(between):
        ids.append(np.asarray(encoding.ids, np.int64))
        if number < len(marks):
            ids.append(np.array([mask], np.int64))
    joined = np.concatenate(ids)
    return Encoding(ids=joined, offsets=np.zeros((len(joined), 2), np.int64), word=np.arange(len(joined)))
