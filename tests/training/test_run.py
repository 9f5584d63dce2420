"""The loop: killed and interrupted anywhere, it ends with the bits of a run that was not."""

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from foretext.errors import ArtefactError, DivergedError, Preempted, UsageError
from foretext.folder import locked
from foretext.training import checkpoint
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import NonFiniteStep, evaluation_steps, run
from foretext.types import Report, State

SCRIPT = Path(__file__).parent / "tiny.py"


class Child:
    """A process that trains: forked from this one, because starting Python with torch costs seconds."""

    def __init__(self, tiny, folder, told):
        self.out, self.err = folder.with_suffix(".out"), folder.with_suffix(".err")
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                for file, number in ((self.out, 1), (self.err, 2)):
                    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                code = tiny.exit_code(folder, **told)
            finally:
                sys.stdout.flush()
                os._exit(code)

    def wait(self):
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return code, self.out.read_text().splitlines(), self.err.read_text()



def train(tiny, folder, **told):
    return Child(tiny, folder, told).wait()


def log_of(folder):
    lines = [json.loads(line) for line in (Path(folder) / "log.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def losses_of(lines):
    return {line.split()[1]: line.split()[2] for line in lines if line.startswith("loss")}


def arrays_of(lines):
    return [line for line in lines if line.startswith("array")]


@pytest.fixture(scope="session")
def straight(tiny, tmp_path_factory):
    """An uninterrupted run: its lines, its log."""
    folder = tmp_path_factory.mktemp("straight")
    code, lines, err = train(tiny, folder)
    assert code == 0, err
    return lines, log_of(folder)


@pytest.mark.parametrize("step", [1, 5, 12])
def test_killed_at_a_step(tiny, tmp_path, straight, step):
    lines, log = straight
    folder = tmp_path / "run"
    code, before, _ = train(tiny, folder, kill_at=step)
    assert code == -signal.SIGKILL
    code, after, err = train(tiny, folder)
    assert code == 0, err
    # At most one interval (3 steps) is done again, with the same bits.
    again = [int(s) for s in losses_of(after)]
    assert step - 3 < min(again) <= step + 1
    for part in (losses_of(before), losses_of(after)):
        assert part.items() <= losses_of(lines).items()
    assert arrays_of(after) == arrays_of(lines)
    assert log_of(folder) == log


@pytest.mark.parametrize("where", ["term_at", "term_evaluating"])
def test_terminated_then_resumed(tiny, tmp_path, straight, where):
    lines, log = straight
    folder = tmp_path / "run"
    began = time.monotonic()
    code, _, err = train(tiny, folder, **{where: 6})
    assert code == 75, err
    assert time.monotonic() - began < 50  # an evaluation (here of 60 s) is left at once
    assert "SIGTERM: stopped and saved after step 6 of 12" in err
    assert "--resume" in err
    code, after, err = train(tiny, folder)
    assert code == 0, err
    assert min(int(s) for s in losses_of(after)) == 7
    assert arrays_of(after) == arrays_of(lines)
    assert log_of(folder) == log


def test_a_fresh_process_gives_the_same_bits(tmp_path, straight):
    """Another interpreter, another hash seed, killed and resumed: the whole thing as a user meets it."""
    lines, log = straight
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2] / "src")}
    for told, expected in (["kill_at=5"], -signal.SIGKILL), ([], 0):
        env["PYTHONHASHSEED"] = str(len(told))
        done = subprocess.run([sys.executable, SCRIPT, tmp_path, *told], capture_output=True, text=True, env=env)
        assert done.returncode == expected, done.stderr
    assert arrays_of(done.stdout.splitlines()) == arrays_of(lines)
    assert log_of(tmp_path) == log


# ── in process, with a Stepper of three numbers ─────────────────────────────────────────────────────────────────────


class Counter:
    """Counts; its held-out losses are given."""

    def __init__(self, total=10, held_out=None, on_step=None, on_state=None):
        self.total, self.value, self.held_out = total, 0, held_out
        self.on_step, self.on_state, self.evaluations = on_step, on_state, []

    def step(self):
        if self.on_step:
            self.on_step(self.value + 1)
        self.value += 1
        return Report(loss=1.0 / self.value, count=1, tokens=10, done=self.value / self.total, norm=1.0)

    def state(self):
        if self.on_state:
            self.on_state()
        return State(arrays={"value": np.array([self.value])}, cursor={})

    def restore(self, state):
        self.value = int(state.arrays["value"][0])

    def evaluate(self):
        self.evaluations.append(self.value)
        return {"loss": self.held_out(self.value) if self.held_out else 1.0 / self.value}


def test_evaluations_are_spread_and_include_the_end():
    assert evaluation_steps(Limits(evaluations=4), 10) == {2, 5, 8, 10}
    assert evaluation_steps(Limits(evaluations=20), 3) == {1, 2, 3}
    assert evaluation_steps(Limits(evaluations=0), 10) == set()
    assert evaluation_steps(Limits(evaluate_steps=4), 10) == {4, 8, 10}


def test_a_finished_run_is_a_no_op(tmp_path):
    ending = run(Counter(), tmp_path, Limits(evaluations=5), SilentWatch())
    assert (ending.steps, ending.best, ending.stopped, ending.tokens) == (10, 10, "finished", 100)
    assert ending.losses == {"loss": 0.1}
    log = (tmp_path / "log.jsonl").read_bytes()
    again = Counter(on_step=lambda n: pytest.fail("it stepped"))
    repeated = run(again, tmp_path, Limits(evaluations=5), SilentWatch())
    assert (repeated.steps, repeated.losses, repeated.tokens, again.value) == (10, {"loss": 0.1}, 100, 10)
    assert (tmp_path / "log.jsonl").read_bytes() == log


@pytest.mark.parametrize("keep", [0, 2])
def test_early_stopping_and_the_best_weights(tmp_path, keep):
    stepper = Counter(20, held_out=lambda n: abs(n - 6) + 1.0)
    limits = Limits(evaluate_steps=2, patience=3, choose="best", keep=keep)
    ending = run(stepper, tmp_path, limits, SilentWatch())
    assert (ending.steps, ending.best, ending.stopped, stepper.value) == (12, 6, "early", 6)
    assert ending.losses == {"loss": 1.0}
    if keep:
        assert checkpoint.steps(tmp_path / "checkpoints") == [6, 12]
        stepper = Counter(20, held_out=lambda n: pytest.fail("it looked again"))
        assert run(stepper, tmp_path, limits, SilentWatch()).stopped == "early"
        assert stepper.value == 6
    else:
        assert not (tmp_path / "checkpoints").exists()


def test_patience_survives_an_interruption(tmp_path):
    def interrupt(n):
        if n == 9:
            os.kill(os.getpid(), signal.SIGINT)

    limits = Limits(evaluate_steps=2, patience=3)
    with pytest.raises(Preempted):
        run(Counter(20, lambda n: abs(n - 6) + 1.0, interrupt), tmp_path, limits, SilentWatch())
    ending = run(Counter(20, lambda n: abs(n - 6) + 1.0), tmp_path, limits, SilentWatch())
    assert (ending.steps, ending.best, ending.stopped) == (12, 6, "early")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_the_handlers_come_back(tmp_path, number):
    before = signal.getsignal(number)

    def twice():
        if stepper.value == 4:
            os.kill(os.getpid(), number)  # a second signal, in the middle of the save

    stepper = Counter(on_step=lambda n: os.kill(os.getpid(), number) if n == 4 else None, on_state=twice)
    with pytest.raises(Preempted, match="after step 4 of 10") as caught:
        run(stepper, tmp_path, Limits(), SilentWatch())
    assert caught.value.exit_code == 75
    assert signal.getsignal(number) is before
    assert checkpoint.latest(tmp_path / "checkpoints").step == 4
    stepper = Counter()
    assert run(stepper, tmp_path, Limits(), SilentWatch()).steps == 10
    assert stepper.evaluations == [4, 5, 6, 7, 8, 9, 10]  # the one that the signal cut off comes first


def test_a_signal_in_the_last_step_is_not_swallowed(tmp_path):
    stepper = Counter(on_step=lambda n: os.kill(os.getpid(), signal.SIGTERM) if n == 10 else None)
    with pytest.raises(Preempted):
        run(stepper, tmp_path, Limits(), SilentWatch())
    assert run(Counter(), tmp_path, Limits(), SilentWatch()).losses == {"loss": 0.1}


def test_works_off_the_main_thread(tmp_path):
    endings = []
    thread = threading.Thread(target=lambda: endings.append(run(Counter(), tmp_path, Limits(), SilentWatch())))
    thread.start()
    thread.join()
    assert endings[0].steps == 10


def test_a_non_finite_step_leaves_the_batch(tmp_path):
    def burst(n):
        if n == 4:
            raise NonFiniteStep("the masked loss is nan", arrays={"ids": np.arange(5)})

    with pytest.raises(DivergedError, match=r"diverged-step-4.npz: step 4: the masked loss is nan") as caught:
        run(Counter(on_step=burst), tmp_path, Limits(checkpoint_steps=2), SilentWatch())
    assert "the checkpoint of step 2 is whole" in caught.value.message
    assert caught.value.exit_code == 6
    assert np.array_equal(np.load(tmp_path / "diverged-step-4.npz")["ids"], np.arange(5))
    assert checkpoint.latest(tmp_path / "checkpoints").step == 2


def test_two_writers_and_another_plan_are_refused(tmp_path):
    with locked(tmp_path / "checkpoints"), pytest.raises(UsageError, match="another foretext process"):
        run(Counter(), tmp_path, Limits(), SilentWatch())
    run(Counter(), tmp_path, Limits(), SilentWatch())
    with pytest.raises(ArtefactError, match="a run of 10 steps was begun here, this one plans 11"):
        run(Counter(11), tmp_path, Limits(), SilentWatch())


def test_a_damaged_checkpoint_is_stepped_over_and_said(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(Counter(on_step=lambda n: 1 // (n - 9)), tmp_path, Limits(checkpoint_steps=2), SilentWatch())
    newest = tmp_path / "checkpoints" / "step-00000008" / "arrays.safetensors"
    newest.write_bytes(newest.read_bytes()[:-1] + b"\xff")
    watch = SilentWatch()
    stepper = Counter()
    run(stepper, tmp_path, Limits(checkpoint_steps=2), watch)
    assert stepper.value == 10
    assert len(watch.alarms) == 1
    assert "step 8 is damaged" in watch.alarms[0]
    assert checkpoint.latest(tmp_path / "checkpoints", pytest.fail).step == 10


def test_the_log_of_a_long_run_is_thinned_to_means(tmp_path):
    run(Counter(4000), tmp_path, Limits(evaluations=0, checkpoint_minutes=None), SilentWatch())
    lines = log_of(tmp_path)
    assert [line["step"] for line in lines] == list(range(4, 4001, 4))
    assert lines[0]["loss"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert lines[-1]["tokens"] == 40_000


def test_a_torn_log_and_an_interrupted_mean_read_as_one_run(tmp_path):
    limits = Limits(evaluations=3, checkpoint_minutes=None)
    run(Counter(4000), tmp_path / "straight", limits, SilentWatch())
    stop = Counter(4000, on_step=lambda n: os.kill(os.getpid(), signal.SIGTERM) if n == 2002 else None)
    with pytest.raises(Preempted):
        run(stop, tmp_path / "cut", limits, SilentWatch())
    with (tmp_path / "cut" / "log.jsonl").open("a") as log:
        log.write('{"step":2004,"loss":0.5}\n{"step":20')
    run(Counter(4000), tmp_path / "cut", limits, SilentWatch())
    assert log_of(tmp_path / "cut") == log_of(tmp_path / "straight")


def test_a_loss_that_is_not_a_number_never_is_the_best(tmp_path):
    ending = run(Counter(held_out=lambda n: math.nan if n < 5 else float(n)), tmp_path, Limits(), SilentWatch())
    assert ending.best == 5
    assert run(Counter(), tmp_path, Limits(), SilentWatch()).best == 5


def test_patience_needs_something_held_out(tmp_path):
    stepper = Counter()
    stepper.evaluate = dict
    ending = run(stepper, tmp_path, Limits(patience=2, choose="best"), SilentWatch())
    assert (ending.steps, ending.best, ending.stopped, ending.losses) == (10, None, "finished", {})


def test_an_alarm_is_not_repeated_after_resuming(tmp_path):
    def stepper(stop=0):
        made = Counter(on_step=lambda n: os.kill(os.getpid(), signal.SIGTERM) if n == stop else None)
        made.evaluate = lambda: {"loss": 9.0, "masked loss": 9.0}
        return made

    first, second = SilentWatch(), SilentWatch()
    with pytest.raises(Preempted):
        run(stepper(stop=6), tmp_path, Limits(), first, unigram=7.0)
    run(stepper(), tmp_path, Limits(), second, unigram=7.0)
    assert (len(first.alarms), second.alarms) == (1, [])
