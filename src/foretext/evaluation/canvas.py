"""Where pictures are drawn: figures that no window system sees, fonts with Chinese characters, labels that do not overlap.

matplotlib is imported only when something is drawn. N labels
"""

import contextlib
import unicodedata
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretext.errors import ResourceError, UsageError
from foretext.types import Bits, Floats

CHINESE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "PingFang SC", "Microsoft YaHei")
"""Fonts with Chinese characters, tried in this order; without any, labels are replaced by their numbers."""
ENDINGS = (".png", ".svg", ".pdf")
COLOURS = ("#2f6db3", "#d1662b", "#3a8a4d", "#a03b74", "#7a6a1f", "#5a51a8", "#188a8d", "#b3373f", "#6b6b6b", "#8a5a3c")
"""Hues of groups, told apart on white, by colour-blind readers too as far as ten can be."""
_LONGEST = 24
_FAR = 12.0
"""Pixels between a point and its label from which a line joins the two: nobody could tell whose label it is."""


@contextlib.contextmanager
def fonts() -> Iterator[None]:
    """Text measured and drawn inside has Chinese characters where a font has them. SVG keeps text as text, so that its
    viewer's fonts draw it (matplotlib's warning that it lacks them is no news then), and the same picture is the same bytes."""
    from matplotlib import rc_context

    family = [*chinese_fonts(), "DejaVu Sans"]
    settings: Any = {"font.family": ["sans-serif"], "font.sans-serif": family, "svg.fonttype": "none", "svg.hashsalt": "foretext"}
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def figure(width: float, height: float, panels: int = 1, **how: Any) -> tuple[Any, list[Any]]:
    """A figure of inches and its panels, side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made, list(made.subplots(1, panels, squeeze=False, **how)[0])


def write(made: Any, file: Path) -> None:
    """Write a figure; the format is the file's ending. UsageError: another ending; ResourceError: it cannot be written."""
    checked_ending(file)
    with fonts():
        try:
            made.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
        except OSError as error:
            raise ResourceError(f"cannot write: {error.strerror or error}", file=file) from error


def checked_ending(file: Path) -> Path:
    """UsageError unless the file's name says a format that we draw."""
    if file.suffix not in ENDINGS:
        raise UsageError(f"expected {', '.join(ENDINGS)}, found {file.suffix or 'no ending'}", file=file)
    return file


def chinese_fonts() -> list[str]:
    """The fonts with Chinese characters that are installed."""
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [name for name in CHINESE_FONTS if name in there]


def drawable(labels: Sequence[str], file: Path | None = None) -> bool:
    """Whether every label can be drawn: in SVG always, since its viewer brings the fonts."""
    plain = all(ord(c) < 0x2E80 for label in labels for c in label)
    return plain or (file is not None and file.suffix == ".svg") or bool(chinese_fonts())


class Labels:
    """How the strings of one picture are drawn: shortened, "$" made literal, and where no font here has the characters of
    one, by a number, the same wherever it stands in the picture."""

    def __init__(self, strings: Iterable[str], file: Path | None = None) -> None:
        lost = [string for string in dict.fromkeys(strings) if not drawable([string], file)]
        self._numbers = {string: number for number, string in enumerate(lost, start=1)}

    def __call__(self, string: str, longest: int = _LONGEST) -> str:
        if string in self._numbers:
            return str(self._numbers[string])
        cut = string if len(string) <= longest else string[: longest - 1] + "…"
        return cut.replace("$", r"\$")

    @property
    def remarks(self) -> list[str]:
        """What the numbers stand for, in a line; [] where there are none."""
        if not self._numbers:
            return []
        what = "no installed font has Chinese characters, so numbers stand for the labels (write .svg, or install Noto Sans CJK SC): "
        return [what + "  ".join(f"{number} {string}" for string, number in self._numbers.items())]


def printable(labels: Sequence[str], file: Path | None = None, longest: int = _LONGEST) -> tuple[list[str], list[str]]:
    """Labels as `Labels` draws them, and its remarks."""
    drawn = Labels(labels, file)
    return [drawn(label, longest) for label in labels], drawn.remarks


def placed(points: Floats, sizes: Floats, area: tuple[float, float], *, clear: float = 5.0) -> Floats | None:
    """Centres [N,2] for labels of `sizes` [N,2] beside `points` [N,2], all in pixels inside (0,0)–`area`: no label meets
    another, or comes nearer than `clear` to any point, and as few lines (see `leader`) as can be are drawn through labels.
    Labels are set in their order, each as near to its point as that allows, right and above first. None where one finds no
    room."""
    angles = np.deg2rad([0, 45, 315, 90, 180, 135, 225, 270, 22, 338, 67, 158, 202, 112, 248, 292])
    ways = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    steps = np.repeat(np.arange(clear + 2, max(area) / 2, 5.0), len(ways))
    ways = np.tile(ways, (len(steps) // len(ways), 1))
    found = np.zeros((len(points), 2))
    lines = np.zeros((0, 2, 2))
    for n, (point, size) in enumerate(zip(points, sizes, strict=True)):
        half = size / 2
        centres = point + ways * (half + steps[:, None])
        free = ((centres - half >= 0) & (centres + half <= np.asarray(area))).all(1)
        free &= ~_meets(centres, half, points, np.full((len(points), 2), clear))
        free &= ~_meets(centres, half, found[:n], sizes[:n] / 2 + 1)
        if not free.any():
            return None
        ends = np.clip(point, centres - half, centres + half)
        far = np.abs(ends - point).max(axis=1) > _FAR
        struck = far * _strikes(np.broadcast_to(point, ends.shape), ends, found[:n], sizes[:n] / 2).sum(axis=1)
        struck += _strikes(lines[:, 0], lines[:, 1], centres, np.broadcast_to(half, centres.shape)).sum(axis=0)
        best = int(np.argmin(np.where(free, struck, np.iinfo(struck.dtype).max)))
        found[n] = centres[best]
        if far[best]:
            lines = np.concatenate([lines, np.stack([point, ends[best]])[None]])
    return found


def leader(point: Floats, centre: Floats, size: Floats) -> Floats | None:
    """Where the line from a point to its label ends [2]: at the label's edge; None where the label is near enough without."""
    end: Floats = np.clip(point, centre - size / 2, centre + size / 2)
    return end if np.abs(end - point).max() > _FAR else None


def extent(text: Any, renderer: Any) -> tuple[float, float]:
    """Width and height of a text artist in pixels. Where no font here has its Chinese characters, each counts as wide as
    the letters are high: so it will be where the picture is looked at."""
    box = text.get_window_extent(renderer)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text.get_text())
    if not wide or chinese_fonts():
        return float(box.width), float(box.height)
    em = renderer.points_to_pixels(text.get_fontsize())
    return max(float(box.width), em * (wide + 0.6 * (len(text.get_text()) - wide))), max(float(box.height), 1.2 * em)


def _strikes(starts: Floats, ends: Floats, centres: Floats, halves: Floats) -> Bits:
    """Which lines [K] cross which boxes [M]: [K,M]."""
    ways = (ends - starts)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):  # a line along one axis is in a box's strip everywhere or nowhere
        one, other = ((centres + side * halves)[None] - starts[:, None] for side in (-1.0, 1.0))
        one, other = one / ways, other / ways
    enter, leave = np.fmin(one, other).max(axis=2), np.fmax(one, other).min(axis=2)
    crossed: Bits = np.asarray((enter < leave) & (enter < 1.0) & (leave > 0.0))
    return crossed


def _meets(centres: Floats, half: Floats, others: Floats, halves: Floats) -> Bits:
    """Which boxes around `centres` [K,2] overlap any of the boxes around `others` [M,2]: [K]."""
    overlap: Bits = np.abs(centres[:, None] - others[None]) < half + halves[None]
    return np.asarray(np.any(np.all(overlap, axis=2), axis=1))
