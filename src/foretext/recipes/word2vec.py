"""Recipes of static word vectors."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

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


BY_CBOW = {
    "family.architecture": "2013a, section 3.1: CBOW, the mean of the words around (word2vec.c: -cbow 1, its default)",
    "family.rate": "word2vec.c: alpha = 0.05 for CBOW",
}
BY_TREE = {
    "family.loss": "2013a, section 4, and 2013b, section 2.1: hierarchical softmax over a Huffman tree (word2vec.c: -hs 1)",
}


def word2vec() -> Recipe:
    """Skip-gram with negative sampling, 100 wide: the defaults of word2vec.c (Mikolov et al. 2013)."""
    return Recipe(
        name="word2vec",
        family=Word2VecConfig(),
        tokenizer=TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",)),
        cites=CITES,
    )


def _changed(name: str, cites: Mapping[str, str], **family: Any) -> Recipe:
    parent = word2vec()
    return replace(parent, name=name, family=replace(Word2VecConfig(), **family), cites={**CITES, **cites})


def word2vec_cbow() -> Recipe:
    """CBOW with negative sampling, as word2vec.c trains it when nothing else is asked of it."""
    return _changed("word2vec-cbow", BY_CBOW, architecture="cbow", rate=0.05)


def word2vec_hs() -> Recipe:
    """Skip-gram with hierarchical softmax."""
    return _changed("word2vec-hs", BY_TREE, loss="hierarchical-softmax")


def word2vec_cbow_hs() -> Recipe:
    """CBOW with hierarchical softmax, the models that the first paper compares."""
    return _changed("word2vec-cbow-hs", {**BY_CBOW, **BY_TREE}, architecture="cbow", loss="hierarchical-softmax", rate=0.05)


def word2vec_300() -> Recipe:
    """Skip-gram with negative sampling, 300 wide: the size of the second paper's comparison."""
    cites = {
        "family.width": "2013b, section 3: 300 dimensions",
        "family.sample": "2013b, section 2.3 and Table 1: sub-sampling with t = 1e-5; on a billion words, kept here at the code's 1e-3",
    }
    return _changed("word2vec-300", cites, width=300)


def word2vec_text8() -> Recipe:
    """The demo of word2vec.c on 17M words (demo-word.sh): CBOW 200 wide, window 8, 25 negatives, 15 passes."""
    script = "word2vec.c, demo-word.sh: -cbow 1 -size 200 -window 8 -negative 25 -hs 0 -sample 1e-4 -iter 15"
    named = ("width", "window", "negatives", "sample", "epochs")
    cites = {**BY_CBOW, **{f"family.{field}": script for field in named}}
    return _changed(
        "word2vec-text8", cites, architecture="cbow", rate=0.05, width=200, window=8, negatives=25, sample=1e-4, epochs=15.0,
    )  # fmt: skip


def word2vec_phrases() -> Recipe:
    """The large model of word2vec.c's demo (demo-train-big-model-v1.sh): phrases in two passes, CBOW 500 wide."""
    script = "word2vec.c, demo-train-big-model-v1.sh: -cbow 1 -size 500 -window 10 -negative 10 -hs 0 -sample 1e-5 -iter 3 -min-count 10"
    named = ("width", "window", "negatives", "sample", "epochs", "min_count")
    phrases = {
        "tokenizer.phrases": "demo-train-big-model-v1.sh: word2phrase -threshold 200, then -threshold 100 (2013b, section 4, eq. 6)",
        "tokenizer.phrase_discount": "word2phrase.c: min_count = 5, which is eq. 6's δ there",
    }
    made = _changed(
        "word2vec-phrases", {**BY_CBOW, **{f"family.{field}": script for field in named}, **phrases}, architecture="cbow",
        rate=0.05, width=500, window=10, negatives=10, sample=1e-5, epochs=3.0, min_count=10,
    )  # fmt: skip
    return replace(made, tokenizer=replace(made.tokenizer, phrases=(200.0, 100.0)))
