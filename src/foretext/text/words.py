"""Words with exact places in the user's string: rjieba for Chinese, one regular expression for everything else.

The rule is BERT's (google-research/bert, tokenization.py, BasicTokenizer) but that Chinese words are not cut into
characters here, and that no character is deleted:

- a word is a run of letters, digits and combining marks: "don't" is don ' t, "3.14" is 3 . 14, "snake_case" is three;
- a run of Chinese characters is cut into words by rjieba (or into characters, where the language is "en");
- every other visible character is a word by itself, together with its marks, variation selectors and skin tones;
  emoji joined by U+200D are one word, and so are the two letters of a flag;
- white space, controls and other invisible characters separate words and belong to none.
"""

import re
import unicodedata
from collections.abc import Callable
from functools import cache

from foretext.text.sentences import HAN, Language
from foretext.types import Span

_ASCII = re.compile(r"[A-Za-z0-9]+|[!-/:-@\[-`{-~]")
_SKIN = "\U0001f3fb-\U0001f3ff"
_FLAG = "\U0001f1e6-\U0001f1ff"
_JOINER = "\u200d"


@cache
def _classes() -> tuple[str, str]:
    """The insides of two character classes: combining marks, and what is invisible (Cc, Cf, Cs, Z and the like)."""
    marks, invisible = [], []
    for code in [*range(0x30000), *range(0xE0000, 0xE0200)]:
        kind = unicodedata.category(chr(code))
        if kind[0] == "M":
            marks.append(code)
        elif kind[0] == "Z" or kind in ("Cc", "Cf", "Cs"):
            invisible.append(code)
    return _ranges(marks), _ranges(invisible)


def _ranges(codes: list[int]) -> str:
    """`codes`, ascending, as the inside of a character class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)


@cache
def _pattern() -> re.Pattern[str]:
    """Group 1 matches a run of Chinese characters; otherwise the match is one word."""
    marks, invisible = _classes()
    symbol = f"[^\\s{invisible}{marks}]"
    tail = f"[{marks}{_SKIN}]*"
    return re.compile(
        f"([{HAN}]+)"
        f"|[{_FLAG}][{_FLAG}]"
        f"|[^\\W_{HAN}](?:[^\\W_{HAN}]|[{marks}])*"
        f"|{symbol}{tail}(?:{_JOINER}[^\\w\\s{invisible}{marks}]{tail})*"
        f"|[{marks}]+"
    )


@cache
def _segmenter() -> Callable[[str], list[str]]:
    """rjieba's dictionary segmenter: about 5 M characters/s, loaded (0.15 s) when the first Chinese word comes."""
    import rjieba

    cut: Callable[[str], list[str]] = rjieba.cut
    return cut


def word_spans(string: str, language: Language = "auto") -> list[Span]:
    """Characters [start, stop) of each word of `string`, in order; spans never overlap, and what lies between them is
    white space or invisible. `language` "en" takes each Chinese character as a word and loads no segmenter."""
    if string.isascii():
        return [match.span() for match in _ASCII.finditer(string)]
    spans: list[Span] = []
    for match in _pattern().finditer(string):
        start, stop = match.span()
        if match.lastindex is None or stop - start == 1:
            spans.append((start, stop))
        elif language == "en":
            spans.extend((at, at + 1) for at in range(start, stop))
        else:
            spans.extend(_chinese_words(match.group(), start))
    return spans


def _chinese_words(run: str, start: int) -> list[Span]:
    spans: list[Span] = []
    for word in _segmenter()(run):
        spans.append((start, start + len(word)))
        start = start + len(word)
    return spans
