"""The Python words: `pretrain`, `transfer`, `load` and the questions to word vectors, taking what a person has at hand (names, paths, lists of texts)."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from foretext.adapted import Adapted, load_adapted
from foretext.bundle import ADAPTED, PRETRAINED, Pretrained, load_pretrained
from foretext.config import override, read_toml, shown
from foretext.errors import ArtefactError, UsageError
from foretext.extending import MIN_COUNT, MOST, Extension, read_words
from foretext.extending import extend as _extend
from foretext.folder import open_sealed
from foretext.pretraining import Setting
from foretext.pretraining import pretrain as _pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.training.progress import Watch
from foretext.types import Corpus

if TYPE_CHECKING:
    from foretext.evaluation.analogy import Analogy
    from foretext.evaluation.intrinsic import Evaluation
    from foretext.evaluation.neighbors import Words
    from foretext.evaluation.similarity import Similarities

Sources = str | Path | Sequence[str | Path]
Configuration = Mapping[str, Any] | str | Path | None
"""A mapping, or a TOML file."""


def load(folder: str | Path) -> Pretrained | Adapted:
    """Open a folder that foretext wrote, every byte verified: a Pretrained encodes, an Adapted predicts.

    A path that does not exist: UsageError (exit code 2). A damaged folder, or one of another kind: ArtefactError (4).
    """
    kind = open_sealed(Path(folder), verify=False).kind
    if kind == PRETRAINED:
        return load_pretrained(folder)
    if kind == ADAPTED:
        return load_adapted(folder)
    raise ArtefactError(f"expected a folder of kind {PRETRAINED} or {ADAPTED}, found one of kind {kind}", file=folder)


def pretrain(
    recipe: str | Recipe,
    corpus: Sources | Corpus,
    out: str | Path,
    *,
    source: str | Path | Pretrained | None = None,
    init_embeddings: str | Path | Pretrained | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    config: Configuration | Sequence[Configuration] = None,
    seed: int | None = None,
    reading: CorpusConfig = CorpusConfig(),
    setting: Setting = Setting(),
    watch: Watch | None = None,
    resume: bool = False,
) -> Pretrained:
    """Stage one. `recipe`: a name or a Recipe; `corpus`: paths, globs, URLs or a Corpus; `config`: a TOML file or a
    mapping (or several, one over the other) laid over the recipe; `source`: go on from it; `init_embeddings`: what the
    embedding matrix starts from, in place of the recipe's: "random", "auto" or vectors. Both take a pretrained folder, or another program's word vectors
    (`interop.vectors`). One of `minutes`, `steps`, `epochs` sets the budget, else the recipe's own.

    Errors are ForetextErrors with the exit code they would leave the command line with.
    """
    vectors = init_embeddings if isinstance(init_embeddings, Pretrained) else None
    named = None if vectors is not None or init_embeddings is None else str(init_embeddings)
    settled = settle(
        recipe, config=config, seed=seed, init_embeddings=named, minutes=minutes, steps=steps, epochs=epochs
    )
    text: Corpus = open_corpus(_list(corpus), reading) if isinstance(corpus, str | Path | Sequence) else corpus
    before = source_of(settled, source) if isinstance(source, str | Path) else source
    vectors = vectors or vectors_of(settled)
    return _pretrain(
        settled, text, Path(out), source=before, vectors=vectors, setting=setting, watch=watch, resume=resume
    )


def source_of(recipe: Recipe, path: str | Path) -> Pretrained:
    """What a run of `recipe` goes on from: a pretrained folder, or another program's word vectors (`interop.vectors`)."""
    from foretext.interop.vectors import open_vectors

    return open_vectors(Path(path), recipe.family.name)


def vectors_of(recipe: Recipe) -> Pretrained | None:
    """Another program's word vectors, where `recipe.init_embeddings` names a file of them; else None."""
    from foretext.interop.vectors import named_vectors

    return named_vectors(recipe)


def extend(
    pretrained: str | Path | Pretrained,
    corpus: Sources | Corpus,
    out: str | Path,
    *,
    words: str | Path | Sequence[str] | None = None,
    most: int | None = None,
    min_count: int | None = None,
    reading: CorpusConfig = CorpusConfig(),
) -> Extension:
    """Add words to a pretrained vocabulary, started from the pieces they had, and save the folder `out`; what changed,
    with `.pretrained` to go on from. `words`: a file with one a line, or a list; without it at most `most` (1000) of
    the corpus's words seen `min_count` (5) times. See `extending.extend`."""
    if Path(out).exists():
        raise UsageError("the output folder exists already", file=out, remedy="choose another, or remove it first")
    if words is not None and (most is not None or min_count is not None):
        raise UsageError("the words are given, so nothing is counted out", remedy="give words, or most and min_count")
    source = _opened(pretrained)
    listed = read_words(words) if isinstance(words, str | Path) else words
    text: Corpus = open_corpus(_list(corpus), reading) if isinstance(corpus, str | Path | Sequence) else corpus
    given = {"most": MOST if most is None else most, "min_count": MIN_COUNT if min_count is None else min_count}
    found = _extend(source, text, words=listed, **given)
    return dataclasses.replace(found, pretrained=found.pretrained.save(Path(out)))


def transfer(
    pretrained: str | Path | Pretrained | Sequence[str | Path | Pretrained],
    train: Any,
    out: str | Path,
    *,
    how: Literal["features", "frozen", "finetune"] = "finetune",
    host: Literal["none", "average", "cnn", "bilstm"] | None = None,
    dev: Any = None,
    text: str | None = None,
    label: str | None = None,
    seeds: int = 1,
    keep: Literal["best", "ensemble"] = "best",
    config: Configuration | Sequence[Configuration] = None,
    device: str = "auto",
    threads: int | None = None,
    watch: Watch | None = None,
    resume: bool = False,
) -> Adapted:
    """Stage two, classification. `train`, `dev`: labelled files, or lists of (text, label); `how`: features, frozen or
    finetune; `host`: a network between the token vectors and the decision; `config`: a TOML file or mapping with [strategy]
    and [task]."""
    from foretext.transferring import transfer  # torch, which static vectors and n-grams do without

    given = [pretrained] if isinstance(pretrained, str | Path | Pretrained) else list(pretrained)
    opened = [_opened(p) for p in given]
    sources = {"text" if i == 0 else f"text{i + 1}": source for i, source in enumerate(opened)}
    strategy, task = settle_transfer(how, host=host, text=text, label=label, config=config)
    return transfer(
        sources,
        task,
        train,
        dev,
        strategy,
        out=Path(out),
        seeds=seeds,
        keep=keep,
        watch=watch,
        resume=resume,
        device=device,
        threads=threads,
    )


def analogy(
    pretrained: str | Path | Pretrained, a: str, b: str, c: str, *, method: Literal["add", "mul"] = "add", n: int = 10, most: int = 0
) -> "Analogy":
    """The `n` best words x for "a is to b as c is to x", as `evaluation.analogy.analogy`."""
    from foretext.evaluation.analogy import analogy

    return analogy(_opened(pretrained), a, b, c, method=method, n=n, most=most)


def similarity(pretrained: str | Path | Pretrained, words: Sequence[str]) -> "Similarities":
    """Cosines of two words or more with one another, as `evaluation.similarity.similarity`."""
    from foretext.evaluation.similarity import similarity

    return similarity(_opened(pretrained), words)


def neighbors(pretrained: str | Path | Pretrained, word: str, *, n: int = 10, kind: Literal["exact", "flat", "ivf"] = "exact") -> "Words":
    """The `n` nearest words of `word`, by static vectors or input embeddings. UsageError: the model has no vector for it."""
    from foretext.evaluation.neighbors import nearest_words
    from foretext.evaluation.words import word_table

    return nearest_words(word_table(_opened(pretrained)), [word], n=n, kind=kind)


def evaluate_vectors(
    pretrained: str | Path | Pretrained,
    sets: Sequence[str] = (),
    *,
    method: Literal["add", "mul"] = "add",
    most: int = 0,
    seed: int = 0,
) -> "Evaluation":
    """Word vectors on the published word sets, as `evaluation.intrinsic.evaluate_vectors`."""
    from foretext.evaluation.intrinsic import evaluate_vectors

    return evaluate_vectors(_opened(pretrained), sets, method=method, most=most, seed=seed)


_BUDGETS = ("minutes", "steps", "epochs")


def settle(
    recipe: str | Recipe,
    *,
    config: Configuration | Sequence[Configuration] = None,
    seed: int | None = None,
    init_embeddings: str | None = None,
    minutes: float | None = None,
    steps: int | None = None,
    epochs: float | None = None,
) -> Recipe:
    """The recipe by name, with configurations (each over the one before), a seed, an initialisation and a budget laid over
    it, strictly."""
    found = find(recipe) if isinstance(recipe, str) else recipe
    for values, file in _layers(config):
        found = override(found, _budgeted(values), file=file)
    if seed is not None:
        found = dataclasses.replace(found, seed=seed)
    if init_embeddings is not None:
        found = dataclasses.replace(found, init_embeddings=init_embeddings)
    given = {n: v for n, v in (("minutes", minutes), ("steps", steps), ("epochs", epochs)) if v is not None}
    if len(given) > 1:
        raise UsageError(f"one budget at a time, found {' and '.join(given)}", remedy="give minutes, steps or epochs")
    for name, value in given.items():
        if not 0 < value < float("inf"):
            raise UsageError(f"{name}: expected a number above 0, found {value}")
    if given:
        limits = dataclasses.replace(found.limits, minutes=minutes, steps=steps, epochs=epochs)
        found = dataclasses.replace(found, limits=limits)
    return found


def settle_transfer(
    how: str,
    *,
    host: str | None = None,
    text: str | None = None,
    label: str | None = None,
    config: Configuration | Sequence[Configuration] = None,
) -> tuple[StrategyConfig, ClassifyConfig]:
    """Strategy and task settings from options and configurations with the tables [strategy] and [task]."""
    strategy, task = override(StrategyConfig(), {"how": how}), ClassifyConfig()
    for values, file in _layers(config):
        for name in values:
            if name not in ("strategy", "task"):
                raise UsageError(f"unknown table {name!r}", file=file, remedy="use [strategy] and [task]")
            if not isinstance(values[name], Mapping):
                raise UsageError(f"expected a table, found {shown(values[name])}", file=file, place=name, remedy=f"write [{name}]")
        strategy = override(strategy, values.get("strategy", {}), file=file, place="strategy")
        task = override(task, values.get("task", {}), file=file, place="task")
    asked = {} if host is None else {"host": host}
    named = {n: v for n, v in (("text", text), ("label", label)) if v is not None}
    return override(strategy, asked, place="strategy"), override(task, named, place="task")


def _budgeted(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration that sets a budget sets the whole of it: what the recipe has of the other kinds does not count."""
    limits = values.get("limits")
    if not isinstance(limits, Mapping) or not any(name in limits for name in _BUDGETS):
        return values
    return {**values, "limits": {**dict.fromkeys(_BUDGETS), **limits}}


def _layers(config: Configuration | Sequence[Configuration]) -> Iterator[tuple[Mapping[str, Any], str | Path | None]]:
    """The values of each configuration, and the file they come from."""
    for layer in (config,) if config is None or isinstance(config, Mapping | str | Path) else config:
        if isinstance(layer, Mapping):
            yield layer, None
        elif layer is not None:
            yield read_toml(Path(layer)), layer


def _opened(pretrained: str | Path | Pretrained) -> Pretrained:
    return load_pretrained(pretrained) if isinstance(pretrained, str | Path) else pretrained


def _list(corpus: Sources) -> list[str | Path]:
    return [corpus] if isinstance(corpus, str | Path) else list(corpus)


__all__ = [
    "analogy", "evaluate_vectors", "extend", "load", "neighbors", "pretrain", "settle", "settle_transfer", "similarity",
    "strings_corpus", "transfer",
]
