"""Sentences of one paragraph, English and Chinese. Nothing is lost: the sentences concatenate back to the paragraph.

English (and every other script that puts spaces between words) is cut by nupunkt, a Punkt model with its shipped
abbreviation list (`english`). Chinese is cut by one rule: after a run of 。！？…；!? and
the closing quotes and brackets that follow it, unless a comma, colon or semicolon comes next (“好！”，他说).
"""

import re
from typing import Literal, TypeAlias

from foretext.text.english import sentence_starts

Language: TypeAlias = Literal["auto", "en", "zh"]

HAN = "\u3005\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f\U00030000-\U000323af"
"""The inside of a character class: Chinese characters (with 々 and 〇), all planes."""

_HAN = re.compile(f"[{HAN}]")
_LATIN_RUN = re.compile(f"[^\\W\\d_{HAN}]+")
_CHINESE_END = re.compile("(?<![。！？｡…；!?])[。！？｡…；!?]++([”’」』）】》〉〕］\"')\\]]*+)(?![，、：；,:;。！？])\\s*")
_VISIBLE = re.compile(r"\w")
_ENDS_IN_CHINESE = re.compile("[。！？｡]")


def language_of(string: str) -> Literal["en", "zh"]:
    """The script decides: "zh" where there are at least as many Chinese characters as words of other scripts.

    A Chinese text that quotes a few English names stays Chinese; an English text that quotes a Chinese name stays
    English.
    """
    if string.isascii() or _HAN.search(string) is None:
        return "en"
    chinese = len(_HAN.findall(string))
    return "zh" if chinese >= len(_LATIN_RUN.findall(string)) else "en"


def split_sentences(paragraph: str, language: Language = "auto") -> list[str]:
    """The sentences of `paragraph` in order, each with the white space that follows it.

    `"".join(split_sentences(p)) == p` for every string; no sentence is empty, and only an all-blank paragraph gives a
    blank sentence. In Chinese, punctuation without a word joins its neighbour.
    """
    if not paragraph:
        return []
    if (language_of(paragraph) if language == "auto" else language) == "zh":
        return _chinese(paragraph)
    sentences = _spaced(paragraph)
    if not paragraph.isascii() and _ENDS_IN_CHINESE.search(paragraph):
        return [piece for sentence in sentences for piece in _chinese(sentence)]
    return sentences


def _spaced(paragraph: str) -> list[str]:
    """nupunkt's sentences, cut at their starts, so that white space between two belongs to the first."""
    starts = sentence_starts(paragraph)
    if not starts:
        return [paragraph]
    return [paragraph[start:stop] for start, stop in zip([0, *starts], [*starts, len(paragraph)], strict=True)]


def _chinese(paragraph: str) -> list[str]:
    sentences: list[str] = []
    start = 0
    for match in _CHINESE_END.finditer(paragraph):
        stop = match.end()
        quote = match.group(1).find('"')
        if quote >= 0 and paragraph.count('"', start, match.start()) % 2 == 0:
            stop = match.start(1) + quote  # a straight quote that opens belongs to the next sentence
        if _VISIBLE.search(paragraph, start, stop):
            sentences.append(paragraph[start:stop])
            start = stop
    rest = paragraph[start:]
    if _VISIBLE.search(rest) or not sentences:
        sentences.append(rest)
    else:
        sentences[-1] += rest
    return sentences
