"""How `neighbors` reads its query: a sentence with one word in brackets.

Brackets are [ ] or 【 】. A backslash before a bracket or a backslash makes it an ordinary character.
"""

from dataclasses import dataclass

from foretext.errors import UsageError
from foretext.types import Span

_CLOSING = {"[": "]", "【": "】"}
_MARKS = frozenset("[]【】")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The sentence without its brackets, and the characters that stood in them; None where there were none."""

    string: str
    marked: Span | None

    @property
    def word(self) -> str:
        """The word asked about; the whole query where nothing is marked."""
        return self.string if self.marked is None else self.string[slice(*self.marked)]

    @property
    def shown(self) -> str:
        """The sentence with its word in brackets again."""
        return self.string if self.marked is None else highlighted(self.string, self.marked)


def parse_query(query: str) -> Query:
    """UsageError unless brackets pair, are not empty, and mark at most one word."""
    characters: list[str] = []
    opened, marked, close = -1, None, ""
    at = 0
    while at < len(query):
        character = query[at]
        if character == "\\" and query[at + 1 : at + 2] in ("\\", *_MARKS):
            at += 1
            characters.append(query[at])
        elif character in _CLOSING and opened < 0 and marked is None:
            opened, close = len(characters), _CLOSING[character]
        elif character == close and opened >= 0:
            marked, opened = _trimmed(characters, opened), -1
        elif character in _MARKS:
            raise _wrong(query)
        else:
            characters.append(character)
        at += 1
    if opened >= 0 or (marked is not None and marked[0] == marked[1]):
        raise _wrong(query)
    return Query(string="".join(characters), marked=marked)


def _trimmed(characters: list[str], start: int) -> Span:
    """The marked characters without white space around them."""
    stop = len(characters)
    while start < stop and characters[start].isspace():
        start += 1
    while stop > start and characters[stop - 1].isspace():
        stop -= 1
    return start, stop


def _wrong(query: str) -> UsageError:
    return UsageError(
        f"expected one word in brackets, found {query!r}",
        remedy="write the sentence with one [word] or 【词】; \\[ and \\] stand for brackets themselves",
    )


def highlighted(string: str, span: Span, around: int | None = None) -> str:
    """`string` on one line with `span` in brackets; with `around`, at most so many characters to each side."""
    start, stop = span
    first = 0 if around is None else max(0, start - around)
    last = len(string) if around is None else min(len(string), stop + around)
    before, after = ("…" if first > 0 else ""), ("…" if last < len(string) else "")
    return " ".join(f"{before}{string[first:start]}[{string[start:stop]}]{string[stop:last]}{after}".split())
