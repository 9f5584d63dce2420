"""`ladder` and `demo`: every rung on one text and one labelled file, under equal budgets."""

from collections.abc import Sequence
from dataclasses import replace

from foretext.cli import options
from foretext.cli.output import say, write_json
from foretext.config import override
from foretext.demo import demo as run_demo
from foretext.errors import UsageError, failure
from foretext.ladder import CONTINUE, LadderConfig, Origin, Result, read_grid
from foretext.ladder import ladder as run_ladder


def ladder(chosen: options.Ladder) -> None:
    """Run (or continue) a ladder: a table on standard output, a report in the folder."""
    config = read_grid(chosen.grid) if chosen.grid is not None else LadderConfig()
    given = {
        "corpus": list(chosen.corpus),
        "train": str(chosen.train) if chosen.train else None,
        "test": str(chosen.test) if chosen.test else None,
        "rungs": list(chosen.rungs),
        "minutes": chosen.minutes,
        "labels": list(chosen.labels),
        "seeds": chosen.seeds,
    }
    config = override(config, {name: value for name, value in given.items() if value not in (None, [])})
    sources = {**_named(chosen.from_, ""), **_named(chosen.continued, CONTINUE)}
    if sources:
        rungs = (*config.rungs, *(name for name in sources if name not in config.rungs))
        config = replace(config, rungs=rungs, sources={**config.sources, **sources})
    if not config.corpus or not config.train or not config.test:
        raise UsageError("a ladder needs a corpus, a train file and a test file", remedy="give GRID.toml, or --corpus --train --test")
    result = run_ladder(config, chosen.out)
    write_json(result.as_json()) if chosen.json else say(result.text())
    _require_all_cells(result)


def _require_all_cells(result: Result) -> None:
    """A table that lacks cells because some failed is no success, whatever else it shows."""
    failed = [cell for cell in result.cells if cell.failed]
    if failed:
        planned = len(result.index.keys)
        lost = planned - len(result.cells) + len(failed)  # what needed a failed pretraining was never run
        raise failure(
            failed[0].code,
            f"{lost} of {planned} cells failed, or need one that did; the table says why",
            file=result.report,
            remedy="the same command tries them again",
        )


def _named(given: Sequence[str], recipe: str) -> dict[str, Origin]:
    """NAME=PATH as rungs of weights that exist."""
    found = {}
    for one in given:
        name, sign, path = one.partition("=")
        if not name or not sign or not path:
            raise UsageError(f"expected NAME=PATH, found {one!r}", remedy="for example --from minilm=models/minilm")
        found[name] = Origin(path=path, recipe=recipe)
    return found


def demo(chosen: options.Demo) -> None:
    """The ladder on the text that the demo's package carries."""
    _require_all_cells(run_demo(chosen.out, full=chosen.full))
