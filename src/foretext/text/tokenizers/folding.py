"""Normalisation that keeps every offset exact: each character becomes one character, or nothing.

Lower-casing and the stripping of accents follow BERT's BasicTokenizer (google-research/bert, tokenization.py), but
character by character, where BERT maps whole strings. They differ in three places, so that no character ever becomes
two: Hangul stays composed, "İ" is "i", and a capital sigma is "σ" at the end of a word too.
"""

import unicodedata
from collections.abc import Sequence

VARIATION = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
"""The inside of a character class: variation selectors, which choose a glyph and are never a character of their own."""
MARKS = "\u0300-\u036f\u3099\u309a" + VARIATION


class Folding(dict[int, str | None]):
    """A table for `str.translate`, filled as characters are met: code point → its one character, None = dropped."""

    leading_marks = True
    """A dropped mark that has no character before it is kept as it is."""
    expands = False
    """A character may become several."""

    def __init__(
        self, *, lowercase: bool, strip_accents: bool, keep_invisible: bool = False, reserved: str = ""
    ) -> None:
        super().__init__()
        self.lowercase = lowercase
        self.strip_accents = strip_accents
        self.keep_invisible = keep_invisible
        self.reserved = reserved
        """A character that pieces use as a sign; in a text it becomes "_"."""

    def __missing__(self, code: int) -> str | None:
        self[code] = folded = self._fold(chr(code))
        return folded

    def fold(self, string: str) -> str:
        """`string` with each character folded, or dropped."""
        if string.isascii() and string.isprintable():
            return string.lower() if self.lowercase else string
        return string.translate(self)

    def __reduce__(self) -> tuple[object, ...]:
        return _folding, (self.lowercase, self.strip_accents, self.keep_invisible, self.reserved)

    def _fold(self, character: str) -> str | None:
        if character == self.reserved:
            return "_"
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cf") and not self.keep_invisible and not character.isspace():
            return None
        if _is_variation(character) and not self.keep_invisible:
            return None
        if self.strip_accents:
            if kind == "Mn":
                return None
            character = _without_accent(character)
        if self.lowercase:
            lower = character.lower()
            # Only "İ" becomes two characters, i and a combining dot.
            character = lower if len(lower) == 1 else lower[0]
        return character


def _folding(lowercase: bool, strip_accents: bool, keep_invisible: bool, reserved: str) -> Folding:
    return Folding(lowercase=lowercase, strip_accents=strip_accents, keep_invisible=keep_invisible, reserved=reserved)


def _is_variation(character: str) -> bool:
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def _without_accent(character: str) -> str:
    parts = unicodedata.normalize("NFD", character)
    base = "".join(part for part in parts if unicodedata.category(part) != "Mn")
    if base == parts:
        composed = unicodedata.normalize("NFC", character)
        return composed if len(composed) == 1 else character
    return base if len(base) == 1 else character


def align(string: str, folding: Folding) -> tuple[str, Sequence[int], Sequence[int]]:
    """`string` folded, and for each character of the result the place [start, stop) it stands for.

    A dropped mark belongs to the character before it; one that has none before it is kept as it is.
    """
    if string.isascii() or not folding.expands:
        whole = folding.fold(string)
        if len(whole) == len(string):  # nothing was dropped
            return whole, range(len(string)), range(1, len(string) + 1)
    folded: list[str] = []
    starts: list[int] = []
    stops: list[int] = []
    for at, character in enumerate(string):
        new = folding[ord(character)]
        if new is None:
            if unicodedata.category(character) != "Mn":
                continue
            if folded and not folded[-1].isspace():
                stops[-1] = at + 1
                continue
            if not folding.leading_marks:
                continue
            new = character
        folded += new  # one character, but for BERT's decomposition
        starts += [at] * len(new)
        stops += [at + 1] * len(new)
    return "".join(folded), starts, stops


def is_punctuation(character: str) -> bool:
    """BERT's rule: every ASCII character that is no letter, digit, space or control, and Unicode category P*."""
    code = ord(character)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return unicodedata.category(character).startswith("P")
