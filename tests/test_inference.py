"""Vectors of texts: exact offsets, windows that own each token once, no influence of neighbours in a batch."""

import numpy as np
import pytest

from foretext.bundle import Pretrained, build_model, load_pretrained
from foretext.config import override
from foretext.errors import ArtefactError, UsageError
from foretext.inference import Encoded, chosen_layers, pooled
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import train_tokenizer

CORPUS = strings_corpus(["the boat on the river by the old bank.\n我们在河边看船。"] * 3 + ["money in the bank, and rates."])
LIMIT = 16


@pytest.fixture(scope="module")
def model() -> Pretrained:
    family = {"layers": 2, "width": 16, "heads": 2, "inner": 32, "positions": LIMIT}
    recipe: Recipe = override(find("bert-mini"), {"family": family, "tokenizer": {"size": 120}})
    tokenizer = train_tokenizer(recipe.tokenizer, CORPUS)
    return Pretrained(recipe=recipe, tokenizers={"text": tokenizer}, arrays=build_model(recipe, tokenizer.size).arrays())


def test_tokens_offsets_words_and_layers_line_up(model: Pretrained) -> None:
    text = "The bank, 河边."
    item = model.encode([text])[0]
    assert [text[a:b].lower() for a, b in item.offsets] == [t.removeprefix("##") for t in item.tokens]
    assert len(item.words) == len(item.tokens) == len(item.ids)
    assert [layer.shape for layer in item.layers] == [(len(item.tokens), 16)] * 3
    assert item.summary is not None
    assert item.summary.shape == (16,)


def test_special_token_text_is_text(model: Pretrained) -> None:
    ids = set(model.encode(["[CLS] the [MASK] bank [SEP]"])[0].ids.tolist())
    assert not ids & {model.tokenizer.special[t] for t in ("[CLS]", "[MASK]", "[SEP]", "[PAD]")}


def test_a_text_is_encoded_alike_alone_and_among_others(model: Pretrained) -> None:
    texts = ["the boat", "money in the bank by the river", "我们看船", "", "old"]
    together = model.encode(texts)
    for text, item in zip(texts, together, strict=True):
        alone = model.encode([text])[0]
        for a, b in zip(alone.layers, item.layers, strict=True):
            assert np.allclose(a, b, atol=1e-5)
    assert len(together[3].tokens) == 0


def test_long_texts_are_windowed_and_every_token_has_a_vector(model: Pretrained) -> None:
    text = " ".join(["the boat on the river"] * 12)
    item = model.encode([text])[0]
    assert len(item.tokens) > 3 * LIMIT
    assert all((np.abs(layer).sum(axis=1) > 0).all() for layer in item.layers)
    # Layer 0 holds no context, only tokens and positions; the same word at the same position of two windows is equal.
    start = model.encode([" ".join(text.split()[:5])])[0]
    assert np.allclose(item.layers[0][:5], start.layers[0][:5], atol=1e-5)


def test_a_single_word_longer_than_a_window_loses_nothing(model: Pretrained) -> None:
    item = model.encode(["boat" * 40])[0]
    assert len(item.tokens) > LIMIT
    assert (np.abs(item.layers[-1]).sum(axis=1) > 0).all()
    assert item.offsets[-1][1] == 160


def test_layers_and_pooling(model: Pretrained) -> None:
    item = model.encode(["the old bank"])[0]
    assert np.array_equal(chosen_layers(item, "-1")["2"], item.layers[2])
    assert np.allclose(chosen_layers(item, "mix")["mix"], sum(item.layers) / 3, atol=1e-6)
    assert list(chosen_layers(item, "all")) == ["0", "1", "2"]
    assert np.allclose(pooled(item, "mean", "1"), item.layers[1].mean(axis=0))
    assert pooled(item, "mean", "all").shape == (48,)
    assert np.array_equal(pooled(item, "summary", "all"), item.summary)
    for wrong in ("3", "-4", "top"):
        with pytest.raises(UsageError, match="layer"):
            chosen_layers(item, wrong)
    static = Encoded(tokens=(), ids=np.zeros(0, int), offsets=np.zeros((0, 2), int), words=np.zeros(0, int), layers=(np.zeros((0, 4), np.float32),))
    with pytest.raises(UsageError, match="summary"):
        pooled(static, "summary", "all")
    assert np.array_equal(pooled(static, "mean", "0"), np.zeros(4))


def test_a_pretrained_folder_gives_back_what_was_saved(model: Pretrained, tmp_path) -> None:  # type: ignore[no-untyped-def]
    saved = model.save(tmp_path / "m")
    again = load_pretrained(tmp_path / "m")
    assert again.key == saved.key
    assert again.recipe == model.recipe
    assert again.arrays.keys() == model.arrays.keys()
    assert all(np.array_equal(again.arrays[n], model.arrays[n]) for n in model.arrays)
    assert np.array_equal(again.encode(["the bank"])[0].layers[-1], model.encode(["the bank"])[0].layers[-1])
    assert again.tokenizer.key == model.tokenizer.key


def test_a_tensor_too_few_or_too_many_is_named(model: Pretrained) -> None:
    from dataclasses import replace

    name = next(iter(model.arrays))
    fewer = replace(model, arrays={n: a for n, a in model.arrays.items() if n != name})
    with pytest.raises(ArtefactError, match=f"missing {name}"):
        fewer.encode(["the"])
    more = replace(model, arrays={**model.arrays, "encoders.text.extra": np.zeros(2, np.float32)})
    with pytest.raises(ArtefactError, match=r"surplus encoders\.text\.extra"):
        more.encode(["the"])
