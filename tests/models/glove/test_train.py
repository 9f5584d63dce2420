"""The Stepper and stage one: exact updates, threads, two phases in one run, bad input; no torch."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext import draws
from foretext.bundle import STATIC_TABLE, load_pretrained
from foretext.config import override
from foretext.errors import ArtefactError, DataError, DivergedError, Preempted, ResourceError
from foretext.extending import extend
from foretext.kernels import below, mixed
from foretext.models.glove import counts, kernel
from foretext.models.glove.config import GloveConfig
from foretext.models.glove.train import BIASES, CONTEXT_BIASES, CONTEXTS, TABLE, Glove, Unit, stepper, units
from foretext.pretraining import Setting, dry_run, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.store import TokenStore
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.types import Arrays, Report
from models.glove.world import corpus
from models.glove.world import store as made_store

CONFIG = GloveConfig(width=20, window=5, min_count=2, tile=16, x_max=10.0, held_out=0.03, block=500)
ONE = Setting(threads=1, device="cpu", workers=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return made_store(tmp_path_factory.mktemp("glove") / "cache")


def make(store: TokenStore, threads: int = 1, steps: int = 60, **changes: Any) -> Glove:
    return stepper(replace(CONFIG, **changes), store, threads=threads, steps=steps)


def finish(made: Glove) -> float:
    loss = 0.0
    while made.done < made.total:
        loss = made.step().loss
    return loss


def plainly(made: Glove, steps: int) -> tuple[list[Any], list[float]]:
    """The same steps entry by entry in plain float64, straight from eq. 8 and glove.c: vectors, biases, sums; losses."""
    config, found, width = made.config, made.found, made.config.width
    tables = [t.astype(np.float64) for t in (made.words[:, 0, :width], made.contexts[:, 0, :width], made.word_biases[:, 0], made.context_biases[:, 0])]
    sums = [np.ones_like(t) for t in tables]
    losses = []
    for step in range(steps):
        epoch, part = divmod(step, made._steps)
        seed = draws.number(made.seed, "glove entries", epoch)
        total, number = 0.0, 0
        for unit in made._plan(epoch)[part]:
            for tile in unit.tiles.tolist():
                for i, j, x in _shuffled(found, tile, unit, seed):
                    w, c, b, d = (tables[0][i].copy(), tables[1][j].copy(), tables[2][i], tables[3][j])
                    difference = w @ c + b + d - np.log(x)
                    pull = min(1.0, (x / config.x_max) ** config.alpha) * difference
                    total, number = total + 0.5 * pull * difference, number + 1
                    for k, (at, gradient) in enumerate(((i, pull * c), (j, pull * w), (i, pull), (j, pull))):
                        moved = np.clip(gradient, -config.clip, config.clip) * config.rate
                        tables[k][at] = tables[k][at] - moved / np.sqrt(sums[k][at])
                        sums[k][at] = sums[k][at] + moved**2
        losses.append(total / number)
    return [*tables, *sums], losses


def _shuffled(found: Any, tile: int, unit: Unit, seed: int) -> list[tuple[int, int, float]]:
    """A part of a tile's entries in the order that the kernel draws."""
    mirrored = unit.mirrored
    row, column = tile // found.across * found.side, tile % found.across * found.side
    start = np.uint64((seed + (2 * tile + mirrored) * 0x9E3779B97F4A7C15) % 2**64)
    state = np.array([(int(mixed(start)) + unit.part) % 2**64], np.uint64)
    made: list[tuple[int, int, float]] = []
    for k in range(int(found.tiles[tile]) + unit.part, int(found.tiles[tile + 1]), unit.stride):
        i, j = row + (int(found.places[k]) >> 16), column + (int(found.places[k]) & 0xFFFF)
        if mirrored and i == j:
            continue
        at = int(below(state, len(made) + 1))
        entry = (j, i, float(found.counts[k])) if mirrored else (i, j, float(found.counts[k]))
        made.append(entry)
        made[at], made[-1] = made[-1], made[at]
    return made


@pytest.mark.parametrize(("symmetric", "part"), [(True, 8192), (True, 30), (False, 30)])
def test_steps_are_the_plain_updates_one_by_one(
    store: TokenStore, symmetric: bool, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretext.models.glove.train.PART", part)
    made, steps = make(store, symmetric=symmetric, rate=0.2, clip=0.5), 8
    wanted, losses = plainly(make(store, symmetric=symmetric, rate=0.2, clip=0.5), steps)
    found = [made.step().loss for _ in range(steps)]
    assert np.allclose(found, losses, rtol=1e-4)
    for name, plain in zip(("words", "contexts", "word_biases", "context_biases"), wanted, strict=False):
        ours = made.state().arrays[name]
        assert np.abs(ours - plain).max() <= 2e-4 * np.abs(plain).max(), name
        squares = made.state().arrays[f"optimizer.{name}"]
        assert np.abs(squares / wanted[4 + ["words", "contexts", "word_biases", "context_biases"].index(name)] - 1).max() < 1e-3
    assert made._steps < steps, "less than an epoch"
    assert not made.words[:, 0, CONFIG.width :].any() and not made.contexts[:, 0, CONFIG.width :].any(), "padding has moved"


@pytest.mark.parametrize("part", [8192, 100, 7])
def test_every_entry_is_in_one_unit_a_side(store: TokenStore, part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.models.glove.train.PART", part)
    made = make(store)
    found = made.found

    def entries(given: list[Unit]) -> list[tuple[int, bool]]:
        return sorted(
            (k, unit.mirrored)
            for unit in given
            for tile in unit.tiles.tolist()
            for k in range(int(found.tiles[tile]) + unit.part, int(found.tiles[tile + 1]), unit.stride)
        )

    wanted = [(k, side) for k in range(len(found.places)) for side in (False, True)]
    assert entries(units(found)) == wanted
    assert sum(unit.size for unit in units(found)) == len(wanted) and max(unit.size for unit in units(found)) < 2 * part
    plan = made._plan(3)
    assert entries([unit for step in plan for unit in step]) == wanted
    assert len(plan) > 3 and all(plan), "a step without an entry"
    assert made._plan(4) != plan


def test_synchronous_threads_give_the_bits_of_one_and_hogwild_the_quality(store: TokenStore) -> None:
    one = make(store)
    finish(one)
    for threads in (2, 3):
        many = make(store, threads, updates="synchronous")
        finish(many)
        for name, array in one.state().arrays.items():
            assert array.tobytes() == many.state().arrays[name].tobytes(), f"{name} with {threads} threads"
    free = make(store, 3)
    finish(free)
    assert free.evaluate()["loss"] == pytest.approx(one.evaluate()["loss"], rel=0.3)


def test_loss_falls_and_what_is_kept_is_the_sum(store: TokenStore) -> None:
    made = make(store, steps=120)
    first = made.evaluate()["loss"]
    assert finish(made) < 0.1 * first and made.evaluate()["loss"] < 0.1 * first
    kept, ids = made.arrays(), made.found.words
    state = made.state().arrays
    assert np.array_equal(kept[TABLE][ids], state["words"] + state["contexts"])
    others = np.setdiff1d(np.arange(len(kept[TABLE])), ids)
    assert len(others) and not kept[TABLE][others].any()
    goes_on = stepper(CONFIG, store, init=kept, steps=3)
    mine = {name: array[:, 0] for name, array in (("words", goes_on.words), ("contexts", goes_on.contexts))}
    rank = {int(word): number for number, word in enumerate(goes_on.found.words)}
    again = [rank[int(word)] for word in ids]
    for name in ("words", "contexts"):
        assert np.allclose(mine[name][again, : CONFIG.width], state[name], atol=1e-6)
    foreign = stepper(CONFIG, store, init={TABLE: kept[TABLE]}, steps=3)
    assert np.allclose(foreign.words[:, 0] + foreign.contexts[:, 0], goes_on.words[:, 0] + goes_on.contexts[:, 0], atol=1e-6)


def test_given_vectors_stand_in_place_of_the_random_start(store: TokenStore) -> None:
    words = make(store).found.words
    rows = np.arange(2 * CONFIG.width, dtype=np.float32).reshape(2, -1)
    made = stepper(CONFIG, store, steps=3, first=(np.array([words[4], 0]), rows))
    assert np.array_equal(made.words[4, 0, : CONFIG.width], rows[0])
    plain = make(store)
    assert np.array_equal(np.delete(made.words, 4, 0), np.delete(plain.words, 4, 0))


@pytest.mark.parametrize("updates", ["hogwild", "synchronous"])
def test_given_vectors_stand_still_and_new_words_learn(store: TokenStore, updates: Any, tmp_path: Path) -> None:
    """A run that goes on: its first words are known, one of them is not in this text; all others are new."""
    kept, text = _part(store, tmp_path)
    given = len(kept[TABLE])
    run = make_on(text, kept, updates=updates, frozen="given")
    start = run.arrays()
    assert all(np.array_equal(start[name][:given], kept[name]) for name in (TABLE, CONTEXTS))
    loss = run.evaluate()["loss"]
    finish(run)
    ends, ids = run.arrays(), run.found.words
    old, new = ids[ids < given], ids[ids >= given]
    assert 5 < len(old) < given and len(new) > 5 and len(ends[TABLE]) == int(new.max()) + 1
    for name in (TABLE, CONTEXTS):
        assert ends[name][:given].tobytes() == kept[name].tobytes(), f"{name} of a given word has moved"
        assert (ends[name][new] != start[name][new]).any(axis=1).all(), f"{name} of a new word has not moved"
    for name in (BIASES, CONTEXT_BIASES):
        assert (ends[name][ids] != start[name][ids]).all(), f"{name} has not learnt"
    assert run.evaluate()["loss"] < loss
    free = make_on(text, kept, updates=updates)
    finish(free)
    moved = free.arrays()
    lacking = np.setdiff1d(np.arange(given), ids)
    assert len(lacking) and all(np.array_equal(moved[name][lacking], kept[name][lacking]) for name in kept), "what the text lacks is lost"
    assert (moved[TABLE][old] != kept[TABLE][old]).any(axis=1).all()
    foreign = make_on(text, {TABLE: kept[TABLE]}, frozen="given")
    finish(foreign)
    assert foreign.arrays()[TABLE][:given].tobytes() == kept[TABLE].tobytes()


def test_lent_vectors_stand_still(store: TokenStore) -> None:
    words = make(store).found.words
    ids, rows = words[[4, 2, 9]], np.random.default_rng(0).standard_normal((3, CONFIG.width)).astype(np.float32)
    run = stepper(replace(CONFIG, frozen="given"), store, steps=20, first=(np.append(ids, 0), np.append(rows, rows[:1], axis=0)))
    before = run.arrays()
    finish(run)
    ends = run.arrays()
    assert np.array_equal(ends[TABLE][ids], rows) and np.array_equal(ends[CONTEXTS][ids], rows / 2)
    others = np.setdiff1d(words, ids)
    assert (ends[TABLE][others] != before[TABLE][others]).any(axis=1).all()


def _part(store: TokenStore, folder: Path) -> tuple[Arrays, TokenStore]:
    """A trained model of the first half of the vocabulary, and a text without one of its words."""
    counts = np.array(store.counts)
    size = len(counts) // 2
    ids, lost = np.array(store.ids), int(np.argsort(counts[:size])[-3])
    counts[size:] = 0
    known = finish_and_keep(stepper(CONFIG, replace(store, counts=counts, key="known", path=folder / "known"), steps=40))
    seen = np.array(store.counts)
    seen[lost], ids[ids == lost] = 0, store.tokenizer.special["[UNK]"]
    kept = {name: np.pad(array, [(0, size - len(array)), *[(0, 0)] * (array.ndim - 1)]) for name, array in known.items()}
    return kept, replace(store, ids=ids, counts=seen, key="grown", path=folder / "grown")


def finish_and_keep(made: Glove) -> Arrays:
    finish(made)
    return made.arrays()


def make_on(store: TokenStore, init: Arrays, **changes: Any) -> Glove:
    return stepper(replace(CONFIG, **changes), store, threads=2, steps=60, init=init)


def test_a_clip_holds_every_step_of_every_number() -> None:
    tables = [np.ones((2, 2, 16), np.float32), np.ones((2, 2, 16), np.float32), np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)]
    one = np.zeros(1, np.int64)
    given = (one, one, np.full(1, -1e6, np.float32), np.ones(1, np.float32), 1, np.float32(0.05), np.float32(100.0), np.zeros(0, np.bool_))
    loss, entries, finite = kernel.train_entries(*tables, *given)
    assert finite and entries == 1 and loss > 1e11
    for table in tables:
        assert np.allclose(table[0][0], 1.0 - 5.0) and np.allclose(table[0][1], 1.0 + 25.0)
        assert (table[1] == 1.0).all()


# ── stage one ───────────────────────────────────────────────────────────────────────────────────────────────────────


def recipe(**family: Any) -> Recipe:
    values = {"width": 16, "window": 4, "min_count": 2, "tile": 16, "block": 500, "held_out": 0.03, "x_max": 10.0, "rate": 0.2}
    return override(find("glove"), {"family": {**values, **family}, "held_out": 0.1})


class StopAt(SilentWatch):
    """Sends this process a signal after a step of the run whose number is `phase` (0: counting)."""

    def __init__(self, phase: int, step: int) -> None:
        super().__init__()
        self.phase, self.step, self.begun = phase, step, -1

    def begin(self, **given: Any) -> None:
        self.begun += 1

    def report(self, step: int, report: Report) -> None:
        if (self.begun, step) == (self.phase, self.step):
            signal.raise_signal(signal.SIGTERM)


def test_interrupted_in_both_phases_the_run_ends_with_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BLOCK", 1000)
    limits = Limits(epochs=6, evaluations=3)
    straight = pretrain(recipe(), corpus(), tmp_path / "straight", limits=limits, setting=replace(ONE, cache=tmp_path / "a"))
    other = replace(ONE, cache=tmp_path / "b")
    for phase, step in ((0, 2), (0, 30), (1, 4)):
        with pytest.raises(Preempted):
            pretrain(recipe(), corpus(), tmp_path / "out", limits=limits, setting=other, watch=StopAt(phase, step), resume=True)
    made = pretrain(recipe(), corpus(), tmp_path / "out", limits=limits, setting=other, resume=True)
    assert made.arrays.keys() == straight.arrays.keys() >= {STATIC_TABLE, CONTEXTS}
    assert all(made.arrays[name].tobytes() == straight.arrays[name].tobytes() for name in made.arrays)
    assert made.provenance.results == straight.provenance.results and made.provenance.results["loss"] > 0
    assert made.provenance.epochs == pytest.approx(6, rel=0.01)
    assert load_pretrained(tmp_path / "out").vectors.shape == (len(made.arrays[TABLE]), 16)
    assert not (tmp_path / "out.run").exists()


def test_minutes_count_from_before_counting_and_counts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []

    class Watch(SilentWatch):
        def say(self, text: str) -> None:
            lines.append(text)

    setting = replace(ONE, cache=tmp_path / "cache")
    made = pretrain(recipe(), corpus(), tmp_path / "one", limits=Limits(minutes=0.02, evaluations=1), setting=setting, watch=Watch())
    assert made.provenance.steps > 5 and any("a first phase" in line for line in lines)
    lines.clear()
    with monkeypatch.context() as patch:
        patch.setattr("foretext.pretraining._first_phase", lambda *given: 100.0)
        spent = pretrain(recipe(), corpus(), tmp_path / "spent", limits=Limits(minutes=1.0), setting=setting)
    assert spent.provenance.steps == 1, "the first phase's seconds are not taken from the budget"
    monkeypatch.setattr(counts.Counting, "step", lambda self: 1 / 0)
    again = pretrain(recipe(alpha=0.5), corpus(), tmp_path / "two", limits=Limits(steps=3), setting=setting, watch=Watch())
    assert again.provenance.steps == 3 and not any("a first phase" in line for line in lines)
    monkeypatch.setattr("foretext.budget.FORECAST_SECONDS", 0.2)
    assert dry_run(recipe(), corpus(), limits=Limits(steps=100), setting=setting)["steps"] == 100


def test_a_corpus_that_changes_under_training_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BLOCK", 1000)
    setting, limits = replace(ONE, cache=tmp_path / "cache"), Limits(epochs=4)
    for phase in (0, 1):
        out = tmp_path / f"out{phase}"
        with pytest.raises(Preempted):
            pretrain(recipe(window=5 + phase), corpus(), out, limits=limits, setting=setting, watch=StopAt(phase, 2))
        with pytest.raises(ArtefactError, match="corpus"):
            pretrain(recipe(window=5 + phase), corpus(seed=3), out, limits=limits, setting=setting, resume=True)
        pretrain(recipe(window=5 + phase), corpus(), out, limits=limits, setting=setting, resume=True)


def test_blowing_up_empty_and_too_large_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(ONE, cache=tmp_path / "cache")
    with pytest.raises(DivergedError, match=r"lower family\.rate"):
        pretrain(recipe(rate=1e30, clip=1e30), corpus(), tmp_path / "out", limits=Limits(epochs=4), setting=setting)
    assert (tmp_path / "out.run").exists()
    with pytest.raises(DivergedError, match=r"step 1: glove's loss ran away to \d.*; nothing of the update is kept.*lower family\.rate"):
        pretrain(recipe(rate=100.0), corpus(), tmp_path / "finite", limits=Limits(epochs=4), setting=setting)
    with pytest.raises(DataError, match="min_count = 9999"):
        pretrain(recipe(min_count=9999), corpus(), tmp_path / "none", limits=Limits(epochs=1), setting=setting)
    monkeypatch.setattr("foretext.preflight.available", lambda: (100_000, "free"))
    with pytest.raises(ResourceError, match=r"family\.width = 32"):
        pretrain(recipe(width=256), corpus(), tmp_path / "large", limits=Limits(epochs=1), setting=setting)


def test_stage_one_imports_no_torch(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from foretext.config import override
from foretext.pretraining import Setting, pretrain
from foretext.recipes import find
from foretext.training.config import Limits
from models.glove.world import corpus
chosen = override(find("glove"), {{"family": {{"width": 8, "min_count": 2, "tile": 16, "held_out": 0.05}}}})
made = pretrain(chosen, corpus(documents=20), Path({str(tmp_path / "out")!r}), limits=Limits(epochs=1), setting=Setting(threads=2, workers=0))
assert made.vectors.any()
print("torch" in sys.modules)
"""
    tests = Path(__file__).parents[2]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tests), *sys.path]), "FORETEXT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "False"


def test_extended_it_goes_on_with_the_new_words(tmp_path: Path) -> None:
    """`extend` and `--from`: the vocabulary grows, old rows are the same to the bit until they are trained, new ones learn."""
    setting, limits = replace(ONE, cache=tmp_path / "cache"), Limits(epochs=2)
    made = pretrain(recipe(), corpus(words=30), tmp_path / "made", limits=limits, setting=setting)
    longer = extend(made, corpus(seed=5, words=60), min_count=2).pretrained
    size = len(made.arrays[TABLE])
    assert len(longer.arrays[TABLE]) > size and {len(array) for array in longer.arrays.values()} == {len(longer.arrays[TABLE])}
    assert all(np.array_equal(longer.arrays[name][:size], array) for name, array in made.arrays.items())
    more = pretrain(recipe(), corpus(seed=5, words=60), tmp_path / "more", source=longer, limits=limits, setting=setting)
    moved = (more.arrays[TABLE] != longer.arrays[TABLE]).any(1)
    assert more.arrays.keys() == made.arrays.keys() and moved[size:].any() and moved[:size].any()


def test_going_on_adds_the_words_of_the_new_text_after_the_old(tmp_path: Path) -> None:
    setting, limits = replace(ONE, cache=tmp_path / "cache"), Limits(epochs=2)
    made = pretrain(recipe(), corpus(words=30), tmp_path / "made", limits=limits, setting=setting)
    size, given = made.tokenizer.size, {"source": made, "limits": limits, "setting": setting}
    more = pretrain(recipe(frozen="given"), corpus(seed=5, words=60), tmp_path / "more", **given)
    assert more.tokenizer.size > size and list(more.tokenizer.pieces)[:size] == list(made.tokenizer.pieces)
    assert np.array_equal(more.arrays[TABLE][:size], made.arrays[TABLE])
    assert more.arrays[TABLE][size:].any(axis=1).all() and len(more.arrays[TABLE]) == more.tokenizer.size
    same = pretrain(recipe(extends=False), corpus(seed=5, words=60), tmp_path / "same", **given)
    assert list(same.tokenizer.pieces) == list(made.tokenizer.pieces)
