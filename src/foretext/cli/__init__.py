"""The command line: a table command → options record → function. Nothing heavy is imported before it is needed."""

import errno
import importlib
import os
import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn, Union

from foretext.cli import options
from foretext.errors import ExitCode, ForetextError, unknown

COMMANDS: dict[str, tuple[type, str]] = {
    "check": (options.Check, "foretext.cli.corpus:check"),
    "show": (options.Show, "foretext.cli.corpus:show"),
    "pretrain": (options.Pretrain, "foretext.cli.train:pretrain"),
    "extend": (options.Extend, "foretext.cli.extend:extend"),
    "transfer": (options.Transfer, "foretext.cli.train:transfer"),
    "predict": (options.Predict, "foretext.cli.classify:predict"),
    "evaluate": (options.Evaluate, "foretext.cli.classify:evaluate"),
    "encode": (options.Encode, "foretext.cli.encode:encode"),
    "neighbors": (options.Neighbors, "foretext.cli.ask:neighbors"),
    "fill": (options.Fill, "foretext.cli.ask:fill"),
    "score": (options.Score, "foretext.cli.ask:score"),
    "ladder": (options.Ladder, "foretext.cli.compare:ladder"),
    "demo": (options.Demo, "foretext.cli.compare:demo"),
    "convert": (options.Convert, "foretext.cli.house:convert"),
    "info": (options.Info, "foretext.cli.house:info"),
    "recipes": (options.Recipes, "foretext.cli.house:recipes"),
    "data": (options.Data, "foretext.cli.house:data"),
}


_FULL_OR_BROKEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS)


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and leave with its exit code; a failure is one line on standard error."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    signal.signal(signal.SIGTERM, _stop)
    try:
        run(words)
    except ForetextError as error:
        if debug:
            raise
        _leave(error.message, error.exit_code)
    except KeyboardInterrupt:  # SIGINT or SIGTERM
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if debug:
            raise
        _leave("interrupted; nothing finished is lost, run the same command with --resume", ExitCode.PREEMPTED)
    except BrokenPipeError:
        # The reader (`| head`) has seen enough. Python would complain once more while closing standard output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if debug or error.errno not in _FULL_OR_BROKEN:
            raise
        _leave(f"{error.filename or 'the disk'}: cannot write: {error.strerror}; free some disk space", ExitCode.RESOURCES)
    except MemoryError:
        if debug:
            raise
        _leave("out of memory; use a smaller batch, a smaller model or a shorter length", ExitCode.RESOURCES)
    sys.exit(ExitCode.DONE)


def run(words: list[str]) -> None:
    """Parse `words` and call the command's function with its options record."""
    import tyro

    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown("command", words[0], COMMANDS)
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(version("foretext"))
        return
    # Only the asked-for command is offered to the parser: its messages and its help stay about that command.
    named = {words[0]: COMMANDS[words[0]]} if words and words[0] in COMMANDS else COMMANDS
    kinds = tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, (kind, _) in named.items())
    union: Any = Union[kinds] if len(kinds) > 1 else kinds[0]  # noqa: UP007 (built at run time)
    about = "Raw text to pretrained language models, and those to working classifiers. --debug shows tracebacks."
    rest = words[1:] if len(named) == 1 else words
    prog = f"foretext {words[0]}" if len(named) == 1 else "foretext"
    chosen = tyro.cli(union, args=rest, prog=prog, config=(tyro.conf.FlagCreatePairsOff,), description=None if len(named) == 1 else about)
    where = next(where for kind, where in COMMANDS.values() if kind is type(chosen))
    module, _, function = where.partition(":")
    getattr(importlib.import_module(module), function)(chosen)


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # A BaseException, so that nobody's `except Exception` keeps it, and neither does an `except ForetextError` of ours.
    raise KeyboardInterrupt


def _leave(message: str, code: ExitCode) -> NoReturn:
    print(f"foretext: {message}", file=sys.stderr)
    sys.exit(code)
