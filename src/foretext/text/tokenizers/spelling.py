"""How a vocabulary spells one word: whole words or characters, WordPiece, byte-level BPE, unigram."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from typing import Protocol, TypeAlias

from foretext.errors import UsageError

Parts: TypeAlias = list[tuple[int, int, int]]
"""(id, start, stop) in order; the places [start, stop) are characters of the word and cover all of it."""
LONGEST_WORD = 100
"""google-research/bert's max_input_chars_per_word."""


class Spelling(Protocol):
    """`pieces[i]` is token i; `files` is everything that decides the spelling, beside the pieces."""

    pieces: Sequence[str]

    def spell(self, word: str) -> Parts: ...

    def files(self) -> Mapping[str, Sequence[str]]:
        """File name → lines."""
        ...

    def join(self, pieces: Sequence[str]) -> str:
        """What the pieces say, as text."""
        ...


class Whole:
    """Every word (or character) is one entry of a frequency-ranked lexicon, or unknown."""

    def __init__(self, pieces: Sequence[str], counts: Sequence[int], specials: int, unknown: int) -> None:
        self.pieces = pieces
        self.counts = counts
        self.unknown = unknown
        self.ids = {piece: number for number, piece in enumerate(pieces) if number >= specials}

    def spell(self, word: str) -> Parts:
        return [(self.ids.get(word, self.unknown), 0, len(word))]

    def same(self, pieces: Sequence[str], counts: Sequence[int], specials: int) -> "Whole":
        """A lexicon of these entries that spells as this one does."""
        return Whole(pieces, counts, specials, self.unknown)

    def knows(self, word: str) -> bool:
        return word in self.ids

    def files(self) -> Mapping[str, Sequence[str]]:
        return {"counts.txt": [str(count) for count in self.counts]}

    def join(self, pieces: Sequence[str]) -> str:
        return beside(pieces)


class WordPiece:
    """Greedy longest match from the left; "##" marks a piece that continues a word (Schuster and Nakajima 2012; Devlin
    et al. 2019, google-research/bert's WordpieceTokenizer). Under `whole_unknown` a word with an unseen character, or
    longer than 100 characters, is one unknown token as it is there; otherwise the unseen character alone is."""

    def __init__(self, pieces: Sequence[str], special: Collection[int], unknown: int, *, whole_unknown: bool) -> None:
        self.pieces = pieces
        self._unknown = unknown
        self._whole_unknown = whole_unknown
        ids = {piece: number for number, piece in enumerate(pieces) if number not in special}
        self._heads = ids
        self._tails = {piece[2:]: number for piece, number in ids.items() if piece.startswith("##") and len(piece) > 2}
        self._head_sizes, self._tail_sizes = _sizes(self._heads), _sizes(self._tails)

    def spell(self, word: str) -> Parts:
        whole = self._heads.get(word)
        if whole is not None:
            return [(whole, 0, len(word))]
        if self._whole_unknown and len(word) > LONGEST_WORD:
            return [(self._unknown, 0, len(word))]
        parts: Parts = []
        start, ids, sizes = 0, self._heads, self._head_sizes
        while start < len(word):
            for size in sizes.get(word[start : start + 3], (2, 1)):
                piece = word[start : start + size]
                number = ids.get(piece)
                if number is not None:
                    stop = start + len(piece)  # near the word's end a piece is shorter than asked for
                    break
            else:
                if self._whole_unknown:
                    return [(self._unknown, 0, len(word))]
                number, stop = self._unknown, start + 1
            parts.append((number, start, stop))
            start, ids, sizes = stop, self._tails, self._tail_sizes
        return parts

    def files(self) -> Mapping[str, Sequence[str]]:
        return {}

    def join(self, pieces: Sequence[str]) -> str:
        words: list[str] = []
        for piece in pieces:
            if piece.startswith("##") and len(piece) > 2 and words:
                words[-1] += piece[2:]
            else:
                words.append(piece)
        return beside(words)


def _sizes(pieces: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The first three characters of pieces → the sizes that such pieces come in, longest first, and then 2 and 1: no
    others need be tried."""
    sizes: dict[str, set[int]] = {}
    for piece in pieces:
        if len(piece) > 2:
            sizes.setdefault(piece[:3], {2, 1}).add(len(piece))
    return {start: tuple(sorted(found, reverse=True)) for start, found in sizes.items()}


class BytePairs:
    """Byte-level BPE: the merge learnt first is applied first (Sennrich et al. 2016; bytes as in GPT-2, Radford et al.
    2019). Nothing is ever unknown, and joining the pieces gives the text back exactly.

    A piece that holds a part of a character only stands for that character's whole place.
    """

    def __init__(self, pieces: Sequence[str], merges: Sequence[tuple[str, str]], special: Collection[int]) -> None:
        self.pieces = pieces
        self.merges = merges
        self._ids = {piece: number for number, piece in enumerate(pieces) if number not in special}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._special = frozenset(pieces[number] for number in special)

    def spell(self, word: str) -> Parts:
        owners: list[int] = []
        symbols: list[str] = []
        letters = byte_letters()
        for at, character in enumerate(word):
            for byte in character.encode("utf-8", "surrogatepass"):
                symbols.append(letters[byte])
                owners.append(at)
        parts: Parts = []
        first = 0
        for start in range(0, len(symbols), LONGEST_WORD):
            for piece in self._merge(symbols[start : start + LONGEST_WORD]):
                last = first + len(piece)
                parts.append((self._ids[piece], owners[first], owners[last - 1] + 1))
                first = last
        return parts

    def _merge(self, symbols: list[str]) -> list[str]:
        ranks = self._ranks
        none = len(ranks)
        while len(symbols) > 1:
            rank, at = min((ranks.get(pair, none), at) for at, pair in enumerate(pairwise(symbols)))
            if rank == none:
                break
            pair = (symbols[at], symbols[at + 1])
            merged: list[str] = symbols[:at]
            while at < len(symbols):
                if at + 1 < len(symbols) and (symbols[at], symbols[at + 1]) == pair:
                    merged.append(symbols[at] + symbols[at + 1])
                    at += 2
                else:
                    merged.append(symbols[at])
                    at += 1
            symbols = merged
        return symbols

    def files(self) -> Mapping[str, Sequence[str]]:
        return {"merges.txt": [f"{left} {right}" for left, right in self.merges]}

    def join(self, pieces: Sequence[str]) -> str:
        values = byte_values()
        data = bytearray()
        for piece in pieces:
            data += piece.encode() if piece in self._special else bytes(values[letter] for letter in piece)
        try:
            return data.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:  # ids that nobody's text gives
            return data.decode("utf-8", "replace")


class Unigram:
    """The most probable cut under independent pieces, found by Viterbi (Kudo 2018); equal cuts: the longest last piece.
    A character in no piece is unknown, at a cost below every piece's, as sentencepiece has it."""

    def __init__(self, pieces: Sequence[str], scores: Sequence[float], special: Collection[int], unknown: int) -> None:
        self.pieces = pieces
        self.scores = scores
        self._unknown = unknown
        entries = enumerate(zip(pieces, scores, strict=True))
        self._table = {piece: (score, number) for number, (piece, score) in entries if number not in special}
        self._penalty = min((score for score, _ in self._table.values()), default=0.0) - 10.0
        self._longest = max(map(len, self._table), default=1)

    def spell(self, word: str) -> Parts:
        whole: Parts = []
        for start in range(0, len(word), 10 * LONGEST_WORD):
            whole += [(n, start + i, start + j) for n, i, j in self._best(word[start : start + 10 * LONGEST_WORD])]
        return whole

    def _best(self, word: str) -> Parts:
        best = [0.0] + [float("-inf")] * len(word)
        back: list[tuple[int, int]] = [(0, 0)] * (len(word) + 1)
        table = self._table
        for stop in range(1, len(word) + 1):
            for start in range(max(0, stop - self._longest), stop):
                entry = table.get(word[start:stop])
                if entry is None:
                    if start < stop - 1:
                        continue
                    entry = (self._penalty, self._unknown)
                score = best[start] + entry[0]
                if score > best[stop]:
                    best[stop] = score
                    back[stop] = (start, entry[1])
        parts: Parts = []
        stop = len(word)
        while stop:
            start, number = back[stop]
            parts.append((number, start, stop))
            stop = start
        return parts[::-1]

    def files(self) -> Mapping[str, Sequence[str]]:
        return {"scores.txt": [repr(score) for score in self.scores]}

    def join(self, pieces: Sequence[str]) -> str:
        return "".join(pieces).replace("▁", " ").removeprefix(" ")


@cache
def byte_letters() -> tuple[str, ...]:
    """A visible character for each byte, GPT-2's choice: printable Latin-1 stands for itself, the others follow from
    U+0100 on; a space is "Ġ"."""
    visible = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return tuple(chr(byte if byte in visible else next(others)) for byte in range(256))


@cache
def byte_values() -> Mapping[str, int]:
    """The inverse of `byte_letters`."""
    return {letter: byte for byte, letter in enumerate(byte_letters())}


def beside(words: Sequence[str]) -> str:
    """Words as a line to read: spaces between them, but none between East Asian characters or around punctuation as
    English writes it. Not the user's own text: folding and white space cannot be undone."""
    line: list[str] = []
    for word in words:
        if (
            line
            and not (_wide(line[-1][-1:]) and _wide(word[:1]))
            and word not in _CLOSING
            and line[-1] not in _OPENING
        ):
            line.append(" ")
        line.append(word)
    return "".join(line)


_CLOSING = frozenset(".,;:!?)]}%")
_OPENING = frozenset("([{")


def _wide(character: str) -> bool:
    return "\u2e80" <= character <= "\ua4cf" or "\uf900" <= character <= "\ufaff" or character >= "\uff00"


def special_ids(special: Sequence[str], pieces: Sequence[str]) -> dict[str, int]:
    """Where each special token stands among the pieces: first, in a vocabulary of ours; anywhere, in an imported one.
    Errors: one that is not there, or that repeats → UsageError."""
    if len(set(special)) != len(special):
        raise UsageError(f"special tokens repeat: {list(special)}")
    wanted = set(special)
    places: dict[str, int] = {}
    for number, piece in enumerate(pieces):
        if piece in wanted:
            places.setdefault(piece, number)
            if len(places) == len(wanted):
                break
    if missing := wanted - set(places):
        raise UsageError(f"special tokens {sorted(missing)} are not in the vocabulary")
    return {token: places[token] for token in special}


def unknown_token(kind: str, special: Sequence[str]) -> str | None:
    """The special token for what is unknown; None in byte-level BPE, which needs none. Errors: a kind that needs one
    has none → UsageError."""
    for name in ("[UNK]", "<unk>"):
        if name in special:
            return name
    if kind == "bpe":
        return None
    raise UsageError(f"a {kind} tokenizer needs an unknown token", remedy='add "[UNK]" to its special tokens')
