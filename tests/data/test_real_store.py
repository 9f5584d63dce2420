"""The same promises over a real store with a real tokenizer, English and Chinese."""

from pathlib import Path

import numpy as np
import pytest

from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.evaluation.show import instances
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig, make_objectives
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import train_tokenizer
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.training.source import Batches

ENGLISH = [
    "The river bank was flooded. Nobody had expected the unbelievably heavy rainfall. People waited on the roofs.",
    "She opened an account at the bank. The interest was disappointing. She closed it again after three years.",
    "Transformers read whole sentences at once. Recurrent networks read them word by word. Both learn representations.",
] * 4
CHINESE = [
    "长江是中国最长的河流。它发源于青藏高原。许多城市坐落在长江两岸。",
    "人工智能正在改变世界。语言模型可以写文章。研究人员仍然在研究它们。",
    "北京是中国的首都。故宫每天有许多游客。春天是最好的季节。",
] * 4


def store_of(documents: list[str], folder: Path) -> TokenStore:
    corpus = strings_corpus([f"{i} {text}" for i, text in enumerate(documents)])
    tokenizer = train_tokenizer(TokenizerConfig(size=180), corpus, workers=0)
    return build_store(corpus, tokenizer, folder, held_out=0.2, workers=0)


@pytest.mark.parametrize("documents", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_windows_over_a_real_store(documents: list[str], tmp_path: Path) -> None:
    store = store_of(documents, tmp_path)
    windows = make_windows(WindowsConfig(kind="packed", length=24), BertConfig().template)
    seen: list[int] = []
    for held_out in (False, True):
        plan = windows.plan(store, held_out, 0, 0)
        assert plan is not None
        seen += [t for a, n, *_ in plan.runs.tolist() for t in range(a, a + n)]
    assert sorted(seen) == list(range(len(store.ids)))
    whole = make_objectives({"masked": MaskedConfig(whole_word=True, rate=0.3)}, store.tokenizer)
    (batch,) = Batches(store, windows, whole, rows=40).step(0)
    target, view = batch.targets["masked"], batch.views["text"]
    ids = np.asarray(view.ids).ravel().copy()
    ids[target.at] = target.gold
    hidden = set(np.asarray(target.at).tolist())
    assert view.origin is not None
    words = np.asarray(view.origin.words)
    first = words[:, 2] * view.ids.shape[1] + words[:, 3]
    ordinary = ~np.isin(ids, list(store.tokenizer.special.values()))
    is_first = np.isin(np.arange(len(ids)), first)
    several = 0
    for start in first.tolist():
        word = [start]
        while word[-1] + 1 < len(ids) and ordinary[word[-1] + 1] and not is_first[word[-1] + 1]:
            word.append(word[-1] + 1)
        if ordinary[start]:
            assert len(hidden & set(word)) in (0, len(word))
            several += len(word) > 1 and word[0] in hidden
    assert several > 5


@pytest.mark.parametrize("documents", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_instances_read_like_the_text(documents: list[str], tmp_path: Path) -> None:
    store = store_of(documents, tmp_path)
    recipe = Recipe(
        name="test",
        family=BertConfig(),
        tokenizer=TokenizerConfig(),
        windows=WindowsConfig(kind="pairs", length=40),
        objectives={"masked": MaskedConfig(), "next_sentence": NextSentenceConfig()},  # type: ignore[dict-item]
    )
    (item, *_) = instances(recipe, store, n=2).items
    gold = {a.at: a.gold_id for a in item.masked}
    read = [gold.get(i, t) for i, t in enumerate(item.ids)]
    body = [t for t in read if t not in store.tokenizer.special.values()]
    text = "".join(store.tokenizer.decode(body).split()).lower()
    known = "".join("".join(f"{i} {d}".split()).lower() for i, d in enumerate(documents))
    assert text[:10] in known
    assert text[-10:] in known
