"""Published and modern recipes: functions that return complete configurations, each number with its source.

A variant is its parent plus a difference; `foretext recipes NAME --diff OTHER` shows it.
"""

from collections.abc import Callable, Mapping

from foretext.errors import unknown
from foretext.recipe import Recipe
from foretext.recipes import bert, fasttext, word2vec

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
    "fasttext": fasttext.fasttext,
    "fasttext-chinese": fasttext.fasttext_chinese,
}


def find(name: str) -> Recipe:
    """The recipe called `name`; UsageError with the nearest name otherwise."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]()
