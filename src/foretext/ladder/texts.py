"""A grid's texts: the raw text that rungs are pretrained on, and the labelled texts they are judged by."""

from pathlib import Path

from foretext.ladder.config import LadderConfig
from foretext.tasks.base import Labelled, read_labelled
from foretext.text.corpus import excluding, open_corpus
from foretext.types import Corpus


def labelled(config: LadderConfig, file: str) -> Labelled:
    """The grid's labelled texts in one of its two files."""
    return read_labelled(file, text=config.text, label=config.label)


def corpus_of(config: LadderConfig, test: Labelled) -> Corpus:
    """The grid's raw text, without the documents that hold a test text (unless it says not to)."""
    whole = open_corpus(config.corpus, config.reading)
    return excluding(whole, test.texts) if config.hold_out else whole


def shared_folder(out: Path) -> Path:
    """Where the vectors of texts lie that several cells read."""
    return out / "cache" / "shared"


def model_folder(out: Path, key: str) -> Path:
    """Where a pretraining cell's model lies."""
    return out / "models" / key
