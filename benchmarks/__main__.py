"""`make bench`: the quick subset, a few minutes; cells and the rendered document go to runs/bench, not into the repository.

What needs no peer always runs; where transformers and datasets are installed, a small comparison follows. The whole set:
`python -m benchmarks.mlm`, `.race`, `.store`, `.static`, `.glove`, `.brown`, `.finetune`, `.processes`,
`.rates`, `.startup`, then `python -m benchmarks.render`.
"""

from pathlib import Path

from benchmarks import glove, mlm, peers, rates, render, startup, store

FOLDER = Path("runs") / "bench"


def main() -> None:
    """Measure, print, render."""
    out = ["--quick", "--out", str(FOLDER / "cells")]
    parts = [("Start-up", startup.main, out), ("What this machine does", rates.main, out), ("GloVe", glove.main, out)]
    if peers.missing():
        print(f"The comparisons with Hugging Face are left out: {peers.missing()}")
    else:
        parts.append(("Masked-LM pretraining", mlm.main, out))
        if not store.missing():
            parts.append(("Corpus to token store", store.main, out))
    for title, run, given in parts:
        print(f"\n{title}", flush=True)
        run(given)
    render.main(["--cells", str(FOLDER / "cells"), "--out", str(FOLDER / "benchmarks.md")])


if __name__ == "__main__":
    main()
