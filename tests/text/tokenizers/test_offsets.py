"""For every kind of tokenizer and any string: offsets are exact, nothing vanishes, both paths agree."""

import unicodedata

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foretext.errors import DataError
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer
from foretext.types import Text

DOCUMENTS = [
    "The cats sat on the mat. The cat's hat isn't here! Unaffable people, naïve café owners.",
    "我来到北京清华大学。今天天气不错，我们去公园。ABC公司的员工12人。",
    "Straße, İstanbul, ﬁne ﬂags; 3.14 and ΟΔΟΣ [UNK] <s> snake_case 한국어 ελληνικά",
] * 2
KINDS = ("words", "spaces", "characters", "wordpiece", "bpe", "unigram")
SETTINGS = {
    "as BERT": {},
    "cased": {"lowercase": False, "strip_accents": False},
    "segmented words": {"chinese": "words"},
    "single characters": {"whole_words": "characters"},
    "plain": {"chinese": "plain", "strip_accents": False},
    "BERT's own": {"folding": "bert", "unseen": "word"},
    "BERT's own, cased": {"folding": "bert", "lowercase": False, "strip_accents": False, "whole_words": "characters"},
    "BERT's own, plain": {"folding": "bert", "chinese": "plain"},
}
OWN = [name for name, setting in SETTINGS.items() if "folding" not in setting]
"""Foldings under which nothing visible vanishes."""
_made: dict[tuple[str, str], ChunkTokenizer] = {}


def tokenizer(kind: str, setting: str = "as BERT") -> ChunkTokenizer:
    if (kind, setting) not in _made:
        config = TokenizerConfig(kind=kind, size=330, **SETTINGS[setting])  # type: ignore[arg-type]
        _made[kind, setting] = train_tokenizer(config, strings_corpus(DOCUMENTS))
    return _made[kind, setting]


TRICKY = st.sampled_from(
    ["é", "e\u0301", "\u0301", "İ", "ß", "ﬁ", "Σ", "👨‍👩‍👧", "❤️", "🦄", "\u200b", "\u200d", "\u00ad", "𠀀", "㐀", "中", "国", "北京",
     "[MASK]", "[CLS]", "<s>", "[UNK]", "##a", "▁", "Ġ", "한", "ก็", "\u0958", "が", "か\u3099", " ", "  ", "\n", "\t", "\u3000", "\xa0",
     "cat", "the", "isn't", ".", "…", "。", "a" * 150, "中" * 120, "葛\U000e0100", "\U0001f469\U0001f3fd", "\ufffd", "\x00", "\x1c", "\ue000",
     "a\x0bb", "\x85", "々", "〇", "\u166d", "\U000111c9", "\u1734", "\u2e52", "\u061d", "«", "a—b", "$"]
)  # fmt: skip
STRINGS = st.lists(st.one_of(TRICKY, st.text(max_size=6)), max_size=12).map("".join)


def visible(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf")


def hangs_on(string: str, at: int) -> bool:
    """A mark or variation selector: it may belong to the token of the character before it."""
    return unicodedata.category(string[at]) in ("Mn", "Mc", "Me")


@pytest.mark.parametrize("setting", OWN)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(string=STRINGS)
@example(string="")
@example(string=" \u200b\u0301x")
@example(string="中\u0301国 \u0301")
@example(string="I am [MASK] e\u0301İ🦄 " + "x" * 300)
def test_offsets_are_exact(kind: str, setting: str, string: str) -> None:
    made = tokenizer(kind, setting)
    encoding = made.encode([Text(string=string)])[0]
    offsets = encoding.offsets
    assert offsets.shape == (len(encoding.ids), 2)
    assert ((offsets >= 0) & (offsets <= len(string))).all()
    assert (offsets[:, 0] <= offsets[:, 1]).all()
    assert (np.diff(offsets, axis=0) >= 0).all(), "offsets go back"
    assert (np.diff(encoding.word) >= 0).all()
    covered = np.zeros(len(string), dtype=int)
    for start, stop in offsets.tolist():
        covered[start:stop] += 1
    for at, character in enumerate(string):
        if visible(character):
            most = covered[at] if kind == "bpe" else 1  # bytes of one character share its place
            assert 1 <= covered[at] <= max(1, most), (at, character, covered[at])


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(strings=st.lists(STRINGS, max_size=4))
@example(strings=["a\x0bb\x1cc\x85d e", "々〇人々", "x\u166dy\u2e52z «q»—é", "\u0301x \u0958\u0301", "한é\u0301\ufffd.", "a\ue000\u200b中b"])
def test_both_paths_agree(kind: str, setting: str, strings: list[str]) -> None:
    made = tokenizer(kind, setting)
    ids, lengths, starts = made.ids(strings)
    encodings = made.encode([Text(string=string) for string in strings])
    assert ids.tolist() == [number for encoding in encodings for number in encoding.ids]
    assert lengths.tolist() == [len(encoding.ids) for encoding in encodings]
    words = [word for encoding in encodings for word in np.diff(encoding.word, prepend=-1).tolist()]
    assert starts.tolist() == [step == 1 for step in words]
    assert starts.dtype == np.bool_
    assert ids.dtype == np.int32


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(string=STRINGS)
def test_user_text_never_becomes_a_special_token(kind: str, string: str) -> None:
    made = tokenizer(kind)
    ids = made.encode([Text(string=f"{string}[MASK] [CLS][PAD] {string}")])[0].ids
    specials = set(made.special.values()) - {made.special["[UNK]"]}
    assert not specials & set(ids.tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_a_special_token_may_look_like_a_word(kind: str) -> None:
    config = TokenizerConfig(kind=kind, size=300, special=("[UNK]", "pad", "dog", "x"))  # type: ignore[arg-type]
    made = train_tokenizer(config, strings_corpus(["a pad p pads god " * 9]))
    string = "pad dog pads x"
    encoding = made.encode([Text(string=string, words=((0, 3), (4, 7), (8, 12), (13, 14)))])[0]
    assert not {1, 2, 3} & set(encoding.ids.tolist())
    assert not {1, 2, 3} & set(made.ids([string])[0].tolist())


@pytest.mark.parametrize("kind", ["words", "characters", "wordpiece", "unigram"])
@settings(max_examples=100, deadline=None)
@given(string=STRINGS)
def test_a_place_folds_to_its_piece(kind: str, string: str) -> None:
    made = tokenizer(kind)
    encoding = made.encode([Text(string=string)])[0]
    unknown = made.special["[UNK]"]
    for number, (start, stop) in zip(encoding.ids.tolist(), encoding.offsets.tolist(), strict=True):
        piece = made.pieces[number]
        if number == unknown or piece == "▁":
            continue
        plain = piece.removeprefix("##") if kind == "wordpiece" and len(piece) > 2 else piece.removeprefix("▁")
        there = "".join(c for c in string[start:stop] if visible(c))
        stripped = "".join(c for c in unicodedata.normalize("NFD", there) if unicodedata.category(c) != "Mn")
        folded = "".join("i" if c == "İ" else c.lower() for c in stripped)
        if kind == "unigram":
            folded = folded.replace("▁", "_")
        assert unicodedata.normalize("NFD", plain) == unicodedata.normalize("NFD", folded) or plain == there


@settings(max_examples=100, deadline=None)
@given(string=STRINGS)
def test_bytes_come_back_exactly(string: str) -> None:
    made = tokenizer("bpe", "cased")
    assert made.decode(made.encode([Text(string=string)])[0].ids.tolist()) == string


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(string=STRINGS, data=st.data())
def test_no_piece_crosses_a_given_word(kind: str, string: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(string)), max_size=6)))
    words = tuple((start, stop) for start, stop in zip(cuts[::2], cuts[1::2], strict=False))
    encoding = tokenizer(kind).encode([Text(string=string, words=words)])[0]
    assert (np.diff(encoding.offsets, axis=0) >= 0).all()
    for (start, stop), word in zip(encoding.offsets.tolist(), encoding.word.tolist(), strict=True):
        if word >= 0 and string[start:stop].strip():
            assert words[word][0] <= start <= stop <= words[word][1]
        elif start < stop and string[start:stop].strip():
            assert all(stop <= first or last <= start for first, last in words)
    for number, (start, stop) in enumerate(words):
        if any(visible(c) for c in string[start:stop]):
            assert number in encoding.word


def test_given_words_are_the_words() -> None:
    string = "Don't 北京大学"
    words = ((0, 2), (2, 5), (6, 10))
    for kind in KINDS:
        encoding = tokenizer(kind).encode([Text(string=string, words=words)])[0]
        assert sorted(set(encoding.word.tolist())) == [0, 1, 2], kind
    lexicon = train_tokenizer(TokenizerConfig(kind="words"), strings_corpus(["New York is new . New-York"]))
    ids = lexicon.encode([Text(string="New York", words=((0, 3), (4, 8)))])[0].ids
    assert [lexicon.pieces[number] for number in ids] == ["new", "york"]


@pytest.mark.parametrize("words", [((0, 0),), ((2, 4), (3, 5)), ((0, 9),), ((3, 1),)])
def test_given_words_must_fit(words: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(DataError, match="word"):
        tokenizer("wordpiece").encode([Text(string="abcdef", words=words)])


@pytest.mark.parametrize("kind", ["words", "characters", "wordpiece", "unigram"])
def test_an_unseen_character_is_one_unknown(kind: str) -> None:
    made = tokenizer(kind)
    unknown = made.special["[UNK]"]
    for string in ("我㐀来", "🦄", "cat 🦄 sat", "我𪨶来"):
        encoding = made.encode([Text(string=string)])[0]
        strange = next(at for at, c in enumerate(string) if c in "㐀🦄𪨶")
        hits = encoding.offsets[encoding.ids == unknown].tolist()
        assert [strange, strange + 1] in hits
        assert len(hits) == 1 or kind == "words"


def test_long_words_do_not_vanish() -> None:
    string = "a" * 5000
    for kind in KINDS:
        encoding = tokenizer(kind).encode([Text(string=string)])[0]
        assert (encoding.offsets[0, 0], encoding.offsets[-1, 1]) == (0, 5000)
