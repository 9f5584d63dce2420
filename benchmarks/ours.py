"""Our side of the comparisons: the product's own steppers, over the material that the peers read."""

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.protocol import Channel, Clock, Request, Round
from benchmarks.texts import Material, as_store, open_material, sequences
from foretext.bundle import SOURCE, build_model
from foretext.data.batches import pack, to_torch
from foretext.data.config import WindowsConfig
from foretext.data.render import Rendered
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.steppers import Job, make, settled_precision
from foretext.training.config import BatchConfig, Limits, OptimizerConfig, ScheduleConfig
from foretext.training.progress import SilentWatch
from foretext.types import Batch, Stepper

ENDLESS = 1_000_000
"""Planned updates of a run that only a measurement ends: the learning rate stays in its warm-up."""


def recipe(spec: dict[str, Any], vocabulary: int, longest: int) -> Recipe:
    """The peer's architecture (post-norm BERT, GELU by erf, tied output) and masking share, as our recipe: packed rows,
    no dropout, no pooler, AdamW at the peer's rate. `spec["recipe"]` names one of ours to take instead, at this size."""
    size = spec["size"]
    if spec.get("recipe"):
        base = find(spec["recipe"])
        family = replace(base.family, **size, positions=longest)
        return replace(base, family=family, windows=replace(base.windows, length=longest), seed=spec.get("seed", 0))
    family = BertConfig(**size, positions=longest, dropout=0.0, attention_dropout=0.0, pooler="none")
    return Recipe(
        name="benchmark",
        family=family,
        tokenizer=find("bert-budget").tokenizer,
        windows=WindowsConfig(kind="packed", length=longest, copies=0),
        objectives={"masked": MaskedConfig(rate=spec["masked"], most=None)},
        optimizer=OptimizerConfig(kind="adamw", rate=spec["rate"], decay=0.0, clip=1.0),
        schedule=ScheduleConfig(shape="linear", warmup=0.1),
        batch=BatchConfig(rows=spec["rows"], precision="bf16", compile=bool(spec.get("compile"))),
        limits=Limits(steps=ENDLESS),
        seed=spec.get("seed", 0),
    )


def stepper(spec: dict[str, Any], made: Material, *, steps: int = ENDLESS, precision: Any = None) -> Stepper:
    """The product's stepper for `spec`; `precision` None: what the product settles on here."""
    job = Job(
        recipe=recipe(spec, made.vocabulary, made.longest),
        store=as_store(made),
        device=spec.get("device", "auto"),
        threads=spec.get("threads", 1),
        precision=precision or spec.get("precision"),
    )
    return make(job, steps=steps, watch=SilentWatch())


def mlm(spec: dict[str, Any], channel: Channel) -> None:
    """A side: pretraining steps; units are real tokens."""
    import torch

    made = open_material(spec["material"])
    running = stepper(spec, made)
    job = Job(recipe=recipe(spec, made.vocabulary, made.longest), store=as_store(made), device=spec.get("device", "auto"))
    precision = spec.get("precision") or settled_precision(job)
    channel.ready(precision=precision, parameters=parameters(running))
    for request in channel.requests():
        channel.answer(steps_of(running, request, cuda=torch.cuda.is_available()))


def steps_of(running: Stepper, request: Request, *, cuda: bool) -> Round:
    """Updates until the request is met."""
    clock, tokens, targets, steps = Clock(cuda), 0, 0, 0
    while not request.over(clock, steps):
        report = running.step()
        tokens += report.tokens
        targets += report.count
        steps += 1
    return clock.read(tokens, steps, {"targets": targets, "loss": report.loss})


def parameters(running: Any) -> dict[str, int]:
    """Numbers of the encoder's matrices (embeddings left out), and all."""
    named = dict(running.model.named_parameters())
    inside = (p.numel() for name, p in named.items() if ".layers." in name and p.ndim == 2)
    return {"matrices": sum(inside), "all": sum(p.numel() for p in named.values())}


# ── correctness beside the speed ────────────────────────────────────────────────────────────────────────────────────


def packing_error(spec: dict[str, Any], made: Material, count: int = 24) -> float:
    """Largest difference of the masked head's log-probabilities (fp32) between `count` sequences packed into rows and
    the same sequences one a row, over all real places, with weights large enough that attention matters."""
    import torch

    settled = recipe({**spec, "recipe": ""}, made.vocabulary, made.longest)
    settled = replace(settled, family=replace(settled.family, initial_sd=0.1))
    model = build_model(settled, made.vocabulary).eval()
    special = as_store(made).tokenizer.special
    rendered = [_rendered(ids, special) for ids in sequences(made)[:count]]
    found = []
    for packed in (True, False):
        view = pack(rendered, made.longest, packed=packed, pad_id=special["[PAD]"])
        batch = to_torch(Batch(views={SOURCE: view}))
        with torch.inference_mode():
            scores_NV = model.head("masked").predict(model(batch))
        where = np.argsort(np.where(np.ravel(view.sequence) < 0, 1 << 40, np.ravel(view.sequence)), kind="stable")
        real = where[: int(np.count_nonzero(np.ravel(view.sequence) >= 0))]
        found.append(scores_NV[torch.from_numpy(real)])
    return float((found[0] - found[1]).abs().max())


def _rendered(ids: Any, special: Any) -> Rendered:
    whole = np.concatenate([[special["[CLS]"]], ids, [special["[SEP]"]]]).astype(np.int64)
    size = len(whole)
    return Rendered(
        ids=whole,
        segment=np.zeros(size, np.int64),
        word=np.full(size, -1, np.int64),
        owned=np.zeros(size, np.bool_),
        summary=0,
        example=0,
        option=0,
        side=0,
        window=0,
        fresh=size - 2,
        cut=0,
    )


def precision_error(spec: dict[str, Any], made: Material, steps: int, window: int = 10) -> float:
    """Largest relative difference between the loss curves of a bf16 and an fp32 run of `steps` updates on the same data
    from the same start, each averaged over `window` updates; the run is planned to end after `steps`."""
    curves = []
    for precision in ("fp32", "bf16"):
        running = stepper(spec, made, steps=steps, precision=precision)
        losses = np.array([running.step().loss for _ in range(steps)])
        size = min(window, steps)
        curves.append(losses[: steps // size * size].reshape(-1, size).mean(1))
    return float(np.max(np.abs(curves[1] - curves[0]) / curves[0]))
