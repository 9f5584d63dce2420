"""How long `foretext --help` keeps a person waiting: CPU seconds of a fresh process.

    python -m benchmarks.startup
"""

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.cells import FOLDER, Cell, Check, cell, figures, load, write
from benchmarks.protocol import Round, quartiles

COMMAND = (sys.executable, "-m", "foretext", "--help")
LIMIT = 0.3
"""CPU seconds."""


def once() -> Round:
    """One start; units are starts."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(COMMAND, check=True, capture_output=True)
    after, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Round(units=1, wall=wall, cpu=cpu, steps=1, load=load())


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell."""
    parser = argparse.ArgumentParser("python -m benchmarks.startup", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--quick", action="store_true", help="three rounds")
    arguments = parser.parse_args(given)
    count = 3 if arguments.quick else arguments.rounds
    began, before = time.time(), load()
    once()
    rounds = {"foretext --help": [once() for _ in range(count)]}
    middle = quartiles([r.cpu for r in rounds["foretext --help"]])[1]
    made = cell(
        "startup",
        "startup",
        config={"rounds": count},
        data=None,
        seconds=time.time() - began,
        load=before,
        rounds=rounds,
        checks=[Check(name="CPU seconds", value=middle, limit=LIMIT)],
    )
    write(arguments.out, made)
    print(figures(made))
    return [made]


if __name__ == "__main__":
    main()
