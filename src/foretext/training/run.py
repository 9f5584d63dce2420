"""The only loop: drives any Stepper, and owns signals, checkpoints, evaluation, early stopping, the log and alarms.

What is computed depends on the step number alone; the clock decides only when to save. So a run that was killed or
interrupted and resumed ends with the same bits as one that was not.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Any, Literal

import msgspec
import numpy as np

from foretext.errors import ArtefactError, DivergedError, Preempted
from foretext.folder import locked
from foretext.training import checkpoint
from foretext.training.alarms import Alarms, AlarmState
from foretext.training.config import Limits
from foretext.training.log import Log, LogState
from foretext.training.progress import Watch
from foretext.types import JSON, Arrays, State, Stepper


class NonFiniteStep(DivergedError):
    """A step whose loss or gradient was not finite, not applied; `arrays`: the batch that did it, for `run` to dump."""

    def __init__(self, rule: str, *, arrays: Arrays) -> None:
        super().__init__(rule)
        self.arrays = arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended: after `steps` updates, `best` the step of the lowest held-out loss, `losses` held out for the
    weights the Stepper now has, `seconds` of the whole run (resumed parts added up), `tokens` read."""

    steps: int
    best: int | None
    losses: Mapping[str, float]
    seconds: float
    tokens: int
    stopped: Literal["finished", "early"]


def run(
    stepper: Stepper,
    folder: Path,
    limits: Limits,
    watch: Watch,
    *,
    unigram: float | None = None,
    identity: Mapping[str, str] = MappingProxyType({}),
) -> Ending:
    """Train to the end (or resume, from the newest good checkpoint in `folder`) and say how it ended.

    Writes `folder/checkpoints/` and `folder/log.jsonl`. `unigram`: entropy of the token frequencies (nats), the line
    that a masked language model must beat. `identity`: keys of what the run is made from (corpus, recipe, …), kept in
    every checkpoint. Errors: a checkpoint of another identity or length → ArtefactError (exit 4); SIGINT or SIGTERM →
    saved, then Preempted (exit 75); a non-finite step → the batch in `folder/diverged-step-N.npz`, DivergedError (exit
    6); a full disk → ResourceError (exit 5).
    """
    folder = Path(folder)
    with locked(folder / "checkpoints", wait=False), _listening() as signals:
        shell = _Shell(stepper, folder, limits, watch, signals, unigram, identity)
        try:
            return shell.run()
        finally:
            shell.log.close()
            watch.close()


# ── signals ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class _Interrupted(BaseException):
    """Leaves an evaluation or a step at once; a BaseException so that no library's `except Exception` keeps it."""


class _Signals:
    """Whether we were asked to stop. Further signals change nothing, so a save in progress always ends."""

    def __init__(self) -> None:
        self.asked = ""
        self._leave_at_once = False
        self._unless: Callable[[], bool] = bool

    def handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = self.asked or signal.Signals(number).name
        if self._leave_at_once and not self._unless():
            self._leave_at_once = False
            raise _Interrupted

    @contextlib.contextmanager
    def interruptible(self, unless: Callable[[], bool] = bool) -> Iterator[None]:
        """Inside, a signal does not wait, `unless` something is so now: what runs here changes no training state and
        will be run again."""
        self._unless, self._leave_at_once = unless, True
        try:
            if self.asked:
                raise _Interrupted
            yield
        finally:
            self._leave_at_once = False


@contextlib.contextmanager
def _listening() -> Iterator[_Signals]:
    signals = _Signals()
    if threading.current_thread() is not threading.main_thread():
        yield signals  # Python delivers signals to the main thread only
        return
    before = {number: signal.signal(number, signals.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield signals
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True, kw_only=True)
class _Standing:
    """Where a run stands: all that a checkpoint must know of the shell itself.

    `evaluated`: the step last looked at; `worse`: looks in a row without a better loss; `best_saved`: the best step
    whose checkpoint was kept; `seconds`, `saving`: of the whole run, and of that in checkpoints.
    """

    step: int = 0
    evaluated: int = 0
    losses: dict[str, float | None] = field(default_factory=dict)
    best_loss: float | None = None
    best_step: int = 0
    best_losses: dict[str, float | None] = field(default_factory=dict)
    best_saved: int | None = None
    worse: int = 0
    early: bool = False
    seconds: float = 0.0
    saving: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cursor:
    """What `cursor.json` must hold. `stepper`: the Stepper's own."""

    total: int
    shell: _Standing
    log: LogState
    alarms: AlarmState
    stepper: Any


def checked(cursor: JSON, folder: Path) -> JSON:
    """`cursor` as read from the checkpoint `folder`, once its fields are known to be a run's; else ArtefactError."""
    try:
        msgspec.convert(cursor, _Cursor)
    except (msgspec.ValidationError, OverflowError) as error:
        raise ArtefactError(
            f"not where a run stands: {error}", file=folder / "cursor.json", remedy="resume from an older checkpoint"
        ) from error
    return cursor


class _Shell:
    def __init__(
        self,
        stepper: Stepper,
        folder: Path,
        limits: Limits,
        watch: Watch,
        signals: _Signals,
        unigram: float | None,
        identity: Mapping[str, str],
    ) -> None:
        self.identity = dict(identity)
        self.stepper, self.folder, self.limits, self.watch, self.signals = stepper, folder, limits, watch, signals
        self.total = stepper.total
        self.looks = evaluation_steps(limits, stepper.total)
        self.checkpoints = folder / "checkpoints"
        self.log = Log(folder / "log.jsonl", stepper.total)
        self.alarms = Alarms(unigram)
        self.at = _Standing()
        self.best_state: State | None = None
        self.saved: tuple[int, int] | None = None  # (step, evaluated) of the newest checkpoint
        self.save_now = False
        self.began = self.saved_at = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.at.seconds + time.monotonic() - self.began

    def run(self) -> Ending:
        self._resume()
        self.watch.begin(total=self.total, step=self.at.step, tokens=self.log.tokens, unigram=self.alarms.unigram)
        while True:
            if self.at.step in self.looks and self.at.evaluated < self.at.step:
                self._evaluate()
            if self._save_due():
                self._save()
            if self.signals.asked:
                self._preempt()
            if self.at.early or self.at.step >= self.total:
                break
            self._advance()
        self._save()
        if self.signals.asked:
            self._preempt()
        return self._end()

    def _advance(self) -> None:
        try:
            with self.signals.interruptible(unless=self._is_updating):
                report = self.stepper.step()
        except _Interrupted:
            return  # a step may last longer than a scheduler's patience, a compilation above all
        except DivergedError as error:
            raise self._diverged(error) from error
        self.at.step += 1
        self.log.report(self.at.step, self.seconds, report)
        self.watch.report(self.at.step, report)
        for text in self.alarms.report(self.at.step, report):
            self.watch.alarm(text)

    def _is_updating(self) -> bool:
        return bool(getattr(self.stepper, "updating", True))

    def _evaluate(self) -> None:
        try:
            with self.signals.interruptible():
                losses = dict(self.stepper.evaluate())
        except _Interrupted:
            return
        at = self.at
        at.evaluated, at.losses = at.step, {**losses}
        if not losses:
            return  # nothing is held out
        loss = losses.get("loss", math.nan)
        if loss < (math.inf if at.best_loss is None else at.best_loss):
            at.best_loss, at.best_step, at.best_losses, at.worse = loss, at.step, {**losses}, 0
            self._keep_best()
        else:
            at.worse += 1
            at.early = self.limits.patience is not None and at.worse >= self.limits.patience
        self.log.evaluated(at.step, self.seconds, losses)
        self.watch.evaluated(at.step, losses)
        for text in self.alarms.evaluated(at.step, at.step / self.total, losses):
            self.watch.alarm(text)

    def _keep_best(self) -> None:
        if self.limits.keep == 0:
            self.best_state = self.stepper.state() if self.limits.choose == "best" else None
        else:
            needed = self.limits.choose == "best" or self.limits.patience is not None
            # Else the best is kept where that is nearly free.
            self.save_now = needed or self.at.saving <= 0.02 * self.seconds

    # ── saving and resuming ──

    def _save_due(self) -> bool:
        every, minutes = self.limits.checkpoint_steps, self.limits.checkpoint_minutes
        by_steps = every is not None and self.at.step > 0 and self.at.step % every == 0
        by_clock = minutes is not None and time.monotonic() - self.saved_at >= 60.0 * minutes
        return self.save_now or by_clock or by_steps

    def _save(self) -> None:
        at, self.save_now = self.at, False
        if self.limits.keep == 0 or self.saved == (at.step, at.evaluated):
            return
        started = time.monotonic()
        if at.best_step == at.step > 0:
            at.best_saved = at.step
        self.log.sync()
        state = self.stepper.state()
        shell = replace(at, seconds=self.seconds)
        cursor = {"total": self.total, "identity": self.identity, "shell": msgspec.to_builtins(shell), "log": self.log.state(),
                  "alarms": self.alarms.state(), "stepper": state.cursor}  # fmt: skip
        whole = State(arrays=state.arrays, cursor=cursor)
        checkpoint.save(whole, self.checkpoints, at.step, keep=self.limits.keep, best=at.best_saved)
        self.saved, self.saved_at = (at.step, at.evaluated), time.monotonic()
        at.saving += self.saved_at - started

    def _resume(self) -> None:
        found = checkpoint.latest(self.checkpoints, self.watch.alarm) if self.limits.keep > 0 else None
        if found is not None:
            cursor = checked(found.state.cursor, found.path)
            self._refuse_other(cursor.get("identity", {}), found.path)
            if cursor["total"] != self.total:
                raise ArtefactError(
                    f"a run of {cursor['total']:,} steps was begun here, this one plans {self.total:,}",
                    file=found.path,
                    remedy="resume with the same settings, or choose another folder",
                )
            self.stepper.restore(State(arrays=found.state.arrays, cursor=cursor["stepper"]))
            self.at = msgspec.convert(cursor["shell"], _Standing)
            self.saved = (self.at.step, self.at.evaluated)
            self.log.restore(cursor["log"])
            self.alarms.restore(cursor["alarms"])
            self.watch.say(f"resumed after step {self.at.step:,} of {self.total:,}")
        self.log.open(self.at.step)

    def _refuse_other(self, theirs: Mapping[str, str], path: Path) -> None:
        names = sorted({*theirs, *self.identity})
        changed = [f"{n}: {theirs.get(n)} → {self.identity.get(n)}" for n in names if theirs.get(n) != self.identity.get(n)]
        if changed:
            raise ArtefactError(
                f"the checkpoint is of another run ({'; '.join(changed)})",
                file=path,
                remedy="resume with what it was made from, or remove it and start again",
            )

    def _preempt(self) -> None:
        where = f"after step {self.at.step:,} of {self.total:,}"
        if self.limits.keep == 0:
            raise Preempted(f"{self.signals.asked}: stopped {where}; this run keeps no checkpoints")
        self._save()
        raise Preempted(
            f"{self.signals.asked}: stopped and saved {where}",
            file=self.checkpoints,
            remedy="run the same command with --resume to go on",
        )

    # ── endings ──

    def _diverged(self, error: DivergedError) -> DivergedError:
        file: Path | None = None
        undone = "nothing of the update is kept"  # a family with a step of its own may have made half of it
        if isinstance(error, NonFiniteStep):
            undone = "the update was not applied"
            file = self.folder / f"diverged-step-{self.at.step + 1}.npz"
            try:
                np.savez(file, allow_pickle=False, **dict(error.arrays))
            except OSError as full:  # the divergence is the news
                self.watch.alarm(f"the batch could not be written ({full.strerror or full})")
                file = None
        saved = f"the checkpoint of step {self.saved[0]:,} is whole" if self.saved else "there is no checkpoint"
        return DivergedError(
            f"step {self.at.step + 1:,}: {error.rule}; {undone}, {saved}",
            file=file,
            remedy=error.remedy or "start again with a lower rate, a longer warm-up or fp32; the file holds the batch",
        )

    def _end(self) -> Ending:
        at, losses = self.at, self.at.losses
        if self.limits.choose == "best" and at.best_step and at.best_step != at.step:
            if self.best_state is None:
                best = checkpoint.read(self.checkpoints, at.best_step).state
                self.best_state = State(arrays=best.arrays, cursor=best.cursor["stepper"])
            self.stepper.restore(self.best_state)
            losses = at.best_losses
        return Ending(
            steps=at.step,
            best=at.best_step or None,
            # JSON has no NaN: it comes back as null.
            losses={name: math.nan if value is None else value for name, value in losses.items()},
            seconds=self.seconds,
            tokens=self.log.tokens,
            stopped="early" if at.early else "finished",
        )


def evaluation_steps(limits: Limits, total: int) -> frozenset[int]:
    """After which steps the held-out set is looked at: evenly spread, the last step always among them."""
    if limits.evaluate_steps is not None:
        return frozenset({*range(limits.evaluate_steps, total + 1, limits.evaluate_steps), total})
    looks = min(limits.evaluations, total)
    return frozenset(round(total * (i + 1) / looks) for i in range(looks))

