"""`predict` and `evaluate`: classifiers at work."""

import itertools
from pathlib import Path

from foretext import api
from foretext.adapted import Adapted
from foretext.cli import options
from foretext.cli.output import note, one_line, say, write_json
from foretext.errors import UsageError
from foretext.evaluation.report import evaluate as evaluate_adapted
from foretext.tasks.tables import read_texts


def _adapted(folder: str) -> Adapted:
    found = api.load(folder)
    if not isinstance(found, Adapted):
        raise UsageError("expected a classifier, found a pretrained model", file=folder, remedy="make one with foretext transfer")
    return found


def predict(chosen: options.Predict) -> None:
    """A line a text: the label, its probability, the text."""
    model = _adapted(chosen.adapted)
    task = model.task
    texts, again = itertools.tee(read_texts(chosen.file, text=chosen.text, header=task.config.header, usual=task.columns))
    for prediction, text in zip(model.stream(texts), again, strict=True):
        if chosen.json:
            write_json({"labels": prediction.labels, "probabilities": prediction.probabilities, "text": text})
        else:
            say(f"{'|'.join(prediction.labels)}\t{prediction.probability:.4f}\t{one_line(text)}")
    _note_limits(model)


def _note_limits(model: Adapted) -> None:
    """Texts that were longer than a source reads at once are never passed over in silence."""
    for name, tally in model.tallies.items():
        if tally.long:
            note(f"source {name}: {tally}")


def evaluate(chosen: options.Evaluate) -> None:
    """Scores with intervals on a labelled file."""
    model = _adapted(chosen.adapted)
    report = evaluate_adapted(model, Path(chosen.test), text=chosen.text, label=chosen.label)
    for remark in report.picture(chosen.picture) if chosen.picture is not None else []:
        note(remark)
    if chosen.json:
        write_json(report.as_json())
    else:
        say(report.text())
    _note_limits(model)
