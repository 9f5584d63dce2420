"""`PYTHONPATH=tests python -m conformance [--out FILE] [--checks NAME,…] [--rows TEXT]`: run the suite, print the matrix.

`--rows` takes the rows whose names hold a text. Exit code 1 when a cell fails."""

import argparse
import json
import os
import sys
from pathlib import Path

HEAD = """\
# Conformance

Every family and every task under every check, in float64 and then float32; written by `PYTHONPATH=tests python -m conformance --out
docs/conformance.md`. A skip has a declared reason, or it fails; `tests/conformance/test_matrix.py` runs the same cells in `make test`.

"""


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="conformance", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the matrix (Markdown) to this file")
    parser.add_argument("--checks", default="", help="names of checks, separated by commas; all where empty")
    parser.add_argument("--rows", default="", help="only rows whose name holds this text")
    parser.add_argument("--digests", action="store_true", help="print every row's digest as JSON instead (check 7)")
    told = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    torch.set_num_threads(1)
    from conformance import matrix, repeating, rows

    os.environ["FORETEXT_CACHE"] = str(rows.scratch() / "cache")
    if told.digests:
        print(json.dumps(repeating.all_digests()))
        return 0
    names = [name for name in told.checks.split(",") if name]
    checks = [check for check in matrix.CHECKS if not names or check.name in names]
    chosen = [row for row in rows.ALL if told.rows in row.name]
    text, good = matrix.report(checks, chosen, lambda line: print(line, file=sys.stderr, flush=True))
    print(text)
    if told.out:
        told.out.write_text(HEAD + text)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
