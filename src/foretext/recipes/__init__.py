"""Published and modern recipes: functions that return complete configurations, each number with its source.

A variant is its parent plus a difference; `foretext recipes NAME --diff OTHER` shows it.
"""

from collections.abc import Callable, Mapping

from foretext.errors import unknown
from foretext.recipe import Recipe
from foretext.recipes import bert, fasttext, glove, language, word2vec

RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "bert-tiny": bert.bert_tiny,
    "bert-mini": bert.bert_mini,
    "bert-small": bert.bert_small,
    "bert-medium": bert.bert_medium,
    "bert-base": bert.bert_base,
    "bert-large": bert.bert_large,
    "bert-base-wwm": bert.bert_base_wwm,
    "bert-large-wwm": bert.bert_large_wwm,
    "bert-base-chinese": bert.bert_base_chinese,
    "bert-budget": bert.bert_budget,
    "bert-continue": bert.bert_continue,
    "word2vec": word2vec.word2vec,
    "word2vec-cbow": word2vec.word2vec_cbow,
    "word2vec-hs": word2vec.word2vec_hs,
    "word2vec-cbow-hs": word2vec.word2vec_cbow_hs,
    "word2vec-300": word2vec.word2vec_300,
    "word2vec-text8": word2vec.word2vec_text8,
    "word2vec-phrases": word2vec.word2vec_phrases,
    "glove": glove.glove,
    "glove-text8-demo": glove.glove_text8_demo,
    "ngram": language.ngram,
    "nnlm": language.nnlm,
    "nnlm-mlp5": language.nnlm_mlp5,
    "nnlm-sampled": language.nnlm_sampled,
    "nnlm-brown-batch": language.nnlm_brown_batch,
    "nnlm-brown-sampled": language.nnlm_brown_sampled,
    "fasttext": fasttext.fasttext,
    "fasttext-chinese": fasttext.fasttext_chinese,
}


def find(name: str) -> Recipe:
    """The recipe called `name`; UsageError with the nearest name otherwise."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()
