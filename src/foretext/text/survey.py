"""What a pass over a corpus counts as it goes by: sizes, and the places where a shard may start."""

from dataclasses import dataclass

from foretext.text.readers import Counts

BLOCK = 1 << 14
"""Characters, at least, between two places where a shard may start."""

MOST_BLOCKS = 8192


@dataclass(frozen=True, slots=True)
class Mark:
    """A document start where a shard may begin: its file and line, its number, its first paragraph's number, and the
    characters before it."""

    file: int
    line: int
    document: int
    paragraph: int
    characters: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What one pass counted, and where shards may start."""

    documents: int
    paragraphs: int
    characters: int
    counts: Counts
    marks: tuple[Mark, ...]


class Surveyor:
    """Makes the survey while paragraphs go by."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._block = BLOCK
        self._marks: list[Mark] = []
        self._document = self._paragraph = -1
        self._characters = 0

    def add(self, file: int, document: int, paragraph: int, line: int, string: str) -> None:
        """The next paragraph."""
        marks = self._marks
        if document > self._document and (not marks or self._characters - marks[-1].characters >= self._block):
            marks.append(Mark(file, line, document, paragraph, self._characters))
            if len(marks) > MOST_BLOCKS:
                del marks[1::2]
                self._block *= 2
        self._document, self._paragraph = document, paragraph
        self._characters += len(string)

    def survey(self) -> Survey:
        """After the last paragraph."""
        return Survey(
            documents=self._document + 1,
            paragraphs=self._paragraph + 1,
            characters=self._characters,
            counts=self.counts,
            marks=tuple(self._marks),
        )
