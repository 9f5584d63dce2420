"""docs/benchmarks.md from the result cells, and from nothing else.

    python -m benchmarks.render

The same cells give the same document, byte for byte; a test holds the committed one to the committed cells.
"""

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.brown import about
from benchmarks.brown import table as brown_rows
from benchmarks.cells import FOLDER, Cell, read_all
from benchmarks.mlm import GATES, PEAK_GATE
from benchmarks.protocol import ROOT, Round, quartiles, ratios
from foretext.errors import ArtefactError
from foretext.folder import fingerprint, read_json

DOCUMENT = ROOT / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Rendered by `python -m benchmarks.render` from the cells in `results/cells`; do not edit. A cell holds the raw rounds, the
configuration, the machine and the command that made it.

Every side is a process of its own; sides take turns (A, B, …, A, B, …) after a warm-up, five rounds or more. A figure is the
median of the rounds, quartiles in brackets; a ratio is taken round by round, so that both halves met the same load. Real
tokens are tokens that are no padding. A gate is read from the wall clock (a GPU's events where there is one); the CPU column is
the same ratio by CPU-seconds.
"""
NO_GPU = """
## GPU

Untested: no cell was measured on a GPU. The same commands use one where it is there: CUDA events time the rounds, and the table
then names the device and the useful FLOPs as a share of its own GEMM peak.
"""
SECTIONS: Sequence[tuple[str, str]] = (
    ("mlm", "Masked-LM pretraining beside the Hugging Face Trainer"),
    ("race", "Wall time to the Trainer's held-out loss"),
    ("store", "Corpus to token store"),
    ("static", "Word vectors beside gensim and fastText"),
    ("glove", "GloVe: counting and training"),
    ("finetune", "Fine-tuning a classifier"),
    ("processes", "Two processes"),
    ("startup", "Start-up"),
    ("brown", "Perplexity on Brown, beside Bengio et al. 2003"),
    ("rates", "What this machine does"),
)


def render(cells: Sequence[Cell], recipes: Sequence[Mapping[str, Any]] = ()) -> str:
    """The whole document. `recipes`: the cells of `benchmarks.recipe`, which have a form of their own."""
    parts = [HEAD]
    for benchmark, title in SECTIONS:
        mine = sorted((c for c in cells if c.benchmark == benchmark and not c.machine.get("gpu")), key=lambda c: c.name)
        if mine:
            parts.append(f"\n## {title}\n")
            parts.extend(_section(c) for c in mine)
        if benchmark == "race" and recipes:
            parts.extend(["\n## What CPU minutes buy `bert-budget`, and its variants\n\n", *_recipes(recipes)])
    missing = [title for benchmark, title in SECTIONS if not any(c.benchmark == benchmark for c in cells)]
    if missing:
        parts.append("\n## Not measured yet\n\n" + "".join(f"- {title}\n" for title in missing))
    on_gpu = [c for c in cells if c.machine.get("gpu")]
    if on_gpu:
        parts.append("\n## GPU\n")
        parts.extend(_section(c) for c in sorted(on_gpu, key=lambda c: c.name))
    else:
        parts.append(NO_GPU)
    return "".join(parts)


def _section(cell: Cell) -> str:
    known: Mapping[str, Callable[[Cell], Iterable[str]]] = {
        "mlm": _mlm, "race": _race, "startup": _startup, "static": _static, "glove": _glove, "brown": _brown,
    }  # fmt: skip
    body = [f"\n### {cell.name}\n\n", _where(cell), *known.get(cell.benchmark, _plain)(cell)]
    for check in cell.checks:
        verdict = "holds" if check.passed else "**fails**"
        note = f" ({check.note})" if check.note else ""
        body.append(f"- {check.name}{note}: {check.value:.2g}, at most {check.limit:g}: {verdict}\n")
    return "".join(body)


def _where(cell: Cell) -> str:
    machine = cell.machine
    name = machine.get("gpu") or machine["processor"]
    flags = " ".join(machine["flags"]) or "no wide arithmetic"
    torch = cell.versions.get("torch", "–")
    peer = cell.versions.get("transformers")
    loads = [r.load for rounds in cell.rounds.values() for r in rounds]
    lines = [
        f"{name}, {machine['cores']} cores, {flags} · torch {torch}{f', transformers {peer}' if peer else ''} · "
        f"{cell.date[:10]} · load {min([cell.load, *loads]):.1f} to {max([cell.load, *loads]):.1f} · {cell.seconds:.0f} s\n",
        f"`{cell.command}`\n\n",
    ]
    return "  \n".join(line.rstrip("\n") for line in lines) + "\n\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; every column but the first to the right."""
    rule = "|---|" + "---:|" * (len(head) - 1)
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)]) + "\n\n"


def spread(values: Sequence[float], form: str = ",.0f") -> str:
    """Median and, in brackets, the quartiles."""
    low, middle, high = quartiles(values)
    return f"{middle:{form}} ({low:{form}}–{high:{form}})"


def verdict(value: float, least: float, *, measurable: bool = True, why: str = "no AMX") -> str:
    """How a ratio stands to its gate."""
    if not measurable:
        return f"≥ {least:g}: not measurable here ({why})"
    return f"≥ {least:g}: {'reached' if value >= least else '**not reached**'}"


# ── one benchmark each ──────────────────────────────────────────────────────────────────────────────────────────────


def _mlm(cell: Cell) -> Iterable[str]:
    data, config = cell.data, cell.config
    yield (
        f"{config['size']['layers']} layers × {config['size']['width']}, vocabulary {data['vocabulary']:,}, {config['rows']} rows × "
        f"{config['length']}, mean length {100 * data['mean'] / data['longest']:.0f} % of it; {data['source']}; "
        f"{100 * config['masked']:.0f} % masked.\n\n"
    )
    gates = GATES.get(_size(cell), {}) if abs(config["share"] - 0.41) < 0.01 else {}
    threads = sorted({_threads(side) for side in cell.rounds})
    for count in threads:
        sides = {side: cell.rounds[side] for side in config["sides"] if _threads(side) == count}
        ours = sides.get(_at("ours", count))
        peak = _peaks(sides.pop(_at("gemm", count), []))
        rows = []
        for side, rounds in sides.items():
            row = [side, spread([r.rate for r in rounds]), f"{quartiles([r.frugality for r in rounds])[1]:,.0f}"]
            if ours is None or side.startswith("ours"):
                row += ["", "", ""]
            else:
                found = ratios(ours, rounds)
                gate = gates.get(side.removesuffix(f"@{count}"))
                row += [spread(found, ".2f"), f"{quartiles(ratios(ours, rounds, cpu=True))[1]:.2f}"]
                row += [verdict(quartiles(found)[1], gate, measurable=cell.fast_bf16) if gate else ""]
            rows.append(row)
        yield f"{count} thread{'s' if count > 1 else ''} a process\n\n"
        yield table(["side", "real tokens/s", "a CPU-second", "ours ÷ it", "by CPU", "gate"], rows)
        yield from _utilisation(cell, sides, peak, count)


def _utilisation(cell: Cell, sides: Mapping[str, Sequence[Round]], peak: Mapping[str, float], count: int) -> Iterable[str]:
    if not peak:
        return
    rows = []
    for side, rounds in sides.items():
        if side.startswith("ours"):
            precision = cell.facts["sides"].get(side, {}).get("precision", "fp32")
            best = peak["bfloat16" if precision == "bf16" else "float32"]
            done = quartiles([r.rate for r in rounds])[1] * cell.facts["flops a token"] / 1e9
            judged = precision == "bf16" or not cell.fast_bf16  # where there is bf16, the gate is of the bf16 side
            gate = verdict(done / best, PEAK_GATE, measurable=cell.fast_bf16) if judged else ""
            rows.append([side, precision, f"{done:,.1f}", f"{best:,.0f}", f"{100 * done / best:.0f} %", gate])
    yield table(["side", "arithmetic", "useful GFLOP/s", "GEMM peak, GFLOP/s", "share", "gate"], rows)
    yield (
        f"GEMM peak: the best of the model's shapes and a large square, same run; fp32 {peak['float32']:,.0f}, bf16 "
        f"{peak['bfloat16']:,.0f} GFLOP/s. Useful work a real token: {cell.facts['flops a token'] / 1e6:.1f} MFLOP "
        "(`benchmarks/gemm.py` states the formula).\n\n"
    )


def _peaks(rounds: Sequence[Round]) -> dict[str, float]:
    """Best shape's median by type, GFLOP/s."""
    if not rounds:
        return {}
    names = rounds[0].extra
    median = {name: quartiles([r.extra[name] for r in rounds])[1] for name in names}
    return {kind: max(v for n, v in median.items() if n.startswith(kind)) for kind in ("float32", "bfloat16")}


def _race(cell: Cell) -> Iterable[str]:
    rows = []
    for run in cell.facts["runs"]:
        found = run["peer seconds"] / run["ours seconds"] if run["ours seconds"] else 0.0
        rows.append([
            run["peer"], str(run["seed"]), f"{run['target']:.3f}", f"{run['peer seconds']:.0f}",
            f"{run['ours loss']:.3f}" if run["ours seconds"] else "–",
            f"{run['ours seconds']:.1f}" if run["ours seconds"] else "never", f"{found:.1f}" if found else "–",
        ])
    yield (
        f"{cell.config['size']['layers']} layers × {cell.config['size']['width']}; held-out loss in nats at 15 % masked, the same "
        "texts and masks for both, one function. Ours: `bert-budget`, fresh runs planned ever longer until one ends at the peer's "
        "loss or below; its whole time counts, first vectors included.\n\n"
    )
    yield table(["peer", "seed", "its loss", "its s", "our loss", "our s", "ratio"], rows)
    for peer, gate in cell.config["gates"].items():
        mine = [r["peer seconds"] / r["ours seconds"] for r in cell.facts["runs"] if r["peer"] == peer and r["ours seconds"]]
        if mine:
            yield f"- {peer}: {spread(mine, '.1f')} times less, gate {verdict(quartiles(mine)[1], gate)}\n"


def _startup(cell: Cell) -> Iterable[str]:
    rounds = cell.rounds["foretext --help"]
    rows = [["foretext --help", spread([r.cpu for r in rounds], ".3f"), spread([r.wall for r in rounds], ".3f")]]
    yield table(["command", "CPU seconds", "wall seconds"], rows)


def _static(cell: Cell) -> Iterable[str]:
    """Rates, ratios and qualities of each side, and the share of the machine's own limit."""
    ours, gates = cell.rounds["ours"], cell.config["gates"]
    everything = [r for rounds in cell.rounds.values() for r in rounds]
    measures = [name for name in ("WordSim", "SimLex", "analogies") if all(name in r.extra for r in everything)]
    limit, needed = cell.facts.get("peak", 0.0), cell.facts.get("flops a word", 0)
    rows = []
    for side, rounds in cell.rounds.items():
        rate = quartiles([r.rate for r in rounds])[1]
        row = [side, spread([r.rate for r in rounds]), f"{quartiles([r.frugality for r in rounds])[1]:,.0f}"]
        if len(cell.rounds) > 1:
            found, frugal = ratios(ours, rounds), ratios(ours, rounds, cpu=True)
            row += ["", ""] if side == "ours" else [spread(found, ".2f"), f"{quartiles(frugal)[1]:.2f}"]
            row.append(verdict(quartiles(found)[1], gates[side]) if side in gates else "")
        row += [f"{quartiles([r.extra[name] for r in rounds])[1]:.1f}" for name in measures]
        row += [f"{100 * rate * needed / limit:.0f} %"] if needed and limit else []
        rows.append(row)
    compared = ["ours ÷ it", "by CPU", "gate"] if len(cell.rounds) > 1 else []
    bound = ["of the bound"] if needed and limit else []
    yield table(["side", f"{cell.config['unit']}/s", "a CPU-second", *compared, *measures, *bound], rows)
    if bound:
        yield f"- the bound: {needed:,} FLOP a raw word over {limit / 1e9:,.0f} GFLOP/s, the same threads' matrix product in the same run\n"
    for line in cell.facts.get("notes", ()):
        yield f"- {line}\n"


def _glove(cell: Cell) -> Iterable[str]:
    """Rates, the gate by CPU time, the share of the machine's limits, and the vectors' worth."""
    config, facts, training = cell.config, cell.facts, cell.config["part"] == "training"
    yield (
        f"{cell.data['words']:,} words of {cell.data['source']}, vocabulary {facts['sides']['ours']['vocabulary']:,}, window "
        f"{config['window']} to each side, {config['memory']:g} MB to count in"
        + (f"; {facts['sides']['ours']['entries']:,} non-zeros, {config['epochs']:g} epochs a round, x_max {config['x_max']:g}" if training else "")
        + ".\n\n"
    )
    everything = [r for rounds in cell.rounds.values() for r in rounds]
    measures = [n for n in ("WordSim", "SimLex", "analogies", "held-out loss") if all(n in r.extra for r in everything)] if training else []
    rows = []
    for side, rounds in cell.rounds.items():
        frugal = quartiles([r.frugality for r in rounds])[1]
        row = [side, spread([r.rate for r in rounds]), f"{frugal:,.0f}", verdict(frugal, config["gate"]) if side == "ours" else ""]
        if training:
            row += [f"{100 * frugal * facts['flops'] / facts['peak']:.0f} %", f"{100 * frugal * facts['bytes'] / facts['bandwidth']:.0f} %"]
        rows.append(row + [f"{quartiles([r.extra[n] for r in rounds])[1]:.{4 if n == 'held-out loss' else 1}f}" for n in measures])
    bounds = ["of the arithmetic", "of the memory"] if training else []
    yield table(["side", f"{config['unit']}/s", "a CPU-second", "gate", *bounds, *measures], rows)
    if training:
        yield (
            f"- the bounds: {facts['flops']:,} FLOP a non-zero over {facts['peak'] / 1e9:,.0f} GFLOP a CPU-second (a float32 product), "
            f"{facts['bytes']:,} bytes over {facts['bandwidth'] / 1e9:,.1f} GB/s (one array added to another), one thread, same run; above "
            "100 % of the memory a cache held the rows\n"
        )


def _brown(cell: Cell) -> Iterable[str]:
    yield f"{about(cell.facts)} Recipe `{cell.config['recipe']['name']}`, best look at step {cell.facts['best step']:,}.\n\n"
    rows = [[f"{name} ({whose})", dev, test] for whose, name, dev, test in brown_rows(cell.facts)]
    yield table(["model", "dev", "test"], rows)
    spent = [f"{name} {rounds[0].cpu:,.1f} CPU-seconds" for name, rounds in cell.rounds.items()]
    network = f"nnlm {cell.facts['nnlm steps']:,} steps, {cell.facts['nnlm words']:,} words, {cell.facts['nnlm seconds']:,.0f} s by the wall"
    yield f"Trained in: {', '.join([*spent, network])}; one thread, beside whatever else the machine did.\n\n"


def recipe_cells(folder: Path) -> list[dict[str, Any]]:
    """The sealed cells of `benchmarks.recipe`, shortest budget first, then by loss. ArtefactError for a damaged one."""
    found = []
    for file in sorted(folder.glob("*.json")):
        value = read_json(file)
        if value["seal"] != fingerprint(value["cell"]):
            raise ArtefactError("the cell does not match its own seal", file=file, remedy="measure it again")
        found.append(value["cell"])
    return sorted(found, key=lambda cell: (cell["minutes"], cell["scores"]["loss"]))


def _recipes(cells: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    counted = (name.split() for name in cells[0]["scores"] if name.startswith(("features ", "finetune ")))
    scores = [f"{how} {labels}" for how, labels in sorted(counted, key=lambda pair: (pair[0], int(pair[1])))]
    rows = [
        [
            f"{cell['minutes']:g}", cell["variant"], str(cell["seed"]), f"{cell['steps']:,}",
            "resumed" if cell["resumed"] else f"{cell['seconds']['pretraining cpu'] / 60:.1f}",
            f"{cell['tokens'] / 1e6:.1f} M", f"{cell['scores']['loss']:.3f}", f"{cell['scores']['nats a character']:.3f}",
            *(f"{100 * cell['scores'][name]:.1f}" for name in scores),
        ]
        for cell in cells
    ]  # fmt: skip
    protocol = cells[0]["config"]["protocol"]
    yield (
        "Planned CPU minutes of one thread, those that a run took, and the loss: nats a masked token at 15 %, on texts kept out "
        f"beforehand. Then accuracy (%) on {protocol['tests']:,} texts of the task, by features and by fine-tuning with so many labels a "
        f"class, the mean of {protocol['draws']} draws of labels.\n\n"
    )
    yield table(["minutes", "variant", "seed", "updates", "took", "tokens read", "loss", "a character", *scores], rows)
    for where in sorted({f"{c['machine']['processor']}, {' '.join(c['machine']['flags'])} · torch {c['versions']['torch']}" for c in cells}):
        yield f"- {where}\n"
    for command in sorted({cell["command"] for cell in cells}):
        yield f"- `{command}`\n"


def _plain(cell: Cell) -> Iterable[str]:
    """Rates of each side, and ratios of the side "ours" where the cell names a gate."""
    unit, gate = cell.config.get("unit", "units"), cell.config.get("gate")
    ours = cell.rounds.get("ours")
    rows = []
    for side, rounds in cell.rounds.items():
        row = [side, spread([r.rate for r in rounds]), f"{quartiles([r.frugality for r in rounds])[1]:,.0f}"]
        if ours is not None:
            found = ratios(ours, rounds)
            judged = side in cell.config.get("gated", ())
            row += ["" if side == "ours" else spread(found, ".2f")]
            row += [verdict(quartiles(found)[1], gate) if judged else ""]
        rows.append(row)
    yield table(["side", f"{unit}/s", "a CPU-second", *(["ours ÷ it", "gate"] if ours is not None else [])], rows)
    for line in cell.facts.get("notes", ()):
        yield f"- {line}\n"


def _size(cell: Cell) -> str:
    return cell.name.split("-")[1]


def _threads(side: str) -> int:
    return int(side.rpartition("@")[2]) if "@" in side else 1


def _at(side: str, threads: int) -> str:
    return side if threads == 1 else f"{side}@{threads}"


def main(given: Sequence[str] | None = None) -> str:
    """Write the document; `--check` only compares."""
    parser = argparse.ArgumentParser("python -m benchmarks.render", description=__doc__.split("\n\n")[0])
    parser.add_argument("--cells", type=Path, default=FOLDER)
    parser.add_argument("--out", type=Path, default=DOCUMENT)
    parser.add_argument("--check", action="store_true", help="change nothing; exit code 1 where the document is another")
    arguments = parser.parse_args(given)
    text = render(read_all(arguments.cells), recipe_cells(arguments.cells / "recipe"))
    if arguments.check:
        if not arguments.out.is_file() or arguments.out.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{arguments.out} is not what the cells say: run python -m benchmarks.render")
        return text
    arguments.out.write_text(text, encoding="utf-8")
    print(f"wrote {arguments.out}")
    return text


if __name__ == "__main__":
    main()
