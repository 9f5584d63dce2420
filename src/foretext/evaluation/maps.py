"""`map`: chosen words and their neighbours on a plane.

Principal components show the directions in which the chosen words differ most, and how much of the difference that is;
t-SNE (van der Maaten and Hinton 2008) keeps near words near, and says nothing about far ones. Both are fixed by the
vectors and the seed. N words on the map · D width
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from foretext.bundle import Pretrained
from foretext.errors import UsageError, require_whole, unknown
from foretext.evaluation.canvas import (
    COLOURS,
    Labels,
    checked_ending,
    extent,
    figure,
    fonts,
    leader,
    placed,
    write,
)
from foretext.evaluation.search import index
from foretext.evaluation.words import unit, word_table
from foretext.types import JSON, Floats

Method = Literal["pca", "tsne"]
MOST = 400
"""Words on one map: more cannot be read."""
_GROW = 1.25
"""A map whose labels find no room is drawn so much larger, as often as it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A word where it stands. `group`: the number of the chosen word that it belongs to, −1 for none; `asked`: whether it is that
    word itself; `cosine`: with that word."""

    word: str
    x: float
    y: float
    group: int
    asked: bool
    cosine: float
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordMap:
    """`points`: each chosen word, then its neighbours, group by group. `shares`: how much of the words' variance the two
    axes show ("pca"); empty for t-SNE, whose axes mean nothing."""

    words: tuple[str, ...]
    points: tuple[Point, ...]
    method: Method
    shares: tuple[float, ...]
    remarks: tuple[str, ...]
    about: str

    def text(self) -> str:
        """For people: the words of each group, the nearest first."""
        lines = []
        for number, word in enumerate(self.words):
            near = [p for p in self.points if p.group == number and not p.asked]
            lines.append(f"{word}: {'  '.join(p.word for p in near)}")
        return "\n".join([*lines, *self.remarks, self.about])

    def as_json(self) -> JSON:
        """For programs."""
        return {
            "words": list(self.words),
            "method": self.method,
            "shares": list(self.shares),
            "points": [
                {
                    "word": p.word, "x": p.x, "y": p.y, "group": self.words[p.group], "asked": p.asked, "cosine": p.cosine,
                    "count": p.count,
                }
                for p in self.points
            ],
            "remarks": list(self.remarks),
            "about": self.about,
        }


def word_map(
    pretrained: Pretrained, words: Sequence[str], *, n: int = 8, method: str = "pca", seed: int = 0, kind: str = "exact"
) -> WordMap:
    """`words` with the `n` nearest words of each, on a plane. A word near to several of them belongs to the nearest.

    UsageError: a word that the model has no vector for, words that make no plane (fewer than three), too many of them.
    """
    if method not in get_args(Method):
        raise unknown("method", method, get_args(Method))
    require_whole("n", n)
    table = word_table(pretrained, "map")
    chosen = list(dict.fromkeys(words))
    asked = [table.known(word) for word in chosen]
    if len(chosen) * (n + 1) > MOST:
        raise UsageError(f"{len(chosen)} words with {n} neighbours each are more than {MOST}", remedy="choose fewer, or set --n")
    own = {i for one in asked for i in one.ids}
    hits = index(table, kind).search(np.stack([one.vector for one in asked]), n + len(own))
    nearest = [[(i, cosine) for i, cosine in row if i not in own][:n] for row in hits]
    home: dict[int, tuple[float, int]] = {}
    for group, row in enumerate(nearest):
        for i, cosine in row:
            home[i] = max(home.get(i, (-2.0, 0)), (cosine, -group))
    rows: list[tuple[str, int, bool, float, int | None, Floats]] = []
    for group, (word, one) in enumerate(zip(chosen, asked, strict=True)):
        rows.append((word, group, True, 1.0, one.count, one.vector))
        mine = [(i, cosine) for i, cosine in nearest[group] if home[i] == (cosine, -group)]
        rows += [(table.tokenizer.pieces[i], group, False, c, table.count(i), table.vectors[i]) for i, c in mine]
    if len(rows) < 3:
        raise UsageError(f"a map needs three words or more, found {len(rows)}", remedy="give more words, or set --n")
    vectors = unit(np.stack([row[-1] for row in rows]))
    places, shares = principal(vectors) if method == "pca" else (_neighbouring(vectors, seed), ())
    points = tuple(
        Point(word=word, x=float(x), y=float(y), group=group, asked=is_asked, cosine=cosine, count=count)
        for (word, group, is_asked, cosine, count, _), (x, y) in zip(rows, places, strict=True)
    )
    return WordMap(
        words=tuple(chosen),
        points=points,
        method="pca" if method == "pca" else "tsne",
        shares=shares,
        remarks=tuple(table.remarks(asked)),
        about=table.about,
    )


def principal(vectors: Floats) -> tuple[Floats, tuple[float, ...]]:
    """The first two principal components [N,2] of rows [N,D], and the share of the variance in each. A component's sign
    is free: its largest coordinate is made positive."""
    moved = np.asarray(vectors, np.float64)
    moved = moved - moved.mean(0)
    left, lengths, _ = np.linalg.svd(moved, full_matrices=False)
    places = np.zeros((len(vectors), 2))
    few = min(2, len(lengths))
    places[:, :few] = left[:, :few] * lengths[:few]
    for column in places.T:
        column *= -1.0 if column[np.argmax(np.abs(column))] < 0 else 1.0
    whole = float((lengths**2).sum()) or 1.0
    return places, tuple(float(length**2) / whole for length in lengths[:2])


def _neighbouring(vectors: Floats, seed: int) -> Floats:
    """t-SNE [N,2] of rows [N,D], by cosine; perplexity 30 (the paper's range is 5 to 50), less where there are few words."""
    from sklearn.manifold import TSNE

    perplexity = min(30.0, max(1.0, (len(vectors) - 1) / 3))
    start = principal(vectors)[0]
    start = start / max(float(start[:, 0].std()), 1e-12) * 1e-4  # as sklearn scales its own start
    made = TSNE(perplexity=perplexity, metric="cosine", init=start.astype(np.float32), random_state=seed, method="exact")
    return np.asarray(made.fit_transform(np.asarray(vectors, np.float32)), np.float64)


# ── drawing ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def map_picture(found: WordMap, file: Path) -> list[str]:
    """Draw a map; the chosen words large. Returns remarks: for labels that no installed font can draw, by what number each
    word is shown. Errors: another ending than .png, .svg or .pdf → UsageError."""
    checked_ending(file)
    words = [point.word for point in found.points]
    labels = Labels(words, file)
    size = max(4.5, len(words) ** 0.5)
    with fonts():
        while True:
            made, (axes,) = figure(size * 1.3, size)
            if scatter_labelled(made, axes, found.points, [labels(word) for word in words]) is not None:
                break
            size *= _GROW
        if found.shares:
            axes.set_xlabel(f"first principal component: {found.shares[0]:.0%} of the variance")
            axes.set_ylabel(f"second: {found.shares[-1]:.0%}")
        else:
            axes.set_xlabel("t-SNE: near is near, far says nothing")
    write(made, file)
    return labels.remarks


def scatter_labelled(made: Any, axes: Any, points: Sequence[Point], labels: Sequence[str]) -> list[Any] | None:
    """Points and their labels, none over another; the label artists in the points' order, or None where one finds no
    room. The chosen words are placed first."""
    places = np.array([(point.x, point.y) for point in points])
    colours = [COLOURS[point.group % len(COLOURS)] if point.group >= 0 else "#222222" for point in points]
    axes.scatter(places[:, 0], places[:, 1], s=[34 if p.asked else 9 for p in points], c=colours, linewidths=0, zorder=2)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.margins(0.08)
    axes.set_xlabel(" ")  # room for what is written there later
    axes.set_ylabel(" ")
    texts = [
        axes.text(x, y, label, color=colour, fontsize=11 if point.asked else 8, ha="center", va="center", zorder=3)
        for (x, y), label, colour, point in zip(places, labels, colours, points, strict=True)
    ]
    for text in texts:
        text.set_in_layout(False)
    made.canvas.draw()
    made.set_layout_engine("none")  # measured now: nothing may move any more
    renderer = made.canvas.get_renderer()
    box = axes.get_window_extent(renderer)
    sizes = np.array([extent(text, renderer) for text in texts])
    pixels = axes.transData.transform(places) - (box.x0, box.y0)
    order = np.argsort([not point.asked for point in points], kind="stable")
    centres = placed(pixels[order], sizes[order], (box.width, box.height))
    if centres is None:
        return None
    back, corner = axes.transData.inverted(), np.array([box.x0, box.y0])
    for n, centre in zip(order.tolist(), centres, strict=True):
        x, y = back.transform(centre + corner)
        texts[n].set_position((x, y))
        edge = leader(pixels[n], centre, sizes[n])
        if edge is not None:
            end = back.transform(edge + corner)
            axes.plot([places[n, 0], end[0]], [places[n, 1], end[1]], color=colours[n], linewidth=0.5, alpha=0.6, zorder=1)
    return texts
