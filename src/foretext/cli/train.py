"""`pretrain` and `transfer`: the two stages."""

from collections.abc import Mapping

from foretext import api
from foretext.adapted import Adapted
from foretext.bundle import Pretrained
from foretext.cli import options
from foretext.cli.output import say, size, table, write_json
from foretext.config import assigned
from foretext.errors import UsageError, unknown
from foretext.folder import is_finished
from foretext.pretraining import Setting, dry_run, reopened
from foretext.text.corpus import CorpusConfig, open_corpus
from foretext.training.progress import JsonWatch, RichWatch, Watch
from foretext.types import JSON

TASKS = ("classify",)


def watch_of(label: str, *, json: bool) -> Watch:
    """A live line for people, JSON lines for programs, both on standard error."""
    return JsonWatch() if json else RichWatch(label)


def reading_of(chosen: options.CorpusOptions) -> CorpusConfig:
    """The corpus settings that the command line gave."""
    return CorpusConfig(
        documents=chosen.documents,
        sentences=chosen.sentences,
        encoding_errors=chosen.encoding_errors,
        language=chosen.language,
        text_field=chosen.text_field,
    )


def pretrain(chosen: options.Pretrain) -> None:
    """Run stage one, or say what it would take."""
    recipe = api.settle(
        chosen.recipe,
        config=[chosen.config, assigned(chosen.set)],
        seed=chosen.seed,
        init_embeddings=chosen.init_embeddings,
        minutes=chosen.minutes,
        steps=chosen.steps,
        epochs=chosen.epochs,
    )
    setting = Setting(device=chosen.device, threads=chosen.threads, processes=chosen.processes)
    watch = watch_of(recipe.name, json=chosen.json)
    source = api.source_of(recipe, chosen.from_) if chosen.from_ else None
    if chosen.resume and is_finished(chosen.out):  # its text may be gone
        _made(reopened(recipe, chosen.out, source, api.vectors_of(recipe)), chosen.json)
        return
    corpus = open_corpus(list(chosen.corpus), reading_of(chosen.reading))
    if chosen.dry_run:
        found = dry_run(recipe, corpus, source=source, vectors=api.vectors_of(recipe), setting=setting, watch=watch)
        write_json(found) if chosen.json else table(["what", "how much"], _forecast(found))
        return
    made = api.pretrain(recipe, corpus, chosen.out, source=source, setting=setting, watch=watch, resume=chosen.resume)
    if not chosen.json:
        say(corpus.report().text())
    _made(made, chosen.json)


def _forecast(found: Mapping[str, JSON]) -> list[list[str]]:
    """The forecast's rows for people: sizes in MB, hours as hours or minutes, counts with commas."""
    rows = []
    for name, value in found.items():
        if name.endswith(" bytes"):
            rows.append([name.removesuffix(" bytes"), size(value)])
        elif name == "hours":
            rows.append(["time", f"{value:.1f} hours" if value >= 1 else f"{60 * value:.1f} minutes"])
        else:
            rows.append([name, f"{value:,}" if isinstance(value, int | float) else str(value)])
    return rows


def _made(made: Pretrained, json: bool) -> None:
    origin = made.provenance
    if json:
        write_json({"path": str(made.path), "key": made.key, "steps": origin.steps, "seconds": origin.seconds, **origin.results})
        return
    say(f"{made.path}: {made.recipe.name}, {sum(a.size for a in made.arrays.values()):,} parameters, key {made.key}")
    say(f"  {origin.steps:,} steps, {origin.epochs:.2f} epochs of {origin.tokens:,} tokens, {origin.seconds:,.0f} s")
    for name, value in origin.results.items():
        say(f"  {name}: {value:.4f}" if isinstance(value, float) else f"  {name}: {value}")


def transfer(chosen: options.Transfer) -> None:
    """Run stage two."""
    if len(chosen.arguments) < 3:
        raise UsageError(
            f"expected PRETRAINED… TASK TRAIN, found {' '.join(chosen.arguments) or 'nothing'}",
            remedy="for example: foretext transfer model classify train.csv --out classifier",
        )
    *folders, task, train = chosen.arguments
    if task not in TASKS:
        raise unknown("task", task, TASKS)
    made = api.transfer(
        list(folders),
        train,
        chosen.out,
        how=chosen.how,
        host=chosen.host,
        dev=chosen.dev,
        text=chosen.text,
        label=chosen.label,
        seeds=chosen.seeds,
        keep=chosen.keep,
        config=[chosen.config, assigned(chosen.set)],
        device=chosen.device,
        threads=chosen.threads,
        watch=watch_of(f"transfer {chosen.how}", json=chosen.json),
        resume=chosen.resume,
    )
    _adapted(made, chosen.json)


def _adapted(made: Adapted, json: bool) -> None:
    if json:
        write_json({"path": str(made.path), "key": made.key, "labels": list(made.labels), **dict(made.provenance)})
        return
    say(f"{made.path}, key {made.key}")
    for line in made.lines():
        say(f"  {line}")
