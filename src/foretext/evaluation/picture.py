"""Pictures of a report, drawn without a display (Agg). matplotlib is imported only when one is drawn.

K labels
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foretext.evaluation.canvas import figure, printable, write
from foretext.types import Ints


def confusion_picture(matrix_KK: Ints, labels: Sequence[str], file: Path) -> list[str]:
    """Counts shaded by the share of each true label (row); PNG, SVG or PDF by the file's ending. Returns remarks, as
    `maps.map_picture`."""
    shown, remarks = printable(labels, file)
    shares = matrix_KK / np.maximum(matrix_KK.sum(1, keepdims=True), 1)
    size = max(3.6, 0.42 * len(labels) + 1.8)
    made, (axes,) = figure(size + 0.6, size)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), shown, rotation=90)
    axes.set_yticks(range(len(labels)), shown)
    axes.set_xlabel("said")
    axes.set_ylabel("true")
    if len(labels) <= 40:
        for i, j in zip(*np.nonzero(matrix_KK), strict=True):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axes.text(j, i, f"{matrix_KK[i, j]}", ha="center", va="center", color=colour, fontsize=7)
    write(made, file)
    return remarks


def recall_picture(rows: Sequence[tuple[str, float, float]], file: Path) -> list[str]:
    """(label, precision, recall) as paired bars. Returns remarks, as `maps.map_picture`."""
    shown, remarks = printable([label for label, _, _ in rows], file)
    places = np.arange(len(rows))
    made, (axes,) = figure(6.0, max(2.4, 0.35 * len(rows) + 1.2))
    axes.barh(places - 0.2, [precision for _, precision, _ in rows], height=0.38, label="precision", color="#4878a8")
    axes.barh(places + 0.2, [recall for _, _, recall in rows], height=0.38, label="recall", color="#e1a04b")
    axes.set_yticks(places, shown)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.legend(loc="lower right")
    write(made, file)
    return remarks
