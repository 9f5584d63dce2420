"""The Stepper: determinism, resume, held-out loss, errors, and that it learns what words go together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.errors import ArtefactError, DataError, DivergedError, UsageError
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import INWARD, OUTWARD, edges, pair_loss, stepper, trained_words
from foretext.types import State
from models.word2vec.mini import finish, store, two_topics

CONFIG = Word2VecConfig(width=12, min_count=1, sample=0.0, block=1500, epochs=4, rate=0.05)


@pytest.mark.parametrize("method", ["blocks", "pairs"])
def test_words_of_one_topic_come_together(method: str) -> None:
    run = stepper(Word2VecConfig(width=12, min_count=1, sample=0.0, block=1500, epochs=20, rate=0.05, method=method), two_topics())
    before = run.evaluate()["loss"]
    assert abs(before - (1 + 5 * 15 / 16) * np.log(2)) < 0.02
    finish(run)
    table = run.state().arrays[INWARD][1:]
    unit = table / np.linalg.norm(table, axis=1, keepdims=True)
    alike = unit @ unit.T
    same = (np.arange(16)[:, None] < 8) == (np.arange(16) < 8)
    assert alike[same].min() > alike[~same].max() + 0.5
    assert run.evaluate()["loss"] < before - 0.8


@pytest.mark.parametrize("method", ["blocks", "pairs"])
def test_training_loss_is_the_held_out_loss_on_the_same_text(method: str) -> None:
    text = two_topics(3000)
    trained = finish(stepper(CONFIG, text)).state().arrays
    still = stepper(Word2VecConfig(width=12, min_count=1, sample=0.0, rate=1e-9, epochs=1, method=method), text, init=trained)
    reports = [still.step() for _ in range(still.total)]
    loss = sum(r.loss * r.count for r in reports) / sum(r.count for r in reports)
    assert abs(loss - still.evaluate()["loss"]) < 0.02


@pytest.mark.parametrize("words", [1, 2, 3])
@pytest.mark.parametrize("rate", [0.025, 0.1])
def test_text_of_a_few_words_over_and_over_stays_finite(words: int, rate: float) -> None:
    text = store([5000], np.tile(np.arange(1, words + 1), 5000)[:5000])
    run = finish(stepper(Word2VecConfig(width=20, min_count=1, sample=0.0, epochs=20, rate=rate), text))
    assert np.linalg.norm(run.inward, axis=1).max() < 50


def test_one_word_thousands_of_times_amid_others_stays_finite() -> None:
    ids = np.random.default_rng(0).integers(1, 1000, 40_000)
    ids[20_000:24_000] = 7
    config = Word2VecConfig(width=20, min_count=1, sample=0.0, epochs=3, rate=0.1, block=5000)
    run = finish(stepper(config, store([100] * 400, ids, dtype=np.uint16)))
    assert max(np.linalg.norm(table, axis=1).max() for table in (run.inward, run.outward)) < 20


def test_one_thread_repeats_to_the_bit_and_seeds_differ() -> None:
    first, second, other = (finish(stepper(CONFIG, two_topics(), seed=seed)) for seed in (3, 3, 4))
    assert np.array_equal(first.inward, second.inward)
    assert np.array_equal(first.outward, second.outward)
    assert not np.array_equal(first.inward, other.inward)


def test_every_epoch_and_shard_draws_anew() -> None:
    same = store([50] * 16, np.tile(np.arange(1, 51), 16))
    run = stepper(Word2VecConfig(width=4, min_count=1, sample=0.0, block=400, shards=1, epochs=3), same)
    assert len({run.step().count for _ in range(run.total)}) > 4


def test_resume_is_exact() -> None:
    whole = finish(stepper(CONFIG, two_topics(), seed=1))
    begun = stepper(CONFIG, two_topics(), seed=1)
    for _ in range(7):
        begun.step()
    state = begun.state()
    begun.step()
    resumed = stepper(CONFIG, two_topics(), seed=1)
    resumed.restore(State(arrays=state.arrays, cursor=state.cursor))
    finish(resumed)
    assert np.array_equal(whole.inward, resumed.inward)
    assert np.array_equal(whole.outward, resumed.outward)


def test_resume_refuses_what_does_not_fit() -> None:
    run = stepper(CONFIG, two_topics(), seed=1)
    state = run.state()
    with pytest.raises(ArtefactError, match="seed is 1, this run's is 2"):
        stepper(CONFIG, two_topics(), seed=2).restore(state)
    wrong = {**state.arrays, OUTWARD: state.arrays[OUTWARD][:, :3]}
    with pytest.raises(ArtefactError, match="negative_sampling"):
        run.restore(State(arrays=wrong, cursor=state.cursor))


def test_threads_train_as_well() -> None:
    alone, together = (finish(stepper(CONFIG, two_topics(), threads=threads)) for threads in (1, 3))
    assert abs(alone.evaluate()["loss"] - together.evaluate()["loss"]) < 0.1


def test_both_methods_follow_the_same_gradient() -> None:
    """The mean over many draws of one tiny step agrees: the shared negatives' weights are right."""
    rng = np.random.default_rng(0)
    world = store([20], rng.integers(1, 6, 20))
    init = {INWARD: rng.standard_normal((6, 8)).astype(np.float32), OUTWARD: rng.standard_normal((6, 8)).astype(np.float32)}
    means = []
    for method in ("pairs", "blocks"):
        config = Word2VecConfig(width=8, min_count=1, sample=0.0, rate=1e-4, method=method, shards=1)
        change = np.zeros((2, 6, 8))
        for seed in range(400):
            run = stepper(config, world, seed=seed, steps=1000, init=init)
            run.step()
            change += np.stack([run.inward - init[INWARD], run.outward - init[OUTWARD]])
        means.append(change.ravel() / 400)
    assert np.corrcoef(*means)[0, 1] > 0.995
    assert abs(np.linalg.norm(means[0]) / np.linalg.norm(means[1]) - 1) < 0.03


def test_init_goes_on_from_given_vectors() -> None:
    first = finish(stepper(CONFIG, two_topics()))
    arrays = first.state().arrays
    again = stepper(CONFIG, two_topics(), init=arrays)
    assert again.evaluate() == first.evaluate()
    wider = {name: np.vstack([table, np.ones((3, 12), np.float32)]) for name, table in arrays.items()}
    grown = finish(stepper(CONFIG, two_topics(), init=wider))
    assert np.array_equal(grown.inward[-3:], np.ones((3, 12)))
    assert np.array_equal(grown.inward[0], arrays[INWARD][0])


def test_first_vectors_stand_in_the_input_table_of_trained_words_only() -> None:
    ids = np.array([0, 3, 5, 16, 99])  # [UNK] and a word beyond the vocabulary are not trained
    rows = np.arange(60, dtype=np.float32).reshape(5, 12)
    given, plain = stepper(CONFIG, two_topics(), first=(ids, rows)), stepper(CONFIG, two_topics())
    assert np.array_equal(given.inward[[3, 5, 16]], rows[1:4])
    others = [i for i in range(17) if i not in (3, 5, 16)]
    assert np.array_equal(given.inward[others], plain.inward[others])
    assert not given.outward.any() and given.inward.shape == plain.inward.shape


def test_untrained_rows_stay_zero_and_vocabulary_is_a_prefix() -> None:
    ids = np.array([1] * 9 + [2] * 5 + [3] * 6 + [4] * 2)
    run = finish(stepper(Word2VecConfig(width=4, min_count=6, sample=0.0), store([len(ids)], ids)))
    assert run.inward.shape == (4, 4)
    assert not run.inward[[0, 2]].any()
    assert not run.outward[[0, 2]].any()
    assert run.inward[[1, 3]].any(axis=1).all()


def test_one_giant_line_is_trained_whole() -> None:
    ids = np.random.default_rng(0).integers(1, 200, 50_000)
    run = stepper(Word2VecConfig(width=8, window=1, min_count=1, sample=0.0, block=2000, epochs=1), store([50_000], ids))
    reports = [run.step() for _ in range(run.total)]
    assert run.total == 25
    assert sum(r.tokens for r in reports) == 50_000
    assert 2 * 50_000 - 2 * 25 * run.config.shards - 2 <= sum(r.count for r in reports) <= 2 * 50_000
    assert reports[-1].done == 1.0


def test_held_out_sentences_are_not_trained() -> None:
    ids = np.array(([1, 2] * 10 + [3, 4] * 10) * 50)
    half = store([20] * 100, ids, [s % 2 == 1 for s in range(100)])
    half.counts = np.array([0, 500, 500, 500, 500])
    run = stepper(CONFIG, half)
    start = run.inward.copy()
    finish(run)
    assert np.array_equal(run.inward[3:], start[3:])
    assert not np.array_equal(run.inward[1:3], start[1:3])


@pytest.mark.parametrize(("sentences", "words"), [((50_000,), 40_000), ((9_000,) * 8, 40_000), ((100,) * 600, 40_000), ((7,) * 50, 350)])
def test_the_held_out_sample_is_as_large_as_it_may_be(sentences: tuple[int, ...], words: int) -> None:
    ids = 1 + np.arange(sum(sentences) + 250) % 250
    held = store([*sentences, 250], ids, [True] * len(sentences) + [False])
    plan = stepper(CONFIG, held)._held_out_plan()
    assert plan[3] == words
    if words == sum(sentences):
        assert plan[0][:words].tolist() == ids[:words].tolist()


def test_held_out_loss_is_that_of_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    run = stepper(CONFIG, two_topics())
    run.step()
    loss = run.evaluate()["loss"]
    pairs = run._held_out_pairs()
    assert run.evaluate()["loss"] == loss
    inward, outward = run.inward.astype(float), run.outward.astype(float)
    total = 0.0
    for c, o, negative in zip(pairs.centre, pairs.context, pairs.negative, strict=True):
        total += np.logaddexp(0, -inward[c] @ outward[o])
        total += sum(np.logaddexp(0, inward[c] @ outward[k]) for k in negative if k >= 0)
    assert abs(total / len(pairs.centre) - loss) < 1e-6
    assert (pairs.centre // 9 == pairs.context // 9).all()
    monkeypatch.setattr("foretext.models.word2vec.train.scored_at_once", lambda numbers: 7)
    assert pair_loss(run.inward, run.outward, pairs) == pytest.approx(loss, abs=1e-9)
    nothing = store([4], np.array([1, 2, 1, 2]))
    assert stepper(CONFIG, nothing).evaluate() == {}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 25))
def test_edges_cut_at_sentences_unless_they_are_giants(lengths: list[int], size: int) -> None:
    sentences = np.concatenate([[0], np.cumsum(lengths)])
    total = int(sentences[-1])
    if total == 0:
        return
    cuts = edges(sentences, 0, total, size)
    assert cuts[0] == 0
    assert cuts[-1] == total
    assert (np.diff(cuts) > 0).all()
    assert np.diff(cuts).max() <= 2 * size
    for cut in cuts[1:-1]:
        inside = np.searchsorted(sentences, cut, side="right") - 1
        assert cut in sentences or lengths[inside] > size


def test_errors_name_the_cure() -> None:
    with pytest.raises(DataError, match=r"at least min_count = 5 times; the most frequent is seen 2 times.*min_count"):
        stepper(Word2VecConfig(), store([4], np.array([1, 2, 1, 2])))
    with pytest.raises(DataError, match="the training part is empty"):
        trained_words(np.zeros(0, np.int64), 5, {})
    with pytest.raises(UsageError, match="width must be at least 1, found 0"):
        Word2VecConfig(width=0)
    with pytest.raises(UsageError, match="multiple of 8"):
        Word2VecConfig(shared=12)
    run = stepper(Word2VecConfig(width=8, min_count=1, sample=0.0, rate=1e9), two_topics())
    with pytest.raises(DivergedError, match=r"non-finite score in step \d+.*lower family.rate"):
        finish(run)
    assert np.isfinite(run.inward).all()
    assert np.isfinite(run.outward).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
def test_store_widths_agree(dtype: Any) -> None:
    world = two_topics(100)
    narrow = finish(stepper(CONFIG, world))
    world.ids = world.ids.astype(dtype)
    assert np.array_equal(finish(stepper(CONFIG, world)).inward, narrow.inward)
