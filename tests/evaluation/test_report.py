"""The report on a classifier whose every answer is known."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from foretext.errors import DataError
from foretext.evaluation import canvas
from foretext.evaluation.report import evaluate
from foretext.tasks.base import Labelled, read_labelled
from foretext.tasks.classify import ClassifyConfig, ClassifyTask, settle
from foretext.types import Floats

ROWS = [("ab", "甲"), ("cd", "乙"), ("ef", "甲"), ("gh", "乙"), ("ij", "丙 $x$"), ("kl", "甲")]


class Oracle:
    """Says what it was told to."""

    def __init__(self, task: ClassifyTask, probabilities: list[list[float]]) -> None:
        self.task, self.probabilities = task, probabilities

    def log_probabilities(self, texts: tuple[str, ...]) -> Floats:
        assert len(texts) == len(self.probabilities)
        with np.errstate(divide="ignore"):
            return np.log(np.array(self.probabilities))


def task_of(rows: list[tuple[str, str]]) -> ClassifyTask:
    return settle(ClassifyConfig(), read_labelled(rows))


def test_everything_in_the_report_is_counted_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(ROWS)
    assert task.labels == ("丙 $x$", "乙", "甲")
    said = [[0.0, 0.1, 0.9], [0.1, 0.8, 0.1], [0.0, 0.95, 0.05], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0], [0.3, 0.3, 0.4]]
    report = evaluate(Oracle(task, said), ROWS)
    assert report.scores["accuracy"].score == pytest.approx(4 / 6)
    assert report.scores["accuracy"].low < 4 / 6 < report.scores["accuracy"].high
    assert report.majority == pytest.approx(0.5)
    assert report.matrix == ((1, 0, 0), (0, 1, 1), (0, 1, 2))
    assert [(m.text, m.said, m.true, m.line) for m in report.mistakes] == [
        ("ef", ("乙",), ("甲",), 3),
        ("gh", ("甲",), ("乙",), 4),
    ]
    assert report.mistakes[0].probability == pytest.approx(0.95)
    last = report.per_label[2]
    assert (last.label, last.true, last.said, last.precision, last.recall) == ("甲", 3, 3, pytest.approx(2 / 3), pytest.approx(2 / 3))
    text = report.text()
    assert "accuracy" in text and "calibration error" in text and "line 3: said 乙 (0.95), is 甲: ef" in text
    again = msgspec.json.decode(msgspec.json.encode(report.as_json()))
    assert again["matrix"] == [[1, 0, 0], [0, 1, 1], [0, 1, 2]]
    monkeypatch.setattr(canvas, "chinese_fonts", list)
    (remark,) = report.picture(tmp_path / "matrix.png")
    assert remark.endswith("1 丙 $x$  2 乙  3 甲")
    assert report.picture(tmp_path / "matrix.svg") == []
    assert (tmp_path / "matrix.png").read_bytes().startswith(b"\x89PNG")


def test_columns_of_the_text_report_line_up_with_wide_characters() -> None:
    rows = [("a", "苹果"), ("b", "pear")]
    lines = evaluate(Oracle(task_of(rows), [[0.0, 1.0], [1.0, 0.0]]), rows).text().splitlines()
    shown = [line for line in lines if "1.000  1.000" in line]
    ends = [len(line.encode("gbk")) for line in shown]
    assert len(shown) == 2 and ends[0] == ends[1]
    assert "no mistakes" in lines[-1]


def test_several_labels_a_text(tmp_path: Path) -> None:
    rows = [("a", "x|y"), ("b", "x"), ("c", "y")]
    report = evaluate(Oracle(task_of(rows), [[0.9, 0.8], [0.9, 0.99], [0.1, 0.7]]), rows)
    assert report.matrix == ()
    assert report.scores["exact match"].score == pytest.approx(2 / 3)
    assert report.scores["micro F1"].score == pytest.approx(8 / 9)
    (mistake,) = report.mistakes
    assert (mistake.text, mistake.said, mistake.true) == ("b", ("x", "y"), ("x",))
    assert report.picture(tmp_path / "bars.png") == []
    assert (tmp_path / "bars.png").stat().st_size > 1000


def test_a_label_the_classifier_does_not_know_is_refused() -> None:
    labelled: Labelled = read_labelled([("a", "x"), ("b", "moon")])
    with pytest.raises(DataError, match="'moon'"):
        evaluate(Oracle(task_of([("a", "x"), ("b", "y")]), [[1.0, 0.0], [0.0, 1.0]]), labelled)
