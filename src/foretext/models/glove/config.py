"""What decides a GloVe run. Light: imports neither numba nor torch."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template

_NARROW, _WIDE = 16, 16_384
"""Smallest and largest tile: a place inside a tile is two 16-bit numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GloveConfig:
    """Weighted least squares on log co-occurrences (Pennington, Socher & Manning 2014, EMNLP, D14-1162).

    Minimised is Σ ½·f(X_ij)·(w_i·w̃_j + b_i + b̃_j − log X_ij)² over the non-zeros of X, with f(x) = min(1, (x/x_max)^α)
    (eq. 8 and 9; the ½ is the released code's), by AdaGrad one non-zero at a time. Released code: stanfordnlp/GloVe,
    `src/cooccur.c` and `src/glove.c`.
    """

    name: Literal["glove"] = "glove"
    width: int = 100
    """Numbers a word vector (D)."""
    window: int = 10
    """Most words looked at to each side; a pair at distance d adds 1/d (section 4.2). At most 255."""
    symmetric: bool = True
    """Count words to both sides; off: to the left only (section 4.4: "asymmetric")."""
    within: Literal["documents", "sentences"] = "documents"
    """What a window never leaves (`cooccur.c`: a line, which stands for a document)."""
    min_count: int = 5
    """Words seen fewer times in the training part are left out, as if deleted from the text (`cooccur.c` skips them
    before it measures distances)."""
    x_max: float = 100.0
    """Count from which a pair weighs 1 (eq. 9)."""
    alpha: float = 0.75
    """Exponent of the weight of rarer pairs (eq. 9)."""
    epochs: float = 50.0
    """Passes over the non-zeros, unless the caller fixes the number of steps."""
    rate: float = 0.05
    """AdaGrad's initial learning rate; as in `glove.c` a part of the gradients whose squares are added up."""
    clip: float = 100.0
    """Largest gradient of one entry, before the rate (`glove.c` 1.2: grad_clip_value; here for biases too)."""
    held_out: float = 0.005
    """Share of the non-zeros that are never trained on, chosen by a hash of the two words: the held-out loss is theirs.
    (Held-out documents are not counted at all, but their own few co-occurrences are on another scale.)"""
    block: int = 1_000_000
    """About so many non-zeros a step."""
    memory: float = 256.0
    """Megabytes for counting, before it spills to disk; no result depends on it (`cooccur.c`: -memory, in gigabytes)."""
    tile: int = 0
    """Words on a side of a tile, a power of two; 0 = as many as keep the tile's rows in 1 MB of cache."""
    updates: Literal["hogwild", "synchronous"] = "hogwild"
    """With several threads. "hogwild": without locks, as `glove.c`, and no two runs equal to the bit. "synchronous": parts
    that share rows wait for each other in a fixed order, and the bits are those of one thread."""
    frozen: Literal["nothing", "given"] = "nothing"
    """"given": the vectors that a run starts from (--from, --init-embeddings) stand still, bit for bit: of these words both
    W and W̃, whose sum a vector is. New words learn theirs, and every bias learns: it says how often this text has a word.
    A vector of --init-embeddings is then half of W and half of W̃."""
    extends: bool = True
    """Whether a run that goes on from a folder (--from) adds the new text's words, `min_count` times seen, to its
    vocabulary; their rows follow the old ones. Else they are unknown."""
    template: Template = Template()  # noqa: RUF009 - frozen, so sharing one instance is safe

    tables: ClassVar[int] = 4
    """Matrices [V,D] in memory: words, contexts, and AdaGrad's sums of squares for both."""

    def __post_init__(self) -> None:
        least = {"width": 1, "window": 1, "min_count": 1, "block": 1}
        for field, low in least.items():
            if getattr(self, field) < low:
                raise UsageError(f"glove.{field} must be at least {low}, found {getattr(self, field)}")
        above = {"epochs": 0.0, "rate": 0.0, "x_max": 0.0, "clip": 0.0, "memory": 0.0}
        ranges(self, least={"alpha": 0.0}, above=above, shares=("held_out",))
        if self.window > 255:
            raise UsageError(f"glove.window must be at most 255, found {self.window}")
        if self.tile and not (2 <= self.tile <= _WIDE and self.tile & (self.tile - 1) == 0):
            raise UsageError(f"glove.tile must be 0 or a power of two from 2 to {_WIDE:,}, found {self.tile}")

    def tile_of(self, words: int) -> int:
        """The side of a tile for a vocabulary of `words`: as asked, or so that the rows of both sides with their squares
        fill at most 1 MB, and no more than 1,024 tiles stand in a row."""
        if self.tile:
            return self.tile
        side = _NARROW
        while side * 2 <= (1 << 20) // (16 * self.width):
            side *= 2
        while side * 1024 < words and side < _WIDE:
            side *= 2
        return side
