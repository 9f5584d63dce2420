"""Words: exact places, nothing visible lost."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text.sentences import Language
from foretext.text.words import word_spans

INVISIBLE = ("Cc", "Cf", "Cs", "Zs", "Zl", "Zp")


@settings(deadline=None, max_examples=300)
@given(
    st.text(max_size=40) | st.text(alphabet="ab'1_. 中文𠀀é\u0301😀\u200d\ufe0f🏽🇨🇳\u200b\x00", max_size=40),
    st.sampled_from(["auto", "en", "zh"]),
)
def test_spans_cover_every_visible_character_once(string: str, language: Language) -> None:
    spans = word_spans(string, language)
    covered = [place for start, stop in spans for place in range(start, stop)]
    assert covered == sorted(set(covered))
    assert all(start < stop for start, stop in spans)
    outside = set(range(len(string))) - set(covered)
    assert all(string[at].isspace() or unicodedata.category(string[at]) in INVISIBLE for at in outside)
    assert all(not string[at].isspace() for at in covered)


@pytest.mark.parametrize(
    ("string", "words"),
    [
        ("Don't stop—now! 3.14", ["Don", "'", "t", "stop", "—", "now", "!", "3", ".", "14"]),
        ("snake_case a-b", ["snake", "_", "case", "a", "-", "b"]),
        ("cafe\u0301 naïve नमस्ते", ["cafe\u0301", "naïve", "नमस्ते"]),
        ("👍🏽❤\ufe0f 👨\u200d👩\u200d👧 🇨🇳🇫🇷", ["👍🏽", "❤\ufe0f", "👨\u200d👩\u200d👧", "🇨🇳", "🇫🇷"]),
        ("我爱北京天安门，T恤。", ["我", "爱", "北京", "天安门", "，", "T", "恤", "。"]),
        ("a\u200bb\x00c\ufeffd", ["a", "b", "c", "d"]),
        ("𝔘nder 𠀀", ["𝔘nder", "𠀀"]),
        (" \n\t", []),
    ],
)
def test_words(string: str, words: list[str]) -> None:
    assert [string[start:stop] for start, stop in word_spans(string)] == words


def test_english_rules_take_chinese_characters_one_by_one() -> None:
    string = "我爱北京 ok"
    assert [string[a:b] for a, b in word_spans(string, "en")] == ["我", "爱", "北", "京", "ok"]
    assert [string[a:b] for a, b in word_spans(string, "zh")] == ["我", "爱", "北京", "ok"]
