"""The settings of a tokenizer; light, so that recipes and the command line can read it."""

from dataclasses import dataclass
from typing import Literal

from foretext.config import ranges
from foretext.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerConfig:
    """What a token is, and how the vocabulary is chosen from a corpus."""

    kind: Literal["words", "characters", "wordpiece", "bpe", "unigram"] = "wordpiece"
    size: int = 30522
    """Entries of the vocabulary, special tokens included (wordpiece, bpe, unigram); words and characters keep every
    entry that `min_count` and `most_words` allow, ranked by frequency, so that any smaller vocabulary is a prefix."""
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

    def __post_init__(self) -> None:
        ranges(self, least={"size": 1, "min_count": 0, "most_words": 1}, shares=("coverage",))
        if self.unseen == "spelling" and self.kind not in ("words", "characters"):
            raise UsageError(f"unseen words keep their spelling in lexicons of words or characters, not in {self.kind}", place="unseen")
