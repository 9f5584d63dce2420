"""`polysemy`: what one spelling with several meanings looks like to a model, sentence by sentence and layer by layer.

A static table has one vector for every "bank": the same in every sentence, its nearest words those of whichever meanings
the corpus has. A contextual model reads it anew each time: uses in one sense lie nearer to each other than to the
others, and more so layer by layer. The demonstration asks the model itself, not which family it is.

U uses (sentences) · L layers · D width · S senses
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import UsageError, require_whole
from foretext.evaluation.canvas import COLOURS, Labels, checked_ending, figure, fonts, write
from foretext.evaluation.maps import Point, principal, scatter_labelled
from foretext.evaluation.occurrences import word_vectors
from foretext.evaluation.query import Query, highlighted, parse_query
from foretext.evaluation.search import index
from foretext.evaluation.senses import EXAMPLES
from foretext.evaluation.words import WordTable, unit, word_table
from foretext.models.catalog import require
from foretext.text.words import word_spans
from foretext.types import JSON, Floats

SAME = 1e-5
"""Vectors whose cosine is nearer to 1 than this are one vector, up to rounding."""
_A = 1e-3
"""Weight of a context word: a / (a + its share of the corpus) (Arora, Liang and Ma 2017, section 3; they use 1e-3)."""
_DEEP = 5000
"""Nearest words looked through for one that leans to a rare sense."""
_CLEAR = 0.1
"""Least margin of such a word: less is chance."""
_AROUND = 18
"""Characters shown to each side of a use in the picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """The word in one sentence. `read`: the tokens that the model reads it as."""

    sense: str
    query: Query
    read: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Mean cosine of two uses `within` one sense, None where no sense has two, and `between` senses. `one`: all uses are
    one vector; else `right`: of the uses that have another of their sense, the share whose nearest other use is one (None:
    there are none)."""

    within: float | None
    between: float
    right: float | None
    one: bool

    @property
    def text(self) -> str:
        """For people."""
        within = "" if self.within is None else f"within a sense {self.within:.3f}, "
        said = "one vector in every sentence" if self.one else "no sense has two uses to compare"
        if self.right is not None:
            said = f"nearest other use in the same sense: {self.right:.0%}"
        return f"{within}between senses {self.between:.3f}; {said}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lean:
    """A nearest word of the one vector, the `rank`-th (1 the nearest), and the sense whose sentences' other words lie nearest
    to it, by how much (`margin` over the next sense)."""

    word: str
    rank: int
    cosine: float
    sense: str
    margin: float
    vector: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Polysemy:
    """`uses` in their order, `layers` bottom to top, `places` [U,2] the uses of the top layer on their two principal
    components. `nearest`: for a model with one vector a word, its nearest words; empty for the others, whose every use
    has its own. `vector`: that one vector."""

    word: str
    senses: tuple[str, ...]
    uses: tuple[Use, ...]
    layers: tuple[Layer, ...]
    places: Floats
    nearest: tuple[Lean, ...]
    vector: Floats
    remarks: tuple[str, ...]

    @property
    def one_vector(self) -> bool:
        """Whether the top layer has the same vector in every sentence."""
        return self.layers[-1].one

    def text(self) -> str:
        """For people."""
        lines = [f"{self.word}: {len(self.uses)} sentences"]
        lines += [f"  {use.sense}: {use.query.shown}" for use in self.uses]
        for number, layer in enumerate(self.layers):
            name = "(embeddings)" if number == 0 else ""
            lines.append(f"layer {number} {name}: cosine {layer.text}")
        if self.nearest:
            lines.append(f"nearest to the one vector of {self.word}, and the sense each leans to:")
            lines += [f"  {lean.rank:5}  {lean.cosine:6.3f}  {lean.word}  ({lean.sense})" for lean in self.nearest]
        return "\n".join([*lines, *self.remarks])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "word": self.word,
            "senses": list(self.senses),
            "one vector": self.one_vector,
            "uses": [{"sense": u.sense, "sentence": u.query.string, "span": u.query.marked, "read": list(u.read)} for u in self.uses],
            "layers": [{"within": x.within, "between": x.between, "right": x.right, "one vector": x.one} for x in self.layers],
            "places": self.places.tolist(),
            "nearest": [{"word": x.word, "rank": x.rank, "cosine": x.cosine, "sense": x.sense, "margin": x.margin} for x in self.nearest],
            "remarks": list(self.remarks),
        }


def polysemy(pretrained: Pretrained, sentences: Sequence[str], *, n: int = 16) -> Polysemy:
    """Compare the uses of one word. `sentences`: the name of a built-in example ("bank", "苹果", "打"), or two or more
    "sense: sentence with one [word]", of two senses or more. `n`: nearest words of a static vector.

    UsageError: sentences of another form, of different words, or of one sense; a word that the model cannot read.
    """
    require(pretrained.recipe.family.name, "encode", "polysemy")
    require_whole("n", n)
    given = _sentences(sentences)
    queries = [(sense, parse_query(text)) for sense, text in given]
    word = queries[0][1].word
    encoded = pretrained.encode([query.string for _, query in queries])
    uses, rows = [], []
    for (sense, query), item in zip(queries, encoded, strict=True):
        assert query.marked is not None
        start, stop = query.marked
        inside = [i for i, (a, b) in enumerate(item.offsets.tolist()) if a < stop and b > start]
        found = [layer[0] for layer in word_vectors(item, [query.marked])]
        if not any(vector.any() for vector in found):
            raise UsageError(f"the model has no vector for {query.word!r} in {query.shown!r}")
        uses.append(Use(sense=sense, query=query, read=tuple(item.tokens[i] for i in inside)))
        rows.append(found)
    senses = tuple(dict.fromkeys(sense for sense, _ in queries))
    labels = np.array([senses.index(use.sense) for use in uses])
    stacked = [np.stack(layer) for layer in zip(*rows, strict=True)]
    layers = tuple(_layer(unit(vectors_UD), labels) for vectors_UD in stacked)
    nearest: tuple[Lean, ...] = ()
    remarks = _remarks(uses)
    if layers[-1].one:
        table = word_table(pretrained, "polysemy")
        nearest = _leanings(table, stacked[-1][0], uses, senses, n)
        if (known := table.find(word)) is not None:
            remarks += table.remarks([known])
    return Polysemy(
        word=word, senses=senses, uses=tuple(uses), layers=layers, places=principal(unit(stacked[-1]))[0], nearest=nearest,
        vector=stacked[-1][0], remarks=tuple(remarks),
    )


def _sentences(given: Sequence[str]) -> list[tuple[str, str]]:
    """(sense, sentence) pairs; UsageError unless there are two senses and one spelling."""
    if len(given) == 1 and given[0] in EXAMPLES:
        given = EXAMPLES[given[0]]
    found = []
    for one in given:
        sense, colon, text = one.replace("：", ":", 1).partition(":")
        marked = parse_query(text).marked if colon else None
        if not sense.strip() or marked is None:
            raise UsageError(
                f"expected \"sense: a sentence with one [word]\", found {one!r}",
                remedy=f"or one of the examples: {', '.join(EXAMPLES)}",
            )
        found.append((sense.strip(), text.strip()))
    spellings = sorted({parse_query(text).word.casefold() for _, text in found})
    if len(spellings) != 1 or len({sense for sense, _ in found}) < 2:
        raise UsageError(
            f"expected one word in two senses or more, found {', '.join(spellings)} in {len({s for s, _ in found})}",
            remedy="give sentences of each sense, all with the same [word]",
        )
    return found


def _remarks(uses: Sequence[Use]) -> list[str]:
    """What is read in another way than in most sentences: its vector differs for that reason alone."""
    ways: dict[tuple[str, ...], int] = {}
    for use in uses:
        ways[use.read] = ways.get(use.read, 0) + 1
    usual = max(ways, key=lambda read: ways[read])
    other = sorted({" ".join(use.read) for use in uses if use.read != usual})
    return [f"usually read as {' '.join(usual)}, elsewhere as {', '.join(other)}: these differ as words, not by sense"] if other else []


def _layer(directions_UD: Floats, labels: Any) -> Layer:
    cosines = directions_UD @ directions_UD.T
    apart = ~np.eye(len(labels), dtype=bool)
    same = labels[:, None] == labels[None]
    within, between, one = cosines[same & apart], cosines[~same], bool(cosines.min() >= 1 - SAME)
    right = None
    if within.size and not one:
        best = np.where(apart, cosines, -np.inf).argmax(1)
        right = float((labels[best] == labels)[(same & apart).any(1)].mean())
    return Layer(within=float(within.mean()) if within.size else None, between=float(between.mean()), right=right, one=one)


def _leanings(table: WordTable, vector: Floats, uses: Sequence[Use], senses: Sequence[str], n: int) -> tuple[Lean, ...]:
    """The `n` nearest words of the one vector, each with the sense whose sentences it fits best: by cosine with the mean of
    their other words, common ones counting less. A sense that none of them leans to is shown by the first word further
    down that clearly does, with its rank: so far has the more frequent sense pushed it."""
    asked = table.find(uses[0].query.word)
    own = set(asked.ids) if asked is not None else set()
    hits = [(i, c) for i, c in index(table).search(vector[None], _DEEP + len(own))[0] if i not in own]
    centres_SD = unit(np.stack([_context(table, [use for use in uses if use.sense == sense]) for sense in senses]))
    found: list[Lean] = []
    for rank, (i, cosine) in enumerate(hits, start=1):
        likeness = centres_SD @ unit(table.vectors[i])
        order = np.argsort(-likeness, kind="stable")
        sense, margin = senses[order[0]], float(likeness[order[0]] - likeness[order[1]])
        if rank > n and (margin < _CLEAR or any(lean.sense == sense for lean in found)):
            continue
        word = table.tokenizer.pieces[i]
        found.append(Lean(word=word, rank=rank, cosine=cosine, sense=sense, margin=margin, vector=table.vectors[i]))
        if rank >= n and len({lean.sense for lean in found}) == len(senses):
            break
    return tuple(found)


def _context(table: WordTable, uses: Sequence[Use]) -> Floats:
    """The weighted sum [D] of the unit vectors of the words that stand beside the word in these sentences."""
    whole = float(table.counts.sum()) if table.counts is not None else 1.0
    total = np.zeros(table.vectors.shape[1])
    words: Mapping[str, None] = {
        use.query.string[a:b].casefold(): None for use in uses for a, b in word_spans(use.query.string)
        if use.query.marked is not None and (b <= use.query.marked[0] or a >= use.query.marked[1])
    }
    for word in words:
        found = table.find(word)
        if found is not None and any(c.isalnum() for c in word):
            share = (found.count or 0) / whole
            total += _A / (_A + share) * unit(found.vector)
    return total


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def polysemy_picture(found: Polysemy, file: Path) -> list[str]:
    """Left, one vector a word: the one point of all uses amid its nearest words, each in the colour of the sense it leans
    to; otherwise the uses of the top layer, in the colours of their senses. Right: how far each word leans; or cosines
    within and between senses, layer by layer. Returns remarks, as `map_picture`."""
    checked_ending(file)
    uses = () if found.one_vector else tuple(snippet(use.query) for use in found.uses)
    labels = Labels([*found.senses, found.word, *(lean.word for lean in found.nearest), *uses], file)
    points = _points(found, labels)
    with fonts():
        size = 5.4
        while True:
            made, (left, right) = figure(size * 2.2, size, 2, width_ratios=(1.5, 1.0))
            _leans(right, found, labels) if found.nearest else _layers(right, found)
            said = f"one vector in all {len(found.uses)} sentences" if found.one_vector else "its uses in the top layer"
            left.set_title(f"{labels(found.word)}: {said}", fontsize=11)
            for number, sense in enumerate(found.senses):
                left.scatter([], [], c=COLOURS[number % len(COLOURS)], s=20, label=labels(sense))
            left.legend(loc="upper center", bbox_to_anchor=(0.5, 0.0), ncol=len(found.senses), frameon=False)
            if scatter_labelled(made, left, points, [point.word for point in points]) is not None:
                break
            size *= 1.2
    write(made, file)
    return labels.remarks


def _points(found: Polysemy, labels: Labels) -> list[Point]:
    """What the left panel shows, each with its label."""
    if not found.one_vector:
        return [
            Point(
                word=labels(snippet(use.query), longest=44), x=float(x), y=float(y), group=found.senses.index(use.sense), asked=False,
                cosine=1.0, count=None,
            )
            for use, (x, y) in zip(found.uses, found.places, strict=True)
        ]  # fmt: skip
    rows = unit(np.stack([found.vector, *(lean.vector for lean in found.nearest)]))
    places = principal(rows)[0]
    groups = [-1, *(found.senses.index(lean.sense) for lean in found.nearest)]
    names = [f"{labels(found.word)} ×{len(found.uses)}", *(labels(lean.word) for lean in found.nearest)]
    return [
        Point(word=name, x=float(x), y=float(y), group=group, asked=number == 0, cosine=1.0, count=None)
        for number, (name, group, (x, y)) in enumerate(zip(names, groups, places, strict=True))
    ]


def snippet(query: Query) -> str:
    """The word in brackets with a few whole words around it."""
    start, stop = query.marked or (0, 0)
    text = query.string
    first, last = max(0, start - _AROUND), min(len(text), stop + _AROUND)
    if first > 0 and " " in text[first:start].rstrip():
        first = text.index(" ", first) + 1
    if last < len(text) and " " in text[stop:last].lstrip():
        last = text.rindex(" ", stop, last)
    shown = highlighted(text[first:last], (start - first, stop - first))
    return ("…" if first > 0 else "") + shown + ("…" if last < len(text) else "")


def _leans(axes: Any, found: Polysemy, labels: Labels) -> None:
    """A bar a nearest word, as long as its first sense is nearer than its second."""
    places = np.arange(len(found.nearest))
    colours = [COLOURS[found.senses.index(lean.sense) % len(COLOURS)] for lean in found.nearest]
    axes.barh(places, [lean.margin for lean in found.nearest], color=colours, height=0.7)
    axes.set_yticks(places, [_ranked(lean, number, labels) for number, lean in enumerate(found.nearest, 1)], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel("leans to its sense by (cosine with its sentences)")
    axes.set_title("nearest words, the nearest on top", fontsize=11)


def _ranked(lean: Lean, place: int, labels: Labels) -> str:
    """A word, with its rank where the list skips some."""
    word = labels(lean.word)
    return word if lean.rank == place else f"{word} (no. {lean.rank:,})"


def _layers(axes: Any, found: Polysemy) -> None:
    """Cosines within and between senses by layer."""
    places = np.arange(len(found.layers))
    if found.layers[0].within is not None:
        axes.plot(places, [layer.within for layer in found.layers], "o-", color=COLOURS[2], markersize=4, label="within a sense")
    axes.plot(places, [layer.between for layer in found.layers], "o-", color=COLOURS[7], markersize=4, label="between senses")
    axes.set_xticks(places)
    axes.set_xlabel("layer (0: embeddings)")
    axes.set_ylabel("mean cosine of two uses")
    axes.set_ylim(top=1.02)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False)
