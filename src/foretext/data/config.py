"""Settings of the windows that training reads, as plain data (imports neither torch nor numpy)."""

from dataclasses import dataclass
from typing import Literal

from foretext.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowsConfig:
    """How running text becomes rows of `length` tokens."""

    kind: Literal["pairs", "packed", "single"] = "packed"
    """"pairs": BERT's segments A and B, one pair a row; "packed": documents cut to full length, short ones together in
    a row; "single": the same sequences as "packed", one a row and padded."""
    length: int = 128
    """Tokens of one row, special tokens included."""
    short: float = 0.1
    """"pairs" only: share of the pairs that aim at a random shorter length (google-research/bert: short_seq_prob)."""
    copies: int = 10
    """Static instances: epoch e reads copy e mod n, each with its own cuts, pairs and masks (google-research/bert:
    dupe_factor). 0 = dynamic: every epoch draws anew (RoBERTa)."""
    block: int = 2_000_000
    """Corpus tokens planned (shuffled, paired, packed) at a time; bounds the plan's memory."""

    def __post_init__(self) -> None:
        if self.length < 8:
            raise UsageError(f"windows.length: expected at least 8 tokens a row, found {self.length}")
        if not 0.0 <= self.short <= 1.0:
            raise UsageError(f"windows.short: expected a share between 0 and 1, found {self.short}")
        if self.copies < 0:
            raise UsageError(f"windows.copies: expected 0 (dynamic) or more, found {self.copies}")
        if self.block < 1:
            raise UsageError(f"windows.block: expected at least 1 token, found {self.block}")
