"""The table is what its cells say: means, leaders, paired verdicts, costs; as text, CSV and JSON alike."""

import csv
import io
import json

import numpy as np
import pytest

from foretext.ladder.rendering import as_csv, as_json, as_text, count_text, memory_text, score_text, seconds_text
from foretext.ladder.table import build
from ladder.world import score_cell, some_cells


def test_rows_means_and_leaders() -> None:
    cells = some_cells()
    table = build(cells)
    assert [row.name for row in table.rows] == [
        "majority", "TF-IDF + LR", "word2vec · from scratch", "word2vec · features",
    ]  # fmt: skip
    assert table.labels == (5, 20)
    assert (table.best, table.best_baseline) == ({5: 3, 20: 1}, {5: 1, 20: 1})
    entry = table.rows[1].entries[5]
    mine = [cell for cell in cells if cell.rung == "tfidf" and cell.labels == 5]
    assert entry.score.mean == pytest.approx(np.mean([cell.scores["accuracy"] for cell in mine]))
    assert entry.by_seed == pytest.approx([cell.scores["accuracy"] for cell in mine])
    assert entry.f1 == pytest.approx(entry.score.mean / 2)
    assert entry.score.low < entry.score.mean < entry.score.high


def test_verdicts_are_paired_and_baselines_are_no_rungs() -> None:
    table = build(some_cells())
    by_name = {row.name: row for row in table.rows}
    assert by_name["word2vec · features"].entries[5].verdict == "above"
    assert by_name["word2vec · features"].entries[20].verdict == "below"
    assert by_name["TF-IDF + LR"].entries[5].against is None
    assert by_name["word2vec · from scratch"].baseline
    gap = by_name["word2vec · features"].entries[5].against
    assert gap is not None
    mean = by_name["word2vec · features"].entries[5].score.mean - by_name["TF-IDF + LR"].entries[5].score.mean
    assert gap.mean == pytest.approx(mean)


def test_costs_belong_to_who_pays_them() -> None:
    by_name = {row.name: row for row in build(some_cells()).rows}
    assert by_name["word2vec · features"].pretraining == 12.0
    assert by_name["word2vec · from scratch"].pretraining is None
    assert by_name["word2vec · features"].memory == 5 * 10**9
    assert by_name["word2vec · from scratch"].memory == 3 * 10**8
    assert by_name["TF-IDF + LR"].transfer == 2.0


def test_failed_and_missing_cells_are_told() -> None:
    cells = some_cells()
    lost = [cell for cell in cells if (cell.rung, cell.labels, cell.seed) != ("tfidf", 5, 2)]
    failed = score_cell("tfidf", "", 5, 2, np.array([]), failed="it <diverged>")
    table = build([*lost, failed])
    entry = next(row for row in table.rows if row.rung == "tfidf").entries[5]
    assert (entry.seeds, entry.failed) == (2, 1)
    assert "(1 failed)" in as_text(table)
    assert "it <diverged>" in as_text(table)
    # the rung has three seeds, the baseline two: compared over the two that both have
    assert next(row for row in table.rows if row.how == "features").entries[5].verdict == "above"
    unfinished = build([cell for cell in cells if cell.labels == 5 or cell.rung != "tfidf"])
    assert 20 not in next(row for row in unfinished.rows if row.rung == "tfidf").entries
    assert "–" in as_text(unfinished)
    assert build([]).rows == ()
    assert as_text(build([]))


def test_three_renderings_agree() -> None:
    table = build(some_cells())
    lines = list(csv.DictReader(io.StringIO(as_csv(table))))
    value = json.loads(json.dumps(as_json(table)))
    text = as_text(table)
    assert len(lines) == len(table.rows) * 2
    for line in lines:
        row = next(r for r in table.rows if (r.rung, r.how) == (line["rung"], line["how"]))
        entry = row.entries[int(line["labels"])]
        assert float(line["accuracy"]) == pytest.approx(entry.score.mean, abs=1e-6)
        assert line["verdict"] == entry.verdict
        stored = next(r for r in value["rows"] if r["name"] == row.name)["entries"][line["labels"]]
        assert stored["score"]["mean"] == entry.score.mean
        assert score_text(entry) in next(shown for shown in text.splitlines() if shown.startswith(row.name))
    assert value["best"] == {"5": "word2vec · features", "20": "TF-IDF + LR"}


def test_units() -> None:
    assert [seconds_text(s) for s in (None, 0.25, 3.14, 42, 200)] == ["–", "0.25 s", "3.1 s", "42 s", "3 min 20 s"]
    assert [count_text(c) for c in (0, 999, 1234, 56_789, 3_400_000)] == ["–", "999", "1.2 k", "57 k", "3.4 M"]
    assert [memory_text(m) for m in (0, 5 * 10**6, 2_340_000_000)] == ["–", "5 MB", "2.3 GB"]
