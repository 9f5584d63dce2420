"""The cells that need a network: a rung pretrained, and a label set learned by one. Imports torch."""

import dataclasses
import os
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import torch

from foretext.adapted import Adapted, head_config, reader_of, shape_of
from foretext.baselines import Predictor
from foretext.bundle import SOURCE, Pretrained, build_model, load_pretrained
from foretext.draws import number
from foretext.features import Remembered, remembered_head, remembered_view
from foretext.heads.classify import ClassifyHead, ClassifyHeadConfig
from foretext.ladder.cells import Cell, Plan, done
from foretext.ladder.machine import circumstances
from foretext.ladder.plan import Rung
from foretext.ladder.shared import SharedFeatures
from foretext.ladder.texts import model_folder
from foretext.models.catalog import family
from foretext.prediction import HEAD, Reader, log_probabilities
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.strategies import StrategyConfig, settle
from foretext.tasks.base import Labelled
from foretext.tasks.classify import ClassifyConfig
from foretext.text.corpus import ExcludingCorpus
from foretext.training.model import Model
from foretext.training.progress import Watch
from foretext.transferring import settled_precision, transfer
from foretext.transferring.bench import offer_of, weights_key
from foretext.types import Corpus

TASK = ClassifyConfig(multi=False, dev_share=0.0)
"""Every cell's task: one label a text, and no labelled text kept back."""


def taken_cell(plan: Plan, rung: Rung, out: Path) -> Cell:
    """Weights made elsewhere, as they are, put into the rung's model folder: no second of pretraining was spent here."""
    assert rung.source is not None
    made = rung.source.save(model_folder(out, plan.key), replace=True)
    return done(plan, parameters=encoder_size(made), notes={"vocabulary": made.tokenizer.size}, **circumstances())


def pretrained_cell(plan: Plan, rung: Rung, corpus: Corpus, out: Path, watch: Watch) -> Cell:
    """Pretrain a rung into its model folder, or further from its source; what it took and what it reached."""
    start = time.perf_counter()
    made = pretrain(
        rung.recipe,
        corpus,
        model_folder(out, plan.key),
        source=rung.source,
        vectors=rung.vectors,
        setting=Setting(cache=out / "cache", threads=threads_for(dataclasses.replace(rung.recipe, family=rung.family))),
        watch=watch,
        resume=True,
    )
    came = made.provenance
    left_out = corpus.excluded if isinstance(corpus, ExcludingCorpus) else 0
    return done(
        plan,
        seconds={"pretraining": time.perf_counter() - start, "training": came.seconds},
        scores=dict(came.results),
        parameters=encoder_size(made),
        notes={
            "steps": came.steps,
            "epochs": came.epochs,
            "tokens in the corpus": came.tokens,
            "vocabulary": made.tokenizer.size,
            "documents left out because they hold a test text": left_out,
        },
        **circumstances(),
    )


def threads_for(recipe: Recipe) -> int | None:
    """How many threads a rung's pretraining is given: all (None), or one where more are no faster here and now.

    Small networks gain little from a second thread, and lose a hundredfold when another process holds a core, since
    every product then waits for the thread that is not running. Measured on products of the network's own size.
    """
    width = getattr(recipe.family, "width", 0)
    if family(recipe.family.name).stepper is not None or not width:
        return None
    every = len(os.sched_getaffinity(0))
    dtype = torch.bfloat16 if recipe.batch.precision == "bf16" else torch.float32
    alone, together = _product_seconds(1, width, dtype), _product_seconds(every, width, dtype)
    return None if together < 0.9 * alone else 1


def _product_seconds(threads: int, width: int, dtype: torch.dtype) -> float:
    """Seconds of a short series of products, `threads` at work; the larger half of the series counts, as stalls come
    now and then."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    x, w = torch.randn(1024, width, dtype=dtype), torch.randn(width, 4 * width, dtype=dtype)
    times = []
    for _ in range(60):
        start = time.perf_counter()
        torch.nn.functional.gelu(x @ w)
        times.append(time.perf_counter() - start)
    torch.set_num_threads(before)
    return sum(sorted(times)[30:])


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Transferred:
    """An Adapted as a Predictor; with `shared`, which holds the texts' vectors, by its head alone."""

    adapted: Adapted
    parameters: int
    shared: SharedFeatures | None = None

    @property
    def lent(self) -> float:
        """Seconds that encoding took for it, elsewhere or earlier."""
        return self.shared.lent if self.shared else 0.0

    def predict(self, texts: Sequence[str]) -> list[str]:
        if self.shared is not None:
            return answers(self.adapted, texts, self.shared)
        return [prediction.label for prediction in self.adapted.predict(texts)]


def answers(adapted: Adapted, texts: Sequence[str], shared: SharedFeatures) -> list[str]:
    """What `adapted`, whose encoder did not move, answers; the encoder's vectors come from `shared`."""
    source, settled = adapted.sources[SOURCE], adapted.settled
    encoder, config = source.encoder(), head_config(adapted.task, settled)
    view = reader_of(source, adapted.task, encoder.limit).prepare(texts)
    bf16 = settled.config.precision == "bf16"
    features, _ = shared(
        encoder, view, config, source=weights_key(source), most_tokens=settled.config.micro_tokens, device=adapted.device, bf16=bf16
    )
    remembered = Remembered(features, is_summary=config.pool == "summary", device=adapted.device)
    shapes = {SOURCE: dataclasses.replace(shape_of(source, encoder), widths=remembered.widths)}
    head = ClassifyHead(shapes, len(adapted.labels), remembered_head(config, len(remembered.widths)))
    model = Model({SOURCE: remembered}, {HEAD: head})
    model.load(adapted.members[0], within="heads.")
    views = {SOURCE: remembered_view(view, config)}
    found = log_probabilities(model, views, most_tokens=settled.config.micro_tokens, device=adapted.device, bf16=bf16)
    return [prediction.label for prediction in adapted.task.decode(found)]


def encode_ahead(folder: Path, texts: Sequence[str], settings: StrategyConfig, shared: Path) -> None:
    """Put the vectors of `texts` where the cells of this rung will look for them."""
    source = opened(folder)
    encoder, device = source.encoder(), "cuda" if torch.cuda.is_available() else "cpu"
    settled = settle(settled_precision(settings, device), {SOURCE: offer_of(source, encoder)}, len(texts))
    template = source.recipe.family.template
    reader = Reader(tokenizer=source.tokenizer, template=template, limit=encoder.limit, fit=TASK.fit)
    SharedFeatures(path=shared)(
        encoder,
        reader.prepare(texts),
        ClassifyHeadConfig(pool=settled.pool, layers=settled.layers),
        source=weights_key(source),
        most_tokens=settled.config.micro_tokens,
        device=device,
        bf16=settled.config.precision == "bf16",
    )


def fit(
    folder: Path, train: Labelled, settings: StrategyConfig, seed: int, *, scratch: int | None = None, shared: Path | None = None
) -> Predictor:
    """The model in `folder` transferred to the label set, with fixed settings and without a dev set.

    `scratch`: a seed; the network starts as new, drawn from it. `shared`: where the vectors of texts lie that several
    cells of a contextual network's features read."""
    source = opened(folder)
    if scratch is not None:
        source = untrained(source, number(scratch, "scratch", seed))
    contextual = "contextual" in family(source.recipe.family.name).can
    remember = SharedFeatures(path=shared) if shared and contextual and settings.how == "features" else None
    made = transfer({SOURCE: source}, TASK, train, None, settings, seed=seed, remember=remember)
    head = sum(array.size for name, array in made.members[0].items() if name.startswith("heads."))
    return _Transferred(adapted=made, parameters=encoder_size(source) + int(head), shared=remember)


@lru_cache(maxsize=2)
def opened(folder: Path) -> Pretrained:
    """A rung's model, opened once a process."""
    return load_pretrained(folder)


def untrained(source: Pretrained, seed: int) -> Pretrained:
    """The same network and tokenizer as `source` before any pretraining: 0 steps of its recipe."""
    torch.manual_seed(seed)
    arrays = build_model(source.recipe, source.tokenizer.size, tokenizer=source.tokenizer).arrays()
    return dataclasses.replace(source, arrays=arrays, path=None, key=f"{source.key}-untrained-{seed}")


def encoder_size(made: Pretrained) -> int:
    """Numbers in the encoder."""
    return int(sum(array.size for name, array in made.arrays.items() if name.startswith("encoders.")))
