"""Recipes of GloVe."""

from collections.abc import Mapping
from dataclasses import replace

from foretext.models.glove.config import GloveConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig

CITES: Mapping[str, str] = {
    "family.name": "Pennington, Socher & Manning 2014 (EMNLP, D14-1162), eq. 8 and 9; W + W̃ as output: section 4.2",
    "family.width": "2014, Table 2: its smallest models have 100 (its largest 300, 1000 in Figure 2); glove.c: vector_size = 50",
    "family.window": "2014, section 4.2: ten words to each side, 1/d; cooccur.c: window_size = 15",
    "family.symmetric": "2014, section 4.2: left and right context; cooccur.c: symmetric = 1",
    "family.within": "cooccur.c: a newline begins a new document, and no window crosses it (the paper does not say)",
    "family.min_count": "demo.sh: VOCAB_MIN_COUNT=5 (2014, section 4.2: the 400,000 most frequent words)",
    "family.x_max": "2014, section 3: x_max = 100; glove.c: x_max = 100",
    "family.alpha": "2014, section 3: α = 3/4; glove.c: alpha = 0.75",
    "family.epochs": "2014, section 4.2: 50 passes below 300 dimensions, 100 otherwise. The code disagrees: glove.c num_iter = 25. "
    "Ours is the paper's",
    "family.rate": "2014, section 4.2: AdaGrad, initial rate 0.05; glove.c: eta = 0.05, inside the sums of squares, which begin at 1. "
    "For biases ours is 0.05 too, as in glove.c's first release; since its clipping they move without eta",
    "family.clip": "glove.c 1.2: grad_clip_value = 100 (not in the paper, nor in the first release)",
    "family.held_out": "ours: published runs train on every non-zero",
    "family.block": "ours: non-zeros between two looks at the clock",
    "family.memory": "ours: results do not depend on it; cooccur.c: memory_limit = 3 gigabytes",
    "family.tile": "ours: non-zeros are trained by tiles whose rows fit the cache; shuffle.c orders all of them at random",
    "family.updates": "glove.c: lock-free threads (Niu et al. 2011, arXiv 1106.5730)",
    "tokenizer.kind": "2014, section 4.2: the Stanford tokenizer; ours segments words, punctuation and Chinese",
    "tokenizer.lowercase": "2014, section 4.2: lower-cased",
}


def glove() -> Recipe:
    """GloVe, 100 wide, with the paper's settings (Pennington et al. 2014, sections 3 and 4.2)."""
    return Recipe(
        name="glove",
        family=GloveConfig(),
        tokenizer=TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",)),
        cites=CITES,
    )


def glove_text8_demo() -> Recipe:
    """The released code's demonstration on text8: 50 wide, window 15, x_max 10, 15 passes (stanfordnlp/GloVe, demo.sh)."""
    cites = {
        "family.width": "demo.sh: VECTOR_SIZE=50",
        "family.window": "demo.sh: WINDOW_SIZE=15",
        "family.x_max": "demo.sh: X_MAX=10",
        "family.epochs": "demo.sh: MAX_ITER=15",
    }
    parent = glove()
    family = GloveConfig(width=50, window=15, x_max=10.0, epochs=15.0)
    return replace(parent, name="glove-text8-demo", family=family, cites={**CITES, **cites})
