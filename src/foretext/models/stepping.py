"""What the families with a stepper of their own share: what they read of a token store, and when a checkpoint is theirs."""

from pathlib import Path
from typing import Protocol

from foretext.errors import ArtefactError, DivergedError
from foretext.types import JSON, Bits, Ints, Tokenizer

RUNAWAY = 1e6
"""A step's mean loss at which a run has diverged, though every number in it is finite: a table of zeros has a hundred
thousandth of it, in nats a word as in GloVe's squares."""


class Store(Protocol):
    """A token store (`text.store.TokenStore`). `ids` [N]; `sentences` [s+1] token offsets; `documents` [d+1] sentence
    offsets; `held_out` [s] bits; `counts` [≥ V] of the training part; `key` its fingerprint; `path` its
    folder. A family asks for what it needs of these."""

    @property
    def ids(self) -> Ints: ...
    @property
    def sentences(self) -> Ints: ...
    @property
    def documents(self) -> Ints: ...
    @property
    def held_out(self) -> Bits: ...
    @property
    def counts(self) -> Ints: ...
    @property
    def tokenizer(self) -> Tokenizer: ...
    @property
    def key(self) -> str: ...
    @property
    def path(self) -> Path: ...
    def sections(self, held_out: bool) -> Ints:
        """[k,3] (first sentence, last sentence (exclusive), document)."""
        ...
    def let_go(self) -> None:
        """Let go of the pages of its files that were read, where they are many."""
        ...


def require_own(cursor: JSON, **mine: JSON) -> None:
    """ArtefactError where a checkpoint's cursor says otherwise than this run of one of `mine`: its length ("total"), its
    seed, what it reads ("store")."""
    for field, value in mine.items():
        if cursor[field] != value:
            raise ArtefactError(
                f"this checkpoint's {field} is {cursor[field]}, this run's is {value}",
                remedy="resume with the recipe and corpus it was made with",
            )


def require_sane(loss: float, family: str, where: str, remedy: str) -> None:
    """DivergedError where a step's mean loss has run away; `where`: which step, for people."""
    if not loss < RUNAWAY:
        raise DivergedError(f"{family}'s loss ran away to {loss:.3g} in {where}", remedy=remedy)
