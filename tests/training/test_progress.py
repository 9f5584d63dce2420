"""What is shown: on a terminal, in a file, to a program."""

import io
import json
import subprocess
import sys

import pytest
from rich.console import Console

from foretext.training.config import Limits
from foretext.training.progress import JsonWatch, RichWatch, duration
from foretext.training.run import run
from foretext.types import Report


def report(loss, tokens=100):
    return Report(loss=loss, count=10, tokens=tokens, done=0.5, parts={"masked loss": loss}, norm=1.0, rate=1e-3)


def test_plain_lines_where_there_is_no_terminal(tiny, tmp_path):
    out = io.StringIO()
    watch = RichWatch("tiny", console=Console(file=out, width=200), every=0.0)
    run(tiny.stepper(total=4), tmp_path, Limits(evaluations=1), watch, unigram=6.9)
    watch.alarm("[bold]100 % [not markup]")
    lines = out.getvalue().splitlines()
    assert lines[0].startswith("tiny · step 1/4 · loss ")
    assert "to beat 6.900" in lines[0]
    assert "tokens/s" in lines[0]
    assert "left" in lines[0]
    assert any(line.startswith("step 4 · held out: loss ") and "next_sentence accuracy" in line for line in lines)
    assert lines[-1] == "warning: [bold]100 % [not markup]"
    assert "\x1b" not in out.getvalue()


def test_few_plain_lines(tiny, tmp_path):
    out = io.StringIO()
    watch = RichWatch(console=Console(file=out, width=200), every=1000.0)
    watch.begin(total=500)
    for step in range(1, 501):
        watch.report(step, report(2.0))
    assert len(out.getvalue().splitlines()) == 1  # the last step's


def test_a_live_line_on_a_terminal():
    out = io.StringIO()
    watch = RichWatch(console=Console(file=out, width=200, force_terminal=True))
    watch.begin(total=2, unigram=5.0)
    watch.report(1, report(4.0))
    watch.evaluated(1, {"loss": 3.0, "masked count": 7.0})
    watch.alarm("careful")
    watch.report(2, report(2.0))
    watch.close()
    watch.close()
    assert "careful" in out.getvalue()
    assert "held out: loss 3.000" in out.getvalue()
    assert "step 2/2 · loss 3.000" in out.getvalue()  # the mean of the first two


def test_json_lines_for_programs(tiny, tmp_path):
    out = io.StringIO()
    run(tiny.stepper(total=3), tmp_path, Limits(evaluations=1), JsonWatch(out, every=0.0), unigram=9.0)
    events = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [e["event"] for e in events] == ["begin", "step", "step", "step", "evaluated", "alarm", "end"]
    assert "chance" in events[5]["text"]  # the labels are coin tosses
    assert events[0] == {"event": "begin", "total": 3, "step": 0, "tokens": 0, "unigram": 9.0}
    assert events[1]["parts"].keys() == {"masked loss", "next_sentence loss"}
    assert events[4]["losses"]["masked count"] > 0


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (89, "89 s"), (600, "10 min"), (11_100, "3 h 05 min")])
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_the_loop_needs_neither_torch_nor_rich():
    """word2vec trains on numpy alone; the settings must be readable at once."""
    code = (
        "import sys; import foretext.training.run, foretext.training.trial, foretext.training.progress;"
        "print([m for m in ('torch', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
