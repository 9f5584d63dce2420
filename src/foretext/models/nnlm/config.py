"""What decides an NNLM run. Light: imports neither numba nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class NNLMConfig:
    """The feed-forward language model of Bengio, Ducharme, Vincent and Jauvin 2003 (JMLR 3, 1137–1155):
    y = b + W·x + U·tanh(d + H·x), x the n − 1 rows of C of the words before (equation 1). Defaults are theirs for MLP1
    of Table 1 (Brown), but for `batch`, which is 1 there."""

    name: Literal["nnlm"] = "nnlm"
    width: int = 60
    """Numbers a word vector: columns of C (m)."""
    hidden: int = 50
    """Hidden units (h); 0: none, the direct connections alone."""
    order: int = 5
    """n: a word is predicted from the n − 1 words before it."""
    direct: bool = True
    """Direct connections W from word vectors to output."""
    unit: Literal["sentence", "document"] = "sentence"
    """What is read as one text: contexts do not reach beyond its start, where the boundary stands; its end is predicted."""
    boundary: str = "</s>"
    """The special token that stands for the ends of units and, in contexts, for all before their starts."""
    rate: float = 1e-3
    """ε₀: learning rate of the first word."""
    slowing: float = 1e-8
    """r: after t words the rate is ε₀ / (1 + r·t)."""
    decay: float = 1e-4
    """Weight decay: each word's update shrinks the weights and C by rate × decay; biases stay."""
    batch: int = 1
    """Words of one update; their gradients are summed, so `rate` stays a word's. With the full softmax an update holds
    so many scores a word of the vocabulary: 100 MB at a batch of 256 and 100,000 words."""
    dropout: float = 0.0
    """Share of hidden units (and of direct inputs) that an update leaves out, the others scaled up; 0 in the paper."""
    bias: Literal["zeros", "unigram"] = "zeros"
    """What the output bias starts at: zeros, or the log frequencies of the words."""
    softmax: Literal["full", "adaptive", "sampled"] = "full"
    """"adaptive": frequent words and clusters of rare ones (Grave et al. 2017), for vocabularies ranked by frequency;
    "sampled": training normalises over the word and `samples` others (Bengio and Senécal 2008; shared by a batch as in
    Jean et al. 2015), evaluation over all words."""
    samples: int = 1024
    """Words drawn a batch in proportion to their frequency (softmax "sampled")."""
    clusters: tuple[int, ...] = (2000, 10000)
    """Ids at which the clusters of the adaptive softmax begin; what lies beyond the vocabulary is left out."""
    shrink: int = 4
    """Each cluster's inputs are so many times fewer than those of the one before (softmax "adaptive")."""
    frozen: Literal["nothing", "given"] = "nothing"
    """"given": the rows of C that a run starts from (--from, --init-embeddings) stand still, bit for bit, and are not
    shrunk either; rows of new words learn, and all layers above C."""
    extends: bool = True
    """Whether a run that goes on from a folder (--from) adds the new text's words, seen as often as the folder's tokenizer
    asks (`tokenizer.min_count`), to its vocabulary; else, and where the softmax is adaptive, they are unknown. A new word
    starts as what it was, the unknown word: with its rows, and a part of its probability."""
    epochs: float = 15.0
    """Passes over the training part, unless the caller fixes the number of steps."""
    block: int = 256
    """Words a step: one update or several. With updates of a word and 15,000 words of vocabulary a step takes seconds
    (docs/LOG.md), and a signal waits for its end."""
    template: Template = Template()  # noqa: RUF009 - frozen, so sharing one instance is safe

    lacks: ClassVar[Mapping[str, str]] = {
        "updates": "nnlm has one kind of update: threads share its matrix products, and as many threads repeat a run to the bit",
    }

    def __post_init__(self) -> None:
        least = {"width": 1, "hidden": 0, "order": 2, "batch": 1, "samples": 1, "shrink": 1, "block": 1}
        ranges(self, least={**least, "slowing": 0.0, "decay": 0.0}, above={"epochs": 0.0, "rate": 0.0}, shares=("dropout",))
        if self.dropout == 1.0:
            raise UsageError("nnlm.dropout must be below 1: something must be left", place="family.dropout")
        if not self.hidden and not self.direct:
            raise UsageError("nnlm has neither hidden units nor direct connections", place="family.hidden")
        if list(self.clusters) != sorted(set(self.clusters)) or (self.clusters and self.clusters[0] < 1):
            raise UsageError(f"nnlm.clusters must ascend from 1 or more, found {list(self.clusters)}")

    @property
    def inputs(self) -> int:
        """Numbers that reach the output layer: hidden units and, with direct connections, the word vectors."""
        return self.hidden + (self.order - 1) * self.width * self.direct

    @property
    def closed(self) -> str:
        """Why its vocabulary cannot be extended; "" where it can."""
        return "the clusters of an adaptive softmax are cut from the whole vocabulary" if self.softmax == "adaptive" else ""
