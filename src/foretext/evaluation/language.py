"""`perplexity`: exp of the mean negative log-probability a token, of one language model or of a mixture of two.

Tokens that the tokenizer does not know count as [UNK], one word like any other; their share is reported, as a model
that merges more words into it has an easier text. Where a model was trained on sentences, ends of sentences are
predicted and counted too, as the field does (SRILM's "ppl", not its "ppl1"); where on whole documents, words alone are.
A masked model gets its pseudo-perplexity (Salazar et al. 2020, section 2.3), which compares masked models alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import DataError, UsageError
from foretext.evaluation.score import reads_on, score, scorer_of
from foretext.models.stream import Scorer, of_texts
from foretext.text.tokenizers.spelling import unknown_token
from foretext.types import JSON, Bits, Corpus, Floats, Ints

_TOKENS = 100_000
"""About how many tokens are scored at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """What models made of a text. `nats`: mean log-probability a counted place, one a model; `mixture` the same of the
    weighted mean of their probabilities, `weight` the first model's share in it."""

    names: tuple[str, ...]
    nats: tuple[float, ...]
    tokens: int
    ends: int
    """Ends of sentences among the counted places."""
    unknown: float
    """Share of the tokens that are [UNK]."""
    characters: int
    """Characters of the text, white space between sentences included."""
    pseudo: bool = False
    mixture: float | None = None
    weight: float | None = None
    chosen: bool = False
    """The weight was chosen on another text."""

    @property
    def places(self) -> int:
        """What the perplexity is a mean over."""
        return self.tokens + self.ends

    def _rows(self) -> list[tuple[str, float]]:
        rows = list(zip(self.names, self.nats, strict=True))
        return rows if self.mixture is None else [*rows, ("mixture", self.mixture)]

    def as_json(self) -> JSON:
        """For programs."""
        about = {"tokens": self.tokens, "ends": self.ends, "unknown share": self.unknown, "characters": self.characters}
        rows = [
            {"model": name, "nats": nats, "perplexity": float(np.exp(-nats)), "bits a character": self.bits(nats)}
            for name, nats in self._rows()
        ]
        mixed = {} if self.weight is None else {"weight": self.weight, "weight chosen": self.chosen}
        return {"models": rows, "pseudo": self.pseudo, **about, **mixed}

    def bits(self, nats: float) -> float:
        """Bits a character of the text, of a model whose mean is `nats` a counted place."""
        return float(-nats * self.places / max(1, self.characters) / np.log(2.0))

    def text(self) -> str:
        """For people."""
        kind = "pseudo-perplexity" if self.pseudo else "perplexity"
        lines = [f"{kind} {np.exp(-nats):,.1f}  {self.bits(nats):.3f} bits a character  {name}" for name, nats in self._rows()]
        ends = f" and {self.ends:,} ends of sentences" if self.ends else ""
        lines.append(f"of {self.tokens:,} tokens{ends}; {self.unknown:.2%} of the tokens unknown")
        if self.weight is not None:
            how = "chosen on the other text" if self.chosen else "nothing to choose by: give --dev"
            lines.append(f"mixture: {self.weight:.3f} of {self.names[0]}, {1 - self.weight:.3f} of {self.names[1]} ({how})")
        return "\n".join(lines)


def perplexity(
    models: Sequence[Pretrained], corpus: Corpus, *, dev: Corpus | None = None, names: Sequence[str] | None = None
) -> Language:
    """Measure one or two models on `corpus`; of two also their mixture, its weight chosen on `dev` (0.5 without it).

    Errors: a family that cannot score, two models with different vocabularies, a mixture with a masked model →
    UsageError; a text without a token → DataError.
    """
    told = _told(models, names)
    assert len(models) == len(told) and len(models) in (1, 2)
    if len(models) == 1 and dev is not None:
        raise UsageError("there is no mixture of one model", place="dev", remedy="give two models, or leave --dev out")
    if len(models) == 1 and not reads_on(models[0]):
        return _pseudo(models[0], corpus, told)
    scorers = _scorers(models)
    weight = 0.5
    if dev is not None:
        both = [part.probabilities for part in _parts(models[0], scorers, dev)]
        if not both:
            raise DataError("the text to choose a weight by has no token")
        weight = best_weight(np.exp(np.concatenate(both, axis=1)))
    found = _summed(told, ((part, weight) for part in _parts(models[0], scorers, corpus)))
    return replace(found, weight=weight if len(models) == 2 else None, chosen=dev is not None)


def crossed(models: Sequence[Pretrained], halves: tuple[Corpus, Corpus], *, names: Sequence[str] | None = None) -> Language:
    """Two models and their mixture on both halves of a text together, the weight for each half chosen on the other: no
    weight has seen what it is measured on, and no further text is needed. `weight`: the mean over the places. Errors as
    `perplexity`'s."""
    told = _told(models, names)
    scorers = _scorers(models)
    parts = [list(_parts(models[0], scorers, half)) for half in halves]
    if not all(parts):
        raise DataError("one half of the text has no token")
    both = [np.exp(np.concatenate([part.probabilities for part in half], axis=1)) for half in parts]
    weights = [best_weight(both[1]), best_weight(both[0])]
    found = _summed(told, ((part, weight) for half, weight in zip(parts, weights, strict=True) for part in half))
    places = [half.shape[1] for half in both]
    return replace(found, weight=float(np.average(weights, weights=places)), chosen=True)


def _told(models: Sequence[Pretrained], names: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(names or [model.path.name if model.path else model.recipe.name for model in models])


def _scorers(models: Sequence[Pretrained]) -> list[Scorer]:
    made = [scorer_of(model) for model in models]
    _require_alike(models)
    return made


def _summed(names: tuple[str, ...], parts: "Iterable[tuple[_Part, float]]") -> Language:
    """All parts together, each with the first model's weight in the mixture; DataError where they hold no token."""
    sums, mixed, tokens, ends, unknown, characters = np.zeros(len(names)), 0.0, 0, 0, 0, 0
    for part, weight in parts:
        sums += part.probabilities.sum(axis=1)
        if len(names) == 2:
            mixed += float(mixture(part.probabilities, weight).sum())
        tokens, ends = tokens + part.tokens, ends + part.ends
        unknown, characters = unknown + part.unknown, characters + part.characters
    if not tokens:
        raise DataError("the text has no token")
    places = tokens + ends
    return Language(
        names=names, nats=tuple((sums / places).tolist()), tokens=tokens, ends=ends, unknown=unknown / tokens, characters=characters,
        mixture=mixed / places if len(names) == 2 else None,
    )  # fmt: skip


def mixture(nats: Floats, weight: float) -> Floats:
    """Log of weight · p₁ + (1 − weight) · p₂ [M], from log p [2,M] (nats)."""
    with np.errstate(divide="ignore"):
        found: Floats = np.logaddexp(nats[0] + np.log(weight), nats[1] + np.log(1.0 - weight))
    return found


def best_weight(probabilities: Floats, rounds: int = 200) -> float:
    """The share of the first of two models under which a text is most probable, by EM: `probabilities` [2,M] of its
    places. The likelihood has one maximum (Jelinek and Mercer 1980), which each round comes nearer to."""
    weight = 0.5
    for _ in range(rounds):
        first = weight * probabilities[0]
        whole = first + (1.0 - weight) * probabilities[1]
        new = float(np.divide(first, whole, out=np.full(len(first), 0.5), where=whole > 0).mean())
        if abs(new - weight) < 1e-7:
            return new
        weight = new
    return weight


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """Some documents. `probabilities` [models, places]: log-probabilities of the counted places."""

    probabilities: Floats
    tokens: int
    ends: int
    unknown: int
    characters: int


def _parts(model: Pretrained, scorers: Sequence[Scorer], corpus: Corpus) -> Iterator[_Part]:
    unknown = _unknown(model)
    ends = all(scorer.unit == "sentence" for scorer in scorers)
    for documents, characters in _documents(model, corpus):
        flat = np.concatenate([ids for document in documents for ids in document])
        columns = [_nats(scorer, documents, ends=ends) for scorer in scorers]
        lost = 0 if unknown is None else int((flat == unknown).sum())
        yield _Part(
            probabilities=np.stack(columns), tokens=len(flat), ends=len(columns[0]) - len(flat), unknown=lost, characters=characters
        )


def _documents(model: Pretrained, corpus: Corpus) -> Iterator[tuple[list[list[Ints]], int]]:
    """Documents as the ids of their sentences, in groups of about `_TOKENS` tokens, with their characters."""
    group, size, characters = list[list[Ints]](), 0, 0
    for _, sentences in groupby(corpus.sentences(), key=lambda sentence: sentence.document):
        strings = [sentence.string for sentence in sentences]
        ids, lengths, _ = model.tokenizer.ids(strings)
        parts = [part for part in np.split(ids, np.cumsum(lengths)[:-1]) if len(part)]
        characters += sum(map(len, strings))
        if parts:
            group.append(parts)
        size += len(ids)
        if size >= _TOKENS:
            yield group, characters
            group, size, characters = [], 0, 0
    if group:
        yield group, characters


def _nats(scorer: Scorer, documents: Sequence[Sequence[Ints]], *, ends: bool) -> Floats:
    """Log-probabilities of the counted places, in the order of the text; the same places whatever a scorer's unit."""
    sentences = [ids for document in documents for ids in document]
    units = sentences if scorer.unit == "sentence" else [np.concatenate(document) for document in documents]
    stream = of_texts(units, scorer.boundary)
    counted: Bits = np.ones(len(stream), np.bool_)
    counted[stream.ends] = ends
    return scorer.nats(stream)[counted]


def _pseudo(model: Pretrained, corpus: Corpus, names: tuple[str, ...]) -> Language:
    total, tokens, unknown, characters, lost = 0.0, 0, 0, 0, _unknown(model)
    for _, sentences in groupby(corpus.sentences(), key=lambda sentence: sentence.document):
        strings = [sentence.string for sentence in sentences]
        for one in score(model, strings):
            total, tokens = total + one.sum, tokens + len(one.tokens)
            unknown += sum(piece == model.tokenizer.pieces[lost] for piece in one.tokens) if lost is not None else 0
        characters += sum(map(len, strings))
    if not tokens:
        raise DataError("the text has no token")
    return Language(
        names=names, nats=(total / tokens,), tokens=tokens, ends=0, unknown=unknown / tokens, characters=characters, pseudo=True
    )


def _unknown(model: Pretrained) -> int | None:
    config = model.recipe.tokenizer
    name = unknown_token(config.kind, config.special)
    return None if name is None else model.tokenizer.special[name]


def _require_alike(models: Sequence[Pretrained]) -> None:
    if len(models) == 2 and models[0].tokenizer.key != models[1].tokenizer.key:
        raise UsageError(
            "probabilities of two models are mixed token by token, and these two have other tokens",
            file=models[1].path,
            remedy="pretrain both on the same text with the same tokenizer settings",
        )
