"""Labelled texts of a transfer: read, settled, divided into training and dev, and served as batches by update number."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import msgspec
import numpy as np

from foretext.data.prepared import Prepared
from foretext.draws import generator
from foretext.prediction import HEAD, views
from foretext.tasks.base import Labelled, Source, read_labelled
from foretext.tasks.classify import ClassifyConfig, ClassifyTask, settle, split
from foretext.training.model import Model
from foretext.training.progress import Watch
from foretext.types import JSON, Batch, Ints, Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Training and dev texts in one row of examples: where each stands, `gold` of all, which are for training and which
    are dev."""

    texts: tuple[str, ...]
    places: tuple[Place, ...]
    gold: Ints
    train: Ints
    dev: Ints
    report: Mapping[str, JSON]


def read_data(
    config: ClassifyConfig, train: Source, dev: Source | None, seed: int, watch: Watch
) -> tuple[ClassifyTask, Data]:
    """Read, settle the task on the training texts, find or split off dev; say what was decided."""
    whole = read_labelled(train, text=config.text, label=config.label, header=config.header)
    task = settle(config, whole)
    gold, places = task.gold(whole), _places(whole)
    train_rows: Ints
    dev_rows: Ints
    if dev is not None:
        other = task.read(dev)
        both, dev_rows = _joined(whole, other), np.arange(len(whole), len(whole) + len(other))
        places += _places(other)
        gold, train_rows, how = np.concatenate([gold, task.gold(other)]), np.arange(len(whole)), "given"
    elif config.dev_share > 0:
        both, (train_rows, dev_rows) = whole, split(task, whole, config.dev_share, seed)
        how = f"{config.dev_share:.0%} of the training texts, by label" if len(dev_rows) else "none: too few texts"
    else:
        both, train_rows, dev_rows, how = whole, np.arange(len(whole)), np.zeros(0, np.int64), "none"
    seen = {both.texts[i] for i in train_rows}
    overlap = sum(both.texts[i] in seen for i in dev_rows)
    counts = gold[train_rows].sum(0) if task.multi else np.bincount(gold[train_rows], minlength=len(task.labels))
    report: dict[str, JSON] = {
        "file": whole.file,
        "columns": msgspec.to_builtins(whole.columns),
        "train": len(train_rows),
        "dev": len(dev_rows),
        "dev set": how,
        "dev texts also in train": int(overlap),
        "labels": dict(zip(task.labels, map(int, counts), strict=True)),
        "several labels a text": task.multi,
        "separator": task.separator,
    }
    watch.say(
        f"{len(train_rows):,} training texts, {len(dev_rows):,} dev ({how}), {len(task.labels)} labels"
        + (f", several a text (separator {task.separator!r})" if task.multi else "")
        + (f", columns {whole.columns.text!r} and {whole.columns.label!r}" if whole.file else "")
    )
    if overlap:
        watch.alarm(f"{overlap} dev texts are training texts too: the dev score flatters; remove them from one")
    return task, Data(texts=both.texts, places=places, gold=gold, train=train_rows, dev=dev_rows, report=report)


def _places(labelled: Labelled) -> tuple[Place, ...]:
    return tuple(Place(file=labelled.file, line=line) for line in labelled.lines)


def _joined(first: Labelled, second: Labelled) -> Labelled:
    return replace(
        first,
        texts=first.texts + second.texts,
        labels=first.labels + second.labels,
        lines=first.lines + second.lines,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleBatches:
    """Training batches by update number: the epochs' shuffled examples stand in one endless line, `batch` an update;
    micro-batches hold at most `most_tokens` tokens, and an example's windows stay together."""

    model: Model
    views: Mapping[str, Prepared]
    task: ClassifyTask
    gold: Ints
    rows: Ints
    batch: int
    most_tokens: int
    seed: int

    def step(self, step: int) -> list[Batch]:
        """The micro-batches (numpy) of update `step`."""
        place = np.arange(step * self.batch, (step + 1) * self.batch)
        epoch, within = np.divmod(place, len(self.rows))
        examples = np.concatenate([self._order(int(e))[within[epoch == e]] for e in np.unique(epoch)])
        return list(self.batches(examples))

    def batches(self, examples: Ints) -> Iterator[Batch]:
        """These examples as batches of bounded size, with what the head must say of them."""
        lead = max(self.views.values(), key=lambda view: len(view.ids))
        for group in lead.groups(examples, self.most_tokens):
            seen = views(self.model, self.views, group)
            yield Batch(views=seen.views, targets={HEAD: self.task.target(self.gold[group])})

    def held_out(self, rows: Ints) -> list[Batch]:
        """Fixed batches of dev examples, like lengths together."""
        lead = max(self.views.values(), key=lambda view: len(view.ids))
        return list(self.batches(rows[np.argsort(-lead.example_tokens[rows], kind="stable")])) if len(rows) else []

    def _order(self, epoch: int) -> Ints:
        return self.rows[generator(self.seed, "order", epoch).permutation(len(self.rows))]
