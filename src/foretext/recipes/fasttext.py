"""Recipes of word vectors made of character n-grams."""

from collections.abc import Mapping
from dataclasses import replace

from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig

CITES: Mapping[str, str] = {
    "family.name": "Bojanowski et al. 2017 (arXiv 1607.04606); values not said otherwise: facebookresearch/fastText 0.9.2",
    "family.architecture": "2017, section 3.1: skip-gram; the released code: -model, its unsupervised default is skipgram too",
    "family.width": "args.cc: dim = 100 (2017, section 4.2: 300)",
    "family.min_n": "2017, section 3.2: n from 3; args.cc: minn = 3",
    "family.max_n": "2017, section 3.2: to 6; args.cc: maxn = 6",
    "family.bucket": "2017, section 3.2: K = 2·10⁶; args.cc: bucket = 2000000",
    "family.every_bucket": "ours: rows that no word of the vocabulary reaches are not kept; the released code leaves them as drawn",
    "family.window": "2017, section 4.2: uniform in 1…5; args.cc: ws = 5",
    "family.negatives": "2017, section 4.2: 5; args.cc: neg = 5 (the code draws again what equals the word, ours skips it)",
    "family.power": "2017, section 4.2: the square root; loss.cc: pow(count, 0.5)",
    "family.sample": "2017, section 4.2: 10⁻⁴; args.cc: t = 1e-4; dictionary.cc: keep √(t/f) + t/f",
    "family.min_count": "2017, section 4.2: 5; args.cc: minCount = 5",
    "family.epochs": "args.cc: epoch = 5 (2017, section 4.2: 5 passes)",
    "family.rate": "2017, section 4.2: 0.05; args.cc: lr = 0.05",
    "family.last_rate": "fasttext.cc: lr · (1 − progress), to zero",
    "family.block": "ours: words between two looks at the clock; args.cc adapts the rate every lrUpdateRate = 100 words",
    "family.method": 'ours: vectors put together once for 128 words; "pairs" is the released code\'s rule',
    "tokenizer.kind": "the released code reads words between spaces; ours are segmented, so that punctuation and Chinese count too",
    "tokenizer.lowercase": "2017, section 4.2: Wikipedia normalised with Matt Mahoney's script, which lower-cases",
    "tokenizer.unseen": "2017, section 3.2: an unseen word is the mean of its n-grams",
}


def fasttext() -> Recipe:
    """Words and their character n-grams of 3 to 6, 100 wide: the released code's defaults (Bojanowski et al. 2017)."""
    return Recipe(
        name="fasttext",
        family=FastTextConfig(),
        tokenizer=TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",), unseen="spelling"),
        cites=CITES,
    )


def fasttext_chinese() -> Recipe:
    """`fasttext` for Chinese, whose words are of one to four characters: n-grams of 1 to 4."""
    parent = fasttext()
    own = {
        "family.min_n": "ours: one character, the morpheme; with 3 a word of two characters shares only what begins and ends it",
        "family.max_n": 'ours: 4, "<", a word of two characters, ">" (longer words have few or no words to share longer ones with)',
    }
    return replace(
        parent, name="fasttext-chinese", family=replace(FastTextConfig(), min_n=1, max_n=4), cites={**CITES, **own}
    )
