"""Tuning `bert-budget`: named variants under equal CPU budgets, judged by one held-out loss and by transfer.

    python -m benchmarks.recipe --minutes 5 --draws 0            # every variant of benchmarks/recipe.toml, by the loss
    python -m benchmarks.recipe --minutes 5 30 --only base rows-16 length-64
    python -m benchmarks.recipe --quick                          # seconds: does the harness work?

A variant × minutes × seed is a cell: one process, one thread, `--at-once` of them side by side. Minutes are CPU
minutes: what a variant's first vectors and an update cost is measured once (processor time) and gives a fixed number of
updates, the same for every seed, whatever else the machine does meanwhile. Tokenizer and token store are not counted.

What is compared, alike for every variant:
- "loss": nats a masked token on texts kept out of the corpus beforehand, 15 % masked (80/10/10), rows of 128, the same
  texts and masks for each variant of one tokenizer, whatever its own masking rate;
- "nats a character": the same divided by the masked pieces' characters, for vocabularies of different sizes;
- accuracy by features and by fine-tuning with few labels on AG News (or `--task FILE`), the same label draws for all.

Finished cells are sealed JSON files in `--out`; an interrupted run goes on where it was.
"""

import argparse
import contextlib
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.recipe_cells import CORPUS, QUICK, TASK, Plan, Protocol, make, texts
from foretext.cli.output import table
from foretext.config import override, read_toml
from foretext.errors import ArtefactError, ExitCode, ForetextError, UsageError, unknown
from foretext.folder import fingerprint, read_json, write_json
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.types import JSON

VARIANTS = Path(__file__).with_suffix(".toml")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def plans(options: argparse.Namespace, protocol: Protocol, data: Mapping[str, str]) -> list[Plan]:
    """Every cell that was asked for, shortest budget first; within one, seed by seed, so that a look halfway compares
    all variants. UsageError for a variant that is not in the file, or a key that is none of the recipe's."""
    variants = read_toml(options.variants)
    for name in options.only:
        if name not in variants:
            raise unknown("variant", name, variants)
    base = quick_recipe() if options.quick else find("bert-budget")
    chosen = {name: override(base, variants[name], file=options.variants, place=name) for name in options.only or variants}
    return [
        Plan(variant=name, minutes=minutes, recipe=replace(recipe, seed=seed), protocol=protocol, data=data)
        for minutes in sorted(set(options.minutes))
        for seed in range(options.seeds)
        for name, recipe in chosen.items()
    ]


def quick_recipe() -> Recipe:
    """bert-budget so small that a cell takes a second or two."""
    family = {"layers": 2, "width": 32, "heads": 2, "inner": 64}
    return override(find("bert-budget"), {"family": family, "tokenizer": {"size": 300}, "batch": {"rows": 4}})


# ── cells on disk ───────────────────────────────────────────────────────────────────────────────────────────────────


def write(cell: Mapping[str, JSON], file: Path) -> None:
    """{"cell": the record, "seal": its fingerprint}."""
    body = msgspec.to_builtins(cell)
    write_json(file, {"cell": body, "seal": fingerprint(body)})


def read(file: Path, key: str) -> dict[str, Any] | None:
    """The finished cell, or None: missing, failed, damaged or another's, so to be made."""
    try:
        value = read_json(file)
        cell: dict[str, Any] = value["cell"]
        whole = value["seal"] == fingerprint(cell) and cell["key"] == key and not cell.get("failed")
    except (ArtefactError, KeyError, TypeError):
        return None
    return cell if whole else None


def show(todo: Sequence[Plan], out: Path) -> None:
    """A row a variant and budget: means over the seeds that are done, ± their standard deviation."""
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for plan in todo:
        cell = read(out / plan.file, plan.key)
        if cell is not None:
            groups.setdefault((plan.minutes, plan.variant), []).append(cell)
    if not groups:
        return
    names = [n for n in next(iter(groups.values()))[0]["scores"] if n != "masked"]
    rows = []
    best_first = sorted(groups.items(), key=lambda g: (g[0][0], statistics.fmean(c["scores"]["loss"] for c in g[1])))
    for (minutes, variant), cells in best_first:
        figures = []
        for name in names:
            found = [cell["scores"][name] for cell in cells]
            spread = f" ± {statistics.stdev(found):.3f}" if len(found) > 1 else ""
            figures.append(f"{statistics.fmean(found):.3f}{spread}")
        rows.append([f"{minutes:g}", variant, str(len(cells)), f"{cells[0]['steps']:,}", *figures])
    table(["CPU min", "variant", "seeds", "updates", *names], rows)


# ── running ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def work_through(todo: Sequence[Plan], arguments: Sequence[str], at_once: int) -> int:
    """Every plan in a process of its own; how many failed. A signal reaches the processes, which save and end."""
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    waiting, running, failed = list(enumerate(todo)), dict[subprocess.Popen[bytes], Plan](), 0
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                number, plan = waiting.pop(0)
                words = [sys.executable, "-m", "benchmarks.recipe", *arguments, "--cell", plan.key]
                print(f"{number + 1} of {len(todo)}: {plan.variant}, {plan.minutes:g} minutes, seed {plan.recipe.seed}", flush=True)
                running[subprocess.Popen(words, env=environment)] = plan
            for process in [p for p in running if p.poll() is not None]:
                plan = running.pop(process)
                if process.returncode == ExitCode.PREEMPTED:
                    raise KeyboardInterrupt
                failed += process.returncode != 0
            time.sleep(0.05)
    except KeyboardInterrupt:
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()
        sys.exit(ExitCode.PREEMPTED)
    return failed


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.recipe", description=(__doc__ or "").split("\n")[0])
    made.add_argument("--variants", type=Path, default=VARIANTS, help="TOML: a table a variant")
    made.add_argument("--only", nargs="+", default=[], help="these variants of it")
    made.add_argument("--minutes", type=float, nargs="+", default=[5.0], help="CPU minutes of pretraining")
    made.add_argument("--seeds", type=int, default=1)
    made.add_argument("--draws", type=int, default=None, help="label sets a count (2); 0: no transfer")
    made.add_argument("--corpus", default=CORPUS, help="a path, or a data set below FORETEXT_DATA")
    made.add_argument("--task", default=TASK, help="a labelled file, or the AG News folder")
    made.add_argument("--out", type=Path, default=Path("results/cells/recipe"))
    made.add_argument("--work", type=Path, default=Path("runs/recipe"), help="texts, stores, unfinished runs")
    made.add_argument("--at-once", type=int, default=2, help="cells side by side, one thread each")
    made.add_argument("--quick", action="store_true", help="tiny models, texts and tests: does the harness work?")
    made.add_argument("--cell", default="", help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str]) -> int:
    """See the module's first lines."""
    options = parser().parse_args(arguments)
    if options.at_once < 1:
        raise UsageError(f"--at-once: expected a whole number above 0, found {options.at_once}")
    protocol = replace(QUICK if options.quick else Protocol(), corpus=options.corpus, task=options.task)
    if options.draws is not None:
        protocol = replace(protocol, draws=options.draws)
    _, data = texts(protocol, options.work)
    everything = plans(options, protocol, data)
    if options.cell:
        plan = next(plan for plan in everything if plan.key == options.cell)
        command = "python -m benchmarks.recipe " + " ".join(arguments[: list(arguments).index("--cell")])
        write(make(plan, options.work, command), options.out / plan.file)
        return 0
    todo = [plan for plan in everything if read(options.out / plan.file, plan.key) is None]
    failed = work_through(todo, arguments, options.at_once)
    show(everything, options.out)
    return 1 if failed else ExitCode.DONE


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main(sys.argv[1:]))
    except ForetextError as error:
        print(f"benchmarks.recipe: {error.message}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(ExitCode.PREEMPTED)
