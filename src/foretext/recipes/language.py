"""Recipes of language models that are not Transformers: n-grams, and Bengio's network."""

from dataclasses import replace

from foretext.models.ngram.config import NgramConfig
from foretext.models.nnlm.config import NNLMConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.training.config import Limits

SPECIAL = ("[UNK]", "</s>")
WORDS = TokenizerConfig(kind="words", lowercase=False, strip_accents=False, chinese="words", min_count=2, special=SPECIAL)

NGRAM_CITES = {
    "family.name": "Chen and Goodman 1998 (TR-10-98, section 4.1.6) and 1999: interpolated modified Kneser-Ney was best throughout",
    "family.order": "ours: they test 2 to 5 (1998, figure 5.6); beyond 5 they find nothing to gain",
    "family.unit": "1998, section 1.1: sentences, the end of each predicted",
    "family.block": "ours: places counted between two looks at the clock",
    "family.memory": "ours: megabytes of counts held in memory",
    "tokenizer.min_count": "ours: words seen once are [UNK], so that its probability is learnt from them",
    "tokenizer.lowercase": "ours: case is kept, as Bengio et al. 2003 keep it",
}
BENGIO = "Bengio et al. 2003 (JMLR 3, 1137–1155)"
NNLM_CITES = {
    "family.name": f"{BENGIO}, equation 1",
    "family.width": f"{BENGIO}, table 1: MLP1, m = 60",
    "family.hidden": f"{BENGIO}, table 1: MLP1, h = 50",
    "family.order": f"{BENGIO}, table 1: MLP1, n = 5",
    "family.direct": f"{BENGIO}, table 1: MLP1, direct connections: yes",
    "family.rate": f"{BENGIO}, section 4: the initial learning rate is 10^-3, found by a few trials on a part of the data",
    "family.slowing": f"{BENGIO}, section 4: ε₀/(1 + r·t) with r = 10^-8, t the updates done (one a word)",
    "family.decay": f"{BENGIO}, section 4: 10^-4 for Brown (10^-5 for AP News); section 2: on the weights and C, not on biases",
    "family.batch": f"{BENGIO}, section 3: an update a word",
    "family.epochs": f"{BENGIO}, section 4: convergence after 10 to 20 epochs on Brown",
    "family.bias": "ours: zeros (the paper does not say)",
    "family.unit": "ours: sentences; the paper reads a stream of words with marks for texts and paragraphs",
    "family.softmax": f"{BENGIO}, equation 1: over the whole vocabulary",
    "family.block": "ours: words between two looks at the clock",
    "limits.choose": f"{BENGIO}, section 4: early stopping on the validation set was used for Brown",
    "tokenizer.min_count": f"{BENGIO}, section 4.1: words with a frequency of 3 or less are merged into one symbol",
    "tokenizer.lowercase": f"{BENGIO}, section 4.1: upper and lower case are told apart, punctuation is kept",
}
MLP9_CITES = {
    "family.hidden": f"{BENGIO}, table 1: MLP9, h = 100",
    "family.direct": f"{BENGIO}, table 1: MLP9, direct connections: no",
    "family.bias": "ours: log frequencies, which the first epoch would otherwise spend its time on",
}
SAMPLED_CITES = {
    "family.softmax": "ours, after Bengio and Senécal 2008: importance sampling in training (the paper of 2003: full)",
    "family.samples": "ours: 1,024 words an update, drawn by frequency and shared by its 128 words",
    "family.batch": "ours: 128 words an update (the paper: 1)",
}


def ngram() -> Recipe:
    """5-grams with interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, 1999)."""
    return Recipe(
        name="ngram",
        family=NgramConfig(),
        tokenizer=WORDS,
        # A look estimates the whole model: one, when all is counted.
        limits=Limits(evaluations=1),
        cites=NGRAM_CITES,
    )


def nnlm() -> Recipe:
    """The neural probabilistic language model: MLP1 of Bengio et al. 2003, one update a word as published (nnlm-sampled: faster)."""
    return Recipe(
        name="nnlm",
        family=NNLMConfig(),
        tokenizer=replace(WORDS, min_count=4),
        limits=Limits(choose="best"),
        cites=NNLM_CITES,
    )


def nnlm_mlp5() -> Recipe:
    """MLP5 of Bengio et al. 2003: as `nnlm` (MLP1), with word vectors of 30 numbers."""
    made = nnlm()
    cites = {**NNLM_CITES, "family.width": f"{BENGIO}, table 1: MLP5, m = 30"}
    return replace(made, name="nnlm-mlp5", family=replace(NNLMConfig(), width=30), cites=cites)


def nnlm_sampled() -> Recipe:
    """Bengio's network for any text, in minutes: MLP9's hidden layer, a sampled softmax, updates of 128 words."""
    made = nnlm()
    own = {
        **MLP9_CITES,
        "family.rate": "ours: 10^-2, ten times the paper's, as an epoch has 128 times fewer updates",
        "family.slowing": "ours: r = 10^-6, so that the rate falls to an eighth after 7 million words (the paper: 10^-8)",
        **SAMPLED_CITES,
        "tokenizer.min_count": "ours: as the recipe ngram's, so that the two can be mixed (the paper: 4)",
    }
    family = NNLMConfig(
        hidden=100, direct=False, rate=1e-2, slowing=1e-6, bias="unigram", softmax="sampled", samples=1024, batch=128, block=8192
    )
    return replace(made, name="nnlm-sampled", family=family, tokenizer=WORDS, cites={**NNLM_CITES, **own})


def nnlm_brown_batch() -> Recipe:
    """MLP9 of Bengio et al. 2003 on Brown in half an hour of one core: updates of 256 words, at a higher, faster falling rate."""
    made = nnlm()
    own = {
        **MLP9_CITES,
        "family.width": f"{BENGIO}, table 1: MLP9, m = 30",
        "family.batch": "ours: 256 words an update, so that products are matrix products (the paper: 1)",
        "family.rate": "ours: 10^-2, ten times the paper's, as an epoch has 256 times fewer updates",
        "family.slowing": "ours: r = 10^-6, so that the rate falls to an eighth within 8 epochs (the paper: 10^-8)",
        "family.epochs": "ours: 8 (the paper: 10 to 20, by early stopping)",
        "family.unit": f"{BENGIO}, section 4: a stream of words; ours stops at the ends of the 500 texts",
        "tokenizer.kind": "Brown is tokenized already: words are what stands between spaces",
    }
    family = NNLMConfig(
        width=30, hidden=100, direct=False, batch=256, rate=1e-2, slowing=1e-6, epochs=8.0, bias="unigram", unit="document", block=8192
    )
    tokenizer = replace(WORDS, kind="spaces", min_count=4)
    return replace(made, name="nnlm-brown-batch", family=family, tokenizer=tokenizer, cites={**NNLM_CITES, **own})


def nnlm_brown_sampled() -> Recipe:
    """As `nnlm-brown-batch`, trained with a sampled softmax: several times faster, evaluated over all words as ever."""
    made = nnlm_brown_batch()
    family = replace(made.family, softmax="sampled", samples=1024, batch=128)  # type: ignore[type-var]
    return replace(made, name="nnlm-brown-sampled", family=family, cites={**made.cites, **SAMPLED_CITES})
