"""Flat examples and encoders that do not learn: the same vectors whatever the batch, and `features` = `frozen`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.data.prepared import Prepared
from foretext.data.render import Fit
from foretext.features import Frozen, cached_encode, encode, forecast_bytes
from foretext.heads.classify import ClassifyHeadConfig, Shape
from foretext.prediction import Reader
from foretext.types import TokenBatch
from stage_two import labelled, pretrained


def reader(family: str, limit: int | None = None, **fit: object) -> Reader:
    source = pretrained(family)
    return Reader(tokenizer=source.tokenizer, template=source.recipe.family.template, limit=limit, fit=Fit(**fit))  # type: ignore[arg-type]


def sequences(view: Prepared, examples: list[int], one_row: bool) -> list[tuple[list[int], list[int], int]]:
    """(ids, positions, example) of each sequence of a batch, read back through its bounds."""
    batch: TokenBatch = view.batch(np.array(examples, np.int64), one_row=one_row)
    found = []
    for number, (row, start, stop) in enumerate(batch.bounds.tolist()):
        assert (batch.sequence[row, start:stop] == number).all()
        found.append((batch.ids[row, start:stop].tolist(), batch.position[row, start:stop].tolist(), int(batch.origin.example[number])))
        if batch.summary is not None:
            assert batch.summary[number] == row * batch.ids.shape[1] + start
    covered = sum(len(ids) for ids, _, _ in found)
    assert (batch.sequence >= 0).sum() == covered
    return found


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=12), st.booleans(), st.sampled_from([6, 9, 64]))
def test_a_batch_holds_exactly_its_examples_windows(examples: list[int], one_row: bool, limit: int) -> None:
    texts = [text for text, _ in labelled(20, longest=20)]
    view = reader("bert", limit, stride=2).prepare(texts)
    found = sequences(view, examples, one_row)
    expected = []
    for number, example in enumerate(examples):
        for window in range(view.sequences[example], view.sequences[example + 1]):
            ids = view.ids[view.first[window] : view.first[window + 1]].tolist()
            expected.append((ids, list(range(len(ids))), number))
            assert len(ids) <= limit
    assert found == expected


@pytest.mark.parametrize("family", ["bert", "word2vec"])
@pytest.mark.parametrize("limit", [7, None])
def test_the_fast_path_prepares_what_render_does(family: str, limit: int | None) -> None:
    texts = [text for text, _ in labelled(30, longest=20)] + ["", "  ", "Zürich 海 [SEP] ★"]
    made = reader(family, limit, stride=2)
    fast, slow = made.prepare(texts), made.render(texts)
    for name in ("ids", "first", "sequences", "segment", "summary"):
        a, b = getattr(fast, name), getattr(slow, name)
        assert (a is None and b is None) or np.array_equal(a, b), name
    assert fast.tally == slow.tally


@pytest.mark.parametrize("family", ["bert", "word2vec"])
def test_vectors_do_not_depend_on_the_batch(family: str) -> None:
    source, texts = pretrained(family), [text for text, _ in labelled(24, longest=20)]
    view, config = reader(family, 32).prepare(texts), ClassifyHeadConfig(layers="mix")
    together = encode(source.encoder(), view, config, most_tokens=10_000)
    alone = encode(source.encoder(), view, config, most_tokens=1)
    some = encode(source.encoder(), view, config, most_tokens=40, windows=np.array([5, 3, 11]))
    assert np.allclose(together, alone, atol=1e-5)
    assert np.allclose(some, together[[5, 3, 11]], atol=1e-5)
    assert together.nbytes == forecast_bytes(view, Shape(widths=tuple(source.encoder().widths)), config)


def test_features_are_cached_by_content_and_damage_is_repaired(tmp_path: Path) -> None:
    source, config = pretrained("bert"), ClassifyHeadConfig(layers="mix")
    view = reader("bert").prepare([text for text, _ in labelled(6)])
    ask = {"source": "weights", "cache": tmp_path, "most_tokens": 1000}
    first, known = cached_encode(source.encoder(), view, config, **ask)  # type: ignore[arg-type]
    assert not known
    again, known = cached_encode(source.encoder(), view, config, **ask)  # type: ignore[arg-type]
    assert known and np.array_equal(first, again)
    assert not cached_encode(source.encoder(), view, replace(config, pool="max"), **ask)[1]  # type: ignore[arg-type]
    assert not cached_encode(source.encoder(), view, config, **{**ask, "source": "others"})[1]  # type: ignore[arg-type]
    for file in tmp_path.rglob("features.safetensors"):
        data = bytearray(file.read_bytes())
        data[-3] ^= 1
        file.write_bytes(bytes(data))
    repaired, known = cached_encode(source.encoder(), view, config, **ask)  # type: ignore[arg-type]
    assert not known and np.array_equal(first, repaired)


def test_a_frozen_encoder_has_no_gradient_no_dropout_and_no_parameters() -> None:
    source = pretrained("bert", dropout=0.5)
    frozen = Frozen(source.encoder()).train()
    view = reader("bert").prepare(["ship wave", "court judge"])
    from foretext.data.batches import view_to_torch

    batch = view_to_torch(view.batch(np.arange(2)))
    first, second = frozen(batch), frozen(batch)
    assert torch.equal(first.layers[-1], second.layers[-1])
    assert not first.layers[-1].requires_grad
    assert list(frozen.parameters()) == [] and frozen.state_dict() == {}
