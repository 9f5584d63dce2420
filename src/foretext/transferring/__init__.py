"""Stage two, end to end: pretrained sources + labelled texts → seeds of one strategy → an Adapted folder.

While it runs, everything lies in OUT.run: the plan, and a folder a seed with its checkpoints, log and result; OUT
appears once, whole. A seed that is done is not done again.
"""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import msgspec

from foretext.adapted import Adapted, load_adapted, moved
from foretext.bundle import SOURCE, Pretrained, machine
from foretext.errors import ArtefactError, UsageError
from foretext.features import Remember
from foretext.folder import fingerprint, is_finished, locked, read_record, work_folder, write_record
from foretext.models.catalog import require
from foretext.preflight import require_transfer
from foretext.steppers import device_of, require_threads
from foretext.strategies import StrategyConfig
from foretext.tasks.base import Source
from foretext.tasks.classify import ClassifyConfig
from foretext.training.progress import SilentWatch, Watch
from foretext.transferring.bench import Bench, weights_key
from foretext.transferring.data import read_data
from foretext.transferring.seeds import keep_seeds, run_seed, spread, told


def transfer(
    sources: Mapping[str, Pretrained] | Pretrained,
    task: ClassifyConfig,
    train: Source,
    dev: Source | None = None,
    strategy: StrategyConfig = StrategyConfig(),  # noqa: B008 — frozen
    *,
    out: Path | None = None,
    seeds: int = 1,
    seed: int = 0,
    keep: Literal["best", "ensemble"] = "best",
    watch: Watch | None = None,
    resume: bool = False,
    device: str = "auto",
    threads: int | None = None,
    remember: Remember | None = None,
) -> Adapted:
    """Train a classifier on top of `sources`, `seeds` times, and keep the best or all of them.

    `remember`: where the vectors of `how = "features"` come from; None = the cache folder. On a processor without bf16
    instructions bf16 is computed as fp32, since it would only be slower there.

    Without `dev` a stratified part of `train` is set aside (`task.dev_share`). `resume` continues an unfinished run and
    is a no-op on a finished one. Errors: `out` exists → UsageError (2); a run of other settings or texts under way →
    ArtefactError (4); unusable labels → DataError (3); stopped → Preempted (75); every seed diverged → DivergedError (6).
    """
    for source in [sources] if isinstance(sources, Pretrained) else sources.values():
        require(source.recipe.family.name, "finetune", "transfer")
    if seeds < 1:
        raise UsageError(f"seeds: expected at least 1, found {seeds}")
    watch = watch or SilentWatch()
    named = {SOURCE: sources} if isinstance(sources, Pretrained) else dict(sources)
    device = _device(device, threads)
    strategy = settled_precision(strategy, device)
    if out is None:
        with tempfile.TemporaryDirectory(prefix="foretext-") as folder:
            return _transfer(named, task, train, dev, strategy, seeds, seed, keep, watch, device, Path(folder), remember)
    out = Path(out)
    with locked(out, wait=False):
        if resume and is_finished(out):
            return load_adapted(out)
        work = work_folder(out, resume=resume)
        made = _transfer(named, task, train, dev, strategy, seeds, seed, keep, watch, device, work, remember)
        watch.say(f"writing {out}")
        saved = made.save(out)
        shutil.rmtree(work, ignore_errors=True)
        return saved


def _transfer(
    sources: Mapping[str, Pretrained],
    task_config: ClassifyConfig,
    train: Source,
    dev: Source | None,
    strategy: StrategyConfig,
    seeds: int,
    seed: int,
    keep: Literal["best", "ensemble"],
    watch: Watch,
    device: str,
    work: Path,
    remember: Remember | None,
) -> Adapted:
    started = time.monotonic()
    task, data = read_data(task_config, train, dev, seed, watch)
    require_transfer(sources, strategy, on_cpu=device == "cpu")
    bench = Bench(sources, task, data, strategy, watch, device, remember)
    _check_plan(work / "run.json", bench, seeds, seed)
    done = [run_seed(bench, seed + i, work, watch) for i in range(seeds)]
    kept = keep_seeds(done, keep, watch, bench.metric)
    members = tuple(result.arrays for result in kept)
    provenance = {
        "data": dict(data.report),
        "limits": bench.limit_report,
        "metric": bench.metric,
        "seeds": [told(result) for result in done],
        "kept": [result.seed for result in kept],
        "dev": spread(done),
        "majority": bench.majority,
        "mix": bench.mix_weights(members[0]),
        "seconds": time.monotonic() - started,
        "machine": machine(),
    }
    for name, shares in bench.mix_weights(members[0]).items():
        watch.say(f"layers of {name}, bottom to top: {' '.join(f'{share:.2f}' for share in shares)}")
    settled_sources = {name: moved(source, members[0], name) for name, source in sources.items()}
    heads_only = {name: array for name, array in members[0].items() if name.startswith("heads.")}
    return Adapted(
        sources=settled_sources,
        task=task,
        settled=bench.settled,
        members=(heads_only, *members[1:]),
        provenance=provenance,
    )


# ── the run's folder ────────────────────────────────────────────────────────────────────────────────────────────────


def _check_plan(file: Path, bench: Bench, seeds: int, seed: int) -> None:
    """Write down what decides the numbers, or compare with what an unfinished run wrote."""
    plan = {
        "sources": {name: weights_key(source) for name, source in bench.sources.items()},
        "texts": fingerprint(*bench.data.texts, bench.data.gold.tobytes(), bench.data.train.tobytes()),
        "task": msgspec.to_builtins(bench.task),
        "strategy": msgspec.to_builtins(bench.settled),
        "seed": seed,
    }
    if file.exists():
        before = read_record(file)
        if not isinstance(before, dict):
            raise ArtefactError(f"not a run's plan: {type(before).__name__}", file=file, remedy="remove the folder and start again")
        changed = [name for name, value in plan.items() if fingerprint(before.get(name)) != fingerprint(value)]
        if changed:
            raise ArtefactError(
                f"the unfinished run was begun with other settings: {', '.join(changed)}",
                file=file,
                remedy="resume with the same ones, or remove it and start again",
            )
        return
    write_record(file, plan)


def settled_precision(strategy: StrategyConfig, device: str) -> StrategyConfig:
    """The strategy, in fp32 where the device has no bf16 instructions."""
    import torch

    from foretext.training.optimizers import fast_bf16

    slow = strategy.precision == "bf16" and not fast_bf16(torch.device(device))
    return replace(strategy, precision="fp32") if slow else strategy


def _device(device: str, threads: int | None) -> str:
    import torch

    require_threads(threads)
    if threads is not None:
        torch.set_num_threads(threads)
    return device_of(device)
