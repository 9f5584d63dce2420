"""Objectives: the data half. Each corrupts a batch's view and sets the target that its head must answer.

An objective's model side is a head (`config.head` names it), so this module needs numpy only. What is drawn for a
sequence is a function of the sequence's key and of the place in it, so neither batch nor order changes its masks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Protocol

import numpy as np

from foretext.config import ranges
from foretext.data.hashing import uniforms
from foretext.data.plan import offsets
from foretext.errors import UsageError, unknown
from foretext.types import Batch, Bits, Floats, Ints, Target, TokenBatch, Tokenizer

# R rows, T tokens a row, S sequences, C candidate tokens, G words

MASK = "[MASK]"
CHOICE, ACTION, REPLACEMENT = 1, 2, 3  # streams of draws


class Objective(Protocol):
    """One training signal. `sees`: the encoders' visibilities it can teach. `words`: it reads `origin.words`."""

    name: str
    sees: frozenset[str]
    words: bool

    def prepare(self, batch: Batch, keys: Ints) -> Batch:
        """The batch with this objective's corruption and its target under `name`; `keys` [S]: one number a sequence,
        the only source of randomness."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskedConfig:
    """Masked language modelling (Devlin et al. 2019, section 3.1, task 1)."""

    weight: float = 1.0
    """Share in the loss."""
    rate: float = 0.15
    """Share of a sequence's tokens to predict, special tokens counted in the sequence's length as in the code."""
    mask: float = 0.8
    """Share of the chosen tokens that become [MASK]."""
    random: float = 0.1
    """Share of the chosen tokens that become a random token; the rest stays as it is."""
    whole_word: bool = False
    """Choose words, not tokens (google-research/bert: do_whole_word_mask). English: all pieces of a word; Chinese: all
    characters of a segmented word, where the tokenizer segments (chinese = "words" or a marked store)."""
    most: int | None = 20
    """Most predictions of one sequence (max_predictions_per_seq; 20 at length 128); None = as `rate` says."""
    slots: int = 1
    """Round a batch's number of predictions up to a multiple of this with slots of weight 0, so that compiled shapes
    repeat (max_predictions_per_seq slots a sequence in google-research/bert)."""
    head: ClassVar[str] = "foretext.heads.vocabulary:masked_head"

    def __post_init__(self) -> None:
        ranges(self, least={"weight": 0.0})
        if not 0.0 < self.rate < 1.0:
            raise UsageError(f"masked.rate: expected a share between 0 and 1, found {self.rate}")
        if min(self.mask, self.random) < 0.0 or self.mask + self.random > 1.0 + 1e-9:
            raise UsageError(
                f"masked.mask + masked.random: expected shares of at most 1 together, found {self.mask} + {self.random}"
            )
        if self.most is not None and self.most < 1:
            raise UsageError(f"masked.most: expected at least 1 prediction a sequence, found {self.most}")
        if self.slots < 1:
            raise UsageError(f"masked.slots: expected 1 or more, found {self.slots}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NextSentenceConfig:
    """Next sentence prediction (Devlin et al. 2019, section 3.1, task 2)."""

    weight: float = 1.0
    """Share in the loss."""
    head: ClassVar[str] = "foretext.heads.sequence:next_sentence_head"

    def __post_init__(self) -> None:
        ranges(self, least={"weight": 0.0})


class Masked:
    """Chooses tokens, hides them, and asks for them back. Final.

    Inputs: view "text" [R,T]. Target: at = flat places (row·T + token) in ascending order, gold = the ids that stood
    there [M]. A sequence of n tokens ([CLS] and [SEP] counted, as in `create_masked_lm_predictions`) gets
    min(most, max(1, round(rate · n))) predictions: an exact number, not a coin a token.

    Differences from google-research/bert: no special token is ever chosen ([UNK] neither, which the code would ask the
    model to predict), and replacements are drawn from the vocabulary without the special tokens (the code's may be
    [CLS] or [unused7]). Whole words: a word that would exceed the budget is passed over, as there; a sequence all of
    whose words do gets its first drawn word of at most `most` pieces (the code masks nothing).
    """

    sees = frozenset({"both"})

    def __init__(self, config: MaskedConfig, tokenizer: Tokenizer, name: str = "masked") -> None:
        if MASK not in tokenizer.special:
            raise UsageError(f"the {name} objective needs a tokenizer with the special token {MASK}")
        self.config, self.name, self.words = config, name, config.whole_word
        self._mask = tokenizer.special[MASK]
        self._is_special = np.zeros(tokenizer.size, np.bool_)
        self._is_special[list(tokenizer.special.values())] = True
        self._ordinary = np.flatnonzero(~self._is_special)
        if not len(self._ordinary):
            raise UsageError(f"the {name} objective needs a vocabulary with more than its special tokens")

    def prepare(self, batch: Batch, keys: Ints) -> Batch:
        view = batch.views["text"]
        ids, sequence, position = (np.ravel(a) for a in (view.ids, view.sequence, view.position))
        candidates = np.flatnonzero((sequence >= 0) & ~self._is_special[ids])
        budget = self._budget(np.asarray(view.bounds[:, 2] - view.bounds[:, 1]))
        if self.config.whole_word:
            chosen = self._words(view, candidates, sequence, position, keys, budget)
        else:
            owner = sequence[candidates]
            order = uniforms(keys[owner], position[candidates], CHOICE)
            chosen = candidates[_smallest(order, owner, budget)]
        gold = ids[chosen]
        draws = keys[sequence[chosen]], position[chosen]
        action = uniforms(*draws, ACTION)
        replacement = self._ordinary[(uniforms(*draws, REPLACEMENT) * len(self._ordinary)).astype(np.int64)]
        shown = np.where(action < self.config.mask + self.config.random, replacement, gold)
        shown = np.where(action < self.config.mask, self._mask, shown)
        corrupted = ids.copy()
        corrupted[chosen] = shown
        target = self._padded(chosen, gold)
        text = replace(view, ids=corrupted.reshape(view.ids.shape))
        return Batch(views={**batch.views, "text": text}, targets={**batch.targets, self.name: target})

    def _padded(self, at: Ints, gold: Ints) -> Target:
        """The target [M], with slots of weight 0 at the end where M is rounded up."""
        spare = -len(at) % self.config.slots
        if not spare:
            return Target(at=at, gold=gold, count=len(at))
        weight = np.repeat(np.array([1, 0], np.float32), [len(at), spare])
        return Target(at=np.pad(at, (0, spare)), gold=np.pad(gold, (0, spare)), count=len(at), weight=weight)

    def _budget(self, lengths: Ints) -> Ints:
        """Predictions of sequences of `lengths` tokens [S]; round() of Python 3 and rint both round half to even."""
        wanted: Ints = np.maximum(np.rint(lengths * self.config.rate).astype(np.int64), 1)
        return wanted if self.config.most is None else np.minimum(wanted, self.config.most)

    def _words(
        self, view: TokenBatch, candidates: Ints, sequence: Ints, position: Ints, keys: Ints, budget: Ints
    ) -> Ints:
        """Places of the tokens of the chosen words, ascending."""
        assert view.origin is not None and view.origin.words is not None, "take(..., words=True) for whole words"
        begins = np.zeros(len(sequence), np.bool_)
        begins[view.origin.words[:, 2] * view.ids.shape[1] + view.origin.words[:, 3]] = True
        owner = sequence[candidates]
        first = begins[candidates]
        first[1:] |= owner[1:] != owner[:-1]
        first[:1] = True
        word_of = np.cumsum(first) - 1
        heads = candidates[first]
        order = uniforms(keys[sequence[heads]], position[heads], CHOICE)
        taken = _fitting(order, owner[first], np.bincount(word_of, minlength=len(heads)), budget, self.config.most)
        chosen: Ints = candidates[taken[word_of]]
        return chosen


def _smallest(order: Floats, owner: Ints, budget: Ints) -> Ints:
    """Which items have the `budget[s]` smallest numbers of their owner s; ascending. `owner` [C] never decreases."""
    counts = np.bincount(owner, minlength=len(budget))
    by_owner = np.argsort(owner + order, kind="stable")
    rank = np.arange(len(owner)) - offsets(counts)[owner]
    chosen: Ints = np.sort(by_owner[rank < budget[owner]])
    return chosen


def _fitting(order: Floats, owner: Ints, sizes: Ints, budget: Ints, most: int | None) -> Bits:
    """Which words [G] are taken: by ascending `order`, passing over those that no longer fit their owner's budget."""
    taken = np.zeros(len(owner), np.bool_)
    by_owner = np.argsort(owner + order, kind="stable")
    bounds = offsets(np.bincount(owner, minlength=len(budget))).tolist()
    ordered, size_of = by_owner.tolist(), sizes[by_owner].tolist()
    for s, left in enumerate(budget.tolist()):
        span = range(bounds[s], bounds[s + 1])
        before = left
        for i in span:
            if size_of[i] <= left:
                taken[ordered[i]] = True
                left -= size_of[i]
                if not left:
                    break
        if left == before:
            fits = (ordered[i] for i in span if most is None or size_of[i] <= most)
            one = next(fits, None)
            if one is not None:
                taken[one] = True
    return taken


class NextSentence:
    """Asks whether B follows A in the corpus. Final.

    Inputs: pairs. Target: at = sequence numbers [S], gold 0 = B follows A, 1 = B comes from another document
    (google-research/bert's `next_sentence_labels`)."""

    sees = frozenset({"both", "left"})
    words = False

    def __init__(self, config: NextSentenceConfig, tokenizer: Tokenizer, name: str = "next_sentence") -> None:
        self.config, self.name = config, name

    def prepare(self, batch: Batch, keys: Ints) -> Batch:
        if "next_sentence" not in batch.targets:
            raise UsageError(
                "the next_sentence objective needs sentence pairs, found windows without them",
                remedy='set windows.kind = "pairs", or leave next_sentence out of the objectives',
            )
        return batch


@dataclass(frozen=True, slots=True)
class Row:
    """An objective's settings class, and what makes the objective of them: (config, tokenizer, name)."""

    config: type[Any]
    make: Any


OBJECTIVES: Mapping[Literal["masked", "next_sentence"] | str, Row] = {
    "masked": Row(MaskedConfig, Masked),
    "next_sentence": Row(NextSentenceConfig, NextSentence),
}


def make_objectives(configs: Mapping[str, Any], tokenizer: Tokenizer) -> list[Objective]:
    """The objectives of a recipe, in its order; UsageError on an unknown name."""
    for name in configs:
        if name not in OBJECTIVES:
            raise unknown("objective", name, OBJECTIVES)
    return [OBJECTIVES[name].make(config, tokenizer, name) for name, config in configs.items()]


def require_sees(objectives: list[Objective], sees: str) -> None:
    """UsageError, before anything runs, when an encoder's visibility does not fit an objective."""
    for objective in objectives:
        if sees not in objective.sees:
            raise UsageError(
                f"the {objective.name} objective needs an encoder whose tokens see {' or '.join(sorted(objective.sees))}, "
                f"found {sees!r}",
                remedy="choose another family or another objective",
            )
