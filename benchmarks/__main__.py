"""`make bench`: what this machine does a second, one table, and runs/bench.json.

Generated text with Zipf's law stands in for a corpus, so the figures need no data and compare across machines. Every row
is the median of five rounds after a warm-up, one thread; the quartiles stand beside it.
"""

import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from foretext.bundle import machine
from foretext.cli.output import table
from foretext.folder import write_json
from foretext.recipes import find
from foretext.steppers import Job, make
from foretext.text.corpus import strings_corpus
from foretext.text.store import build_store
from foretext.text.tokenizers import train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.types import Corpus

ROUNDS = 5


def generated(words: int, seed: int = 0) -> Corpus:
    """Documents of 20 sentences of 20 words, drawn by Zipf's law from 20,000 made-up words."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(20_000)]
    weights = [1 / rank for rank in range(1, len(lexicon) + 1)]
    flat = draw.choices(lexicon, weights, k=words)
    sentences = [" ".join(flat[i : i + 20]).capitalize() + "." for i in range(0, words, 20)]
    return strings_corpus(["\n".join(sentences[i : i + 20]) for i in range(0, len(sentences), 20)])


def rounds(work: Callable[[], int]) -> list[float]:
    """Units a CPU-second of each round, after one that does not count."""
    work()
    rates = []
    for _ in range(ROUNDS):
        began = time.process_time()
        units = work()
        rates.append(units / (time.process_time() - began))
    return rates


def main(words: int = 400_000) -> None:
    """Measure and print; `words`: size of the generated corpus."""
    import torch

    torch.set_num_threads(1)
    measured: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        corpus = generated(words)
        for name in ("word2vec", "bert-budget", "bert-mini"):
            recipe = replace(find(name), init_embeddings="random", limits=Limits(steps=1_000_000))
            recipe = replace(recipe, batch=replace(recipe.batch, rows=32, micro=None), phases=find("bert-budget").phases)
            tokenizer = train_tokenizer(recipe.tokenizer, corpus)
            turn = iter(range(100))

            def build(tokenizer=tokenizer, turn=turn) -> int:  # type: ignore[no-untyped-def]
                build_store(corpus, tokenizer, Path(folder) / str(next(turn)), held_out=0.01)
                return words

            measured[f"{tokenizer.config.kind}: corpus to store, words"] = rounds(build)
            store = build_store(corpus, tokenizer, Path(folder), held_out=0.01)
            stepper = make(Job(recipe=recipe, store=store, threads=1, device="cpu"), steps=1_000_000, watch=SilentWatch())
            measured[f"{name}: pretraining, tokens"] = rounds(lambda stepper=stepper: stepper.step().tokens)  # type: ignore[misc]
    rows = []
    for name, rates in measured.items():
        low, middle, high = statistics.quantiles(rates, n=4)
        rows.append([name, f"{middle:,.0f}", f"{low:,.0f}–{high:,.0f}"])
    table(["what", "a CPU-second", "quartiles"], rows)
    write_json(Path("runs") / "bench.json", {"machine": machine(), "rates": measured, "words": words})


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000)
