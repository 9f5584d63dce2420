"""The main job: every rung of a grid on one corpus and one labelled task, from raw text to one table and one report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from foretext.baselines import BASELINE_RUNGS, names
from foretext.errors import UsageError
from foretext.folder import is_sealed, locked, write_json
from foretext.ladder.cells import Cell, CellFolder, Plan
from foretext.ladder.config import LadderConfig
from foretext.ladder.draw import check_task, rows_of
from foretext.ladder.index import Index, cell_folder, read_ladder, write_index
from foretext.ladder.language import LanguageRow, language_json, language_rows, language_text, masked, needed
from foretext.ladder.plan import Rung, plans, rungs, task_key
from foretext.ladder.rendering import as_csv, as_json, as_text
from foretext.ladder.report import page
from foretext.ladder.table import Table, build, shown
from foretext.ladder.texts import corpus_of, labelled, model_folder
from foretext.ladder.watch import LadderWatch, choose_watch
from foretext.ladder.workers import Crew
from foretext.models.catalog import family
from foretext.tasks.base import Labelled
from foretext.types import JSON

PART = 400
"""Texts encoded at a time by one worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished ladder: its table, its cells, and where everything lies. `language`: rungs as language models."""

    table: Table
    language: tuple[LanguageRow, ...]
    index: Index
    cells: tuple[Cell, ...]
    out: Path
    report: Path

    def text(self) -> str:
        """The tables for a terminal."""
        return _text(self.table, self.language, self.index)

    def as_json(self) -> JSON:
        """The tables for programs, and where the report lies."""
        return {"report": str(self.report), **_json(self.table, self.language)}

    def model(self, rung: str) -> Path:
        """The folder of a rung's pretrained model."""
        key = next(cell.key for cell in self.cells if cell.kind == "pretraining" and cell.rung == rung)
        return self.out / "models" / key


def ladder(config: LadderConfig, out: str | Path, *, watch: LadderWatch | None = None) -> Result:
    """Run every cell of the grid that is not there yet, then write table.txt, table.csv, table.json and report.html.

    Cells found in `out` are not run again; an interrupted ladder goes on where it was. Errors: a corpus, task or rung
    that cannot work is refused before anything runs (UsageError 2, DataError 3); another ladder at work in `out` →
    UsageError; a signal → Preempted (75). A cell that fails is written down, told in the table, and tried again by
    the next run.
    """
    out, watch = Path(out), watch or choose_watch()
    _check(config)
    with locked(out, wait=False):
        try:
            return _run(config, out, watch)
        finally:
            watch.close()


def _run(config: LadderConfig, out: Path, watch: LadderWatch) -> Result:
    found = rungs(config)
    watch.say("reading the corpus and the labelled texts")
    pool, test = labelled(config, config.train), labelled(config, config.test)
    check_task(pool, test, config.labels[-1])
    corpus = corpus_of(config, test)
    made = plans(config, found, corpus.key, task_key(pool, test))
    cells = cell_folder(out)
    todo = [plan for plan in made if not _there(out, cells, plan)]
    write_index(out, _index(config, found, made, pool, test))
    workers = config.workers or len(os.sched_getaffinity(0))
    ahead = _ahead(found, todo, pool, test)
    watch.begin([*ahead, *todo], len(made) - len(todo), config.minutes, workers)
    crew = Crew(config=config, out=out, cells=cells, watch=watch)
    crew.run([plan for plan in todo if plan.kind == "score" and not plan.needs], workers, 1)
    for plan in todo:
        if plan.kind == "pretraining":
            # Timed: it has the machine to itself, or its trial and its seconds would lie.
            crew.run([plan], 1, None)
    ready = {plan.key for plan in made if plan.kind == "pretraining" and cells.find(plan.key)}
    crew.run([plan for plan in ahead if plan.needs in ready], workers, 1)
    crew.run(_heavy_first([plan for plan in todo if plan.needs and needed(plan) <= ready]), workers, 1)
    return render(out)


def _ahead(found: Sequence[Rung], todo: Sequence[Plan], pool: Labelled, test: Labelled) -> list[Plan]:
    """The texts that each contextual rung's features cells will read, in parts, so that workers share the encoding: every
    test text, and every labelled text of a label set, once a rung."""
    made = []
    for rung in found:
        cells = [plan for plan in todo if (plan.rung, plan.how) == (rung.name, "features")]
        if not cells or "contextual" not in family(rung.family.name).can:
            continue
        drawn = sorted({row for plan in cells for row in rows_of(pool, plan.labels, plan.seed)})
        rows = [("test", row) for row in range(len(test.texts))] + [("pool", row) for row in drawn]
        for number, start in enumerate(range(0, len(rows), PART)):
            part = rows[start : start + PART]
            config = {name: [row for where, row in part if where == name] for name in ("test", "pool")}
            plan = replace(cells[0], kind="encoding", labels=0, seed=number, config=config)
            made.append(plan)
    return made


def _there(out: Path, cells: CellFolder, plan: Plan) -> bool:
    """Whether a cell need not be run: it is there and whole, and so is the model that a pretraining leaves."""
    return cells.find(plan.key) is not None and (plan.kind != "pretraining" or is_sealed(model_folder(out, plan.key)))


def _heavy_first(todo: Sequence[Plan]) -> list[Plan]:
    """Long cells first, so that workers end together."""
    tuned = ("finetune", "scratch")
    return sorted(todo, key=lambda plan: (plan.how not in tuned, -plan.labels, plan.rung, plan.how, plan.seed))


def render(out: str | Path) -> Result:
    """Table and report from what is in `out`: its index and its cells, nothing else."""
    out = Path(out)
    index, cells = read_ladder(out)
    table, language = build(cells), tuple(language_rows(cells))
    (out / "table.txt").write_text(_text(table, language, index) + "\n", encoding="utf-8")
    (out / "table.csv").write_text(as_csv(table), encoding="utf-8")
    write_json(out / "table.json", _json(table, language))
    report = out / "report.html"
    report.write_text(page(index, cells), encoding="utf-8")
    return Result(table=table, language=language, index=index, cells=tuple(cells), out=out, report=report)


def _text(table: Table, language: Sequence[LanguageRow], index: Index) -> str:
    labels = as_text(table) if table.rows or not language else "\n".join(table.failures)
    parts = [labels, language_text(language, index.masked)]
    return "\n\n".join(part for part in parts if part)


def _json(table: Table, language: Sequence[LanguageRow]) -> dict[str, JSON]:
    return {**as_json(table), "language": language_json(language)}


def _check(config: LadderConfig) -> None:
    for name in ("corpus", "train", "test"):
        if not getattr(config, name):
            raise UsageError(f"the ladder needs {name}", place=name, remedy=f"set {name} in GRID.toml, or give --{name}")


# ── the words around the table ──────────────────────────────────────────────────────────────────────────────────────


def _index(
    config: LadderConfig, found: Sequence[Rung], made: Sequence[Plan], pool: Labelled, test: Labelled
) -> Index:
    labels = sorted(set(names(pool)))
    return Index(
        keys=tuple(plan.key for plan in made),
        title=config.title,
        command=config.command,
        corpus={"corpus": ", ".join(config.corpus)},
        task={
            "labels": f"{len(labels)}: {', '.join(labels[:20])}{', …' if len(labels) > 20 else ''}",
            "labelled texts": f"{len(pool):,} to draw from, {len(test):,} to test on",
            "seeds": f"{config.seeds} label draws a column",
        },
        about=_about(config, found),
        transductive=not config.hold_out,
        minutes=config.minutes,
        masked=masked(found),
    )


def _about(config: LadderConfig, found: Sequence[Rung]) -> Mapping[str, str]:
    """What each row is, for people; settings are read from the grid, as the cells' configurations are."""
    about = {shown(name, ""): BASELINE_RUNGS[name].about for name in config.baselines if name in BASELINE_RUNGS}
    tuned = config.strategies["finetune"]
    ways = {
        "features": "The network stays as pretrained; a linear classifier is fitted on its averaged vectors.",
        "frozen": "As features, but encoded anew at every step.",
        "finetune": f"The whole network is trained on the labelled texts, {_length(tuned.epochs, tuned.steps)}.",
        "scratch": "The same network with the same tokenizer, never pretrained, trained on the labelled texts as the fine-tuned one is.",
    }
    for rung in found:
        what = f"{family(rung.family.name).about}, {_size(rung)}{_came(rung)}"
        about.update({shown(rung.name, how): f"{what}. {ways[how]}" for how in ways})
        about[rung.name] = f"{what}."
    return about


def _came(rung: Rung) -> str:
    """Where weights made elsewhere came from, and what was done to them here."""
    if rung.source is None:
        return ""
    if not rung.trained:
        return "; weights made elsewhere on other text, taken as they are"
    return f"; weights made elsewhere on other text, pretrained further on this text for {rung.recipe.limits.minutes:g} min"


def _size(rung: Rung) -> str:
    """"4 layers, 256 wide"; of what has no width, its order."""
    layers, width, order = (getattr(rung.family, name, 0) for name in ("layers", "width", "order"))
    return f"{layers} layers, {width} wide" if layers else f"{width} wide" if width else f"order {order}"


def _length(epochs: float | None, steps: int | None) -> str:
    if steps:
        return f"{steps:,} steps"
    return f"{epochs:g} passes" if epochs else "with the default settings of `foretext transfer`"
