"""A miniature BERT with random weights and a small vocabulary, large enough that every wrong turn shows."""

from typing import Any

import numpy as np

from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import WordPiece, special_ids

WORDS = "the a bank river boat money un ##able ##s ##ing water 河 水 行 银 ##ly , . ! ? e ##e 2 0 9 [unused1]".split()
PIECES = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def tokenizer(pieces: list[str] | None = None, **settings: Any) -> ChunkTokenizer:
    """WordPiece over PIECES, as BERT has it."""
    pieces = list(PIECES if pieces is None else pieces)
    config = TokenizerConfig(kind="wordpiece", size=len(pieces), special=SPECIAL, **{"unseen": "word", "folding": "bert", **settings})
    special = special_ids(SPECIAL, pieces)
    return ChunkTokenizer(config, WordPiece(pieces, frozenset(special.values()), special["[UNK]"], whole_unknown=config.unseen == "word"))


def bert(*heads: str, seed: int = 0, words: ChunkTokenizer | None = None, **settings: Any) -> Pretrained:
    """A BERT of 2 × 12 with `heads` of "masked" and "next_sentence"; every tensor, biases and gains too, is random."""
    words = tokenizer() if words is None else words
    family = BertConfig(**{"layers": 2, "width": 12, "heads": 3, "inner": 20, "positions": 24, **settings})
    known = {"masked": MaskedConfig(), "next_sentence": NextSentenceConfig()}
    recipe = Recipe(name="tiny", family=family, tokenizer=words.config, objectives={h: known[h] for h in heads})
    rng = np.random.default_rng(seed)
    shapes = {name: array.shape for name, array in build_model(recipe, words.size).arrays().items()}
    arrays = {name: rng.normal(0.3, 0.6, shape).astype(np.float32) for name, shape in sorted(shapes.items())}
    return Pretrained(recipe=recipe, tokenizers={SOURCE: words}, arrays=arrays)
