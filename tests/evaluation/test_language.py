"""Perplexity and scoring of left-to-right models, mixtures, and what families that cannot are told."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext import api, preflight
from foretext.bundle import Pretrained, load_pretrained
from foretext.cli import main, run
from foretext.errors import DataError, ResourceError, UsageError
from foretext.evaluation.language import best_weight, crossed, mixture, perplexity
from foretext.evaluation.score import score, scorer_of
from foretext.first_vectors import settled
from foretext.models.catalog import FAMILIES, require
from foretext.models.stream import of_texts
from foretext.preflight import pretraining_need
from foretext.pretraining import Setting, dry_run, preview
from foretext.recipes import find
from foretext.steppers import Job, make
from foretext.text.corpus import strings_corpus
from foretext.training.progress import SilentWatch
from foretext.transferring import transfer

TEXT = ["The judge sat on the bench. The jury heard the trial.", "A ship came in. The sailor sat on a rope. The sea was calm."] * 12
OTHER = ["The jury sat. The strange ship came in.", "The sailor heard the judge."]
TOKENS = {"tokenizer": {"min_count": 2}, "held_out": 0.1}
SMALL = {**TOKENS, "family": {"width": 8, "hidden": 10, "order": 3, "batch": 16, "rate": 0.05, "block": 256, "epochs": 3.0}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pretrained]:
    folder = tmp_path_factory.mktemp("language")
    setting = Setting(cache=folder / "cache", workers=0, threads=1)
    made = {}
    for name, recipe, config in (("ngram", "ngram", TOKENS), ("nnlm", "nnlm", SMALL), ("streams", "ngram", {**TOKENS, "family": {"unit": "document"}})):
        made[name] = api.pretrain(recipe, strings_corpus(TEXT), folder / name, config=config, setting=setting)
    return made


@pytest.mark.parametrize("name", ["ngram", "nnlm"])
def test_perplexity_is_that_of_the_sentences_and_their_ends(name: str, world: dict[str, Pretrained]) -> None:
    model = world[name]
    found = perplexity([model], strings_corpus(OTHER))
    scorer = scorer_of(model)
    sentences = ["The jury sat.", "The strange ship came in.", "The sailor heard the judge."]
    nats = np.concatenate([scorer.nats(of_texts([model.tokenizer.ids([s])[0]], scorer.boundary)) for s in sentences])
    assert (found.tokens, found.ends, found.places) == (16, 3, len(nats))
    assert found.nats[0] == pytest.approx(nats.mean(), abs=1e-6)
    assert found.unknown == pytest.approx(1 / 16)
    row = found.as_json()["models"][0]
    assert row["perplexity"] == pytest.approx(np.exp(-nats.mean()), rel=1e-5)
    assert row["bits a character"] == pytest.approx(-nats.sum() / np.log(2) / found.characters, rel=1e-5)
    assert found.as_json()["pseudo"] is False and found.mixture is None


def test_a_model_of_documents_counts_words_alone(world: dict[str, Pretrained]) -> None:
    model = world["streams"]
    found, scorer = perplexity([model], strings_corpus(OTHER)), scorer_of(model)
    units = [model.tokenizer.ids([text])[0] for text in OTHER]
    stream = of_texts(units, scorer.boundary)
    assert (found.tokens, found.ends) == (16, 0)
    assert found.nats[0] == pytest.approx(np.delete(scorer.nats(stream), stream.ends).mean(), abs=1e-6)


def test_the_mixture_is_below_both_where_its_weight_is_chosen(world: dict[str, Pretrained]) -> None:
    pair = [world["ngram"], world["nnlm"]]
    half, chosen = (perplexity(pair, strings_corpus(OTHER), dev=dev) for dev in (None, strings_corpus(OTHER)))
    assert half.weight == 0.5 and not half.chosen and chosen.chosen
    assert chosen.mixture is not None and half.mixture is not None
    assert chosen.mixture >= max(*chosen.nats, half.mixture) - 1e-9
    assert "mixture" in chosen.text() and "give --dev" in half.text()
    mixed = perplexity([world["streams"], world["nnlm"]], strings_corpus(OTHER))
    assert mixed.ends == 0, "a place that only one of the two predicts is counted"


def test_crossed_weights_have_not_seen_what_they_are_measured_on(world: dict[str, Pretrained]) -> None:
    pair = [world["ngram"], world["nnlm"]]
    halves = strings_corpus(TEXT[:3]), strings_corpus([*OTHER, TEXT[0]])
    found = crossed(pair, halves, names=("a", "b"))
    parts = [perplexity(pair, one, dev=other) for one, other in (halves, halves[::-1])]
    places = [part.places for part in parts]
    assert parts[0].weight != parts[1].weight
    assert found.weight == pytest.approx(np.average([part.weight for part in parts], weights=places))
    assert found.mixture == pytest.approx(np.average([part.mixture for part in parts], weights=places))
    assert found.nats == pytest.approx(np.average([part.nats for part in parts], axis=0, weights=places))
    assert (found.names, found.places, found.chosen) == (("a", "b"), sum(places), True)
    assert (found.tokens, found.characters) == tuple(sum(getattr(part, n) for part in parts) for n in ("tokens", "characters"))


def test_em_finds_the_likeliest_weight() -> None:
    rng = np.random.default_rng(2)
    p = rng.random((2, 500)) ** 3
    found = best_weight(p)
    grid = np.linspace(0.001, 0.999, 999)
    likely = [float(mixture(np.log(p), w).sum()) for w in grid]
    assert abs(found - grid[int(np.argmax(likely))]) <= 1e-3
    assert best_weight(np.stack([p[0], np.zeros(500)])) == pytest.approx(1.0)
    assert best_weight(np.array([[0.2], [0.2]])) == 0.5


@pytest.mark.parametrize("name", ["ngram", "nnlm"])
def test_score_gives_every_token_and_the_end(name: str, world: dict[str, Pretrained]) -> None:
    texts = ["The judge heard a strange ship.", "", "sea"]
    found = score(world[name], texts)
    together = score(world[name], texts[:1])[0]
    assert found[0].tokens == ("The", "judge", "heard", "a", "[UNK]", "ship", ".")
    assert found[0].nats.tolist() == pytest.approx(together.nats.tolist(), abs=1e-5)
    assert [len(one.nats) for one in found] == [7, 0, 1] and found[1].sum == 0.0
    assert all(one.end is not None and one.end < 0 for one in found)


def test_what_a_family_cannot_do_is_refused_in_one_message(world: dict[str, Pretrained], tmp_path: Path) -> None:
    """Before anything runs: nothing is read, nothing is written."""
    ngram = world["ngram"]
    encode = "needs a family that can encode; ngram cannot"
    with pytest.raises(UsageError, match=f"encode {encode}"):
        ngram.encode(["the"])
    with pytest.raises(UsageError, match=encode):
        _ = ngram.model
    with pytest.raises(UsageError, match="transfer needs a family that can finetune; ngram cannot"):
        transfer(ngram, None, tmp_path / "absent.csv")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=f"init_embeddings {encode}"):
        settled(find("word2vec"), ngram)
    with pytest.raises(UsageError, match=f"init_embeddings {encode}"):
        settled(find("ngram"), world["nnlm"])
    with pytest.raises(UsageError, match="cannot be extended"):
        api.extend(ngram, strings_corpus(OTHER), tmp_path / "longer")
    with pytest.raises(UsageError, match="trains in one process"):
        dry_run(find("nnlm"), strings_corpus(TEXT), setting=Setting(processes=2))
    with pytest.raises(UsageError, match="these can: bert, ngram, nnlm"):
        require("word2vec", "score", "score")
    assert all((row.scorer is None) or "score" in row.can for row in FAMILIES.values())


def test_a_network_is_continued_and_extended_as_it_is(world: dict[str, Pretrained], tmp_path: Path) -> None:
    """--from keeps the shape and the vocabulary; new words of an extended one score, at the mean of all."""
    setting = Setting(cache=tmp_path / "cache", workers=0, threads=1)
    longer = api.extend(world["nnlm"], strings_corpus(["strange strange strange " * 4]), tmp_path / "longer", min_count=3)
    assert [one.word for one in longer.added] == ["strange"]
    assert np.isfinite(score(longer.pretrained, ["a strange ship"])[0].nats).all()
    further = api.pretrain("nnlm", strings_corpus(OTHER * 9), tmp_path / "on", source=longer.pretrained, epochs=1, config={"family": {"rate": 1e-9, "decay": 0.0}}, setting=setting)
    assert further.recipe.family.hidden == 10  # type: ignore[attr-defined]
    for name, array in longer.pretrained.arrays.items():
        assert np.abs(further.arrays[name] - array).max() <= 1e-5, name
    counted = api.pretrain("ngram", strings_corpus(OTHER * 9), tmp_path / "counted", source=world["ngram"], setting=setting)
    assert perplexity([counted], strings_corpus(OTHER)).nats[0] > perplexity([world["ngram"]], strings_corpus(OTHER)).nats[0]


def test_minutes_and_forecasts_work_for_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foretext.budget.FORECAST_SECONDS", 0.2)
    setting = Setting(cache=tmp_path / "cache", workers=0, threads=1)
    for name, config in (("ngram", TOKENS), ("nnlm", SMALL)):
        recipe = api.settle(name, config=config, minutes=0.002)
        found = dry_run(recipe, strings_corpus(TEXT), setting=setting)
        assert found["parameters"] > 0 and found["tokens a second"] > 0
        made = api.pretrain(recipe, strings_corpus(TEXT), tmp_path / name, setting=setting)
        assert made.provenance.steps >= 1 and "loss" in made.provenance.results


def test_two_vocabularies_and_no_text_are_refused(world: dict[str, Pretrained], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected text"):
        perplexity([world["ngram"]], strings_corpus([" ", ""]))
    with pytest.raises(UsageError, match="no mixture of one"):
        perplexity([world["ngram"]], strings_corpus(OTHER), dev=strings_corpus(OTHER))
    setting = Setting(cache=tmp_path / "cache", workers=0)
    other = api.pretrain("ngram", strings_corpus(OTHER), tmp_path / "other", setting=setting, config={"held_out": 0.0, "tokenizer": {"min_count": 1}})
    with pytest.raises(UsageError, match="other tokens"):
        perplexity([world["ngram"], other], strings_corpus(OTHER))
    with pytest.raises(UsageError, match="other tokens"):
        crossed([world["ngram"], other], (strings_corpus(OTHER), strings_corpus(OTHER)))


def test_the_command(world: dict[str, Pretrained], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text("\n\n".join(OTHER) + "\n")
    ngram, nnlm = str(world["ngram"].path), str(world["nnlm"].path)
    run(["perplexity", ngram, nnlm, "text.txt", "--dev", "text.txt", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [one["model"] for one in found["models"]] == [ngram, nnlm, "mixture"]
    assert found["tokens"] == 16 and 0 <= found["weight"] <= 1
    run(["perplexity", ngram, "text.txt"])
    assert "of 16 tokens and 3 ends of sentences; 6.25% of the tokens unknown" in capsys.readouterr().out
    run(["score", nnlm, "text.txt", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[0])["end"] < 0
    for words, told in ((["perplexity", ngram], "MODEL [MODEL] TEXT"), (["encode", ngram, "text.txt", "--out", "x.npz"], "encode needs"), (["neighbors", ngram, "sea"], "neighbors needs")):
        with pytest.raises(SystemExit) as left:
            main(words)
        assert left.value.code == 2 and told in capsys.readouterr().err
    assert load_pretrained(ngram).arrays.keys() == world["ngram"].arrays.keys()


def _left(room: int) -> Callable[[], tuple[int, str]]:
    return lambda: (room, "left")


def test_too_little_memory_names_a_setting_that_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an n-gram model a lower order, of the network less width; the estimates are above what the arrays take."""
    setting = Setting(cache=tmp_path / "cache", workers=0)
    store = preview(find("nnlm"), strings_corpus(TEXT), setting=setting)
    for name, said in (("ngram", r"family\.order = "), ("nnlm", r"family\.width = 15")):
        recipe = api.settle(name, config={"tokenizer": {"min_count": 4}} if name == "ngram" else {"family": {"block": 16}})
        stepper = make(Job(recipe=recipe, store=store), steps=1, watch=SilentWatch())
        stepper.step()
        whole = pretraining_need(recipe, store)
        assert whole.weights >= sum(array.nbytes for array in stepper.state().arrays.values())
        least = replace(recipe, family=replace(recipe.family, **({"order": 2} if name == "ngram" else {"width": 15})))  # type: ignore[type-var]
        monkeypatch.setattr(preflight, "available", _left(pretraining_need(least, store).total))
        with pytest.raises(ResourceError, match=said):
            preflight.require_pretraining(recipe, store)
