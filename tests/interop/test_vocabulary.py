"""Strangers' vocabularies: what is BERT's is read exactly, anything else is one message, and nothing hangs."""

import contextlib
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foretext.errors import ArtefactError, UsageError
from foretext.interop import inspection, vocabulary
from foretext.interop.sandbox import limited
from foretext.text.tokenizers import ChunkTokenizer
from foretext.types import Text
from interop import foreign_world as tiny

WHERE = "foretext.interop.inspection:inspect"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    words = tiny.tokenizer()
    vocabulary.write(words.config, words.pieces, tmp_path, positions=24, rules=True)
    return tmp_path


def changed(folder: Path, change: Callable[[Any], object]) -> ArtefactError:
    rules = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(rules)
    (folder / "tokenizer.json").write_text(json.dumps(rules), encoding="utf-8")
    with pytest.raises(ArtefactError) as caught:
        vocabulary.inspect(folder)
    return caught.value


def test_there_and_back(folder: Path) -> None:
    found = vocabulary.inspect(folder)
    assert found == {"pieces": tiny.PIECES, "special": [p for p in tiny.PIECES if p in tiny.SPECIAL], "lowercase": True, "strip_accents": True, "chinese": True}
    for name in ("tokenizer.json", "vocab.txt"):  # either alone says the same
        kept = (folder / name).read_bytes()
        (folder / name).unlink()
        assert vocabulary.inspect(folder) == found
        (folder / name).write_bytes(kept)
    config = vocabulary.config_of(found, len(found["pieces"]))
    assert (config.unseen, config.folding, config.chinese) == ("word", "bert", "characters")


@pytest.mark.parametrize(
    ("place", "change"),
    [
        ("model", lambda r: r["model"].update(type="BPE")),
        ("model", lambda r: r.update(model={"type": "Unigram", "vocab": []})),
        ("model", lambda r: r.pop("model")),
        ("model.unk_token", lambda r: r["model"].update(unk_token="<unk>")),
        ("model.max_input_chars_per_word", lambda r: r["model"].update(max_input_chars_per_word=50)),
        ("model.continuing_subword_prefix", lambda r: r["model"].update(continuing_subword_prefix="@@")),
        ("normalizer", lambda r: r.update(normalizer={"type": "NFKC"})),
        ("normalizer", lambda r: r.update(normalizer=None)),
        ("normalizer", lambda r: r.update(normalizer={"type": "Sequence", "normalizers": [r["normalizer"]]})),
        ("normalizer.clean_text", lambda r: r["normalizer"].update(clean_text=False)),
        ("pre_tokenizer", lambda r: r.update(pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}})),
        ("post_processor", lambda r: r.update(post_processor={"type": "ByteLevel"})),
        ("post_processor", lambda r: r["post_processor"]["single"].reverse()),
        ("post_processor.pair", lambda r: r["post_processor"]["pair"].pop()),
        ("added_tokens", lambda r: r["added_tokens"].append({"id": 8, "content": "river", "special": False})),
        ("added_tokens", lambda r: r["added_tokens"][0].update(id=3)),
        ("model.vocab", lambda r: r["model"]["vocab"].update(new=10**9)),
        ("model.vocab", lambda r: r["model"]["vocab"].update(the=1)),
        ("model.vocab", lambda r: r["model"]["vocab"].update(the=-1)),
        ("model.vocab", lambda r: r["model"]["vocab"].update(the=1.5)),
        ("model.vocab", lambda r: r["model"].update(vocab=[["a", 0]])),
        ("piece 8", lambda r: r["model"].update(vocab={**{k: v for k, v in r["model"]["vocab"].items() if v != 8}, "\r": 8})),
    ],
)
def test_another_kind_is_refused_by_its_part(folder: Path, place: str, change: Callable[[Any], object]) -> None:
    (folder / "vocab.txt").unlink()
    error = changed(folder, change)
    assert error.place == place
    assert error.exit_code == 4
    assert "\n" not in error.message


def test_two_vocabularies_that_differ_are_refused(folder: Path) -> None:
    lines = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    lines[9] = "bunk"
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    with pytest.raises(ArtefactError, match=r"vocab\.txt and tokenizer\.json differ") as caught:
        vocabulary.inspect(folder)
    assert caught.value.place == "piece 9"


def test_settings_beside_a_plain_vocabulary(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false, "tokenize_chinese_chars": false}')
    found = vocabulary.inspect(folder)
    assert (found["lowercase"], found["strip_accents"], found["chinese"]) == (False, False, False)
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "strip_accents": false}')
    found = vocabulary.inspect(folder)
    assert (found["lowercase"], found["strip_accents"]) == (True, False)
    (folder / "tokenizer_config.json").unlink()
    assert vocabulary.inspect(folder)["lowercase"]
    with open(folder / "vocab.txt", "a", encoding="utf-8") as file:
        file.write("Paris\n")
    assert not vocabulary.inspect(folder)["lowercase"]
    (folder / "tokenizer_config.json").write_text('{"unk_token": {"content": "<unk>"}}')
    with pytest.raises(ArtefactError, match="unk_token"):
        vocabulary.inspect(folder)


@pytest.mark.parametrize("settings", [{"chinese": "words"}, {"kind": "bpe"}])
def test_what_no_foreign_tokenizer_does_is_refused(settings: Any) -> None:
    from dataclasses import replace

    config = replace(tiny.tokenizer().config, **settings)
    with pytest.raises(UsageError, match=r"tokenizer\."):
        vocabulary.differences(config)


def test_our_own_way_with_unseen_characters_is_told() -> None:
    assert "[UNK]" in vocabulary.differences(tiny.tokenizer(unseen="character", folding="character").config)
    assert vocabulary.differences(tiny.tokenizer().config) == ""


# ── attacks ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def _header(tensors: dict[str, Any], data: bytes = b"", length: int | None = None) -> bytes:
    raw = json.dumps(tensors).encode()
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def _claim(**changes: Any) -> bytes:
    return _header({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **changes}}, bytes(8))


def _npy(header: str) -> bytes:
    return b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header) + 1) + header.encode() + b"\n"


ATTACKS: dict[str, tuple[str, bytes]] = {
    "deep": ("tokenizer.json", b"[" * 2_000_000),
    "deep objects": ("config.json", b'{"a":' * 500_000),
    "long number": ("config.json", b'{"a": ' + b"9" * 1_000_000 + b"}"),
    "large exponent": ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"a": 1e999999999}}}'),
    "half a character": ("tokenizer.json", b'{"model": {"type": "WordPiece", "vocab": {"\\ud800": 0}}}'),
    "not utf-8": ("vocab.txt", b"a\nb\xff\n"),
    "no object": ("tokenizer.json", b"[]"),
    "cut": ("tokenizer.json", b'{"model": {"type": "Wo'),
    "endless header": ("model.safetensors", struct.pack("<Q", 1 << 62) + b"{}"),
    "header past the end": ("model.safetensors", _header({}, length=999)),
    "deep header": ("model.safetensors", struct.pack("<Q", 1_000_000) + b"[" * 1_000_000),
    "huge shape": ("model.safetensors", _claim(shape=[10**9, 10**9])),
    "negative shape": ("model.safetensors", _claim(shape=[-2])),
    "boolean shape": ("model.safetensors", _claim(shape=[True, 2])),
    "shape of floats": ("model.safetensors", _claim(shape=[2.0])),
    "many axes": ("model.safetensors", _claim(shape=[1] * 100_000 + [2])),
    "wrong span": ("model.safetensors", _claim(data_offsets=[0, 4])),
    "span past the end": ("model.safetensors", _claim(shape=[2000], data_offsets=[0, 8000])),
    "unknown kind": ("model.safetensors", _claim(dtype="O")),
    "overlap": (
        "model.safetensors",
        _header({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, bytes(8)),
    ),
    "bytes behind": ("model.safetensors", _claim() + b"x"),
    "empty": ("model.safetensors", b""),
    "pickle": ("pytorch_model.bin", b"\x80\x04."),
    "no zip": ("weights.npz", b"PK\x03\x04" + bytes(100)),
    "object array": ("weights.npy", _npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }")),
    "huge array": ("weights.npy", _npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }")),
    "code in a header": ("weights.npy", _npy("__import__('os').system('true')")),
    "deep array header": ("weights.npy", _npy("(" * 9000)),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_end_in_one_message(tmp_path: Path, name: str) -> None:
    """The parsers themselves, in this process: an ArtefactError, and no other exception."""
    file, data = ATTACKS[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises((ArtefactError, MemoryError)) as caught:
        inspection.inspect(str(tmp_path))
    assert isinstance(caught.value, ArtefactError)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 700


def test_a_zip_bomb_is_refused_from_its_directory(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.npy", bytes(20_000_000))
    with pytest.raises(ArtefactError, match="20,000,000 bytes in an archive of"):
        inspection.inspect(str(tmp_path))


@pytest.mark.parametrize("name", ["deep", "long number", "many axes"])
def test_attacks_through_the_sandbox(tmp_path: Path, name: str) -> None:
    file, data = ATTACKS[name]
    (tmp_path / file).write_bytes(data)
    with pytest.raises(ArtefactError) as caught:
        limited(WHERE, str(tmp_path), seconds=5, about=str(tmp_path))
    assert str(tmp_path) in caught.value.message


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 5), st.data())
def test_no_damage_gives_a_traceback(folder: Path, kind: int, data: st.DataObject) -> None:
    """One byte anywhere of any file, or a cut: read as before, read as something else, or an ArtefactError."""
    file = folder / ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "model.safetensors", "w.npz", "w.npy")[kind]
    if kind == 3:
        file.write_bytes(_claim())
    elif kind == 4:
        np.savez(file, w=np.arange(3.0))
    elif kind == 5:
        np.save(file, np.arange(3.0))
    kept = file.read_bytes()
    at = data.draw(st.integers(0, len(kept) - 1))
    new = data.draw(st.integers(0, 255))
    file.write_bytes(kept[:at] if data.draw(st.booleans()) else kept[:at] + bytes([new]) + kept[at + 1 :])
    try:
        with contextlib.suppress(ArtefactError):
            inspection.inspect(str(folder))
    finally:
        file.write_bytes(kept)
        if kind > 2:
            file.unlink()


# ── ids ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("The RIVER", ["the", "river"]),
        ("unboating", ["un", "[UNK]"]),
        ("boats", ["boat", "##s"]),
        ("boatx", ["[UNK]"]),
        ("boa\u0301t", ["boat"]),
        ("bo\x00at\u200bs\ufffd", ["boat", "##s"]),
        ("bank\x0briver", ["[UNK]"]),
        ("bank\xa0river\u3000the", ["bank", "river", "the"]),
        ("河水the行", ["河", "水", "the", "行"]),
        ("[MASK] the", ["[UNK]", "[UNK]", "[UNK]", "the"]),
        ("[unused1]", ["[UNK]", "[UNK]", "[UNK]"]),
        ("a" * 101, ["[UNK]"]),
        ("!?", ["!", "?"]),
    ],
)
def test_ids_by_hand(text: str, pieces: list[str]) -> None:
    words: ChunkTokenizer = tiny.tokenizer()
    found = words.encode([Text(string=text)])[0]
    assert [words.pieces[i] for i in found.ids] == (["[UNK]"] if text == "unboating" else pieces)
    assert words.ids([text])[0].tolist() == found.ids.tolist()
    for start, stop in found.offsets.tolist():
        assert 0 <= start < stop <= len(text)


def test_offsets_hold_dropped_marks_and_decomposed_letters() -> None:
    words = tiny.tokenizer([*tiny.PIECES, "\u1112", "##\u1161", "##\u11ab"])
    found = words.encode([Text(string="boa\u0301t 한")])[0]
    assert found.offsets.tolist() == [[0, 5], [6, 7], [6, 7], [6, 7]]
    assert found.word.tolist() == [0, 1, 1, 1]
