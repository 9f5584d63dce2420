"""Recipes of static word vectors."""

from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig

CITES = {
    "family.name": "Mikolov et al. 2013a (arXiv 1301.3781), skip-gram; 2013b (arXiv 1310.4546), negative sampling",
    "family.width": "word2vec.c: layer1_size = 100 (2013a and 2013b report 300 to 1000)",
    "family.window": "word2vec.c: window = 5; each centre's reach drawn from 1…window (2013a, section 3.2, has C = 10)",
    "family.negatives": "word2vec.c: negative = 5; 2013b, section 2.2: 5–20 for small corpora, 2–5 for large ones",
    "family.power": "2013b, section 2.2: unigram^(3/4); word2vec.c: InitUnigramTable",
    "family.sample": "word2vec.c: sample = 1e-3 (2013b: around 1e-5; its equation 5 and the code's formula differ: ours is the code's)",
    "family.min_count": "word2vec.c: min_count = 5",
    "family.epochs": "word2vec.c: iter = 5 (2013a, section 4.3: three epochs, and one for its large models)",
    "family.rate": "word2vec.c: alpha = 0.025 for skip-gram (0.05 for CBOW); 2013a, section 4.2: 0.025",
    "family.last_rate": "word2vec.c: never below starting_alpha × 0.0001 (2013a says linearly to zero)",
    "family.block": "ours: words between two looks at the clock; word2vec.c adapts the rate every 10,000 words",
    "family.method": 'ours: negatives shared by 16 centres, as HogBatch (Ji et al. 2016) does for one; "pairs" is word2vec.c\'s rule',
    "tokenizer.kind": "word2vec.c reads words between spaces; ours are segmented, so that punctuation and Chinese count too",
    "tokenizer.lowercase": "word2vec.c takes words as they come; the corpora of its demos are lower-case",
}


def word2vec() -> Recipe:
    """Skip-gram with negative sampling, 100 wide: the defaults of word2vec.c (Mikolov et al. 2013)."""
    return Recipe(
        name="word2vec",
        family=Word2VecConfig(),
        tokenizer=TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",)),
        cites=CITES,
    )
