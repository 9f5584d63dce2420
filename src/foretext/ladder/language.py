"""Rungs that predict text: their perplexity on the grid's test texts, in a table of its own beside the table of labels.

One text, so that rungs can be compared; one vocabulary, or they cannot: what a vocabulary lacks is one word to it, and
the fewer words it has, the easier its text. Rows of another vocabulary stand under a line of their own. Two rungs of one
vocabulary are mixed too (Bengio et al. 2003, table 1, shows what that gains). Masked models have no row: what they give
is no probability of a text (`evaluation.language`).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np

from foretext.folder import fingerprint
from foretext.ladder.cells import Cell, Plan, done
from foretext.ladder.machine import circumstances
from foretext.ladder.rendering import count_text, seconds_text, set_out, wrapped
from foretext.ladder.texts import model_folder
from foretext.models.catalog import family
from foretext.text.sentences import Language as SentenceRules
from foretext.text.strings import strings_corpus
from foretext.types import JSON

if TYPE_CHECKING:
    from foretext.ladder.plan import Rung

KIND: Literal["language"] = "language"
TITLE = "Predicting text"
HEAD = ("rung", "perplexity", "nats a {unit}", "bits a character", "unknown", "pretraining", "numbers")


# ── cells ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def language_plans(found: "Sequence[Rung]", pretraining: Mapping[str, Plan], data: JSON) -> list[Plan]:
    """A cell for each rung that reads from left to right, and one for each two of them that have one vocabulary."""
    rungs = [rung for rung in found if family(rung.family.name).scorer is not None]
    made = [Plan(kind=KIND, rung=rung.name, data=data, needs=pretraining[rung.name].key) for rung in rungs]
    for one, other in combinations(rungs, 2):
        if _vocabulary(one) == _vocabulary(other):
            config = {"rungs": [one.name, other.name], "with": pretraining[other.name].key}
            name = f"{one.name} + {other.name}"
            made.append(Plan(kind=KIND, rung=name, data=data, needs=pretraining[one.name].key, config=config))
    return made


def masked(found: "Sequence[Rung]") -> tuple[str, ...]:
    """The rungs that score text only by masking it."""
    rows = [(rung.name, family(rung.family.name)) for rung in found]
    return tuple(name for name, row in rows if "score" in row.can and row.scorer is None)


def needed(plan: Plan) -> set[str]:
    """Keys of the pretraining cells that a cell starts from."""
    config = plan.config if isinstance(plan.config, Mapping) else {}
    return {plan.needs, *([config["with"]] if plan.kind == KIND and "with" in config else [])} - {""}


def _vocabulary(rung: "Rung") -> str:
    """Equal where two rungs will have the same tokenizer, as far as can be told before they are pretrained."""
    if rung.source is None:
        return fingerprint(msgspec.to_builtins(rung.recipe.tokenizer))
    return fingerprint(rung.name) if rung.trained else rung.source.tokenizer.key  # a vocabulary that goes on may grow


def language_cell(plan: Plan, out: Path, texts: Sequence[str], language: SentenceRules) -> Cell:
    """What one rung, or two and their mixture, make of `texts`."""
    from foretext.bundle import load_pretrained
    from foretext.evaluation.language import crossed, perplexity

    start = time.perf_counter()
    pair = plan.config["rungs"] if plan.config else [plan.rung]
    keys = [plan.needs, *([plan.config["with"]] if plan.config else [])]
    models = [load_pretrained(model_folder(out, key)) for key in keys]
    if len(models) == 1:
        found = perplexity(models, strings_corpus(texts, language=language), names=pair)
    else:
        halves = strings_corpus(texts[::2], language=language), strings_corpus(texts[1::2], language=language)
        found = crossed(models, halves, names=pair)
    nats = found.nats[0] if found.mixture is None else found.mixture
    scores = {"nats": nats, "perplexity": float(np.exp(-nats)), "bits a character": found.bits(nats)}
    config = models[0].recipe.tokenizer
    return done(
        plan,
        seconds={"perplexity": time.perf_counter() - start},
        scores=scores if found.weight is None else {**scores, "weight": found.weight},
        parameters=int(sum(array.size for model in models for array in model.arrays.values())),
        notes={
            "vocabulary": models[0].tokenizer.key, "unit": "word" if config.kind in ("words", "spaces") else "token",
            "tokens": found.tokens, "ends": found.ends, "unknown": found.unknown, "texts": len(texts),
        },
        **circumstances(),
    )  # fmt: skip


# ── rows ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageRow:
    """One rung, or a mixture of two. `nats`: mean log-probability a counted place of the test texts."""

    name: str
    nats: float
    perplexity: float
    bits: float
    """Bits a character."""
    unknown: float
    """Share of the tokens that its vocabulary lacks."""
    vocabulary: str
    """Key of the tokenizer: rows of one are comparable."""
    unit: str
    tokens: int
    ends: int
    """Ends of sentences, which are predicted too."""
    pretraining: float | None
    """Seconds, of both where two are mixed."""
    parameters: int
    weight: float | None = None
    """The first one's share in a mixture."""

    @property
    def group(self) -> tuple[str, int]:
        """Rows with the same are comparable: one vocabulary, and the same places counted."""
        return self.vocabulary, self.tokens + self.ends

    def texts(self) -> list[str]:
        """What stands in the columns HEAD."""
        share = "" if self.weight is None else f" ({self.weight:.0%} : {1 - self.weight:.0%})"
        return [
            self.name + share, f"{self.perplexity:,.1f}", f"{-self.nats:.3f}", f"{self.bits:.3f}", f"{self.unknown:.1%}",
            seconds_text(self.pretraining), count_text(self.parameters),
        ]  # fmt: skip


def language_rows(cells: Sequence[Cell]) -> list[LanguageRow]:
    """Rows that are comparable with one another stand together, in the order of the cells."""
    spent = {cell.key: cell.seconds.get("pretraining") for cell in cells if cell.kind == "pretraining"}
    rows = [_row(cell, spent) for cell in cells if cell.kind == KIND and not cell.failed]
    groups = list(dict.fromkeys(row.group for row in rows))
    return sorted(rows, key=lambda row: groups.index(row.group))


def _row(cell: Cell, spent: Mapping[str, float | None]) -> LanguageRow:
    both = [spent.get(key) for key in [cell.needs, *([cell.config["with"]] if cell.config else [])]]
    took = [seconds for seconds in both if seconds is not None]
    about = cell.notes
    return LanguageRow(
        name=cell.rung, nats=cell.scores["nats"], perplexity=cell.scores["perplexity"], bits=cell.scores["bits a character"],
        unknown=float(about["unknown"]), vocabulary=str(about["vocabulary"]), unit=str(about["unit"]), tokens=int(about["tokens"]),
        ends=int(about["ends"]), pretraining=sum(took) if took else None, parameters=cell.parameters,
        weight=cell.scores.get("weight"),
    )  # fmt: skip


def grouped(rows: Sequence[LanguageRow]) -> list[list[LanguageRow]]:
    """Rows that are comparable, together."""
    return [list(group) for _, group in groupby(rows, key=lambda row: row.group)]


def head(rows: Sequence[LanguageRow]) -> list[str]:
    """The columns' names."""
    unit = "word" if all(row.unit == "word" for row in rows) else "token"
    return [name.format(unit=unit) for name in HEAD]


def legend(rows: Sequence[LanguageRow], without: Sequence[str]) -> list[str]:
    """What the figures mean, and what they cannot be compared with; `without`: rungs that are masked models."""
    groups = grouped(rows)
    counted = [f"{group[0].tokens:,} {group[0].unit}s{_and_ends(group[0])}" for group in groups]
    said = [
        f"perplexity: e to the nats, lower is better; a mean over all of the test texts: {'; '.join(counted)}. Punctuation marks "
        "count, and words that a vocabulary lacks count as one word, [UNK]."
    ]
    if len(groups) > 1:
        said.append("A line parts rows of different vocabularies. They are not comparable: the fewer words are known, the easier is the text.")
    if any(row.weight is not None for row in rows):
        said.append("a + b (w : 1 − w): w·p(a) + (1 − w)·p(b), w chosen for each half of the texts on the other half.")
    if without:
        said.append(
            f"Without a row: {', '.join(without)}. A masked model sees both sides of a word, so its pseudo-perplexity "
            "(foretext perplexity MODEL TEXT) compares masked models alone."
        )
    return said


def _and_ends(row: LanguageRow) -> str:
    return f" and {row.ends:,} ends of sentences" if row.ends else ""


def language_text(rows: Sequence[LanguageRow], without: Sequence[str]) -> str:
    """The table for a terminal; "" without rows."""
    if not rows:
        return ""
    lines = set_out(head(rows), [[row.texts() for row in group] for group in grouped(rows)])
    width = max(60, max(map(len, lines)))
    return "\n".join([f"{TITLE} (the test texts)", "", *lines, "", *(line for note in legend(rows, without) for line in wrapped(note, width))])


def language_json(rows: Sequence[LanguageRow]) -> JSON:
    """Every number at full precision."""
    return [msgspec.to_builtins(row) for row in rows]
