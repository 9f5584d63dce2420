"""Several processes make the run that one makes, to rounding; and end together when one of them is lost."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path

import numpy as np
import pytest
import torch

from foretext.config import override
from foretext.errors import DivergedError, ExitCode, PeerLost, Preempted, UsageError
from foretext.folder import read_record, write_record
from foretext.pretraining import Setting, pretrain
from foretext.recipes import find
from foretext.steppers import processors, settled_parts
from foretext.text.corpus import CorpusConfig, open_corpus, strings_corpus
from foretext.training import checkpoint, distributed, trial
from foretext.training.config import Limits
from foretext.training.distributed import Crew, Leader, Worker
from foretext.training.optimizers import fast_bf16
from foretext.training.progress import SilentWatch
from foretext.training.ranks import Alone, owners, share
from foretext.training.run import run
from foretext.training.source import Batches
from training import crowd

STEPS = Limits(checkpoint_steps=3, evaluations=4, keep=2)


@pytest.fixture(scope="module")
def crews():
    """Crews by size, started when first asked for: starting a worker costs two seconds of torch."""
    with contextlib.ExitStack() as stack:
        made = {1: None}

        def of(size):
            if size not in made:
                made[size] = stack.enter_context(Crew(size))
            return made[size]

        yield of


def built(crew, name, **told):
    """The Gradient "module:function" of rank 0, and of the crew's workers."""
    build = getattr(crowd, name.partition(":")[2])
    return build(**told) if crew is None else build(crew.lead(name, **told), **told)


def bits(state):
    return {name: array.tobytes() for name, array in state.arrays.items()}


def apart(a, b):
    """The largest difference of two states' model arrays."""
    names = {name for name in a.arrays if not name.startswith("optimizer.")}
    assert names <= set(b.arrays)
    return max(float(np.abs(a.arrays[name] - b.arrays[name]).max()) for name in names)


# ── the same run ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("size", "parts", "optimizer"), [(2, 2, "adamw"), (2, 2, "muon"), (2, 3, "muon"), (3, 6, "adamw")])
def test_the_same_losses_whatever_the_number_of_processes(crews, size, parts, optimizer):
    """Over 24 updates, two heads, two phases, with dropout; held-out losses too; and again, to the bit. Two processes that
    have a part of the update each also make the very model that one makes: a sum of two has one order."""
    told = {"parts": parts, "optimizer": optimizer}
    rough = optimizer == "muon" and fast_bf16(torch.device("cpu"))  # a gradient's last bit may turn a bf16 number
    near, far = (2e-4, 1e-2) if rough else (1e-5, 1e-4)
    one = built(None, crowd.SMALL_BERT, **told)
    several, again = [], []
    reports = [one.step() for _ in range(one.total)]
    end = one.evaluate()
    for run_of in (several, again) if parts == 2 else (several,):
        stepper = built(crews(size), crowd.SMALL_BERT, **told)
        run_of += [stepper.step() for _ in range(stepper.total)]
        held_out = stepper.evaluate()
        assert held_out.keys() == end.keys()
        assert held_out == pytest.approx(end, rel=near)
        assert apart(one.state(), stepper.state()) <= (0 if size == parts == 2 else far)
    for a, b in zip(reports, several, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=near)
        assert b.parts == pytest.approx(a.parts, rel=near)
        assert b.norm == pytest.approx(a.norm, rel=10 * near)
        assert (b.count, b.tokens, b.done, b.rate) == (a.count, a.tokens, a.done, a.rate)
    assert again == (several if parts == 2 else [])
    assert len({report.loss for report in reports}) == len(reports)


def test_a_process_that_owns_nothing_of_a_phase_clips_nothing(crews):
    """One parameter is trained, by one of two processes; the norm is above what is allowed."""
    one, two = (built(crews(size), crowd.TINY, narrow=True) for size in (1, 2))
    for _ in range(2):
        assert two.step().loss == pytest.approx(one.step().loss, rel=1e-6)
    assert apart(one.state(), two.state()) <= 1e-6


def test_the_same_weights_score_the_same(crews):
    """A metric is not the mean of the ranks' means: the held-out batches have different numbers of targets."""
    one = built(None, crowd.SMALL_BERT, parts=6)
    one.step()
    expected = one.evaluate()
    for size in (2, 3):
        stepper = built(crews(size), crowd.SMALL_BERT, parts=6)
        stepper.restore(one.state())
        found = stepper.evaluate()
        assert found == pytest.approx(expected, rel=1e-6)
        assert "next_sentence accuracy" in found
        assert stepper.evaluate() == found


@pytest.mark.parametrize("kind", ["adamw", "adam-bert", "muon"])
def test_a_head_without_targets_on_some_rank_or_on_all(crews, kind):
    """The head's parameters are updated exactly when some rank has targets; an idle rank does not move them."""
    one = built(None, "training.crowd:sparse", micros=3, kind=kind)
    for size in (2, 3):
        stepper = built(crews(size), "training.crowd:sparse", micros=3, kind=kind)
        if size == 2:
            reports = [one.step() for _ in range(12)]
        for a in reports:
            b = stepper.step()
            assert b.loss == pytest.approx(a.loss, rel=1e-5)
            assert b.parts.keys() == a.parts.keys()
            assert b.count == a.count
        assert apart(one.state(), stepper.state()) < 1e-5
    assert {"next_sentence loss"} <= reports[0].parts.keys()
    assert "next_sentence loss" not in reports[2].parts


def test_a_rank_with_nothing_to_do(crews):
    one = built(None, crowd.TINY, micros=1, total=6, dropout=0.0)
    stepper = built(crews(2), crowd.TINY, micros=1, total=6, dropout=0.0)
    for _ in range(6):
        assert stepper.step().loss == pytest.approx(one.step().loss, rel=1e-5)


def test_each_row_is_read_once_and_in_order(crews, tmp_path):
    for size in (1, 2, 3):
        (tmp_path / str(size)).mkdir()
        stepper = built(crews(size), crowd.TINY, micros=4, trace=str(tmp_path / str(size)))
        for _ in range(3):
            stepper.step()
    read = {}
    for size in (1, 2, 3):
        files = [tmp_path / str(size) / str(rank) for rank in range(size)]
        assert all(file.exists() for file in files)
        lines = [line for file in files for line in file.read_text().splitlines()]
        read[size] = sorted(lines, key=lambda line: [int(n) for n in line.split()[:2]])
        assert len(lines) == 12
    assert read[1] == read[2] == read[3]


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_rows_do_not_depend_on_the_split(kind):
    def rows(parts, size):
        source: Batches = crowd.bert(parts=parts, kind=kind)._batches._sources[0]
        found = []
        for rank in range(size):
            ranks = Alone()
            ranks.rank, ranks.size = rank, size
            micros = source.step(7)
            for index in share(len(micros), ranks):
                view, target = micros[index].views["text"], micros[index].targets["masked"]
                ids = view.ids.copy()
                ids.reshape(-1)[target.at] = -target.gold  # which places are masked, and what stood there
                found += [row[row != 0].tolist() for row in ids]
        return found

    whole = rows(1, 1)
    assert len(whole) == 6
    assert all(rows(parts, size) == whole for parts, size in [(2, 2), (3, 2), (4, 4), (6, 3)])


def test_memory_is_moved_not_copied(crews):
    """Rank 0's numbers are the workers': what it writes, they train on."""
    told = {"total": 6, "dropout": 0.0}
    one, two = built(None, crowd.TINY, **told), built(crews(2), crowd.TINY, **told)
    for stepper in (one, two):
        with torch.no_grad():
            stepper.model.heads["masked"].bias.add_(torch.linspace(-1, 1, 23))
    assert two.step().loss == pytest.approx(one.step().loss, rel=1e-6)


def test_the_work_of_an_update_is_divided(crews):
    """A rank makes no update that another makes, and keeps no state for it."""
    stepper = built(crews(2), crowd.TINY, kind="muon")
    stepper.step()
    mine = {name.rpartition(".")[0] for name in stepper.slots()}
    all_of = {name.rpartition(".")[0] for name in stepper.state().arrays if name.startswith("optimizer.")}
    assert mine < all_of
    assert len(all_of) == len(list(stepper.model.parameters()))


def test_owners_have_equal_loads():
    costs = {"table": 8.0, "a": 5.0, "b": 4.0, "c": 3.0, "d": 2.0}
    assert owners(costs, 2) == {"table": 0, "a": 1, "b": 1, "c": 0, "d": 1}
    assert set(owners(costs, 1).values()) == {0}
    assert owners({"a": 1.0}, 3) == {"a": 0}


# ── stopped and resumed ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("thaw", [False, True])
def test_resumed_with_another_number_of_processes(crews, tmp_path, thaw):
    """1 → 2 → 1 → 3: one sample order, the losses of an uninterrupted run to 1e-5; checkpoints are anybody's."""
    told = {"micros": 4, "kind": "muon", "total": 12, "thaw": thaw}
    straight = built(None, crowd.TINY, **told)
    losses = [straight.step().loss for _ in range(12)]
    state, found = None, []
    for size, steps in ((1, 2), (2, 4), (1, 3), (3, 3)):
        stepper = built(crews(size), crowd.TINY, **told)
        if state is not None:
            stepper.restore(state)
        found += [stepper.step().loss for _ in range(steps)]
        checkpoint.save(stepper.state(), tmp_path, stepper.done)
        latest = checkpoint.latest(tmp_path)
        assert latest is not None and latest.step == len(found)
        state = latest.state
    assert found == pytest.approx(losses, rel=1e-5)
    assert set(state.arrays) == set(straight.state().arrays)
    assert apart(straight.state(), state) < 1e-5


def test_the_same_number_resumes_to_the_bit(crews):
    straight = built(crews(2), crowd.TINY, kind="muon")
    losses = [straight.step().loss for _ in range(8)]
    end = bits(straight.state())
    first = built(crews(2), crowd.TINY, kind="muon")
    assert [first.step().loss for _ in range(4)] == losses[:4]
    state = first.state()
    first.step()
    second = built(crews(2), crowd.TINY, kind="muon")
    second.restore(state)
    assert [second.step().loss for _ in range(4)] == losses[4:]
    assert bits(second.state()) == end


def test_a_trial_leaves_every_rank_as_it_was(crews):
    plain, timed = (built(crews(2), crowd.TINY, total=40) for _ in range(2))
    rate = trial.measure(timed, 0.05)
    assert rate.steps >= 2
    assert rate.tokens * rate.step == pytest.approx(8 * 6)  # of both ranks
    timed.total = 30
    after = [timed.step() for _ in range(3)]
    plain = built(None, crowd.TINY, total=30)
    for a, b in zip([plain.step() for _ in range(3)], after, strict=True):
        assert b.loss == pytest.approx(a.loss, rel=1e-6)
        assert b.rate == a.rate


def test_an_evaluation_is_left_at_once_and_the_ranks_go_on_together(crews, tmp_path):
    """The signal comes while rank 1 is still scoring: its late answer must not be taken for another one."""
    stepper = built(crews(2), crowd.TINY, fault="slow", total=12)
    timer = threading.Timer(0.4, lambda: os.kill(os.getpid(), signal.SIGTERM))
    timer.start()
    with pytest.raises(Preempted, match="SIGTERM: stopped and saved after step 3 of 12"):
        run(stepper, tmp_path / "cut", STEPS, SilentWatch())
    timer.join()
    run(stepper := built(crews(2), crowd.TINY, total=12), tmp_path / "cut", STEPS, SilentWatch())
    resumed = bits(stepper.state())
    run(stepper := built(crews(2), crowd.TINY, total=12), tmp_path / "straight", STEPS, SilentWatch())
    assert bits(stepper.state()) == resumed


@pytest.mark.parametrize("meeting", [1, 2, 3, 4])
def test_a_signal_after_any_meeting_of_an_update_leaves_it_whole_or_undone(crews, tmp_path, meeting):
    """Told the norm, rank 1 writes its parameters into the shared memory at once; rank 0 must not turn back then."""
    stepper = built(crews(2), crowd.TINY, kind="muon", total=12)
    gather, met = stepper._ranks.gather, itertools.count(1)

    def gathered(values):
        rows = gather(values)
        if stepper.done == 4 and next(met) == meeting:
            time.sleep(0.2)  # the others go on
            os.kill(os.getpid(), signal.SIGTERM)
        return rows

    stepper._ranks.gather = gathered
    undone = meeting < 3
    with pytest.raises(Preempted, match=f"stopped and saved after step {4 if undone else 5} of 12"):
        run(stepper, tmp_path / "cut", STEPS, SilentWatch())
    run(stepper := built(crews(2), crowd.TINY, kind="muon", total=12), tmp_path / "cut", STEPS, SilentWatch())
    resumed = bits(stepper.state())
    run(stepper := built(crews(2), crowd.TINY, kind="muon", total=12), tmp_path / "straight", STEPS, SilentWatch())
    assert bits(stepper.state()) == resumed


# ── faults ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("rank", [0, 1])
def test_a_gradient_that_is_not_finite_on_one_rank_moves_nothing_on_any(crews, tmp_path, rank):
    stepper = built(crews(2), crowd.TINY, fault="nan", rank=rank, at=2)
    stepper.step(), stepper.step()
    before = stepper.state()
    with pytest.raises(DivergedError, match="the gradient's norm is nan") as caught:
        stepper.step()
    assert {"micro-0/text/ids", "micro-1/text/ids"} <= caught.value.arrays.keys()  # the update's, whoever read them
    assert bits(stepper.state()) == bits(before)
    healthy = built(crews(2), crowd.TINY)
    healthy.restore(before)
    expected = healthy.step()
    again = built(crews(2), crowd.TINY, fault="nan", rank=rank, at=99)
    again.restore(before)
    assert again.step() == expected


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("kill", "process 2 of 2 was ended by SIGKILL"),
        ("stop", "process 2 of 2 hangs: no answer and no work for 1 s"),
    ],
)
def test_a_lost_process_ends_the_run_and_the_checkpoint_is_whole(crews, tmp_path, fault, message):
    with Crew(2, patience=1.0) as crew:
        stepper = built(crew, crowd.TINY, fault=fault, at=7, total=12)
        pid = crew.workers[0].process.pid
        run_for = threading.Timer(60.0, lambda: os.kill(os.getpid(), signal.SIGABRT))
        run_for.start()
        began = time.monotonic()
        with pytest.raises(PeerLost, match=message) as caught:
            run(stepper, tmp_path / "cut", STEPS, SilentWatch())
        run_for.cancel()
        assert time.monotonic() - began < 30
        assert caught.value.exit_code == ExitCode.PEER_LOST == 7
        assert "--resume" in caught.value.message
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    latest = checkpoint.latest(tmp_path / "cut" / "checkpoints")
    assert latest is not None and latest.step == 6
    run(stepper := built(crews(2), crowd.TINY, total=12), tmp_path / "cut", STEPS, SilentWatch())
    resumed = bits(stepper.state())
    run(stepper := built(crews(2), crowd.TINY, total=12), tmp_path / "straight", STEPS, SilentWatch())
    assert bits(stepper.state()) == resumed


SPINNING = "while True: pass"
SLEEPING = "import time; time.sleep(600)"


@contextlib.contextmanager
def leading(script, patience=1.0):
    """Rank 0 of two, and its end of a socket to a process that runs `script` instead of following."""
    ours, theirs = Pipe()
    process = subprocess.Popen([sys.executable, "-S", "-c", script])
    worker = Worker(rank=1, process=process, pipe=ours)
    try:
        yield Leader([worker], -1, patience, itertools.count(1)), theirs
    finally:
        theirs.close()
        worker.dismiss()


def said(number, *values, kind=b"V"):
    body = values[0] if kind == b"F" else np.array(values, np.float64).tobytes()
    return kind + number.to_bytes(8, "little") + body


def test_a_process_that_works_has_all_the_time_it_needs():
    """An update of a large model may take minutes: only one that neither answers nor works counts as hung."""
    with leading(SPINNING, patience=0.4) as (leader, theirs):
        leader.order("step")
        answer = threading.Timer(2.5, lambda: theirs.send_bytes(said(1, 3.0)))
        answer.start()
        assert leader.gather([2.0]) == [[2.0], [3.0]]
    with leading(SLEEPING, patience=0.4) as (leader, theirs):
        leader.order("step")
        began = time.monotonic()
        with pytest.raises(PeerLost, match="hangs"):
            leader.gather([2.0])
        assert time.monotonic() - began < 20


def test_last_words_are_told():
    with leading(SLEEPING) as (leader, theirs):
        leader.order("step")
        theirs.send_bytes(said(1, b"MemoryError: planted", kind=b"F"))
        with pytest.raises(PeerLost, match="process 2 of 2 failed: MemoryError: planted"):
            leader.gather([1.0])
    with leading("import sys; sys.exit(3)") as (leader, theirs):
        theirs.send_bytes(said(1, b"OSError: no such store", kind=b"F"))
        theirs.close()
        time.sleep(0.2)
        with pytest.raises(PeerLost, match="process 2 of 2 failed: OSError: no such store"):
            leader.order("step")  # the socket is closed
        with pytest.raises(PeerLost, match="process 2 of 2 ended with code 3"):
            leader.order("restore")


def test_answers_to_an_abandoned_order_are_passed_over():
    with leading(SLEEPING) as (leader, theirs):
        leader.order("evaluate")
        leader.order("step")
        theirs.send_bytes(said(1, 9.0, 9.0, 9.0))
        theirs.send_bytes(said(2, 4.0))
        assert leader.gather([1.0]) == [[1.0], [4.0]]


def ended(pid, seconds=10.0):
    """Whether the process is gone (or a zombie that nobody will read) within `seconds`."""
    for _ in range(int(seconds * 20)):
        try:
            if Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] == b"Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a stopped orphan has to be continued first")
def test_no_worker_outlives_its_parent(tmp_path):
    """Rank 0 is killed while its worker, stopped, could not notice by itself."""
    file = tmp_path / "worker"
    parent = os.fork()
    if parent == 0:
        with Crew(2) as crew:
            built(crew, crowd.TINY)
            worker = crew.workers[0].process.pid
            os.kill(worker, signal.SIGSTOP)
            file.write_text(f"{worker}.")
            time.sleep(600)
        os._exit(1)
    for _ in range(1200):
        if file.exists() and file.read_text().endswith("."):
            break
        time.sleep(0.05)
    worker = int(file.read_text().rstrip("."))
    assert not ended(worker, seconds=0.1)
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    assert ended(worker)


# ── the command ─────────────────────────────────────────────────────────────────────────────────────────────────────

WORDS = "the a river bank boat water money market price ship sailor trader rises falls moves past under near old".split()
RECIPE = {
    "family": {"layers": 2, "width": 16, "heads": 2, "inner": 32, "positions": 32},
    "tokenizer": {"size": 80},
    "windows": {"length": 32},
    "held_out": 0.1,
    "batch": {"rows": 4, "precision": "fp32"},
    "init_embeddings": "random",
}


def text():
    draw = np.random.default_rng(0)
    return ["\n".join(" ".join(draw.choice(WORDS, 10)) + "." for _ in range(8)) for _ in range(30)]


def toml(values):
    tables = [f"[{name}]\n" + "\n".join(f"{k} = {v!r}" for k, v in table.items()) for name, table in values.items() if isinstance(table, dict)]
    plain = [f"{name} = {value!r}" for name, value in values.items() if not isinstance(value, dict)]
    return "\n".join([*plain, *tables])


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_pretrain_with_two_processes_stopped_by_a_signal_to_all_resumes_with_one(tmp_path):
    """As a user meets it: Ctrl-C or a scheduler's SIGTERM reaches the whole group; --resume, here in one process."""
    recipe = override(find("bert-budget"), RECIPE)
    (tmp_path / "recipe.toml").write_text(toml(RECIPE))
    (tmp_path / "corpus.txt").write_text("\n\n".join(text()))
    reading = CorpusConfig(documents="blank")
    words = ["pretrain", "bert-budget", "corpus.txt", "--documents", "blank", "--out", "m", "--config", "recipe.toml"]
    words += ["--steps", "120"]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "FORETEXT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "foretext", *words, "--processes", "2", "--device", "cpu"]
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stderr=subprocess.PIPE, start_new_session=True)
    log = tmp_path / "m.run" / "log.jsonl"
    for _ in range(1200):
        if log.exists() and log.read_bytes().count(b"\n") > 5:
            break
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGTERM)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 75, err.decode()
    # The second signal may come when everything is saved: then it has the last word.
    assert b"stopped and saved after step" in err or b"interrupted" in err
    assert b"Traceback" not in err
    assert workers and all(ended(worker) for worker in workers)
    saved = checkpoint.latest(tmp_path / "m.run" / "checkpoints")
    assert saved is not None and 5 < saved.step < 120
    corpus, setting = open_corpus([tmp_path / "corpus.txt"], reading), Setting(device="cpu", threads=1)
    limits = replace(recipe.limits, minutes=None, steps=120)
    made = pretrain(recipe, corpus, tmp_path / "m", limits=limits, setting=setting, resume=True)
    straight = pretrain(recipe, corpus, tmp_path / "straight", limits=limits, setting=setting)
    one, two = (training_losses(model.path / "training.jsonl") for model in (straight, made))
    assert len(one) == len(two) == 120
    near = 2e-4 if fast_bf16(torch.device("cpu")) else 1e-5  # the recipe's Muon multiplies in bf16 there
    assert two[:60] == pytest.approx(one[:60], rel=near)
    assert two == pytest.approx(one, rel=1e-3)  # rounding grows over hundreds of updates


def training_losses(file):
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


def test_a_run_in_one_process_goes_on_in_two(crews, tmp_path, monkeypatch):
    """Its split of an update is kept where every process gets a part, and said to be finer where one would not."""
    monkeypatch.setattr(distributed, "Crew", lambda size, threads: contextlib.nullcontext(crews(size)))
    recipe = override(find("bert-budget"), {**RECIPE, "batch": {"rows": 4, "micro": 2, "precision": "fp32"}})
    limits, said = Limits(steps=6, evaluations=2), Telling(stop=3)
    setting = {"cache": tmp_path / "cache", "device": "cpu", "threads": 1}
    with pytest.raises(Preempted):
        pretrain(recipe, strings_corpus(text()), tmp_path / "m", limits=limits, setting=Setting(**setting), watch=said)
    plan = tmp_path / "m.run" / "run.json"
    begun = read_record(plan)
    assert begun["parts"] == 2
    write_record(plan, {**begun, "parts": 1})  # as if `micro` had allowed it
    said, two = Telling(), Setting(processes=2, **setting)
    made = pretrain(recipe, strings_corpus(text()), tmp_path / "m", limits=limits, setting=two, watch=said, resume=True)
    assert any("split into 2 micro-batches from here on, not 1" in line for line in said.lines)
    assert made.provenance.steps == 6
    straight = pretrain(recipe, strings_corpus(text()), tmp_path / "s", limits=limits, setting=Setting(**setting))
    assert made.provenance.results["loss"] == pytest.approx(straight.provenance.results["loss"], rel=1e-5)


class Telling(SilentWatch):
    """Keeps what is said, and stops the run after a step."""

    def __init__(self, stop=0):
        super().__init__()
        self.lines, self.stop = [], stop

    def say(self, text):
        self.lines.append(text)

    def report(self, step, report):
        if step == self.stop:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize(
    ("name", "setting", "message"),
    [
        ("bert-budget", {"processes": 0}, "processes: expected a whole number from 1 on, found 0"),
        ("bert-budget", {"processes": 5}, "5 processes cannot share an update of 4 rows"),
        ("word2vec", {"processes": 2}, "word2vec trains in one process; use --threads"),
    ],
)
def test_what_cannot_be_shared_is_refused_before_anything_is_read(tmp_path, name, setting, message):
    recipe = override(find(name), RECIPE if name != "word2vec" else {})
    with pytest.raises(UsageError, match=message):
        pretrain(recipe, strings_corpus(text()), tmp_path / "m", setting=Setting(device="cpu", **setting))
    assert not list(tmp_path.iterdir())


def test_threads_are_divided():
    cores = len(os.sched_getaffinity(0))
    assert processors(None, 1) == cores
    assert processors(None, 2 * cores) == 1
    assert processors(3, 2) == 3
    assert settled_parts(find("bert-base"), 1) == 8
    assert settled_parts(find("bert-base"), 3) == 9
    assert settled_parts(override(find("bert-budget"), RECIPE), 3) == 3
