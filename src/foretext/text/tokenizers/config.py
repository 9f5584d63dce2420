"""The settings of a tokenizer; light, so that recipes and the command line can read it."""

from dataclasses import dataclass
from typing import Literal

import msgspec

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import JSON

LEXICONS = ("words", "spaces", "characters")
"""Kinds whose entries are whole words or characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """What a token is, and how the vocabulary is chosen from a corpus."""

    kind: Literal["words", "spaces", "characters", "wordpiece", "bpe", "unigram"] = "wordpiece"
    """"words": cut at white space and punctuation, Chinese by rjieba; "spaces": at white space alone, for text that is
    tokenized already; the others as they are known."""
    size: int = 30522
    """Entries of the vocabulary, special tokens included (wordpiece, bpe, unigram); words, spaces and characters keep
    every entry that `min_count` and `most_words` allow, ranked by frequency, so that any smaller vocabulary is a prefix."""
    lowercase: bool = True
    strip_accents: bool = True
    """Drop combining marks: "é" is "e", composed or not."""
    chinese: Literal["characters", "words", "plain"] = "characters"
    """How runs of Chinese characters are cut before any vocabulary is looked at: each character by itself (BERT), words
    by rjieba, or not at all. Words and characters are cut as their names say, whatever stands here."""
    whole_words: Literal["segmented", "characters"] = "segmented"
    """What starts a Chinese *word* where pieces are characters: rjieba's words (whole-word masking then hides all the
    characters of a word together), or every character."""
    special: tuple[str, ...] = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    """Special tokens, ids 0, 1, … in this order; the one named "[UNK]" or "<unk>" stands for what is unknown."""
    min_count: int = 1
    """Words (or merged pairs of pieces) seen less often are left out."""
    coverage: float = 0.9999
    """Share of all characters seen that the alphabet must cover before any merge; rarer ones are kept while there is
    room (Kudo and Richardson 2018 use 0.9995)."""
    most_words: int = 1_000_000
    """Most distinct words counted at once (about 150 bytes each); beyond it the rarest are forgotten."""
    unseen: Literal["character", "word", "spelling"] = "character"
    """What becomes "[UNK]" in WordPiece: the unseen character only, or the whole word around it and every word longer
    than 100 characters (google-research/bert). "spelling": words and characters outside the lexicon keep their spelling
    (`types.Forms`), for families that make vectors of letters; corpora are stored without them all the same."""
    folding: Literal["character", "bert"] = "character"
    """How text is folded and cut into words: character by character ("character"), or to the letter as BERT's released
    code and transformers do it ("bert"), for vocabularies that come from there."""

    phrases: tuple[float, ...] = ()
    """Thresholds, one a pass: words that stand together more often than that become one entry, "new_york" (words only;
    word2phrase, see `phrases`). Its demo takes 200, then 100. Higher: fewer phrases."""
    phrase_discount: float = 5.0
    """δ: taken off the count of every pair, so that rare ones are no phrases; rarer words are joined to nothing."""

    def __post_init__(self) -> None:
        ranges(self, least={"size": 1, "min_count": 0, "most_words": 1, "phrase_discount": 0.0}, above={"phrases": 0.0}, shares=("coverage",))
        if self.phrases and self.kind != "words":
            raise UsageError(f"only words are joined to phrases, not {self.kind}", place="phrases", remedy='set kind to "words"')
        if self.unseen == "spelling" and self.kind not in LEXICONS:
            raise UsageError(f"unseen words keep their spelling in lexicons of words or characters, not in {self.kind}", place="unseen")


def plain(config: TokenizerConfig) -> dict[str, JSON]:
    """The settings as JSON, without those of phrases where there are none: folders from before there were any keep
    their form and their key."""
    found: dict[str, JSON] = msgspec.to_builtins(config)
    return found if config.phrases else {name: value for name, value in found.items() if not name.startswith("phrase")}
