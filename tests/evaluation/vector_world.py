"""A model of made-up vectors for made-up words, counted as if it had been trained."""

from collections.abc import Mapping, Sequence

import numpy as np

from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import Whole

WORDS = TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",))
CASED = TokenizerConfig(kind="words", lowercase=False, strip_accents=False, chinese="words", special=("[UNK]",))


def model(
    vectors: Mapping[str, Sequence[float]] | Sequence[str],
    *,
    width: int = 12,
    seed: int = 0,
    counts: Sequence[int] | None = None,
    config: TokenizerConfig = WORDS,
) -> Pretrained:
    """Words with these vectors, or with random ones; the first most frequent (or counted so)."""
    words = list(vectors)
    if isinstance(vectors, Mapping):
        rows = np.array([vectors[word] for word in words], np.float32)
    else:
        rows = np.random.default_rng(seed).standard_normal((len(words), width)).astype(np.float32)
    table = np.concatenate([np.zeros((1, rows.shape[1]), np.float32), rows])
    times = list(range(len(words) + 100, 100, -1)) if counts is None else list(counts)
    tokenizer = ChunkTokenizer(config, Whole(["[UNK]", *words], [0, *times], 1, 0))
    recipe = Recipe(name="world", family=Word2VecConfig(width=rows.shape[1]), tokenizer=config)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays={STATIC_TABLE: table})


def names(count: int) -> list[str]:
    """Words of letters: waa, wab, …"""
    return [f"w{chr(97 + i // 676)}{chr(97 + i // 26 % 26)}{chr(97 + i % 26)}" for i in range(count)]
