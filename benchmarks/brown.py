"""Perplexity on Brown as in table 1 of Bengio et al. 2003: n-grams, the neural model, and their mixture, beside the paper's.

    python -m benchmarks.brown

About ten minutes of one core (half an hour with --recipe nnlm-brown-batch, the full softmax); a run that was stopped goes on where it was (its work lies in runs/brown). The order
must be the paper's: the neural model below the best n-gram model, the mixture below both.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.brown_text import Brown, prepare
from benchmarks.cells import FOLDER, Cell, Check, cell, load, write
from benchmarks.protocol import Clock, Round
from foretext.evaluation.language import best_weight, mixture
from foretext.folder import fingerprint
from foretext.models.catalog import family, resolve
from foretext.models.ngram.config import NgramConfig
from foretext.models.stream import Scorer, Stream, of_store, of_texts
from foretext.recipe import Recipe, to_json
from foretext.recipes import find
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch, Watch
from foretext.training.run import run
from foretext.types import Floats

RECIPE = "nnlm-brown-sampled"
ORDERS = (3, 4, 5)
WORK = Path("runs") / "brown"
PAPER: Sequence[tuple[str, int, int]] = (
    ("interpolated trigram (deleted interpolation)", 352, 336),
    ("back-off Kneser-Ney, 3-grams", 334, 323),
    ("back-off Kneser-Ney, 5-grams", 332, 321),
    ("class-based back-off, 3-grams, 500 classes: the best n-gram model", 326, 312),
    ("MLP1: h 50, m 60, direct", 284, 268),
    ("MLP5: h 50, m 30, direct", 296, 279),
    ("MLP9: h 100, m 30", 280, 276),
    ("MLP10: MLP9 and the trigram, half each: the best mixture", 265, 252),
)
"""Model, perplexity on the dev and on the test part: table 1 of the paper, 16,383 entries, 181,041 test words."""


def measure(recipe: Recipe, brown: Brown, work: Path, watch: Watch, *, orders: Sequence[int] = ORDERS) -> tuple[dict[str, Any], dict[str, Any]]:
    """(facts, rounds): perplexities on dev and test by model, and how fast the n-grams were counted (the network's run may
    have been stopped and gone on with: its seconds are among the facts)."""
    boundary = brown.store.tokenizer.special[recipe.family.boundary]  # type: ignore[attr-defined]
    dev = of_store(brown.store, "document", boundary, held_out=True)
    test = of_texts(brown.test, boundary)
    rounds: dict[str, list[Round]] = {}
    nats: dict[str, tuple[Floats, Floats]] = {}
    for order in orders:
        name, clock = f"modified Kneser-Ney, {order}-grams", Clock()
        made = replace(recipe, family=NgramConfig(order=order, unit="document"))
        stepper = resolve(family("ngram").stepper or "")(made.family, brown.store)
        while stepper.done < stepper.total:
            stepper.step()
        arrays = stepper.state().arrays
        rounds[name] = [clock.read(len(stepper.stream), stepper.total)]
        nats[name] = _both(_scorer(made, arrays, brown), dev, test)
    best = min(nats, key=lambda name: -float(nats[name][0].mean()))
    stepper, ending = _trained(recipe, brown, work, watch)
    nats["nnlm"] = _both(_scorer(recipe, stepper.state().arrays, brown), dev, test)
    weight = best_weight(np.exp(np.stack([nats[best][0], nats["nnlm"][0]])))
    for name, share in (("mixture, half each", 0.5), ("mixture, weight chosen on dev", weight)):
        parts = [mixture(np.stack([nats[best][i], nats["nnlm"][i]]), share) for i in (0, 1)]
        nats[name] = parts[0], parts[1]
    found = {name: [float(np.exp(-part.mean())) for part in pair] for name, pair in nats.items()}
    facts = {
        "perplexity": found, "best n-gram": best, "weight of the n-gram model": weight, "best step": ending.best,
        "words": list(brown.words), "vocabulary": brown.kept, "unknown": brown.unknown, "looks": ending.losses,
        "nnlm steps": ending.steps, "nnlm words": ending.tokens, "nnlm seconds": ending.seconds,
    }  # fmt: skip
    return facts, rounds


def _trained(recipe: Recipe, brown: Brown, work: Path, watch: Watch) -> Any:
    """The recipe's run, through the shell: (stepper with the best weights, its ending)."""
    stepper = resolve(family(recipe.family.name).stepper or "")(recipe.family, brown.store, seed=recipe.seed)
    epochs = max(1, round(stepper.total / stepper.steps_per_epoch))
    limits = Limits(evaluations=4 * epochs, patience=6, choose="best", checkpoint_minutes=3.0)
    ending = run(stepper, work / fingerprint(recipe.key(), brown.store.key), limits, watch)
    return stepper, ending


def _scorer(recipe: Recipe, arrays: Any, brown: Brown) -> Scorer:
    made: Scorer = resolve(family(recipe.family.name).scorer or "")(recipe.family, arrays, brown.store.tokenizer)
    return made


def _both(scorer: Scorer, dev: Stream, test: Stream) -> tuple[Floats, Floats]:
    """Log-probabilities of the words of both parts; ends of texts are not words."""
    return _words(scorer, dev), _words(scorer, test)


def _words(scorer: Scorer, stream: Stream) -> Floats:
    nats = scorer.nats(stream)
    return np.delete(nats, stream.ends)


def checks(found: dict[str, Any]) -> list[Check]:
    """The paper's order, on the test part."""
    test = {name: pair[1] for name, pair in found["perplexity"].items()}
    ngram, mixed = test[found["best n-gram"]], test["mixture, weight chosen on dev"]
    return [
        Check(name="test perplexity of the nnlm, below the best n-gram model's", value=test["nnlm"], limit=ngram),
        Check(name="test perplexity of the mixture, below both", value=mixed, limit=min(ngram, test["nnlm"])),
    ]


def table(found: dict[str, Any]) -> list[list[str]]:
    """Rows: whose, model, dev, test."""
    ours = [["ours", name, f"{dev:.0f}", f"{test:.0f}"] for name, (dev, test) in found["perplexity"].items()]
    return [*(["paper", name, str(dev), str(test)] for name, dev, test in PAPER), *ours]


def about(found: dict[str, Any]) -> str:
    """What the two columns are perplexities of."""
    train, dev, test = found["words"]
    return (
        f"Ours: {train:,} words to train on, {dev:,} dev, {test:,} test; {found['vocabulary']:,} entries of their own, words seen "
        f"3 times or less in the whole corpus merged ({found['unknown']:.1%} of the test words); ends of texts are not counted. "
        f"Paper: 800,000, 200,000 and 181,041 words, 16,383 entries; its copy has marks for texts and paragraphs, ours has none. "
        f"Weight of the n-gram model in the mixture, by EM on dev: {found['weight of the n-gram model']:.2f}."
    )


def main(given: Sequence[str] | None = None) -> list[Cell]:
    """Measure, print, write the cell. Exit code 1 where the order is not the paper's."""
    parser = argparse.ArgumentParser("python -m benchmarks.brown", description=__doc__.split("\n\n")[0])
    parser.add_argument("--recipe", default=RECIPE)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of cells")
    parser.add_argument("--work", type=Path, default=WORK, help="where the run's checkpoints and the token store lie")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    arguments = parser.parse_args(given)
    from foretext.training.progress import RichWatch

    before, began, recipe = load(), time.time(), find(arguments.recipe)
    brown = prepare(recipe, arguments.work / "cache")
    facts, rounds = measure(recipe, brown, arguments.work, SilentWatch() if arguments.quiet else RichWatch(recipe.name))
    made = cell(
        f"brown-{recipe.family.softmax}", "brown", config={"recipe": to_json(recipe), "orders": list(ORDERS)},
        data={"source": "en/brown (nltk/nltk_data)", "words": list(brown.words), "key": brown.store.key},
        seconds=time.time() - began, load=before, rounds=rounds, facts=facts, checks=checks(facts), seed=recipe.seed,
    )  # fmt: skip
    for row in [["", "perplexity", "dev", "test"], *table(facts)]:
        print(f"{row[0]:<6}{row[1]:<68}{row[2]:>5}{row[3]:>6}")
    print(about(facts))
    write(arguments.out, made)
    if not all(check.passed for check in made.checks):
        raise SystemExit("the order is not the paper's")
    return [made]


if __name__ == "__main__":
    main()
