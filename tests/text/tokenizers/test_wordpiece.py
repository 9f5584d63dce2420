"""WordPiece against an independent implementation, and its learner's promises."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers.implementations import BertWordPieceTokenizer

from foretext.errors import DataError, UsageError
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.text.tokenizers.spelling import WordPiece
from foretext.types import Text

DOCUMENTS = [
    "The cats sat on the mat, unaffable; the cat's hat isn't here! Naïve café owners don't care about 3.14 or $5.",
    "我来到北京清华大学。今天天气不错，我们去公园。ABC公司 的员工12人。",
    "Ελληνικά ρούχα και ąćęł żółw Привет, мир — “quoted” … ok",
]
STRINGS = st.text(
    alphabet="thecasmofrun THECA 北京大学天公ŻóąÉ éρωпри.,!'-$“。，\t\n\u00a0\u3000\u200b\u0301🦄5", max_size=40
)


@pytest.mark.parametrize("lower", [True, False])
@settings(max_examples=150, deadline=None)
@given(string=STRINGS)
def test_ids_are_those_of_hugging_face(lower: bool, string: str) -> None:
    config = TokenizerConfig(size=200, lowercase=lower, strip_accents=lower, unseen="word")
    made = train_tokenizer(config, strings_corpus(DOCUMENTS)) if lower not in _made else _made[lower]
    _made[lower] = made
    vocabulary = {piece: number for number, piece in enumerate(made.pieces)}
    theirs = BertWordPieceTokenizer(vocabulary, lowercase=lower, strip_accents=lower)
    expected = theirs.encode(string, add_special_tokens=False)
    if "\u0301" in string:  # a mark without a character before it is dropped there
        return
    encoding = made.encode([Text(string=string)])[0]
    assert encoding.ids.tolist() == expected.ids
    if "\u200b" not in string:
        assert [tuple(span) for span in encoding.offsets.tolist()] == expected.offsets


_made: dict[bool, object] = {}  # type: ignore[type-arg]


def test_greedy_longest_match_by_hand() -> None:
    corpus = strings_corpus(["unaffable unaffable affable able able un un"])
    made = train_tokenizer(TokenizerConfig(size=60), corpus)
    encoding = made.encode([Text(string="unable")])[0]
    assert "".join(made.pieces[n].removeprefix("##") for n in encoding.ids) == "unable"
    assert made.pieces[encoding.ids[0]].startswith("un")
    assert encoding.word.tolist() == [0] * len(encoding.ids)


@settings(max_examples=200, deadline=None)
@given(
    pieces=st.lists(st.tuples(st.sampled_from(["", "##"]), st.text("ab", min_size=1, max_size=6)), min_size=1, max_size=12),
    word=st.text("abc", max_size=14),
)
def test_only_sizes_that_exist_are_tried_and_none_is_missed(pieces: list[tuple[str, str]], word: str) -> None:
    vocabulary = ["[UNK]", *dict.fromkeys(sign + text for sign, text in pieces)]
    expected, start = [], 0
    while start < len(word):
        sizes = range(len(word) - start, 0, -1)
        known = [size for size in sizes if ("##" if start else "") + word[start : start + size] in vocabulary]
        size = known[0] if known else 1
        piece = ("##" if start else "") + word[start : start + size]
        expected.append((vocabulary.index(piece) if known else 0, start, start + size))
        start += size
    assert WordPiece(vocabulary, {0}, 0, whole_unknown=False).spell(word) == expected


def test_the_vocabulary() -> None:
    """Specials, then the alphabet in code point order with both forms, then merges; at most `size` entries."""
    made = train_tokenizer(
        TokenizerConfig(size=20, special=("[UNK]", "[MASK]")), strings_corpus(["abab abab ab 中文 。"])
    )
    alphabet = ["a", "##a", "b", "##b", "。", "中", "文"]
    assert list(made.pieces) == ["[UNK]", "[MASK]", *alphabet, "ab", "##ab", "abab"]
    assert made.special == {"[UNK]": 0, "[MASK]": 1}


def test_rare_characters_wait_for_room() -> None:
    text = "abc " * 4000 + "ǂ"
    tight = train_tokenizer(TokenizerConfig(size=12), strings_corpus([text]))
    roomy = train_tokenizer(TokenizerConfig(size=40), strings_corpus([text]))
    assert "ǂ" not in tight.pieces
    assert "ǂ" in roomy.pieces
    assert "abc" in roomy.pieces


def test_word_starts_in_chinese() -> None:
    """Whole-word masking needs rjieba's words even where pieces are characters; both rules are to be had."""
    string = "我来到北京清华大学"
    corpus = strings_corpus([string * 3])
    segmented = train_tokenizer(TokenizerConfig(size=60), corpus)
    single = train_tokenizer(TokenizerConfig(size=60, whole_words="characters"), corpus)
    words = train_tokenizer(TokenizerConfig(size=60, chinese="words"), corpus)
    ids, _, starts = segmented.ids([string])
    assert len(ids) == len(string)
    assert starts.tolist() == [True, True, False, True, False, True, False, False, False]
    assert single.ids([string])[2].all()
    assert [words.pieces[n] for n in words.ids(["北京清华大学"])[0]] == ["北京", "清华大学"]


def test_what_cannot_be_met_is_refused() -> None:
    corpus = strings_corpus(["some text"])
    with pytest.raises(UsageError, match="unknown token"):
        train_tokenizer(TokenizerConfig(special=("[PAD]",)), corpus)
    with pytest.raises(UsageError, match="special tokens repeat"):
        train_tokenizer(TokenizerConfig(special=("[UNK]", "[UNK]")), corpus)
    with pytest.raises(UsageError, match="give at least"):
        train_tokenizer(TokenizerConfig(size=6), corpus)
    with pytest.raises(DataError, match="no words"):
        train_tokenizer(TokenizerConfig(), strings_corpus(["\u200b"]))
