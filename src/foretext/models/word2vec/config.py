"""What decides a word2vec run. Light: imports neither numba nor torch."""

from dataclasses import dataclass
from typing import Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class Word2VecConfig:
    """Skip-gram or CBOW, negative sampling or hierarchical softmax; defaults are word2vec.c's for skip-gram (its `main`,
    revision r42).

    Papers: Mikolov et al. 2013a (arXiv 1301.3781, both architectures, windows shrunk at random) and 2013b (arXiv
    1310.4546: eq. 3 hierarchical softmax, eq. 4 negative sampling, eq. 5 sub-sampling; the code's keep probability,
    used here, is another than eq. 5's).
    """

    name: Literal["word2vec"] = "word2vec"
    architecture: Literal["skip-gram", "cbow"] = "skip-gram"
    """"skip-gram": a word's vector and each vector around it tell one another; "cbow": the mean of the vectors around
    tells the word between them (usual with rate = 0.05)."""
    loss: Literal["negative-sampling", "hierarchical-softmax"] = "negative-sampling"
    """How a word is told from the others: from a few drawn ones, or by the decisions on its way through a Huffman tree
    (`negatives`, `power` and `shared` then say nothing)."""
    width: int = 100
    """Numbers a word vector (D)."""
    window: int = 5
    """Most words looked at to each side; every centre draws its own reach from 1…window, so near words count more."""
    negatives: int = 5
    """Negative words a (centre, context) pair."""
    power: float = 0.75
    """Negatives are drawn in proportion to count^power (2013b, section 2.2)."""
    sample: float = 1e-3
    """Share of the corpus above which a word is sub-sampled: kept with probability √(s/f) + s/f, f its share; 0: all."""
    min_count: int = 5
    """Words seen fewer times in the training part are left out, as if deleted from the text."""
    epochs: float = 5.0
    """Passes over the training part, unless the caller fixes the number of steps."""
    rate: float = 0.025
    """Learning rate at the start; falls linearly over the words of the whole run."""
    last_rate: float = 1e-4
    """Share of `rate` below which it never falls (word2vec.c: starting_alpha * 0.0001)."""
    block: int = 400_000
    """Corpus words a step."""
    shards: int = 32
    """Equal parts of a step that threads take in turn; it decides the draws, so it belongs to the recipe. Many, since the
    last one has the other threads wait."""
    updates: Literal["hogwild", "synchronous"] = "hogwild"
    """"hogwild": threads write into the same tables as they go, which no two runs repeat to the bit (one thread does).
    "synchronous": rounds of 8 parts (no more than `shards`) of about 2,000 words (fewer where vectors are wider than 100) are
    trained apart from the same tables and their changes summed in order, so any number of threads gives the same bits;
    slower, and not the bits of "hogwild"."""
    frozen: Literal["nothing", "given"] = "nothing"
    """"given": the vectors that a run starts from (--from, --init-embeddings) stand still, bit for bit, and only new
    words learn; the output table learns in any case."""
    extends: bool = True
    """Whether a run that goes on from a folder (--from) adds the new text's words, `min_count` times seen, to its
    vocabulary; their rows follow the old ones. Else they are unknown."""
    method: Literal["blocks", "pairs"] = "blocks"
    """"blocks": 16 centres share the reading of their windows, and with up to 7 blocks after them `shared` negatives,
    weighted so that the expected gradient is that of `negatives` a pair; several times faster. "pairs": one update a pair
    (with CBOW a centre) with its own negatives, as in word2vec.c: the oracle."""
    shared: int = 16
    """Negatives that blocks of 16 centres share: 8, 16, … 64 (method "blocks"). With 16, analogies are level with
    "pairs" on ten million words and more; on less text 32 keep them so, at a quarter less speed (docs/LOG.md)."""
    template: Template = Template()  # noqa: RUF009 - frozen, so sharing one instance is safe

    def __post_init__(self) -> None:
        least = {"width": 1, "window": 1, "negatives": 1, "min_count": 1, "block": 1, "shards": 1, "shared": 8}
        for field, low in least.items():
            if getattr(self, field) < low:
                raise UsageError(f"word2vec.{field} must be at least {low}, found {getattr(self, field)}")
        ranges(self, least={"sample": 0.0, "power": 0.0}, above={"epochs": 0.0, "rate": 0.0}, shares=("last_rate",))
        if self.shared % 8 or self.shared > 64:
            raise UsageError(f"word2vec.shared must be a multiple of 8, at most 64, found {self.shared}")
