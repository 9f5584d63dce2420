"""One cell of the recipe benchmark (see benchmarks/recipe.py): its identity, its texts, its pretraining, its scores."""

import csv
import gzip
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

import foretext
from foretext.data.config import WindowsConfig
from foretext.datasets import find as find_data
from foretext.draws import generator
from foretext.folder import fingerprint, is_sealed, locked, open_sealed, read_json, sealing, write_json
from foretext.ladder.draw import label_set
from foretext.ladder.machine import circumstances, machine, versions
from foretext.objectives import MaskedConfig
from foretext.recipe import Recipe, to_json
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Labelled, read_labelled
from foretext.text.corpus import CorpusConfig, FileCorpus, open_corpus
from foretext.training.config import Limits, Phase
from foretext.types import JSON

FORMAT = 2
"""Version of what a cell means; part of every key."""
CORPUS, TASK = "en/enwiki-extract", "en/ag-news"
RATE, LENGTH = 0.15, 128
HOWS = ("features", "finetune")


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What is the same for every cell of a table; part of every key."""

    corpus: str = CORPUS
    task: str = TASK
    held_out: int = 300_000
    """Characters of text kept for the held-out loss, in whole documents spread over the corpus."""
    evaluated: int = 65_536
    """Most tokens of it that are scored."""
    tests: int = 1000
    labels: tuple[int, ...] = (5, 20, 100)
    draws: int = 2
    """Label sets a count; 0 = no transfer, for a first sieve by the loss alone."""
    warm: int = 24
    """Updates made before that: the first of each size are slower (in bf16 oneDNN compiles a product of a new size)."""
    timed: float = 8.0
    """CPU seconds over which an update is timed."""


QUICK = Protocol(held_out=4_000, evaluated=2_048, tests=30, labels=(2,), draws=1, warm=1, timed=0.2)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A cell that is to be. `recipe` is settled: the variant laid over bert-budget, this seed."""

    variant: str
    minutes: float
    recipe: Recipe
    protocol: Protocol
    data: Mapping[str, str]
    """Content keys: corpus, held-out texts, task."""

    @property
    def config(self) -> dict[str, JSON]:
        """Everything that decides the result but the data."""
        recipe = {n: v for n, v in to_json(self.recipe).items() if n not in ("cites", "name", "limits")}
        protocol = {n: v for n, v in msgspec.to_builtins(self.protocol).items() if n not in ("corpus", "task")}
        return {"recipe": recipe, "minutes": self.minutes, "protocol": protocol}

    @property
    def key(self) -> str:
        return fingerprint(FORMAT, self.config, dict(self.data), processor())

    @property
    def file(self) -> str:
        return f"{self.variant}.{self.minutes:g}min.seed{self.recipe.seed}.{self.key[:12]}.json"


def processor() -> JSON:
    """What decides how much learning a minute holds: cells of one table are of one kind of processor."""
    return {name: machine()[name] for name in ("processor", "flags")}


def code() -> str:
    """A fingerprint of what is timed: the package's source and its libraries' versions."""
    folder = Path(foretext.__file__).parent
    return fingerprint(versions(), {str(file.relative_to(folder)): file.read_text("utf-8") for file in sorted(folder.rglob("*.py"))})


# ── texts ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def texts(protocol: Protocol, work: Path) -> tuple[Path, dict[str, str]]:
    """A sealed folder with `train.txt` and `held-out.txt`, documents between blank lines; and the content keys.

    Held-out documents are spread over the whole corpus by a draw that depends on the corpus alone."""
    corpus = open_corpus([_place(protocol.corpus)])
    key = fingerprint(FORMAT, corpus.key, protocol.held_out)
    folder = work / "texts" / key
    with locked(folder):
        if not is_sealed(folder):
            with sealing(folder, kind="benchmark texts", key=key, replace=True) as draft:
                _write_texts(corpus, protocol.held_out, draft)
    seals = open_sealed(folder).files
    task = task_of(protocol)
    return folder, {
        "corpus": seals["train.txt"].sha256[:32],
        "held-out": seals["held-out.txt"].sha256[:32],
        "task": fingerprint(list(task.texts), [list(said) for said in task.labels]),
    }


def _write_texts(corpus: FileCorpus, characters: int, folder: Path) -> None:
    found = list(documents(corpus))
    held, size = set[int](), 0
    for number in generator(0, "recipe benchmark held-out").permutation(len(found)).tolist():
        if size >= characters:
            break
        held.add(number)
        size += len(found[number])
    for name, wanted in (("train.txt", False), ("held-out.txt", True)):
        with open(folder / name, "w", encoding="utf-8") as file:
            file.writelines(text + "\n\n" for number, text in enumerate(found) if (number in held) == wanted)


def documents(corpus: FileCorpus) -> Iterator[str]:
    """Each document as its paragraphs, a line each."""
    number, lines = -1, dict[int, str]()
    for sentence in corpus.sentences():
        if sentence.document != number and lines:
            yield "\n".join(line.strip() for line in lines.values())
            lines = {}
        number = sentence.document
        lines[sentence.paragraph] = lines.get(sentence.paragraph, "") + sentence.string.replace("\n", " ")
    if lines:
        yield "\n".join(line.strip() for line in lines.values())


def _place(name: str) -> Path:
    return Path(name) if Path(name).exists() else find_data(name)


def task_of(protocol: Protocol) -> Labelled:
    """The labelled texts; AG News is read from its own layout (class, title, description; no header)."""
    place = _place(protocol.task)
    if not (place / "test.csv.gz").exists():
        return read_labelled(place)
    with gzip.open(place / "test.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = {f"{title}. {about}": label for label, title, about in csv.reader(file)}  # repeated texts once
    return read_labelled([(text.replace("\\", " "), f"class {label}") for text, label in rows.items()])


def split_task(protocol: Protocol) -> tuple[Labelled, Labelled]:
    """(the texts that label sets are drawn from, the texts that are scored)."""
    whole = task_of(protocol)
    order = generator(0, "recipe benchmark task").permutation(len(whole.texts)).tolist()
    tests = min(protocol.tests, len(order) // 2)
    return whole.take(order[tests:]), whole.take(order[:tests])


# ── a cell ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def make(plan: Plan, work: Path, command: str) -> dict[str, JSON]:
    """Pretrain (or go on), score, and the record of it."""
    from foretext.pretraining import Setting, pretrain

    folder, _ = texts(plan.protocol, work)
    corpus = open_corpus([folder / "train.txt"], CorpusConfig(documents="blank"))
    setting = Setting(device="cpu", threads=1, cache=work / "cache")
    cost = cost_of(plan, corpus, setting, work)
    steps = max(1, int((60.0 * plan.minutes - cost["first vectors"]) / cost["update"]))
    model = work / "models" / plan.key
    # Then the CPU seconds below are the last process's only.
    resumed = model.exists() or model.with_name(f"{model.name}.run").exists()
    limits = Limits(steps=steps, evaluations=1, checkpoint_minutes=2.0)
    began, cpu = time.perf_counter(), time.process_time()
    made = pretrain(plan.recipe, corpus, model, limits=limits, setting=setting, resume=True)
    pretraining = {"pretraining cpu": time.process_time() - cpu, "pretraining wall": made.provenance.seconds}
    scores = held_out(made, folder / "held-out.txt", plan.protocol.evaluated, work / "cache")
    scores.update(transferred(model, plan.protocol))
    shutil.rmtree(model, ignore_errors=True)
    return {
        "format": FORMAT, "key": plan.key, "variant": plan.variant, "minutes": plan.minutes, "seed": plan.recipe.seed,
        "config": plan.config, "config_hash": fingerprint(plan.config),
        "data": dict(plan.data), "data_hash": fingerprint(dict(plan.data)),
        "steps": steps, "tokens": made.provenance.epochs * made.provenance.tokens, "cost": cost,
        "parameters": sum(array.size for array in made.arrays.values()),
        "seconds": {**pretraining, "all": time.perf_counter() - began}, "scores": scores, "command": command, "resumed": resumed,
        **circumstances(),
    }  # fmt: skip


def cost_of(plan: Plan, corpus: FileCorpus, setting: Any, work: Path) -> dict[str, float]:
    """CPU seconds of a variant's first vectors and of an update (phases by their shares); measured once a variant, on
    one thread, and then the same for every budget and seed."""
    recipe = replace(plan.recipe, seed=0, limits=Limits(steps=10**9), cites={}, name="")
    protocol = plan.protocol
    key = fingerprint(FORMAT, to_json(recipe), plan.data["corpus"], protocol.warm, protocol.timed, processor(), code())
    file = work / "costs" / f"{key}.json"
    with locked(file):
        if not file.exists():
            write_json(file, _measured(recipe, corpus, setting, protocol))
    found: dict[str, float] = read_json(file)
    return found


def _measured(recipe: Recipe, corpus: FileCorpus, setting: Any, protocol: Protocol) -> dict[str, float]:
    from foretext.first_vectors import AUTO, RANDOM, skipgram
    from foretext.pretraining import prepare
    from foretext.steppers import Job
    from foretext.steppers import make as make_stepper
    from foretext.training.progress import SilentWatch

    watch = SilentWatch()
    store = prepare(recipe, corpus, None, setting, watch)
    began = time.process_time()
    if recipe.init_embeddings == AUTO:
        skipgram(store, getattr(recipe.family, "width", 0), 0, watch)
    first = time.process_time() - began
    whole, update = sum(phase.share for phase in recipe.phases), 0.0
    for phase in recipe.phases:
        alone = replace(
            recipe, init_embeddings=RANDOM, windows=phase.windows or recipe.windows, phases=(Phase(rates=phase.rates),)
        )
        job = Job(recipe=alone, store=store, device="cpu", threads=1)
        stepper = make_stepper(job, steps=10**9, watch=watch)
        for _ in range(protocol.warm):
            stepper.step()
        began, count = time.process_time(), 0
        while count < 2 or time.process_time() - began < protocol.timed:
            stepper.step()
            count += 1
        update += phase.share / whole * (time.process_time() - began) / count
    return {"first vectors": first, "update": update}


def held_out(made: Any, file: Path, most: int, cache: Path) -> dict[str, float]:
    """"loss": nats a masked token at 15 % masking; "nats a character" of the masked pieces; "accuracy" of the best
    guess; "masked": how many places. One protocol for every variant: rows, masks and texts do not depend on its recipe."""
    import torch

    from foretext.data.batches import to_torch
    from foretext.data.windows import make_windows
    from foretext.objectives import make_objectives
    from foretext.text.store import build_store
    from foretext.training.source import Batches

    tokenizer = made.tokenizer
    store = build_store(open_corpus([file], CorpusConfig(documents="blank")), tokenizer, cache, held_out=0.0, workers=0)
    objectives = make_objectives({"masked": MaskedConfig(rate=RATE, mask=0.8, random=0.1, most=None)}, tokenizer)
    length = min(LENGTH, made.model.encoder("text").limit or LENGTH)
    windows = make_windows(WindowsConfig(kind="packed", length=length, copies=0), made.recipe.family.template, 0)
    batches = Batches(store, windows, objectives, rows=32)
    rows = min(most // length, int(batches.steps_per_epoch * 32))
    loss = correct = characters = count = 0.0
    sizes = torch.tensor([len(piece.removeprefix("##")) for piece in tokenizer.pieces])
    for step in range(max(1, rows // 32)):
        for batch in map(to_torch, batches.step(step)):
            target = batch.targets["masked"]
            with torch.inference_mode():
                vectors = made.model(batch)
                loss += float(made.model.head("masked").loss(vectors, target))
                correct += float(made.model.head("masked").measures(vectors, target)["correct"])
            characters += float(sizes[target.gold].sum())
            count += target.count
    return {"loss": loss / count, "nats a character": loss / characters, "masked accuracy": correct / count, "masked": count}


def transferred(folder: Path, protocol: Protocol) -> dict[str, float]:
    """Accuracy by way of transfer and labels a class ("finetune 20"), the mean over the label draws."""
    from foretext.ladder.network import fit

    pool, test = split_task(protocol)
    found = {}
    for how in HOWS if protocol.draws else ():
        for labels in protocol.labels:
            right = []
            for draw in range(protocol.draws):
                settings = StrategyConfig(how=how, cache=False)  # type: ignore[arg-type]
                said = fit(folder, label_set(pool, labels, draw), settings, draw).predict(test.texts)
                right.append(sum(a == gold[0] for a, gold in zip(said, test.labels, strict=True)) / len(said))
            found[f"{how} {labels}"] = sum(right) / len(right)
    return found
