"""Stage one, end to end: corpus → tokenizer → token store → stepper → run → Pretrained folder.

While it runs, everything lies in OUT.run (settings, tokenizer, checkpoints, log); OUT appears once, whole. What was
planned is written down before the first step, so that a resumed run is the same run.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from foretext.bundle import SOURCE, Pretrained, Provenance, load_pretrained, machine
from foretext.config import differences
from foretext.errors import ArtefactError, UsageError
from foretext.folder import fingerprint, is_sealed, locked, open_sealed, read_json, sealing, write_json
from foretext.recipe import Recipe, from_json, to_json
from foretext.steppers import Job, arrays_of, forecast, make, planned_steps
from foretext.text.store import TokenStore, build_store, default_cache, unigram_entropy
from foretext.text.tokenizers import load_tokenizer, train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch, Watch
from foretext.training.run import Ending, run
from foretext.types import JSON, Corpus, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a run is carried out; nothing here changes what is computed, but `threads` may change its last
    bits. `device`: "auto" (cuda where there is one), "cpu" or "cuda". `cache`: the folder of token stores."""

    device: str = "auto"
    threads: int | None = None
    cache: Path | None = None
    workers: int = 0


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
    or text under way → ArtefactError (4) naming the differences; unusable text → DataError (3); stopped by a signal →
    Preempted (75); a non-finite loss → DivergedError (6).
    """
    out, watch = Path(out), watch or SilentWatch()
    if limits is not None:
        recipe = replace(recipe, limits=limits)
    with locked(out, wait=False):
        if is_sealed(out) and resume:
            return load_pretrained(out)
        work = work_folder(out, resume=resume)
        tokenizer = _tokenizer(recipe, corpus, work, source, watch)
        store = _store(recipe, corpus, tokenizer, setting, watch)
        job = _job(recipe, store, source, setting)
        plan = _plan(job, corpus, work, watch)
        return _train(job, plan, corpus, out, work, watch)


def _train(job: Job, plan: JSON, corpus: Corpus, out: Path, work: Path, watch: Watch) -> Pretrained:
    recipe, store = job.recipe, job.store
    stepper = make(job, steps=plan["steps"], watch=watch)
    line = unigram_entropy(store.counts) if recipe.objectives else None
    ending = run(stepper, work, recipe.limits, watch, unigram=line)
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


def work_folder(out: Path, *, resume: bool) -> Path:
    """OUT.run, made or found; UsageError when `out` exists, or a run is under way and `resume` was not asked for."""
    if out.exists():
        raise UsageError("the output folder exists already", file=out, remedy="choose another, or remove it first")
    work = out.with_name(out.name + ".run")
    if work.exists() and not resume:
        raise UsageError(
            "an unfinished run for this folder is there", file=work, remedy="--resume continues it; or remove it first"
        )
    work.mkdir(parents=True, exist_ok=True)
    return work


def _tokenizer(recipe: Recipe, corpus: Corpus, work: Path, source: Pretrained | None, watch: Watch) -> Tokenizer:
    """The source's tokenizer, or the one this run trained before, or one trained now (and kept for resuming)."""
    if source is not None:
        return source.tokenizer
    folder, key = work / "tokenizer", fingerprint(corpus.key, recipe.tokenizer)
    if folder.exists():
        if open_sealed(folder, kind="tokenizer").key != key:
            raise ArtefactError(
                "the unfinished run was begun with another corpus or other tokenizer settings",
                file=work,
                remedy="resume with the same ones, or remove it and start again",
            )
        return load_tokenizer(folder / "files")
    watch.say(f"training the {recipe.tokenizer.kind} tokenizer")
    tokenizer = train_tokenizer(recipe.tokenizer, corpus)
    with sealing(folder, kind="tokenizer", key=key) as draft:
        (draft / "files").mkdir()
        tokenizer.save(draft / "files")
    return tokenizer


def _store(recipe: Recipe, corpus: Corpus, tokenizer: Tokenizer, setting: Setting, watch: Watch) -> TokenStore:
    watch.say("encoding the corpus")
    cache = setting.cache or default_cache()
    store = build_store(corpus, tokenizer, cache, held_out=recipe.held_out, workers=setting.workers, seed=recipe.seed)
    watch.say(f"{len(store.ids):,} tokens, {len(store.documents) - 1:,} documents, vocabulary {tokenizer.size:,}")
    return store


def _job(recipe: Recipe, store: TokenStore, source: Pretrained | None, setting: Setting) -> Job:
    return Job(recipe=recipe, store=store, source=source, device=setting.device, threads=setting.threads)


def _plan(job: Job, corpus: Corpus, work: Path, watch: Watch) -> JSON:
    """What the run will do, fixed before its first step: read back where it was begun, made and written otherwise."""
    file, recipe = work / "run.json", job.recipe
    source = job.source.key if job.source else ""
    mine = {"corpus": corpus.key, "recipe_key": _lasting_key(recipe), "store": job.store.key, "source": source}
    if file.exists():
        plan = read_json(file)
        changed = [name for name in mine if plan.get(name) != mine[name]]
        if changed:
            before = from_json(plan["recipe"], file=str(file))
            fields = "; ".join(f"{f}: {a} → {b}" for f, a, b in differences(before, recipe) if not f.startswith("limits"))
            raise ArtefactError(
                f"the unfinished run was begun with other settings ({', '.join(changed)}{': ' if fields else ''}{fields})",
                file=file,
                remedy="resume with the same ones, or remove it and start again",
            )
        return plan
    steps, reason = planned_steps(job, watch)
    watch.say(reason)
    plan = {**mine, "recipe": to_json(recipe), "steps": steps, "why": reason, "machine": machine()}
    write_json(file, plan)
    return plan


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
    import tempfile

    watch = watch or SilentWatch()
    recipe = recipe if limits is None else replace(recipe, limits=limits)
    with tempfile.TemporaryDirectory() as folder:
        tokenizer = _tokenizer(recipe, corpus, Path(folder), source, watch)
        store = _store(recipe, corpus, tokenizer, setting, watch)
        return forecast(_job(recipe, store, source, setting), watch)
