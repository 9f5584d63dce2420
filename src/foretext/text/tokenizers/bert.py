"""BERT's own folding and cutting, to the letter, for imported vocabularies: the ids are those of `tokenizers`'
BertNormalizer and BertPreTokenizer (and so of transformers' BertTokenizer), for every string without special tokens.

Where it differs from `folding.py`: accents are stripped after a full decomposition, so Hangul falls apart into its
letters; a mark with nothing before it is dropped; U+FFFD, private use and controls (all but tab, LF, CR) are dropped,
and what stood around them holds together; the Chinese blocks are those that BERT's code lists (no 々, 〇, nothing after
extension E). Its tables of marks, punctuation and format characters are those of Unicode 8: what came later is a
letter to it. A letter may become several; each then stands for the place of that one letter.

Source: google-research/bert, tokenization.py (BasicTokenizer); huggingface/tokenizers 0.23, normalizers/bert.rs. The
lists below were found by asking tokenizers 0.23 about every code point.
"""

import unicodedata
from functools import cache

from foretext.text.tokenizers.folding import Folding

HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002b81f\U0002b920-\U0002ceaf\U0002f800-\U0002fa1f"
"""The inside of a character class: what stands alone as a Chinese character."""
SPACE = " \t\n\r\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""The inside of a character class: what separates words. Other controls are dropped, and separate nothing."""
_SEPARATORS = frozenset("\t\n\r")
_WAS_PUNCTUATION = frozenset("\u166d\U000111c9")
_WAS_MARK = frozenset("\u1734")
_NEWER = (
    "61D 7FD 890-891 898-89F 8CA-8E2 9FD-9FE A76 AFA-AFF B55 C04 C3C C77 C84 D00 D3B-D3C D81 EBA 180F 1885-1886 "
    "1ABF-1ACE 1B7D-1B7E 1DF6-1DFB 2E43-2E4F 2E52-2E5D A82C A8C5 A8FF A9BD 10D24-10D27 10EAB-10EAD 10F46-10F50 "
    "10F55-10F59 10F82-10F89 11070 11073-11074 110C2 110CD 111C9 111CF 1123E 1133B 11438-1143F 11442-11444 11446 "
    "1144B-1144F 1145A-1145B 1145D-1145E 11660-1166C 116B9 1182F-11837 11839-1183B 1193B-1193C 1193E 11943-11946 "
    "119D4-119D7 119DA-119DB 119E0 119E2 11A01-11A0A 11A33-11A38 11A3B-11A47 11A51-11A56 11A59-11A5B 11A8A-11A96 "
    "11A98-11A9C 11A9E-11AA2 11C30-11C36 11C38-11C3D 11C3F 11C41-11C45 11C70-11C71 11C92-11CA7 11CAA-11CB0 "
    "11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47 11D90-11D91 11D95 11D97 11EF3-11EF4 "
    "11EF7-11EF8 11FFF 12FF1-12FF2 13430-13438 16E97-16E9A 16F4F 16FE2 16FE4 1CF00-1CF2D 1CF30-1CF46 1E000-1E006 "
    "1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E130-1E136 1E2AE 1E2EC-1E2EF 1E944-1E94A 1E95E-1E95F "
)
"""Marks, punctuation and format characters of Python 3.11 (Unicode 14) that Unicode 8 did not have; hexadecimal."""


@cache
def _newer() -> frozenset[str]:
    found: list[str] = []
    for part in _NEWER.split():
        first, _, last = part.partition("-")
        found += map(chr, range(int(first, 16), int(last or first, 16) + 1))
    return frozenset(found)


def _kind(character: str) -> str:
    """The category in Unicode 8, where it matters here; "" for what came later."""
    return "" if character in _newer() else unicodedata.category(character)


def is_punctuation(character: str) -> bool:
    """Every ASCII character that is no letter, digit, space or control, and category P* of Unicode 8."""
    code = ord(character)
    if 33 <= code <= 47 or 58 <= code <= 64 or 91 <= code <= 96 or 123 <= code <= 126:
        return True
    return character in _WAS_PUNCTUATION or _kind(character).startswith("P")


class BertFolding(Folding):
    """As `Folding`, but a character may become several."""

    leading_marks = False
    expands = True

    def __reduce__(self) -> tuple[object, ...]:
        return bert_folding, (self.lowercase, self.strip_accents)

    def _fold(self, character: str) -> str | None:
        if character in "\0\ufffd":
            return None
        if _kind(character) in ("Cc", "Cf", "Co") and character not in _SEPARATORS:
            return None
        parts = character
        if self.strip_accents:
            parts = "".join(part for part in unicodedata.normalize("NFD", character) if not _is_mark(part))
        if self.lowercase:
            # Letter by letter: a sigma at the end of a word stays σ.
            parts = "".join(part.lower() for part in parts)
        return parts or None


def bert_folding(lowercase: bool, strip_accents: bool) -> BertFolding:
    """The folding of one vocabulary's settings."""
    return BertFolding(lowercase=lowercase, strip_accents=strip_accents)


def _is_mark(character: str) -> bool:
    return character in _WAS_MARK or _kind(character) == "Mn"
