"""The NNLM's rate, decay, start and refusals; its gradients are conformance's check 1."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext.config import override
from foretext.errors import ArtefactError, DataError, DivergedError, UsageError
from foretext.extending import with_words
from foretext.models.nnlm.config import NNLMConfig
from foretext.models.nnlm.model import HEAD, NNLM, TABLE, Network
from foretext.models.nnlm.train import NNLMTraining, stepper
from foretext.models.stream import of_texts
from foretext.pretraining import Setting, pretrain
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch

CONFIG = NNLMConfig(width=8, hidden=10, order=3, batch=16, rate=0.05, block=128)
TEXT = ["The judge sat on the bench. The jury heard the trial.", "A ship came in. The sailor sat on a rope. The sea was calm."] * 8


def made_store(folder: Path, *, held_out: float = 0.0, min_count: int = 1) -> TokenStore:
    config = TokenizerConfig(kind="words", min_count=min_count, special=("[UNK]", "</s>"))
    corpus = strings_corpus(TEXT)
    return build_store(corpus, train_tokenizer(config, corpus, workers=0), folder, held_out=held_out, workers=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return made_store(tmp_path_factory.mktemp("store"))


def test_the_rate_falls_as_the_paper_says(store: TokenStore) -> None:
    """ε₀/(1 + r·t), t in words, counted over steps and after resuming."""
    made = stepper(replace(CONFIG, slowing=1e-2), store, steps=4)
    assert made.rate(0) == 0.05 and made.rate(100) == pytest.approx(0.025)
    first = made.step()
    assert first.rate == pytest.approx(0.05 / (1 + 1e-2 * (first.count - first.count % 16 if first.count % 16 else first.count - 16)))
    again = stepper(replace(CONFIG, slowing=1e-2), store, steps=4)
    again.restore(made.state())
    assert again.step().rate == made.step().rate


def test_one_word_at_a_time_is_the_papers_algorithm(store: TokenStore) -> None:
    """batch = 1: every update sees the one before; in a batch all see the same parameters, and a small rate shows no
    difference to first order."""
    ends = []
    for batch in (1, 16):
        made = stepper(replace(CONFIG, batch=batch, rate=1e-5), store, steps=1)
        before = made.network.arrays()
        made.step()
        ends.append({name: made.network.arrays()[name] - before[name] for name in before})
    for name in ends[0]:
        assert np.abs(ends[0][name] - ends[1][name]).max() <= 0.02 * np.abs(ends[0][name]).max() + 1e-7, name
    assert any(ends[0][name].tobytes() != ends[1][name].tobytes() for name in ends[0])


def test_weights_and_c_decay_and_biases_do_not() -> None:
    """Bengio et al. 2003, section 2. No gradient: one context, all of whose scores are certain already."""
    config = replace(CONFIG, decay=0.5, direct=True)
    network = Network(config, 5, np.full(5, 0.2), np.float64)
    network.start(0, np.full(5, 0.2))
    network.output.load({**network.output.arrays(), f"{HEAD}.bias": np.array([0.0, 0.0, 900.0, 0.0, 0.0])})
    network.bias[:] = 0.3
    before = network.arrays()
    assert network.learn(np.array([[0, 1]]), np.array([2]), 0.1, np.zeros(0, np.int64)) == pytest.approx(0.0, abs=1e-12)
    for name, array in network.arrays().items():
        kept = 1.0 if name.endswith("bias") else 0.95
        assert np.allclose(array, kept * before[name], rtol=1e-12, atol=0), name


@pytest.mark.parametrize("softmax", ["full", "sampled"])
@pytest.mark.parametrize("decay", [0.02, 3.0])  # the second passes the least factor that is put off every second update
def test_decay_that_is_put_off_is_the_decay(softmax: str, decay: float) -> None:
    """Many updates, and the weights multiplied once, are as many updates each with its own multiplication; standing rows too."""
    config = replace(CONFIG, softmax=softmax, decay=decay, samples=6)  # type: ignore[arg-type]
    share = np.full(9, 1 / 9)
    late, each = (Network(config, 9, share, np.float64) for _ in range(2))
    for network in (late, each):
        network.start(0, share)
        network.still = np.arange(9) % 4 == 0
    rng = np.random.default_rng(1)
    factors = set()
    for _ in range(20):
        given = (rng.integers(0, 9, (5, 2)), rng.integers(0, 9, 5), 0.02, rng.integers(0, 9, 6))
        assert late.learn(*given) == pytest.approx(each.learn(*given), rel=1e-9)
        each.settle()
        factors.add(late.kept)
    assert len(factors) > 1 and min(factors) >= 0.5
    ends = late.arrays(), each.arrays()
    for name, array in ends[0].items():
        assert np.allclose(array, ends[1][name], rtol=1e-9, atol=1e-12), name
    fresh = Network(config, 9, share, np.float64)
    fresh.start(0, share)
    assert np.array_equal(ends[0][TABLE][::4], fresh.table[::4])


def test_the_output_bias_may_start_at_the_word_frequencies(store: TokenStore) -> None:
    made = stepper(replace(CONFIG, bias="unigram", direct=False), store)
    counts = np.array(store.counts, float)
    counts[made.boundary] += len(made.stream.ends)
    wanted = np.log((counts + 1) / (counts + 1).sum())
    assert np.allclose(made.network.arrays()[f"{HEAD}.bias"], wanted, atol=1e-6)


@pytest.mark.parametrize("softmax", ["full", "sampled", "adaptive"])
def test_a_folder_scores_as_its_run_did(softmax: str, store: TokenStore) -> None:
    """Over all words, which sum to one; the same numbers from the arrays alone."""
    config = replace(CONFIG, softmax=softmax, samples=6, clusters=(5, 11), shrink=2)  # type: ignore[arg-type]
    made = stepper(config, store, steps=2)
    made.step()
    one = NNLM(config, made.state().arrays, store.tokenizer)
    line = of_texts([np.array([2, 7, 3]), np.zeros(0, np.int64)], made.boundary)
    words, context = line.contexts(0, len(line), 2)
    assert np.array_equal(one.nats(line), made.network.log_probability(words, made._padded(context)))
    size = store.tokenizer.size
    every = made.network.log_probability(np.arange(size), np.repeat(made._padded(context)[:1], size, axis=0))
    assert abs(np.exp(every).sum() - 1.0) <= 1e-5


def test_sampling_estimates_the_full_gradient() -> None:
    """The mean update of many draws points where the full softmax's does."""
    config = replace(CONFIG, softmax="sampled", samples=40, decay=0.0, direct=False)
    share = np.arange(1, 31) / np.arange(1, 31).sum()
    full, few = (Network(replace(config, softmax=kind), 30, share, np.float64) for kind in ("full", "sampled"))  # type: ignore[arg-type]
    full.start(0, share)
    few.load(full.arrays())
    rng = np.random.default_rng(0)
    context, gold = rng.integers(0, 30, (6, 2)), rng.integers(0, 30, 6)
    inputs = full.features(context)[2]
    wanted = full.output.learn(inputs, gold, np.zeros(0, np.int64))[1]
    found = np.mean([few.output.learn(inputs, gold, rng.choice(30, 40, p=share))[1] for _ in range(400)], axis=0)
    assert (wanted * found).sum() >= 0.98 * np.linalg.norm(wanted) * np.linalg.norm(found)


def test_given_vectors_stand_in_c_and_nothing_else_moves(store: TokenStore) -> None:
    rows = np.full((2, 8), 0.5, np.float32)
    plain, given = stepper(CONFIG, store).state().arrays, stepper(CONFIG, store, first=(np.array([3, 5]), rows)).state().arrays
    assert np.array_equal(given[TABLE][[3, 5]], rows)
    others = np.setdiff1d(np.arange(len(plain[TABLE])), [3, 5])
    assert np.array_equal(given[TABLE][others], plain[TABLE][others])
    assert all(given[name].tobytes() == plain[name].tobytes() for name in plain if name != TABLE)


NEW = ["The pilot sat on the wing. The pilot heard the engine.", "A plane came in. The engine sat on a wing."] * 8


@pytest.fixture(scope="module")
def going_on(store: TokenStore, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], TokenStore]:
    """A trained model, and a store of another text whose words follow its own."""
    made = stepper(CONFIG, store, steps=6)
    _finish(made)
    text = strings_corpus(NEW)
    tokenizer, added = with_words(store.tokenizer, text, min_count=1)
    assert added == 4
    return dict(made.state().arrays), build_store(text, tokenizer, tmp_path_factory.mktemp("new"), held_out=0.0, workers=0)


@pytest.mark.parametrize("softmax", ["full", "sampled"])
def test_a_new_word_starts_as_the_unknown_word_and_takes_a_part_of_its_probability(
    softmax: Any, going_on: tuple[dict[str, Any], TokenStore]
) -> None:
    arrays, text = going_on
    old, size = len(arrays[TABLE]), text.tokenizer.size
    config, unknown = replace(CONFIG, softmax=softmax, samples=6), text.tokenizer.special["[UNK]"]
    before = Network(config, old, np.full(old, 1.0 / old))
    before.load(arrays)
    after = stepper(config, text, init=arrays).network
    context = np.array([[3, 5]])
    was = np.exp(before.log_probability(np.arange(old), np.repeat(context, old, axis=0)))
    now = np.exp(after.log_probability(np.arange(size), np.repeat(context, size, axis=0)))
    others = np.delete(np.arange(old), unknown)
    assert np.allclose(now[others], was[others], rtol=1e-4)
    own = np.append(unknown, np.arange(old, size))
    assert now[own].sum() == pytest.approx(was[unknown], rel=1e-4)
    counts = np.array(text.counts)[own] + 1.0
    assert np.allclose(now[own] / now[own].sum(), counts / counts.sum(), rtol=1e-4)
    assert np.array_equal(after.table[old:], np.repeat(arrays[TABLE][unknown][None], size - old, axis=0))


def test_given_rows_of_c_stand_still_and_new_words_learn(going_on: tuple[dict[str, Any], TokenStore]) -> None:
    arrays, text = going_on
    old = len(arrays[TABLE])
    for frozen in ("given", "nothing"):
        made = stepper(replace(CONFIG, frozen=frozen, decay=0.01), text, init=arrays, steps=4)  # type: ignore[arg-type]
        start = made.state().arrays
        _finish(made)
        ends = made.state().arrays
        moved = (ends[TABLE] != start[TABLE]).any(axis=1)
        assert moved[old:].all()
        assert not moved[:old].any() if frozen == "given" else moved[:old].all()
        assert all((ends[name] != start[name]).any() for name in ends)
    lent = (np.array([3, 5]), np.full((2, 8), 0.5, np.float32))
    made = stepper(replace(CONFIG, frozen="given", decay=0.01), text, first=lent, steps=2)
    start = made.state().arrays[TABLE]
    _finish(made)
    moved = (made.state().arrays[TABLE] != start).any(axis=1)
    assert not moved[[3, 5]].any() and np.delete(moved, [3, 5]).all()


def test_going_on_adds_the_words_of_the_new_text_but_for_clusters(tmp_path: Path) -> None:
    setting, limits, said = Setting(threads=1, workers=0, cache=tmp_path / "cache"), Limits(steps=3, evaluations=1), list[str]()
    small = {"family": {"width": 8, "hidden": 4, "order": 3, "batch": 16, "clusters": [8, 15]}, "tokenizer": {"min_count": 2}}

    class Watch(SilentWatch):
        def say(self, text: str) -> None:
            said.append(text)

    for softmax in ("full", "adaptive"):
        recipe = override(override(find("nnlm"), small), {"family": {"softmax": softmax}})
        first = pretrain(recipe, strings_corpus(TEXT), tmp_path / f"{softmax} a", limits=limits, setting=setting)
        chosen = override(recipe, {"family": {"frozen": "given"}})
        text = strings_corpus([*NEW, "once"])
        second = pretrain(chosen, text, tmp_path / f"{softmax} b", source=first, limits=limits, setting=setting, watch=Watch())
        old, new = list(first.tokenizer.pieces), list(second.tokenizer.pieces)
        assert sorted(new[len(old) :]) == ([] if softmax == "adaptive" else ["engine", "pilot", "plane", "wing"])
        assert np.array_equal(second.arrays[TABLE][: len(old)], first.arrays[TABLE])
        assert any("stay unknown: the clusters of an adaptive softmax" in line for line in said) == (softmax == "adaptive")


def test_as_many_threads_repeat_a_run_to_the_bit(store: TokenStore) -> None:
    config = replace(CONFIG, batch=64, hidden=64, width=32)
    runs = [stepper(config, store, steps=4, threads=2) for _ in range(2)]
    for made in runs:
        _finish(made)
    for name, array in runs[0].state().arrays.items():
        assert array.tobytes() == runs[1].state().arrays[name].tobytes(), name
    with pytest.raises(UsageError, match=r"one kind of update.*leave 'updates' out"):
        override(find("nnlm"), {"family": {"updates": "synchronous"}})


def _finish(made: NNLMTraining) -> None:
    while made.done < made.total:
        made.step()


def test_numbers_that_blow_up_stop_the_run(store: TokenStore) -> None:
    made = stepper(replace(CONFIG, rate=1e9), store, steps=50)
    with pytest.raises(DivergedError, match=r"not finite in step .* lower family\.rate") as caught:
        _finish(made)
    assert caught.value.exit_code == 6
    assert all(np.isfinite(array).all() for array in made.state().arrays.values()), "the number that is none was used"


def test_a_loss_that_runs_away_in_finite_numbers_stops_the_run_too(store: TokenStore) -> None:
    made = stepper(replace(CONFIG, rate=3e5, block=16, hidden=0), store, steps=50)
    with pytest.raises(DivergedError, match=r"nnlm's loss ran away to .* in step \d+ \(epoch 1.*lower family\.rate \(now 300000\)"):
        _finish(made)
    assert all(np.isfinite(array).all() for array in made.state().arrays.values()), "this is the other case"


def test_what_cannot_be_trained_is_refused(store: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unknown words"):
        stepper(CONFIG, made_store(tmp_path, min_count=999))
    with pytest.raises(UsageError, match="special token '<s>'"):
        stepper(replace(CONFIG, boundary="<s>"), store)
    for wrong in ({"order": 1}, {"hidden": 0, "direct": False}, {"clusters": (9, 3)}, {"dropout": 1.0}, {"rate": 0.0}):
        with pytest.raises(UsageError):
            replace(CONFIG, **wrong)  # type: ignore[arg-type]
    arrays = stepper(CONFIG, store).state().arrays
    with pytest.raises(ArtefactError, match=r"hidden\.weight of shape \(10, 16\)"):
        stepper(CONFIG, store, init={**arrays, f"{HEAD}.hidden.weight": np.zeros((10, 15))})
    with pytest.raises(ArtefactError, match="missing"):
        NNLM(CONFIG, {TABLE: arrays[TABLE]}, store.tokenizer)


def test_contexts_longer_than_every_sentence(store: TokenStore) -> None:
    made = stepper(replace(CONFIG, order=40, batch=32), store, steps=2)
    assert np.isfinite(made.step().loss)
    assert set(np.unique(made._block(0)[1][:, 20:])) == {made.boundary}
