"""Alarms: what a run in trouble looks like, said once each, with the cure."""

import math
import statistics
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from foretext.types import JSON, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmState:
    """What `Alarms.state` writes."""

    said: list[str]
    norms: list[float | None]


class Alarms:
    """Watches reports and evaluations; `report` and `evaluated` answer the alarms that are new.

    `unigram`: entropy of the token frequencies (nats a token): what a model knows that has learned no context.
    """

    def __init__(self, unigram: float | None = None) -> None:
        self.unigram = unigram
        self._said: set[str] = set()
        self._norms: deque[float] = deque(maxlen=100)

    def report(self, step: int, report: Report) -> list[str]:
        """After a step: exploding gradients (norm over 20 × the median of the last 100)."""
        if report.norm is None or not math.isfinite(report.norm):
            return []
        found = []
        if len(self._norms) >= 20:
            usual = statistics.median(self._norms)
            if report.norm > 20 * usual > 0:
                found.append((
                    "exploding",
                    f"step {step}: the gradient's norm is {report.norm:.3g}, usually {usual:.3g}; if the loss climbs "
                    "too, use a lower rate, a longer warm-up or a smaller clip",
                ))
        self._norms.append(report.norm)
        return self._new(found)

    def evaluated(self, step: int, done: float, losses: Mapping[str, float]) -> list[str]:
        """After an evaluation: no better than unigram (past 20 % of the run), dead next-sentence head (past 30 %)."""
        found = []
        masked = losses.get("masked loss")
        # 1 % of slack: a model at the line has learned the frequencies and nothing else.
        if self.unigram is not None and masked is not None and done >= 0.2 and masked >= 0.99 * self.unigram:
            found.append((
                "unigram",
                f"step {step}: the held-out masked loss {masked:.2f} is no better than word frequencies alone "
                f"({self.unigram:.2f} nats): the model uses no context yet; use a higher rate, a higher masking rate, "
                "or a longer run",
            ))
        accuracy = losses.get("next_sentence accuracy")
        if accuracy is not None and done >= 0.3:
            noise = 1.0 / math.sqrt(max(losses.get("next_sentence count", 0.0), 400.0))
            if accuracy < 0.5 + noise:
                found.append((
                    "next_sentence",
                    f"step {step}: next-sentence accuracy is {accuracy:.1%}, chance is 50 %: check that the documents "
                    "hold several connected sentences (`foretext check`), or leave the objective out",
                ))
        return self._new(found)

    def _new(self, found: list[tuple[str, str]]) -> list[str]:
        new = [(kind, text) for kind, text in found if kind not in self._said]
        self._said.update(kind for kind, _ in new)
        return [text for _, text in new]

    def state(self) -> JSON:
        """What a resumed run must know so that nothing is said twice."""
        return {"said": sorted(self._said), "norms": list(self._norms)}

    def restore(self, state: JSON) -> None:
        """Continue from `state`."""
        self._said = set(state["said"])
        self._norms = deque(state["norms"], maxlen=100)
