"""Sentences: nothing lost, boundaries where a reader sees them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.text.sentences import Language, language_of, split_sentences

ANY = st.text(max_size=60) | st.text(alphabet="aB. !?\"'。！？…；”’」），：\n\u3000你好", max_size=60)


@settings(deadline=None, max_examples=300)
@given(ANY, st.sampled_from(["auto", "en", "zh"]))
def test_sentences_concatenate_to_the_paragraph(paragraph: str, language: Language) -> None:
    sentences = split_sentences(paragraph, language)
    assert "".join(sentences) == paragraph
    assert all(sentences)
    assert not any(not sentence.strip() for sentence in sentences) or len(sentences) == 1


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("Mr. Smith went to Washington. He stayed.", ["Mr. Smith went to Washington. ", "He stayed."]),
        ('"Really?" he said.  Yes. It cost 3.5 percent.', ['"Really?" he said.  ', "Yes. ", "It cost 3.5 percent."]),
        ("One line", ["One line"]),
        ("Café closed. 😀 Then 𝔘nicode.", ["Café closed. ", "😀 Then 𝔘nicode."]),
    ],
)
def test_english(paragraph: str, expected: list[str]) -> None:
    assert split_sentences(paragraph) == expected


@pytest.mark.parametrize(
    ("paragraph", "expected"),
    [
        ("今天天气好。我们走吧！去哪儿？", ["今天天气好。", "我们走吧！", "去哪儿？"]),
        ("他说：“好！”然后走了。", ["他说：“好！”", "然后走了。"]),
        ("“好！”，他说。我走了。", ["“好！”，他说。", "我走了。"]),
        ("天黑了……他没回来；我等。", ["天黑了……", "他没回来；", "我等。"]),
        ('他说。"你好。"她答。', ["他说。", '"你好。"', "她答。"]),
        ("（完。）下一章。\u3000\u3000开始。", ["（完。）", "下一章。\u3000\u3000", "开始。"]),
        ("价格是3.5元。OK! 好", ["价格是3.5元。", "OK! ", "好"]),
    ],
)
def test_chinese(paragraph: str, expected: list[str]) -> None:
    assert split_sentences(paragraph) == expected


def test_the_script_decides_the_language() -> None:
    assert language_of("The word 中文 means Chinese.") == "en"
    assert language_of("他在 Google 工作。") == "zh"
    assert language_of("") == "en"
    assert split_sentences("It says 你好。再见。 Then it ends. Yes.") == [
        "It says 你好。",
        "再见。 ",
        "Then it ends. ",
        "Yes.",
    ]
    assert split_sentences("这是。那是。", "en") == ["这是。", "那是。"]
