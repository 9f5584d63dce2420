"""Masked-LM pretraining beside the Hugging Face Trainer: real tokens a second, same text, pieces, sizes, masking share.

    python -m benchmarks.mlm --size mini --share 0.41

Sides, each a process, in turn: ours as the product settles here (bf16 where the processor multiplies it), ours in fp32;
the Trainer stock in fp32 and bf16, and tuned (bf16, grouped by length, no dropout); each peer also with our allocator
setting ("+kept"), and with two threads ("@2"); the machine's own matrix products. Ours packs rows and trains without
dropout, as its recipes do: that is part of what is compared, and said.
"""

import argparse
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import peers
from benchmarks.cells import FOLDER, Cell, Check, cell, device, figures, load, write
from benchmarks.gemm import useful_flops
from benchmarks.protocol import FEWEST_ON_CUDA, Request, alternate, started
from benchmarks.texts import Material, material

SIZES: Mapping[str, Mapping[str, Any]] = {
    "mini": {"size": {"layers": 4, "width": 256, "heads": 4, "inner": 1024}, "vocabulary": 8192, "rows": 32},
    "base": {"size": {"layers": 12, "width": 768, "heads": 12, "inner": 3072}, "vocabulary": 30522, "rows": 8},
    "tiny": {"size": {"layers": 1, "width": 16, "heads": 2, "inner": 32}, "vocabulary": 400, "rows": 4},
}
"""BERT-mini (Turc et al. 2019) with a vocabulary for little text; BERT-base; one for tests."""
SHARES = (0.20, 0.41, 0.90)
"""Mean length over the maximum: short texts, a mix, running text."""
MASKED = 0.15
RATE = 1e-4
"""Peak learning rate of both sides (no effect on speed)."""
PEERS: Mapping[str, Mapping[str, Any]] = {
    "hf fp32": {"precision": "fp32"},
    "hf bf16": {"precision": "bf16"},
    "hf tuned": {"precision": "bf16", "tuned": True},
    "hf tuned fp32": {"precision": "fp32", "tuned": True},
}
GATES: Mapping[str, Mapping[str, float]] = {
    "mini": {"hf fp32": 14.0, "hf bf16": 9.0, "hf tuned": 4.5},
    "base": {"hf fp32": 8.0, "hf bf16": 4.0},
}
"""Least ratios at mean length 41 %, on two cores with AMX."""
PEAK_GATE = 0.25
"""Least useful FLOPs over the same run's GEMM peak."""


def plan(arguments: argparse.Namespace, made: Material) -> dict[str, dict[str, Any]]:
    """Sides by name, ready to be started."""
    shape = SIZES[arguments.size]
    common = {
        "size": shape["size"],
        "rows": arguments.rows or shape["rows"],
        "masked": MASKED,
        "rate": RATE,
        "material": str(made.folder),
        "seed": arguments.seed,
    }
    sides: dict[str, dict[str, Any]] = {}
    for threads in arguments.threads:
        at = "" if threads == 1 else f"@{threads}"
        ours = {**common, "run": "benchmarks.ours:mlm", "threads": threads}
        sides[f"ours{at}"] = ours
        sides[f"ours fp32{at}"] = {**ours, "precision": "fp32"}
        if arguments.recipe:
            sides[f"ours {arguments.recipe}{at}"] = {**ours, "recipe": arguments.recipe}
        for name, settings in PEERS.items():
            peer = {**common, **settings, "run": "benchmarks.peers:mlm", "threads": threads}
            sides[f"{name}{at}"] = peer
            sides[f"{name}+kept{at}"] = {**peer, "buffers": True}
        tokens = common["rows"] * made.longest
        sides[f"gemm{at}"] = {
            "run": "benchmarks.gemm:measure", "threads": threads, "size": shape["size"], "masked": MASKED,
            "vocabulary": made.vocabulary, "tokens": tokens, "square": arguments.square,
        }
    if peers.missing():
        sides = {name: spec for name, spec in sides.items() if not name.startswith("hf")}
    unknown = set(arguments.sides or ()) - set(sides)
    if unknown:
        raise SystemExit(f"no such side: {', '.join(sorted(unknown))}; there are: {', '.join(sides)}")
    return {name: spec for name, spec in sides.items() if not arguments.sides or name in arguments.sides}


def checks(arguments: argparse.Namespace, spec: dict[str, Any], made: Material) -> list[Check]:
    """What must hold for the speed to count. The curves need bf16 arithmetic, which a processor without it emulates."""
    from benchmarks.ours import packing_error, precision_error

    found = [Check(name="packed = one a row, log-probabilities (fp32)", value=packing_error(spec, made), limit=1e-5)]
    if arguments.curve:
        error = precision_error({**spec, "rate": 1e-3}, made, arguments.curve)
        note = f"{arguments.curve} updates, means of 10, rate 1e-3"
        found.append(Check(name="loss curve bf16 against fp32, relative", value=error, limit=0.01, note=note))
    return found


def measure(arguments: argparse.Namespace) -> Cell:
    """One size and one length mix."""
    shape, began, before = SIZES[arguments.size], time.time(), load()
    with TemporaryDirectory() as folder:
        made = material(
            Path(folder) / "material",
            source=arguments.text,
            characters=arguments.characters,
            vocabulary=shape["vocabulary"],
            share=arguments.share,
            longest=arguments.length,
            seed=arguments.seed,
        )
        sides = plan(arguments, made)
        gpu = device()
        request = Request(seconds=arguments.seconds, steps=max(arguments.steps, FEWEST_ON_CUDA if gpu else 1))
        with started(sides, inline=arguments.inline) as running:
            rounds = alternate(running, request, rounds=arguments.rounds, quiet=arguments.inline)
            facts = {side.name: side.facts for side in running}
        flops = useful_flops(dict(shape["size"]), made.vocabulary, made.mean, made.square, MASKED)
        held = checks(arguments, next(s for n, s in sides.items() if n.startswith("ours")), made)
        config = {
            "size": arguments.size,
            **shape,
            "rows": arguments.rows or shape["rows"],
            "length": arguments.length,
            "share": arguments.share,
            "masked": MASKED,
            "seconds": arguments.seconds,
            "rounds": arguments.rounds,
            "sides": list(sides),
        }
        return cell(
            f"mlm-{arguments.size}-{round(100 * arguments.share)}",
            "mlm",
            config=config,
            data=made.facts(),
            seconds=time.time() - began,
            load=before,
            rounds=rounds,
            facts={"flops a token": flops, "sides": facts, "peer": peers.missing() or "here"},
            checks=held,
            seed=arguments.seed,
            gpu=gpu,
        )


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser("python -m benchmarks.mlm", description=__doc__.split("\n\n")[0])
    found.add_argument("--size", choices=list(SIZES), default="mini")
    found.add_argument("--share", type=float, nargs="+", default=list(SHARES), help="mean length over the maximum, one cell each")
    found.add_argument("--length", type=int, default=128, help="longest sequence, in tokens")
    found.add_argument("--rows", type=int, help="rows of an update, both sides")
    found.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    found.add_argument("--rounds", type=int, default=5)
    found.add_argument("--seconds", type=float, default=5.0, help="of a side's turn")
    found.add_argument("--steps", type=int, default=1, help="least updates of a turn")
    found.add_argument("--sides", nargs="+", help="only these")
    found.add_argument("--recipe", default="", help="one of our recipes as a further side, e.g. bert-budget")
    found.add_argument("--curve", type=int, default=500, help="updates of the bf16 check; 0 = leave it out")
    found.add_argument("--square", type=int, default=2048, help="side of the large product")
    found.add_argument("--text", choices=("auto", "wikipedia", "introductions", "zipf"), default="auto")
    found.add_argument("--characters", type=int, default=6_000_000)
    found.add_argument("--seed", type=int, default=0)
    found.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    found.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    found.add_argument("--quick", action="store_true", help="one thread, short turns, one length mix, few sides")
    return found


def quick(arguments: argparse.Namespace) -> argparse.Namespace:
    """What a few minutes hold."""
    arguments.threads, arguments.seconds, arguments.rounds, arguments.curve = [1], 1.5, 5, 0
    arguments.share, arguments.characters = [0.41], 2_000_000
    arguments.sides = arguments.sides or ["ours", *([] if peers.missing() else ["hf fp32", "hf tuned fp32"]), "gemm"]
    return arguments


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write one cell a length mix."""
    arguments = parser().parse_args(given)
    if arguments.quick:
        arguments = quick(arguments)
    made = []
    for share in arguments.share:
        arguments.share = share
        made.append(measure(arguments))
        write(arguments.out, made[-1])
        print(f"{made[-1].name} · {made[-1].machine['processor']} · {' '.join(made[-1].machine['flags'])}")
        print(figures(made[-1]), flush=True)
    return made


if __name__ == "__main__":
    main()
