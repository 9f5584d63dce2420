"""Stage two end to end on a miniature world: what moves, what is equal, what is refused, what is resumed."""

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foretext.adapted import Adapted, load_adapted
from foretext.data.render import Fit
from foretext.errors import ArtefactError, DataError, DivergedError, Preempted, UsageError
from foretext.strategies import StrategyConfig
from foretext.tasks.classify import ClassifyConfig
from foretext.training import optimizers
from foretext.training.progress import SilentWatch
from foretext.transferring import transfer
from foretext.transferring.data import ExampleBatches, read_data
from foretext.types import Report
from stage_two import labelled, pretrained

TRAIN, TEST = labelled(60, 1, longest=8), labelled(90, 2, longest=8)
TEXTS = [text for text, _ in TEST]
TASK = ClassifyConfig()


class Listening(SilentWatch):
    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def accuracy(made: Adapted) -> float:
    return float(np.mean([p.label == label for p, (_, label) in zip(made.predict(TEXTS), TEST, strict=True)]))


@pytest.mark.parametrize("family", ["bert", "word2vec"])
@pytest.mark.parametrize("more", [{}, {"pool": "max", "hidden": 8}, {"pool": "concat", "layers": 0}])
def test_features_equal_frozen(family: str, more: dict[str, object]) -> None:
    source = pretrained(family, dropout=0.3)
    kept = [
        transfer(source, TASK, TRAIN, strategy=StrategyConfig(how=how, steps=25, **more), seed=5)  # type: ignore[arg-type]
        for how in ("features", "frozen")
    ]
    a, b = (made.log_probabilities(TEXTS) for made in kept)
    assert np.abs(a - b).max() < 1e-5
    assert a.std() > 0.01
    assert kept[0].provenance["dev"] == kept[1].provenance["dev"]


def test_features_equal_frozen_for_a_summary_and_for_windows() -> None:
    source = pretrained("bert", positions=9)
    config = ClassifyConfig(fit=replace(TASK.fit, stride=2))
    kept = [
        transfer(source, config, TRAIN, strategy=StrategyConfig(how=how, steps=15, pool="summary"), seed=5)  # type: ignore[arg-type]
        for how in ("features", "frozen")
    ]
    told = kept[0].provenance["limits"]["text"]
    assert told["texts over the limit"] > 5
    assert told["share that one window cannot show"] > 0 and told["share cut"] == 0
    assert np.abs(kept[0].log_probabilities(TEXTS) - kept[1].log_probabilities(TEXTS)).max() < 1e-5


@pytest.mark.parametrize("family", ["bert", "word2vec"])
def test_finetune_moves_the_encoder_and_frozen_not_one_bit(family: str) -> None:
    source = pretrained(family)
    before = {name: array.copy() for name, array in source.arrays.items()}
    tuned = transfer(source, TASK, TRAIN, strategy=StrategyConfig(how="finetune", steps=10))
    frozen = transfer(source, TASK, TRAIN, strategy=StrategyConfig(how="frozen", steps=10))
    table = next(name for name in before if name.endswith("table.weight"))
    assert not np.array_equal(tuned.sources["text"].arrays[table], before[table])
    for name, array in before.items():
        assert np.array_equal(source.arrays[name], array)
        assert frozen.sources["text"].arrays[name].tobytes() == array.tobytes()
    assert tuned.sources["text"].key != source.key == frozen.sources["text"].key


@pytest.mark.parametrize("family", ["bert", "word2vec"])
def test_finetuning_starts_at_the_head_that_features_would_train(family: str) -> None:
    source, task = pretrained(family), replace(TASK, dev_share=0.0)
    still = StrategyConfig(how="finetune", steps=1, rate=1e-12, head_rate=1e-12, start="probe")
    started = transfer(source, task, TRAIN, strategy=still, seed=3)
    features = transfer(source, task, TRAIN, strategy=StrategyConfig(how="features", layers="last"), seed=3)
    assert np.abs(started.log_probabilities(TEXTS) - features.log_probabilities(TEXTS)).max() < 1e-4
    random = transfer(source, task, TRAIN, strategy=replace(still, start="random"), seed=3)
    assert np.abs(random.log_probabilities(TEXTS) - features.log_probabilities(TEXTS)).max() > 0.1


def test_unused_rows_of_a_finetuned_table_only_decay() -> None:
    source = pretrained("word2vec")
    tuned = transfer(source, TASK, TRAIN, strategy=StrategyConfig(steps=10, decay=0.0))
    ids, _, _ = source.tokenizer.ids([text for text, _ in TRAIN])
    unused = np.setdiff1d(np.arange(source.tokenizer.size), ids)
    name = "encoders.text.table.weight"
    assert np.array_equal(tuned.sources["text"].arrays[name][unused], source.arrays[name][unused])


@pytest.mark.parametrize(("family", "how", "least"), [("word2vec", "finetune", 0.95), ("word2vec", "features", 0.6), ("bert", "finetune", 0.8)])
def test_it_learns(family: str, how: str, least: float) -> None:
    strategy = StrategyConfig(how=how, steps=150, rate=3e-3 if family == "bert" else None)  # type: ignore[arg-type]
    made = transfer(pretrained(family), TASK, labelled(150, 1, longest=8), strategy=strategy)
    assert accuracy(made) >= least


def test_shuffled_labels_teach_nothing() -> None:
    rng = np.random.default_rng(0)
    order = rng.permutation(len(TRAIN))
    shuffled = [(text, TRAIN[j][1]) for (text, _), j in zip(TRAIN, order, strict=True)]
    assert accuracy(transfer(pretrained("word2vec"), TASK, shuffled, strategy=StrategyConfig(steps=60))) < 0.6


def test_the_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    source, strategy = pretrained("bert"), StrategyConfig(steps=8)
    first, again, other = (transfer(source, TASK, TRAIN, strategy=strategy, seed=s).log_probabilities(TEXTS) for s in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_micro_batches_do_not_change_the_gradient() -> None:
    source = pretrained("word2vec")
    whole, parts = (
        transfer(source, TASK, TRAIN, strategy=StrategyConfig(steps=12, dropout=0.0, micro_tokens=most, start="random")).log_probabilities(TEXTS)
        for most in (10_000, 30)
    )
    assert np.abs(whole - parts).max() < 1e-4


def test_saved_and_loaded_alike(tmp_path: Path) -> None:
    made = transfer(pretrained("bert"), TASK, TRAIN, strategy=StrategyConfig(steps=5), out=tmp_path / "made")
    assert not (tmp_path / "made.run").exists()
    loaded = load_adapted(tmp_path / "made")
    assert loaded.labels == ("law", "sea", "sky")
    assert np.array_equal(loaded.log_probabilities(TEXTS), made.log_probabilities(TEXTS))
    assert loaded.provenance["data"]["train"] == 54 and loaded.provenance["data"]["dev"] == 6
    weights = tmp_path / "made" / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-2] ^= 4
    weights.write_bytes(bytes(data))
    with pytest.raises(ArtefactError, match="checksum"):
        load_adapted(tmp_path / "made")


def test_predictions_stream_in_order_and_a_text_alone_gets_the_same() -> None:
    made = transfer(pretrained("bert"), TASK, TRAIN, strategy=StrategyConfig(steps=5))
    texts = [*TEXTS[:7], "", "☃ unseen", TEXTS[0] * 9]
    many = list(made.stream(iter(texts)))
    for text, one in zip(texts, many, strict=True):
        assert made.predict([text])[0].probabilities == pytest.approx(one.probabilities, abs=1e-5)
    assert sum(many[0].probabilities.values()) == pytest.approx(1.0)
    assert made.predict([]) == []


def test_several_seeds_are_spread_kept_and_averaged() -> None:
    source, watch = pretrained("word2vec"), Listening()
    strategy = StrategyConfig(how="features", steps=60, prior=100.0)
    dev = labelled(30, 3)
    both = transfer(source, TASK, TRAIN, dev, strategy, seeds=3, keep="ensemble", watch=watch)
    assert len(both.members) == 3
    scores = [seed["score"] for seed in both.provenance["seeds"]]
    assert both.provenance["dev"]["mean"] == pytest.approx(np.mean(scores))
    assert both.provenance["dev"]["sd"] == pytest.approx(np.std(scores, ddof=1))
    assert any("±" in line for line in watch.said)
    each = [np.exp(transfer(source, TASK, TRAIN, dev, strategy, seed=s).log_probabilities(TEXTS)) for s in range(3)]
    assert np.allclose(np.exp(both.log_probabilities(TEXTS)), np.mean(each, axis=0), atol=1e-5)
    best = transfer(source, TASK, TRAIN, dev, strategy, seeds=3)
    assert best.provenance["kept"] == [int(np.argmax(scores))]


def test_an_ensemble_of_finetuned_encoders_survives_saving(tmp_path: Path) -> None:
    source, dev, strategy = pretrained("word2vec"), labelled(30, 3), StrategyConfig(steps=20)
    made = transfer(source, TASK, TRAIN, dev, strategy, seeds=2, keep="ensemble", out=tmp_path / "two")
    each = [np.exp(transfer(source, TASK, TRAIN, dev, strategy, seed=s).log_probabilities(TEXTS)) for s in (0, 1)]
    assert np.abs(each[0] - each[1]).max() > 1e-3
    assert np.allclose(np.exp(load_adapted(tmp_path / "two").log_probabilities(TEXTS)), np.mean(each, axis=0), atol=1e-5)
    tables = [model.arrays()["encoders.text.table.weight"] for model in made.models]
    assert not np.array_equal(tables[0], tables[1])


def test_a_seed_no_better_than_one_answer_is_flagged() -> None:
    watch = Listening()
    mostly_law = [row for row in labelled(300, 1) if row[1] == "law" or row[0] < "b"]
    made = transfer(pretrained("word2vec"), TASK, mostly_law, strategy=StrategyConfig(how="features", steps=1, head_rate=1e-9), watch=watch)
    assert made.provenance["majority"] > 0.5
    assert made.provenance["dev"]["failed"] == 1
    assert any("no better than always answering alike" in alarm for alarm in watch.alarms)


def test_seeds_that_all_diverge_are_an_error() -> None:
    source = pretrained("word2vec")
    poisoned = replace(source, arrays={n: np.full_like(a, np.nan) for n, a in source.arrays.items()})
    with pytest.raises(DivergedError, match="all 2 seeds diverged"):
        transfer(poisoned, TASK, TRAIN, strategy=StrategyConfig(steps=3), seeds=2)


def test_an_interrupted_transfer_goes_on_to_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, strategy = pretrained("word2vec"), StrategyConfig(how="features", steps=10)
    whole = transfer(source, TASK, TRAIN, strategy=strategy, seeds=3, keep="ensemble", out=tmp_path / "whole")
    calls = []

    def dies(*arguments: object) -> object:
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    import foretext.transferring as module

    original = module.run_seed
    monkeypatch.setattr(module, "run_seed", dies)
    with pytest.raises(KeyboardInterrupt):
        transfer(source, TASK, TRAIN, strategy=strategy, seeds=3, keep="ensemble", out=tmp_path / "parts")
    assert not (tmp_path / "parts").exists()
    with pytest.raises(UsageError, match="unfinished run"):
        transfer(source, TASK, TRAIN, strategy=strategy, seeds=3, out=tmp_path / "parts")
    with pytest.raises(ArtefactError, match="other settings: strategy"):
        transfer(source, TASK, TRAIN, strategy=replace(strategy, steps=11), seeds=3, out=tmp_path / "parts", resume=True)
    resumed = transfer(source, TASK, TRAIN, strategy=strategy, seeds=3, keep="ensemble", out=tmp_path / "parts", resume=True)
    assert np.array_equal(resumed.log_probabilities(TEXTS), whole.log_probabilities(TEXTS))
    again = transfer(source, TASK, TRAIN, strategy=strategy, out=tmp_path / "parts", resume=True)
    assert again.key == resumed.key
    with pytest.raises(UsageError, match="exists already"):
        transfer(source, TASK, TRAIN, strategy=strategy, out=tmp_path / "parts")


class Killing(SilentWatch):
    """Sends SIGTERM after so many updates."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def report(self, step: int, report: Report) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("family", ["bert", "word2vec"])
def test_a_signal_within_a_seed_saves_and_resuming_gives_the_same_bits(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretext.transferring.seeds.CHEAP", 0)
    source, strategy = pretrained(family), StrategyConfig(steps=12, unfreeze="gradual", evaluations=4)
    whole = transfer(source, TASK, TRAIN, strategy=strategy, out=tmp_path / "whole")
    with pytest.raises(Preempted):
        transfer(source, TASK, TRAIN, strategy=strategy, out=tmp_path / "parts", watch=Killing(7))
    resumed = transfer(source, TASK, TRAIN, strategy=strategy, out=tmp_path / "parts", resume=True)
    assert np.array_equal(resumed.log_probabilities(TEXTS), whole.log_probabilities(TEXTS))


def test_the_summary_for_people_says_what_happened() -> None:
    made = transfer(pretrained("bert"), TASK, TRAIN, strategy=StrategyConfig(how="features", steps=5), seeds=2)
    text = "\n".join(made.lines())
    assert "3 labels by features: law, sea, sky" in text
    assert "54 training texts, 6 dev texts" in text
    assert "over 2 seeds" in text and "layers of text, bottom to top: 0.3" in text


def test_without_dev_the_last_weights_are_kept() -> None:
    made = transfer(pretrained("word2vec"), replace(TASK, dev_share=0.0), TRAIN, strategy=StrategyConfig(how="features", steps=5))
    assert made.provenance["data"]["dev"] == 0
    assert made.provenance["dev"]["mean"] is None


def test_several_labels_a_text() -> None:
    rows = [(f"{a} {b}", f"{x}|{y}") for (a, x), (b, y) in zip(labelled(60, 1), labelled(60, 9)[::-1], strict=True)]
    made = transfer(pretrained("word2vec"), TASK, rows, strategy=StrategyConfig(steps=150))
    assert made.task.multi and made.labels == ("law", "sea", "sky")
    right = [set(p.labels) == set(cell.split("|")) for p, (_, cell) in zip(made.predict([t for t, _ in rows]), rows, strict=True)]
    assert np.mean(right) > 0.7


def test_a_label_that_only_dev_has_is_refused() -> None:
    with pytest.raises(DataError, match="'moon'"):
        transfer(pretrained("word2vec"), TASK, TRAIN, [("x", "moon")])


def test_two_sources_are_read_side_by_side() -> None:
    sources = {"text": pretrained("bert"), "vectors": pretrained("word2vec")}
    made = transfer(sources, TASK, TRAIN, strategy=StrategyConfig(how="features", steps=10))
    assert made.members[0]["heads.classify.decision.weight"].shape == (3, 32 + 24)
    frozen = transfer(sources, TASK, TRAIN, strategy=StrategyConfig(how="frozen", steps=10))
    assert np.abs(made.log_probabilities(TEXTS) - frozen.log_probabilities(TEXTS)).max() < 1e-5


def test_an_epoch_reads_every_example_once_and_windows_stay_together() -> None:
    task, data = read_data(replace(TASK, dev_share=0.0), TRAIN, None, 0, SilentWatch())
    from foretext.prediction import HEAD, Reader
    from foretext.training.model import Model

    source = pretrained("bert")
    view = Reader(tokenizer=source.tokenizer, template=source.recipe.family.template, limit=7, fit=TASK.fit).prepare(data.texts)
    model = Model({"text": source.encoder()}, {})
    batches = ExampleBatches(
        model=model, views={"text": view}, task=task, gold=data.gold, rows=data.train, batch=12, most_tokens=40, seed=0
    )
    golds, windows = [], 0
    for step in range(5):
        for micro in batches.step(step):
            origin = micro.views["text"].origin
            assert origin is not None
            assert set(origin.example) == set(range(micro.targets[HEAD].count))
            golds.extend(micro.targets[HEAD].gold.tolist())
            windows += len(origin.example)
    assert sorted(golds) == sorted(data.gold.tolist())
    assert windows == len(view.lengths)


def test_texts_that_are_in_both_sets_are_told() -> None:
    watch = Listening()
    read_data(TASK, TRAIN, TRAIN[:3], 0, watch)
    assert any("3 dev texts are training texts too" in alarm for alarm in watch.alarms)


@pytest.mark.parametrize("fast", [False, True])
def test_bf16_is_for_processors_that_have_it(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(optimizers, "fast_bf16", lambda device: fast)
    wanted = StrategyConfig(how="features", precision="bf16", steps=2, cache=False)
    made = transfer(pretrained("word2vec"), ClassifyConfig(dev_share=0.0), labelled(12), None, wanted, device="cpu")
    assert made.settled.config.precision == ("bf16" if fast else "fp32")


def test_a_text_too_long_is_named_by_its_file_and_line(tmp_path: Path) -> None:
    for name, rows in (("train.tsv", TRAIN), ("dev.tsv", [*TEST[:2], ("ship " * 40, "sea")])):
        (tmp_path / name).write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in rows))
    config = ClassifyConfig(fit=Fit(policy="refuse"))
    with pytest.raises(DataError, match=r"dev\.tsv:line 4: the text has 40 tokens, and the model reads at most 30"):
        transfer(pretrained("bert"), config, tmp_path / "train.tsv", tmp_path / "dev.tsv")
