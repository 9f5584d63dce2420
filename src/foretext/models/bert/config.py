"""BERT's sizes and choices, as plain data (imports no torch)."""

from dataclasses import dataclass
from typing import Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template

PAIRS = Template(start="[CLS]", between="[SEP]", end="[SEP]", segments=True, summary="start")
"""[CLS] A [SEP], and [CLS] A [SEP] B [SEP] (Devlin et al. 2019, Figure 2)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """Defaults are BERT-base (Devlin et al. 2019, section 3; google-research/bert, modeling.py and bert_config.json)."""

    name: Literal["bert"] = "bert"
    layers: int = 12
    """Transformer blocks."""
    width: int = 768
    """Width of every vector between the parts."""
    heads: int = 12
    """Attention heads a block; must divide `width`."""
    inner: int = 3072
    """Width inside the feed-forward part of a block."""
    positions: int = 512
    """Longest sequence, in tokens."""
    segments: int = 2
    """Segment types; 0 = no segment vectors. modeling.py's own default is 16, every released model has 2."""
    dropout: float = 0.1
    """Probability of dropping a value after the embeddings and after each part of a block."""
    attention_dropout: float = 0.1
    """Probability of dropping an attention weight."""
    activation: Literal["gelu", "gelu_tanh", "relu"] = "gelu"
    """"gelu" by erf, as in BERT's first release (and the paper's citation); "gelu_tanh" as in its later code."""
    norm: Literal["post", "pre"] = "post"
    """"post": LayerNorm after each residual, as published. "pre": before each part, and once above the top block."""
    norm_epsilon: float = 1e-12
    """Added to the variance in every LayerNorm."""
    initial_sd: float = 0.02
    """Deviation of the normal distribution (cut off at two deviations) that every matrix starts from."""
    initial_residual: Literal["normal", "zero"] = "normal"
    """"zero": the last matrix of each residual branch starts at 0, so every block starts as the identity ("pre" only)."""
    pooler: Literal["dense", "none"] = "dense"
    """What `summary` is: "dense" = tanh of a dense layer over the top vector at [CLS], as published; "none" = that vector."""
    template: Template = PAIRS
    """Where the special tokens stand."""

    def __post_init__(self) -> None:
        if min(self.layers, self.width, self.heads, self.inner, self.positions) < 1 or self.segments < 0:
            raise UsageError(
                "a BERT needs layers, width, heads, inner and positions of at least 1, segments of at least 0"
            )
        ranges(self, least={"norm_epsilon": 0.0, "initial_sd": 0.0}, shares=("dropout", "attention_dropout"))
        if self.width % self.heads:
            raise UsageError(
                f"a width of {self.width} does not divide into {self.heads} heads",
                place="heads",
                remedy="choose a number of heads that divides the width (published models: width / 64)",
            )
        if self.initial_residual == "zero" and self.norm != "pre":
            raise UsageError(
                "residual branches can start at zero only where the block's input passes unchanged",
                place="initial_residual",
                remedy='set norm = "pre"',
            )
        if self.template.segments and not self.segments:
            raise UsageError("the template numbers segments, the model has no segment vectors", place="segments")
