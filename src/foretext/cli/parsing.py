"""Words → an options record. tyro reads them; what it would say over many lines in a frame becomes one UsageError."""

import contextlib
import dataclasses
import io
import re
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Union

import tyro

from foretext.errors import UsageError, nearest, require_whole

_FRAME = re.compile("[│╭╮╰╯─]+")
_ADVICE = re.compile(r"(Got errors:|Argument helptext:|Perhaps you meant:|For full helptext|\(default:).*")


def parsed(kinds: Mapping[str, type], words: list[str], *, prog: str, about: str | None) -> Any:
    """The record of the command that `words` ask for. `--help` prints and exits (SystemExit 0). Errors: an unknown
    option, a missing or ill-typed value → UsageError."""
    if len(kinds) == 1:
        _check_options(next(iter(kinds.values())), words, prog)
    union: Any = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in kinds.items())
    union = Union[union] if len(kinds) > 1 else next(iter(kinds.values()))  # noqa: UP007 (built at run time)
    told = io.StringIO()
    try:
        with contextlib.redirect_stderr(told):
            chosen = tyro.cli(union, args=words, prog=prog, config=(tyro.conf.FlagCreatePairsOff,), description=about)
    except SystemExit as left:
        if not left.code:
            raise
        lines = [line for line in told.getvalue().splitlines() if not line.startswith("╭")]  # the frame's title
        text = " ".join(_FRAME.sub(" ", " ".join(lines)).split())
        raise UsageError(_ADVICE.sub("", text).strip(" .") or "the command line was not understood", remedy=f"{prog} --help shows what is expected") from left
    _check_values(chosen)
    return chosen


_LEAST = {"n": 1, "seeds": 1, "processes": 1, "threads": 1, "seed": 0, "most": 0, "min_count": 1}
"""The smallest value of whole numbers that several commands take."""
_NEEDED = {"words": "a word", "runs": "a folder"}


def _check_values(chosen: Any) -> None:
    """UsageError for a whole number below what its name allows, and for an empty list where something is needed."""
    for name, least in _LEAST.items():
        value = getattr(chosen, name, None)
        if isinstance(value, int):
            require_whole(f"--{name.replace('_', '-')}", value, least)
    for name, what in _NEEDED.items():
        if getattr(chosen, name, None) == ():
            raise UsageError(f"expected {what} or more, found none")


def _check_options(kind: type, words: list[str], prog: str) -> None:
    """Refuse an option that the command does not have, with the nearest that it has."""
    known = {*_names(kind), "help"}
    for word in words:
        if word == "--":
            return
        name = word[2:].partition("=")[0].replace("_", "-")
        if word.startswith("--") and name not in known:
            guess = nearest(name, known)
            hint = f"did you mean --{guess}? " if guess else ""
            raise UsageError(f"unknown option --{name}", remedy=f"{hint}{prog} --help lists them")


def _names(kind: Any) -> set[str]:
    """The options of a record; those of records inside it stand beside them."""
    found: set[str] = set()
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        inner, *marks = typing.get_args(hint) if typing.get_origin(hint) is Annotated else (hint,)
        if dataclasses.is_dataclass(inner):
            found |= _names(inner)
            continue
        given = [name for mark in marks if isinstance(name := getattr(mark, "name", None), str)]
        found.add(given[0] if given else field.name.replace("_", "-"))
    return found
