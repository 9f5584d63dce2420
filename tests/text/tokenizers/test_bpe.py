"""Byte-level BPE and unigram pieces against independent implementations."""

import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer
from foretext.text.tokenizers.spelling import Unigram, byte_letters
from foretext.text.tokenizers.unigram import learn_model
from foretext.types import Text

DOCUMENTS = [
    "The cats sat on the mat, unaffable; the cat's hat isn't here! Café owners don't care about 3.14 or $5.",
    "我来到北京清华大学。今天天气不错，我们去公园。ABC公司 的员工12人。",
] * 3


def plain() -> ChunkTokenizer:
    if not _made:
        config = TokenizerConfig(
            kind="bpe", size=400, lowercase=False, strip_accents=False, chinese="plain", special=("<s>",)
        )
        _made.append(train_tokenizer(config, strings_corpus(DOCUMENTS)))
    return _made[0]


_made: list[ChunkTokenizer] = []


@settings(max_examples=150, deadline=None)
@given(string=st.text(alphabet="thecasmofrun THECA 北京大学天公é🦄.,!'-$“。，\t\n 59", max_size=40))
def test_ids_are_those_of_hugging_face(string: str) -> None:
    made = plain()
    pieces = {piece: number for number, piece in enumerate(made.pieces)}
    theirs = Tokenizer(models.BPE(pieces, list(made.spelling.merges)))  # type: ignore[attr-defined]
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    expected = theirs.encode(string).ids
    encoding = made.encode([Text(string=string)])[0]
    assert encoding.ids.tolist() == expected
    assert made.decode(expected) == string


def test_the_alphabet_is_gpt2s() -> None:
    """encoder.py of openai/gpt-2, bytes_to_unicode: "!" is itself, a space is Ġ, a line end is Ċ, no letter twice."""
    letters = byte_letters()
    assert (letters[ord("!")], letters[ord(" ")], letters[ord("\n")], letters[173]) == ("!", "Ġ", "Ċ", "Ń")
    assert len(set(letters)) == 256
    assert not any(letter.isspace() for letter in letters)


def test_spaces_belong_to_the_word_after() -> None:
    encoding = plain().encode([Text(string="the cat  sat")])[0]
    first = [plain().pieces[encoding.ids[encoding.word == word][0]][0] for word in range(4)]
    assert first == ["t", "Ġ", "Ġ", "Ġ"]
    places = encoding.offsets[encoding.word == 1]
    assert (places[0][0], places[-1][1]) == (4, 7)


def test_ids_that_spell_no_text_still_decode() -> None:
    made = plain()
    number = list(made.pieces).index(byte_letters()[0xE5])
    assert made.decode([number]) == "\ufffd"


WORDS = {
    "▁the": 50,
    "▁cats": 9,
    "▁cat": 30,
    "▁sat": 20,
    "▁mat": 12,
    "s": 8,
    "▁caters": 5,
    "▁rates": 4,
    "北京": 9,
    "大学": 7,
    "北京大学": 3,
}


@settings(max_examples=100, deadline=None)
@given(word=st.text(alphabet="▁thecasmr北京大学", min_size=1, max_size=12))
def test_cuts_are_as_probable_as_sentencepieces(word: str) -> None:
    if "model" not in _unigram:
        model = learn_model(list(WORDS.items()), 40, 1.0)
        _unigram["model"] = sentencepiece.SentencePieceProcessor(model_proto=model)
    model = _unigram["model"]
    pieces = [model.id_to_piece(number) for number in range(model.get_piece_size())]
    scores = [model.get_score(number) for number in range(model.get_piece_size())]
    ours = [number for number, _, _ in Unigram(pieces, scores, range(3), 0).spell(word)]
    theirs = model.encode(word)
    assert "".join(pieces[number] for number in ours) == word
    assert sum(scores[n] for n in ours) >= sum(scores[n] for n in theirs) - 1e-4


_unigram: dict[str, object] = {}  # type: ignore[type-arg]


def test_unigram_learns_words_and_keeps_to_its_size() -> None:
    made = train_tokenizer(TokenizerConfig(kind="unigram", size=60), strings_corpus(DOCUMENTS * 5))
    assert made.size <= 60
    assert made.pieces[:5] == [*made.special]
    assert made.decode(made.encode([Text(string="The cats,  the mat")])[0].ids.tolist()) == "the cats, the mat"
