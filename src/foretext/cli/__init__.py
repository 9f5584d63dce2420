"""The command line: a table command → options record → function. Nothing heavy is imported before it is needed."""

import errno
import importlib
import os
import signal
import sys
import traceback
from types import FrameType
from typing import NoReturn

from foretext.cli import options
from foretext.errors import ExitCode, ForetextError, Preempted, ResourceError, is_out_of_memory, unknown

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
    "analogy": (options.Analogy, "foretext.cli.vectors:analogy"),
    "similarity": (options.Similarity, "foretext.cli.vectors:similarity"),
    "evaluate-vectors": (options.EvaluateVectors, "foretext.cli.vectors:evaluate_vectors"),
    "map": (options.Map, "foretext.cli.draw:draw_map"),
    "curve": (options.Curve, "foretext.cli.draw:curve"),
    "polysemy": (options.Polysemy, "foretext.cli.draw:polysemy"),
    "fill": (options.Fill, "foretext.cli.ask:fill"),
    "score": (options.Score, "foretext.cli.ask:score"),
    "perplexity": (options.Perplexity, "foretext.cli.ask:perplexity"),
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
    except (Exception, KeyboardInterrupt) as error:
        if isinstance(error, BrokenPipeError):
            # The reader (`| head`) has seen enough. Python would complain once more while closing standard output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(ExitCode.DONE)
        if isinstance(error, KeyboardInterrupt):  # SIGINT or SIGTERM: further ones must not cut the last words short
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
        failure = _failure(error, resumable=words[:1] in _RESUMABLE)
        if failure is None:
            raise
        if debug:
            traceback.print_exception(error)
        _leave(failure.message, failure.exit_code)
    sys.exit(ExitCode.DONE)


def run(words: list[str]) -> None:
    """Parse `words` and call the command's function with its options record."""
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        raise unknown("command", words[0], COMMANDS)
    if words[:1] == ["--version"]:
        from importlib.metadata import version

        print(version("foretext"))
        return
    from foretext.cli.parsing import parsed

    # Only the asked-for command is offered to the parser: its messages and its help stay about that command.
    named = words[:1] if words and words[0] in COMMANDS else list(COMMANDS)
    about = "Raw text to pretrained language models, and those to working classifiers. --debug shows tracebacks."
    kinds = {name: COMMANDS[name][0] for name in named}
    if len(kinds) == 1:
        chosen = parsed(kinds, words[1:], prog=f"foretext {words[0]}", about=None)
    else:
        chosen = parsed(kinds, words, prog="foretext", about=about)
    where = next(where for kind, where in COMMANDS.values() if kind is type(chosen))
    module, _, function = where.partition(":")
    getattr(importlib.import_module(module), function)(chosen)


_RESUMABLE = (["pretrain"], ["transfer"])
"""Commands that `--resume` continues."""


def _failure(error: BaseException, *, resumable: bool) -> ForetextError | None:
    """What a user is told of `error`, or None where it is a defect of ours and shows its traceback."""
    if isinstance(error, ForetextError):
        return error
    if isinstance(error, KeyboardInterrupt):
        how = "with --resume" if resumable else "again"
        return Preempted("interrupted; nothing finished is lost", remedy=f"run the same command {how}")
    if is_out_of_memory(error):
        return ResourceError("out of memory", remedy="use a smaller batch, a smaller model or a shorter length")
    if isinstance(error, OSError) and error.errno in _FULL_OR_BROKEN:
        where = error.filename or "the disk"
        return ResourceError(f"cannot write: {error.strerror}", file=where, remedy="free some disk space")
    if isinstance(error, OSError):
        return ResourceError(f"cannot be read or written ({error.strerror or error})", file=error.filename)
    return None


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    # A BaseException, so that nobody's `except Exception` keeps it, and neither does an `except ForetextError` of ours.
    raise KeyboardInterrupt


def _leave(message: str, code: ExitCode) -> NoReturn:
    print(f"foretext: {message}", file=sys.stderr)
    sys.exit(code)
