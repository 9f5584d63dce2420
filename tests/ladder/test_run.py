"""The ladder itself, in worker processes: it runs, it stops, it goes on where it was."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from foretext.errors import DataError, UsageError
from foretext.ladder import LadderConfig, ladder
from foretext.ladder.cells import Cell, Plan
from foretext.ladder.index import cell_folder
from ladder.world import write_world


class Log:
    """Remembers what was run."""

    def __init__(self) -> None:
        self.todo: list[str] = []
        self.ran: list[str] = []
        self.finished = 0

    def begin(self, todo: list[Plan], finished: int, minutes: float, workers: int) -> None:
        self.todo, self.finished = [plan.key for plan in todo], finished

    def started(self, plan: Plan) -> None: ...

    def news(self, plan: Plan, text: str, share: float) -> None: ...

    def ended(self, plan: Plan, cell: Cell) -> None:
        self.ran.append(plan.key)

    def say(self, text: str) -> None: ...

    def close(self) -> None: ...


def run(config: LadderConfig, out: Path) -> Log:
    log = Log()
    ladder(config, out, watch=log)  # type: ignore[arg-type]
    return log


def test_finished_cells_are_not_run_again_and_damaged_ones_are(tmp_path: Path) -> None:
    config = write_world(tmp_path)
    out = tmp_path / "out"
    first = run(config, out)
    assert len(first.ran) == len(first.todo) == 8
    table = (out / "table.csv").read_text()
    assert "tfidf" in table
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    cells = cell_folder(out)
    lost, damaged = first.ran[0], first.ran[1]
    cells.file(lost).unlink()
    file = cells.file(damaged)
    file.write_text(file.read_text().replace('"tests"', '"tsets"'))
    again = run(config, out)
    assert (set(again.ran), again.finished) == ({lost, damaged}, 6)
    more = run(replace(config, seeds=3), out)
    assert (len(more.ran), more.finished) == (4, 8)
    assert run(config, out).ran == []
    scores = [line.split(",")[:8] for line in (out / "table.csv").read_text().splitlines()]
    assert scores == [line.split(",")[:8] for line in table.splitlines()]  # all but seconds and bytes


def test_what_cannot_work_is_refused_before_anything_runs(tmp_path: Path) -> None:
    config = write_world(tmp_path)
    out = tmp_path / "out"
    with pytest.raises(DataError, match="has only 12"):
        run(replace(config, labels=(2, 13)), out)
    with pytest.raises(UsageError, match="needs test"):
        run(replace(config, test=""), out)
    with pytest.raises(UsageError, match="no such"):
        run(replace(config, train=str(tmp_path / "absent.csv")), out)
    assert not cell_folder(out).path.exists()


SCRIPT = """
import sys
from pathlib import Path
from foretext.ladder import LineWatch, ladder, read_grid
from foretext.errors import ForetextError
if __name__ == "__main__":
    try:
        ladder(read_grid(Path(sys.argv[1])), sys.argv[2], watch=LineWatch())
    except ForetextError as error:
        print(error.message, file=sys.stderr)
        sys.exit(int(error.exit_code))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 75), (signal.SIGKILL, -9)])
def test_stopped_anywhere_it_goes_on(tmp_path: Path, number: int, code: int) -> None:
    """SIGTERM comes to the command itself (tests/trust/test_signals.py)."""
    config = write_world(tmp_path)
    grid, script, out = tmp_path / "GRID.toml", tmp_path / "go.py", tmp_path / "out"
    grid.write_text(
        'corpus = ["corpus.txt"]\ntrain = "train.csv"\ntest = "test.csv"\nrungs = []\nlabels = [2, 4]\nseeds = 2\nworkers = 1\n'
        'reading = {documents = "line"}\n'
    )
    script.write_text(SCRIPT)
    cells = out / "cells"
    process = subprocess.Popen([sys.executable, script, grid, out], stderr=subprocess.PIPE, env=dict(os.environ), text=True)
    wait_until(lambda: cells.is_dir() and any(cells.glob("*.json")), process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode in (code, 0)  # it may just have finished
    kept = {file.stem for file in cells.glob("*.json")}
    again = run(config, out)
    assert again.finished >= min(len(kept), 8) - 1  # one may have been under way
    assert len(list(cells.glob("*.json"))) == 8


def wait_until(true: object, process: subprocess.Popen[str]) -> None:
    for _ in range(1200):
        if true() or process.poll() is not None:  # type: ignore[operator]
            return
        time.sleep(0.05)
    process.kill()
    pytest.fail("no cell within a minute")


def test_a_rung_from_raw_text_to_the_table(tmp_path: Path) -> None:
    """word2vec for a second on sixty sentences: pretrained, transferred, from scratch, told in the report."""
    config = replace(
        write_world(tmp_path),
        rungs=("word2vec",),
        how={"word2vec": ("features", "finetune")},
        baselines=("majority", "scratch"),
        settings={"word2vec": {"family": {"width": 16, "min_count": 1}}},
        labels=(4,),
        seeds=1,
        minutes=0.02,
    )
    result = ladder(config, tmp_path / "out", watch=Log())  # type: ignore[arg-type]
    assert [row.name for row in result.table.rows] == [
        "majority", "word2vec · from scratch", "word2vec · features", "word2vec · fine-tuned",
    ]  # fmt: skip
    assert not result.table.failures
    best = result.table.rows[3].entries[4].score.mean
    assert best > result.table.rows[0].entries[4].score.mean == pytest.approx(1 / 3)
    made = next(cell for cell in result.cells if cell.kind == "pretraining")
    assert made.seconds["pretraining"] > 0
    assert made.memory > 10**7
    assert made.machine["cores"]
    assert "word2vec · fine-tuned" in result.report.read_text()
    assert (result.model("word2vec") / "foretext.json").is_file()
