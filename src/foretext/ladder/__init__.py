"""The main job: every rung of a grid under one budget on one text, with honest baselines, one table and one report."""

from foretext.ladder.config import CONTINUE, LadderConfig, Origin, read_grid
from foretext.ladder.run import Result, ladder, render
from foretext.ladder.watch import LadderWatch, LineWatch, LiveWatch

__all__ = ["CONTINUE", "LadderConfig", "LadderWatch", "LineWatch", "LiveWatch", "Origin", "Result", "ladder", "read_grid", "render"]
