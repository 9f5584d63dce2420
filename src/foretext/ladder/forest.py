"""Each rung's distance to the best baseline as inline SVG: a panel a label count, a line a row, 0 in the middle."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from foretext.ladder.plot import WIDTH, Look, looks, marker, short, svg
from foretext.ladder.statistics import Interval
from foretext.ladder.table import Row, Table

LEFT, TOP, LINE, GAP = 244, 46, 30, 18
"""Pixels: room for the names, room for the headings, height of a line, distance between panels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One label count's panel: left edge and width in pixels, points (percent) from the middle to the edge."""

    left: float
    width: float
    reach: float
    bottom: float

    def x(self, points: float) -> float:
        return self.left + self.width / 2 * (1 + points / self.reach)


def distances(table: Table) -> str:
    """The picture, or "" where no row has a baseline to be compared with."""
    rows = [n for n, row in enumerate(table.rows) if not row.baseline and any(e.against for e in row.entries.values())]
    if not rows:
        return ""
    style = looks(table.rows)
    gaps = [e.against for n in rows for e in table.rows[n].entries.values() if e.against]
    reach = 1.1 * max(1.0, *(100 * max(abs(gap.low), abs(gap.high)) for gap in gaps))
    counts = [count for count in table.labels if any(count in table.rows[n].entries for n in rows)]
    width = (WIDTH - LEFT - 12 - GAP * (len(counts) - 1)) / len(counts)
    bottom = TOP + LINE * len(rows) + 4
    parts = [_name(table.rows[n], style[n], i) for i, n in enumerate(rows)]
    for p, count in enumerate(counts):
        panel = _Panel(left=LEFT + p * (width + GAP), width=width, reach=reach, bottom=bottom)
        parts += _ground(panel, count, table.rows[table.best_baseline[count]].name)
        for i, n in enumerate(rows):
            entry = table.rows[n].entries.get(count)
            if entry and entry.against:
                parts.append(_mark(panel, table.rows[n].name, count, entry.against, style[n], TOP + LINE * i + LINE / 2))
    return svg(bottom + 26, "Difference to the best baseline, in points", parts)


def _name(row: Row, look: Look, line: int) -> str:
    y = TOP + LINE * line + LINE / 2 + 4
    return (
        f'<text class="name" x="{LEFT - 12}" y="{y}" text-anchor="end" style="fill:{look.colour}">'
        f"{escape(short(row.name))}</text>"
    )


def _ground(panel: _Panel, count: int, zero: str) -> list[str]:
    """The panel's headings, grid and ticks."""
    middle = panel.x(0)
    parts = [
        f'<rect class="panel" x="{panel.left:.1f}" y="{TOP - 6}" width="{panel.width:.1f}" '
        f'height="{panel.bottom - TOP + 6:.1f}" rx="6"/>',
        f'<text class="axis" x="{middle:.1f}" y="14" text-anchor="middle">{count:,} labels a class</text>',
        f'<text class="small" x="{middle:.1f}" y="30" text-anchor="middle">0 = {escape(short(zero))}</text>',
    ]
    for value in _ticks(panel.reach):
        x = panel.x(value)
        kind = "zero" if value == 0 else "grid"
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{panel.bottom:.1f}"/>')
        parts.append(
            f'<text class="tick" x="{x:.1f}" y="{panel.bottom + 16:.1f}" text-anchor="middle">'
            f"{f'{value:+g}'.replace('-', '−') if value else '0'}</text>"
        )
    return parts


def _ticks(reach: float) -> Sequence[float]:
    """Round values from −reach to reach; a panel is narrow, so at most two on each side of 0."""
    step = next((step for step in (1, 2, 5, 10, 20) if reach / step < 3), 50)
    steps = int(reach * 0.92 / step)
    return [step * i for i in range(-steps, steps + 1)]


def _mark(panel: _Panel, name: str, count: int, gap: Interval, look: Look, y: float) -> str:
    low, high, mean = (panel.x(100 * value) for value in (gap.low, gap.high, gap.mean))
    told = (
        f"{name} at {count} labels a class: {100 * gap.mean:+.1f} points "
        f"({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    )
    return (
        f'<g><line x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}" '
        f'style="stroke:{look.colour};stroke-width:3;stroke-linecap:round;opacity:.55"/>'
        f"{marker(look, mean, y)}<title>{escape(told)}</title></g>"
    )


