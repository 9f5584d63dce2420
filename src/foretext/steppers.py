"""From a recipe and a token store to a Stepper: where families, objectives, windows and the gradient meet."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained, build_model
from foretext.data.windows import make_windows
from foretext.errors import ArtefactError, UsageError, require_whole
from foretext.first_vectors import AUTO, RANDOM, FirstVectors, skipgram, table
from foretext.models.catalog import family, resolve
from foretext.objectives import make_objectives, require_sees
from foretext.recipe import Recipe, from_json, to_json
from foretext.text.store import TokenStore, open_store
from foretext.text.tokenizers import load_tokenizer
from foretext.training.progress import SilentWatch, Watch
from foretext.types import JSON, Arrays, Floats, Stepper, Tokenizer

if TYPE_CHECKING:
    from foretext.training.distributed import Crew
    from foretext.training.gradient import Gradient
    from foretext.training.model import Model
    from foretext.training.ranks import Ranks
    from foretext.training.source import Batches

HELD_OUT_TOKENS = 32_768
"""About how many tokens the fixed held-out set has, at most: a loss good to about 0.03 nats, and the same tokens at
every look; a small model scores them in a second or two."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One pretraining run's ingredients. `device`: "auto", "cpu" or "cuda"; `threads`: of one process, None = all
    processors divided by the processes; `crew`: the other processes, None = there are none."""

    recipe: Recipe
    store: TokenStore
    source: Pretrained | None = None
    first: FirstVectors | None = None
    """A folder's vectors for the embedding matrix, where the recipe starts from one."""
    device: str = "auto"
    threads: int | None = None
    precision: Literal["fp32", "bf16"] | None = None
    """Arithmetic of the run; None = `settled_precision`."""
    crew: "Crew | None" = None
    parts: int | None = None
    """Micro-batches of an update; None = `settled_parts`."""

    @property
    def processes(self) -> int:
        """Processes that share each update."""
        return 1 if self.crew is None else self.crew.size

    @property
    def processors(self) -> int:
        """Processor threads of one process."""
        return processors(self.threads, self.processes)


def require_threads(threads: int | None) -> None:
    """UsageError for a number of threads that nothing can run on."""
    if threads is not None:
        require_whole("threads", threads)


def processors(threads: int | None, processes: int) -> int:
    """Threads of one of `processes` processes: as asked, else its share of the processors, at least 1."""
    import os

    return threads or max(1, len(os.sched_getaffinity(0)) // processes)


def make(job: Job, *, steps: int, watch: Watch, fresh: bool = True) -> Stepper:
    """The Stepper of `job`, `steps` updates long, at its beginning. `fresh=False`: its arrays will be restored from a
    checkpoint, so costly first values are left out."""
    room = family(job.recipe.family.name)
    if room.stepper is not None:
        first = job.first and (job.first.ids, job.first.rows)
        made: Stepper = resolve(room.stepper)(
            job.recipe.family, job.store, seed=job.recipe.seed, threads=job.threads or 1, steps=steps, init=_init(job), first=first
        )
        return made
    return gradient(job, steps=steps, watch=watch, fresh=fresh)


def before(job: Job, folder: Path) -> Stepper | None:
    """What must be run to its end before `make`, with its own files in `folder`; None where there is nothing to do."""
    where = family(job.recipe.family.name).before
    if where is None:
        return None
    found: Stepper | None = resolve(where)(job.recipe.family, job.store, _init(job), folder)
    return found


def steps_per_epoch(job: Job) -> float:
    """Updates that one pass over the training part takes."""
    room = family(job.recipe.family.name)
    if room.stepper is not None:
        one: Stepper = resolve(room.stepper)(
            job.recipe.family, job.store, seed=job.recipe.seed, threads=1, epochs=1.0, init=_init(job)
        )
        return float(one.total)
    return float(_batches(job)[0].steps_per_epoch)


def arrays_of(job: Job, stepper: Stepper) -> tuple[Tokenizer, Arrays]:
    """What the run made, without optimizer state, and the tokenizer of its vocabulary: for word vectors the prefix of
    the lexicon that was trained; where pieces are not ranked, rows that were never reached are zero."""
    own = getattr(stepper, "arrays", None)  # where what is trained is not what is kept, as in GloVe
    arrays = {n: a for n, a in (own() if own else stepper.state().arrays).items() if n.startswith(("encoders.", "heads."))}
    tokenizer = job.store.tokenizer
    table = arrays.get(STATIC_TABLE)
    if table is None:
        return tokenizer, arrays
    missing = tokenizer.size - len(table)
    if missing and len(getattr(tokenizer, "counts", ())):
        lexicon: Any = tokenizer
        tokenizer = lexicon.prefix(tokenizer.size - missing)
    elif missing:
        rows = tokenizer.size - missing  # a tree's nodes are no pieces
        arrays = {n: np.pad(a, [(0, missing), *[(0, 0)] * (a.ndim - 1)]) if len(a) == rows else a for n, a in arrays.items()}
    return tokenizer, arrays


def _init(job: Job) -> Arrays | None:
    return None if job.source is None else job.source.arrays


# ── the gradient ────────────────────────────────────────────────────────────────────────────────────────────────────


def gradient(job: Job, *, steps: int, watch: Watch, fresh: bool = True) -> "Gradient":
    """The gradient stepper over the recipe's objectives; where the job has a crew, its processes build theirs too."""
    from foretext.training.ranks import ALONE

    if job.crew is None:
        return _gradient(job, steps, watch, fresh, ALONE)
    precision, parts = job.precision or settled_precision(job), job.parts or settled_parts(job.recipe, job.processes)
    with TemporaryDirectory(prefix="foretext-") as folder:
        job.store.tokenizer.save(Path(folder))
        ranks = job.crew.lead(
            "foretext.steppers:follow",
            recipe=to_json(job.recipe),
            store=str(job.store.path.absolute()),
            tokenizer=folder,
            threads=job.crew.threads,
            precision=precision,
            parts=parts,
            steps=steps,
        )
        return _gradient(job, steps, watch, fresh, ranks)


def follow(
    ranks: "Ranks",
    *,
    recipe: JSON,
    store: str,
    tokenizer: str,
    threads: int,
    precision: Literal["fp32", "bf16"],
    parts: int,
    steps: int,
) -> "Gradient":
    """In a worker process: the Gradient that rank 0 builds too, whose numbers it will share."""
    opened = open_store(Path(store), load_tokenizer(Path(tokenizer)), verify=False)  # rank 0 has verified it
    job = Job(recipe=from_json(recipe), store=opened, device="cpu", threads=threads, precision=precision, parts=parts)
    return _gradient(job, steps, SilentWatch(), False, ranks)


def _gradient(job: Job, steps: int, watch: Watch, fresh: bool, ranks: "Ranks") -> "Gradient":
    """One data source a phase where phases read other windows."""
    import torch

    from foretext.training.allocator import keep_large_buffers
    from foretext.training.gradient import Gradient
    from foretext.training.phases import PhasedBatches

    torch.set_num_threads(job.processors)
    keep_large_buffers()
    recipe = job.recipe
    model = _model(job, watch, fresh)
    sources = _batches(job)
    held_out = sources[0].held_out_batches(max(1, HELD_OUT_TOKENS // (sources[0].micro * _length(recipe))))
    batches = sources[0] if len(sources) == 1 else PhasedBatches(sources, recipe.phases, steps)
    return Gradient(
        model,
        batches,
        total=steps,
        held_out=held_out,
        optimizer=recipe.optimizer,
        schedule=recipe.schedule,
        phases=recipe.phases,
        precision=job.precision or settled_precision(job),
        compile=recipe.batch.compile,
        seed=recipe.seed,
        device=device_of(job.device),
        ranks=ranks,
    )


def settled_parts(recipe: Recipe, processes: int) -> int:
    """Micro-batches of an update: as few as `batch.micro` allows, and as many for each process."""
    from foretext.training.source import fewest_parts

    rows = recipe.batch.rows
    return min(-(-fewest_parts(rows, recipe.batch.micro) // processes) * processes, rows)


def check_processes(recipe: Recipe, processes: int, device: str) -> None:
    """UsageError where `processes` cannot share the updates of this recipe on this device."""
    require_whole("processes", processes)
    if processes == 1:
        return
    if family(recipe.family.name).stepper is not None:
        raise UsageError(f"{recipe.family.name} trains in one process", remedy="use --threads instead of --processes")
    if device_of(device) != "cpu":
        raise UsageError("several processes share an update on processors only", remedy="add --device cpu, or use one process")
    if processes > recipe.batch.rows:
        raise UsageError(
            f"{processes} processes cannot share an update of {recipe.batch.rows} rows",
            remedy="use fewer processes, or set batch.rows higher",
        )


def settled_precision(job: Job) -> Literal["fp32", "bf16"]:
    """The recipe's, but fp32 on a processor without bf16 instructions, where bf16 products would only be slower."""
    import torch

    from foretext.training.optimizers import fast_bf16

    wanted = job.recipe.batch.precision
    return wanted if wanted == "fp32" or fast_bf16(torch.device(device_of(job.device))) else "fp32"


def device_of(name: str) -> str:
    """"auto" → "cuda" where there is one, else "cpu"; UsageError for a device that is not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        kind = torch.device(name).type
    except RuntimeError as error:
        raise UsageError(f"unknown device {name!r}", remedy="use cpu, cuda or auto") from error
    if kind not in ("cpu", "cuda"):
        raise UsageError(f"device {name!r} is none of those that foretext trains on", remedy="use cpu, cuda or auto")
    if kind == "cuda" and not torch.cuda.is_available():
        raise UsageError("no CUDA device is there", remedy="use --device cpu")
    return name


def _length(recipe: Recipe) -> int:
    assert recipe.windows is not None
    return recipe.windows.length


def _batches(job: Job) -> "list[Batches]":
    from foretext.training.source import Batches

    recipe, tokenizer = job.recipe, job.store.tokenizer
    if recipe.windows is None or not recipe.objectives:
        raise UsageError(f"recipe {recipe.name} has no windows or no objectives", remedy="set [windows] and [objectives]")
    objectives = make_objectives(recipe.objectives, tokenizer)
    kinds = [phase.windows or recipe.windows for phase in recipe.phases]
    longest = max(kind.length for kind in kinds)
    limit = getattr(recipe.family, "positions", None)
    if limit is not None and longest > limit:
        raise UsageError(
            f"windows of {longest} tokens for a model of {limit} positions",
            place="windows.length",
            remedy="set family.positions higher or windows.length lower",
        )
    kinds = kinds[:1] if all(kind == kinds[0] for kind in kinds) else kinds
    # Longer windows keep the rows' number of the recipe, as BERT's second phase does (256 sequences throughout).
    return [
        Batches(
            job.store,
            make_windows(kind, recipe.family.template, recipe.seed),
            objectives,
            rows=recipe.batch.rows,
            micro=recipe.batch.micro,
            parts=job.parts or settled_parts(recipe, job.processes),
        )
        for kind in kinds
    ]


def _model(job: Job, watch: Watch, fresh: bool) -> "Model":
    recipe, store = job.recipe, job.store
    model = build_model(recipe, store.tokenizer.size, tokenizer=store.tokenizer)
    require_sees(make_objectives(recipe.objectives, store.tokenizer), model.encoder(SOURCE).sees)
    if not fresh:
        return model
    if recipe.initial_bias == "unigram":
        for name in recipe.objectives:
            head: Any = model.heads[name]
            if hasattr(head, "set_bias"):
                head.set_bias(log_frequencies(store.counts))
    if job.source is not None:
        # Heads that the source lacks start fresh, with the bias just set.
        _take_over(model, job.source)
        return model
    _set_table(model, job, watch)
    return model


def _set_table(model: "Model", job: Job, watch: Watch) -> None:
    """The embedding matrix's first values, where the recipe does not leave them to the family's own draw."""
    import torch

    recipe, weight = job.recipe, model.encoder(SOURCE).table.weight
    first = job.first
    if first is None and recipe.init_embeddings == AUTO:
        first = skipgram(job.store, weight.shape[1], recipe.seed, watch)
    assert first is not None or recipe.init_embeddings == RANDOM, f"no vectors for {recipe.init_embeddings}"
    if first is not None:
        with torch.no_grad():
            weight.copy_(torch.from_numpy(table(first, len(weight), recipe.family, recipe.seed)))


def _take_over(model: "Model", source: Pretrained) -> None:
    """Load the source's weights: all of the encoder, and every head that both have."""
    fresh = model.arrays()
    other = {n.split(".")[1] for n in source.arrays if n.startswith("heads.")} - set(model.heads)
    given = {n: a for n, a in source.arrays.items() if not (n.startswith("heads.") and n.split(".")[1] in other)}
    missing = {n.split(".")[1] for n in fresh if n.startswith("heads.") and n not in given}
    new_heads = {n: a for n, a in fresh.items() if n.startswith("heads.") and n.split(".")[1] in missing}
    try:
        model.load({**new_heads, **given})
    except ArtefactError as error:
        raise ArtefactError(
            f"the weights to go on from do not fit the recipe: {error.rule}", file=source.path, remedy="use its own recipe"
        ) from error


def log_frequencies(counts: Floats | Any) -> Floats:
    """Log unigram probabilities [V], one added to each count so that unseen tokens stay finite."""
    smooth = np.asarray(counts, np.float64) + 1.0
    found: Floats = np.log(smooth / smooth.sum())
    return found
