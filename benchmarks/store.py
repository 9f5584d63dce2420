"""Corpus to token store, beside the datasets + tokenizers route: raw words a second, for the same ids.

    python -m benchmarks.store

The peer's route: load_dataset("text"), a batched map with a fast WordPiece tokenizer of the same vocabulary that
concatenates the ids, save_to_disk. Ours does more in the same time (sentences, word borders, what is held out), and both
start from the file and end on disk, on the same number of processes (the peer's Rust threads are off: `num_proc` is what
shares its work out). What costs the same for any text is reported apart: imports, and a pass over one line. Both must give the same ids, or there is no figure: the text is therefore cut down to
documents of characters that both normalise alike (ours keeps every offset exact and departs from BERT's for a few).
"""

import argparse
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.cells import FOLDER, Cell, Check, cell, figures, load, write
from benchmarks.protocol import Channel, Clock, Request, alternate, started
from benchmarks.texts import as_corpus, documents
from foretext.errors import DataError
from foretext.folder import fingerprint
from foretext.text.corpus import CorpusConfig, open_corpus
from foretext.text.store import build_store
from foretext.text.tokenizers import TokenizerConfig, load_tokenizer, train_tokenizer

GATE = 4.0
ALIKE = re.compile("[\n -~\xa1-\xac\xae-\u012f\u0131-\u024f\u2010-\u2027\u2030-\u205e]*")
"""Latin letters and common punctuation, without İ: what both normalise alike."""


def missing() -> str:
    """Why the peer cannot be run here, or nothing."""
    from importlib.util import find_spec

    absent = [name for name in ("transformers", "datasets") if find_spec(name) is None]
    return f"not installed: {', '.join(absent)}" if absent else ""


def alike(texts: Sequence[str]) -> list[str]:
    """The documents that both sides normalise alike, one paragraph a line."""
    lines = ("\n".join(line.strip() for line in text.splitlines() if line.strip()) for text in texts)
    return [text for text in lines if text and ALIKE.fullmatch(text)]


# ── the sides ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _turns(spec: dict[str, Any], channel: Channel, work: Callable[[dict[str, Any], Path], Any]) -> None:
    """Every round is the whole way from the file into a new folder; the ids are looked at outside the clock."""
    imports, alone = time.process_time(), []
    line = Path(spec["folder"]) / f"{Path(spec['ids']).stem}-line.txt"
    line.write_text("One line.\n", encoding="utf-8")
    for _ in range(2):  # the first one loads what is loaded once
        clock = Clock()
        with TemporaryDirectory(dir=spec["folder"]) as folder:
            work({**spec, "text": str(line)}, Path(folder))
        alone.append(clock.read(1, 1))
    channel.ready(imports=imports, first=alone[0].cpu, fixed=alone[1].cpu, fixed_wall=alone[1].wall)
    for request in channel.requests():
        clock, passes, ids = Clock(), 0, np.zeros(0)
        while not request.over(clock, passes):
            with TemporaryDirectory(dir=spec["folder"]) as folder:
                read = work(spec, Path(folder))
                passes += 1
                done = clock.read(spec["words"] * passes, passes)
                ids = read()
        np.save(spec["ids"], ids)
        channel.answer(done)


def ours(spec: dict[str, Any], channel: Channel) -> None:
    """A side: open_corpus and build_store."""
    _turns(spec, channel, _ours)


def _ours(spec: dict[str, Any], folder: Path) -> Callable[[], Any]:
    corpus = open_corpus(spec["text"], CorpusConfig(documents="blank", language="en"))
    tokenizer = load_tokenizer(Path(spec["tokenizer"]))
    store = build_store(corpus, tokenizer, folder, workers=spec["processes"] if spec["processes"] > 1 else 0)
    return lambda: np.asarray(store.ids, np.int32).copy()


def peer(spec: dict[str, Any], channel: Channel) -> None:
    """A side: load_dataset, map, save_to_disk."""
    import datasets

    from benchmarks.peers import quiet

    quiet()
    datasets.disable_progress_bars()
    datasets.disable_caching()
    datasets.utils.logging.set_verbosity_error()
    _turns(spec, channel, _peer)


def _peer(spec: dict[str, Any], folder: Path) -> Callable[[], Any]:
    import datasets

    from benchmarks.peers import tokenizer

    fast = tokenizer(Path(spec["tokenizer"])).backend_tokenizer
    text = datasets.load_dataset("text", data_files=spec["text"], split="train", cache_dir=str(folder / "cache"))
    several = spec["processes"] if spec["processes"] > 1 else None
    joined = text.map(
        _Concatenated(fast), batched=True, remove_columns=["text"], num_proc=several,
    )
    joined.save_to_disk(folder / "saved")
    return lambda: np.concatenate(
        [np.asarray(row, np.int32) for row in datasets.load_from_disk(folder / "saved")["ids"]]
    )


class _Concatenated:
    """One row of ids a batch of lines. A class, so that worker processes can be sent it."""

    def __init__(self, fast: Any) -> None:
        self.fast = fast

    def __call__(self, batch: Any) -> dict[str, list[list[int]]]:
        encoded = self.fast.encode_batch(batch["text"], add_special_tokens=False)
        return {"ids": [[number for one in encoded for number in one.ids]]}


# ── the comparison ──────────────────────────────────────────────────────────────────────────────────────────────────


def measure(arguments: argparse.Namespace) -> Cell:
    """Prepare the text and the vocabulary, take turns, compare the ids."""
    began, before = time.time(), load()
    with TemporaryDirectory() as work:
        folder = Path(work)
        source, found = documents(arguments.text, arguments.characters)
        texts = alike(found)
        if not texts:
            raise DataError("no document of characters that both sides normalise alike", remedy="give more --characters")
        (folder / "text.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
        config = TokenizerConfig(kind="wordpiece", size=arguments.vocabulary, unseen="word")
        tokenizer = train_tokenizer(config, as_corpus(texts), workers=0)
        (folder / "tokenizer").mkdir()
        tokenizer.save(folder / "tokenizer")
        common = {
            "folder": work,
            "text": str(folder / "text.txt"),
            "tokenizer": str(folder / "tokenizer"),
            "words": sum(len(text.split()) for text in texts),
            "processes": arguments.processes,
        }
        sides = {"ours": {**common, "run": "benchmarks.store:ours", "ids": str(folder / "ours.npy")}}
        if not missing():
            sides["datasets + tokenizers"] = {**common, "run": "benchmarks.store:peer", "ids": str(folder / "peer.npy")}
        with started(sides, inline=arguments.inline) as running:
            request = Request(seconds=arguments.seconds)
            fixed = [_fixed(side.name, side.facts) for side in running]
            rounds = alternate(running, request, rounds=arguments.rounds, warmup=Request(seconds=0), quiet=arguments.inline)
        checks = [_equal(folder)] if len(sides) > 1 else []
        kept = sum(map(len, texts)) / sum(map(len, found))
        return cell(
            f"store-{arguments.processes}",
            "store",
            config={
                "unit": "words",
                "gate": GATE,
                "gated": ["datasets + tokenizers"],
                "processes": arguments.processes,
                "vocabulary": tokenizer.size,
                "seconds": arguments.seconds,
                "rounds": arguments.rounds,
            },
            data={"source": source, "words": common["words"], "key": fingerprint(texts)},
            seconds=time.time() - began,
            load=before,
            rounds=rounds,
            facts={
                "notes": [
                    f"{common['words']:,} words of {source}, {100 * kept:.0f} % of the text read; vocabulary {tokenizer.size:,}; "
                    f"{arguments.processes} process{'es' if arguments.processes > 1 else ''} a side",
                    *fixed,
                    *([f"the peer was not measured ({missing()})"] if missing() else []),
                ]
            },
            checks=checks,
        )


def _fixed(name: str, facts: dict[str, Any]) -> str:
    return (
        f"{name}, apart from the text: imports {facts['imports']:.2f} CPU-seconds, a first pass over one line "
        f"{facts['first']:.2f}, any later one {facts['fixed']:.2f} ({facts['fixed_wall']:.2f} s by the wall)"
    )


def _equal(folder: Path) -> Check:
    """Places at which the two sides' ids differ, a different length counted as all."""
    a, b = np.load(folder / "ours.npy"), np.load(folder / "peer.npy")
    different = int(np.count_nonzero(a != b)) if len(a) == len(b) else max(len(a), len(b))
    return Check(name=f"ids that differ, of {len(a):,}", value=different, limit=0)


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell. Exit code 1 where the ids differ."""
    parser = argparse.ArgumentParser("python -m benchmarks.store", description=__doc__.split("\n\n")[0])
    parser.add_argument("--characters", type=int, default=20_000_000)
    parser.add_argument("--vocabulary", type=int, default=8192)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of a side's turn; a whole pass at least")
    parser.add_argument("--text", choices=("auto", "wikipedia", "introductions", "zipf"), default="auto")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    parser.add_argument("--quick", action="store_true", help="2 MB of text, three rounds")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.characters, arguments.rounds = 2_000_000, 3
    made = measure(arguments)
    print(figures(made))
    if not all(check.passed for check in made.checks):
        raise SystemExit("the sides' ids differ: the figures compare unlike work, and no cell was written")
    write(arguments.out, made)
    return [made]


if __name__ == "__main__":
    main()
