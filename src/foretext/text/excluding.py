"""A corpus without the documents that hold given texts: how test texts are kept out of pretraining.

Texts are compared as sequences of units (case-folded words; each Chinese character by itself), so punctuation, white
space and case do not hide a copy. A document is dropped when it equals a text, or when it contains one that is long
enough to be no coincidence: `FEWEST` units and `SHORTEST` characters or more.
"""

import hashlib
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import groupby

from foretext.text.sentences import HAN
from foretext.text.shards import require_unchanged
from foretext.types import Corpus, Sentence

FEWEST = 8
SHORTEST = 16

_UNIT = re.compile(f"[{HAN}]|[^\\W_{HAN}]+")
_WINDOW = 1 << 16


def units(string: str) -> list[str]:
    """What is compared: case-folded words, and single Chinese characters."""
    return _UNIT.findall(string.casefold())


def _digest(sequence: list[str]) -> bytes:
    return hashlib.blake2b("\0".join([*sequence, ""]).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class ExcludingCorpus:
    """`corpus` without the documents that equal or contain one of `texts`; documents are numbered anew.

    Which ones these are is found in one pass before the first use, in memory that does not grow with a document.
    """

    def __init__(self, corpus: Corpus, texts: Iterable[str]) -> None:
        self._corpus = corpus
        self._equal: set[bytes] = set()
        self._contained: dict[tuple[str, ...], list[list[str]]] = {}
        self._longest = 0
        for text in texts:
            sequence = units(text)
            digest = _digest(sequence)
            if not sequence or digest in self._equal:
                continue
            self._equal.add(digest)
            if len(sequence) >= FEWEST and sum(map(len, sequence)) >= SHORTEST:
                self._contained.setdefault(tuple(sequence[:3]), []).append(sequence)
                self._longest = max(self._longest, len(sequence))

    @cached_property
    def key(self) -> str:
        """Fingerprint of the corpus and of the texts kept out of it."""
        parts = [self._corpus.key.encode(), *sorted(self._equal)]
        return hashlib.blake2b(b"/".join(parts), digest_size=16).hexdigest()

    def require_unchanged(self) -> None:
        """As the corpus's own."""
        require_unchanged(self._corpus)

    @property
    def excluded(self) -> int:
        """How many documents are left out."""
        return len(self._dropped[0])

    @property
    def size(self) -> int:
        """Bytes of the whole corpus as stored, where it knows them."""
        return int(getattr(self._corpus, "size", 0))

    def sentences(self, shard: int = 0, of: int = 1) -> Iterator[Sentence]:
        """Sentences of the documents that stay."""
        documents, paragraphs = self._dropped
        gone = set(documents)
        for sentence in self._corpus.sentences(shard, of):
            if sentence.document in gone:
                continue
            before = bisect_left(documents, sentence.document)
            if before:
                sentence = Sentence(
                    string=sentence.string,
                    document=sentence.document - before,
                    paragraph=sentence.paragraph - paragraphs[before],
                    place=sentence.place,
                )
            yield sentence

    @cached_property
    def _dropped(self) -> tuple[list[int], list[int]]:
        """The dropped documents' numbers, ascending; and how many paragraphs the first n of them have together."""
        documents: list[int] = []
        paragraphs = [0]
        for document, sentences in groupby(self._corpus.sentences(), key=lambda sentence: sentence.document):
            held_out, count = self._holds(sentences)
            if held_out:
                documents.append(document)
                paragraphs.append(paragraphs[-1] + count)
        return documents, paragraphs

    def _holds(self, sentences: Iterator[Sentence]) -> tuple[bool, int]:
        """Whether a document equals or contains a text, and how many paragraphs it has."""
        whole = hashlib.blake2b(digest_size=16)
        window: list[str] = []
        found, count, last = False, 0, -1
        for sentence in sentences:
            count, last = count + (sentence.paragraph != last), sentence.paragraph
            new = units(sentence.string)
            whole.update("".join(f"{unit}\0" for unit in new).encode("utf-8", "surrogatepass"))
            window += new
            if len(window) > _WINDOW + self._longest:
                found = found or self._contains(window)
                window = window[-self._longest :] if self._longest else []
        return found or whole.digest() in self._equal or self._contains(window), count

    def _contains(self, window: list[str]) -> bool:
        contained = self._contained
        for at, three in enumerate(zip(window, window[1:], window[2:], strict=False)):
            if three in contained and any(window[at : at + len(text)] == text for text in contained[three]):
                return True
        return False


def excluding(corpus: Corpus, texts: Iterable[str]) -> ExcludingCorpus:
    """`corpus` without the documents that equal one of `texts`, or contain one (see the module); `.excluded` counts."""
    return ExcludingCorpus(corpus, texts)
