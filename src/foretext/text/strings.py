"""A corpus in memory, for tests and for Python callers."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property

import msgspec

from foretext.errors import DataError
from foretext.text.normalize import RULES, normalized, without_surrogates
from foretext.text.sentences import Language, split_sentences
from foretext.types import Place, Sentence


class StringsCorpus:
    """A corpus in memory: each string is a document, each of its lines a paragraph; blank documents are left out."""

    def __init__(self, documents: Sequence[str], language: Language = "auto") -> None:
        self.language = language
        cleaned = (normalized(without_surrogates(document)) for document in documents)
        self._documents = [
            (number, paragraphs)
            for number, document in enumerate(cleaned, 1)
            if (paragraphs := [line.strip() for line in document.split("\n") if line.strip()])
        ]
        if not self._documents:
            raise DataError("expected text, found only white space or nothing", remedy="give documents with text")

    @cached_property
    def key(self) -> str:
        """Fingerprint of the texts and the language."""
        return hashlib.blake2b(
            msgspec.json.encode([RULES, self.language, [paragraphs for _, paragraphs in self._documents]]),
            digest_size=16,
        ).hexdigest()

    def sentences(self, shard: int = 0, of: int = 1) -> Iterator[Sentence]:
        """Sentences in order; `Place.line` is the document's number from 1."""
        assert 0 <= shard < of, (shard, of)
        first, last = (len(self._documents) * at // of for at in (shard, shard + 1))
        paragraph = sum(len(paragraphs) for _, paragraphs in self._documents[:first])
        for document, (number, paragraphs) in enumerate(self._documents[first:last], first):
            place = Place(file="document", line=number)
            for string in paragraphs:
                for sentence in split_sentences(string, self.language):
                    yield Sentence(string=sentence, document=document, paragraph=paragraph, place=place)
                paragraph += 1


def strings_corpus(documents: Sequence[str], *, language: Language = "auto") -> StringsCorpus:
    """Each string a document, each of its lines a paragraph. No text at all is a DataError."""
    return StringsCorpus(documents, language)
