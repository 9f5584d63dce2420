"""The label-efficiency plot as inline SVG.

Colours are CSS variables of the page (so one picture serves light and dark); every text is escaped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from foretext.ladder.table import Row, Table

WIDTH, HEIGHT = 920, 430
LEFT, RIGHT, TOP, BOTTOM = 56, 232, 18, 52
"""Margins in pixels; the right one holds the lines' names."""
HUES = 12
"""Number of rung colours the page defines (--hue-0 …)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a row is drawn: CSS colour, dash pattern ("" = solid), and the marker's shape."""

    colour: str
    dash: str
    marker: str


def looks(rows: Sequence[Row]) -> list[Look]:
    """One look a row: a hue a rung, a marker a way of transfer; baselines dashed, those without a network grey."""
    markers = {"features": "circle", "frozen": "diamond", "finetune": "square", "scratch": "hollow", "": "cross"}
    networks = list(dict.fromkeys(row.rung for row in rows if row.how))
    greys = list(dict.fromkeys(row.rung for row in rows if not row.how))
    found = []
    for row in rows:
        if row.how:
            colour = f"var(--hue-{networks.index(row.rung) % HUES})"
        else:
            colour = f"var(--grey-{min(greys.index(row.rung), 1)})"
        found.append(Look(colour=colour, dash="5 5" if row.baseline else "", marker=markers.get(row.how, "circle")))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """Data to pixels: label counts on a log axis, percent on a linear one."""

    labels: tuple[int, ...]
    low: float
    high: float

    def x(self, labels: float) -> float:
        first, last = math.log(self.labels[0]), math.log(self.labels[-1])
        share = 0.5 if first == last else (math.log(labels) - first) / (last - first)
        inner = WIDTH - LEFT - RIGHT - 48
        return LEFT + 24 + share * inner

    def y(self, percent: float) -> float:
        share = (percent - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)


def efficiency(table: Table) -> str:
    """Accuracy against labels a class; bands are 95 % intervals. An SVG element, or "" without any score."""
    shown = [n for n, row in enumerate(table.rows) if row.entries]
    if not shown or not table.labels:
        return ""
    frame = _frame(table, shown)
    style = looks(table.rows)
    visible = [n for n in shown if _top(table.rows[n]) >= frame.low]
    below = [table.rows[n] for n in shown if n not in visible]
    parts = [_axes(frame, table.labels)]
    parts += [_band(frame, table.rows[n], style[n]) for n in visible]
    parts += [_line(frame, table.rows[n], style[n]) for n in visible]
    parts.append(_names(frame, [table.rows[n] for n in visible], [style[n] for n in visible]))
    if below:
        text = " · ".join(f"{row.name} {100 * _last(row):.1f} %" for row in below)
        parts.append(
            f'<text class="small" x="{LEFT + 8}" y="{HEIGHT - BOTTOM - 8}">below the axis: {escape(text)}</text>'
        )
    return svg(HEIGHT, "Accuracy against labelled texts a class", parts)


def _frame(table: Table, shown: Sequence[int]) -> _Frame:
    ends = [(e.score.low, e.score.high) for n in shown for e in table.rows[n].entries.values()]
    # A constant answer sits far below everything; letting it set the axis would flatten what the plot is about.
    real = [
        (e.score.low, e.score.high)
        for n in shown
        if table.rows[n].how or len({round(e.score.mean, 9) for e in table.rows[n].entries.values()}) > 1
        for e in table.rows[n].entries.values()
    ]
    lows, highs = zip(*(real or ends), strict=True)
    low, high = 100 * min(lows), 100 * max(highs)
    step = step_of(high - low)
    return _Frame(labels=table.labels, low=max(0, math.floor((low - 1) / step) * step), high=min(100, math.ceil((high + 1) / step) * step))


def step_of(span: float) -> float:
    """A round distance between ticks that puts at most nine of them on `span`."""
    return next((step for step in (1, 2, 5, 10) if span / step <= 8), 20)


def _axes(frame: _Frame, labels: Sequence[int]) -> str:
    parts = []
    step = step_of(frame.high - frame.low)
    right = WIDTH - RIGHT
    value = frame.low
    while value <= frame.high + 1e-9:
        y = frame.y(value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick" x="{LEFT - 10}" y="{y + 4:.1f}" text-anchor="end">{value:g} %</text>')
        value += step
    base = HEIGHT - BOTTOM
    for count in labels:
        x = frame.x(count)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{base}" y2="{base + 6}"/>')
        parts.append(f'<text class="tick" x="{x:.1f}" y="{base + 21}" text-anchor="middle">{count:,}</text>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text class="axis" x="{middle:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        "labelled texts a class (log scale)</text>"
    )
    return "".join(parts)


def _points(frame: _Frame, row: Row, end: str) -> list[tuple[float, float]]:
    return [
        (frame.x(count), frame.y(100 * max(getattr(entry.score, end), frame.low / 100)))
        for count, entry in sorted(row.entries.items())
    ]


def _band(frame: _Frame, row: Row, look: Look) -> str:
    over, under = _points(frame, row, "high"), _points(frame, row, "low")
    if len(over) == 1:
        (x, top), (_, bottom) = over[0], under[0]
        return f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top:.1f}" y2="{bottom:.1f}" style="stroke:{look.colour};stroke-width:2;opacity:.5"/>'
    ring = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*over, *reversed(under)])
    return f'<polygon points="{ring}" style="fill:{look.colour};opacity:.13"/>'


def _line(frame: _Frame, row: Row, look: Look) -> str:
    points = _points(frame, row, "mean")
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dash = f";stroke-dasharray:{look.dash}" if look.dash else ""
    parts = [f'<polyline points="{path}" style="fill:none;stroke:{look.colour};stroke-width:2.4{dash}"/>']
    for (x, y), (count, entry) in zip(points, sorted(row.entries.items()), strict=True):
        score = entry.score
        told = (
            f"{row.name}, {count} labels a class: {100 * score.mean:.1f} % "
            f"({100 * score.low:.1f} to {100 * score.high:.1f}), {entry.seeds} seeds"
        )
        parts.append(f"<g>{marker(look, x, y)}<title>{escape(told)}</title></g>")
    return "".join(parts)


def marker(look: Look, x: float, y: float) -> str:
    """The look's marker centred on (x, y), pixels."""
    fill = f'style="fill:{look.colour};stroke:var(--paper);stroke-width:1.5"'
    if look.marker == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" rx="1.5" {fill}/>'
    if look.marker == "diamond":
        return f'<path d="M{x:.1f} {y - 6.5:.1f}l6.5 6.5-6.5 6.5-6.5-6.5z" {fill}/>'
    if look.marker == "hollow":
        ring = f'style="fill:var(--paper);stroke:{look.colour};stroke-width:2.2"'
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" {ring}/>'
    if look.marker == "cross":
        stroke = f'style="stroke:{look.colour};stroke-width:2.6;fill:none"'
        return f'<path d="M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0-9l-9 9" {stroke}/>'
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" {fill}/>'


def _names(frame: _Frame, rows: Sequence[Row], style: Sequence[Look]) -> str:
    """Each line's name beside its end; names that would touch are pushed apart and tied to their line."""
    ends = []
    for row, look in zip(rows, style, strict=True):
        x, y = _points(frame, row, "mean")[-1]
        ends.append((y, x, row, look))
    ends.sort(key=lambda end: end[0])
    places = spread([end[0] for end in ends], 18.0, TOP + 6, HEIGHT - BOTTOM - 4)
    parts = []
    name_x = WIDTH - RIGHT + 14
    for place, (y, x, row, look) in zip(places, ends, strict=True):
        # A line that ends before the last column is tied to its name by dots, which nobody takes for data.
        dots = ";stroke-dasharray:1 6" if max(row.entries) < frame.labels[-1] else ""
        parts.append(
            f'<path d="M{x + 9:.1f} {y:.1f}L{name_x - 8:.1f} {place:.1f}" '
            f'style="stroke:{look.colour};stroke-width:1;opacity:.55;fill:none{dots}"/>'
            f'<text class="name" x="{name_x}" y="{place + 4:.1f}" style="fill:{look.colour}">{escape(short(row.name))}</text>'
        )
    return "".join(parts)


def spread(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places near the sorted `wanted` ones that lie at least `gap` apart, within [low, high] where there is room."""
    places = list(wanted)
    for _ in range(60):
        for i in range(1, len(places)):
            lack = gap - (places[i] - places[i - 1])
            if lack > 0:
                places[i - 1] -= lack / 2
                places[i] += lack / 2
        if places and places[-1] > high:
            places[-1] = high
        if places and places[0] < low:
            places[0] = low
    for i in range(1, len(places)):
        places[i] = max(places[i], places[i - 1] + gap)
    return places


def short(name: str) -> str:
    """A name that fits beside a line."""
    return name if len(name) <= 28 else f"{name[:27]}…"


def _top(row: Row) -> float:
    return 100 * max(entry.score.mean for entry in row.entries.values())


def _last(row: Row) -> float:
    return row.entries[max(row.entries)].score.mean


def svg(height: float, title: str, parts: Sequence[str]) -> str:
    """An SVG element as wide as the page."""
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title, quote=True)}" '
        f'xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'
    )
