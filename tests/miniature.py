"""A miniature world for the data tests: a token store in memory, and a tokenizer of made-up words."""

import re
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from foretext.types import Bits, Encoding, Ints, Template, Text

BERT = Template(start="[CLS]", between="[SEP]", end="[SEP]", segments=True, summary="start")
SPECIAL = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4}


class MiniTokenizer:
    """Only what windows and objectives ask of a tokenizer."""

    def __init__(self, size: int = 200) -> None:
        self.size, self.special, self.key = size, SPECIAL, f"mini-{size}"
        self.pieces = [*SPECIAL, *(f"w{i}" for i in range(len(SPECIAL), size))]

    def encode(self, texts: Sequence[Text]) -> list[Encoding]:
        """Words stand between spaces; each piece is at most three characters of a word."""
        found = []
        for text in texts:
            spans = [
                (word, at, min(at + 3, match.end()))
                for word, match in enumerate(re.finditer(r"\S+", text.string))
                for at in range(match.start(), match.end(), 3)
            ]
            ids = [5 + sum(map(ord, text.string[a:b])) % (self.size - 5) for _, a, b in spans]
            table = np.array([(i, *span) for i, span in zip(ids, spans, strict=True)], np.int64).reshape(-1, 4)
            found.append(Encoding(ids=table[:, 0], offsets=table[:, 2:], word=table[:, 1]))
        return found


class MiniStore:
    """Documents of sentences of ids, in memory; `held_out` numbers the documents kept out of training."""

    def __init__(
        self, documents: Sequence[Sequence[Sequence[int]]], held_out: Sequence[int] = (), size: int = 200
    ) -> None:
        self.documents_given = documents
        sentences = [s for d in documents for s in d]
        self.ids: Ints = np.array([t for s in sentences for t in s], np.uint16)
        self.sentences: Ints = np.concatenate([[0], np.cumsum([len(s) for s in sentences])]).astype(np.int64)
        self.documents: Ints = np.concatenate([[0], np.cumsum([len(d) for d in documents])]).astype(np.int64)
        self.held_out_documents = set(held_out)
        self.tokenizer, self.key = MiniTokenizer(size), f"store-{hash(self.ids.tobytes())}-{sorted(held_out)}"

    @cached_property
    def word_starts(self) -> Bits:
        """Every id divisible by 3 continues the word before it."""
        return np.asarray(self.ids % 3 != 0)

    def sections(self, held_out: bool) -> Ints:
        rows = [
            (self.documents[d], self.documents[d + 1], d)
            for d in range(len(self.documents) - 1)
            if (d in self.held_out_documents) == held_out
        ]
        return np.array(rows, np.int64).reshape(-1, 3)

    def let_go(self) -> None:
        """It has no files."""

    def document_of(self, token: int) -> int:
        sentence = int(np.searchsorted(self.sentences, token, "right")) - 1
        return int(np.searchsorted(self.documents, sentence, "right")) - 1


def random_store(documents: int = 60, seed: int = 0, held_out: Sequence[int] = (), size: int = 200) -> MiniStore:
    """Documents of 1–30 sentences of 1–25 tokens."""
    rng = np.random.default_rng(seed)
    return MiniStore(
        [
            [rng.integers(5, size, rng.integers(1, 26)).tolist() for _ in range(rng.integers(1, 31))]
            for _ in range(documents)
        ],
        held_out,
        size,
    )
