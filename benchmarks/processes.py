"""`python -m benchmarks.processes`: what sharing an update over processes gives, beside threads in one process.

`bert-budget` (4 × 256, vocabulary 8k, 32 rows of 128 tokens an update) on generated text: tokens a second of wall time
for one process of one thread, one of two threads, and two of one thread; rounds take turns, so a change of the machine's
load meets all alike. The ratio is that of the same round. The losses of the first updates stand below: the same
numbers, to rounding.
"""

import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from benchmarks.__main__ import generated
from foretext.bundle import machine
from foretext.cli.output import say, table
from foretext.folder import write_json
from foretext.recipes import find
from foretext.steppers import Job, make, settled_precision
from foretext.text.store import build_store
from foretext.text.tokenizers import train_tokenizer
from foretext.training.config import Limits
from foretext.training.distributed import Crew
from foretext.training.progress import SilentWatch
from foretext.types import Stepper

ROUNDS = 9
COMPARED = 20
"""Updates whose losses are compared; they also warm up what is timed."""


def seconds(stepper: Stepper, updates: int, threads: int) -> tuple[float, int]:
    """Wall seconds and real tokens of `updates` updates, rank 0 working with `threads` threads."""
    torch.set_num_threads(threads)
    began = time.perf_counter()
    tokens = sum(stepper.step().tokens for _ in range(updates))
    return time.perf_counter() - began, tokens


def main(updates: int = 10, words: int = 400_000) -> None:
    """Measure and print; `updates`: of one round; `words`: size of the generated corpus."""
    corpus = generated(words)
    recipe = replace(find("bert-budget"), init_embeddings="random", limits=Limits(steps=1_000_000))
    with TemporaryDirectory() as folder, Crew(2, threads=1) as crew:
        store = build_store(corpus, train_tokenizer(recipe.tokenizer, corpus), Path(folder), held_out=0.01)
        alone = Job(recipe=recipe, store=store, threads=1, device="cpu")
        precision = settled_precision(alone)
        one, two = (make(job, steps=1_000_000, watch=SilentWatch()) for job in (alone, replace(alone, crew=crew)))
        layouts = {"1 process × 1 thread": (one, 1), "1 process × 2 threads": (one, 2), "2 processes × 1 thread": (two, 1)}
        torch.set_num_threads(1)
        losses = [(one.step().loss, two.step().loss) for _ in range(COMPARED)]
        rates: dict[str, list[float]] = {name: [] for name in layouts}
        for _ in range(ROUNDS):
            for name, (stepper, threads) in layouts.items():
                spent, tokens = seconds(stepper, updates, threads)
                rates[name].append(tokens / spent)
    rows, base = [], rates["1 process × 1 thread"]
    for name, found in rates.items():
        low, middle, high = statistics.quantiles([mine / theirs for mine, theirs in zip(found, base, strict=True)], n=4)
        rows.append([name, f"{statistics.median(found):,.0f}", f"{middle:.2f}", f"{low:.2f}–{high:.2f}"])
    table([f"bert-budget, {precision}", "tokens/s", "ratio", "quartiles"], rows)
    apart = max(abs(a - b) / abs(a) for a, b in losses)
    say(f"losses of {COMPARED} updates in one process and in two: at most {apart:.1e} apart (relative)")
    write_json(
        Path("runs") / "processes.json",
        {"machine": machine(), "precision": precision, "rates": rates, "losses": losses, "updates": updates},
    )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
