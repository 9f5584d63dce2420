"""A miniature world for stage two: three topics with their own words, and untrained encoders of both families."""

import numpy as np

from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.draws import generator
from foretext.models.bert.config import BertConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer

TOPICS = {
    "sea": ["ship", "wave", "sailor", "harbour", "tide", "anchor", "fish", "salt", "海", "船", "浪", "鱼"],
    "law": ["court", "judge", "verdict", "trial", "crime", "lawyer", "bench", "oath", "法", "官", "罪", "案"],
    "sky": ["star", "cloud", "rain", "comet", "moon", "wind", "storm", "planet", "天", "云", "雨", "星"],
}
COMMON = ["the", "a", "of", "and", "near", "under", "old", "new", "very", "it", "was"]


def labelled(count: int, seed: int = 0, *, longest: int = 14) -> list[tuple[str, str]]:
    """`count` texts of 3 to `longest` words, a third of them telling the topic."""
    rng = generator(seed, "miniature texts")
    names = sorted(TOPICS)
    rows = []
    for i in range(count):
        topic = names[i % len(names)]
        size = int(rng.integers(3, longest + 1))
        words = [str(rng.choice(TOPICS[topic] if rng.random() < 0.4 else COMMON)) for _ in range(size)]
        words[int(rng.integers(size))] = str(rng.choice(TOPICS[topic]))
        rows.append((" ".join(words), topic))
    return rows


def pretrained(family: str, *, positions: int = 32, dropout: float = 0.1) -> Pretrained:
    """An untrained encoder with a real tokenizer."""
    corpus = strings_corpus([text for text, _ in labelled(300)])
    if family == "bert":
        tokens = TokenizerConfig(kind="wordpiece", size=120)
        config: BertConfig | Word2VecConfig = BertConfig(
            layers=2, width=32, heads=2, inner=64, positions=positions, dropout=dropout, attention_dropout=dropout, initial_sd=0.2
        )
    else:
        tokens = TokenizerConfig(kind="words", special=("[UNK]",))
        config = Word2VecConfig(width=24, min_count=1)
    tokenizer = train_tokenizer(tokens, corpus, workers=0)
    recipe = Recipe(name=f"tiny-{family}", family=config, tokenizer=tokens)
    model = build_model(recipe, tokenizer.size, heads=False)
    arrays = {name: np.asarray(array) for name, array in model.arrays().items()}
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays, key=f"tiny-{family}")
