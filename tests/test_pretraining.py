"""Stage one end to end in a miniature world: budgets, resuming to the bit, refusing, going on from a folder."""

import random
import signal
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from foretext.bundle import Pretrained
from foretext.config import override
from foretext.errors import ArtefactError, Preempted, UsageError
from foretext.extending import extend
from foretext.pretraining import Setting, dry_run, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.types import Report

WORDS = "the a river bank boat water money market price ship sailor trader rises falls moves past under near old new".split()
ONE = Setting(threads=1, device="cpu")


def corpus(seed: int = 0, documents: int = 30):  # type: ignore[no-untyped-def]
    draw = random.Random(seed)
    return strings_corpus(
        ["\n".join(" ".join(draw.choices(WORDS, k=10)) + "." for _ in range(8)) for _ in range(documents)]
    )


def small(name: str = "bert-mini", **values: object) -> Recipe:
    family = {"layers": 2, "width": 16, "heads": 2, "inner": 32, "positions": 32}
    base = replace(find(name), phases=find("bert-budget").phases)
    laid = {
        "family": family,
        "tokenizer": {"size": 80},
        "windows": {"length": 32},
        "held_out": 0.1,
        "batch": {"rows": 4, "micro": 2},
        "schedule": {"warmup_steps": 2},
        **values,
    }
    return override(base, laid)


class StopAt(SilentWatch):
    """Sends this process a signal after a given step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def report(self, step: int, report: Report) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


def same(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("name", ["bert-mini", "bert-budget", "word2vec"])
def test_interrupted_and_resumed_is_the_same_to_the_bit(tmp_path: Path, name: str) -> None:
    recipe = small(name) if name != "word2vec" else override(find(name), {"family": {"min_count": 1, "width": 8, "block": 300}})
    limits = Limits(steps=6, evaluations=2)
    straight = pretrain(recipe, corpus(), tmp_path / "straight", limits=limits, setting=ONE)
    with pytest.raises(Preempted, match="--resume"):
        pretrain(recipe, corpus(), tmp_path / "cut", limits=limits, setting=ONE, watch=StopAt(3))
    assert not (tmp_path / "cut").exists()
    resumed = pretrain(recipe, corpus(), tmp_path / "cut", limits=limits, setting=ONE, resume=True)
    assert same(straight.arrays, resumed.arrays)
    assert straight.provenance.results == resumed.provenance.results
    assert not (tmp_path / "cut.run").exists()
    assert resumed.key == straight.key


def test_training_learns(tmp_path: Path) -> None:
    made = pretrain(small("bert-budget"), corpus(documents=60), tmp_path / "m", limits=Limits(steps=40, evaluations=2), setting=ONE)
    results = made.provenance.results
    assert results["masked loss"] < results["unigram entropy"] + 0.2
    curve = (tmp_path / "m" / "training.jsonl").read_text().splitlines()
    assert len(curve) >= 40


def test_a_finished_run_is_a_no_op_to_resume_and_else_refused(tmp_path: Path) -> None:
    limits = Limits(steps=2, evaluations=1)
    made = pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE)
    before = (tmp_path / "m" / "foretext.json").read_bytes()
    again = pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    assert same(made.arrays, again.arrays)
    assert (tmp_path / "m" / "foretext.json").read_bytes() == before
    with pytest.raises(UsageError, match="exists already"):
        pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE)


def test_a_finished_run_of_other_settings_is_refused_too(tmp_path: Path) -> None:
    """It would be handed out as what was asked for. How long it was may be left out."""
    limits = Limits(steps=2, evaluations=1)
    made = pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE)
    assert pretrain(small(), corpus(), tmp_path / "m", limits=Limits(minutes=5.0), setting=ONE, resume=True).key == made.key
    with pytest.raises(ArtefactError, match=r"finished run was made with another recipe.*optimizer\.rate: 0\.0001 → 0\.5"):
        pretrain(small(optimizer={"rate": 0.5}), corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    with pytest.raises(ArtefactError, match=r"family\.name: bert → word2vec"):
        pretrain(find("word2vec"), corpus(), tmp_path / "m", setting=ONE, resume=True)
    with pytest.raises(ArtefactError, match="made with another source"):
        pretrain(small(), corpus(), tmp_path / "m", source=made, limits=limits, setting=ONE, resume=True)


def test_a_finished_run_that_went_on_is_known_by_its_source(tmp_path: Path) -> None:
    limits = Limits(steps=2, evaluations=1)
    made = pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE)
    on = small(optimizer={"rate": 0.25}, family={"layers": 1, "dropout": 0.0})  # the network's shape is the first one's

    def again(recipe: Recipe, source: Pretrained | None) -> str:
        return pretrain(recipe, corpus(), tmp_path / "n", source=source, limits=limits, setting=ONE, resume=True).key

    further = pretrain(on, corpus(), tmp_path / "n", source=made, limits=limits, setting=ONE)
    assert again(on, made) == further.key
    with pytest.raises(ArtefactError, match=r"another recipe.*family\.dropout: 0\.0 → 0\.5"):
        again(small(optimizer={"rate": 0.25}, family={"layers": 1, "dropout": 0.5}), made)
    for other in (further, None):
        with pytest.raises(ArtefactError, match=r"another .*source"):
            again(on, other)


def test_a_folder_that_no_run_made_is_none_that_is_finished(tmp_path: Path) -> None:
    """`extend` leaves a model too, with as many fields of the recipe in common."""
    made = pretrain(small(), corpus(), tmp_path / "m", limits=Limits(steps=1, evaluations=1), setting=ONE)
    extend(made, corpus(seed=3), words=["submarine"]).pretrained.save(tmp_path / "wider")
    with pytest.raises(UsageError, match="no run of pretrain made it"):
        pretrain(small(), corpus(), tmp_path / "wider", limits=Limits(steps=1), setting=ONE, resume=True)


def test_a_resumed_run_says_that_it_keeps_its_length(tmp_path: Path) -> None:
    limits = Limits(steps=6, evaluations=1)
    with pytest.raises(Preempted):
        pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE, watch=StopAt(2))

    class Heard(StopAt):
        """Keeps what it is told, and stops at once."""

        said: ClassVar[list[str]] = []

        def say(self, text: str) -> None:
            self.said.append(text)

    for changed, told in ((limits, False), (Limits(steps=9, evaluations=1), True)):
        Heard.said.clear()
        with pytest.raises(Preempted):
            pretrain(small(), corpus(), tmp_path / "m", limits=changed, setting=ONE, watch=Heard(3 + told), resume=True)
        assert any("begun with: 6 steps" in text for text in Heard.said) is told


def test_a_recipe_that_goes_on_needs_a_model(tmp_path: Path) -> None:
    little = {"windows": {"length": 32}, "batch": {"rows": 4}, "tokenizer": {"size": 80}, "optimizer": {"rate": 1e-30, "decay": 0.0},
              "family": {"layers": 1, "width": 16, "heads": 2, "inner": 32, "positions": 32}}  # fmt: skip
    further, limits = override(find("bert-continue"), little), Limits(steps=1, evaluations=1)
    for ask in (dry_run, lambda *given, **more: pretrain(*given, tmp_path / "m", **more)):
        with pytest.raises(UsageError, match=r"bert-continue goes on from a pretrained model.*--from"):
            ask(further, corpus(), limits=limits, setting=ONE)
    first = pretrain(small(), corpus(), tmp_path / "a", limits=Limits(steps=2, evaluations=1), setting=ONE)
    made = pretrain(further, corpus(), tmp_path / "b", source=first, limits=limits, setting=ONE)
    np.testing.assert_allclose(made.vectors, first.vectors, atol=1e-6)  # at a rate of nothing
    anew = pretrain(replace(further, init_embeddings="random", seed=1), corpus(), tmp_path / "c", limits=limits, setting=ONE)
    assert anew.vectors.shape == first.vectors.shape and not np.allclose(anew.vectors, first.vectors, atol=1e-3)


def test_an_unfinished_run_of_other_settings_or_text_is_refused(tmp_path: Path) -> None:
    limits = Limits(steps=6, evaluations=1)
    with pytest.raises(Preempted):
        pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE, watch=StopAt(2))
    with pytest.raises(UsageError, match="unfinished run"):
        pretrain(small(), corpus(), tmp_path / "m", limits=limits, setting=ONE)
    other = small(optimizer={"rate": 0.5})
    with pytest.raises(ArtefactError, match=r"another recipe.*optimizer\.rate: 0\.0001 → 0\.5"):
        pretrain(other, corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    with pytest.raises(ArtefactError, match="another corpus"):
        pretrain(small(), corpus(seed=1), tmp_path / "m", limits=limits, setting=ONE, resume=True)


def test_going_on_from_a_folder_starts_with_its_weights_and_vocabulary(tmp_path: Path) -> None:
    first = pretrain(small(), corpus(), tmp_path / "a", limits=Limits(steps=3, evaluations=1), setting=ONE)
    frozen = small(optimizer={"rate": 1e-30, "decay": 0.0})
    second = pretrain(frozen, corpus(seed=2), tmp_path / "b", source=first, limits=Limits(steps=1, evaluations=1), setting=ONE)
    assert second.tokenizer.key == first.tokenizer.key
    assert second.provenance.source == first.key
    assert same(first.arrays, second.arrays)
    wider = small(family={"layers": 2, "width": 32, "heads": 2, "inner": 32, "positions": 32})
    third = pretrain(wider, corpus(), tmp_path / "c", source=first, limits=Limits(steps=1, evaluations=1), setting=ONE)
    assert third.recipe.family == replace(first.recipe.family, dropout=wider.family.dropout, attention_dropout=wider.family.attention_dropout)
    longer = small(windows={"length": 64})
    with pytest.raises(UsageError, match="windows of 64 tokens for a source of 32 positions"):
        pretrain(longer, corpus(), tmp_path / "d", source=first, limits=Limits(steps=1), setting=ONE)
    with pytest.raises(UsageError, match="trains word2vec, the model to go on from is bert"):
        pretrain(find("word2vec"), corpus(), tmp_path / "e", source=first, limits=Limits(steps=1), setting=ONE)


def test_a_head_that_the_source_lacks_starts_at_the_unigram_frequencies(tmp_path: Path) -> None:
    """Its first loss is then the unigram entropy (the encoder's vectors are small), not log V."""
    first = pretrain(small(), corpus(), tmp_path / "a", limits=Limits(steps=1, evaluations=1), setting=ONE)
    bare = replace(first, recipe=replace(first.recipe, objectives={}), arrays={n: a for n, a in first.arrays.items() if n.startswith("enc")})
    said: list[str] = []

    class Listening(SilentWatch):
        def say(self, message: str) -> None:
            said.append(message)

    still = small(optimizer={"rate": 1e-30, "decay": 0.0})
    still = replace(still, initial_bias="unigram")
    made = pretrain(still, corpus(), tmp_path / "b", source=bare, limits=Limits(steps=1, evaluations=1), setting=ONE, watch=Listening())
    bias = made.arrays["heads.masked.bias"]
    assert np.isclose(np.exp(bias).sum(), 1.0, atol=1e-5)
    assert bias.max() - bias.min() > 1
    assert any("the network is the source's: bert" in line for line in said)


def test_minutes_become_a_fixed_number_of_steps_that_fit(tmp_path: Path) -> None:
    began = time.monotonic()
    made = pretrain(small(), corpus(), tmp_path / "m", limits=Limits(minutes=0.04, evaluations=2), setting=ONE)
    assert made.provenance.steps > 5
    assert time.monotonic() - began < 40  # two and a half, on a machine that may be busy


def test_a_dry_run_counts_what_a_run_would_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.budget.FORECAST_SECONDS", 0.2)
    found = dry_run(small(), corpus(), limits=Limits(steps=10, evaluations=1), setting=ONE)
    made = pretrain(small(), corpus(), tmp_path / "m", limits=Limits(steps=1, evaluations=1), setting=ONE)
    assert found["parameters"] == sum(a.size for a in made.arrays.values())
    assert found["steps"] == 10
    assert found["vocabulary"] == made.tokenizer.size
    assert found["disk bytes"] > 4 * found["parameters"]
