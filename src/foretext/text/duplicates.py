"""Documents that are there twice, exactly or nearly, found in one pass; and a corpus written without them.

Exact: the same characters but for white space. Near: estimated Jaccard similarity of the sets of five-unit shingles (a
unit is a case-folded word or a Chinese character) of at least `NEAR`, by MinHash with LSH (rensa), as in Lee et al.
2022, "Deduplicating Training Data Makes Language Models Better", section 4.2 (5-grams, 0.8).
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from foretext.errors import ResourceError, UsageError
from foretext.text.excluding import units
from foretext.types import JSON, Corpus, Place, Sentence

NEAR = 0.8
SHINGLE = 5
"""units"""
FEWEST = 20
"""Units; shorter documents are compared exactly only."""
HASHES = 128
BANDS = 16
MOST_EXACT = 1_000_000
"""Documents remembered exactly: about 200 bytes each."""
MOST_NEAR = 200_000
"""Documents remembered for near copies: about 1.5 kB each. Later ones are still compared with these."""


class Fingerprint:
    """One document's identity, taken sentence by sentence, so that it may be of any length."""

    def __init__(self, *, near: bool = True) -> None:
        self._whole = hashlib.blake2b(digest_size=8)
        self._tail: list[str] = []
        self._units = 0
        self._hashes: Any = _minhash() if near else None

    def update(self, string: str) -> None:
        """The document goes on with `string`."""
        self._whole.update(" ".join([*string.split(), ""]).encode("utf-8", "surrogatepass"))
        if self._hashes is None:
            return
        new = units(string)
        self._units += len(new)
        row = self._tail + new
        if len(row) >= SHINGLE:
            self._hashes.update([" ".join(row[at : at + SHINGLE]) for at in range(len(row) - SHINGLE + 1)])
        self._tail = row[-(SHINGLE - 1) :]

    @property
    def exact(self) -> int:
        """Equal documents have equal numbers."""
        return int.from_bytes(self._whole.digest(), "little")

    @property
    def hashes(self) -> Any:
        """rensa's MinHash, or None for a document that is too short."""
        return self._hashes if self._units >= FEWEST else None


def _minhash() -> Any:
    import rensa

    return rensa.RMinHash(num_perm=HASHES, seed=42)


class Duplicates:
    """The documents seen so far; `seen` answers whether a new one is a copy, and of which."""

    def __init__(self, *, near: bool = True) -> None:
        self.documents = self.exact = self.near = 0
        self._near = near
        self._exact: dict[int, Place] = {}
        self._places: list[Place] = []
        self._index: Any = None

    @property
    def complete(self) -> bool:
        """Whether every document could be remembered (see `MOST_EXACT`, `MOST_NEAR`)."""
        return len(self._exact) < MOST_EXACT and len(self._places) < MOST_NEAR

    def fingerprint(self) -> Fingerprint:
        """For the next document."""
        return Fingerprint(near=self._near)

    def seen(self, document: Fingerprint, place: Place) -> tuple[Place, bool] | None:
        """The first document that this one copies, and whether exactly; None for a new document, which is kept."""
        self.documents += 1
        number = document.exact
        first = self._exact.get(number)
        if first is not None:
            self.exact += 1
            return first, True
        if len(self._exact) < MOST_EXACT:
            self._exact[number] = place
        hashes = document.hashes
        if hashes is None:
            return None
        if self._index is None:
            import rensa

            self._index = rensa.RMinHashDeduplicator(threshold=NEAR, num_perm=HASHES, use_lsh=True, num_bands=BANDS)
        copies = self._index.get_duplicates(hashes)
        if copies:
            self.near += 1
            return self._places[min(map(int, copies))], False
        if len(self._places) < MOST_NEAR:
            self._index.add(str(len(self._places)), hashes)
            self._places.append(place)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Deduplicated:
    """What `dedupe` did, in documents. `complete`: whether all could be compared with all."""

    out: str
    documents: int
    exact: int
    near: int
    complete: bool

    @property
    def kept(self) -> int:
        """Documents written."""
        return self.documents - self.exact - self.near

    def __str__(self) -> str:
        return (
            f"{self.out}: {self.kept:,} of {self.documents:,} documents kept; "
            f"left out {self.exact:,} exact and {self.near:,} near copies"
        )

    def as_json(self) -> JSON:
        """The same, for programs."""
        return {
            "out": self.out,
            "documents": self.documents,
            "exact": self.exact,
            "near": self.near,
            "kept": self.kept,
            "complete": self.complete,
        }


def dedupe(
    corpus: Corpus, out: Path, *, near: bool = True, progress: Callable[[int, int], None] | None = None
) -> Deduplicated:
    """Write `corpus` to `out` without the copies; of several the first stays, and the order stays.

    `out` ending in .txt: a paragraph a line, a blank line between documents (read it with --documents blank); anything
    else: JSON lines, `{"text": …}` with a line break between paragraphs. The file appears whole or not at all; an
    existing one is refused. `progress` is called with (documents, characters) so far.
    """
    out = Path(out)
    if out.exists():
        raise UsageError("exists already", file=out, remedy="name another file, or remove it first")
    part = out.with_name(f".{out.name}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as stream:
            copies = _write(corpus, stream, out.suffix == ".txt", near, progress)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, out)
    except OSError as error:
        raise ResourceError(f"cannot be written ({error.strerror or error})", file=out) from error
    finally:
        part.unlink(missing_ok=True)
    return Deduplicated(
        out=str(out), documents=copies.documents, exact=copies.exact, near=copies.near, complete=copies.complete
    )


def _write(
    corpus: Corpus, stream: BinaryIO, plain: bool, near: bool, progress: Callable[[int, int], None] | None
) -> Duplicates:
    """Each document is written while it is read; a copy is then cut off the file's end again, so none is ever held."""
    copies = Duplicates(near=near)
    characters = 0
    for _, sentences in groupby(corpus.sentences(), key=lambda sentence: sentence.document):
        start = stream.tell()
        fingerprint, place, length = _write_document(sentences, stream, plain, copies)
        characters += length
        if copies.seen(fingerprint, place) is not None:
            stream.seek(start)
            stream.truncate()
        if progress is not None and copies.documents % 256 == 0:
            progress(copies.documents, characters)
    return copies


def _write_document(
    sentences: Iterator[Sentence], stream: BinaryIO, plain: bool, copies: Duplicates
) -> tuple[Fingerprint, Place, int]:
    fingerprint = copies.fingerprint()
    place, length, paragraph = Place(file=""), 0, -1
    stream.write(b"" if plain else b'{"text":"')
    for sentence in sentences:
        if paragraph < 0:
            place = sentence.place
        elif sentence.paragraph != paragraph:
            stream.write(b"\n" if plain else b"\\n")
        paragraph = sentence.paragraph
        fingerprint.update(sentence.string)
        length += len(sentence.string)
        stream.write(sentence.string.encode() if plain else msgspec.json.encode(sentence.string)[1:-1])
    stream.write(b"\n\n" if plain else b'"}\n')
    return fingerprint, place, length
