"""What the table says, in sentences: who wins at each label count, and what pretraining bought. From cells alone."""

from foretext.ladder.statistics import Interval, verdict
from foretext.ladder.table import Table, paired_entries

Finding = tuple[str, str]
"""("above" | "below" | "level", sentence)."""


def findings(table: Table) -> list[Finding]:
    """The best pretrained row of each column against its best baseline, then each rung against the same network from
    scratch."""
    return [*_leaders(table), *_bought(table)]


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
                f"{count:,} labels a class: {best.name} {say} the best baseline, {other.name}: "
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
        if said:
            kind = kinds[0] if len(set(kinds)) == 1 else "level"
            found.append((kind, f"What pretraining bought {scratch.rung} over the same network from scratch: {'; '.join(said)}."))
    return found


def _points(gap: Interval) -> str:
    told = f"{100 * gap.mean:+.1f} points ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    return told.replace("-", "−")
