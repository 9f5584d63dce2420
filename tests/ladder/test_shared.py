"""Texts encoded once a rung: the same vectors whoever asked first, the same answers as encoding anew, seconds told."""

import time
from pathlib import Path

import numpy as np
import pytest

from foretext.bundle import SOURCE
from foretext.data.prepared import Prepared
from foretext.features import encode
from foretext.heads.classify import ClassifyHeadConfig
from foretext.ladder import network, shared
from foretext.ladder.shared import SharedFeatures, window_keys
from foretext.prediction import Reader
from foretext.strategies import StrategyConfig
from foretext.tasks.base import read_labelled
from foretext.transferring import transfer
from foretext.types import Encoder, Floats
from stage_two import labelled, pretrained

MIX = ClassifyHeadConfig(pool="mean", layers="mix")
SOURCE_MODEL = pretrained("bert")
TEXTS = [text for text, _ in labelled(12)] + ["the sea " * 40]


def prepare(texts: list[str]) -> Prepared:
    made = Reader(
        tokenizer=SOURCE_MODEL.tokenizer, template=SOURCE_MODEL.recipe.family.template, limit=32, fit=network.TASK.fit
    )
    return made.prepare(texts)


def ask(store: SharedFeatures, texts: list[str], encoder: Encoder | None = None) -> tuple[Floats, bool]:
    encoder = encoder or SOURCE_MODEL.encoder()
    return store(encoder, prepare(texts), MIX, source="k", most_tokens=8192, device="cpu", bf16=False)


def test_vectors_depend_on_nothing_but_the_window(tmp_path: Path) -> None:
    whole, known = ask(SharedFeatures(path=tmp_path / "a"), TEXTS)
    assert not known
    assert np.allclose(whole, encode(SOURCE_MODEL.encoder(), prepare(TEXTS), MIX, most_tokens=8192), atol=1e-5)
    other = SharedFeatures(path=tmp_path / "b")
    ask(other, TEXTS[5:8])
    pieces = np.concatenate([ask(other, TEXTS[:4])[0], ask(other, TEXTS[4:])[0]])
    assert pieces.tobytes() == whole.tobytes()
    assert len(window_keys(prepare(TEXTS))) == len(whole) > len(TEXTS)  # the long text has windows


def test_what_is_there_is_not_encoded_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = SharedFeatures(path=tmp_path)
    whole, _ = ask(first, [*TEXTS, TEXTS[0]])
    assert first.lent == 0.0
    calls = []
    alone = shared._alone

    def counted(*given: object) -> tuple[Floats, float]:
        calls.append(given)
        time.sleep(0.01)
        return alone(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(shared, "_alone", counted)
    second = SharedFeatures(path=tmp_path)
    found, known = ask(second, TEXTS)
    assert (known, calls) == (True, [])
    assert found.tobytes() == whole[:-1].tobytes()
    assert second.lent > 0
    ask(second, [TEXTS[0], "a new text"])
    assert len(calls) == 1
    part = next(path for path in (tmp_path.iterdir().__next__()).iterdir() if not path.name.startswith("."))
    file = part / "features.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1]))
    calls.clear()
    assert ask(SharedFeatures(path=tmp_path), [*TEXTS, "a new text"])[0][:-1].tobytes() == found.tobytes()
    assert calls  # a damaged part is made again


def test_a_cell_answers_as_it_would_alone(tmp_path: Path) -> None:
    folder = SOURCE_MODEL.save(tmp_path / "m").path
    assert folder is not None
    train, settings = read_labelled(labelled(30)), StrategyConfig(how="features", steps=30)
    texts = [text for text, _ in labelled(40, seed=1)]
    network.encode_ahead(folder, texts, settings, tmp_path / "shared")
    before = len(list((tmp_path / "shared").rglob("features.safetensors")))
    cell = network.fit(folder, train, settings, 0, shared=tmp_path / "shared")
    lent = cell.lent  # type: ignore[attr-defined]
    said = cell.predict(texts)
    assert cell.lent > lent >= 0.0  # type: ignore[attr-defined]
    assert len(list((tmp_path / "shared").rglob("features.safetensors"))) == before + 1  # the training texts alone
    plain = transfer({SOURCE: network.opened(folder)}, network.TASK, train, None, settings)
    assert said == [p.label for p in plain.predict(texts)]
    static = pretrained("word2vec").save(tmp_path / "w").path
    assert static is not None
    network.fit(static, train, settings, 0, shared=tmp_path / "none")
    assert not (tmp_path / "none").exists()  # looking up a table costs nothing worth keeping
