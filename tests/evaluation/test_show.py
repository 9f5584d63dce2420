"""`show`: the instances are training's own, nothing is lost in the text, columns line up in English and Chinese."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from foretext.data.config import WindowsConfig
from foretext.data.windows import make_windows
from foretext.errors import UsageError
from foretext.evaluation.show import LEGEND, columns, instances
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig, NextSentenceConfig, make_objectives
from foretext.recipe import Recipe
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.training.source import Batches
from miniature import BERT, SPECIAL, MiniStore, random_store


def recipe(kind: str = "pairs", length: int = 48) -> Recipe:
    objectives = {"masked": MaskedConfig(), **({"next_sentence": NextSentenceConfig()} if kind == "pairs" else {})}
    return Recipe(
        name="test",
        family=BertConfig(),
        tokenizer=TokenizerConfig(),
        windows=WindowsConfig(kind=kind, length=length),  # type: ignore[arg-type]
        objectives=objectives,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("kind", ["pairs", "packed"])
def test_what_is_shown_is_what_is_trained_on(kind: str) -> None:
    store, chosen = random_store(40), recipe(kind)
    assert chosen.windows is not None
    objectives = make_objectives(chosen.objectives, store.tokenizer)
    (batch,) = Batches(store, make_windows(chosen.windows, BERT), objectives, rows=3).step(0)
    view, target = batch.views["text"], batch.targets["masked"]
    shown = instances(chosen, store, n=3)
    for row, item in enumerate(shown.items):
        real = len(item.ids)
        assert list(item.ids) == view.ids[row, :real].tolist()
        assert item.sequence[0] == 0
        assert set(np.diff(item.sequence)) <= {0, 1}
        assert (view.sequence[row, real:] == -1).all()
        mine = (target.at // view.ids.shape[1]) == row
        assert [a.at for a in item.masked] == (target.at[mine] % view.ids.shape[1]).tolist()
        assert [a.gold_id for a in item.masked] == target.gold[mine].tolist()
        for asked in item.masked:
            seen = item.ids[asked.at]
            assert asked.how == ("mask" if seen == SPECIAL["[MASK]"] else "kept" if seen == asked.gold_id else "random")
        if kind == "pairs":
            (label,) = item.labels["next_sentence"]
            assert label.endswith(f"({batch.targets['next_sentence'].gold[row]})")
    assert json.loads(json.dumps(shown.as_json()))[0]["pieces"] == list(shown.items[0].pieces)


@pytest.mark.parametrize("width", [40, 100])
def test_the_text_shows_every_piece_and_aligns_gold_under_it(width: int) -> None:
    shown = instances(recipe("packed"), random_store(40), n=2)
    text = shown.text(width)
    legend, body = text.split("\n\n", 1)
    assert " ".join(legend.split()) == LEGEND
    upper = [line for line in body.splitlines() if line.startswith("     ")]
    words = " ".join(upper).split()
    wanted = sum(len(i.pieces) + len(i.masked) for i in shown.items)
    assert len(words) == wanted
    assert all(columns(line) <= width for line in upper)
    assert "sequence 1" in body
    assert "segment A" in body


def test_chinese_columns_line_up() -> None:
    store = MiniStore([[[5, 6, 7, 8, 9, 10, 11, 12] * 2], [[6, 7, 8] * 6]])
    store.tokenizer.pieces = [*SPECIAL, *"春江潮水连海平上明月共生", *("长" for _ in range(200))]
    (item,) = instances(recipe("packed", 24), store, n=1).items
    lines = instances(recipe("packed", 24), store, n=1).text(400).splitlines()
    upper, lower = lines[-2:]
    at = [columns(upper[: m.start()]) for m in re.finditer(r"\S+", upper)]
    below = [columns(lower[: m.start()]) for m in re.finditer(r"\S+", lower)]
    assert below == [at[a.at] for a in item.masked]
    assert len(below) == 3
    assert columns("春a") == 3


def test_a_family_without_windows_shows_sentences() -> None:
    store = MiniStore([[[5, 6], [], [7]], [[8, 9, 10]]], held_out=[0])
    shown = instances(replace(recipe(), windows=None, objectives={}), store, n=5)
    assert [i.ids for i in shown.items] == [(8, 9, 10)]
    assert "Upper line" not in shown.text()
    assert "w8" in shown.text()
    np.testing.assert_array_equal(shown.items[0].position, [0, 1, 2])


def test_at_least_one() -> None:
    with pytest.raises(UsageError, match="from 1 on"):
        instances(recipe(), random_store(5), n=0)
