"""Pictures of a report, drawn without a display (Agg). matplotlib is imported only when one is drawn.

K labels
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foretext.types import Ints

CHINESE_FONTS = ("Noto Sans CJK SC", "Source Han Sans SC", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "SimHei", "PingFang SC", "Microsoft YaHei")
"""Fonts with Chinese characters, tried in this order; without any, labels are replaced by their numbers."""


def confusion_picture(matrix_KK: Ints, labels: Sequence[str], file: Path) -> None:
    """Counts shaded by the share of each true label (row); PNG, SVG or PDF by the file's ending."""
    shown = _printable(labels)
    shares = matrix_KK / np.maximum(matrix_KK.sum(1, keepdims=True), 1)
    size = max(3.6, 0.42 * len(labels) + 1.8)
    figure, axes = _axes(size + 0.6, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), shown, rotation=90)
    axes.set_yticks(range(len(labels)), shown)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    if len(labels) <= 40:
        for i, j in zip(*np.nonzero(matrix_KK), strict=True):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{matrix_KK[i, j]}", ha="center", va="center", color=colour, fontsize=7)
    _write(figure, file)


def recall_picture(rows: Sequence[tuple[str, float, float]], file: Path) -> None:
    """(label, precision, recall) as paired bars."""
    shown = _printable([label for label, _, _ in rows])
    places = np.arange(len(rows))
    figure, axes = _axes(6.0, max(2.4, 0.35 * len(rows) + 1.2))
    axes.barh(places - 0.2, [precision for _, precision, _ in rows], height=0.38, label="precision", color="#4878a8")
    axes.barh(places + 0.2, [recall for _, _, recall in rows], height=0.38, label="recall", color="#e1a04b")
    axes.set_yticks(places, shown)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(loc="lower right")
    _write(figure, file)


def _axes(width: float, height: float) -> tuple[Any, Any]:
    """A figure of inches that no window system ever sees."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _write(figure: Any, file: Path) -> None:
    from matplotlib import rc_context

    with rc_context({"font.family": ["sans-serif"], "font.sans-serif": [*_chinese_fonts(), "DejaVu Sans"]}):
        figure.savefig(file, dpi=150)


def _chinese_fonts() -> list[str]:
    from matplotlib.font_manager import fontManager

    there = {font.name for font in fontManager.ttflist}
    return [name for name in CHINESE_FONTS if name in there]


def _printable(labels: Sequence[str]) -> list[str]:
    """Labels as they can be drawn: shortened, "$" made literal, and by number where no font has their characters."""
    drawable = all(ord(c) < 0x2E80 for label in labels for c in label) or bool(_chinese_fonts())
    cut = [label if len(label) <= 24 else label[:23] + "…" for label in labels]
    return [c.replace("$", r"\$") if drawable else str(i + 1) for i, c in enumerate(cut)]
