"""One parser under atheris (libFuzzer): `python tests/fuzz/run.py TARGET --runs 1000000`.

Ends with exit code 0 and "done N runs", or with libFuzzer's code and the input in `--keep`. An input that takes longer
than its target's `seconds` of processor time (a busy machine is no find), hangs for ten times that, or a process above `--memory` MiB, is a
find too.
"""

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

import atheris

sys.path.insert(0, str(Path(__file__).parent.parent))
with atheris.instrument_imports(include=["foretext"]):
    from fuzz.targets import TARGETS, check


def main() -> None:
    """Fuzz one target until its runs are done or something is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--memory", type=int, default=1500, help="MiB of the process")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", default=".", help="folder for what is found")
    chosen = parser.parse_args()
    target = TARGETS[chosen.target]
    with tempfile.TemporaryDirectory() as corpus, tempfile.NamedTemporaryFile("w", suffix=".dict") as words:
        for number, seed in enumerate(target.seeds()):
            target.call(seed)
            (Path(corpus) / f"seed-{number}").write_bytes(seed)
        words.write("".join(f'"{"".join(f"{chr(92)}x{byte:02x}" for byte in word[:64])}"\n' for word in target.words))
        words.flush()
        options = [
            f"-runs={chosen.runs}", f"-timeout={10 * target.seconds}", f"-rss_limit_mb={chosen.memory}", f"-seed={chosen.seed}",
            "-max_len=4096", f"-artifact_prefix={chosen.keep}/", "-verbosity=0", "-print_final_stats=1",
            *([f"-dict={words.name}"] if target.words else []),
        ]  # fmt: skip

        def one(data: bytes) -> None:
            began = time.process_time()
            try:
                check(target, data)
                assert time.process_time() - began <= target.seconds, "an input that takes too long"
            except BaseException:
                # libFuzzer's alarm may go off while the interpreter is taken down, and end the process before the find is written.
                signal.setitimer(signal.ITIMER_REAL, 0)
                raise

        atheris.Setup([sys.argv[0], *options, corpus], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
