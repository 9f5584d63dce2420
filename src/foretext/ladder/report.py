"""report.html: one self-contained page (inline CSS and SVG, no request to anywhere, every text escaped), from cells."""

import importlib.resources
from collections.abc import Sequence
from html import escape

from foretext.ladder.cells import Cell
from foretext.ladder.findings import findings
from foretext.ladder.forest import distances
from foretext.ladder.index import Index
from foretext.ladder.language import TITLE, LanguageRow, grouped, head, language_rows, legend
from foretext.ladder.plot import efficiency, looks
from foretext.ladder.rendering import FOOTNOTE, MARKS, cost_texts, memory_text, seconds_text
from foretext.ladder.table import Entry, Row, Table, build

READING = (
    (
        "one column",
        "a number of labelled texts a class that a user might have. Every rung gets the same texts; those of a smaller "
        "column lie inside those of the next larger one.",
    ),
    (
        "no hidden labels",
        "nothing is tuned on further labelled texts: there is no separate dev set, and settings that need one were fixed "
        "beforehand.",
    ),
    (
        "± and bands",
        "95 % bootstrap interval over test texts and seeds (a seed = another draw of the labelled texts and another start "
        "of the classifier). Pretraining ran once a rung, so its own luck is not in the interval.",
    ),
    (
        "▲ = ▼",
        "above, level with, or below the best baseline of the column. Both answer the same test texts with the same labelled "
        "texts, so the difference is resampled in pairs; “level” means that its 95 % interval holds 0.",
    ),
    (
        "from scratch",
        "the same network with the same tokenizer, trained on the labelled texts alone. What pretraining bought is the "
        "distance to it.",
    ),
    (
        "costs",
        "wall-clock seconds. Transfer and answers are the mean of one cell on one thread; memory is the largest peak of "
        "the process, libraries included; numbers are the parameters that answering needs.",
    ),
)


_REACHED = ("loss", "masked accuracy", "next_sentence accuracy")
"""Measures of a pretraining worth a place in the report."""


def page(index: Index, cells: Sequence[Cell]) -> str:
    """The whole page."""
    table = build(cells)
    title = index.title or "The ladder"
    css = importlib.resources.files("foretext.ladder").joinpath("page.css").read_text(encoding="utf-8")
    missing = len(index.keys) - len(cells)
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(_lead(index, table))}</p>',
        _unfinished(missing, len(index.keys)) if missing else "",
        _findings(table),
        _figures(table),
        "<h2>The table</h2>",
        _table(table),
        _definitions("What each row is", [(row.name, index.about.get(row.name, "")) for row in table.rows]),
        _language(cells, index),
        _pretraining(cells),
        _definitions("How to read it", READING),
        _definitions("What it was measured on", _circumstances(index, cells)),
        f"<h2>Again</h2><pre>{escape(index.command)}</pre>" if index.command else "",
        f"<footer>Rendered from {len(cells)} cells. Nothing on this page is fetched from anywhere.</footer>",
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{css}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _lead(index: Index, table: Table) -> str:
    rungs = sum(not row.baseline for row in table.rows)
    ways = f"{rungs} pretrained way{'s' if rungs != 1 else ''} and {len(table.rows) - rungs} baselines"
    counts = ", ".join(f"{count:,}" for count in table.labels)
    words = f"{ways} at {counts} labelled texts a class, scored on {table.tests:,} test texts"
    held = (
        "Transductive: the pretraining text may hold test texts (without their labels)."
        if index.transductive
        else "No pretraining text holds a test text."
    )
    unknown = " What the weights made elsewhere have read is not known." if any(row.source for row in table.rows) else ""
    return f"{words}. {held}{unknown}"


def _unfinished(missing: int, total: int) -> str:
    return f'<p class="note"><b>Unfinished:</b> {missing} of {total} cells are still to be run. The same command goes on.</p>'


def _findings(table: Table) -> str:
    items = "".join(f'<li class="{escape(kind)}">{escape(text)}</li>' for kind, text in findings(table))
    if not items:
        return ""
    note = "Points are differences in accuracy on the same test texts, with their paired 95 % interval."
    return f'<ul class="findings">{items}</ul><p class="note">{note}</p>'


def _figures(table: Table) -> str:
    first, second = efficiency(table), distances(table)
    parts = []
    if first:
        parts.append(
            f"<h2>How far each labelled text goes</h2><figure>{first}<figcaption>Accuracy on the test texts. Bands are 95 % "
            "intervals; dashed lines see no raw text. Hold the pointer over a mark for its numbers.</figcaption></figure>"
        )
    if second:
        parts.append(
            f"<h2>Against the best baseline</h2><figure>{second}<figcaption>Difference in accuracy, in points, to the column’s "
            "best baseline. A line that crosses 0 shows no difference that these texts could prove.</figcaption></figure>"
        )
    return "".join(parts)


def _table(table: Table) -> str:
    counts = "".join(f"<th>{count:,}</th>" for count in table.labels)
    head = (
        f'<thead><tr><th></th><th colspan="{len(table.labels)}">accuracy, % — labelled texts a class</th>'
        '<th colspan="3">time</th><th colspan="2">size</th></tr>'
        f"<tr><th>rung</th>{counts}<th>pretraining</th><th>transfer</th><th>answers</th><th>numbers</th><th>memory</th></tr></thead>"
    )
    style = looks(table.rows)
    body = "".join(_table_row(table, n, row, style[n].colour) for n, row in enumerate(table.rows))
    legend = "underlined: best of its column · ▲ above, = level with, ▼ below the best baseline of the column"
    if any(row.source for row in table.rows):
        legend += f"<br>{FOOTNOTE}"
    lost = "".join(f'<p class="note">Failed: {escape(text)}</p>' for text in table.failures)
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div><p class="note">{legend}</p>{lost}'


def _table_row(table: Table, n: int, row: Row, colour: str) -> str:
    scores = "".join(_score(row.entries.get(count), table.best.get(count) == n) for count in table.labels)
    costs = "".join(f"<td>{escape(text)}</td>" for text in cost_texts(row))
    kind = "baseline" if row.baseline else "rung"
    name = f'<span class="swatch" style="background:{colour}"></span>{escape(row.name)}'
    return f'<tr class="{kind}"><td>{name}</td>{scores}{costs}</tr>'


def _score(entry: Entry | None, best: bool) -> str:
    if entry is None:
        return "<td>–</td>"
    half = 50 * (entry.score.high - entry.score.low)
    seeds = ", ".join(f"{100 * share:.1f}" for share in entry.by_seed)
    told = f"by seed: {seeds}; macro F1 {100 * entry.f1:.1f}"
    lost = f' <span class="pm">({entry.failed} failed)</span>' if entry.failed else ""
    return (
        f'<td class="score{" best" if best else ""}" title="{escape(told, quote=True)}"><b>{100 * entry.score.mean:.1f}</b> '
        f'<span class="pm">±{half:.1f}</span> <span class="mark {entry.verdict}">{MARKS[entry.verdict]}</span>{lost}</td>'
    )


def _language(cells: Sequence[Cell], index: Index) -> str:
    """What rungs make of the test texts as language models; nothing where none is one."""
    rows = language_rows(cells)
    if not rows:
        return ""
    titles = "".join(f"<th>{escape(name)}</th>" for name in ("", *head(rows)[1:]))
    body = "".join(f"<tbody>{''.join(_language_row(row) for row in group)}</tbody>" for group in grouped(rows))
    notes = "<br>".join(escape(note) for note in legend(rows, index.masked))
    about = [(row.name, index.about.get(row.name, "")) for row in rows]
    return (
        f'<h2>{escape(TITLE)}</h2><div class="wide"><table><thead><tr>{titles}</tr></thead>{body}</table></div>'
        f'<p class="note">{notes}</p>{_definitions("", about)}'
    )


def _language_row(row: LanguageRow) -> str:
    name, *figures = row.texts()
    return f"<tr><td>{escape(name)}</td>{''.join(f'<td>{escape(text)}</td>' for text in figures)}</tr>"


def _definitions(title: str, items: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in items if text)
    heading = f"<h2>{escape(title)}</h2>" if title else ""
    return f"{heading}<dl>{rows}</dl>" if rows else ""


def _pretraining(cells: Sequence[Cell]) -> str:
    """What each rung's pretraining reached and cost."""
    items = []
    for cell in cells:
        if cell.kind != "pretraining":
            continue
        spent, training = cell.seconds.get("pretraining"), cell.seconds.get("training")
        told = ["weights made elsewhere, on other text"] if cell.source else []
        told += ["taken as they are"] if spent is None else [f"{seconds_text(spent)} in all, {seconds_text(training)} of them training"]
        told.append(f"{memory_text(cell.memory)} at the peak")
        told += [f"{name} {_number(value)}" for name, value in cell.notes.items() if isinstance(value, int | float)]
        told += [f"held-out {name} {value:.3f}" for name, value in cell.scores.items() if name in _REACHED]
        if "unigram entropy" in cell.scores:
            told.append(f"to beat (word frequencies alone) {cell.scores['unigram entropy']:.3f}")
        items.append((cell.rung, cell.failed or "; ".join(told)))
    return _definitions("What pretraining reached", items)


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.1f}"


def _circumstances(index: Index, cells: Sequence[Cell]) -> list[tuple[str, str]]:
    items = [*index.corpus.items(), *index.task.items()]
    if index.minutes:
        items.append(("pretraining budget", f"{index.minutes:g} min of wall clock a rung, on the same text"))
    machines = {str(dict(sorted(cell.machine.items()))): cell.machine for cell in cells if cell.machine}
    for machine in machines.values():
        flags = ", ".join(machine.get("flags", ()))
        items.append(
            (
                "machine",
                f"{machine.get('processor', '')}, {machine.get('cores', '?')} cores ({flags}), "
                f"{memory_text(int(machine.get('memory', 0)))} memory, {machine.get('system', '')}, Python {machine.get('python', '')}",
            )
        )
    for versions in {str(dict(sorted(cell.versions.items()))): cell.versions for cell in cells if cell.versions}.values():
        items.append(("libraries", ", ".join(f"{name} {version}" for name, version in versions.items())))
    total = sum(sum(cell.seconds.values()) for cell in cells)
    items.append(("work", f"{seconds_text(total)} in all cells together (some ran side by side)"))
    return items
