"""Recipes of BERT: the published ones, and a modern one for a wall-clock budget."""

from dataclasses import replace

from foretext.data.config import WindowsConfig
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.training.config import BatchConfig, Limits, OptimizerConfig, Phase, ScheduleConfig

# "Paper" is Devlin et al. 2019 (NAACL; arXiv 1810.04805), "code" is github.com/google-research/bert.
CITES = {
    "family.layers": "paper, section 3: L=12 (base), 24 (large)",
    "family.width": "paper, section 3: H=768 (base), 1024 (large)",
    "family.heads": "paper, section 3: A=12 (base), 16 (large)",
    "family.inner": "paper, section 3, footnote 3: 4H",
    "family.positions": "code, modeling.py: max_position_embeddings=512",
    "family.segments": "released bert_config.json: type_vocab_size 2; code, modeling.py: its own default is 16. We follow the models",
    "family.dropout": "paper, appendix A.2: 0.1 on all layers; code: hidden_dropout_prob=0.1",
    "family.attention_dropout": "code, modeling.py: attention_probs_dropout_prob=0.1",
    "family.activation": "paper, appendix A.2: gelu; code: by erf when released, by tanh later (tanh: activation = gelu_tanh)",
    "family.norm": "paper, section 3: the original Transformer (LayerNorm after the residual); code, modeling.py",
    "family.norm_epsilon": "code, modeling.py: tf.contrib.layers.layer_norm, whose variance_epsilon is 1e-12",
    "family.initial_sd": "code, modeling.py: truncated normal, initializer_range=0.02",
    "family.pooler": "code, modeling.py: dense + tanh on the first token; the paper's C is the vector before it",
    "family.template": "paper, Figure 2: [CLS] A [SEP] B [SEP]",
    "tokenizer.kind": "paper, section 3: WordPiece (the code has no trainer: 'C++ with dependencies on Google's internal libraries')",
    "tokenizer.size": "paper, section 3: 30,000; released vocab.txt (uncased): 30,522 lines. We follow the file",
    "tokenizer.lowercase": "code, README: uncased models are lower-cased and stripped of accents",
    "tokenizer.chinese": "code, tokenization.py: each CJK character is a word by itself",
    "windows.kind": "paper, appendix A.2: A + B pairs filled to the length; code, create_pretraining_data.py",
    "windows.length": "paper, appendix A.2: 128 for 90 % of the steps",
    "windows.short": "code, create_pretraining_data.py: short_seq_prob=0.1 (not in the paper)",
    "windows.copies": "code, create_pretraining_data.py: dupe_factor=10 (README's example: 5; not in the paper)",
    "objectives.masked.rate": "paper, section 3.1: 15 % of all WordPiece tokens; code: masked_lm_prob=0.15",
    "objectives.masked.mask": "paper, section 3.1: 80 % [MASK]",
    "objectives.masked.random": "paper, section 3.1: 10 % random token, 10 % unchanged",
    "objectives.masked.most": "code: max_predictions_per_seq=20 at 128, and 'around max_seq_length * masked_lm_prob', which is 77 at 512; "
    "15 % of 128 is 19, so one cap of 77 gives the published counts at both lengths",
    "objectives.masked.whole_word": "code: do_whole_word_mask=False",
    "objectives.masked.slots": "ours: 1, no filling; the code fills every sequence to max_predictions_per_seq with weights of 0",
    "objectives.masked.weight": "paper, appendix A.2: the sum of the two mean likelihoods; code, run_pretraining.py",
    "objectives.next_sentence.weight": "paper, appendix A.2: the sum of the two mean likelihoods; code, run_pretraining.py",
    "optimizer.kind": "code, optimization.py: Adam without bias correction, decay outside the moments; the paper says Adam",
    "optimizer.rate": "paper, appendix A.2: 1e-4 (README: 'the learning rate we used in the paper was 1e-4'); run_pretraining.py defaults to 5e-5",
    "optimizer.betas": "paper, appendix A.2: 0.9, 0.999",
    "optimizer.epsilon": "code, optimization.py: 1e-6 (not in the paper)",
    "optimizer.decay": "paper, appendix A.2: L2 weight decay of 0.01; code: not on LayerNorm or bias",
    "optimizer.clip": "code, optimization.py: clip_by_global_norm 1.0, 'how the model was pre-trained' (not in the paper)",
    "schedule.shape": "paper, appendix A.2: linear decay; code, optimization.py: to 0 over all steps, counted from step 0",
    "schedule.warmup_steps": "paper, appendix A.2: 10,000 steps; code: num_warmup_steps=10000",
    "batch.rows": "paper, appendix A.2: 256 sequences; run_pretraining.py defaults to 32",
    "batch.micro": "ours: rows in memory at once, without effect on the update",
    "batch.precision": "paper and code: fp32",
    "limits.steps": "paper, appendix A.2: 1,000,000, about 40 epochs of 3.3 billion words; run_pretraining.py defaults to 100,000",
    "phases": "paper, appendix A.2: 90 % of the steps at 128, the rest at 512 (README: 90,000 and 10,000)",
    "held_out": "ours: neither paper nor code keep a part of the text back",
}

SIZES = (
    "Turc et al. 2019 (arXiv 1908.08962), Table 1; code, README: '24 smaller BERT models', 'the standard BERT recipe'; "
    "heads = width / 64, inner = 4 · width"
)


def bert_base() -> Recipe:
    """BERT-base as published, uncased (Devlin et al. 2019): 110M parameters, 1M steps of 256 sequences."""
    pairs = WindowsConfig(kind="pairs", length=128, short=0.1, copies=10)
    return Recipe(
        name="bert-base",
        family=BertConfig(),
        tokenizer=TokenizerConfig(kind="wordpiece", size=30522, lowercase=True, strip_accents=True),
        windows=pairs,
        objectives={
            "masked": MaskedConfig(rate=0.15, mask=0.8, random=0.1, most=77),
            "next_sentence": NextSentenceConfig(),
        },
        optimizer=OptimizerConfig(kind="adam-bert", rate=1e-4, betas=(0.9, 0.999), epsilon=1e-6, decay=0.01, clip=1.0),
        schedule=ScheduleConfig(shape="linear", warmup_steps=10_000),
        batch=BatchConfig(rows=256, micro=32),
        phases=(Phase(share=0.9), Phase(share=0.1, windows=replace(pairs, length=512))),
        limits=Limits(steps=1_000_000),
        cites=CITES,
    )


def bert_large() -> Recipe:
    """BERT-large as published, uncased (Devlin et al. 2019): 340M parameters."""
    return _sized("bert-large", layers=24, width=1024, cites=CITES)


def bert_tiny() -> Recipe:
    """BERT-tiny, 2 × 128 (Turc et al. 2019), trained as BERT-base."""
    return _sized("bert-tiny", layers=2, width=128)


def bert_mini() -> Recipe:
    """BERT-mini, 4 × 256 (Turc et al. 2019), trained as BERT-base."""
    return _sized("bert-mini", layers=4, width=256)


def bert_small() -> Recipe:
    """BERT-small, 4 × 512 (Turc et al. 2019), trained as BERT-base."""
    return _sized("bert-small", layers=4, width=512)


def bert_medium() -> Recipe:
    """BERT-medium, 8 × 512 (Turc et al. 2019), trained as BERT-base."""
    return _sized("bert-medium", layers=8, width=512)


def bert_base_wwm() -> Recipe:
    """BERT-base with whole-word masking: all pieces of a chosen word at once; in Chinese all characters of a word."""
    return _whole_words(
        bert_base(),
        "code, README: 'Whole Word Masking' models (released for large); Chinese: Cui et al. 2019 (arXiv 1906.08101), "
        "who segment by LTP, we by rjieba",
    )


def bert_large_wwm() -> Recipe:
    """BERT-large with whole-word masking, as released in May 2019."""
    return _whole_words(bert_large(), "code, README: BERT-Large, Uncased (Whole Word Masking); do_whole_word_mask=True")


def bert_base_chinese() -> Recipe:
    """BERT-base for Chinese, by characters (the released BERT-Base, Chinese)."""
    base = bert_base()
    size = "released bert_config.json of BERT-Base, Chinese: vocab_size 21128"
    characters = "code, multilingual.md: character-based tokenization for Chinese"
    return replace(
        base,
        name="bert-base-chinese",
        tokenizer=replace(base.tokenizer, size=21128, chinese="characters"),
        cites={**base.cites, "tokenizer.size": size, "tokenizer.chinese": characters},
    )


def bert_budget() -> Recipe:
    """A small modern BERT for minutes on a CPU: packed rows, pre-norm, Muon, more masking, no next sentence."""
    return Recipe(
        name="bert-budget",
        family=BertConfig(
            layers=4,
            width=256,
            heads=4,
            inner=1024,
            positions=128,
            dropout=0.0,
            attention_dropout=0.0,
            norm="pre",
            initial_residual="zero",
            pooler="none",
        ),
        tokenizer=TokenizerConfig(kind="wordpiece", size=8192),
        windows=WindowsConfig(kind="packed", length=128, copies=0),
        objectives={"masked": MaskedConfig(rate=0.4, mask=0.8, random=0.1, most=None)},
        optimizer=OptimizerConfig(kind="muon", rate=1e-3, muon_rate=0.02, decay=0.01, clip=1.0),
        schedule=ScheduleConfig(shape="linear", warmup=0.1),
        batch=BatchConfig(rows=32, precision="bf16"),
        limits=Limits(minutes=10.0, evaluations=10),
        initial_bias="unigram",
        init_embeddings="auto",
        cites=BUDGET_CITES,
    )


def bert_continue() -> Recipe:
    """Go on with a BERT that is there (--from) on the text of a domain; network and vocabulary are the source's."""
    return Recipe(
        name="bert-continue",
        family=BertConfig(),
        tokenizer=TokenizerConfig(kind="wordpiece", size=30522, lowercase=True, strip_accents=True),
        windows=WindowsConfig(kind="packed", length=128, copies=0),
        objectives={"masked": MaskedConfig(rate=0.15, mask=0.8, random=0.1, most=None)},
        optimizer=OptimizerConfig(kind="adamw", rate=1e-4, betas=(0.9, 0.98), epsilon=1e-6, decay=0.01, clip=1.0),
        schedule=ScheduleConfig(shape="linear", warmup=0.06),
        batch=BatchConfig(rows=32, precision="bf16"),
        limits=Limits(minutes=10.0, evaluations=10),
        initial_bias="unigram",
        init_embeddings="source",
        cites=CONTINUE_CITES,
    )


CONTINUE_CITES = {
    "family": "the source's, with the tokenizer: what stands here counts only for a start anew (init_embeddings); dropout is this recipe's",
    "family.dropout": "Gururangan et al. 2020 (arXiv 2004.10964), appendix, hyperparameters of adaptive pretraining: 0.1",
    "tokenizer": "the source's",
    "windows.kind": "Liu et al. 2019 (arXiv 1907.11692), section 4.2: full sentences, packed",
    "windows.length": "ours: 128, a quarter of the paper's 512 (four times the sequences for the same minutes)",
    "windows.copies": "Liu et al. 2019, section 4.1: masks drawn anew each time",
    "objectives": "Gururangan et al. 2020, section 3: masked LM alone",
    "objectives.masked.rate": "Devlin et al. 2019, section 3.1; Gururangan et al. 2020: as RoBERTa, 15 %",
    "optimizer.kind": "Gururangan et al. 2020, appendix: Adam with decoupled decay",
    "optimizer.rate": "Gururangan et al. 2020, appendix: 1e-4 for task text, 5e-4 (at batches of 2048) for a domain's; the smaller",
    "optimizer.betas": "Gururangan et al. 2020, appendix: 0.9, 0.98",
    "optimizer.epsilon": "Gururangan et al. 2020, appendix: 1e-6",
    "optimizer.decay": "Gururangan et al. 2020, appendix: 0.01",
    "optimizer.clip": "ours: 1.0 as BERT's code; RoBERTa clips at 0",
    "schedule.shape": "Gururangan et al. 2020, appendix: linear decay",
    "schedule.warmup": "Gururangan et al. 2020, appendix: a share of 0.06",
    "batch.rows": "ours: 32, for minutes on a CPU; the paper has 256 and 2048",
    "initial_bias": "ours: only a head that the source lacks starts from log unigram frequencies",
    "init_embeddings": "the source's; random or other vectors may be named to start anew",
}

_MEASURED = "measured on a small CPU budget (docs/LOG.md)"

BUDGET_CITES = {
    "family.layers": "BERT-mini (Turc et al. 2019); departs from BERT-base, which a CPU trains no useful distance in minutes",
    "family.positions": "departs from BERT's 512: only what `windows.length` trains",
    "family.dropout": "departs from BERT's 0.1: one pass over text does not overfit (Geiping and Goldstein 2023, cramming)",
    "family.attention_dropout": "departs from BERT's 0.1: as dropout",
    "family.norm": "departs from BERT's post-norm: bears higher rates (Xiong et al. 2020; Geiping and Goldstein 2023)",
    "family.initial_residual": "departs from BERT's normal start: every block starts as the identity (Goyal et al. 2017, section 5.1, "
    "for residual networks); " + _MEASURED,
    "family.pooler": "departs from BERT's dense + tanh, which only next-sentence prediction trains",
    "tokenizer.size": "departs from BERT's 30,522: the output product is the largest part of a small model's step",
    "windows.kind": "departs from BERT's pairs: packed rows waste no place; a token sees its own sequence only",
    "windows.copies": "departs from BERT's 10 static copies: dynamic masks (Liu et al. 2019, RoBERTa, section 4.1)",
    "objectives": "departs from BERT: no next-sentence prediction (Liu et al. 2019, section 4.2)",
    "objectives.masked.rate": "departs from BERT's 0.15: Wettig et al. 2023 find 40 % best; " + _MEASURED,
    "objectives.masked.most": "departs from BERT's cap: none, since 40 % of 128 is 51",
    "optimizer.kind": "departs from BERT's Adam: Muon for matrices (Jordan et al. 2024), AdamW for the rest; "
    + _MEASURED,
    "optimizer.rate": "departs from BERT's 1e-4; cramming: 1e-3; " + _MEASURED,
    "optimizer.muon_rate": "Jordan et al. 2024: 0.02; " + _MEASURED,
    "schedule.warmup": "departs from BERT's 1 %: 10 % of a run of minutes",
    "batch.rows": "departs from BERT's 256: small batches make more steps of a small budget; " + _MEASURED,
    "batch.precision": "departs from BERT's fp32: bf16 products over fp32 masters",
    "initial_bias": "departs from BERT's zeros: the first loss is the unigram entropy; " + _MEASURED,
    "init_embeddings": "departs from BERT's random start: skip-gram vectors of the same pieces; " + _MEASURED,
}


def _sized(name: str, *, layers: int, width: int, cites: dict[str, str] | None = None) -> Recipe:
    """BERT-base at another size: heads of 64, four times as wide inside."""
    base = bert_base()
    family = replace(BertConfig(), layers=layers, width=width, heads=width // 64, inner=4 * width)
    small = {f"family.{field}": SIZES for field in ("layers", "width", "heads", "inner")}
    return replace(base, name=name, family=family, cites=cites or {**base.cites, **small})


def _whole_words(recipe: Recipe, source: str) -> Recipe:
    masked = recipe.objectives["masked"]
    assert isinstance(masked, MaskedConfig)
    return replace(
        recipe,
        name=f"{recipe.name}-wwm",
        objectives={**recipe.objectives, "masked": replace(masked, whole_word=True)},
        cites={**recipe.cites, "objectives.masked.whole_word": source},
    )
