"""What decides an n-gram model. Light: imports neither numba nor torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from foretext.config import ranges
from foretext.errors import UsageError
from foretext.types import Template


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramConfig:
    """Interpolated modified Kneser-Ney smoothing (Chen and Goodman 1998, TR-10-98, section 4.1; 1999)."""

    name: Literal["ngram"] = "ngram"
    order: int = 5
    """Longest n-gram counted, 1 to 5: a word is predicted from the order − 1 words before it."""
    unit: Literal["sentence", "document"] = "sentence"
    """What is read as one text: contexts never reach beyond its start, and its end is predicted."""
    boundary: str = "</s>"
    """The special token that stands for the ends of units (and, in contexts, for their starts)."""
    block: int = 1_000_000
    """Places (words and ends) counted a step; each step sorts so many n-grams."""
    memory: int = 512
    """Megabytes of counts kept in memory; sorted runs beyond that lie on disk, beside the token store."""
    template: Template = Template()  # noqa: RUF009 - frozen, so sharing one instance is safe

    lacks: ClassVar[Mapping[str, str]] = {
        "updates": "an n-gram model is counted by one thread, whatever --threads says: there is nothing to be put in order",
        "frozen": "an n-gram model has no vectors that could stand still",
        "extends": "an n-gram model has no vectors that new words could start from: they stay unknown",
    }

    def __post_init__(self) -> None:
        ranges(self, least={"order": 1, "block": 1, "memory": 1})
        if self.order > 5:
            raise UsageError(f"ngram.order must be 1 to 5, found {self.order}")

    @property
    def epochs(self) -> float:
        """Text is counted once."""
        return 1.0

    @property
    def closed(self) -> str:
        """Why its vocabulary cannot be extended."""
        return "an n-gram model has no vectors that new words could start from"
