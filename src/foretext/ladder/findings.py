"""What the table says, in sentences: who wins at each label count, and what pretraining bought. From cells alone."""

from collections.abc import Sequence
from typing import Literal

from foretext.ladder.statistics import Interval, verdict
from foretext.ladder.table import Row, Table, paired_entries

Finding = tuple[str, str]
"""("above" | "below" | "level", sentence)."""


def findings(table: Table) -> list[Finding]:
    """The best pretrained row of each column against its best baseline; each rung against the same network from
    scratch; weights made elsewhere against what was pretrained here, and against themselves pretrained further."""
    return [*_leaders(table), *_bought(table), *_elsewhere(table), *_further(table)]


def _leaders(table: Table) -> list[Finding]:
    found: list[Finding] = []
    for count, base in table.best_baseline.items():
        rungs = [row for row in table.rows if not row.baseline and count in row.entries and row.entries[count].against]
        if not rungs:
            continue
        best = max(rungs, key=lambda row: row.entries[count].score.mean)
        entry, other = best.entries[count], table.rows[base]
        assert entry.against is not None
        kind = entry.verdict
        say = {"above": "beats", "below": "stays below", "level": "is level with"}[kind]
        found.append(
            (
                kind,
                f"{count:,} labels a class: {best.name}{_made(best)} {say} the best baseline, {other.name}: "
                f"{100 * entry.score.mean:.1f} % v {100 * other.entries[count].score.mean:.1f} %, {_points(entry.against)}.",
            )
        )
    return found


def _bought(table: Table) -> list[Finding]:
    """A sentence a network: its best pretrained way against itself from scratch, at the fewest and the most labels."""
    found: list[Finding] = []
    for scratch_number, scratch in enumerate(table.rows):
        if scratch.how != "scratch":
            continue
        peers = [n for n, row in enumerate(table.rows) if row.rung == scratch.rung and not row.baseline]
        said, kinds = [], []
        for count in table.labels:
            able = [n for n in peers if count in table.rows[n].entries]
            if not able or count not in scratch.entries:
                continue
            best = max(able, key=lambda n: table.rows[n].entries[count].score.mean)
            gap = paired_entries(table, best, scratch_number, count)
            if gap is None:
                continue
            kinds.append(verdict(gap))
            said.append(f"{_points(gap)} at {count:,} labels")
        found += _sentence(f"What pretraining bought {scratch.rung} over the same network from scratch", said, kinds)
    return found


def _made(row: Row) -> str:
    return " (weights made elsewhere)" if row.source else ""


def _elsewhere(table: Table) -> list[Finding]:
    """The best row of weights made elsewhere against the best row pretrained here, at each label count."""
    imported = [n for n, row in enumerate(table.rows) if row.source]
    here = [n for n, row in enumerate(table.rows) if not row.baseline and not row.source]
    said, kinds = [], []
    for count in table.labels:
        pair = _best(table, imported, count), _best(table, here, count)
        if pair[0] is None or pair[1] is None or (gap := paired_entries(table, pair[0], pair[1], count)) is None:
            continue
        kinds.append(verdict(gap))
        names = " v ".join(table.rows[n].name for n in pair if n is not None)
        said.append(f"{_points(gap)} at {count:,} labels ({names})")
    lead = "What weights made elsewhere, on other text and at another cost, bought over the best pretrained here"
    return _sentence(lead, said, kinds)


def _further(table: Table) -> list[Finding]:
    """Each row whose weights were pretrained further here against the same weights as they are, in the same way."""
    found: list[Finding] = []
    for n, row in enumerate(table.rows):
        if not row.source or row.pretraining is None:
            continue
        same = [m for m, r in enumerate(table.rows) if (r.source, r.how) == (row.source, row.how) and r.pretraining is None]
        said, kinds = [], []
        for count in table.labels:
            if not same or not {n, same[0]} <= _with(table, count) or (gap := paired_entries(table, n, same[0], count)) is None:
                continue
            kinds.append(verdict(gap))
            said.append(f"{_points(gap)} at {count:,} labels")
        if same:
            found += _sentence(f"What pretraining further on this text bought {row.name} over {table.rows[same[0]].name}", said, kinds)
    return found


def _best(table: Table, among: Sequence[int], count: int) -> int | None:
    able = [n for n in among if n in _with(table, count)]
    return max(able, key=lambda n: table.rows[n].entries[count].score.mean) if able else None


def _with(table: Table, count: int) -> set[int]:
    return {n for n, row in enumerate(table.rows) if count in row.entries}


def _sentence(lead: str, said: Sequence[str], kinds: Sequence[Literal["above", "below", "level"]]) -> list[Finding]:
    if not said:
        return []
    return [(kinds[0] if len(set(kinds)) == 1 else "level", f"{lead}: {'; '.join(said)}.")]


def _points(gap: Interval) -> str:
    told = f"{100 * gap.mean:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return told.replace("-", "−")
