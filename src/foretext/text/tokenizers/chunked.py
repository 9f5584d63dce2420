"""The one tokenizer class: chunks are cut, each distinct chunk is analysed once and remembered, arrays are gathered."""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from threading import Lock

import numpy as np

from foretext.errors import DataError, UsageError
from foretext.folder import fingerprint
from foretext.text.tokenizers.config import TokenizerConfig, plain
from foretext.text.tokenizers.files import write_files
from foretext.text.tokenizers.phrases import JOIN, Phrases
from foretext.text.tokenizers.spelling import Parts, Spelling, Whole, special_ids, unknown_token
from foretext.text.tokenizers.splitting import Splitter
from foretext.types import UNSEEN, Bits, Encoding, Ints, Text

VERSION = 1
"""Part of every tokenizer's key: raised when the same files come to mean other ids."""
MOST_CHUNKS = 1 << 18
"""Distinct chunks remembered (about 250 bytes each); then all are forgotten and the common ones soon return."""
_MOST_CHARACTERS = 1 << 24
_STRINGS = 2048
"""Strings gathered at once on the fast path: bounds its working memory."""


class _Known(dict[str, int]):
    """Chunk → its number; a missing one is analysed on first sight. `first[n] : first[n+1]` are its tokens in the
    columns `ids`, `starts`, `stops` (places in the chunk), `begins` (1 where a whole word starts). `unknown`: the id in
    whose place an unseen word gets one of its own, kept in `forms`; None: it stands for all of them."""

    def __init__(self, splitter: Splitter, spelling: Spelling, unknown: int | None) -> None:
        super().__init__()
        self._splitter, self._spelling, self._unknown = splitter, spelling, unknown
        self.forms: dict[int, str] = {}
        self.first = array("q", [0])
        self.ids = array("i" if unknown is None else "q")
        self.starts, self.stops, self.begins = array("i"), array("i"), array("b")
        self.characters = 0

    def __missing__(self, chunk: str) -> int:
        for word in self._splitter.words(chunk):
            self._add(word.starts, word.stops, self._spell(word.string), word.begins)
        return self._close(chunk)

    def _spell(self, word: str) -> Parts:
        parts = self._spelling.spell(word)
        if self._unknown is None or parts[0][0] != self._unknown:
            return parts
        return [(self.form(word), 0, len(word))]

    def form(self, word: str) -> int:
        """The id of an unseen word, whose spelling is remembered with it."""
        number = form_id(word)
        self.forms[number] = word
        return number

    def given(self, chunk: str, key: str) -> int:
        """The number of a chunk that the user calls one word, where the lexicon knows it as one."""
        if key not in self:
            word = self._splitter.whole(chunk)
            self._add(word.starts, word.stops, self._spell(word.string), True)
            self._close(key)
        return self[key]

    def _add(self, starts: Sequence[int], stops: Sequence[int], parts: Parts, begins: bool) -> None:
        for number, start, stop in parts:
            self.ids.append(number)
            self.starts.append(starts[start])
            self.stops.append(stops[stop - 1])
            self.begins.append(begins)
            begins = False

    def _close(self, key: str) -> int:
        self[key] = number = len(self)
        self.first.append(len(self.ids))
        self.characters += len(key)
        return number

    def full(self) -> bool:
        return len(self) > MOST_CHUNKS or self.characters > _MOST_CHARACTERS


def form_id(word: str) -> int:
    """The id of an unseen word: 61 bits of a hash of its spelling, from `types.UNSEEN` on, so that no two processes
    differ and none has to remember."""
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return UNSEEN + (int.from_bytes(digest, "little") >> 3)


class _Codes(dict[str, tuple[int, ...]]):
    """Folded word → its tokens, each twice its id, and one more where a whole word starts."""

    def __init__(self, spelling: Spelling) -> None:
        super().__init__()
        self._spelling = spelling

    def __missing__(self, word: str) -> tuple[int, ...]:
        parts = self._spelling.spell(word)
        self[word] = codes = tuple([2 * number + (at == 0) for at, (number, _, _) in enumerate(parts)])
        return codes


class _Numbers(dict[str, int]):
    """The fast path's `_Known`: chunk → its number, `first[n] : first[n+1]` its tokens in the column `codes`. No places
    are kept, so a chunk whose words are known already costs little more than to find them."""

    def __init__(self, splitter: Splitter, spelling: Spelling) -> None:
        super().__init__()
        self._splitter, self._words = splitter, _Codes(spelling)
        self.first, self.codes = array("q", [0]), array("i")
        self.characters = 0

    def __missing__(self, chunk: str) -> int:
        codes: list[int] = []
        words = self._splitter.whole_words(chunk)
        if words is None:
            for word in self._splitter.words(chunk):
                found = self._words[word.string]
                codes += found if word.begins else (code & ~1 for code in found)
        else:
            for string in words:
                codes += self._words[string]
        self.codes.extend(codes)
        self.first.append(len(self.codes))
        self.characters += len(chunk)
        self[chunk] = number = len(self)
        return number

    def full(self) -> bool:
        return len(self) > MOST_CHUNKS or self.characters > _MOST_CHARACTERS


class ChunkTokenizer:
    """A `types.Tokenizer`. `counts` [V] are the training corpus's counts where entries are ranked by frequency (words,
    characters), else empty."""

    def __init__(self, config: TokenizerConfig, spelling: Spelling) -> None:
        self.config = config
        self.spelling = spelling
        self.pieces: Sequence[str] = spelling.pieces
        self.size = len(spelling.pieces)
        self.special: Mapping[str, int] = special_ids(config.special, spelling.pieces)
        counts = spelling.counts if isinstance(spelling, Whole) else ()
        self.counts: Ints = np.asarray(counts, dtype=np.int64)
        files = {"vocab.txt": list(spelling.pieces), **spelling.files()}
        self.key = fingerprint(VERSION, plain(config), {name: fingerprint(list(lines)) for name, lines in files.items()})
        self._splitter = Splitter(config)
        self.open = config.unseen == "spelling"
        """Whether `encode` gives unseen words ids of their own."""
        self._unknown = self.special[unknown_token(config.kind, config.special) or ""] if self.open else None
        self._known = _Known(self._splitter, spelling, self._unknown)
        self._numbers = _Numbers(self._splitter, spelling)
        self._lock = Lock()  # a server encodes from several threads; what is remembered is shared

    def __reduce__(self) -> tuple[object, ...]:
        return ChunkTokenizer, (self.config, self.spelling)

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Ids without special tokens, `offsets` [T,2] characters of `Text.string`, `word` [T].

        `word` counts the words given, −1 for text outside them; without given words it counts the words found. Pieces
        of one text never overlap, except that the byte-level BPE pieces of one character share its place. Errors:
        given words out of order or out of range → DataError.
        """
        with self._lock:
            return [self._encode(text) for text in texts]

    def _encode(self, text: Text) -> Encoding:
        self._refresh()
        if text.words is None:
            return self._encoding(text.string, [(None, *place) for place in self._numbered(text.string, 0, None)])
        check_words(text)
        found: list[tuple[int | None, int, int]] = []
        at = 0
        for number, (start, stop) in enumerate(text.words):
            gap = self._before(text.string, at, start)
            found += [(-1, *place) for place in self._numbered(text.string, at, gap)]
            found += [(number, *place) for place in self._given(text.string, start, stop)]
            at = stop
        found += [(-1, *place) for place in self._numbered(text.string, at, len(text.string))]
        return self._encoding(text.string, found)

    def _before(self, string: str, at: int, start: int) -> int:
        """Where the gap before a given word ends: BPE's word takes the one space before it along."""
        taken = self.config.kind == "bpe" and at < start and string[start - 1] == " "
        return start - taken

    def _numbered(self, string: str, start: int, stop: int | None) -> list[tuple[int, int]]:
        if start == stop:
            return []
        return [(at, self._known[chunk]) for at, chunk in self._splitter.places(string, start, stop)]

    def _given(self, string: str, start: int, stop: int) -> list[tuple[int, int]]:
        chunk = string[start:stop]
        lexicon = self.spelling if isinstance(self.spelling, Whole) and self.config.kind == "words" else None
        whole = self._splitter.whole(chunk).string
        phrase = isinstance(lexicon, Phrases) and lexicon.knows(JOIN.join(whole.split()))
        if lexicon is not None and (lexicon.knows(whole) or (self.open and not phrase)):
            return [(start, self._known.given(chunk, f"\n{chunk}"))]  # no chunk of this kind holds white space
        return self._numbered(string, start, stop)

    def _encoding(self, string: str, found: Sequence[tuple[int | None, int, int]]) -> Encoding:
        """From (given word or None, place, chunk number) to columns."""
        known = self._known
        places = np.array([place for _, place, _ in found], dtype=np.int64)
        taken, lengths = _rows(known.first, np.array([number for _, _, number in found], dtype=np.int64))
        shift = np.repeat(places, lengths)
        offsets = np.stack([_view(known.starts)[taken] + shift, _view(known.stops)[taken] + shift], axis=1)
        begins = _view(known.begins)[taken]
        if found and found[0][0] is not None:
            word = np.repeat(np.array([given for given, _, _ in found], dtype=np.int64), lengths)
        else:
            word = np.cumsum(begins, dtype=np.int64) - 1
        offsets = np.maximum(offsets, 0)
        ids = _view(known.ids)[taken]
        if isinstance(self.spelling, Phrases) and len(ids):
            given = bool(found) and found[0][0] is not None  # words that the user gave are joined to nothing
            borders = np.concatenate([[True], (np.diff(word) != 0) & given])
            ids, first = self.spelling.together(ids, borders, known.form if self.open else None)
            last = np.append(first[1:], len(word)) - 1
            offsets = np.stack([offsets[first, 0], offsets[last, 1]], axis=1)
            word = word[first] if given else np.arange(len(first))
        if self._splitter.spaced:
            _trim(string, offsets)
        forms = {number: known.forms[number] for number in ids[ids >= UNSEEN].tolist()} if known.forms else {}
        return Encoding(ids=ids, offsets=offsets, word=word, forms=forms)

    def ids(self, strings: Sequence[str]) -> tuple[Ints, Ints, Bits]:
        """The fast path: flat ids [ΣT] int32, lengths [N] int64, and which tokens start a whole word [ΣT]."""
        with self._lock:
            parts = [self._gather(strings[at : at + _STRINGS]) for at in range(0, max(len(strings), 1), _STRINGS)]
        ids, lengths, begins = (np.concatenate(column) for column in zip(*parts, strict=True))
        return ids, lengths, begins

    def _gather(self, strings: Sequence[str]) -> tuple[Ints, Ints, Bits]:
        if self._numbers.full():
            self._numbers = _Numbers(self._splitter, self.spelling)
        known = self._numbers
        found = [*map(self._splitter.chunks, strings)]
        ends = np.concatenate([[0], np.cumsum([*map(len, found)], dtype=np.int64)])
        numbers = np.fromiter(map(known.__getitem__, chain.from_iterable(found)), dtype=np.int64, count=int(ends[-1]))
        taken, lengths = _rows(known.first, numbers)
        tokens = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])[ends]
        codes = _view(known.codes)[taken]
        begins = (codes & 1).astype(np.bool_)
        if not isinstance(self.spelling, Phrases):
            return codes >> 1, np.diff(tokens), begins
        borders = np.zeros(len(codes) + 1, np.bool_)
        borders[tokens] = True
        together, places = self.spelling.together(codes >> 1, borders[:-1])
        return together.astype(np.int32), np.diff(np.searchsorted(places, tokens)), begins[places]

    def entries(self, chunks: Sequence[str]) -> Ints:
        """The id [K] of each of `chunks` that is one word, −1 where nothing of it can be seen. Only where a chunk is a word
        ("spaces")."""
        lexicon, splitter = self.spelling, self._splitter
        assert isinstance(lexicon, Whole), self.config.kind
        ids, unknown = lexicon.ids, lexicon.unknown

        def entry(chunk: str) -> int:
            if chunk in ids or splitter.as_it_is(chunk):  # what is folded stays as it is when folded again
                return ids.get(chunk, unknown)
            words = splitter.strings(chunk)
            return ids.get(words[0], unknown) if words else -1

        return np.fromiter(map(entry, chunks), np.int32, len(chunks))

    def _refresh(self) -> None:
        if self._known.full():
            self._known = _Known(self._splitter, self.spelling, self._unknown)

    def decode(self, ids: Sequence[int]) -> str:
        """Text to read; for bpe without folding exactly the text that was encoded. Ids of a vocabulary only."""
        return self.spelling.join([self.pieces[number] for number in ids])

    def prefix(self, size: int) -> "ChunkTokenizer":
        """The same tokenizer with the first `size` entries only: its ids are those below `size`, all others unknown.
        Errors: a kind that is not ranked by frequency, or a size that leaves no entry → UsageError."""
        if not isinstance(self.spelling, Whole):
            raise UsageError(f"only words and characters are ranked by frequency, not {self.config.kind}")
        specials = len(self.config.special)
        if not specials < size <= self.size:
            raise UsageError(f"a prefix of {size} entries, expected {specials + 1} to {self.size}")
        return ChunkTokenizer(self.config, self.spelling.same(self.pieces[:size], self.counts[:size].tolist(), specials))

    def save(self, folder: Path) -> None:
        """Write `tokenizer.json` and plain text files, one entry a line, into the existing `folder`."""
        write_files(self.config, self.spelling, self.key, folder)


def _rows(column: "array[int]", numbers: Ints) -> tuple[Ints, Ints]:
    """The token columns' rows of each chunk in turn [ΣT], and how many rows each chunk has [C]."""
    first = _view(column)
    starts = first[numbers]
    lengths = first[numbers + 1] - starts
    ends = np.cumsum(lengths)
    rows = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return rows, lengths


def _view(column: "array[int]") -> Ints:
    return np.frombuffer(column, dtype=column.typecode) if len(column) else np.zeros(0, dtype=column.typecode)


def _trim(string: str, offsets: Ints) -> None:
    """Leave the white space before a piece out of its place, unless it is all there is."""
    for row, (start, stop) in enumerate(offsets.tolist()):
        while start + 1 < stop and string[start].isspace():
            start += 1
        offsets[row, 0] = start


def check_words(text: Text) -> None:
    """Given words must be in order, apart and inside the string."""
    at = 0
    for number, span in enumerate(text.words or ()):
        start, stop = span
        if not at <= start < stop <= len(text.string):
            raise DataError(
                f"word {number} at {start}:{stop} of a text of {len(text.string)} characters",
                remedy=f"give words in order, none empty, none overlapping; this one may start at {at}",
            )
        at = stop
