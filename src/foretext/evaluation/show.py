"""Training instances as the model sees them, for people (aligned columns) and for programs (JSON).

Instances come from the very source that training reads, so what is shown is what update 0 would learn from.
"""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import groupby
from shutil import get_terminal_size
from textwrap import wrap

import numpy as np

from foretext.data.windows import Store, make_windows
from foretext.errors import require_whole
from foretext.objectives import make_objectives
from foretext.recipe import Recipe
from foretext.training.source import Batches
from foretext.types import JSON, Batch, Ints, Target

HOW = {"mask": "", "random": "≠", "kept": "="}
LEGEND = (
    "Upper line: what the model reads. Lower line: what it must say there "
    "(≠ where a random token stands instead, = where the token was left as it is)."
)
RELATION = ("B follows A (0)", "B is from another document (1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A place that the masked objective asks for: the token number in the row, the piece and id that stood there, and
    what stands there now: "mask", a "random" piece, or the piece itself ("kept")."""

    at: int
    gold: str
    gold_id: int
    how: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One row without its padding [T]: `pieces` and `ids` as the model reads them; `sequence` numbers the row's
    sequences from 0; `labels`: an objective's answer for each of them."""

    pieces: tuple[str, ...]
    ids: tuple[int, ...]
    sequence: tuple[int, ...]
    position: tuple[int, ...]
    segment: tuple[int, ...] | None = None
    masked: tuple[Asked, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    padding: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Instances:
    """Some rows of update 0."""

    items: tuple[Instance, ...]

    def as_json(self) -> JSON:
        """A list of objects with the fields of `Instance`."""
        return [asdict(item) for item in self.items]

    def text(self, width: int | None = None) -> str:
        """Every row in aligned columns, wrapped at `width` terminal columns (None: the terminal's)."""
        wide = max(40, width or get_terminal_size((100, 24)).columns)
        legend = [*wrap(LEGEND, wide), ""] if any(item.masked for item in self.items) else []
        parts = ["\n".join(_lines(i + 1, item, wide)) for i, item in enumerate(self.items)]
        return "\n".join([*legend, "\n\n".join(parts)])


def instances(recipe: Recipe, store: Store, *, n: int = 3) -> Instances:
    """The first `n` rows that training by `recipe` reads. A family whose loss lives in its own room has no rows: its
    first `n` sentences are shown as it reads them.

    Errors: UsageError when `n` < 1; DataError when the windows cannot be made of this corpus.
    """
    require_whole("n", n)
    if recipe.windows is None:
        return Instances(items=tuple(_sentences(store, n)))
    objectives = make_objectives(recipe.objectives, store.tokenizer)
    windows = make_windows(recipe.windows, recipe.family.template, recipe.seed)
    (batch,) = Batches(store, windows, objectives, rows=n).step(0)
    return Instances(items=tuple(_instance(batch, row, store) for row in range(n)))


def _instance(batch: Batch, row: int, store: Store) -> Instance:
    view, pieces = batch.views["text"], store.tokenizer.pieces
    width = view.ids.shape[1]
    real = int((view.sequence[row] >= 0).sum())
    ids = np.asarray(view.ids[row, :real])
    numbers = np.flatnonzero(np.asarray(view.bounds)[:, 0] == row)
    masked: tuple[Asked, ...] = ()
    labels = {}
    for name, target in batch.targets.items():
        if name == "next_sentence":
            mine = np.isin(np.asarray(target.at), numbers)
            labels[name] = tuple(RELATION[int(g)] for g in np.asarray(target.gold)[mine])
        else:
            masked = _asked(
                target, row * width, row * width + width, ids, pieces, store.tokenizer.special.get("[MASK]")
            )
    return Instance(
        pieces=tuple(pieces[i] for i in ids.tolist()),
        ids=tuple(ids.tolist()),
        sequence=tuple((np.asarray(view.sequence[row, :real]) - numbers[0]).tolist()),
        position=tuple(np.asarray(view.position[row, :real]).tolist()),
        segment=None if view.segment is None else tuple(np.asarray(view.segment[row, :real]).tolist()),
        masked=masked,
        labels=labels,
        padding=width - real,
    )


def _asked(
    target: Target, first: int, last: int, ids: Ints, pieces: Sequence[str], mask: int | None
) -> tuple[Asked, ...]:
    """The target's places within the flat places [first, last) of a row."""
    found = []
    counted = slice(target.count)  # what is left are spare slots
    for at, gold in zip(
        np.asarray(target.at)[counted].tolist(), np.asarray(target.gold)[counted].tolist(), strict=True
    ):
        if first <= at < last:
            seen = int(ids[at - first])
            how = "mask" if seen == mask else "kept" if seen == gold else "random"
            found.append(Asked(at=at - first, gold=pieces[gold], gold_id=gold, how=how))
    return tuple(found)


def _sentences(store: Store, n: int) -> Iterator[Instance]:
    """The first sentences of the training part that have a word."""
    pieces = store.tokenizer.pieces
    for first, last, _ in np.asarray(store.sections(False)).tolist():
        for sentence in range(first, last):
            start, stop = int(store.sentences[sentence]), int(store.sentences[sentence + 1])
            if stop > start:
                ids = [min(int(i), len(pieces) - 1) for i in store.ids[start:stop]]
                yield Instance(
                    pieces=tuple(pieces[i] for i in ids),
                    ids=tuple(ids),
                    sequence=(0,) * len(ids),
                    position=tuple(range(len(ids))),
                )
                n -= 1
                if not n:
                    return


def _lines(number: int, item: Instance, width: int) -> Iterator[str]:
    sequences = item.sequence[-1] + 1
    facts = [f"{len(item.ids)} tokens", f"{sequences} sequence{'s' if sequences > 1 else ''}"]
    facts += [f"{item.padding} places of padding"] * bool(item.padding)
    facts += [f"{len(item.masked)} tokens to predict"] * bool(item.masked)
    yield f"── row {number}: {', '.join(facts)}"
    asked = {one.at: one for one in item.masked}
    segments = item.segment or (0,) * len(item.ids)
    places = range(len(item.ids))
    for sequence, of_sequence in groupby(places, key=lambda i: item.sequence[i]):
        said = [f"{name}: {labels[sequence]}" for name, labels in item.labels.items()]
        for segment, of_segment in groupby(of_sequence, key=lambda i: segments[i]):
            run = list(of_segment)
            span = f"positions {item.position[run[0]]}–{item.position[run[-1]]}"
            name = [f"segment {'AB'[segment]}"] if item.segment is not None else []
            yield f"   {' · '.join([f'sequence {sequence}', *name, span, *said])}"
            said = []
            yield from _wrapped([(item.pieces[i], _below(asked.get(i))) for i in run], width)


def _below(asked: Asked | None) -> str:
    return "" if asked is None else HOW[asked.how] + asked.gold


def _wrapped(pairs: Sequence[tuple[str, str]], width: int) -> Iterator[str]:
    """Two lines of aligned columns, wrapped; the lower one only where it says something."""
    upper, lower, used = "     ", "     ", 5
    for above, below in pairs:
        size = max(columns(above), columns(below))
        if used + size > width and used > 5:
            yield from (line.rstrip() for line in (upper, lower) if line.strip())
            upper, lower, used = "     ", "     ", 5
        upper += above + " " * (size - columns(above) + 1)
        lower += below + " " * (size - columns(below) + 1)
        used += size + 1
    yield from (line.rstrip() for line in (upper, lower) if line.strip())


def columns(string: str) -> int:
    """How many terminal columns a string takes: Chinese characters take two, combining marks none."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in string)
