"""Stage one, end to end: corpus → tokenizer → token store → stepper → run → Pretrained folder.

While it runs, everything lies in OUT.run (settings, tokenizer, checkpoints, log); OUT appears once, whole. What was
planned is written down before the first step, so that a resumed run is the same run.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from foretext.budget import forecast, planned
from foretext.bundle import SOURCE, Pretrained, Provenance, machine
from foretext.config import override
from foretext.errors import ArtefactError, UsageError
from foretext.extending import with_words
from foretext.first_vectors import matched, require_source, settled
from foretext.folder import (
    fingerprint,
    is_finished,
    is_sealed,
    locked,
    open_sealed,
    sealing,
    work_folder,
    write_record,
)
from foretext.models.catalog import family
from foretext.preflight import require_pretraining
from foretext.recipe import Recipe, to_json
from foretext.resuming import lasting_key, read_plan, refuse_other, same_run
from foretext.steppers import (
    Job,
    arrays_of,
    before,
    check_processes,
    device_of,
    make,
    processors,
    require_threads,
    settled_parts,
    settled_precision,
)
from foretext.text.shards import require_unchanged
from foretext.text.store import TokenStore, build_store, default_cache, unigram_entropy
from foretext.text.tokenizers import load_tokenizer, train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch, Watch
from foretext.training.run import Ending, run
from foretext.types import JSON, Corpus, Stepper, Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Where and how a run is carried out; nothing here changes what is computed, but `threads` and `processes` may
    change its last bits. `device`: "auto" (cuda where there is one), "cpu" or "cuda". `cache`: the folder of token
    stores. `workers`: processes that encode the corpus; None = by its size, 0 = this one. `processes`: how many share
    each update; `threads`: of each of them, None = all processors divided by the processes.

    With dropout, masks follow the split of an update into micro-batches, and a new run is split into at least
    `processes`; it keeps its split when resumed, unless there are more processes then."""

    device: str = "auto"
    threads: int | None = None
    processes: int = 1
    cache: Path | None = None
    workers: int | None = None

    def __post_init__(self) -> None:
        require_threads(self.threads)


def pretrain(
    recipe: Recipe,
    corpus: Corpus,
    out: Path,
    *,
    source: Pretrained | None = None,
    vectors: Pretrained | None = None,
    limits: Limits | None = None,
    setting: Setting = Setting(),
    watch: Watch | None = None,
    resume: bool = False,
) -> Pretrained:
    """Pretrain `recipe` on `corpus` into the folder `out`, and open it.

    `source`: go on from it; network and vocabulary are then its own (`continued`). `vectors`: an opened folder in place
    of what `recipe.init_embeddings` names. `limits` replace the recipe's. `resume` continues an unfinished
    run, to the bit; a finished one of the same recipe and source is opened. Errors: `out` exists → UsageError (2); a run of other settings
    or text under way → ArtefactError (4) naming the differences; unusable text → DataError (3); too little memory →
    ResourceError (5) before the first step; stopped by a signal → Preempted (75); a non-finite loss → DivergedError (6);
    one of several processes died or hangs → PeerLost (7).
    """
    out, watch = Path(out), watch or SilentWatch()
    if limits is not None:
        recipe = replace(recipe, limits=limits)
    require_source(recipe, source, vectors)
    check_processes(recipe, setting.processes, setting.device)
    with locked(out, wait=False):
        if resume and is_finished(out):
            return reopened(recipe, out, source, vectors)
        work = work_folder(out, resume=resume)
        with _job(recipe, corpus, source, vectors, setting, watch) as job:
            spent = _first_phase(job, corpus, work, watch)
            stepper, plan = _planned(job, corpus, work, watch, spent)
            return _train(job, stepper, plan, out, work, watch)


def reopened(recipe: Recipe, out: Path, source: Pretrained | None = None, vectors: Pretrained | None = None) -> Pretrained:
    """What a finished run of `recipe` left in `out`; refused where another run, or no run, made it."""
    return same_run(settled(continued(recipe, source, SilentWatch()), vectors)[0], source, out)


def _first_phase(job: Job, corpus: Corpus, work: Path, watch: Watch) -> float:
    """Run what the family needs before its own steps (GloVe's counting), if it is not there; the seconds it took.

    It has checkpoints of its own, so a signal loses nothing; what it makes stays in the cache for the next run."""
    folder = work / "before"
    stepper = before(job, folder / "files")
    if stepper is None:
        return 0.0
    watch.say(f"a first phase: {job.recipe.family.name} reads {len(job.store.ids):,} tokens")
    identity = {"corpus": corpus.key, "store": job.store.key}
    return run(stepper, folder, Limits(evaluations=0, keep=1), watch, identity=identity).seconds


def _train(job: Job, stepper: Stepper, plan: JSON, out: Path, work: Path, watch: Watch) -> Pretrained:
    recipe = job.recipe
    line = unigram_entropy(job.store.counts) if recipe.objectives else None
    ending = run(stepper, work, msgspec.convert(plan["limits"], Limits), watch, unigram=line, identity=_identity(plan))
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
        init=plan.get("init", {}),
        steps=ending.steps,
        epochs=ending.tokens / max(1, tokens),
        tokens=tokens,
        seconds=ending.seconds,
        machine=machine(),
        results=results,
    )


def continued(recipe: Recipe, source: Pretrained | None, watch: Watch) -> Recipe:
    """`recipe` as it goes on from `source`: the network's shape and the tokenizer are the source's; objectives, windows,
    optimiser, schedule and dropout are the recipe's. A family whose loss lives in its own room keeps its settings, but
    for what the catalog calls its shape. Errors: another family, or windows longer than the source's positions → UsageError."""
    if source is None:
        return recipe
    theirs, mine = source.recipe.family, recipe.family
    if theirs.name != mine.name:
        lend = "encode" in family(theirs.name).can & family(mine.name).can
        raise UsageError(
            f"recipe {recipe.name} trains {mine.name}, the model to go on from is {theirs.name}",
            file=source.path,
            remedy=f"choose a recipe of {theirs.name}" + (", or take its vectors alone with --init-embeddings" if lend else ""),
        )
    shape: Any = theirs
    if family(mine.name).stepper is not None:
        kept = {name: getattr(theirs, name) for name in family(mine.name).shape}
        shape = override(mine, {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()})
    else:
        rates = {name: getattr(mine, name) for name in ("dropout", "attention_dropout") if hasattr(mine, name)}
        shape = override(theirs, rates)
        watch.say(f"the network is the source's: {_sizes(shape)}, {source.tokenizer.size:,} pieces")
    made = replace(recipe, family=shape, tokenizer=source.recipe.tokenizer)
    longest = max((w.length for w in (made.windows, *(phase.windows for phase in made.phases)) if w is not None), default=0)
    limit = getattr(shape, "positions", None)
    if limit is not None and longest > limit:
        raise UsageError(
            f"windows of {longest} tokens for a source of {limit} positions",
            place="windows.length",
            remedy=f"set windows.length to {limit} or less, in every phase",
        )
    return made


def _sizes(shape: Any) -> str:
    return f"{shape.name} {shape.layers} × {shape.width}" if hasattr(shape, "layers") else str(shape.name)


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
        require_unchanged(corpus)
        with sealing(folder, kind="tokenizer", key=key, replace=True) as draft:
            (draft / "files").mkdir()
            tokenizer.save(draft / "files")
        return tokenizer


def _grown(recipe: Recipe, source: Pretrained, corpus: Corpus, watch: Watch) -> Tokenizer:
    """The source's tokenizer; for a family that extends its lexicon, with the corpus's own words after the old ones."""
    if closed := getattr(recipe.family, "closed", ""):
        watch.say(f"words of the corpus that {source.path or 'the source'} lacks stay unknown: {closed}")
        return source.tokenizer
    if not getattr(recipe.family, "extends", False):
        return source.tokenizer
    least = getattr(recipe.family, "min_count", recipe.tokenizer.min_count)
    tokenizer, added = with_words(source.tokenizer, corpus, min_count=least)
    if added:
        watch.say(f"{added:,} words of the corpus are new and follow the {source.tokenizer.size:,} of {source.path or 'the source'}")
    return tokenizer


def prepare(
    recipe: Recipe, corpus: Corpus, source: Pretrained | None, setting: Setting, watch: Watch
) -> TokenStore:
    """The corpus as a token store (which knows its tokenizer), from the cache or made now."""
    cache = setting.cache or default_cache()
    tokenizer = _grown(recipe, source, corpus, watch) if source else tokenizer_for(recipe, corpus, cache, watch)
    watch.say("encoding the corpus")
    store = build_store(corpus, tokenizer, cache, held_out=recipe.held_out, workers=setting.workers, seed=recipe.seed)
    watch.say(f"{len(store.ids):,} tokens, {len(store.documents) - 1:,} documents, vocabulary {tokenizer.size:,}")
    return store


@contextlib.contextmanager
def _job(
    recipe: Recipe, corpus: Corpus, source: Pretrained | None, vectors: Pretrained | None, setting: Setting, watch: Watch
) -> Iterator[Job]:
    """The run's ingredients (what can be refused is refused before the corpus is encoded), with the processes that
    share its updates, for as long as it lasts. ResourceError (exit 5) when they will not fit into memory."""
    recipe, vectors = settled(continued(recipe, source, watch), vectors)
    if source is not None and vectors is not None:
        raise UsageError(
            "a run that goes on from a folder has its embeddings from there",
            place="init_embeddings",
            remedy="give --from or --init-embeddings FOLDER, not both",
        )
    store = prepare(recipe, corpus, source, setting, watch)
    first = matched(vectors, store) if vectors is not None else None
    job = Job(recipe=recipe, store=store, source=source, first=first, device=setting.device, threads=setting.threads)
    on_cpu = not recipe.objectives or device_of(setting.device) == "cpu"
    bf16 = bool(recipe.objectives) and settled_precision(job) == "bf16"
    require_pretraining(recipe, store, bf16=bf16, on_cpu=on_cpu)
    if setting.processes == 1:
        yield job
        return
    from foretext.training.distributed import Crew

    with Crew(setting.processes, threads=processors(setting.threads, setting.processes)) as crew:
        yield replace(job, crew=crew)


def _planned(job: Job, corpus: Corpus, work: Path, watch: Watch, spent: float = 0.0) -> tuple[Stepper, JSON]:
    """The run's Stepper, and what it will do: read back where it was begun, else decided and written down now, before
    the first step. `spent`: seconds that a first phase took from the budget."""
    file, recipe = work / "run.json", job.recipe
    source = job.source.key if job.source else ""
    mine = {"corpus": corpus.key, "recipe_key": lasting_key(recipe), "store": job.store.key, "source": source}
    if file.exists():
        plan = read_plan(file)
        refuse_other(plan, mine, recipe, file)
        job = replace(job, precision=plan["precision"], parts=_parts_again(job, plan.get("parts"), watch))
        fresh = not any((work / "checkpoints").glob("step-*"))
        if plan["recipe"]["limits"] != to_json(recipe)["limits"]:
            watch.say(f"the run keeps the length and the looks that it was begun with: {plan['steps']:,} steps")
        return make(job, steps=plan["steps"], watch=watch, fresh=fresh), plan
    if job.first is not None:
        watch.say(job.first.text)
    init = job.first.report if job.first is not None else {} if job.source is not None else {"from": recipe.init_embeddings}
    precision = settled_precision(job) if recipe.objectives else None
    parts = settled_parts(recipe, job.processes) if recipe.objectives else None
    stepper, limits, why = planned(replace(job, precision=precision, parts=parts), watch, spent)
    watch.say(why)
    plan = {**mine, "recipe": to_json(recipe), "steps": stepper.total, "precision": precision, "parts": parts}
    plan.update(why=why, init=init)
    plan.update(machine=machine(), limits=msgspec.to_builtins(limits))
    write_record(file, plan)
    return stepper, plan


def _identity(plan: JSON) -> dict[str, str]:
    """What a checkpoint of this run must have been made from."""
    return {name: plan[name] for name in ("corpus", "recipe_key", "store", "source")}


def _parts_again(job: Job, before: int | None, watch: Watch) -> int | None:
    """The split of an update that the run was begun with; a finer one where some process would get nothing of it."""
    if before is None or before >= job.processes:
        return before
    parts = settled_parts(job.recipe, job.processes)
    watch.say(f"updates are split into {parts} micro-batches from here on, not {before}: dropout, if any, draws other masks")
    return parts


def dry_run(
    recipe: Recipe,
    corpus: Corpus,
    *,
    source: Pretrained | None = None,
    vectors: Pretrained | None = None,
    limits: Limits | None = None,
    setting: Setting = Setting(),
    watch: Watch | None = None,
) -> dict[str, JSON]:
    """What `pretrain` would need: parameters, tokens, epochs, memory, disk, hours; measured by a short trial."""
    watch = watch or SilentWatch()
    recipe = recipe if limits is None else replace(recipe, limits=limits)
    require_source(recipe, source, vectors)
    check_processes(recipe, setting.processes, setting.device)
    with _job(recipe, corpus, source, vectors, setting, watch) as job:
        return forecast(job, watch)


def preview(recipe: Recipe, corpus: Corpus, *, setting: Setting = Setting(), watch: Watch | None = None) -> TokenStore:
    """The token store that `pretrain` would train on, for `show`."""
    return prepare(recipe, corpus, None, setting, watch or SilentWatch())
