"""A miniature world for faults: real pretraining runs of both families, in forked children that leave a trace.

A trace is a file that survives a SIGKILL: a line for each batch that was read (a hash of it) and for each step that was
made (its loss, bit for bit). Forked, because starting Python with torch costs seconds; the runs are `pretrain` itself.
"""

import contextlib
import hashlib
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from foretext.bundle import Pretrained
from foretext.config import override
from foretext.errors import ForetextError
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import StringsCorpus, strings_corpus
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.types import Report

FAMILIES = ("bert", "word2vec")
WORDS = "the a river bank boat water money market price ship sailor trader rises falls moves past under near old new".split()
STEPS, INTERVAL = 12, 2
LIMITS = Limits(steps=STEPS, evaluations=3, checkpoint_steps=INTERVAL, checkpoint_minutes=None)


def texts(documents: int = 30, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return ["\n".join(" ".join(draw.choices(WORDS, k=10)) + "." for _ in range(8)) for _ in range(documents)]


def corpus(seed: int = 0) -> StringsCorpus:
    return strings_corpus(texts(seed=seed))


def recipe(family: str, **values: object) -> Recipe:
    """A tiny BERT with dropout, two heads and two phases; or word vectors in several blocks and shards."""
    if family == "word2vec":
        return override(find("word2vec"), {"family": {"min_count": 1, "width": 8, "block": 300}, "held_out": 0.1, **values})
    base = replace(find("bert-mini"), phases=find("bert-budget").phases)
    laid = {
        "family": {"layers": 2, "width": 16, "heads": 2, "inner": 32, "positions": 32},
        "tokenizer": {"size": 80},
        "windows": {"length": 32},
        "held_out": 0.1,
        "batch": {"rows": 4, "micro": 2, "precision": "fp32"},
        "schedule": {"warmup_steps": 2},
    }
    return override(override(base, laid), values)


class Tracing(SilentWatch):
    """Writes each step's number and loss into the trace, unbuffered."""

    def __init__(self, handle: int) -> None:
        super().__init__()
        self.handle = handle

    def report(self, step: int, report: Report) -> None:
        os.write(self.handle, f"step {step} {report.loss.hex()}\n".encode())


def trace_batches(handle: int) -> None:
    """From now on this process writes a hash of every training batch into the trace."""
    from foretext.models.word2vec.train import SkipGram
    from foretext.training.source import Batches

    step, train = Batches.step, SkipGram._train

    def stepping(self, number):  # type: ignore[no-untyped-def]
        micros = step(self, number)
        whole = hashlib.sha256()
        for micro in micros:
            for view in micro.views.values():
                whole.update(np.asarray(view.ids).tobytes())
            for target in micro.targets.values():
                whole.update(np.asarray(target.at).tobytes() + np.asarray(target.gold).tobytes())
        os.write(handle, f"batch {number} {whole.hexdigest()[:16]}\n".encode())
        return micros

    def training(self, start, stop, place, *rates):  # type: ignore[no-untyped-def]
        digest = hashlib.sha256(np.asarray(self.store.ids[start:stop]).tobytes()).hexdigest()[:16]
        os.write(handle, f"batch {self.done} {digest} {place} {rates}\n".encode())
        return train(self, start, stop, place, *rates)

    Batches.step, SkipGram._train = stepping, training


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run's places: `out`, its cache of stores, its trace."""

    family: str
    folder: Path
    cache: Path
    steps: int = STEPS
    settings: dict[str, object] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "out"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "out.run" / "checkpoints"

    @property
    def trace(self) -> list[list[str]]:
        """The lines written so far, split into words."""
        file = self.folder / "trace"
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def warm(self) -> None:
        """One step in this process: what is imported and compiled here, no child imports and compiles again."""
        setting = Setting(threads=1, device="cpu", cache=self.cache, workers=0)
        limits = replace(LIMITS, steps=1)
        pretrain(recipe(self.family, **self.settings), corpus(), self.folder / "warm", limits=limits, setting=setting)

    def work(self) -> Pretrained:
        """Pretrain, or go on."""
        handle = os.open(self.folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, b"begin\n")
        trace_batches(handle)
        setting = Setting(threads=1, device="cpu", cache=self.cache, workers=0)
        made = recipe(self.family, **self.settings)
        limits = replace(LIMITS, steps=self.steps)
        return pretrain(made, corpus(), self.out, limits=limits, setting=setting, watch=Tracing(handle), resume=True)

    def command(self) -> list[str]:
        """The words of the command line that does this run, or goes on with it; its files are written now."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text, config = self.folder / "text.jsonl", self.folder / "recipe.toml"
        text.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts()))
        config.write_text(_toml(self.family, self.settings))
        name = "word2vec" if self.family == "word2vec" else "bert-budget"
        words = ["pretrain", name, str(text), "--out", str(self.out), "--config", str(config), "--steps", str(self.steps)]
        return [*words, "--threads", "1", "--device", "cpu", "--resume", "--json"]

    def typed(self) -> None:
        """The command line in this process, with a trace."""
        from foretext.cli import main, train

        words = self.command()
        handle = os.open(self.folder / "trace", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(handle, b"begin\n")
        trace_batches(handle)
        os.environ["FORETEXT_CACHE"] = str(self.cache)
        train.watch_of = lambda label, *, json: Tracing(handle)
        main(words)

    def weights(self) -> bytes:
        return (self.out / "weights.safetensors").read_bytes()

    def curve(self) -> list[dict[str, object]]:
        """The log, without what a clock said."""
        lines = [json.loads(line) for line in (self.out / "training.jsonl").read_text().splitlines()]
        return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


class Child:
    """A forked process that does `work` and exits as the command line would; its standard error is kept in a file."""

    def __init__(self, folder: Path, work: Callable[[], object]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.err = folder / "stderr"
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                for file, number in ((os.devnull, 1), (self.err, 2)):
                    os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                code = _code(work)
            finally:
                with contextlib.suppress(BaseException):
                    sys.stderr.flush()
                os._exit(code)

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, seconds: float = 120.0) -> int:
        """Its exit code, or minus the signal that ended it; a process that is stuck fails the test."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        self.kill()
        os.waitpid(self.pid, 0)
        raise AssertionError(f"stuck for {seconds:.0f} s: {self.err.read_text()}")


def _code(work: Callable[[], object]) -> int:
    try:
        work()
    except ForetextError as error:
        print(f"foretext: {error.message}", file=sys.stderr)
        return int(error.exit_code)
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _toml(family: str, settings: dict[str, object]) -> str:
    """As small a recipe, for the command line (packed rows, Muon)."""
    if family == "word2vec":
        tables: dict[str, dict[str, object]] = {"family": {"min_count": 1, "width": 8, "block": 300}}
    else:
        tables = {
            "family": {"layers": 2, "width": 16, "heads": 2, "inner": 32, "positions": 32, "dropout": 0.1},
            "tokenizer": {"size": 80},
            "windows": {"length": 32},
            "batch": {"rows": 4, "micro": 2, "precision": "fp32"},
        }
    tables["limits"] = {"evaluations": 3}
    for table, values in settings.items():
        tables[table] = {**tables.get(table, {}), **values}  # type: ignore[dict-item]
    lines = ["held_out = 0.1", 'init_embeddings = "random"']
    for table, values in tables.items():
        lines += [f"[{table}]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def finish(run: Run, *, seconds: float = 120.0, typed: bool = False) -> None:
    """Let the run go on to its end in a child."""
    child = Child(run.folder, run.typed if typed else run.work)
    code = child.wait(seconds)
    assert code == 0, child.err.read_text()


def attempts(trace: list[list[str]]) -> Iterator[list[list[str]]]:
    """The trace's lines, one list an attempt."""
    lines: list[list[str]] = []
    for line in trace:
        if line == ["begin"]:
            if lines:
                yield lines
            lines = []
        else:
            lines.append(line)
    yield lines


def steps_of(lines: list[list[str]]) -> list[int]:
    return [int(line[1]) for line in lines if line[0] == "step"]


def assert_like(run: Run, straight: Run, *, lost: int = INTERVAL) -> None:
    """`run`, however often it was interrupted, is `straight`: weights, log, order of samples, bit for bit; and no
    attempt made more than `lost` steps again."""
    assert run.weights() == straight.weights()
    assert run.curve() == straight.curve()
    whole = [line for line in straight.trace if line != ["begin"]]
    last = 0
    for lines in attempts(run.trace):
        if not lines:
            continue
        place = whole.index(lines[0])
        assert lines == whole[place : place + len(lines)]  # in this order, with these bits
        first = int(lines[0][1]) + (lines[0][0] == "batch")  # batches are numbered from 0
        assert last - lost < first <= last + 1
        last = max([last, *steps_of(lines)])
    assert last == straight.steps
    assert not run.checkpoints.parent.exists()
    left = [path.name for path in run.folder.iterdir() if path.name.startswith((".partial", ".out"))]
    assert not left, left
