"""Strangers' files are parsed in a process of their own, with limits on time and memory.

Whatever a file does to its parser (endless nesting, sizes of a billion, a panic in compiled code) ends that process
and becomes one ArtefactError here. Argument and result are JSON; nothing is pickled.
"""

import contextlib
import importlib
import os
import resource
import subprocess
import sys
from pathlib import Path

import msgspec

from foretext.errors import ArtefactError, ForetextError
from foretext.types import JSON

SECONDS = 10.0
"""Of processor time, which is what a parser that loops spends."""
MEGABYTES = 2048
"""For one model's metadata: a vocabulary of 250,000 pieces takes about 2 s and 300 MB."""
_PATIENCE = 60.0
"""Seconds of wall time more than five times the processor's: a busy machine is no reason to distrust a file."""
_MOST_RESULT = 256 << 20
"""Bytes of a result; what is longer is no metadata."""


def limited(where: str, argument: JSON, *, seconds: float = SECONDS, megabytes: int = MEGABYTES, about: str = "") -> JSON:
    """The result of the function `where` ("module:name") of the JSON value `argument`, called in a fresh process.

    `seconds` of processor time (and some five times that of wall time), `megabytes` of address space; `about` names the file in
    messages. Errors: the function's own ForetextError as an ArtefactError with the same words; a limit met, a crash or
    any other exception → ArtefactError.
    """
    patience = 5 * seconds + _PATIENCE
    package = Path(__file__).parent.parent.parent
    paths = [str(package), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    # One thread: libraries that start a pool at import would spend the address space on its stacks.
    quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "foretext.interop.sandbox", where, repr(seconds), str(megabytes)]
    try:
        done = subprocess.run(
            command,
            input=msgspec.json.encode(argument),
            capture_output=True,
            timeout=patience,
            env={**os.environ, **quiet},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _refused(f"it could not be read within {patience:.0f} seconds", about) from None
    if done.returncode != 0:
        raise _refused(f"its parser ended with {_reason(done.returncode, done.stderr)}", about)
    answer = msgspec.json.decode(done.stdout)
    if "error" in answer:
        error = answer["error"]
        raise ArtefactError(error["rule"], file=error["file"] or about or None, place=error["place"], remedy=error["remedy"])
    return answer["result"]


def _refused(rule: str, about: str) -> ArtefactError:
    return ArtefactError(f"not a file to trust: {rule}", file=about or None, remedy="get it again from its source")


def _reason(code: int, stderr: bytes) -> str:
    if code < 0:
        return f"signal {-code} (it met its limit of time or memory, or crashed)"
    last = stderr.decode("utf-8", "replace").strip().splitlines()
    return last[-1][:200] if last else f"exit code {code}"


# ── inside ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _limit(seconds: float, megabytes: int) -> None:
    """Set what the kernel allows this process, for good."""
    whole = max(1, int(seconds + 0.999))
    for kind, value in (
        (resource.RLIMIT_CPU, whole),
        (resource.RLIMIT_AS, megabytes << 20),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(kind, (value, value))


def _answer(where: str, argument: JSON) -> JSON:
    module, _, name = where.partition(":")
    function = getattr(importlib.import_module(module), name)
    try:
        return {"result": function(argument)}
    except ForetextError as error:
        return {"error": {"rule": error.rule, "file": error.file, "place": error.place, "remedy": error.remedy}}
    except (MemoryError, RecursionError) as error:
        return {"error": {"rule": f"too large or too deep to read ({type(error).__name__})", "file": None, "place": "", "remedy": ""}}


def main(arguments: list[str]) -> int:
    """The process's own main: limits first, then the argument is read."""
    where, seconds, megabytes = arguments
    _limit(float(seconds), int(megabytes))
    answer = msgspec.json.encode(_answer(where, msgspec.json.decode(sys.stdin.buffer.read())))
    if len(answer) > _MOST_RESULT:
        print("its metadata is too large", file=sys.stderr)
        return 1
    sys.stdout.buffer.write(answer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
