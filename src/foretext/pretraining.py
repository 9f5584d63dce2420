"""Stage one, end to end: corpus → tokenizer → token store → stepper → run → Pretrained folder.

While it runs, everything lies in OUT.run (settings, tokenizer, checkpoints, log); OUT appears once, whole. What was
planned is written down before the first step, so that a resumed run is the same run.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from foretext.budget import forecast, planned
from foretext.bundle import SOURCE, Pretrained, Provenance, load_pretrained, machine
from foretext.config import differences
from foretext.errors import ArtefactError, UsageError
from foretext.folder import fingerprint, is_sealed, locked, open_sealed, read_json, sealing, work_folder, write_json
from foretext.preflight import require_pretraining
from foretext.recipe import Recipe, from_json, to_json
from foretext.steppers import Job, arrays_of, device_of, make, settled_precision
from foretext.text.store import TokenStore, build_store, default_cache, unigram_entropy
from foretext.text.tokenizers import load_tokenizer, train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch, Watch
from foretext.training.run import Ending, run
from foretext.types import JSON, Corpus, Stepper, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a run is carried out; nothing here changes what is computed, but `threads` may change its last
    bits. `device`: "auto" (cuda where there is one), "cpu" or "cuda". `cache`: the folder of token stores. `workers`:
    processes that encode the corpus; None = by its size, 0 = this one."""

    device: str = "auto"
    threads: int | None = None
    cache: Path | None = None
    workers: int | None = None


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    out: Path,
    *,
    source: Pretrained | None = None,
    limits: Limits | None = None,
    setting: Setting = Setting(),
    watch: Watch | None = None,
    resume: bool = False,
) -> Pretrained:
    """Pretrain `recipe` on `corpus` into the folder `out`, and open it.

    `source`: go on from its weights and vocabulary. `limits` replace the recipe's. `resume` continues an unfinished
    run, to the bit, and is a no-op on a finished one. Errors: `out` exists → UsageError (2); a run of other settings
    or text under way → ArtefactError (4) naming the differences; unusable text → DataError (3); too little memory →
    ResourceError (5) before the first step; stopped by a signal → Preempted (75); a non-finite loss → DivergedError (6).
    """
    out, watch = Path(out), watch or SilentWatch()
    if limits is not None:
        recipe = replace(recipe, limits=limits)
    with locked(out, wait=False):
        if is_sealed(out) and resume:
            return load_pretrained(out)
        work = work_folder(out, resume=resume)
        store = prepare(recipe, corpus, source, setting, watch)
        job = _job(recipe, store, source, setting)
        stepper, plan = _planned(job, corpus, work, watch)
        return _train(job, stepper, plan, out, work, watch)


def _job(recipe: Recipe, store: TokenStore, source: Pretrained | None, setting: Setting) -> Job:
    """The run's ingredients; ResourceError (exit 5) here when they will not fit into memory."""
    job = Job(recipe=recipe, store=store, source=source, device=setting.device, threads=setting.threads)
    on_cpu = not recipe.objectives or device_of(setting.device) == "cpu"
    bf16 = bool(recipe.objectives) and settled_precision(job) == "bf16"
    require_pretraining(recipe, store, bf16=bf16, on_cpu=on_cpu)
    return job


def _train(job: Job, stepper: Stepper, plan: JSON, out: Path, work: Path, watch: Watch) -> Pretrained:
    recipe = job.recipe
    line = unigram_entropy(job.store.counts) if recipe.objectives else None
    ending = run(stepper, work, msgspec.convert(plan["limits"], Limits), watch, unigram=line)
    watch.say(f"writing {out}")
    tokenizer, arrays = arrays_of(job, stepper)
    made = Pretrained(
        recipe=recipe,
        tokenizers={SOURCE: tokenizer},
        arrays=arrays,
        provenance=_provenance(job, plan, ending, line),
    )
    made = made.save(out, curve=work / "log.jsonl")
    shutil.rmtree(work, ignore_errors=True)
    return made


def _provenance(job: Job, plan: JSON, ending: Ending, line: float | None) -> Provenance:
    results = dict(ending.losses)
    if line is not None:
        results["unigram entropy"] = line
    tokens = int(job.store.counts.sum())
    return Provenance(
        corpus=plan["corpus"],
        recipe=plan["recipe_key"],
        source=plan["source"],
        steps=ending.steps,
        epochs=ending.tokens / max(1, tokens),
        tokens=tokens,
        seconds=ending.seconds,
        machine=machine(),
        results=results,
    )


# ── preparing ───────────────────────────────────────────────────────────────────────────────────────────────────────


def tokenizer_for(recipe: Recipe, corpus: Corpus, cache: Path, watch: Watch) -> Tokenizer:
    """The recipe's tokenizer for this corpus: from the cache, where it lies under its content key, or trained now."""
    key = fingerprint(corpus.key, recipe.tokenizer)
    folder = cache / "tokenizers" / key
    with locked(folder):
        if is_sealed(folder):
            try:
                return load_tokenizer(open_sealed(folder, kind="tokenizer").path / "files")
            except ArtefactError as error:
                watch.alarm(f"a cached tokenizer is damaged and will be made anew ({error.message})")
        watch.say(f"training the {recipe.tokenizer.kind} tokenizer")
        tokenizer = train_tokenizer(recipe.tokenizer, corpus)
        with sealing(folder, kind="tokenizer", key=key, replace=True) as draft:
            (draft / "files").mkdir()
            tokenizer.save(draft / "files")
        return tokenizer


def prepare(
    recipe: Recipe, corpus: Corpus, source: Pretrained | None, setting: Setting, watch: Watch
) -> TokenStore:
    """The corpus as a token store (which knows its tokenizer), from the cache or made now."""
    cache = setting.cache or default_cache()
    tokenizer = source.tokenizer if source else tokenizer_for(recipe, corpus, cache, watch)
    watch.say("encoding the corpus")
    store = build_store(corpus, tokenizer, cache, held_out=recipe.held_out, workers=setting.workers, seed=recipe.seed)
    watch.say(f"{len(store.ids):,} tokens, {len(store.documents) - 1:,} documents, vocabulary {tokenizer.size:,}")
    return store


def _planned(job: Job, corpus: Corpus, work: Path, watch: Watch) -> tuple[Stepper, JSON]:
    """The run's Stepper, and what it will do: read back where it was begun, else decided and written down now, before
    the first step."""
    file, recipe = work / "run.json", job.recipe
    source = job.source.key if job.source else ""
    mine = {"corpus": corpus.key, "recipe_key": _lasting_key(recipe), "store": job.store.key, "source": source}
    if file.exists():
        plan = read_plan(file)
        _refuse_other(plan, mine, recipe, file)
        job = replace(job, precision=plan["precision"])
        fresh = not any((work / "checkpoints").glob("step-*"))
        return make(job, steps=plan["steps"], watch=watch, fresh=fresh), plan
    precision = settled_precision(job) if recipe.objectives else None
    stepper, limits, why = planned(replace(job, precision=precision), watch)
    watch.say(why)
    plan = {**mine, "recipe": to_json(recipe), "steps": stepper.total, "precision": precision, "why": why}
    plan.update(machine=machine(), limits=msgspec.to_builtins(limits))
    write_json(file, plan)
    return stepper, plan


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What run.json must hold."""

    corpus: str
    recipe_key: str
    store: str
    source: str
    recipe: dict[str, Any]
    steps: int
    precision: Literal["fp32", "bf16"] | None
    limits: Limits


def read_plan(file: Path) -> JSON:
    """What an unfinished run wrote down before its first step; ArtefactError when it is damaged."""
    plan = read_json(file)
    try:
        steps = msgspec.convert(plan, _Plan).steps
        if steps < 1:
            raise UsageError(f"expected at least one step, found {steps}")
    except (msgspec.ValidationError, UsageError, OverflowError) as error:
        raise ArtefactError(f"not a run's plan: {error}", file=file, remedy="remove the folder and start again") from error
    return plan


def _refuse_other(plan: JSON, mine: Mapping[str, str], recipe: Recipe, file: Path) -> None:
    changed = [name for name in mine if plan.get(name) != mine[name]]
    if not changed:
        return
    before = from_json(plan["recipe"], file=str(file))
    fields = [f"{f}: {a} → {b}" for f, a, b in differences(before, recipe) if not f.startswith(("limits", "cites"))]
    raise ArtefactError(
        f"the unfinished run was begun with another {', '.join(c.removesuffix('_key') for c in changed)}"
        + (f" ({'; '.join(fields)})" if fields else ""),
        file=file,
        remedy="resume with the same one, or remove it and start again",
    )


def _lasting_key(recipe: Recipe) -> str:
    """The recipe's key without its limits: how long, how often looked at, may be left out when resuming."""
    return replace(recipe, limits=Limits()).key()


def dry_run(
    recipe: Recipe,
    corpus: Corpus,
    *,
    source: Pretrained | None = None,
    limits: Limits | None = None,
    setting: Setting = Setting(),
    watch: Watch | None = None,
) -> dict[str, JSON]:
    """What `pretrain` would need: parameters, tokens, epochs, memory, disk, hours; measured by a short trial."""
    watch = watch or SilentWatch()
    recipe = recipe if limits is None else replace(recipe, limits=limits)
    store = prepare(recipe, corpus, source, setting, watch)
    return forecast(_job(recipe, store, source, setting), watch)


def preview(recipe: Recipe, corpus: Corpus, *, setting: Setting = Setting(), watch: Watch | None = None) -> TokenStore:
    """The token store that `pretrain` would train on, for `show`."""
    return prepare(recipe, corpus, None, setting, watch or SilentWatch())
