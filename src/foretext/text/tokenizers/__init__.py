"""Tokenizers: words, characters, WordPiece, BPE and unigram pieces, trained from a corpus, exact to the character."""

from pathlib import Path

from foretext.errors import ArtefactError
from foretext.text.shards import Progress
from foretext.text.tokenizers.chunked import ChunkTokenizer
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.text.tokenizers.counting import count_words
from foretext.text.tokenizers.files import RULES, read_files
from foretext.text.tokenizers.phrases import with_phrases
from foretext.text.tokenizers.training import train_spelling
from foretext.types import Corpus

__all__ = ["ChunkTokenizer", "TokenizerConfig", "load_tokenizer", "train_tokenizer"]


def train_tokenizer(
    config: TokenizerConfig, corpus: Corpus, *, workers: int | None = None, progress: Progress | None = None
) -> ChunkTokenizer:
    """Learn a vocabulary from `corpus`: one pass counts words (in several processes where the corpus is large), the
    rest works on the counts. Memory is bounded by `config.most_words`; the result depends on corpus and configuration
    alone. `workers`: None = by the corpus's size, 0 = this process. Errors: no words → DataError; a configuration that
    cannot be met → UsageError."""
    words = count_words(config, corpus, workers=workers, progress=progress)
    tokenizer = ChunkTokenizer(config, train_spelling(config, words))
    if not config.phrases:
        return tokenizer
    return ChunkTokenizer(config, with_phrases(tokenizer, corpus, workers=workers, progress=progress))


def load_tokenizer(folder: Path) -> ChunkTokenizer:
    """Load what `ChunkTokenizer.save` wrote. Errors: anything missing, malformed or altered → ArtefactError."""
    config, spelling, key = read_files(Path(folder))
    tokenizer = ChunkTokenizer(config, spelling)
    if tokenizer.key != key:
        raise ArtefactError(
            "the files are not those that were written: their fingerprint differs",
            file=Path(folder) / RULES,
            remedy="restore the folder from a copy",
        )
    return tokenizer
