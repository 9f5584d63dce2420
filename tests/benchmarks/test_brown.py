"""The Brown benchmark on a miniature corpus: the borders of its parts, and that its table says what was measured."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from benchmarks.cells import cell
from benchmarks.render import render

from benchmarks import brown, brown_text
from foretext.draws import generator
from foretext.recipe import Recipe, to_json
from foretext.recipes import find
from foretext.training.progress import SilentWatch

WORDS = "the a court judge ship sea law trial harbour of and saw left `` '' . ,".split()


def texts(count: int = 12) -> list[list[str]]:
    """Texts of ten sentences of eight words: a word is followed by one of four."""
    rng = generator(0, "brown test")
    made = []
    for _ in range(count):
        at, lines = 0, []
        for _ in range(10):
            line = []
            for _ in range(8):
                at = (3 * at + int(rng.integers(4))) % len(WORDS)
                line.append(WORDS[at])
            lines.append(" ".join(line))
        made.append(lines)
    return made


def small() -> Recipe:
    made = find("nnlm-brown-batch")
    return replace(made, family=replace(made.family, width=6, hidden=8, batch=8, rate=0.05, block=128, epochs=3.0))  # type: ignore[type-var]


def test_the_parts_are_cut_after_sentences_and_merged_words_counted(tmp_path: Path) -> None:
    documents = texts()
    documents[-1][-1] = "rare words , these four"
    found = brown_text.prepare(small(), tmp_path, documents, train=500, dev=200)
    train, dev, tested = found.words
    assert 500 <= train < 540 and 700 <= train + dev < 740 and sum(found.words) == 12 * 80 - 3
    flat = " ".join(line for document in documents for line in document).split()
    line = [found.store.tokenizer.pieces[i] for i in [*found.store.ids.tolist(), *(i for unit in found.test for i in unit.tolist())]]
    assert line[:950] == flat[:950], "the parts are not the corpus in its order"
    held = [int(found.store.sentences[b] - found.store.sentences[a]) for a, b, _ in found.store.sections(True).tolist()]
    assert sum(held) == dev and len(held) == 3, "dev is not what the three texts between the borders have of it"
    assert [len(unit) for unit in found.test] == [tested - 237, 80, 80, 77]
    assert len(found.store.ids) == train + dev and int(found.store.counts.sum()) == train
    unknown = found.store.tokenizer.special["[UNK]"]
    assert found.kept == len(WORDS) and found.test[-1][-5:].tolist().count(unknown) == 4
    assert found.unknown == pytest.approx(4 / found.words[2])


def test_tags_are_taken_off(tmp_path: Path) -> None:
    file = tmp_path / "brown.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("brown/cr01", "\n\n\tA/at half/abn 1/2/cd ''/'' ./.\n\n")
        archive.writestr("brown/ca01", "\tOver-all/jj ,/, yes/rb\n\tNo/rb\n")
        archive.writestr("brown/README", "not/a text/b")
    assert brown_text.texts(file) == [["Over-all , yes", "No"], ["A half 1/2 '' ."]]


def test_the_table_holds_what_was_measured(tmp_path: Path) -> None:
    recipe = small()
    parts = brown_text.prepare(recipe, tmp_path / "cache", texts(), train=500, dev=200)
    facts, rounds = brown.measure(recipe, parts, tmp_path, SilentWatch(), orders=(1, 2))
    found = facts["perplexity"]
    assert found["mixture, weight chosen on dev"][0] <= min(pair[0] for pair in found.values()) + 1e-6
    assert all(1 < value < 60 for pair in found.values() for value in pair)
    assert found["modified Kneser-Ney, 2-grams"][1] < found["modified Kneser-Ney, 1-grams"][1]
    again, _ = brown.measure(recipe, parts, tmp_path, SilentWatch(), orders=(1, 2))
    assert again["perplexity"] == found, "the finished run was not gone on from"
    made = cell(
        "brown-full", "brown", config={"recipe": to_json(recipe), "orders": [1, 2]}, data={"words": list(parts.words)}, seconds=1.0, load=0.0,
        rounds=rounds, facts=facts, checks=brown.checks(facts),
    )  # fmt: skip
    document = render([made])
    assert f"| nnlm (ours) | {found['nnlm'][0]:.0f} | {found['nnlm'][1]:.0f} |" in document
    assert "| MLP9: h 100, m 30 (paper) | 280 | 276 |" in document
    worse = {**facts, "perplexity": {**found, "nnlm": [9e9, 9e9]}}
    assert not brown.checks(worse)[0].passed
    assert np.isfinite(facts["weight of the n-gram model"])
