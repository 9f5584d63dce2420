"""`ladder` and `demo`: every rung on one text and one labelled file, under equal budgets."""

from dataclasses import replace

from foretext.cli import options
from foretext.cli.output import say, write_json
from foretext.config import override, read_toml
from foretext.demo import demo as run_demo
from foretext.errors import UsageError
from foretext.ladder import LadderConfig
from foretext.ladder import ladder as run_ladder


def ladder(chosen: options.Ladder) -> None:
    """Run (or continue) a ladder: a table on standard output, a report in the folder."""
    config = LadderConfig()
    if chosen.grid is not None:
        config = override(config, read_toml(chosen.grid), file=chosen.grid)
    given = {
        "corpus": chosen.corpus,
        "train": str(chosen.train) if chosen.train else None,
        "test": str(chosen.test) if chosen.test else None,
        "rungs": chosen.rungs,
        "minutes": chosen.minutes,
        "labels": chosen.labels,
        "seeds": chosen.seeds,
    }
    config = replace(config, **{name: value for name, value in given.items() if value not in (None, ())})
    if not config.corpus or not config.train or not config.test:
        raise UsageError("a ladder needs a corpus, a train file and a test file", remedy="give GRID.toml, or --corpus --train --test")
    result = run_ladder(config, chosen.out)
    write_json(result.as_json()) if chosen.json else say(result.text())


def demo(chosen: options.Demo) -> None:
    """The ladder on the text that the demo's package carries."""
    run_demo(chosen.out, full=chosen.full)
