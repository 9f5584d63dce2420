"""From a string to chunks, and from a chunk to words: all that happens before a vocabulary is looked at.

A *chunk* is a stretch of text whose tokens depend on nothing outside it, so they can be remembered. A *word* is what a
vocabulary spells. Neither the fast path nor the exact one knows more than this file says, so they cannot disagree.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import NamedTuple

from foretext.text.sentences import HAN
from foretext.text.tokenizers import bert
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.text.tokenizers.folding import MARKS, Folding, align, is_punctuation
from foretext.text.words import word_spans

SPACE = "▁"
"""What stands for white space before a word in a unigram piece (Kudo and Richardson 2018)."""
_HAN = re.compile(f"[{HAN}]")
_CHARACTER = re.compile(f"[{HAN}][{MARKS}]*")
_ASCII_MARKS = re.compile("[^!-/:-@\\[-`{-~]+|[!-/:-@\\[-`{-~]")


class Word(NamedTuple):
    """A word as the vocabulary sees it. `starts`, `stops`: the place of each of its characters in the chunk. `begins`:
    it starts a whole word (a Chinese character inside rjieba's word does not)."""

    string: str
    starts: Sequence[int]
    stops: Sequence[int]
    begins: bool = True


class Splitter:
    """The rules of one configuration. Deterministic; holds no text."""

    def __init__(self, config: TokenizerConfig) -> None:
        self.config = config
        self.spaced = config.kind in ("bpe", "unigram")
        """Whether pieces show the white space before them."""
        self.segmented = _segmented(config)
        as_bert = config.folding == "bert"
        self.folding = bert.bert_folding(config.lowercase, config.strip_accents) if as_bert else Folding(
            lowercase=config.lowercase,
            strip_accents=config.strip_accents,
            keep_invisible=config.kind == "bpe",
            reserved=SPACE if config.kind == "unigram" else "",
        )
        self.han = re.compile(f"[{bert.HAN}]") if as_bert else _HAN
        self.is_punctuation = bert.is_punctuation if as_bert else is_punctuation
        self._unfolded = config.kind == "spaces" and not config.lowercase and not as_bert
        self._pattern = re.compile(_pattern(config))
        self._find: Callable[[str], list[str]] = self._pattern.findall
        self._split = _SPLITS[config.kind]

    def __reduce__(self) -> tuple[object, ...]:
        return Splitter, (self.config,)

    def chunks(self, string: str) -> list[str]:
        """The chunks of `string` in order; white space between them is left out unless pieces show it."""
        if self.config.kind == "unigram":
            string = f" {string}"  # a word at the start looks like one after a space
        plain = string.isascii() or self.han.search(string) is None
        if plain and not self.spaced and (self.config.folding == "character" or string.isprintable()):
            # What the pattern finds, at a third of the cost. BERT knows less white space, but the same among what is
            # printable: the space.
            return string.split()
        found = self._find(string)
        if not self.segmented or plain:
            return found
        return [part for chunk in found for part in self._segment(chunk)]

    def places(self, string: str, start: int = 0, stop: int | None = None) -> list[tuple[int, str]]:
        """The chunks of `string[start:stop]`, each with where in `string` it begins (−1: a space that is only thought
        of). The same chunks as `chunks(string[start:stop])`, but that a given word knows the white space before it."""
        stop = len(string) if stop is None else stop
        if self.spaced and start > 0 and start < stop:
            if self.config.kind == "bpe" and string[start - 1] == " ":
                return self._located(string[start - 1 : stop], start - 1)
            if self.config.kind == "unigram" and not string[start - 1].isspace():
                return self._located(string[start:stop], start)
        if self.config.kind == "unigram":
            return self._located(f" {string[start:stop]}", start - 1)
        return self._located(string[start:stop], start)

    def _located(self, string: str, shift: int) -> list[tuple[int, str]]:
        located = []
        for match in self._pattern.finditer(string):
            at = match.start() + shift
            for part in self._segment(match.group()) if self.segmented else (match.group(),):
                located.append((at, part))
                at += len(part)
        return located

    def words(self, chunk: str) -> list[Word]:
        """The words of one chunk, folded, with the places of their characters in the chunk."""
        return self._split(self, chunk)

    def strings(self, chunk: str) -> list[str]:
        """The strings of `words(chunk)`."""
        whole = self.whole_words(chunk)
        return [word.string for word in self.words(chunk)] if whole is None else whole

    def as_it_is(self, chunk: str) -> bool:
        """Whether it is seen at once that `strings(chunk)` is the chunk itself, as almost every time where nothing is folded."""
        return self._unfolded and chunk.isascii() and chunk.isprintable()

    def whole_words(self, chunk: str) -> list[str] | None:
        """The strings of `words(chunk)` where that is quickly said and each begins a whole word; else None."""
        spaces = self.config.kind == "spaces"
        if not spaces and (self.config.kind != "wordpiece" or not (chunk.isascii() or self.han.search(chunk) is None)):
            return None
        string = self.folding.fold(chunk)
        if self.folding.leading_marks and len(string) < len(chunk):
            return None  # marks were dropped: `align` knows which may be
        if spaces:
            return [string] if string else []
        return [string] if string.isalnum() else self.marks(string).findall(string)

    def marks(self, string: str) -> re.Pattern[str]:
        """The pattern of `string`'s pieces: punctuation characters, and what is between them."""
        return _ASCII_MARKS if string.isascii() else _all_marks(self.is_punctuation)

    def whole(self, chunk: str) -> Word:
        """The chunk as one word."""
        return Word(*align(chunk, self.folding))

    def _segment(self, chunk: str) -> list[str]:
        """A run of Chinese characters as rjieba's words, the white space before it kept on the first."""
        run = chunk.lstrip() if self.spaced else chunk
        if self.han.match(run) is None or len(run) == 1:
            return [chunk]
        parts: list[str] = []
        for part in _segmenter()(run):
            if parts and _HAN.match(part) is None:  # a mark stays with its character
                parts[-1] += part
            else:
                parts.append(part)
        parts[0] = chunk[: len(chunk) - len(run)] + parts[0]
        return parts


@cache
def _segmenter() -> Callable[[str], Iterable[str]]:
    import rjieba

    cut: Callable[[str], Iterable[str]] = rjieba.cut
    return cut


def _segmented(config: TokenizerConfig) -> bool:
    if config.kind == "spaces":
        return False
    if config.kind == "words":
        return True
    if config.chinese == "words":
        return True
    by_character = config.kind == "characters" or config.chinese == "characters"
    return by_character and config.whole_words == "segmented"


def _pattern(config: TokenizerConfig) -> str:
    if config.kind == "spaces":
        return "\\S+"
    if config.folding == "bert":
        if config.chinese == "plain":
            return f"[^{bert.SPACE}]+"
        return f"[{bert.HAN}]{'+' if _segmented(config) else ''}|[^{bert.SPACE}{bert.HAN}]+"
    plain = config.chinese == "plain" and config.kind not in ("words", "characters")
    han = "" if plain else HAN
    run = f"[{HAN}][{HAN}{MARKS}]*" if _segmented(config) else f"[{HAN}][{MARKS}]*"
    if config.kind == "bpe":
        # GPT-2's cut (Radford et al. 2019, encoder.py) with Python's classes: contractions, letters (here with their
        # combining marks), digits, the rest, each with one space before it; other white space by itself.
        letters, rest = f" ?[^\\W\\d_{han}](?:[^\\W\\d_{han}]|[{MARKS}])*", f" ?(?:[^\\s\\w{han}]|_)+"
        chinese = f"| ?{run}" if han else ""
        return f"'(?:[sdmt]|ll|ve|re){chinese}|{letters}| ?\\d+|{rest}|\\s+(?!\\S)|\\s+"
    if config.kind == "unigram":
        return f"\\s*{run}|\\s*[^\\s{han}]+" if han else "\\s*\\S+"
    return f"{run}|[^\\s{han}]+" if han else "\\S+"


@cache
def _all_marks(is_punctuation: Callable[[str], bool]) -> re.Pattern[str]:
    marks = "".join(re.escape(chr(code)) for code in range(0x20000) if is_punctuation(chr(code)))
    return re.compile(f"[^{marks}]+|[{marks}]")


def _at_punctuation(splitter: Splitter, chunk: str) -> list[Word]:
    """BERT's words: punctuation characters stand alone, everything between them holds together."""
    string, starts, stops = align(chunk, splitter.folding)
    if splitter.config.chinese == "characters" and splitter.han.match(chunk):
        return _one_by_one(string, starts, stops)
    if string.isalnum():
        return [Word(string, starts, stops)]
    cuts = (match.span() for match in splitter.marks(string).finditer(string))
    return [Word(string[first:last], starts[first:last], stops[first:last]) for first, last in cuts]


def _one_by_one(string: str, starts: Sequence[int], stops: Sequence[int]) -> list[Word]:
    """Characters as words; only the first begins a whole word."""
    return [Word(string[at], starts[at : at + 1], stops[at : at + 1], at == 0) for at in range(len(string))]


def _as_word_spans(splitter: Splitter, chunk: str) -> list[Word]:
    """The words of `text.words`; a Chinese chunk is one word already."""
    if _HAN.match(chunk):
        return [splitter.whole(chunk)]
    words = []
    for start, stop in word_spans(chunk):
        string, starts, stops = align(chunk[start:stop], splitter.folding)
        if string:
            words.append(Word(string, [start + at for at in starts], [start + at for at in stops]))
    return words


def _as_given(splitter: Splitter, chunk: str) -> list[Word]:
    """What stands between white space, as one word; nothing where it is all invisible."""
    word = splitter.whole(chunk)
    return [word] if word.string else []


def _as_characters(splitter: Splitter, chunk: str) -> list[Word]:
    return [letter for word in _as_word_spans(splitter, chunk) for letter in _one_by_one(*word[:3])]


def _as_bytes(splitter: Splitter, chunk: str) -> list[Word]:
    """The whole chunk, its space too; under `chinese="characters"` each Chinese character by itself."""
    if splitter.config.chinese != "characters" or _HAN.search(chunk) is None:
        return [splitter.whole(chunk)]
    words = []
    start = 0
    for match in _CHARACTER.finditer(chunk):
        string, starts, stops = align(chunk[start : match.end()], splitter.folding)
        words.append(Word(string, [start + at for at in starts], [start + at for at in stops], start == 0))
        start = match.end()
    return words


def _after_spaces(splitter: Splitter, chunk: str) -> list[Word]:
    """BERT's words; the first carries the sign of the white space before it."""
    body = chunk.lstrip()
    lead = len(chunk) - len(body)
    words = [
        Word(word.string, [lead + at for at in word.starts], [lead + at for at in word.stops], word.begins)
        for word in _at_punctuation(splitter, body)
    ]
    if lead and words:
        first = words[0]
        words[0] = Word(SPACE + first.string, [0, *first.starts], [lead, *first.stops], first.begins)
    return words


_SPLITS: dict[str, Callable[[Splitter, str], list[Word]]] = {
    "words": _as_word_spans,
    "spaces": _as_given,
    "characters": _as_characters,
    "wordpiece": _at_punctuation,
    "bpe": _as_bytes,
    "unigram": _after_spaces,
}
