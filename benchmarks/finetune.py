"""Fine-tuning a classifier beside the Hugging Face Trainer, from the same weights, on real texts of mixed length.

    python -m benchmarks.finetune

The weights are a BERT-mini pretrained here for some updates, published architecture. Ours: `transfer`, how = finetune, at its
defaults but for precision = "bf16" (which is fp32 on a processor without bf16 instructions). The peer:
BertForSequenceClassification under the Trainer, defaults (fp32) but for the learning rate, which is ours (its 5e-5 is for
wider models); and again with bf16. Same texts, pieces, cut-off, batch size and number of passes; a round is a whole
fine-tuning with another seed, units are training texts (each counted once, whatever the passes). The score is the accuracy on held-out texts, and a ratio counts at
equal score only: ours may lie at most one standard error of the test set below the peer's. "ours, 1 pass" reads the texts
once: where its score is still the peer's or better, its ratio is that at equal score.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.cells import FOLDER, Cell, Check, cell, figures, load, write
from benchmarks.mlm import SIZES
from benchmarks.protocol import Channel, Clock, Request, Round, alternate, quartiles, ratios, started
from benchmarks.texts import as_corpus
from foretext.bundle import Pretrained, load_pretrained
from foretext.data.config import WindowsConfig
from foretext.data.render import Fit
from foretext.draws import generator
from foretext.errors import UsageError
from foretext.folder import fingerprint, read_json, write_json
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.text.tokenizers import TokenizerConfig
from foretext.training.config import BatchConfig, Limits, OptimizerConfig
from foretext.transferring import transfer
from foretext.types import Text

GATE = 3.0
BATCH, EPOCHS = 16, 3.0


def labelled(name: str) -> list[tuple[str, str]]:
    """(text, label) of a data set: "introductions" (11 topics) or "imdb" (reviews, two labels)."""
    if name == "introductions":
        from foretext.demo import UNLABELLED, introductions

        return [(one.extract, one.topic) for one in introductions() if one.topic != UNLABELLED and one.extract]
    if name == "imdb":
        from foretext.datasets import find
        from foretext.tasks.base import read_labelled

        found = read_labelled(find("en/imdb/train.tsv.xz"))
        return [(text, label) for text, (label,) in zip(found.texts, found.labels, strict=True)]
    raise UsageError(f"no such set: {name}", remedy="introductions or imdb")


def pretrained(texts: list[str], arguments: argparse.Namespace, folder: Path) -> Pretrained:
    """The weights both sides start from."""
    shape = SIZES[arguments.size]
    recipe = Recipe(
        name="benchmark",
        family=BertConfig(**shape["size"], positions=arguments.length),
        tokenizer=TokenizerConfig(kind="wordpiece", size=shape["vocabulary"], unseen="word"),
        windows=WindowsConfig(kind="packed", length=arguments.length, copies=0),
        objectives={"masked": MaskedConfig(most=None)},
        optimizer=OptimizerConfig(kind="adamw", rate=1e-3),
        batch=BatchConfig(rows=32),
        limits=Limits(steps=arguments.pretraining, evaluations=0, checkpoint_minutes=None, keep=0),
        initial_bias="unigram",
        seed=arguments.seed,
    )
    return pretrain(recipe, as_corpus(texts), folder / "pretrained", setting=Setting(threads=1, cache=folder, workers=0))


# ── the sides ───────────────────────────────────────────────────────────────────────────────────────────────────────


def ours(spec: dict[str, Any], channel: Channel) -> None:
    """A side: whole transfers."""
    source, data = load_pretrained(spec["weights"]), read_json(Path(spec["data"]))
    task = ClassifyConfig(dev_share=0.0, fit=Fit(policy="cut"))
    strategy = StrategyConfig(how="finetune", batch=BATCH, epochs=spec["epochs"], least_steps=1, precision="bf16")
    channel.ready()
    for number, _ in enumerate(channel.requests()):
        clock = Clock(spec["cuda"])
        made = transfer(source, task, data["train"], None, strategy, seed=number, threads=spec["threads"])
        done = clock.read(len(data["train"]), 1)
        answers = [p.label for p in made.predict([text for text, _ in data["test"]])]
        channel.answer(_scored(done, answers, data["test"]))


def peer(spec: dict[str, Any], channel: Channel) -> None:
    """A side: whole runs of the Trainer."""
    import torch
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    peers.quiet()
    torch.set_num_threads(spec["threads"])
    source, data = load_pretrained(spec["weights"]), read_json(Path(spec["data"]))
    labels = sorted({label for _, label in data["train"]})
    number_of = {label: number for number, label in enumerate(labels)}
    train = [{**row, "labels": number_of[y]} for row, (_, y) in zip(_rows(source, data["train"]), data["train"], strict=True)]
    test = _rows(source, data["test"])
    channel.ready()
    for number, _ in enumerate(channel.requests()):
        with tempfile.TemporaryDirectory() as folder:
            torch.manual_seed(number)
            arguments = TrainingArguments(
                output_dir=folder, num_train_epochs=spec["epochs"], per_device_train_batch_size=BATCH, seed=number,
                learning_rate=spec["rate"], use_cpu=not spec["cuda"], report_to="none", save_strategy="no", disable_tqdm=True,
                bf16=spec["bf16"],
            )
            collator = DataCollatorWithPadding(peers.tokenizer(Path(spec["weights"]) / "tokenizers" / "text"))
            model = network(source, len(labels))
            clock = Clock(spec["cuda"])
            trainer = Trainer(model=model, args=arguments, data_collator=collator, train_dataset=train)
            trainer.remove_callback(PrinterCallback)
            trainer.train()
            done = clock.read(len(train), 1)
            scores = trainer.predict(test).predictions  # type: ignore[arg-type]
        channel.answer(_scored(done, [labels[i] for i in np.argmax(scores, 1)], data["test"]))


def _scored(done: Any, answers: list[str], test: list[Any]) -> Any:
    from dataclasses import replace

    right = sum(answer == label for answer, (_, label) in zip(answers, test, strict=True))
    return replace(done, extra={"accuracy": right / len(test)})


def _rows(source: Pretrained, texts: Sequence[Any]) -> list[dict[str, Any]]:
    """Ids with [CLS] and [SEP], cut to the model's length: our pieces, which are the peer's (benchmarks.store)."""
    special, limit = source.tokenizer.special, source.recipe.family.positions  # type: ignore[attr-defined]
    encoded = source.tokenizer.encode([Text(string=text) for text, _ in texts])
    return [{"input_ids": [special["[CLS]"], *e.ids[: limit - 2].tolist(), special["[SEP]"]]} for e in encoded]


def network(source: Pretrained, labels: int) -> Any:
    """Our weights as a BertForSequenceClassification, by the product's own export; its new output layer is drawn by its
    own rule."""
    from transformers import BertForSequenceClassification

    from foretext.interop.huggingface import to_hf

    with tempfile.TemporaryDirectory() as folder:
        to_hf(source, Path(folder) / "hf")
        return BertForSequenceClassification.from_pretrained(Path(folder) / "hf", num_labels=labels)


# ── the comparison ──────────────────────────────────────────────────────────────────────────────────────────────────


def measure(arguments: argparse.Namespace) -> Cell:
    """Pretrain, take turns, compare the scores."""
    from foretext.strategies import Offer, settle

    began, before = time.time(), load()
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        examples = labelled(arguments.set)
        order = generator(arguments.seed, "benchmark fine-tuning").permutation(len(examples))
        chosen = [list(examples[i]) for i in order[: arguments.train + arguments.test]]
        data = {"train": chosen[: arguments.train], "test": chosen[arguments.train :]}
        write_json(folder / "data.json", data)
        rest = [examples[i][0] for i in order[arguments.train + arguments.test :]] or [text for text, _ in data["train"]]
        source = pretrained(rest[: arguments.texts], arguments, folder)
        sizes = np.minimum([len(row["input_ids"]) for row in _rows(source, data["train"])], arguments.length)
        width = SIZES[arguments.size]["size"]["width"]
        offer = Offer(widths=(width, width), summary=False, groups=("embeddings", "layer_0"))
        rate = settle(StrategyConfig(how="finetune"), {"text": offer}, arguments.train).optimizer.rate
        common = {
            "weights": str(folder / "pretrained"), "data": str(folder / "data.json"), "threads": arguments.threads,
            "epochs": arguments.epochs, "rate": rate, "cuda": _cuda(),
        }
        sides = {"ours": {**common, "run": "benchmarks.finetune:ours"}}
        sides["ours, 1 pass"] = {**sides["ours"], "epochs": 1.0}
        if not peers.missing():
            sides["hf fp32"] = {**common, "run": "benchmarks.finetune:peer", "bf16": False}
            sides["hf bf16"] = {**common, "run": "benchmarks.finetune:peer", "bf16": True}
        sides = {name: spec for name, spec in sides.items() if not arguments.sides or name in arguments.sides}
        with started(sides, inline=arguments.inline) as running:
            rounds = alternate(running, Request(seconds=0), rounds=arguments.rounds, quiet=arguments.inline)
        accuracy = {side: quartiles([r.extra["accuracy"] for r in found])[1] for side, found in rounds.items()}
        checks = []
        for side in ("ours", "ours, 1 pass"):
            if "hf fp32" in accuracy and side in accuracy:
                error = math.sqrt(max(accuracy[side] * (1 - accuracy[side]), 0.25 / arguments.test) / arguments.test)
                behind, note = accuracy["hf fp32"] - accuracy[side], "one standard error of the test set"
                checks.append(Check(name=f"accuracy that {side} is behind hf fp32", value=behind, limit=error, note=note))
        return cell(
            f"finetune-{arguments.set}-{arguments.length}",
            "finetune",
            config={
                "unit": "training texts", "gate": GATE, "gated": ["hf fp32"], "size": arguments.size, "batch": BATCH,
                "epochs": arguments.epochs, "rate": rate, "rounds": arguments.rounds, "train": arguments.train,
                "test": arguments.test, "length": arguments.length, "pretraining": arguments.pretraining,
                "threads": arguments.threads,
            },
            data={"set": arguments.set, "key": fingerprint(chosen)},
            seconds=time.time() - began,
            load=before,
            rounds=rounds,
            facts={"notes": [
                f"{arguments.train:,} training and {arguments.test:,} test texts of {arguments.set}, mean length "
                f"{sizes.mean():.0f} of {arguments.length} tokens; {arguments.epochs:g} passes of batches of {BATCH}; {arguments.size}",
                *(f"{side}: accuracy {100 * value:.1f} %" for side, value in accuracy.items()),
                *_sooner(rounds),
                *([f"the peer was not measured ({peers.missing()})"] if peers.missing() else []),
            ]},
            checks=checks,
            seed=arguments.seed,
        )


def _sooner(rounds: dict[str, list[Round]]) -> list[str]:
    """What a single pass of ours gains over the peers' passes."""
    once = rounds.get("ours, 1 pass")
    return [
        f"ours, 1 pass: {quartiles(ratios(once, found))[1]:.2f} times less time than {side}'s passes (gate {GATE:g} at equal score)"
        for side, found in rounds.items()
        if once is not None and side.startswith("hf")
    ]


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell."""
    parser = argparse.ArgumentParser("python -m benchmarks.finetune", description=__doc__.split("\n\n")[0])
    parser.add_argument("--set", choices=("introductions", "imdb"), default="introductions")
    parser.add_argument("--size", choices=list(SIZES), default="mini")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--train", type=int, default=1000, help="training texts")
    parser.add_argument("--test", type=int, default=1000, help="test texts")
    parser.add_argument("--texts", type=int, default=5000, help="texts to pretrain on")
    parser.add_argument("--pretraining", type=int, default=300, help="updates of the pretraining")
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5, help="whole fine-tunings a side, one seed each")
    parser.add_argument("--sides", nargs="+", help="only these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    parser.add_argument("--quick", action="store_true", help="200 texts, three rounds")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.train, arguments.test, arguments.rounds, arguments.pretraining = 200, 200, 3, 50
    made = measure(arguments)
    write(arguments.out, made)
    print(figures(made))
    return [made]


if __name__ == "__main__":
    main()
