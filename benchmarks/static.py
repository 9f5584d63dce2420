"""Word vectors beside gensim and fastText: raw words a second of training, each speed beside its quality.

    python -m benchmarks.static

Every turn of a side is one whole pass over the same words from fresh tables, the rate falling to its end, and its vectors
are then judged: so the rounds are also seeds. Vocabulary and encoding, which the peers do before training, are a part of
their own, and so are the threads and the start. gensim reads `corpus_file`; fastText reads its text anew in every pass and
makes its tables inside the call, so what a call without a pass takes is taken off. It has sub-words in their own part alone.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks import vectors
from benchmarks.cells import FOLDER, Cell, Check, cell, figures, load, write
from benchmarks.protocol import Channel, Clock, Request, Round, alternate, quartiles, started

PARTS = ("skip-gram", "cbow", "tree", "subwords", "vocabulary", "threads", "startup", "quality")
MIN_COUNT, WINDOW, NEGATIVES, SAMPLE = 5, 5, 5, 1e-3
THREADS = 2
"""A side, where gates are read."""
FLOPS = 131
"""Of exact skip-gram with negative sampling, a raw word and a number of its vector, at these settings."""
GATES = {
    "skip-gram-100": {"gensim": 12.0, "fastText": 20.0},
    "skip-gram-300": {"gensim": 8.0, "fastText": 15.0},
    "cbow-100": {"gensim": 3.0},
    "tree-100": {"gensim": 2.0},
    "cbow-tree-100": {"gensim": 2.0},
    "subwords-100": {"fastText": 4.0},
    "subwords-cbow-100": {"fastText": 4.0},
    "vocabulary": {"gensim": 4.0},
    "threads": {"one thread": 1.8},
}


def missing() -> list[str]:
    """The peers that are not installed."""
    from importlib.util import find_spec

    return [name for name, module in (("gensim", "gensim"), ("fastText", "fasttext")) if find_spec(module) is None]


# ── the sides ───────────────────────────────────────────────────────────────────────────────────────────────────────


def ours(spec: dict[str, Any], channel: Channel) -> None:
    """A side: our stepper."""
    from foretext.models.word2vec import fasttext, train
    from foretext.models.word2vec.config import Word2VecConfig
    from foretext.models.word2vec.fasttext_config import FastTextConfig
    from foretext.models.word2vec.subwords import Spelt

    text = vectors.read(Path(spec["folder"]))
    common: dict[str, Any] = {
        "width": spec["width"], "window": WINDOW, "negatives": NEGATIVES, "sample": SAMPLE, "min_count": spec["min_count"],
        "rate": spec["rate"], "architecture": "cbow" if spec["cbow"] else "skip-gram", "method": spec.get("method", "blocks"),
    }  # fmt: skip
    config: Any
    if spec["subwords"]:
        config, stepper = FastTextConfig(**common), fasttext.stepper
    else:
        loss: Any = "hierarchical-softmax" if spec["tree"] else "negative-sampling"
        config, stepper = Word2VecConfig(**common, loss=loss), train.stepper
    channel.ready()
    store: Any = text
    for turn, request in enumerate(channel.requests()):
        run = stepper(config, store, seed=turn, threads=spec["threads"], epochs=1.0)
        clock = Clock()
        for _ in range(run.total if request.steps else 1):
            run.step()
        done = clock.read(len(text.ids), 1)
        ids = np.flatnonzero(run.kept)
        words = [text.words[i] for i in ids.tolist()]
        known: Any = SimpleNamespace(special={}, pieces=text.words[: len(run.inward)])  # rarer words have no n-grams here
        table = Spelt(config, run.state().arrays, known).vectors(None)[ids] if spec["subwords"] else run.inward[ids]
        channel.answer(_judged(done, words, table, request))


def gensim(spec: dict[str, Any], channel: Channel) -> None:
    """A side: gensim's Word2Vec over `corpus_file`. There every worker lets the rate fall as if it had the whole text to
    itself, so of W workers' rates only the first part in W is seen; `min_alpha` is set so that it ends where ours does."""
    from gensim.models import Word2Vec

    text = vectors.read(Path(spec["folder"]))
    channel.ready()
    for turn, request in enumerate(channel.requests()):
        model = Word2Vec(
            vector_size=spec["width"], window=WINDOW, negative=0 if spec["tree"] else NEGATIVES, hs=int(spec["tree"]),
            sg=int(not spec["cbow"]), sample=SAMPLE, min_count=spec["min_count"], alpha=spec["rate"], seed=turn + 1,
            min_alpha=spec["rate"] * (1.0 - spec["threads"] * (1.0 - 1e-4)), workers=spec["threads"], epochs=1,
        )  # fmt: skip
        model.build_vocab(corpus_file=str(text.text))
        clock = Clock()
        if request.steps:
            model.train(corpus_file=str(text.text), total_words=model.corpus_total_words, epochs=1)
        channel.answer(_judged(clock.read(len(text.ids), 1), model.wv.index_to_key, model.wv.vectors, request))


def fast_text(spec: dict[str, Any], channel: Channel) -> None:
    """A side: the released fastText."""
    import fasttext

    text = vectors.read(Path(spec["folder"]))
    channel.ready()
    given = {
        "model": "cbow" if spec["cbow"] else "skipgram", "dim": spec["width"], "ws": WINDOW, "neg": NEGATIVES,
        "loss": "hs" if spec["tree"] else "ns", "t": SAMPLE, "minCount": spec["min_count"], "lr": spec["rate"], "maxn": 6 if spec["subwords"] else 0,
        "thread": spec["threads"], "verbose": 0,
    }  # fmt: skip
    for request in channel.requests():  # it takes no seed: two threads give other vectors in every turn anyway
        clock = Clock()
        fasttext.train_unsupervised(str(text.text), epoch=0, **given)
        before = clock.read(0, 0)
        clock = Clock()
        model = fasttext.train_unsupervised(str(text.text), epoch=int(request.steps > 0), **given)
        whole = clock.read(len(text.ids), 1)
        done = Round(
            units=whole.units, wall=max(1e-9, whole.wall - before.wall), cpu=whole.cpu - before.cpu, steps=1, load=whole.load,
        )  # fmt: skip
        known = [word for word in text.words if model.get_word_id(word) >= 0] if request.steps else []
        table = np.array([model.get_word_vector(word) for word in known], np.float32).reshape(len(known), spec["width"])
        channel.answer(_judged(done, known, table, request))


def _judged(done: Round, words: Sequence[str], table: Any, request: Request) -> Round:
    """The round with the quality of its vectors; nothing is asked of a warm-up."""
    found = vectors.quality(words, np.asarray(table)) if request.steps else {}
    extra = {**found, "vocabulary": float(len(words))}
    return Round(units=done.units, wall=done.wall, cpu=done.cpu, steps=done.steps, load=done.load, extra=extra)


def peak(spec: dict[str, Any], channel: Channel) -> None:
    """A side: the machine's own limit, a large matrix product on as many threads; units are FLOPs."""
    side = spec["square"]
    a, b = (np.random.default_rng(seed).random((side, side), np.float32) for seed in (0, 1))
    channel.ready()
    for request in channel.requests():
        clock, count = Clock(), 0
        while not request.over(clock, count) or clock.elapsed < spec["seconds"]:
            a @ b
            count += 1
        channel.answer(clock.read(2 * side**3 * count, count))


def our_vocabulary(spec: dict[str, Any], channel: Channel) -> None:
    """A side: lexicon and token store from the text file."""
    from foretext.text.corpus import CorpusConfig, open_corpus
    from foretext.text.lines import Block
    from foretext.text.numbering import Lexicon, cut_block
    from foretext.text.store import build_store
    from foretext.text.tokenizers import TokenizerConfig, train_tokenizer

    words = TokenizerConfig(
        kind="spaces", lowercase=False, strip_accents=False, special=("[UNK]",), min_count=spec["min_count"]
    )
    Lexicon().number(cut_block(Block(text=b"loads the kernels\n", documents="file", first=True)))
    text = vectors.read(Path(spec["folder"]))
    workers = spec["threads"] if spec["threads"] > 1 else 0
    channel.ready()
    for _ in channel.requests():
        with TemporaryDirectory(dir=spec["folder"]) as folder:
            clock = Clock()
            corpus = open_corpus(str(text.text), CorpusConfig(documents="file", sentences="line"))
            build_store(corpus, train_tokenizer(words, corpus, workers=workers), Path(folder), workers=workers)
            channel.answer(clock.read(len(text.ids), 1))


def gensim_vocabulary(spec: dict[str, Any], channel: Channel) -> None:
    """A side: gensim's vocabulary; it encodes the text anew in every pass of training."""
    from gensim.models import Word2Vec

    text = vectors.read(Path(spec["folder"]))
    channel.ready()
    for _ in channel.requests():
        model = Word2Vec(vector_size=1, min_count=spec["min_count"], workers=spec["threads"])
        clock = Clock()
        model.build_vocab(corpus_file=str(text.text))
        channel.answer(clock.read(len(text.ids), 1))


FIRST_STEP = """
import sys, numpy as np
from types import SimpleNamespace
from foretext.models.word2vec.config import Word2VecConfig
from foretext.models.word2vec.train import stepper
ids = np.tile(np.arange(1, 51), 40)
store = SimpleNamespace(let_go=lambda: None, ids=ids, sentences=np.arange(0, 2001, 50), held_out=np.zeros(40, bool), counts=np.bincount(ids),
                        key="start", tokenizer=SimpleNamespace(special={}))
stepper(Word2VecConfig(), store, epochs=1.0).step()
"""
"""A fresh process's way to the end of its first step."""


# ── the comparisons ─────────────────────────────────────────────────────────────────────────────────────────────────


def training(name: str, arguments: argparse.Namespace, folder: Path, **spec: Any) -> Cell:
    """One architecture and loss beside the peers."""
    began, before = time.time(), load()
    tree, subwords = spec.setdefault("tree", False), spec.setdefault("subwords", False)
    common = {
        "folder": str(folder), "threads": arguments.threads, "min_count": arguments.min_count, "cbow": False,
        "rate": 0.05 if spec.get("cbow") else 0.025, **spec,
    }  # fmt: skip
    runs = {
        "ours": "ours", **({} if subwords else {"gensim": "gensim"}),
        **({} if tree or (spec.get("cbow") and not subwords) else {"fastText": "fast_text"}),
    }  # fmt: skip
    sides = {side: {**common, "run": f"benchmarks.static:{run}"} for side, run in runs.items() if side not in missing()}
    limit = {"run": "benchmarks.static:peak", "threads": arguments.threads, "square": arguments.square, "seconds": arguments.seconds}
    with started({**sides, "product": limit}, inline=arguments.inline) as running:
        rounds = alternate(
            running, Request(seconds=0.0), rounds=arguments.rounds, warmup=Request(seconds=0.0, steps=0), quiet=arguments.inline
        )
    best = rounds.pop("product")
    sizes = {side: int(found[-1].extra["vocabulary"]) for side, found in rounds.items()}
    text = vectors.read(folder)
    checks = [Check(name="words of the vocabulary that differ from gensim's", value=abs(sizes["ours"] - sizes["gensim"]), limit=0)] \
        if "gensim" in sizes else []
    for peer in ("gensim", "fastText") if subwords else ("gensim",):
        if peer in rounds:
            checks += _as_good(rounds["ours"], rounds[peer], peer)
    return cell(
        f"static-{name}" + ("" if arguments.threads == THREADS else f"-threads-{arguments.threads}"), "static",
        config={"unit": "raw words", "gates": GATES.get(name, {}) if arguments.threads == THREADS else {}, **common, "folder": "",
                "rounds": arguments.rounds, "words": len(text.ids)},
        data={"source": text.source, "key": text.key},
        seconds=time.time() - began, load=before, rounds=rounds,
        facts={
            "peak": quartiles([r.rate for r in best])[1], "flops a word": 0 if tree or subwords or spec.get("cbow") else FLOPS * spec["width"],
            "notes": [f"{len(text.ids):,} words of {text.source}, vocabulary {sizes['ours']:,}, {arguments.threads} threads a side",
                      *(f"{peer} was not measured: it is not installed" for peer in missing())],
        },
        checks=checks,
    )  # fmt: skip


def _as_good(mine: Sequence[Round], theirs: Sequence[Round], who: str) -> list[Check]:
    """How far our mean stays below the other's, in deviations of one of its seeds; at most 1."""
    checks = []
    for measure in ("WordSim", "SimLex", "analogies"):
        if not all(measure in r.extra for r in (*mine, *theirs)):
            continue
        a, b = ([r.extra[measure] for r in rounds] for rounds in (mine, theirs))
        spread = float(np.std(b, ddof=1)) if len(b) > 1 else 1.0
        behind = float(np.mean(b) - np.mean(a))
        note = f"{np.mean(a):.1f} beside {np.mean(b):.1f}, deviation {spread:.2f}"
        checks.append(Check(name=f"{measure} below {who}, in its seeds' deviations", value=behind / max(spread, 1e-9), limit=1.0, note=note))
    return checks


def quality(arguments: argparse.Namespace, folder: Path) -> list[Cell]:
    """The fast method beside the exact one, over seeds, for every architecture and loss."""
    made = []
    for name, cbow, tree in (("skip-gram", False, False), ("cbow", True, False), ("tree", False, True), ("cbow-tree", True, True)):
        began, before = time.time(), load()
        common = {
            "folder": str(folder), "threads": 1, "min_count": arguments.min_count, "width": arguments.widths[0], "cbow": cbow,
            "tree": tree, "subwords": False, "rate": 0.05 if cbow else 0.025, "run": "benchmarks.static:ours",
        }  # fmt: skip
        with started({"ours": common, "exact": {**common, "method": "pairs"}}, inline=arguments.inline) as running:
            rounds = alternate(
                running, Request(seconds=0.0), rounds=max(2, arguments.rounds), warmup=Request(seconds=0.0, steps=0), quiet=arguments.inline
            )
        text = vectors.read(folder)
        made.append(cell(
            f"static-quality-{name}", "static",
            config={"unit": "raw words", "gates": {}, **common, "folder": "", "rounds": arguments.rounds, "words": len(text.ids)},
            data={"source": text.source, "key": text.key}, seconds=time.time() - began, load=before, rounds=rounds,
            facts={"notes": [f"{len(text.ids):,} words of {text.source}, one thread, one pass a seed"]},
            checks=_as_good(rounds["ours"], rounds["exact"], "the exact method"),
        ))  # fmt: skip
    return made


def vocabulary(arguments: argparse.Namespace, folder: Path) -> Cell:
    """From the text file to ids."""
    common = {"folder": str(folder), "threads": arguments.threads, "min_count": arguments.min_count}
    sides = {"ours": {**common, "run": "benchmarks.static:our_vocabulary"}}
    if "gensim" not in missing():
        sides["gensim"] = {**common, "run": "benchmarks.static:gensim_vocabulary"}
    return _plain("vocabulary", sides, arguments, folder, "lexicon and token store; gensim counts its vocabulary alone")


def threads(arguments: argparse.Namespace, folder: Path) -> Cell:
    """Two threads beside one."""
    common = {
        "folder": str(folder), "min_count": arguments.min_count, "width": arguments.widths[0], "cbow": False, "tree": False,
        "subwords": False, "rate": 0.025, "run": "benchmarks.static:ours",
    }  # fmt: skip
    sides = {"ours": {**common, "threads": 2}, "one thread": {**common, "threads": 1}}
    return _plain("threads", sides, arguments, folder, f"skip-gram, {arguments.widths[0]} wide: \"ours\" is two threads (Hogwild)")


def _plain(name: str, sides: Mapping[str, Mapping[str, Any]], arguments: argparse.Namespace, folder: Path, note: str) -> Cell:
    began, before = time.time(), load()
    with started(sides, inline=arguments.inline) as running:
        rounds = alternate(
            running, Request(seconds=0.0), rounds=arguments.rounds, warmup=Request(seconds=0.0, steps=0), quiet=arguments.inline
        )
    text = vectors.read(folder)
    config = {**sides["ours"], "folder": "", "unit": "raw words", "gates": GATES[name], "rounds": arguments.rounds, "words": len(text.ids)}
    return cell(
        f"static-{name}", "static", config=config, data={"source": text.source, "key": text.key}, seconds=time.time() - began,
        load=before, rounds=rounds, facts={"notes": [note]},
    )  # fmt: skip


def startup(arguments: argparse.Namespace) -> Cell:
    """A fresh process to the end of its first step, kernels cached."""
    began, before, rounds = time.time(), load(), []
    for number in range(arguments.rounds + 1):
        clock = Clock()
        subprocess.run([sys.executable, "-c", FIRST_STEP], check=True)
        if number:  # the first one may compile
            rounds.append(clock.read(1, 1))
    return cell(
        "static-startup", "static", config={"unit": "starts", "gates": {}, "rounds": arguments.rounds}, data=None,
        seconds=time.time() - began, load=before, rounds={"ours": rounds},
        facts={"notes": ["from `python` to the end of a first step: imports, cached kernels, tables"]},
        checks=[Check(name="CPU seconds to the end of the first step", value=quartiles([r.cpu for r in rounds])[1], limit=1.0)],
    )  # fmt: skip


def measure(arguments: argparse.Namespace, folder: Path) -> list[Cell]:
    """The parts that were asked for."""
    made: list[Cell] = []
    for part in arguments.parts:
        if part == "skip-gram":
            made += [training(f"skip-gram-{width}", arguments, folder, width=width) for width in arguments.widths]
        elif part == "cbow":
            made.append(training(f"cbow-{arguments.widths[0]}", arguments, folder, width=arguments.widths[0], cbow=True))
        elif part == "tree":
            width = arguments.widths[0]
            made.append(training(f"tree-{width}", arguments, folder, width=width, tree=True))
            made.append(training(f"cbow-tree-{width}", arguments, folder, width=width, tree=True, cbow=True))
        elif part == "subwords":
            width = arguments.widths[0]
            made.append(training(f"subwords-{width}", arguments, folder, width=width, subwords=True, rate=0.05))
            made.append(training(f"subwords-cbow-{width}", arguments, folder, width=width, subwords=True, cbow=True))
        elif part == "quality":
            made += quality(arguments, folder)
        elif part == "startup":
            made.append(startup(arguments))
        else:
            made.append({"vocabulary": vocabulary, "threads": threads}[part](arguments, folder))
        for one in made:
            write(arguments.out, one)
    return made


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cells."""
    parser = argparse.ArgumentParser("python -m benchmarks.static", description=__doc__.split("\n\n")[0])
    parser.add_argument("--words", type=int, default=12_000_000)
    parser.add_argument("--text", choices=("real", "zipf"), default="real")
    parser.add_argument("--widths", type=int, nargs="+", default=[100, 300], help="the first one where a part has but one")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[part for part in PARTS if part != "quality"])
    parser.add_argument("--threads", type=int, default=THREADS, help="a side; another number makes cells of its own")
    parser.add_argument("--min-count", type=int, default=MIN_COUNT)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--square", type=int, default=1024, help="side of the matrix product that measures the peak")
    parser.add_argument("--seconds", type=float, default=1.0, help="of the peak's turn")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--inline", action="store_true", help="threads of this process instead of processes (tests)")
    parser.add_argument("--quick", action="store_true", help="a million words, three rounds, 100 wide")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.words, arguments.rounds, arguments.widths = 1_000_000, 3, [100]
    print(f"processor: {vectors.flags()}", flush=True)
    with TemporaryDirectory() as folder:
        vectors.make(Path(folder), arguments.text, arguments.words)
        made = measure(arguments, Path(folder))
    for one in made:
        print(f"\n{one.name}\n{figures(one)}")
    return made


if __name__ == "__main__":
    main()
