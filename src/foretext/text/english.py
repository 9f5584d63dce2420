"""Where nupunkt starts a sentence, found at the speed of a regular expression: the same places as nupunkt's own.

nupunkt (a Punkt model; Kiss and Strunk 2006, "Unsupervised Multilingual Sentence Boundary Detection") decides at each
chunk of text between spaces that holds one of . ? ! … before white space, a quote or a bracket. Within one line its
decision depends on that chunk and the next one alone, and on nothing but the chunk where it ends in a plain word that
is no abbreviation. So only pairs of chunks are asked about, each once; what is not so simple (other white space than
spaces, spaced dots, chunks of quotes alone) is given to nupunkt whole.
"""

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, TypeAlias

_Pairs: TypeAlias = dict[tuple[str, str], tuple[int, ...]]

_CLOSERS = "'\")]}\u201d\u2019\u00bb*"
"""What may trail the end of a sentence and belongs to it."""
MOST_PAIRS = 1 << 16
"""Decisions remembered (about 250 bytes each); then all are forgotten and the common ones soon return."""
LONGEST_REMEMBERED = 64
"""Characters of a chunk, or of a pair, that is worth remembering."""
LONG_CHUNK = 512
"""From this many characters on a chunk is no word with its marks: no sentence starts inside it."""

_EDGE = 64
"""So many characters at a long chunk's end tell whether a sentence ends with it; as many at its start, whether one
starts there."""
_LONG_RUN_FROM = 256
_LONG_RUN = re.compile(f"[!?.]{{{_LONG_RUN_FROM},}}+")
_LONG_CHUNK = re.compile(f"\\S{{{LONG_CHUNK},}}+")
_MARK = re.compile("[.?!\u2026]")
_LONG_GAP = re.compile(r"\s{16,}+")

_CANDIDATE = re.compile("[.?!\u2026](?=[\\s)\";}\\]*:@({[?!\u201d\u00bb]|['\u2019](?![^\\W\\d_]))")
_WORD = re.compile("[\"(\\[]*([^\\W\\d_]+(?:[-'\u2019][^\\W\\d_]+)*)\\.")
_TO_ITS_NEIGHBOURS = re.compile(f"[.?!\u2026]|[{re.escape(_CLOSERS)}]+(?:--|$)")
_QUOTES = frozenset("'\"")
_OPENING = frozenset("([\u201c\u2018")
_BRACKETS = frozenset(")]}\"\u201d\u00bb")


def sentence_starts(paragraph: str) -> list[int]:
    """Where every sentence of `paragraph` but the first starts, ascending: the starts of nupunkt's spans."""
    splitter = _splitter()
    found = splitter.starts(paragraph) if paragraph.isprintable() and paragraph[:1] != " " else None
    return splitter.whole(paragraph) if found is None else found


class Splitter:
    """nupunkt's `spans` with its parameters. `ends[chunk]`: whether a sentence ends after the chunk, whatever comes
    next; `pairs[chunk, next chunk]`: where sentences start, in characters from the chunk's start."""

    def __init__(self, spans: Callable[[str], list[tuple[int, int]]], parameters: Any) -> None:
        self._spans = spans
        self.ends = _Ends(parameters)
        self._pairs: _Pairs = {}
        self._heads: _Pairs = {}

    def whole(self, paragraph: str) -> list[int]:
        """nupunkt's own answer, but for what it would take hours over (`_shown`)."""
        return [start for start, _ in self._spans(_shown(paragraph))][1:]

    def starts(self, paragraph: str) -> list[int] | None:
        """The same for a paragraph whose only white space is spaces, none of them first; None: it must be asked whole.

        nupunkt passes a run of candidates in one chunk off as one, so a chunk is looked at once, at its first."""
        found: list[int] = []
        ends, done, size = self.ends, 0, len(paragraph)
        for match in _CANDIDATE.finditer(paragraph):
            at = match.start()
            if at < done:
                continue
            first = paragraph.rfind(" ", done, at) + 1
            done = paragraph.find(" ", at)
            if done < 0:
                done = size
            chunk = paragraph[first:done]
            after = done + 1
            if 0 < first < at and after < size and done - first < LONG_CHUNK:
                head = paragraph[after]
                stem = chunk if at + 1 == done else chunk.rstrip(_CLOSERS)
                if first + len(stem) == at + 1:  # the candidate is the last character, but for what closes
                    if head.islower() and stem is not chunk:
                        continue  # "Is it?" he asked.
                    opens = head in _OPENING or (head in _QUOTES and paragraph[after + 1 : after + 2].isalnum())
                    if (opens or head.isalnum()) and ends[stem]:
                        found.append(after)
                        continue
            while after < size and paragraph[after] == " ":
                after += 1
            stop = paragraph.find(" ", after)
            following = paragraph[after : stop if stop > 0 else size]
            if first == at or _TO_ITS_NEIGHBOURS.match(following):
                return None
            following = f" {following}" if done < size else ""
            for start in self._pair(chunk, following) if first else self._head(chunk, following):
                found.append(first + start if start <= len(chunk) else after)
        return found

    def _pair(self, chunk: str, following: str) -> tuple[int, ...]:
        if chunk[-1] == "." and chunk[:-1].isdecimal():
            chunk = f"{'0' * (len(chunk) - 1)}."  # numbers are all alike to it
        # A chunk is another matter where a line starts: "1. …"
        return self._answer(self._pairs, "x ", chunk, following)

    def _head(self, chunk: str, following: str) -> tuple[int, ...]:
        return self._answer(self._heads, "", chunk, following)

    def _answer(self, known: _Pairs, before: str, chunk: str, following: str) -> tuple[int, ...]:
        """nupunkt's starts in `chunk` or right after it, in characters from its start, where `before` is before it."""
        answer = known.get((chunk, following))
        if answer is None:
            starts = (start - len(before) for start in self.whole(f"{before}{chunk}{following}"))
            answer = tuple(start for start in starts if start <= len(chunk) + 1)
            if len(chunk) + len(following) <= LONGEST_REMEMBERED:
                if len(known) >= MOST_PAIRS:
                    known.clear()
                known[chunk, following] = answer
        return answer


def _shown(paragraph: str) -> str:
    """The paragraph as nupunkt is shown it, place by place. Its time is quadratic in a run of marks (64 K of "!" took
    it 5 s), in the marks of one chunk and in a run of line feeds: a long run of marks is shown as a word that ends in
    the last of them, a long chunk as a word with the same edges, a long gap that ends a paragraph as two line feeds and
    spaces."""
    if "\n" in paragraph:
        paragraph = _LONG_GAP.sub(_short_break, paragraph)
    if len(paragraph) < _LONG_RUN_FROM:
        return paragraph
    paragraph = _LONG_RUN.sub(lambda run: "a" * (len(run[0]) - 1) + run[0][-1], paragraph)
    return _LONG_CHUNK.sub(_long_word, paragraph)


def _long_word(found: re.Match[str]) -> str:
    chunk = found[0]
    return _MARK.sub("a", chunk[:_EDGE]) + "a" * (len(chunk) - 2 * _EDGE) + chunk[-_EDGE:]


def _short_break(gap: re.Match[str]) -> str:
    return "\n\n" + " " * (len(gap[0]) - 2) if gap[0].count("\n") > 1 else gap[0]


class _Ends(dict[str, bool]):
    """Filled as chunks are met: a question or exclamation mark, or a full stop after a closing bracket or quote, or
    after a word that is no abbreviation, no initial and in no collocation."""

    def __init__(self, parameters: Any) -> None:
        super().__init__()
        self._abbreviations: frozenset[str] = frozenset(parameters.abbrev_types)
        self._collocated = {first for first, _ in parameters.collocations}

    def __missing__(self, chunk: str) -> bool:
        ends = self._ends(chunk)
        if len(chunk) <= LONGEST_REMEMBERED:
            if len(self) >= MOST_PAIRS:
                self.clear()
            self[chunk] = ends
        return ends

    def _ends(self, chunk: str) -> bool:
        if chunk[-1] in "?!":
            return True
        if chunk[-1] != ".":
            return False
        if chunk[-2] in _BRACKETS:
            return "." not in self._collocated
        word = _WORD.fullmatch(chunk)
        if word is None or len(word[1]) < 2:
            return False
        return all(form not in self._abbreviations and form not in self._collocated for form in _forms(word[1]))


def _forms(word: str) -> Iterator[str]:
    for lower in (word.lower(), f"{word}.".lower()[:-1]):  # a sigma's small form depends on what follows
        yield lower
        yield lower.rsplit("-", 1)[-1]


@cache
def _splitter() -> Splitter:
    """With nupunkt's shipped model, which loads (10 ms) at first use."""
    import nupunkt

    return Splitter(nupunkt.sentence_spans, nupunkt.load("default").parameters)
