"""GloVe: words a second of counting, non-zeros a second of training, and what the vectors are worth.

    python -m benchmarks.glove

A round of counting is the whole of it, from the token store to the sealed folder: sorting, spilling, merging, checksums. A
round of training is `--epochs` passes over the non-zeros from fresh tables, its vectors judged afterwards; so the rounds are
also seeds. Gates are read by CPU time. No package that is simple to install trains GloVe on a sparse matrix, so there is no peer
beside it; the released C code is double precision and walks the tables at random.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.cells import FOLDER, Cell, cell, figures, load, write
from benchmarks.protocol import Channel, Clock, Request, alternate, started
from benchmarks.texts import as_corpus, documents
from benchmarks.vectors import quality
from foretext.folder import fingerprint
from foretext.text.store import TokenStore, build_store, open_store
from foretext.text.tokenizers import TokenizerConfig, load_tokenizer, train_tokenizer

GATES = {"counting": 1.5e6, "training": 2.2e6}
"""Words and non-zeros a CPU-second; training at 100 dimensions."""
FLOPS = 22
"""Of an exact update of one non-zero, a number of a vector: the product (2), and for both vectors gradient, clip to two sides,
rate, root, division, step, square and sum (10)."""
BYTES = 32
"""Moved by an update, a number of a vector: both vectors and their sums of squares, read and written in float32. Less, where a
cache still holds them."""


def _store(spec: dict[str, Any]) -> TokenStore:
    folder = Path(spec["folder"])
    return open_store(folder / "store" / spec["store"], load_tokenizer(folder / "tokenizer"))


def _config(spec: dict[str, Any]) -> Any:
    from foretext.models.glove.config import GloveConfig

    return GloveConfig(
        width=spec["width"], window=spec["window"], x_max=spec["x_max"], min_count=spec["min_count"], memory=spec["memory"],
        updates=spec["updates"], epochs=spec["epochs"],
    )  # fmt: skip


# ── the sides ───────────────────────────────────────────────────────────────────────────────────────────────────────


def counting(spec: dict[str, Any], channel: Channel) -> None:
    """A side: whole counts; units are words of the training part."""
    from foretext.disk import remove
    from foretext.models.glove.counts import Counting, ranked_words

    store, config = _store(spec), _config(spec)
    words = ranked_words(config, store, None, "")
    channel.ready(words=int(store.counts.sum()), vocabulary=len(words))
    for request in channel.requests():
        clock, passes = Clock(), 0
        while passes == 0 or not request.over(clock, passes):
            with TemporaryDirectory(dir=spec["folder"]) as folder:
                made = Counting(config, store, words, Path(folder) / "runs")
                while made.done < made.total:
                    made.step()
            passes += 1
            remove(made.path)
        channel.answer(clock.read(int(store.counts.sum()) * passes, passes, {"runs": len(made._runs)}))


def training(spec: dict[str, Any], channel: Channel) -> None:
    """A side: `epochs` passes; units are non-zeros, of a symmetric matrix both halves."""
    from foretext.models.glove.train import TABLE, stepper

    store, config = _store(spec), _config(spec)
    pieces = store.tokenizer.pieces
    first = stepper(config, store, threads=spec["threads"], epochs=1.0)
    channel.ready(entries=2 * len(first.found.places), vocabulary=len(first.found.words), steps=first.total)
    for turn, request in enumerate(channel.requests()):
        run = stepper(config, store, seed=turn, threads=spec["threads"])
        clock, entries = Clock(), 0
        for _ in range(run.total if request.steps else 1):
            entries += run.step().count
        done = clock.read(entries, 1)
        found: dict[str, float] = {}
        if request.steps:
            ids = run.found.words
            found = quality([pieces[i] for i in ids.tolist()], run.arrays()[TABLE][ids])
            found["held-out loss"] = run.evaluate().get("loss", float("nan"))
        channel.answer(replace(done, extra=found))


def machine(spec: dict[str, Any], channel: Channel) -> None:
    """A side: this machine's own limits, one thread: GFLOP/s of a float32 product (units), and GB/s of adding one large array
    to another (extra)."""
    a = np.ones((1024, 1024), np.float32)
    x = np.ones(64_000_000 if not spec["tiny"] else 1_000_000, np.float32)
    y = np.ones_like(x)
    channel.ready()
    for request in channel.requests():
        clock, passes = Clock(), 0
        while passes < 5 or not request.over(clock, passes):
            a @ a
            passes += 1
        done = clock.read(2 * 1024**3 * passes, passes)
        clock = Clock()
        for _ in range(3):
            np.add(x, y, out=y)
        bandwidth = 3 * 3 * x.nbytes / clock.elapsed
        channel.answer(replace(done, extra={"bandwidth": bandwidth}))


# ── the measurement ─────────────────────────────────────────────────────────────────────────────────────────────────


def measure(arguments: argparse.Namespace, part: str) -> Cell:
    """Make the store, take turns."""
    began, before = time.time(), load()
    with TemporaryDirectory() as work:
        folder = Path(work)
        source, texts = documents(arguments.text, arguments.characters)
        corpus = as_corpus(texts)
        tokenizer = train_tokenizer(TokenizerConfig(kind="words", strip_accents=False, special=("[UNK]",)), corpus, workers=0)
        (folder / "tokenizer").mkdir()
        tokenizer.save(folder / "tokenizer")
        store = build_store(corpus, tokenizer, folder / "store", workers=0)
        spec = {
            "folder": work, "store": store.path.name, "width": arguments.width, "window": arguments.window, "x_max": arguments.x_max,
            "min_count": arguments.min_count, "memory": arguments.memory, "epochs": arguments.epochs, "updates": "hogwild",
            "threads": 1, "run": f"benchmarks.glove:{part}", "tiny": arguments.inline,
        }  # fmt: skip
        sides: dict[str, Any] = {"ours": spec}
        if part == "training":
            sides["ours, 2 threads"] = {**spec, "threads": 2}
            sides["ours, 2 threads in step"] = {**spec, "threads": 2, "updates": "synchronous"}
        sides["this machine"] = {**spec, "run": "benchmarks.glove:machine"}
        with started(sides, inline=arguments.inline) as running:
            facts = {side.name: side.facts for side in running}
            request = Request(seconds=0.0)
            rounds = alternate(running, request, rounds=arguments.rounds, warmup=Request(seconds=0.0, steps=0), quiet=arguments.inline)
    limits = rounds.pop("this machine")
    names = ("width", "window", "x_max", "min_count", "memory", "epochs", "rounds")
    return cell(
        f"glove-{part}-{arguments.width if part == 'training' else arguments.window}",
        "glove",
        config={"unit": "words" if part == "counting" else "non-zeros", "part": part, "gate": GATES[part],
                **{name: getattr(arguments, name) for name in names}},
        data={"source": source, "words": int(store.counts.sum()), "key": fingerprint(texts)},
        seconds=time.time() - began,
        load=before,
        rounds=rounds,
        facts={
            "sides": facts,
            "peak": float(np.median([r.frugality for r in limits])),
            "bandwidth": float(np.median([r.extra["bandwidth"] for r in limits])),
            "flops": FLOPS * arguments.width,
            "bytes": BYTES * arguments.width,
        },
    )  # fmt: skip


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cells."""
    parser = argparse.ArgumentParser("python -m benchmarks.glove", description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", help="counting, training; both where none is named")
    parser.add_argument("--characters", type=int, default=70_000_000)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--window", type=int, default=10)
    parser.add_argument("--x-max", type=float, default=100.0)
    parser.add_argument("--min-count", type=int, default=5)
    parser.add_argument("--memory", type=float, default=256.0, help="megabytes for counting")
    parser.add_argument("--epochs", type=float, default=5.0, help="of a round of training")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--text", choices=("auto", "wikipedia", "introductions", "zipf"), default="auto")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    parser.add_argument("--quick", action="store_true", help="5 MB of text, three rounds of two epochs")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.characters, arguments.rounds, arguments.epochs = 5_000_000, 3, 2.0
    unknown = [part for part in arguments.parts if part not in GATES]
    if unknown:
        parser.error(f"unknown part {unknown[0]}: expected {' or '.join(GATES)}")
    made = []
    for part in arguments.parts or GATES:
        made.append(measure(arguments, part))
        print(figures(made[-1]))
        write(arguments.out, made[-1])
    return made


if __name__ == "__main__":
    main()
