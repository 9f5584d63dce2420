"""What decides a fastText run. Light: imports neither numba nor torch."""

from dataclasses import dataclass
from typing import Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template

MOST_BUCKETS = 1 << 30
"""The released code counts rows in 32 bits, words included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FastTextConfig:
    """Word vectors made of character n-grams (Bojanowski et al. 2017, arXiv 1607.04606); defaults are those of the
    released code (facebookresearch/fastText 0.9.2, src/args.cc) for skip-gram.

    A word is written "<word>"; its vector is the mean of its own row and of the rows of its n-grams, which share
    `bucket` rows by a hash. A word of no row of its own has the mean of its n-grams' rows.
    """

    name: Literal["fasttext"] = "fasttext"
    architecture: Literal["skip-gram", "cbow"] = "skip-gram"
    """"skip-gram": a word's vector tells each word around it; "cbow": the mean over all rows of all words around tells
    the word between them."""
    width: int = 100
    """Numbers a vector (D)."""
    min_n: int = 3
    """Shortest character n-gram, "<" and ">" counted (they alone are none)."""
    max_n: int = 6
    """Longest character n-gram; 0: no n-grams, plain word2vec by this code's rules."""
    bucket: int = 2_000_000
    """Rows that n-grams are hashed into."""
    every_bucket: bool = False
    """Whether each of the `bucket` rows is kept, as in files of the released code, or only those that a word of the
    vocabulary reaches. The others are never trained: here they are zeros, there what they were drawn as."""
    window: int = 5
    """Most words looked at to each side; every centre draws its own reach from 1…window."""
    negatives: int = 5
    """Negative words a (centre, context) pair, or a centre (cbow)."""
    power: float = 0.5
    """Negatives are drawn in proportion to count^power (section 4.2: the square root)."""
    sample: float = 1e-4
    """Share of the corpus above which a word is sub-sampled: kept with probability √(s/f) + s/f, f its share; 0: all."""
    min_count: int = 5
    """Words seen fewer times in the training part are left out, as if deleted from the text."""
    epochs: float = 5.0
    """Passes over the training part, unless the caller fixes the number of steps."""
    rate: float = 0.05
    """Learning rate at the start; falls linearly over the words of the whole run."""
    last_rate: float = 0.0
    """Share of `rate` below which it never falls (the released code: none)."""
    block: int = 100_000
    """Corpus words a step."""
    shards: int = 8
    """Equal parts of a step that threads take in turn; it decides the draws, so it belongs to the recipe."""
    updates: Literal["hogwild", "synchronous"] = "hogwild"
    """"hogwild": threads write into the same tables as they go, which no two runs repeat to the bit (one thread does).
    "synchronous": rounds of 8 parts (no more than `shards`) of about 700 words (fewer where vectors are wider than 100) are
    trained apart from the same tables and their changes summed in order, so any number of threads gives the same bits;
    slower, and not the bits of "hogwild"."""
    frozen: Literal["nothing", "given"] = "nothing"
    """"given": the words that a run starts from (--from, --init-embeddings) keep their vectors, bit for bit: their own
    rows stand still, and so do the rows of all their n-grams, whoever else has them. A new word learns by its own row
    and by those of the n-grams that no given word has, and as fast as if all of its rows learnt; the output table
    learns in any case. Vectors of --init-embeddings say nothing of n-grams: those of the given words are zeros then, so
    that every given vector keeps its direction."""
    extends: bool = True
    """Whether a run that goes on from a folder (--from) adds the new text's words, `min_count` times seen, to its
    vocabulary; their rows follow the old ones. Else they have their n-grams alone."""
    method: Literal["blocks", "pairs"] = "blocks"
    """"blocks": a stretch of text has its words' vectors put together once, trained, and their changes handed down to
    the rows; several times faster. "pairs": as in the released code, row by row for each update: the oracle."""
    shared: int = 16
    """Negatives that a block of 16 centres shares: 8, 16, … 64 (method "blocks")."""
    template: Template = Template()  # noqa: RUF009 - frozen, so sharing one instance is safe

    def __post_init__(self) -> None:
        whole = ("width", "bucket", "window", "negatives", "min_count", "block", "shards", "min_n")
        ranges(
            self, least={**dict.fromkeys(whole, 1), "max_n": 0, "sample": 0.0, "power": 0.0, "shared": 8},
            above={"epochs": 0.0, "rate": 0.0}, shares=("last_rate",),
        )  # fmt: skip
        if self.bucket > MOST_BUCKETS:
            raise UsageError(f"expected at most {MOST_BUCKETS:,} rows, found {self.bucket:,}", place="bucket")
        if self.shared % 8 or self.shared > 64:
            raise UsageError(f"expected a multiple of 8, at most 64, found {self.shared}", place="shared")

    def rows(self, words: int) -> int:
        """About how many rows `words` vocabulary words reach, their own included: for estimates of memory."""
        few = 0 if self.max_n < self.min_n else words * 5 * (self.max_n - self.min_n + 1)
        return words + (self.bucket if self.every_bucket else min(self.bucket, few))
