"""A miniature world: topics that share few words, as raw text and as labelled files; and cells made by hand."""

import csv
from pathlib import Path

import numpy as np

from foretext.ladder import LadderConfig
from foretext.ladder.cells import Cell, Plan, done, to_hex
from foretext.text.corpus import CorpusConfig

TOPICS = {
    "animals": "cat dog horse bird fish paw tail fur wing hoof",
    "money": "bank coin price market loan debt trade stock credit tax",
    "weather": "rain snow wind cloud storm sun fog hail frost thunder",
}


def sentence(topic: str, rng: np.random.Generator) -> str:
    words = rng.choice(TOPICS[topic].split(), size=8)
    return f"The {' and the '.join(words)} were here."


def write_world(folder: Path, *, documents: int = 60, train: int = 12, test: int = 8) -> LadderConfig:
    """corpus.txt (a document a line), train.csv, test.csv; a config for them without any rung."""
    rng = np.random.default_rng(0)
    names = list(TOPICS)
    corpus = [sentence(names[n % 3], rng) for n in range(documents)]
    (folder / "corpus.txt").write_text("\n".join(corpus) + "\n")
    for name, count in (("train", train), ("test", test)):
        with open(folder / f"{name}.csv", "w", newline="") as handle:
            writer = csv.writer(handle)
            writer.writerow(("text", "label"))
            writer.writerows((sentence(names[n % 3], rng), names[n % 3]) for n in range(3 * count))
    return LadderConfig(
        corpus=(str(folder / "corpus.txt"),),
        reading=CorpusConfig(documents="line"),
        train=str(folder / "train.csv"),
        test=str(folder / "test.csv"),
        rungs=(),
        labels=(2, 4),
        seeds=2,
        minutes=0.05,
        workers=1,
    )


def score_cell(rung: str, how: str, labels: int, seed: int, correct: np.ndarray, *, needs: str = "", failed: str = "") -> Cell:
    plan = Plan(kind="score", rung=rung, how=how, labels=labels, seed=seed, needs=needs)
    if failed:
        return done(plan, failed=failed)
    share = float(correct.mean())
    return done(
        plan, scores={"accuracy": share, "macro F1": share / 2}, correct=to_hex(correct), tests=len(correct),
        seconds={"transfer": 2.0, "predict": 0.5}, parameters=1234, memory=10**8 * (seed + 1),
        machine={"processor": "Test <CPU>", "flags": ["avx2"], "cores": 2, "memory": 8 * 10**9}, versions={"numpy": "2"},
    )  # fmt: skip


def some_cells(*, texts: int = 400) -> list[Cell]:
    """Two baselines and one rung, pretrained and from scratch, at 5 and 20 labels and 3 seeds."""
    rng = np.random.default_rng(0)
    pretrained = done(
        Plan(kind="pretraining", rung="word2vec", data="c"),
        seconds={"pretraining": 12.0, "training": 10.0},
        scores={"loss": 2.0},
        parameters=99,
        memory=5 * 10**9,
        notes={"steps": 10},
    )
    shares = {
        ("majority", ""): (0.2, 0.2),
        ("tfidf", ""): (0.5, 0.8),
        ("word2vec", "scratch"): (0.3, 0.5),
        ("word2vec", "features"): (0.7, 0.7),
    }
    cells = [pretrained]
    for (rung, how), row in shares.items():
        for labels, share in zip((5, 20), row, strict=True):
            for seed in range(3):
                needs = pretrained.key if how else ""
                cells.append(score_cell(rung, how, labels, seed, rng.random(texts) < share, needs=needs))
    return cells
