"""The one normalisation a corpus goes through, as text and before any tokenizer.

The rules, in order:

1. U+FEFF (byte order mark, zero width no-break space) is dropped wherever it stands.
2. CR LF and a lone CR become LF.
3. NUL and the other C0 controls, and DEL, are dropped; tab and LF stay.
4. Vertical tab, form feed, U+0085 (next line), U+2028 (line separator) and U+2029 (paragraph separator) become LF.

C1 controls other than U+0085 stay: they are the remains of a wrong encoding, which `foretext check` finds and names.
No Unicode normal form is applied and no character is folded: that is a tokenizer's business, which keeps offsets.
In files of records (JSON lines, tables) rule 4 is applied to the field, not to the file, so that it never cuts a record.
"""

import re
from collections.abc import Iterable, Iterator

RULES = 1
"""Version of these rules and of all reading rules; part of every corpus key."""

_DROPPED = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufeff]+")
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x20), 0x7F])
_BREAKING = "\x0b\x0c\x85\u2028\u2029"
_BREAKS = re.compile(f"[{_BREAKING}]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(string: str) -> str:
    """Rules 1 to 3. What is dropped shows in the length of the result, less the CRs of CR LF."""
    if "\r" in string:
        string = string.replace("\r\n", "\n").replace("\r", "\n")
    return _without_controls(string)


def _without_controls(string: str) -> str:
    """Rules 1 and 3. Almost no text holds such a character, and that is seen at once in its bytes."""
    data = string.encode("utf-8", "surrogatepass")
    if len(data.translate(None, _CONTROLS)) == len(data) and "\ufeff" not in string:
        return string
    return _DROPPED.sub("", string)


def breaks(string: str) -> str:
    """Rule 4: every other line or paragraph separator becomes LF."""
    if not any(mark in string for mark in _BREAKING):
        return string
    return _BREAKS.sub("\n", string)


def normalized(string: str) -> str:
    """All four rules, for a string that is held whole."""
    return breaks(clean(string))


def surrogates(string: str) -> int:
    """How many lone surrogates (from JSON escapes such as \\ud800) `string` holds: no UTF-8 file could hold them."""
    return 0 if string.isascii() else len(_SURROGATES.findall(string))


def without_surrogates(string: str) -> str:
    """Each lone surrogate becomes U+FFFD."""
    return _SURROGATES.sub("\ufffd", string)


def clean_chunks(chunks: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Rules 1 to 3 over a stream; yields (clean chunk, how many characters rules 1 and 3 dropped).

    A CR at the end of a chunk waits for the next one, so a CR LF that straddles two chunks is one LF.
    """
    waiting = False
    for chunk in chunks:
        chunk = "\r" + chunk if waiting else chunk
        waiting = chunk.endswith("\r")
        chunk = chunk[:-1] if waiting else chunk
        if "\r" in chunk:
            chunk = chunk.replace("\r\n", "\n").replace("\r", "\n")
        cleaned = _without_controls(chunk)
        yield cleaned, len(chunk) - len(cleaned)
    if waiting:
        yield "\n", 0
