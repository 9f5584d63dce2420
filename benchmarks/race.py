"""The race: how much sooner ours reaches the held-out loss that the Hugging Face Trainer has when its time is up.

    python -m benchmarks.race --minutes 5

For every seed the Trainer gets a wall-clock budget: its steps are planned by a short trial, so that its schedule ends with
its time. Two peers: its defaults (batch 8, 5e-5, dropout 0.1, fp32), and tuned (batch 32, 1e-3 with a tenth of warm-up, grouped by
length, no dropout, bf16 where the processor multiplies it). Then `bert-budget` runs afresh for longer and longer plans, each with its
own schedule to the end, until one ends at that loss or below; the time of that run counts whole, first vectors included. What
neither side's figure includes: the tokenizer, the store, just-in-time compilation.

Both are scored by one function: the same held-out sequences, 15 % of each masked once, nats a masked token.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import peers
from benchmarks.cells import FOLDER, Cell, cell, load, write
from benchmarks.mlm import MASKED, SIZES
from benchmarks.ours import recipe
from benchmarks.protocol import Channel, Clock, Request, Round, Side
from benchmarks.texts import Material, material, open_material
from foretext.bundle import SOURCE
from foretext.data.batches import to_torch
from foretext.data.windows import make_windows
from foretext.objectives import Masked, MaskedConfig
from foretext.steppers import Job, make
from foretext.text.store import TokenStore
from foretext.training.progress import SilentWatch
from foretext.types import Batch, Ints

GATES = {"defaults": 25.0, "tuned": 7.0}
"""How many times less wall time."""
SHARES = (1 / 40, 1 / 25, 1 / 15, 1 / 10, 1 / 7, 1 / 5, 1 / 3, 1 / 2, 1.0, 2.0)
"""Lengths of our plans, over the peer's budget."""
TRIAL = 12
"""Updates of a trial, the first two not timed."""
Score = Callable[[Any, Any, Any], Any]
"""(ids [R,T], lengths [R], flat places [M]) as tensors → log-probabilities [M,V]."""


# ── one evaluation for both ─────────────────────────────────────────────────────────────────────────────────────────


def held_out(store: TokenStore, length: int, most: int) -> list[Batch]:
    """Up to `most` held-out sequences, one a row, 15 % masked as BERT does; the same for every side and seed."""
    from foretext.data.config import WindowsConfig

    windows = make_windows(WindowsConfig(kind="single", length=length, copies=0), _template(), 0)
    objective = Masked(MaskedConfig(rate=MASKED, most=None), store.tokenizer)
    plan = windows.plan(store, True, 0, 0)
    assert plan is not None, "nothing is held out"
    found = []
    for first in range(0, min(len(plan), most), 32):
        part = plan.select(np.arange(first, min(first + 32, len(plan), most)))
        found.append(objective.prepare(windows.take(store, part), windows.keys(part, 0)))
    return found


def _template() -> Any:
    from foretext.models.bert.config import PAIRS

    return PAIRS


def loss(score: Score, batches: Sequence[Batch]) -> float:
    """Mean nats a masked token."""
    import torch

    total, count = 0.0, 0
    with torch.inference_mode():
        for batch in batches:
            view, target = batch.views["text"], batch.targets["masked"]
            ids, at = torch.from_numpy(np.asarray(view.ids)), torch.from_numpy(np.asarray(target.at))
            sizes = torch.from_numpy(np.asarray(view.bounds)[:, 2] - np.asarray(view.bounds)[:, 1])
            logs_MV = score(ids, sizes, at).float()
            total -= float(logs_MV.gather(1, torch.from_numpy(np.asarray(target.gold))[:, None]).double().sum())
            count += target.count
    return total / count


def score_ours(model: Any) -> Score:
    """Our model, from ids and lengths alone."""
    from foretext.types import Target, TokenBatch

    def score(ids: Any, sizes: Any, at: Any) -> Any:
        import torch

        rows, width = ids.shape
        place = torch.arange(width).expand(rows, width)
        inside = place < sizes[:, None]
        number = torch.arange(rows)
        view = TokenBatch(
            ids=ids,
            sequence=torch.where(inside, number[:, None], -1),
            position=torch.where(inside, place, 0),
            bounds=torch.stack([number, 0 * number, sizes], 1),
        )
        device = next(model.parameters()).device
        batch = to_torch(Batch(views={SOURCE: view}), device)
        target = Target(at=at.to(device), gold=at.to(device), count=len(at))
        return model.head("masked").predict(model.eval()(batch), target).cpu()

    return score


def score_peer(model: Any) -> Score:
    """A BertForMaskedLM."""

    def score(ids: Any, sizes: Any, at: Any) -> Any:
        import torch

        device = next(model.parameters()).device
        mask = (torch.arange(ids.shape[1])[None] < sizes[:, None]).long()
        logits = model.eval()(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        return torch.log_softmax(logits.flatten(0, 1)[at.to(device)].float(), -1).cpu()

    return score


# ── the sides: one round is one whole run ───────────────────────────────────────────────────────────────────────────


def store_of(made: Material) -> TokenStore:
    """The material with a part held out; the peer trains on the same sequences."""
    from benchmarks.texts import as_store

    return as_store(made, held_out=0.05)


def trained_on(store: TokenStore) -> Ints:
    """Numbers of the sequences that are not held out."""
    return np.flatnonzero(~np.asarray(store.held_out))


def ours(spec: dict[str, Any], channel: Channel) -> None:
    """A side: `bert-budget`, planned to last as long as the round is told to."""
    made = open_material(spec["material"])
    store, settled = store_of(made), recipe({**spec, "recipe": "bert-budget"}, made.vocabulary, made.longest)
    batches = held_out(store, made.longest, spec["held_out"])
    job = Job(recipe=settled, store=store, threads=spec["threads"])
    began = time.perf_counter()
    trial = make(replace(job, recipe=replace(settled, init_embeddings="random")), steps=10_000, watch=SilentWatch())
    a_step = _a_step(trial.step)
    make(job, steps=1, watch=SilentWatch())  # compiles the word-vector kernel
    again = time.perf_counter()
    make(job, steps=1, watch=SilentWatch())
    vectors = time.perf_counter() - again
    channel.ready(trial=time.perf_counter() - began, vectors=vectors, step=a_step)
    for request in channel.requests():
        steps = max(1, int((request.seconds - vectors) / a_step))
        clock, tokens = Clock(spec["cuda"]), 0
        running: Any = make(job, steps=steps, watch=SilentWatch())
        for _ in range(steps):
            tokens += running.step().tokens
        done = clock.read(tokens, steps)
        channel.answer(replace(done, extra={"loss": loss(score_ours(running.model), batches)}))


def peer(spec: dict[str, Any], channel: Channel) -> None:
    """A side: the Trainer, planned to last as long as the round is told to."""
    import torch

    peers.quiet()
    torch.set_num_threads(spec["threads"])
    made = open_material(spec["material"])
    store = store_of(made)
    batches = held_out(store, made.longest, spec["held_out"])
    a_step = _peer_run(spec, made, store, TRIAL, timed=True)[1]
    channel.ready(step=a_step)
    for request in channel.requests():
        steps = max(1, int(request.seconds / a_step))
        clock = Clock(spec["cuda"])
        model, _ = _peer_run(spec, made, store, steps)
        done = clock.read(0, steps)
        channel.answer(replace(done, extra={"loss": loss(score_peer(model), batches)}))


def _peer_run(spec: dict[str, Any], made: Material, store: TokenStore, steps: int, *, timed: bool = False) -> tuple[Any, float]:
    """The trained model, and with `timed` seconds a step."""
    from transformers import TrainerCallback

    marks: list[float] = []

    class Marks(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            marks.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        warmup = steps // 10 if spec.get("tuned") else 0
        callbacks = [Marks()] if timed else []
        whole = peers.trainer({**spec, "warmup": warmup}, made, Path(folder), steps=steps, callbacks=callbacks)
        whole.train_dataset = [whole.train_dataset[i] for i in trained_on(store).tolist()]
        whole.train()
    return whole.model, (marks[-1] - marks[2]) / (len(marks) - 3) if timed else 0.0


def _a_step(step: Callable[[], Any]) -> float:
    for _ in range(2):
        step()
    began = time.perf_counter()
    for _ in range(TRIAL - 2):
        step()
    return (time.perf_counter() - began) / (TRIAL - 2)


# ── the comparison ──────────────────────────────────────────────────────────────────────────────────────────────────


def specs(arguments: argparse.Namespace, made: Material, seed: int) -> dict[str, dict[str, Any]]:
    """Sides by name, for one seed."""
    import torch

    from foretext.training.optimizers import fast_bf16

    cuda = torch.cuda.is_available()
    fast = fast_bf16(torch.device("cuda" if cuda else "cpu"))
    common = {
        "size": SIZES[arguments.size]["size"], "material": str(made.folder), "threads": arguments.threads, "masked": MASKED,
        "held_out": arguments.held_out, "seed": seed, "cuda": cuda,
    }
    tuned = {"tuned": True, "precision": "bf16" if fast else "fp32", "rows": 32, "rate": arguments.tuned_rate}
    return {
        "ours": {**common, "run": "benchmarks.race:ours"},
        "defaults": {**common, "run": "benchmarks.race:peer", "precision": "fp32"},
        "tuned": {**common, "run": "benchmarks.race:peer", **tuned},
    }


def race(arguments: argparse.Namespace, made: Material, seed: int, rounds: dict[str, list[Round]]) -> list[dict[str, Any]]:
    """One seed: the peers' losses, and our runs until both are reached."""
    sides = specs(arguments, made, seed)
    budget, found = 60 * arguments.minutes, []
    for name in arguments.peers:
        side = Side(name, sides[name], inline=arguments.inline)
        done = side.round(Request(seconds=budget))
        side.close()
        rounds.setdefault(name, []).append(done)
        print(f"seed {seed}: {name}: {done.extra['loss']:.4f} nats after {done.wall:.0f} s", flush=True)
        found.append({"peer": name, "seed": seed, "target": done.extra["loss"], "peer seconds": done.seconds})
    side = Side("ours", sides["ours"], inline=arguments.inline)
    runs: list[Round] = []
    for share in SHARES[: arguments.plans]:
        runs.append(side.round(Request(seconds=share * budget)))
        print(f"seed {seed}: ours: {runs[-1].extra['loss']:.4f} nats after {runs[-1].wall:.1f} s", flush=True)
        if all(runs[-1].extra["loss"] <= one["target"] for one in found):
            break
    side.close()
    rounds.setdefault("ours", []).extend(runs)
    for one in found:
        first = next((run for run in runs if run.extra["loss"] <= one["target"]), None)
        one["ours seconds"] = first.seconds if first else 0.0
        one["ours loss"] = first.extra["loss"] if first else min(run.extra["loss"] for run in runs)
    return found


def measure(arguments: argparse.Namespace) -> Cell:
    """All seeds."""
    began, before, shape = time.time(), load(), SIZES[arguments.size]
    rounds: dict[str, list[Round]] = {}
    with tempfile.TemporaryDirectory() as folder:
        made = material(
            Path(folder) / "material", source=arguments.text, characters=arguments.characters,
            vocabulary=shape["vocabulary"], share=arguments.share, longest=arguments.length,
        )
        runs = [one for seed in range(arguments.seeds) for one in race(arguments, made, seed, rounds)]
        return cell(
            f"race-{arguments.size}-{arguments.minutes:g}",
            "race",
            config={
                **shape, "minutes": arguments.minutes, "share": arguments.share, "length": arguments.length,
                "threads": arguments.threads, "tuned rate": arguments.tuned_rate, "gates": GATES, "seeds": arguments.seeds,
            },
            data=made.facts(),
            seconds=time.time() - began,
            load=before,
            rounds=rounds,
            facts={"runs": runs},
        )


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell."""
    parser = argparse.ArgumentParser("python -m benchmarks.race", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="the peer's budget")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--size", choices=list(SIZES), default="mini")
    parser.add_argument("--peers", nargs="+", choices=list(GATES), default=list(GATES))
    parser.add_argument("--plans", type=int, default=len(SHARES), help="most runs of ours a seed")
    parser.add_argument("--share", type=float, default=0.41, help="mean length over the maximum")
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tuned-rate", type=float, default=1e-3)
    parser.add_argument("--held-out", type=int, default=512, help="most held-out sequences")
    parser.add_argument("--text", choices=("auto", "wikipedia", "introductions", "zipf"), default="auto")
    parser.add_argument("--characters", type=int, default=20_000_000)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    parser.add_argument("--quick", action="store_true", help="one seed, six seconds, little text")
    arguments = parser.parse_args(given)
    if peers.missing():
        raise SystemExit(f"a race needs its peer; {peers.missing()}")
    if arguments.quick:
        arguments.minutes, arguments.seeds, arguments.characters = 0.1, 1, 1_000_000
    made = measure(arguments)
    write(arguments.out, made)
    return [made]


if __name__ == "__main__":
    main()
