"""What is tested: a row a configuration of a family, and a row a task on a family. A new family is tested by its row.

A row answers a few questions, and every check asks only these: `stepper` (a fresh one, at its beginning), `model`,
`sequences` (what its encoder reads, free of any layout) and, for tasks, `adapted`.
"""

import atexit
import shutil
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from conformance import counting, glove, nextword, skipgram, subwords
from conformance.layout import Sequence, explode
from conformance.texts import corpus, labelled
from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.data.batches import pack
from foretext.data.config import WindowsConfig
from foretext.data.render import Example, render_all
from foretext.evaluation.score import score
from foretext.models.bert.config import BertConfig
from foretext.models.catalog import family
from foretext.models.glove.config import GloveConfig
from foretext.models.ngram.config import NgramConfig
from foretext.models.nnlm.config import NNLMConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig
from foretext.recipe import Recipe
from foretext.steppers import Job, arrays_of, make
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.training.config import BatchConfig, OptimizerConfig, ScheduleConfig
from foretext.training.model import Model
from foretext.training.progress import SilentWatch
from foretext.transferring.bench import Bench
from foretext.transferring.data import read_data
from foretext.transferring.seeds import seed_stepper
from foretext.types import Batch, Text

WORDPIECE = TokenizerConfig(kind="wordpiece", size=130)
BERT: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "inner": 64, "positions": 32, "initial_sd": 0.2}
"""`initial_sd` ten times the usual: attention that is far from even shows what it sees."""


FASTTEXT: dict[str, dict[str, Any]] = {
    "blocks": {"sample": 0.0},
    "pairs": {"sample": 1e-2, "method": "pairs"},
    "cbow blocks": {"sample": 0.0, "architecture": "cbow", "every_bucket": True},
    "cbow pairs": {"sample": 1e-2, "architecture": "cbow", "method": "pairs"},
}


@cache
def scratch() -> Path:
    """A folder of this process's own."""
    folder = Path(tempfile.mkdtemp(prefix="conformance-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One configuration of a family, as the miniature recipe that pretrains it. `own`: what the suite must know of a
    family whose loss lives in its own room (`models/catalog.py`: `stepper`). `rate`: at which check 10 learns by heart."""

    recipe: Recipe
    rate: float = 1e-2
    own: Any = None
    mixed: bool = False
    """Whether topics meet in some documents of its corpus: GloVe learns from pairs that occur, and of topics that never meet
    nothing tells it that they differ."""

    @property
    def name(self) -> str:
        """The row's name in the matrix."""
        return self.recipe.name

    @property
    def family(self) -> str:
        """The family's name in the catalog."""
        return self.recipe.family.name

    def store(self, *, shuffled: bool = False) -> TokenStore:
        """The miniature corpus as tokens; `shuffled`: the same words in no order."""
        return _store(self, shuffled)

    def job(self, *, shuffled: bool = False, **changes: Any) -> Job:
        """What `pretrain` would hand to the stepper."""
        recipe = replace(self.recipe, **changes)
        return Job(recipe=recipe, store=self.store(shuffled=shuffled), device="cpu", threads=1, precision="fp32")

    def stepper(self, steps: int, *, shuffled: bool = False, **changes: Any) -> Any:
        """A fresh Stepper of `steps` updates."""
        return make(self.job(shuffled=shuffled, **changes), steps=steps, watch=SilentWatch())

    def split(self, micro: int | None) -> Any:
        """A stepper of one update, in micro-batches of at most `micro` rows."""
        return self.stepper(4, batch=replace(self.recipe.batch, micro=micro), optimizer=replace(self.recipe.optimizer, clip=None))

    def pretrained(self, steps: int = 3) -> Pretrained:
        """A model trained for a few updates."""
        stepper = self.stepper(steps)
        for _ in range(steps):
            stepper.step()
        tokenizer, arrays = arrays_of(self.job(), stepper)
        return Pretrained(recipe=self.recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays, key=f"tiny {self.name}")

    def model(self, dtype: torch.dtype, *, seed: int = 0) -> Model:
        """The network with its pretraining heads, every parameter stirred so that each matters; no dropout."""
        job = self.job()
        made = build_model(
            job.recipe, job.store.tokenizer.size, heads=bool(job.recipe.objectives), tokenizer=job.store.tokenizer
        )
        return stirred(made, seed).to(dtype).eval()

    def batch(self) -> Batch:
        """A batch (numpy) as training reads it; without targets where the family has no heads."""
        if self.own is None:
            (batch,) = self.stepper(4, batch=replace(self.recipe.batch, micro=None))._batches.step(0)
            return batch
        texts = [text for text, _ in labelled(8, 5)]
        examples = [Example(options=(((Text(string=text),),),)) for text in texts]
        flat = [one for windows in render_all(examples, self.store().tokenizer, self.recipe.family.template) for one in windows]
        return Batch(views={SOURCE: pack(flat, packed=True)})

    def sequences(self) -> list[list[Sequence]]:
        """What the encoder reads, one list an example, and what the heads must say of it."""
        return explode(self.batch())


@dataclass(frozen=True, kw_only=True, eq=False)
class TaskRow:
    """A task on a family's first configuration, by one strategy."""

    source: Row
    task: str
    multi: bool
    how: Any
    host: Any = "none"

    @property
    def name(self) -> str:
        """The row's name in the matrix."""
        return f"{self.task} {'several labels' if self.multi else 'one label'} · {self.source.family} · {self.how}" + (
            "" if self.host == "none" else f" · {self.host}"
        )

    @property
    def family(self) -> str:
        """The family's name in the catalog."""
        return self.source.family

    @property
    def strategy(self) -> StrategyConfig:
        """Short, on few texts, without a cache."""
        tuned: dict[str, Any] = {"start": "random", "head_rate": 0.02} if self.how == "finetune" else {"prior": 300.0}
        if self.host != "none":
            tuned["head_rate"] = 3e-3  # a short run
        return StrategyConfig(host=self.host, how=self.how, steps=40, batch=8, cache=False, evaluations=2, **tuned)

    def bench(self, **changes: Any) -> Bench:
        """The task on its texts; `texts`, `strategy` and `config` may be others."""
        texts = changes.pop("texts", None) or labelled(48, 1, multi=self.multi)
        task, data = read_data(changes.pop("config", ClassifyConfig(dev_share=0.25)), texts, None, 0, SilentWatch())
        strategy = replace(self.strategy, **changes)
        return Bench({SOURCE: _source(self.source)}, task, data, strategy, SilentWatch(), "cpu")

    def stepper(self, steps: int, *, shuffled: bool = False, **changes: Any) -> Any:
        """A fresh Stepper of `steps` updates."""
        texts = labelled(48, 1, multi=self.multi, shuffled=shuffled)
        bench = self.bench(texts=texts, steps=steps, **changes)
        return seed_stepper(bench, bench.model(3), 3)

    def split(self, micro: int | None) -> Any:
        """A stepper of one update; `micro`: at most about so many texts at a time."""
        bench = self.bench(steps=4, batch=16)
        stepper = seed_stepper(bench, bench.model(3), 3)
        if micro is not None:
            stepper._batches = replace(stepper._batches, most_tokens=self.tokens(micro))
        stepper._optimizer = replace(stepper._optimizer, clip=None)
        return stepper

    def tokens(self, micro: int) -> int:
        """About so many texts' tokens; a remembered text is one token, but for a host."""
        return 2 * micro + 1 if self.how == "features" and self.host == "none" else 8 * micro + 2

    def model(self, dtype: torch.dtype, *, seed: int = 0) -> Model:
        """The network with its classification head, every parameter stirred; no dropout."""
        made = stirred(self.bench().model(3), seed)
        for encoder in made.encoders.values():
            stirred(inner(encoder), seed)
        return cast_to(made, dtype).eval()

    def batch(self) -> Batch:
        """A batch (numpy) as training reads it."""
        (batch,) = self.stepper(4)._batches.step(0)
        return batch

    def sequences(self) -> list[list[Sequence]]:
        """What the encoder reads, one list of windows an example, and what the head must say of it."""
        return explode(self.batch())

    def adapted(self, steps: int = 5, **changes: Any) -> Any:
        """A classifier trained for a few updates."""
        from foretext.transferring import transfer

        texts = changes.pop("texts", None) or labelled(48, 1, multi=self.multi)
        strategy = replace(self.strategy, steps=steps, **changes.pop("strategy", {}))
        config = changes.pop("config", ClassifyConfig(dev_share=0.25))
        return transfer(_source(self.source), config, texts, strategy=strategy, device="cpu", **changes)


def stirred(module: torch.nn.Module, seed: int) -> Any:
    """`module` with noise on every parameter: zeros and ones would hide what they multiply."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.15)
    return module


def spoken(made: Pretrained, texts: list[str]) -> list[Any]:
    """What a model says of texts: every token's vector in its last layer, or where it has none, its log-probability."""
    if "encode" in family(made.recipe.family.name).can:
        return [one.layers[-1] for one in made.encode(texts)]
    return [one.nats for one in score(made, texts)]


def inner(encoder: Any) -> Any:
    """The encoder itself, where one that is only read is hidden from torch."""
    return getattr(encoder, "_hidden", [encoder])[0]


def cast_to(model: Model, dtype: torch.dtype) -> Any:
    """`model` in another arithmetic, and with it encoders and vectors that are only read."""
    for encoder in model.encoders.values():
        inner(encoder).to(dtype)
        if hasattr(encoder, "_features_LSP"):
            encoder._features_LSP = encoder._features_LSP.to(dtype)
    return model.to(dtype)


@cache
def _store(row: Row, shuffled: bool) -> TokenStore:
    text = corpus(shuffled=shuffled, mixed=row.mixed)
    tokenizer = train_tokenizer(row.recipe.tokenizer, corpus(), workers=0)
    return build_store(text, tokenizer, scratch() / "stores", held_out=row.recipe.held_out, workers=0)


@cache
def _source(row: Row) -> Pretrained:
    return row.pretrained(100 if row.own else 3)  # an untrained table of words tells nothing apart


def _bert(name: str, **changes: Any) -> Recipe:
    family_changes = changes.pop("family")
    values: dict[str, Any] = {
        "tokenizer": WORDPIECE,
        "held_out": 0.15,
        "optimizer": OptimizerConfig(kind="adamw", rate=2e-3),
        "schedule": ScheduleConfig(warmup=0.1),
        "batch": BatchConfig(rows=6, micro=2),
        **changes,
    }
    return Recipe(name=name, family=BertConfig(**BERT, **family_changes), **values)


def _word2vec(name: str, **family: Any) -> Row:
    made = Word2VecConfig(**{"width": 12, "window": 3, "min_count": 1, "sample": 0.0, "block": 300, "shards": 3, **family})
    words = TokenizerConfig(kind="words", special=("[UNK]",))
    return Row(recipe=Recipe(name=name, family=made, tokenizer=words, held_out=0.15), own=skipgram)




def _reader(name: str, family: Any, own: Any) -> Row:
    """A language model that reads words from left to right."""
    words = TokenizerConfig(kind="words", special=("[UNK]", "</s>"))
    return Row(recipe=Recipe(name=name, family=family, tokenizer=words, held_out=0.15), own=own)


NNLM: dict[str, Any] = {"width": 24, "hidden": 10, "order": 3, "batch": 8, "rate": 0.1, "decay": 0.0, "block": 150}

ROWS = (
    Row(
        recipe=_bert(
            "bert post-norm",
            family={"norm": "post"},
            windows=WindowsConfig(kind="pairs", length=32, short=0.5, copies=2),
            objectives={"masked": MaskedConfig(), "next_sentence": NextSentenceConfig()},
            optimizer=OptimizerConfig(kind="adam-bert", rate=2e-3),
        ),
        rate=5e-3,
    ),
    Row(
        recipe=_bert(
            "bert pre-norm",
            family={"norm": "pre", "pooler": "none"},
            windows=WindowsConfig(kind="packed", length=32, copies=0),
            objectives={"masked": MaskedConfig(rate=0.3, slots=8, whole_word=True)},
            optimizer=OptimizerConfig(kind="muon", rate=2e-3),
        ),
    ),
    _word2vec("word2vec blocks"),
    _word2vec("word2vec pairs", sample=1e-2, method="pairs"),
    *(
        _word2vec(f"word2vec {architecture} {short} {method}", architecture=architecture, loss=loss, method=method)
        for architecture, loss, short in (
            ("cbow", "negative-sampling", "negatives"), ("skip-gram", "hierarchical-softmax", "tree"),
            ("cbow", "hierarchical-softmax", "tree"),
        )
        for method in ("blocks", "pairs")
    ),
    Row(
        recipe=Recipe(
            name="glove",
            family=GloveConfig(width=12, window=3, min_count=1, x_max=10.0, rate=0.2, held_out=0.1, tile=4, block=100),
            tokenizer=TokenizerConfig(kind="words", special=("[UNK]",)),
            held_out=0.15,
        ),
        own=glove,
        mixed=True,
    ),
    _reader("ngram", NgramConfig(order=3, block=40), counting),
    _reader("nnlm full", NNLMConfig(**NNLM, dropout=0.1), nextword),
    _reader("nnlm adaptive", NNLMConfig(**NNLM, softmax="adaptive", clusters=(10, 18), shrink=2), nextword),
    *(
        Row(
            recipe=Recipe(
                name=f"fasttext {name}",
                family=FastTextConfig(width=12, window=3, min_count=1, bucket=500, block=300, shards=3, power=0.75, **changes),
                tokenizer=TokenizerConfig(kind="words", special=("[UNK]",), unseen="spelling"),
                held_out=0.15,
            ),
            own=subwords,
        )
        for name, changes in FASTTEXT.items()
    ),
)
"""Every family of the catalog, in the configurations that run through other code."""


def _first(name: str) -> Row:
    return next(row for row in ROWS if row.family == name)


def _whole(name: str) -> bool:
    """Whether no family before `name` has the same encoder: then every strategy and form of task is tested on it."""
    encoders = {row.family: family(row.family).encoder for row in reversed(ROWS)}
    return next(other for other in dict.fromkeys(row.family for row in ROWS) if encoders[other] == encoders[name]) == name


TASKS = tuple(
    TaskRow(source=_first(name), task="classify", multi=multi, how=how)
    for name in dict.fromkeys(row.family for row in ROWS)
    if "finetune" in family(name).can
    for multi in (False, True)
    for how in ("features", "frozen", "finetune")
    if _whole(name) or (not multi and how == "finetune")
) + tuple(
    TaskRow(source=_first(name), task="classify", multi=False, how=how, host=host)
    for name, how, host in (
        ("word2vec", "features", "average"), ("word2vec", "finetune", "cnn"), ("bert", "frozen", "bilstm"),
    )
)  # fmt: skip
"""Every task on every encoder that can be transferred, by every strategy, and on every family by one; every host by one."""

ALL: tuple[Row | TaskRow, ...] = (*ROWS, *TASKS)


def texts_of(row: Row | TaskRow) -> list[str]:
    """Some texts that nobody trained on."""
    return [text for text, _ in labelled(12, 9)]
