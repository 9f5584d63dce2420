"""Hosts in stage two: features = frozen, the first layer stays or moves, order is learned, the folder keeps them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext.adapted import load_adapted
from foretext.api import settle_transfer
from foretext.bundle import STATIC_TABLE, Pretrained
from foretext.draws import generator
from foretext.errors import UsageError
from foretext.strategies import StrategyConfig, dropout_of
from foretext.tasks.classify import ClassifyConfig
from foretext.transferring import transfer
from stage_two import labelled, pretrained

TRAIN = labelled(60)
TEXTS = [text for text, _ in labelled(12, 5)] + [""]
HOSTS = ("average", "cnn", "bilstm")


def made(source: Pretrained, host: Any, how: Any, **changes: Any) -> Any:
    strategy = StrategyConfig(host=host, how=how, **{"steps": 12, "batch": 8, "evaluations": 2, **changes})
    return transfer(source, ClassifyConfig(dev_share=0.2), TRAIN, strategy=strategy, device="cpu")


@pytest.mark.parametrize(("family", "host"), [*(("word2vec", host) for host in HOSTS), ("bert", "bilstm")])
def test_features_are_frozen(family: str, host: str) -> None:
    source = pretrained(family)
    answers = [made(source, host, how).log_probabilities(TEXTS) for how in ("features", "features", "frozen")]
    assert np.array_equal(answers[0], answers[1]), "from the cache other than encoded"
    assert np.abs(answers[0] - answers[2]).max() <= 1e-5
    assert np.isfinite(answers[0]).all() and len(np.unique(answers[0].round(4))) > 3


def test_frozen_rows_stay_to_the_bit_and_tuned_rows_move(tmp_path: Path) -> None:
    """The host's first layer is the encoder's table Q."""
    source = pretrained("word2vec")
    q = source.arrays[STATIC_TABLE]
    for host in HOSTS:
        for how in ("features", "frozen"):
            kept = made(source, host, how)
            assert kept.sources["text"].arrays[STATIC_TABLE].tobytes() == q.tobytes()
        tuned = made(source, host, "finetune", decay=0.0)
        table = tuned.sources["text"].arrays[STATIC_TABLE]
        pieces = source.tokenizer.pieces
        met = {piece for text, _ in TRAIN for piece in text.split() if piece in pieces}
        moved = {pieces[i] for i in np.flatnonzero((table != q).any(1))}
        assert moved and moved <= met | {pieces[i] for i in range(len(pieces)) if not pieces[i].isascii()}
        loaded = load_adapted(tuned.save(tmp_path / host).path)
        assert loaded.settled.config.host == host
        assert loaded.log_probabilities(TEXTS).tobytes() == tuned.log_probabilities(TEXTS).tobytes()
        assert f"a host ({host})" in loaded.lines()[0]
        names = {name.split(".")[2] for name in loaded.members[0] if name.startswith("heads.classify.")}
        assert "hosts" in names


def test_order_is_learned_where_the_average_cannot() -> None:
    """The same words in every text; the label says which of two came first."""
    rng = generator(0, "order")
    filler = ["the", "old", "near", "very", "it"]
    texts = []
    for number in range(160):
        words = [str(rng.choice(filler)) for _ in range(int(rng.integers(1, 5)))]
        place = int(rng.integers(len(words) + 1))
        first, second = ("ship", "court") if number % 2 else ("court", "ship")
        texts.append((" ".join([*words[:place], first, second, *words[place:]]), "sea" if number % 2 else "law"))
    train, test = texts[:120], texts[120:]
    source, right = pretrained("word2vec"), {}
    for host in HOSTS:
        strategy = StrategyConfig(how="frozen", host=host, steps=100, batch=16, evaluations=2, head_rate=3e-3, dropout=0.1)  # type: ignore[arg-type]
        found = transfer(source, ClassifyConfig(dev_share=0.2), train, strategy=strategy, device="cpu")
        said = [prediction.label for prediction in found.predict([text for text, _ in test])]
        right[host] = np.mean([a == b for a, (_, b) in zip(said, test, strict=True)])
    assert right["cnn"] >= 0.95 and right["bilstm"] >= 0.95, right
    assert right["average"] <= 0.75, right


def test_a_host_is_asked_for_by_option_or_configuration() -> None:
    assert settle_transfer("frozen", host="cnn")[0].host == "cnn"
    laid = {"strategy": {"host": "bilstm"}}
    assert settle_transfer("frozen", config=laid)[0].host == "bilstm"
    assert settle_transfer("frozen", host="none", config=laid)[0].host == "none"
    strategy, task = settle_transfer("frozen", config=[laid, {"strategy": {"host": "cnn"}, "task": {"header": False}}, None])
    assert (strategy.how, strategy.host, task.header) == ("frozen", "cnn", False)
    with pytest.raises(UsageError, match=r"unknown table 'epochs'; use \[strategy\]"):
        settle_transfer("frozen", config=[None, {"epochs": 1}])
    assert dropout_of(StrategyConfig()) == 0.1 and dropout_of(StrategyConfig(host="cnn")) == 0.5
    assert dropout_of(StrategyConfig(host="cnn", dropout=0.0)) == 0.0
    with pytest.raises(UsageError, match="a host reads every token"):
        StrategyConfig(host="cnn", pool="max")
    with pytest.raises(UsageError, match="no host"):
        made(pretrained("word2vec"), "cnn", "finetune", start="probe")


def test_several_sources_each_have_a_host() -> None:
    sources = {"text": pretrained("word2vec"), "text2": replace(pretrained("bert"), key="b")}
    strategy = StrategyConfig(how="features", host="bilstm", layers="last", steps=6, batch=8, cache=False)
    found = transfer(sources, ClassifyConfig(dev_share=0.2), TRAIN, strategy=strategy, device="cpu")
    frozen = transfer(sources, ClassifyConfig(dev_share=0.2), TRAIN, strategy=replace(strategy, how="frozen"), device="cpu")
    assert np.abs(found.log_probabilities(TEXTS) - frozen.log_probabilities(TEXTS)).max() <= 1e-5


def test_devices_and_threads_that_cannot_be_are_refused() -> None:
    source = pretrained("word2vec")
    for wrong in ({"device": "gpu"}, {"device": "meta"}, {"threads": 0}):
        with pytest.raises(UsageError):
            transfer(source, ClassifyConfig(), TRAIN, **wrong)  # type: ignore[arg-type]
