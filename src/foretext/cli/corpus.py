"""`check` and `show`: a corpus before any training."""

from foretext import api
from foretext.cli import options
from foretext.cli.output import say, write_json
from foretext.cli.train import reading_of
from foretext.config import assigned
from foretext.errors import DataError
from foretext.text.check import dedupe, examine
from foretext.text.corpus import open_corpus


def check(chosen: options.Check) -> None:
    """The findings; exit 3 when training on this corpus would be wrong."""
    sources, reading = list(chosen.corpus), reading_of(chosen.reading)
    findings = examine(sources, reading)
    write_json(findings.as_json()) if chosen.json else say(findings.text())
    if chosen.dedupe is not None:
        counts = dedupe(open_corpus(sources, reading), chosen.dedupe)
        write_json(counts.as_json()) if chosen.json else say(str(counts))
    if findings.fatal:
        raise DataError(
            "training on this corpus would be wrong", remedy="see the findings marked fatal, and their cures"
        )


def show(chosen: options.Show) -> None:
    """The first instances that the model would see."""
    from foretext.evaluation.show import instances
    from foretext.pretraining import preview

    recipe = api.settle(chosen.recipe, config=[chosen.config, assigned(chosen.set)], seed=chosen.seed)
    store = preview(recipe, open_corpus(list(chosen.corpus), reading_of(chosen.reading)))
    shown = instances(recipe, store, n=chosen.n)
    write_json(shown.as_json()) if chosen.json else say(shown.text())
