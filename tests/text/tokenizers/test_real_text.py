"""Real text, English and Chinese: the ids of BERT's own tokenizer, and not a character lost."""

import lzma
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tokenizers.implementations import BertWordPieceTokenizer

from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.types import Text

SETS = ["en/enwiki-extract/enwiki_AA_00-63.txt.xz", "zh/raw-wiki/cmrc2018_test_contexts.txt.xz"]


def strange(character: str) -> bool:
    """Where we differ on purpose: Hangul stays composed, and 々, 〇 and rarer planes count as Chinese."""
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3" or character in "々〇ςΣ"


@pytest.mark.parametrize("name", SETS)
def test_ids_are_those_of_berts_tokenizer(name: str, data_set: Callable[[str], Path]) -> None:
    with lzma.open(data_set(name), "rt", encoding="utf-8") as file:
        lines = [line for line in file.read(200_000).split("\n") if line.strip()]
    made = train_tokenizer(TokenizerConfig(size=4000, unseen="word"), strings_corpus(lines))
    theirs = BertWordPieceTokenizer({piece: n for n, piece in reversed(list(enumerate(made.pieces)))})
    compared = [line for line in lines if not any(map(strange, line))]
    assert len(compared) > 0.9 * len(lines)
    ids, lengths, _ = made.ids(compared)
    expected = [theirs.encode(line, add_special_tokens=False).ids for line in compared]
    assert np.split(ids, np.cumsum(lengths)[:-1])[0].tolist() == expected[0]
    assert ids.tolist() == [number for line in expected for number in line]
    for line, encoding in zip(lines, made.encode([Text(string=line) for line in lines]), strict=True):
        covered = np.zeros(len(line), dtype=int)
        for start, stop in encoding.offsets.tolist():
            covered[start:stop] += 1
        seen = [not c.isspace() and unicodedata.category(c) not in ("Cc", "Cf") for c in line]
        assert (covered[seen] == 1).all()
