"""The one table of families: where a family's parts are, and what it can do.

Conformance, ladder and command line read capabilities here; what a family cannot do is refused before anything runs.
Parts are import strings, so listing families imports none of them.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from foretext.errors import UsageError, unknown

Ability = Literal["encode", "contextual", "summary", "fill", "score", "neighbors", "finetune"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """A family's row. `config`: its frozen dataclass. `encoder`: (config, vocabulary size) → Encoder, an nn.Module;
    None: it has no vectors. `stepper`: (recipe's family config, store, …) → Stepper for a family whose loss lives in its
    own room; None: the gradient stepper over the recipe's objectives. `before`: (family config, store, initial arrays,
    folder) → a Stepper to be run to its end before the stepper is made, or None where its work is done. `can`: what the
    commands may ask of it. `about`: one line. `scorer`: (config, arrays, tokenizer) → `models.stream.Scorer`, for a family
    that can score because it reads from left to right; None: its masked head scores. `memory`: (config, store) → bytes of
    (parameters, working memory, a checkpoint's copy), for a family with a stepper; None: its tables, two where its config
    does not say. `shape`: fields of its config that a run which goes on from a folder takes from there.

    `spelling`, for a family that makes vectors of letters: (config, arrays, tokenizer) → an object whose `vectors(words or
    None)` are those [n,D] of words of any spelling, or of the whole vocabulary; its encoder is also given the tokenizer, by name.
    `extended`: (config, arrays, old tokenizer, new) → its arrays for a vocabulary that has grown. `bare`: whether a run can
    go on from a table of word vectors and nothing else, as files of other programs hold them."""

    config: str
    encoder: str | None
    stepper: str | None
    can: frozenset[Ability]
    about: str
    before: str | None = None
    scorer: str | None = None
    memory: str | None = None
    shape: tuple[str, ...] = ("width",)
    spelling: str | None = None
    extended: str | None = None
    bare: bool = False


FAMILIES: Mapping[str, Family] = {
    "bert": Family(
        config="foretext.models.bert.config:BertConfig",
        encoder="foretext.models.bert.model:build",
        stepper=None,
        can=frozenset({"encode", "contextual", "summary", "fill", "score", "neighbors", "finetune"}),
        about="bidirectional Transformer encoder, masked LM and next sentence (Devlin et al. 2019)",
    ),
    "word2vec": Family(
        config="foretext.models.word2vec.config:Word2VecConfig",
        encoder="foretext.models.static:build",
        stepper="foretext.models.word2vec.train:stepper",
        can=frozenset({"encode", "neighbors", "finetune"}),
        about="static word vectors, skip-gram or CBOW, negative sampling or a Huffman tree (Mikolov et al. 2013)",
        bare=True,
    ),
    "glove": Family(
        config="foretext.models.glove.config:GloveConfig",
        encoder="foretext.models.static:build",
        stepper="foretext.models.glove.train:stepper",
        can=frozenset({"encode", "neighbors", "finetune"}),
        about="static word vectors, weighted least squares on co-occurrences (Pennington et al. 2014)",
        before="foretext.models.glove.train:before",
        bare=True,
    ),
    "ngram": Family(
        config="foretext.models.ngram.config:NgramConfig",
        encoder=None,
        stepper="foretext.models.ngram.train:stepper",
        can=frozenset({"score"}),
        about="n-gram language model, interpolated modified Kneser-Ney (Chen and Goodman 1998)",
        scorer="foretext.models.ngram.model:scorer",
        memory="foretext.models.ngram.train:memory",
        shape=("order", "unit", "boundary"),
    ),
    "nnlm": Family(
        config="foretext.models.nnlm.config:NNLMConfig",
        encoder="foretext.models.static:build",
        stepper="foretext.models.nnlm.train:stepper",
        can=frozenset({"encode", "neighbors", "finetune", "score"}),
        about="feed-forward neural language model over shared word vectors (Bengio et al. 2003)",
        scorer="foretext.models.nnlm.model:scorer",
        memory="foretext.models.nnlm.train:memory",
        shape=("width", "hidden", "order", "direct", "unit", "boundary", "softmax", "clusters", "shrink"),
    ),
    "fasttext": Family(
        config="foretext.models.word2vec.fasttext_config:FastTextConfig",
        encoder="foretext.models.word2vec.fasttext_model:build",
        stepper="foretext.models.word2vec.fasttext:stepper",
        can=frozenset({"encode", "neighbors", "finetune"}),
        about="static vectors of words and their character n-grams, unseen words too (Bojanowski et al. 2017)",
        shape=("width", "min_n", "max_n", "bucket", "every_bucket"),
        spelling="foretext.models.word2vec.subwords:Spelt",
        extended="foretext.models.word2vec.fasttext:extended",
    ),
}


def family(name: str) -> Family:
    """The row of `name`; UsageError with the nearest name otherwise."""
    if name not in FAMILIES:
        raise unknown("family", name, FAMILIES)
    return FAMILIES[name]


def static(name: str) -> bool:
    """Whether a word has one vector in this family, whatever stands around it."""
    can = family(name).can
    return "encode" in can and "contextual" not in can


def require(name: str, ability: Ability, command: str) -> None:
    """Refuse, before anything runs, what a family cannot do; the message lists the families that can."""
    if ability not in family(name).can:
        able = [other for other, row in FAMILIES.items() if ability in row.can]
        raise UsageError(f"{command} needs a family that can {ability}; {name} cannot", remedy=f"these can: {', '.join(able)}")


def resolve(where: str) -> Any:
    """The object that an import string "module:name" names."""
    module, _, name = where.partition(":")
    return getattr(importlib.import_module(module), name)
