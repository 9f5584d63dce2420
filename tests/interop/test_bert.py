"""BERT under three programs' names: there and back to the bit, outputs compared, every misfit named."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from foretext.errors import ArtefactError, ForetextError, UsageError
from foretext.folder import read_json, write_arrays, write_json
from foretext.interop import bert as conversion
from foretext.interop import renaming
from foretext.interop.bert import compare, open_foreign, to_pretrained, write_foreign
from foretext.interop.layouts import GOOGLE, HUGGING_FACE, LAYOUTS, UER
from foretext.interop.reference import Reference, Settings
from interop import foreign_world as tiny

BOTH = ("masked", "next_sentence")
SIZES = {"D": 12, "I": 20, "V": len(tiny.PIECES), "P": 24, "S": 2}


def same(one: Any, two: Any) -> bool:
    return set(one) == set(two) and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("heads", [BOTH, ("masked",), ()], ids=["pretraining", "masked", "base"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_there_and_back(tmp_path: Path, layout: str, heads: tuple[str, ...]) -> None:
    model = tiny.bert(*heads, pooler="dense" if layout != "uer" or heads == BOTH else "none")
    line = write_foreign(model, tmp_path / "out", LAYOUTS[layout])
    assert "largest difference" in line
    assert "2e-05 allowed" in line
    again, difference = to_pretrained(open_foreign(tmp_path / "out"))
    assert difference.size < 1e-5
    assert same(again.arrays, model.arrays)
    assert list(again.recipe.objectives) == list(heads)
    assert again.recipe.family == model.recipe.family
    assert again.tokenizer.key == model.tokenizer.key


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", ["gelu", "relu", "gelu_tanh"])
def test_the_same_weights_mean_the_same_under_every_layout(seed: int, activation: str) -> None:
    """The reference reads each layout by its own list of names; the encoder's own vectors lie beside all three."""
    model = tiny.bert(*BOTH, seed=seed, activation=activation)
    settings = Settings(layers=2, heads=3, activation=activation, epsilon=1e-12)
    ids, segments = [4, 7, 9, 20, 0, 31], [0, 0, 0, 1, 1, 1]
    answers = []
    for layout in LAYOUTS.values():
        theirs = renaming.to_theirs(layout, model.arrays, 2)
        answers.append(Reference(layout.name, theirs.get, settings)(ids, segments))
    for answer in answers[1:]:
        for ours, other in zip(answers[0].layers, answer.layers, strict=True):
            assert np.allclose(ours, other, rtol=0, atol=1e-12)
        assert np.allclose(answers[0].masked, answer.masked, atol=1e-10)
        assert np.allclose(answers[0].next_sentence, answer.next_sentence, atol=1e-12)
    assert abs(np.exp(answers[0].masked).sum(axis=1) - 1).max() < 1e-9


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=list(LAYOUTS))
def test_missing_surplus_and_mis_shaped_tensors_are_named(layout: Any, tmp_path: Path) -> None:
    theirs = renaming.to_theirs(layout, tiny.bert(*BOTH).arrays, 2)

    def refusal(changed: dict[str, NDArray[Any]]) -> str:
        with pytest.raises(ArtefactError) as caught:
            renaming.to_ours(layout, changed, SIZES, 2, tmp_path)
        assert caught.value.exit_code == 4
        return caught.value.message

    assert renaming.to_ours(layout, theirs, SIZES, 2, tmp_path)
    for name in theirs:
        if name not in layout.copies:
            assert f"missing {name}" in refusal({n: a for n, a in theirs.items() if n != name})
        wrong = refusal({**theirs, name: np.zeros((3, 5, 7), np.float32)})
        assert name in wrong
    assert "surplus extra.weight" in refusal({**theirs, "extra.weight": np.zeros(3)})
    third = next(n for n in theirs if ("1" in n and "query" in n) or "linear_layers.0" in n).replace("1", "2", 1)
    assert "surplus" in refusal({**theirs, third + "x": np.zeros(3)})


def test_other_spellings_and_buffers_are_known(tmp_path: Path) -> None:
    model = tiny.bert(*BOTH)
    hf = renaming.to_theirs(HUGGING_FACE, model.arrays, 2)
    old = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): a for n, a in hf.items()}
    old["bert.embeddings.position_ids"] = np.arange(24)[None]
    old["cls.predictions.decoder.weight"] = hf["bert.embeddings.word_embeddings.weight"]
    old["cls.predictions.decoder.bias"] = hf["cls.predictions.bias"]
    assert same(renaming.to_ours(HUGGING_FACE, old, SIZES, 2, tmp_path), model.arrays)
    with pytest.raises(ArtefactError, match="are one tensor"):
        renaming.canonical(HUGGING_FACE, [*hf, "bert.embeddings.LayerNorm.gamma"])
    google = {f"{n}:0": a for n, a in renaming.to_theirs(GOOGLE, model.arrays, 2).items()}
    google |= {"global_step": np.array(7), "bert/pooler/dense/kernel/adam_m": np.zeros((12, 12))}
    assert same(renaming.to_ours(GOOGLE, google, SIZES, 2, tmp_path), model.arrays)
    uer = renaming.to_theirs(UER, model.arrays, 2)
    for prefix in ("nsp_linear", "sp_linear", "nsp.linear"):
        older = {
            n.replace("embedding.word.embedding", "embedding.word_embedding")
            .replace("embedding.pos.embedding", "embedding.position_embedding")
            .replace("embedding.seg.embedding", "embedding.segment_embedding")
            .replace("target.mlm.linear", "target.mlm_linear")
            .replace("target.mlm.layer_norm", "target.layer_norm")
            .replace("target.sp.linear", f"target.{prefix}"): a
            for n, a in uer.items()
        }
        assert set(older) != set(uer)
        assert same(renaming.to_ours(UER, older, SIZES, 2, tmp_path), model.arrays)


def test_uer_has_a_row_of_segments_for_padding() -> None:
    model = tiny.bert()
    theirs = renaming.to_theirs(UER, model.arrays, 2)["embedding.seg.embedding.weight"]
    assert theirs.shape == (3, 12)
    assert not theirs[0].any()
    assert np.array_equal(theirs[1:], model.arrays["encoders.text.embeddings.segment.weight"])


@pytest.mark.parametrize("layout", [HUGGING_FACE, UER])
def test_an_output_layer_of_its_own_is_refused(layout: Any, tmp_path: Path) -> None:
    theirs = renaming.to_theirs(layout, tiny.bert(*BOTH).arrays, 2)
    name, ours = next(iter(layout.copies.items()))
    theirs[name] = np.array(tiny.bert(*BOTH).arrays[ours])
    theirs[name][3, 2] += 1e-3
    with pytest.raises(ArtefactError, match="weights of its own") as caught:
        renaming.to_ours(layout, theirs, SIZES, 2, tmp_path)
    assert name in caught.value.message


@pytest.mark.parametrize(
    ("settings", "layout", "field"),
    [
        ({"norm": "pre"}, "hf", "family.norm"),
        ({"norm": "pre"}, "google", "family.norm"),
        ({"activation": "gelu_tanh"}, "google", "family.activation"),
        ({"norm_epsilon": 1e-5}, "google", "family.norm_epsilon"),
        ({"pooler": "none"}, "hf", "family.pooler"),
    ],
)
def test_what_a_layout_cannot_hold_is_refused_by_field(tmp_path: Path, settings: Any, layout: str, field: str) -> None:
    with pytest.raises(UsageError) as caught:
        write_foreign(tiny.bert(*BOTH, **settings), tmp_path / "out", LAYOUTS[layout])
    assert caught.value.place == field
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("activation", "epsilon"), [("gelu_tanh", 1e-5), ("relu", 0.1)])
def test_settings_travel(tmp_path: Path, activation: str, epsilon: float) -> None:
    """Into the masked head too, which has the encoder's activation and epsilon."""
    model = tiny.bert("masked", norm_epsilon=epsilon, activation=activation, pooler="none", dropout=0.25, attention_dropout=0.0, initial_sd=0.1)
    write_foreign(model, tmp_path / "out", HUGGING_FACE)
    again, _ = to_pretrained(open_foreign(tmp_path / "out"))
    assert again.recipe.family == model.recipe.family
    config = read_json(tmp_path / "out" / "config.json")
    assert config["architectures"] == ["BertForMaskedLM"]
    assert config["vocab_size"] == len(tiny.PIECES)


def test_a_wrong_table_is_caught_by_the_comparison(tmp_path: Path) -> None:
    """Values taken for queries, or a kernel left as it lies: shapes fit, outputs do not."""
    model = tiny.bert(*BOTH)
    write_foreign(model, tmp_path / "out", HUGGING_FACE)
    foreign = open_foreign(tmp_path / "out")
    block = "encoders.text.layers.{n}.attention.qkv"
    q, k, v = HUGGING_FACE.modules[block]
    swapped = replace(HUGGING_FACE, modules={**HUGGING_FACE.modules, block: (v, k, q)})
    with pytest.raises(ArtefactError, match="the outputs differ by"):
        to_pretrained(replace(foreign, layout=swapped))
    square = tiny.bert(*BOTH, inner=12)
    write_foreign(square, tmp_path / "square", HUGGING_FACE)
    with pytest.raises(ArtefactError, match="the outputs differ by"):
        to_pretrained(replace(open_foreign(tmp_path / "square"), layout=replace(HUGGING_FACE, turned=True)))
    other = tiny.bert(*BOTH, seed=1)
    with pytest.raises(ArtefactError, match="the outputs differ by"):
        compare(other, foreign)
    for name in model.arrays:  # one tensor astray, whichever it is, shows
        if "position" not in name:
            moved = {**model.arrays, name: model.arrays[name] + 0.05 * np.random.default_rng(0).normal(size=model.arrays[name].shape).astype(np.float32)}
            with pytest.raises(ArtefactError, match="the outputs differ by"):
                compare(replace(model, arrays=moved), foreign)
    assert conversion.TOLERANCE == 2e-5


def test_numbers_of_other_kinds(tmp_path: Path) -> None:
    """fp16, bf16 and fp64, and folders of .npy, all become the fp32 they say."""
    model = tiny.bert("masked", pooler="none")
    rounded = {name: (array.view(np.uint32) & 0xFFFF0000).view(np.float32) for name, array in model.arrays.items()}
    theirs = renaming.to_theirs(HUGGING_FACE, rounded, 2)
    out = tmp_path / "out"
    write_foreign(model, out, HUGGING_FACE)
    import torch
    from safetensors.torch import save_file

    save_file({n: torch.from_numpy(a.copy()).to(torch.bfloat16) for n, a in theirs.items()}, out / "model.safetensors")
    assert same(to_pretrained(open_foreign(out))[0].arrays, rounded)
    write_arrays(out / "model.safetensors", {n: a.astype(np.float64) for n, a in theirs.items()})
    assert same(to_pretrained(open_foreign(out))[0].arrays, rounded)
    (out / "model.safetensors").unlink()
    for name, array in renaming.to_theirs(GOOGLE, rounded, 2).items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        np.save(out / f"{name}.npy", array)
    found, _ = to_pretrained(open_foreign(out))
    assert found.recipe.name == "bert-from-google"
    assert same(found.arrays, rounded)


def test_padded_tables_keep_their_rows(tmp_path: Path) -> None:
    """A table of more rows than pieces: the rows are kept, unreachable, and the vocabulary goes out as it came."""
    model = tiny.bert("masked", words=tiny.tokenizer([*tiny.PIECES, "[row 32]", "[row 33]"]))
    write_foreign(model, tmp_path / "out", HUGGING_FACE)
    assert (tmp_path / "out" / "vocab.txt").read_text(encoding="utf-8").split() == tiny.PIECES
    again, _ = to_pretrained(open_foreign(tmp_path / "out"))
    assert same(again.arrays, model.arrays)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden_act", "swish", "activation"),
        ("num_attention_heads", 5, "does not divide"),
        ("num_hidden_layers", 3, "missing bert.encoder.layer.2"),
        ("num_hidden_layers", "2", "whole number"),
        ("num_hidden_layers", 10**9, "whole number"),
        ("hidden_size", None, "whole number"),
        ("model_type", "roberta", "model_type"),
        ("position_embedding_type", "relative_key", "position_embedding_type"),
        ("is_decoder", True, "is_decoder"),
        ("max_position_embeddings", 512, "expected [512, 12], found [24, 12]"),
    ],
)
def test_a_wrong_setting_is_named(hf: Path, name: str, value: Any, message: str) -> None:
    config = {**read_json(hf / "config.json"), name: value}
    original = (hf / "config.json").read_bytes()
    try:
        write_json(hf / "config.json", config)
        with pytest.raises(ForetextError) as caught:
            to_pretrained(open_foreign(hf))
    finally:
        (hf / "config.json").write_bytes(original)
    assert caught.value.exit_code == 4
    assert message in caught.value.message


@pytest.fixture(scope="module")
def hf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("hf") / "model"
    write_foreign(tiny.bert(*BOTH), out, HUGGING_FACE)
    return out
