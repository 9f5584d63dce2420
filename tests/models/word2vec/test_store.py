"""word2vec over the real token store, driven by the real shell."""

from pathlib import Path

import numpy as np
import pytest

from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import INWARD, SkipGram, stepper
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import run

CONFIG = Word2VecConfig(width=8, min_count=2, sample=0.0, block=200, epochs=6)
WORDS = TokenizerConfig(kind="words", strip_accents=False, chinese="words", special=("[UNK]",))


@pytest.fixture
def store(tmp_path: Path) -> TokenStore:
    texts = [
        f"The river {i} runs to the sea. The sea is wide! 我喜欢吃苹果。苹果很好吃，北京的苹果也很好吃。 rare{i}" for i in range(40)
    ]
    corpus = strings_corpus(texts)
    return build_store(corpus, train_tokenizer(WORDS, corpus, workers=0), tmp_path / "cache", held_out=0.1, workers=0)


def test_vocabulary_is_a_prefix_of_the_lexicon(store: TokenStore) -> None:
    made = stepper(CONFIG, store, epochs=1)
    rows = len(made.inward)
    pieces = list(store.tokenizer.prefix(rows).pieces)  # type: ignore[attr-defined]
    assert {"river", "the", "苹果", "北京", "."} <= set(pieces)
    assert not any(piece.startswith("rare") for piece in pieces)
    assert store.tokenizer.size > rows
    trained = np.flatnonzero(made.inward.any(axis=1))
    assert all(store.counts[trained] >= 2)
    assert made.evaluate()["loss"] > 1.0


def test_a_stopped_run_goes_on_to_the_same_bits(store: TokenStore, tmp_path: Path) -> None:
    def finished(folder: str) -> SkipGram:
        made = stepper(CONFIG, store, seed=5)
        run(made, tmp_path / folder, Limits(evaluations=3), SilentWatch())
        return made

    whole = finished("whole")
    part = stepper(CONFIG, store, seed=5)
    calls = 0

    class Killed(Exception):
        pass

    class Watch(SilentWatch):
        def report(self, *given: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 4:
                raise Killed

    with pytest.raises(Killed):
        run(part, tmp_path / "part", Limits(evaluations=3, checkpoint_steps=2), Watch())
    assert calls == 4
    again = finished("part")
    assert again.done == whole.total
    assert np.array_equal(again.inward, whole.inward)
    assert np.array_equal(again.state().arrays[INWARD], whole.state().arrays[INWARD])
