"""Two processes beside one: the product's own command, the same run, steps a second and the losses of every step.

    python -m benchmarks.processes

Each round is a whole `foretext pretrain bert-budget … --processes N`, one thread a process; what counts is the time between
its second logged step and its last, so that neither start-up nor the first vectors do. The losses are compared with those of
one process that adds up the same two halves of every update: products over other rows are rounded otherwise, in bf16 by more
than the limit, and how much that is stands beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.cells import FOLDER, Cell, Check, cell, figures, load, write
from benchmarks.protocol import Round
from benchmarks.texts import documents
from foretext.folder import fingerprint
from foretext.recipes import find

GATE = 1.8
LOSS = 1e-5
"""Largest difference of two losses, relative."""


def run(
    corpus: Path, work: Path, processes: int, arguments: argparse.Namespace, *, halves: bool = False
) -> tuple[Round, list[float]]:
    """One pretraining: its speed in real tokens, and its losses by logged step. `halves`: two micro-batches an update."""
    out = work / f"model-{time.monotonic_ns()}"
    command = [
        *(sys.executable, "-m", "foretext", "pretrain", "bert-budget", str(corpus), "--out", str(out)),
        *("--steps", str(arguments.steps), "--threads", "1", "--json"),
        *(("--processes", str(processes)) if processes > 1 else ()),
    ]
    if halves:
        config = work / "halves.toml"
        config.write_text(f"[batch]\nmicro = {find('bert-budget').batch.rows // 2}\n", encoding="utf-8")
        command += ["--config", str(config)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(work / "cache")}
    before = os.times()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    after = os.times()
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-500:]}")
    lines: list[dict[str, Any]] = [json.loads(line) for line in (out / "training.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    first, last = steps[1], steps[-1]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    speed = Round(
        units=last["tokens"] - first["tokens"],
        wall=last["seconds"] - first["seconds"],
        cpu=cpu,
        steps=last["step"] - first["step"],
        load=load(),
    )
    return speed, [line["loss"] for line in steps]


def _apart(ours: Sequence[float], other: Sequence[float]) -> float:
    return max(abs(a - b) / b for a, b in zip(ours, other, strict=True))


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell."""
    parser = argparse.ArgumentParser("python -m benchmarks.processes", description=__doc__.split("\n\n")[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--characters", type=int, default=4_000_000)
    parser.add_argument("--text", choices=("auto", "wikipedia", "introductions", "zipf"), default="auto")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--quick", action="store_true", help="20 steps, two rounds, little text")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.steps, arguments.rounds, arguments.characters = 20, 2, 300_000
    began, before = time.time(), load()
    rounds: dict[str, list[Round]] = {"ours": [], "one process": []}
    losses: dict[str, list[float]] = {}
    with TemporaryDirectory() as folder:
        source, texts = documents(arguments.text, arguments.characters)
        corpus = Path(folder) / "text.txt"
        corpus.write_text("\n\n".join("\n".join(filter(str.strip, text.splitlines())) for text in texts), encoding="utf-8")
        run(corpus, Path(folder), 1, arguments)  # makes the cached tokenizer and store
        for _ in range(arguments.rounds):
            for name, processes in (("ours", 2), ("one process", 1)):
                speed, losses[name] = run(corpus, Path(folder), processes, arguments)
                rounds[name].append(speed)
        _, halves = run(corpus, Path(folder), 1, arguments, halves=True)
    apart, rounding = (_apart(losses["ours"], other) for other in (halves, losses["one process"]))
    made = cell(
        "processes",
        "processes",
        config={
            "unit": "real tokens", "gate": GATE, "gated": ["one process"], "steps": arguments.steps, "rounds": arguments.rounds,
        },
        data={"source": source, "key": fingerprint(texts)},
        seconds=time.time() - began,
        load=before,
        rounds=rounds,
        facts={"notes": [
            f"`bert-budget` on {source}; \"ours\" is two processes of one thread; CPU-seconds count the whole command",
            f"losses of one process with all rows in one product differ by up to {rounding:.1e}, relative (rounding)",
        ]},
        checks=[Check(name="losses of every logged step, one process with the same halves, relative difference", value=apart, limit=LOSS)],
    )
    write(arguments.out, made)
    print(figures(made))
    return [made]


if __name__ == "__main__":
    main()
