"""Check 14: bugs that others shipped, planted in a copy of the source; the suite must fail on each.

`python planted.py SOURCE SCRATCH` reads defects as JSON lines on standard input ({"edits", "catch"}) and
answers a JSON line each (a defect's "edits" are lists of file, old text, new text). It imports the large libraries once; each defect then gets a forked process in which foretext
is imported from its own patched copy. A defect is caught by a check when the check fails as checks do: by an assertion,
or by an error of foretext's own. Anything else means that the patch broke the program instead of planting a bug.
"""

import json
import os
import shutil
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any


def patched(source: Path, target: Path, edits: list[list[str]]) -> None:
    """Copy the package `source` to `target` with texts replaced; ValueError where one does not stand there once."""
    shutil.copytree(source, target)  # times are kept: what is compiled already stays compiled
    for file, old, new in edits:
        text = (target / file).read_text()
        if text.count(old) != 1:
            raise ValueError(f"{file}: the text to replace is found {text.count(old)} times: {old!r}")
        (target / file).write_text(text.replace(old, new))


def run_checks(catch: list[list[str]]) -> list[str]:
    """What became of each (check, row): "conforms", "fails: …" or "broken: …"."""
    from conformance import matrix, rows
    from foretext.errors import ForetextError

    os.environ["FORETEXT_CACHE"] = str(rows.scratch() / "cache")
    found = []
    for name, row_name in catch:
        (check,) = (check for check in matrix.CHECKS if check.name == name)
        (row,) = (row for row in rows.ALL if row.name == row_name)
        assert not matrix.reason(check, row), f"{name} is declared for {row_name}"
        try:
            check.run(row)
            found.append("conforms")
        except (AssertionError, ForetextError) as error:
            found.append(f"fails: {str(error)[:200]}")
        except Exception as error:
            told = "".join(traceback.format_exception(error, limit=-4))
            found.append(f"fails: {error}" if "GradcheckError" in type(error).__name__ else f"broken: {told}")
    return found


def _child(defect: dict[str, Any], source: Path, scratch: Path, out: int) -> None:
    """The forked process: patch, import from the copy, run, answer through the pipe `out`."""
    target = scratch / f"copy-{os.getpid()}" / "foretext"
    try:
        target.parent.mkdir(parents=True)
        tempfile.tempdir = str(target.parent)
        patched(source, target, defect["edits"])
        sys.path[:] = [str(target.parent), *(p for p in sys.path if Path(p or ".").resolve() != source.parent)]
        os.environ["PYTHONPATH"] = os.pathsep.join([str(target.parent), str(Path(__file__).parent.parent)])
        import foretext

        assert foretext.__file__ is not None and Path(foretext.__file__).is_relative_to(target), "the copy is not imported"
        answer = json.dumps(run_checks(defect["catch"]))
    except BaseException as error:
        answer = json.dumps([f"broken: {type(error).__name__}: {error}"] * len(defect["catch"]))
    finally:
        shutil.rmtree(target.parent, ignore_errors=True)
    with os.fdopen(out, "wb") as pipe:
        pipe.write(answer.encode())


def serve(source: Path, scratch: Path) -> None:
    """Answer defects until the input ends."""
    import numba  # noqa: F401 — imported here, once, for all
    import numpy  # noqa: F401
    import pytest  # noqa: F401
    import safetensors.numpy
    import scipy.stats
    import sklearn.metrics
    import tokenizers  # noqa: F401
    import torch
    import torch._dynamo
    import torch.func

    torch.set_num_threads(1)
    assert "foretext" not in sys.modules and safetensors and scipy and sklearn
    for line in sys.stdin:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _child(json.loads(line), source, scratch, writing)
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            answer = pipe.read().decode()
        os.waitpid(child, 0)
        print(answer, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))
    sys.path[:] = [p for p in sys.path if Path(p).resolve() != Path(__file__).parent.resolve()]
    serve(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
