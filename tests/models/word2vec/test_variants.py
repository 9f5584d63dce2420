"""Every architecture and loss through the Stepper: fast against exact, threads against bits, what stands still."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foretext.errors import DivergedError
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import INWARD, TREE, stepper
from foretext.types import State
from models.word2vec.mini import finish, store, two_topics

VARIANTS = [
    {"architecture": architecture, "loss": loss}
    for architecture in ("skip-gram", "cbow")
    for loss in ("negative-sampling", "hierarchical-softmax")
]
CONFIG = Word2VecConfig(width=12, min_count=1, sample=0.0, block=1500, epochs=4, rate=0.05)


def made(variant: dict[str, str], **changes: Any) -> Word2VecConfig:
    return replace(CONFIG, **{**variant, **changes})


def plain_loss(run: Any) -> float:
    """The held-out loss, example by example, in Python."""
    found = run.objective.examples(run._held_out_plan())
    tree = run.objective.tree if run.config.loss == "hierarchical-softmax" else None
    examples, negatives = (found, None) if tree else found
    inward, outward = run.inward.astype(float), run.outward.astype(float)
    total = 0.0
    for e, word in enumerate(examples.told):
        hidden = inward[examples.inputs[examples.first[e] : examples.first[e + 1]]].mean(axis=0)
        if tree:
            for at in range(tree.first[word], tree.first[word + 1]):
                score = hidden @ outward[tree.nodes[at]]
                total += np.logaddexp(0, score if tree.codes[at] else -score)
        else:
            total += np.logaddexp(0, -hidden @ outward[word])
            total += sum(np.logaddexp(0, hidden @ outward[k]) for k in negatives[e] if k >= 0)
    return total / len(examples.told)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_held_out_loss_is_that_of_its_examples(variant: dict[str, str]) -> None:
    run = stepper(made(variant), two_topics())
    run.step()
    assert run.evaluate()["loss"] == pytest.approx(plain_loss(run), abs=1e-6)
    assert stepper(made(variant), store([4], np.array([1, 2, 1, 2]))).evaluate() == {}


@pytest.mark.parametrize("method", ["blocks", "pairs"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_training_loss_is_the_held_out_loss_on_the_same_text(variant: dict[str, str], method: str) -> None:
    text = two_topics(1500)
    trained = finish(stepper(made(variant), text)).state().arrays
    still = stepper(made(variant, rate=1e-9, epochs=1.0, method=method), text, init=trained)
    reports = [still.step() for _ in range(still.total)]
    loss = sum(r.loss * r.count for r in reports) / sum(r.count for r in reports)
    assert abs(loss - still.evaluate()["loss"]) < 0.04
    assert loss < stepper(made(variant), text).evaluate()["loss"] - 0.4


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda v: " ".join(v.values()))
def test_fast_and_exact_follow_the_same_gradient(variant: dict[str, str]) -> None:
    """The mean change of one tiny step agrees in direction and in length, over draws of windows and negatives."""
    rng = np.random.default_rng(0)
    world = store([40], rng.integers(1, 30, 40))
    rows = 30 if variant["loss"] == "negative-sampling" else int((world.counts > 0).sum()) - 1
    head = stepper(made(variant), world).objective.head
    init = {
        INWARD: rng.standard_normal((30, 12)).astype(np.float32),
        f"heads.{head}.table.weight": rng.standard_normal((rows, 12)).astype(np.float32),
    }
    means = []
    for method in ("pairs", "blocks"):
        change = np.zeros(12 * (30 + rows))
        for seed in range(60):
            run = stepper(made(variant, rate=1e-3, method=method, shards=1), world, seed=seed, steps=1000, init=init)
            run.step()
            change += np.concatenate([(run.inward - init[INWARD]).ravel(), (run.outward - init[f"heads.{head}.table.weight"]).ravel()])
        means.append(change)
    least = 0.98 if variant["loss"] == "negative-sampling" else 0.9999  # the tree's windows are drawn alike
    assert np.corrcoef(*means)[0, 1] > least
    assert abs(np.linalg.norm(means[0]) / np.linalg.norm(means[1]) - 1) < 0.03


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_synchronous_updates_are_the_same_bits_for_any_threads(variant: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.models.word2vec.synchronous.WORDS", 200)
    config = made(variant, updates="synchronous", epochs=2.0, shards=3)
    runs = [finish(stepper(config, two_topics(), seed=2, threads=threads)) for threads in (1, 2, 3)]
    for other in runs[1:]:
        assert np.array_equal(other.inward, runs[0].inward)
        assert np.array_equal(other.outward, runs[0].outward)
    hogwild = finish(stepper(replace(config, updates="hogwild"), two_topics(), seed=2))
    assert not np.array_equal(hogwild.inward, runs[0].inward)
    assert abs(runs[0].evaluate()["loss"] - hogwild.evaluate()["loss"]) < 0.25
    assert runs[0].evaluate()["loss"] < stepper(config, two_topics()).evaluate()["loss"] - 0.4


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_synchronous_parts_of_held_out_text_alone_change_nothing(variant: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.models.word2vec.synchronous.WORDS", 24)
    text = store([12] * 100, np.random.default_rng(0).integers(1, 9, 1200), [20 <= s < 60 for s in range(100)])
    run = stepper(made(variant, updates="synchronous", block=240), text, steps=5)
    counts = []
    for _ in range(5):
        before = run.inward.copy()
        counts.append(run.step().count)
        assert (counts[-1] == 0) == np.array_equal(before, run.inward)
    assert [count > 0 for count in counts] == [True, False, False, True, True]


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
@pytest.mark.parametrize("words", [1, 2, 3])
def test_text_of_a_few_words_over_and_over_stays_finite(
    words: int, variant: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where eight parts each learn the same: their changes, summed whole, would grow without end."""
    monkeypatch.setattr("foretext.models.word2vec.synchronous.WORDS", 100)
    text = store([3000], np.tile(np.arange(1, words + 1), 3000)[:3000])
    for updates in ("hogwild", "synchronous"):
        run = finish(stepper(made(variant, width=20, rate=0.1, epochs=10.0, updates=updates), text))
        assert np.linalg.norm(run.inward, axis=1).max() < 60


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_one_giant_line_is_trained_whole(variant: dict[str, str]) -> None:
    """gensim drops what follows after 10,000 words of a line."""
    ids = np.random.default_rng(0).integers(1, 200, 30_000)
    run = stepper(made(variant, window=1, block=2000, epochs=1.0), store([30_000], ids))
    reports = [run.step() for _ in range(run.total)]
    assert sum(r.tokens for r in reports) == 30_000
    most = 30_000 if variant["architecture"] == "cbow" else 60_000
    assert most - 2 * run.total * run.config.shards - 2 <= sum(r.count for r in reports) <= most


@pytest.mark.parametrize("method", ["blocks", "pairs"])
@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_given_rows_stand_still_and_new_words_learn(variant: dict[str, str], method: str) -> None:
    """A run that goes on: ids 1–8 are known, 9–16 are new words of the text."""
    old = finish(stepper(made(variant), store([12] * 50, np.random.default_rng(1).integers(1, 9, 600))))
    arrays = old.state().arrays
    text = two_topics()
    for updates in ("hogwild", "synchronous"):
        config = made(variant, frozen="given", method=method, updates=updates, epochs=1.0)
        start = stepper(config, text, init=arrays).inward.copy()
        run = finish(stepper(config, text, init=arrays))
        assert run.inward.shape == (17, 12)
        assert np.array_equal(run.inward[:9], arrays[INWARD])
        assert not np.isclose(run.inward[9:], start[9:]).any(axis=1).all()
        assert (run.inward[9:] != start[9:]).any(axis=1).all()
        moved = finish(stepper(replace(config, frozen="nothing"), text, init=arrays))
        assert (moved.inward[1:9] != arrays[INWARD][1:9]).any(axis=1).all()


def test_going_on_keeps_the_tree_and_adds_the_new_words() -> None:
    variant = {"loss": "hierarchical-softmax"}
    old = finish(stepper(made(variant), store([12] * 50, np.random.default_rng(1).integers(1, 9, 600))))
    arrays = old.state().arrays
    run = stepper(made(variant), two_topics(), init=arrays)
    assert np.array_equal(run.objective.tree.children[: len(arrays[TREE])], arrays[TREE])
    assert np.array_equal(run.outward[: len(old.outward)], old.outward)
    assert run.outward.shape == (15, 12)
    assert np.array_equal(run.state().arrays[TREE], run.objective.tree.children)
    again = stepper(made(variant), two_topics(), init=run.state().arrays)
    assert np.array_equal(again.objective.tree.children, run.objective.tree.children)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda v: " ".join(v.values()))
def test_one_thread_repeats_and_resumes_to_the_bit(variant: dict[str, str]) -> None:
    whole = finish(stepper(made(variant), two_topics(), seed=1))
    begun = stepper(made(variant), two_topics(), seed=1)
    for _ in range(7):
        begun.step()
    state = begun.state()
    resumed = stepper(made(variant), two_topics(), seed=1)
    resumed.restore(State(arrays=state.arrays, cursor=state.cursor))
    finish(resumed)
    assert np.array_equal(whole.inward, resumed.inward)
    assert np.array_equal(whole.outward, resumed.outward)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda v: " ".join(v.values()))
def test_windows_longer_than_sentences(variant: dict[str, str]) -> None:
    lengths = [1, 2, 3] * 40
    text = store(lengths, np.random.default_rng(0).integers(1, 6, sum(lengths)))
    report = stepper(made(variant, window=40), text).step()
    assert report.count > 0
    assert np.isfinite(report.loss)
    alone = stepper(made(variant), store([1] * 30, np.arange(30) % 5 + 1)).step()  # no word has a neighbour
    assert (alone.count, alone.loss) == (0, 0.0)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=lambda v: " ".join(v.values()))
@pytest.mark.parametrize("updates", ["hogwild", "synchronous"])
def test_numbers_that_blow_up_are_caught_before_the_tables(variant: dict[str, str], updates: str) -> None:
    run = stepper(made(variant, rate=1e9, updates=updates), two_topics())
    with pytest.raises(DivergedError, match=r"non-finite score in step \d+.*lower family.rate"):
        finish(run)
    assert np.isfinite(run.inward).all()
    assert np.isfinite(run.outward).all()


