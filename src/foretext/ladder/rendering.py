"""The table as plain text, CSV and JSON."""

import csv
import io
from collections.abc import Mapping, Sequence

import msgspec

from foretext.ladder.table import Entry, Row, Table
from foretext.types import JSON

MARKS: Mapping[str, str] = {"above": "▲", "below": "▼", "level": "=", "": " "}
LEGEND = (
    "accuracy in %, mean ± half of the 95 % interval (bootstrap over test texts and seeds) · * best of its column · "
    "▲ above, = level with, ▼ below the column's best baseline (paired 95 % interval)"
)

ELSEWHERE = "†"
"""Marks the pretraining time of rows whose weights were made elsewhere."""
FOOTNOTE = (
    f"{ELSEWHERE} starts from weights made elsewhere, on other text, which may hold the test texts, and at another cost; the "
    "time is what was spent here (– = they are taken as they are)"
)


def score_text(entry: Entry | None) -> str:
    """"67.1 ±1.2", in percent; "–" for a cell that is not there, "failed" where every seed failed."""
    if entry is None:
        return "–"
    half = 50 * (entry.score.high - entry.score.low)
    lost = f" ({entry.failed} failed)" if entry.failed else ""
    return f"{100 * entry.score.mean:.1f} ±{half:.1f}{lost}"


def seconds_text(seconds: float | None) -> str:
    """"0.4 s", "12 s", "3 min 20 s"; "–" for None."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"


def count_text(count: int) -> str:
    """"850", "12 k", "3.4 M"; "–" for 0."""
    if not count:
        return "–"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return str(count)


def memory_text(size: int) -> str:
    """Megabytes or gigabytes (10⁶, 10⁹ bytes)."""
    if not size:
        return "–"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def cost_texts(row: Row) -> list[str]:
    """Pretraining, transfer, answering, parameters, memory."""
    return [
        seconds_text(row.pretraining) + (f" {ELSEWHERE}" if row.source else ""),
        seconds_text(row.transfer),
        seconds_text(row.predict),
        count_text(row.parameters),
        memory_text(row.memory),
    ]


COSTS = ("pretraining", "transfer", "answers", "numbers", "memory")


def as_text(table: Table) -> str:
    """The table for a terminal, with its legend."""
    head = ["rung", *(f"{count} labels" for count in table.labels), *COSTS]
    body = []
    for n, row in enumerate(table.rows):
        scores = []
        for count in table.labels:
            entry = row.entries.get(count)
            star = "*" if table.best.get(count) == n else " "
            scores.append(f"{score_text(entry)}{star}{MARKS[entry.verdict] if entry else ' '}")
        body.append([row.name, *scores, *cost_texts(row)])
    lines = set_out(head, [body])
    width = max(60, len(lines[1]))
    notes = [LEGEND, FOOTNOTE] if any(row.source for row in table.rows) else [LEGEND]
    return "\n".join([*lines, "", *(line for note in notes for line in wrapped(note, width)), *table.failures])


def set_out(head: Sequence[str], groups: Sequence[Sequence[Sequence[str]]]) -> list[str]:
    """Lines of a table: the head, and each group of rows under a rule."""
    widths = [max(len(line[i]) for line in [head, *(row for group in groups for row in group)]) for i in range(len(head))]
    rule = "  ".join("─" * width for width in widths)
    return [_line(head, widths), *(line for group in groups for line in [rule, *(_line(row, widths) for row in group)])]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))]
    return "  ".join(padded).rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """The text in lines of fewer than `width` letters."""
    lines = [""]
    for word in text.split(" "):
        if len(lines[-1]) + len(word) >= width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".lstrip()
    return lines


def as_csv(table: Table) -> str:
    """A line a row × label count; shares in [0,1], seconds, bytes."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = "rung how baseline labels seeds failed accuracy low high macro_f1 difference_to_best_baseline"
    names += " difference_low difference_high verdict best pretraining_s transfer_s predict_s parameters memory_bytes elsewhere"
    writer.writerow(names.split())
    for n, row in enumerate(table.rows):
        for count, entry in row.entries.items():
            gap = entry.against
            numbers = [entry.score.mean, entry.score.low, entry.score.high, entry.f1]
            gaps = [gap.mean, gap.low, gap.high] if gap else [None, None, None]
            costs = [row.pretraining, row.transfer, row.predict]
            writer.writerow([
                row.rung, row.how, int(row.baseline), count, entry.seeds, entry.failed,
                *(f"{value:.6f}" for value in numbers),
                *("" if value is None else f"{value:.6f}" for value in gaps),
                entry.verdict, int(table.best.get(count) == n),
                *("" if value is None else f"{value:.3f}" for value in costs),
                row.parameters, row.memory, int(bool(row.source)),
            ])  # fmt: skip
    return out.getvalue()


def as_json(table: Table) -> JSON:
    """The table with every number at full precision."""
    rows = [{"name": row.name, **msgspec.to_builtins(row, str_keys=True)} for row in table.rows]
    return {
        "labels": list(table.labels),
        "tests": table.tests,
        "rows": rows,
        "best": {str(count): table.rows[n].name for count, n in table.best.items()},
        "best_baseline": {str(count): table.rows[n].name for count, n in table.best_baseline.items()},
        "failures": list(table.failures),
    }
