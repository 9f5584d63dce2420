"""What pictures show: places, labels and text, read back from the figure or its SVG; never their bytes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.evaluation.vector_world import model

from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.errors import ArtefactError, UsageError
from foretext.evaluation import canvas
from foretext.evaluation import polysemy as polysemy_module
from foretext.evaluation.canvas import Labels, figure, fonts, leader, placed, printable, write
from foretext.evaluation.curve import curve_picture, read_curve
from foretext.evaluation.maps import Point, map_picture, principal, scatter_labelled, word_map
from foretext.evaluation.polysemy import polysemy, polysemy_picture, snippet
from foretext.evaluation.query import parse_query
from foretext.evaluation.senses import EXAMPLES
from foretext.models.bert.config import BertConfig
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer


def shown(file: Path) -> list[str]:
    """The text of an SVG, in the order it is drawn."""
    return [re.sub(r"<[^>]+>", "", one) for one in re.findall(r"<text[^>]*>(.*?)</text>", file.read_text(), re.DOTALL)]


def clouds(count: int = 12) -> dict[str, list[float]]:
    """Three clouds of words around three axes: a0, a1, …, b0, …, 苹0, …."""
    rng = np.random.default_rng(0)
    return {
        f"{kind}{i}": (np.eye(4)[n] + rng.normal(0, 0.12, 4)).tolist() for n, kind in enumerate(("a", "b", "苹")) for i in range(count)
    }


# ── the map ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_principal_components_are_sklearns() -> None:
    from sklearn.decomposition import PCA

    rows = np.random.default_rng(1).standard_normal((30, 7))
    places, shares = principal(rows)
    theirs = PCA(2).fit(rows)
    np.testing.assert_allclose(np.abs(places), np.abs(theirs.transform(rows)), atol=1e-9)
    np.testing.assert_allclose(shares, theirs.explained_variance_ratio_, atol=1e-9)
    assert (places[np.abs(places).argmax(0), [0, 1]] > 0).all()
    np.testing.assert_allclose(principal(rows[:, ::-1] * -1.0)[0], places, atol=1e-9)  # whatever the sign that comes out
    assert principal(np.ones((4, 3)))[1] == (0.0, 0.0)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_words_of_a_cloud_are_near_on_the_map(method: str) -> None:
    world = model(clouds())
    found = word_map(world, ["a0", "b0", "苹0"], n=6, method=method)
    assert [p.word for p in found.points if p.asked] == ["a0", "b0", "苹0"]
    assert all(p.word[0] == found.words[p.group][0] for p in found.points)
    assert len(found.points) == 21
    places = np.array([(p.x, p.y) for p in found.points])
    groups = np.array([p.group for p in found.points])
    for group in range(3):
        centre = places[groups == group].mean(0)
        apart = np.linalg.norm(places[groups != group] - centre, axis=1).min()
        assert np.linalg.norm(places[groups == group] - centre, axis=1).max() < apart
    again = word_map(world, ["a0", "b0", "苹0"], n=6, method=method)
    assert again == found
    assert (len(found.shares), bool(found.shares)) == ((2, True) if method == "pca" else (0, False))
    assert found.text().splitlines()[0].startswith("a0: ")
    assert found.as_json()["points"][0]["word"] == "a0"


def test_a_word_near_to_two_belongs_to_the_nearer() -> None:
    world = model({"a": (1, 0, 0), "b": (0.6, 0.8, 0), "x": (0.75, 0.6, 0.1), "y": (1, 0.1, 0.1), "z": (0, 0, 1)})
    found = word_map(world, ["a", "b"], n=2)
    assert {(p.word, p.group) for p in found.points if not p.asked} == {("y", 0), ("x", 1)}


def test_maps_that_cannot_be_are_refused() -> None:
    world = model(clouds())
    with pytest.raises(UsageError, match="three words or more, found 2"):
        word_map(world, ["a0"], n=1)
    with pytest.raises(UsageError, match="more than 400"):
        word_map(world, ["a0", "b0"], n=300)
    with pytest.raises(UsageError, match="'umap'"):
        word_map(world, ["a0", "b0"], method="umap")
    with pytest.raises(UsageError, match=r"expected .png, .svg, .pdf, found .jpeg"):
        map_picture(word_map(world, ["a0", "b0"]), Path("x.jpeg"))


def test_no_label_meets_another_or_a_point() -> None:
    """Labels of 60 points in a heap, as they are really drawn."""
    rng = np.random.default_rng(0)
    places = rng.normal(0, 1, (60, 2))
    points = [Point(word=f"word{i}", x=x, y=y, group=i % 3, asked=i < 3, cosine=1.0, count=None) for i, (x, y) in enumerate(places)]
    with fonts():
        made, (axes,) = figure(9, 7)
        texts = scatter_labelled(made, axes, points, [p.word for p in points])
        assert texts is not None
        made.canvas.draw()
        renderer = made.canvas.get_renderer()
        boxes = [text.get_window_extent(renderer) for text in texts]
        frame = axes.get_window_extent(renderer)
        dots = axes.transData.transform(places)
    for i, one in enumerate(boxes):
        assert frame.x0 <= one.x0
        assert one.x1 <= frame.x1
        assert not any(one.overlaps(other) for other in boxes[:i])
        assert not any(one.contains(*dot) for dot in dots)
    nearest = [np.hypot(*np.maximum(0, np.maximum([b.x0, b.y0] - d, d - [b.x1, b.y1]))) for b, d in zip(boxes, dots, strict=True)]
    assert np.median(nearest) < 12


def test_lines_to_far_labels_go_round_the_other_labels() -> None:
    """A dozen points in a heap: not all have their label beside them."""
    joined = 0
    for seed in range(6):
        points, sizes = np.random.default_rng(seed).normal(400, 40, (12, 2)), np.tile((60.0, 12.0), (12, 1))
        centres = placed(points, sizes, (800.0, 800.0))
        assert centres is not None
        ends = [leader(*one) for one in zip(points, centres, sizes, strict=True)]
        for point, end in zip(points, ends, strict=True):
            way = np.linspace(point, point if end is None else end, 201)
            assert not (np.abs(way[:, None] - centres) < sizes / 2 - 1e-6).all(axis=2).any()
        joined += sum(end is not None for end in ends)
    assert joined > 6


def test_where_there_is_no_room_there_is_no_place() -> None:
    points, sizes = np.full((3, 2), 50.0), np.full((3, 2), (40.0, 12.0))
    centres = placed(points, sizes, (200.0, 200.0))
    assert centres is not None
    np.testing.assert_allclose(centres[0], (50 + 20 + 7, 50))  # to the right of the first
    assert placed(points - (20, 35), sizes, (60.0, 30.0)) is None
    assert placed(points, np.full((3, 2), (400.0, 12.0)), (200.0, 200.0)) is None


def test_the_drawn_map_has_every_word_and_says_what_its_axes_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = word_map(model(clouds()), ["a0", "苹0"], n=10)
    assert map_picture(found, tmp_path / "map.svg") == []
    words = shown(tmp_path / "map.svg")
    assert {p.word for p in found.points} <= set(words)
    assert any(f"{found.shares[0]:.0%} of the variance" in word for word in words)
    first = (tmp_path / "map.svg").read_bytes()
    map_picture(found, tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_bytes() == first
    # a picture of dots, with no font for Chinese: numbers, and what they stand for
    monkeypatch.setattr(canvas, "chinese_fonts", list)
    (said,) = map_picture(found, tmp_path / "map.png")
    lost = [p.word for p in found.points if not p.word.isascii()]
    assert said.endswith(": " + "  ".join(f"{number} {word}" for number, word in enumerate(lost, start=1)))
    assert (tmp_path / "map.png").read_bytes()[:4] == b"\x89PNG"
    drawn, (said,) = printable(["a$b", "苹果", "香蕉", "苹果"])
    assert drawn == [r"a\$b", "1", "2", "1"] and said.endswith("1 苹果  2 香蕉")
    assert printable(["苹果", "a$b"], Path("x.svg")) == (["苹果", r"a\$b"], [])


def test_letters_without_a_font_are_given_their_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canvas, "chinese_fonts", list)
    with fonts():
        made, (axes,) = figure(3, 3)
        made.canvas.draw()
        renderer = made.canvas.get_renderer()
        one, four = (canvas.extent(axes.text(0, 0, "果" * n, fontsize=12), renderer) for n in (1, 4))
        assert four[0] == pytest.approx(4 * one[0])
        assert one[0] >= 12 * made.dpi / 72


def test_a_picture_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    made, _ = figure(2, 2)
    with pytest.raises(Exception, match="cannot write: No such file or directory"):
        write(made, tmp_path / "absent" / "x.svg")


# ── the curve ───────────────────────────────────────────────────────────────────────────────────────────────────────


def log(folder: Path, name: str = "training.jsonl", torn: bool = False) -> Path:
    folder.mkdir()
    lines: list[dict[str, Any]] = []
    for step in range(1, 11):
        lines.append({"step": step, "loss": 4 / step, "tokens": 1000 * step, "seconds": 0.1, "rate": 0.1, "norm": None, "parts": {}})
        if step % 5 == 0:
            lines.append({"step": step, "seconds": 0.2, "held_out": {"loss": 5 / step, "accuracy": 0.5}})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / name).write_text(text + ('{"step": 11, "lo' if torn else ""))
    return folder


def test_a_curve_is_what_the_log_says(tmp_path: Path) -> None:
    found = read_curve(log(tmp_path / "model"))
    assert found.training[0] == (1, 1000, 4.0)
    assert len(found.training) == 10
    assert found.held_out == ((5, 5000, 1.0), (10, 10_000, 0.5))
    assert found.line is None
    assert "training loss 4.000 → 0.400 at step 10, 10,000 tokens" in found.text()
    assert "held-out loss 1.000 → 0.500, least 0.500 at step 10" in found.text()
    torn = read_curve(log(tmp_path / "out.run", "log.jsonl", torn=True))
    assert (torn.training, torn.name) == (found.training, "out.run")
    (tmp_path / "model/provenance.json").write_text('{"results": {"unigram entropy": 2.5, "loss": 1}}')
    assert read_curve(tmp_path / "model").line == 2.5
    assert read_curve(tmp_path / "model/training.jsonl") == read_curve(tmp_path / "model")


def test_the_drawn_curve_has_both_losses_at_their_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("foretext.evaluation.curve.write", lambda made, file: drawn.append(made))
    one = read_curve(log(tmp_path / "one"))
    (tmp_path / "two").mkdir()
    (tmp_path / "two/training.jsonl").write_text('{"step": 1, "loss": 2.0, "tokens": 7, "parts": {}}\n{"step": 1, "held_out": {}}\n')
    curve_picture([one, read_curve(tmp_path / "two")], tmp_path / "c.svg")
    first, second = drawn[0].axes
    training, held = first.get_lines()
    np.testing.assert_allclose(training.get_xydata(), [(t / 1e6, loss) for _, t, loss in one.training])
    np.testing.assert_allclose(held.get_xydata(), [(0.005, 1.0), (0.01, 0.5)])
    assert [text.get_text() for text in first.get_legend().get_texts()] == ["training", "held out"]
    assert (first.get_title(), first.get_ylabel()) == ("one", "loss (nats a target)")
    assert len(second.get_lines()) == 1
    assert "nothing was held out" in read_curve(tmp_path / "two").text()


def test_what_is_no_log(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent: no such folder; give a pretrained folder"):
        read_curve(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"neither training\.jsonl nor log\.jsonl"):
        read_curve(tmp_path / "empty")
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2, "loss": 1.0, "tokens": 5}\n')
    with pytest.raises(ArtefactError, match=r"log\.jsonl:line 1: no line of a training log"):
        read_curve(tmp_path)
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(ArtefactError, match="empty"):
        read_curve(tmp_path)


# ── polysemy ────────────────────────────────────────────────────────────────────────────────────────────────────────

SENTENCES = [
    "water: the [bank] of a river",
    "water: a lake and its [Bank]",
    "money: the [bank] lent gold",
    "money: gold in a [bank]",
]
PLACES = {
    "the": (0.2, 0.2, 1), "of": (0.2, 0.2, 0.9), "a": (0.2, 0.1, 1), "and": (0.1, 0.2, 1), "its": (0, 0, 1.1), "in": (0.1, 0, 1),
    "bank": (0.7, 0.75, 0), "river": (1, 0.1, 0), "lake": (1, 0, 0.1), "shore": (0.9, 0.1, 0), "gold": (0, 1, 0.1), "lent": (0.1, 1, 0),
    "coin": (0.1, 0.9, 0), "debt": (0.2, 1, 0),
}


@pytest.fixture(scope="module")
def static() -> Pretrained:
    return model(PLACES, counts=[9000, 8000, 7000, 6000, 5000, 4000, 300, 200, 190, 180, 170, 160, 150, 140])


def test_every_bank_is_one_vector_among_words_of_both_senses(static: Pretrained) -> None:
    found = polysemy(static, SENTENCES, n=8)
    assert found.one_vector
    assert (found.word, found.senses) == ("bank", ("water", "money"))
    np.testing.assert_allclose([found.layers[0].within, found.layers[0].between], 1, atol=1e-6)
    np.testing.assert_array_equal(found.vector, static.vectors[7])
    leans = {lean.word: lean.sense for lean in found.nearest}
    assert {leans[word] for word in ("coin", "debt", "gold")} == {"money"}
    assert {leans[word] for word in ("river", "shore", "lake")} == {"water"}
    assert "bank" not in leans
    cosines = [lean.cosine for lean in found.nearest]
    assert cosines == sorted(cosines, reverse=True)
    assert [lean.rank for lean in found.nearest] == list(range(1, 9))
    assert "one vector in every sentence" in found.text()
    assert found.as_json()["one vector"] is True


def test_a_sense_that_is_crowded_out_is_shown_with_its_rank(static: Pretrained) -> None:
    found = polysemy(static, SENTENCES, n=1)
    first, second = found.nearest
    assert (first.rank, second.sense != first.sense, second.rank > 2) == (1, True, True)
    assert "(no. " in polysemy_picture_labels(found)[-1]


def test_a_string_has_one_number_throughout_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Title, legend, points and bars of a picture of dots without a font for Chinese."""
    monkeypatch.setattr(canvas, "chinese_fonts", list)
    places = {{"bank": "打", "river": "河", "coin": "钱"}.get(word, word): place for word, place in PLACES.items()}
    world = model(places, counts=[9000, 8000, 7000, 6000, 5000, 4000, 300, 200, 190, 180, 170, 160, 150, 140])
    found = polysemy(world, [re.sub(r"\[[Bb]ank\]", "[打]", one).replace("water:", "水:").replace("river", "河") for one in SENTENCES], n=8)
    drawn: list[Any] = []
    monkeypatch.setattr(polysemy_module, "write", lambda made, file: drawn.append(made))
    (said,) = polysemy_picture(found, tmp_path / "p.png")
    number = {word: said.split(": ", 1)[1].split("  ").index(f"{n} {word}") + 1 for n, word in enumerate(("水", "打"), 1)}
    assert number == {"水": 1, "打": 2} and "3 " in said and "money" not in said
    left, right = drawn[0].axes
    legend = [text.get_text() for text in left.get_legend().get_texts()]
    texts = [text.get_text() for text in left.texts]
    assert left.get_title().startswith("2: one vector") and legend == ["1", "money"] and texts[0] == "2 ×4"
    assert [text.get_text().split(" (")[0] for text in right.get_yticklabels()] == texts[1:]
    assert polysemy_picture(found, tmp_path / "p.svg") == []


def test_senses_of_a_single_use_are_not_compared_with_themselves(contextual: Pretrained, tmp_path: Path) -> None:
    found = polysemy(contextual, ["fish: by the [bank] of a river", "money: the [bank] of a lender"])
    assert all((layer.within, layer.right) == (None, None) and not layer.one for layer in found.layers[1:])
    assert "within" not in found.text() and "no sense has two uses to compare" in found.text()
    polysemy_picture(found, tmp_path / "one.svg")
    assert "within a sense" not in shown(tmp_path / "one.svg")


def polysemy_picture_labels(found: Any) -> list[str]:
    from foretext.evaluation.polysemy import _ranked

    return [_ranked(lean, number, Labels(())) for number, lean in enumerate(found.nearest, 1)]


@pytest.fixture(scope="module")
def contextual() -> Pretrained:
    texts = [re.sub(r"[\[\]]|^\w+:", "", sentence) for sentence in SENTENCES]
    tokenizer = train_tokenizer(TokenizerConfig(size=70), strings_corpus(texts))
    family = BertConfig(layers=2, width=16, heads=2, inner=32, positions=40, initial_sd=0.5, dropout=0.0)
    recipe = Recipe(name="tiny", family=family, tokenizer=tokenizer.config)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=build_model(recipe, tokenizer.size).arrays())


def test_a_contextual_models_banks_are_apart(contextual: Pretrained) -> None:
    found = polysemy(contextual, SENTENCES)
    assert not found.one_vector
    assert (len(found.layers), found.nearest) == (3, ())
    rows = []
    for sentence in SENTENCES:
        query = parse_query(sentence.partition(":")[2].strip())
        item = contextual.encode([query.string])[0]
        assert query.marked is not None
        inside = [i for i, (a, b) in enumerate(item.offsets.tolist()) if a >= query.marked[0] and b <= query.marked[1]]
        rows.append([layer[inside].mean(0) for layer in item.layers])
    for number, layer in enumerate(found.layers):
        units = [row[number] / np.linalg.norm(row[number]) for row in rows]
        cosine = {(i, j): float(units[i] @ units[j]) for i in range(4) for j in range(4) if i != j}
        assert layer.within == pytest.approx((cosine[0, 1] + cosine[2, 3]) / 2, abs=1e-5)
        assert layer.between == pytest.approx(np.mean([cosine[i, j] for i in (0, 1) for j in (2, 3)]), abs=1e-5)
        best = [max((j for j in range(4) if j != i), key=lambda j: cosine[i, j]) for i in range(4)]
        assert layer.right == pytest.approx(np.mean([i // 2 == j // 2 for i, j in enumerate(best)]))
    assert "layer 2" in found.text()


def test_the_drawn_demonstration_names_senses_and_uses(static: Pretrained, contextual: Pretrained, tmp_path: Path) -> None:
    polysemy_picture(polysemy(static, SENTENCES, n=6), tmp_path / "one.svg")
    words = shown(tmp_path / "one.svg")
    assert {"bank: one vector in all 4 sentences", "bank ×4", "water", "money", "debt"} <= set(words)
    polysemy_picture(polysemy(contextual, SENTENCES), tmp_path / "many.svg")
    words = shown(tmp_path / "many.svg")
    assert {"the [bank] lent gold", "gold in a [bank]", "within a sense", "between senses", "bank: its uses in the top layer"} <= set(words)


def test_a_word_that_is_cut_otherwise_is_told() -> None:
    world = model({"打": (1, 0), "打电话": (0, 1), "我": (1, 1), "他": (1, 0.5)})
    found = polysemy(world, ["一: 我[打]他", "二: 我[打]电话"])
    assert not found.one_vector
    assert [use.read for use in found.uses] == [("打",), ("打电话",)]
    assert "elsewhere as 打电话" in found.text() or "usually read as 打电话" in found.text()


@pytest.mark.parametrize(
    ("sentences", "said"),
    [
        (["the [bank]"], 'expected "sense: a sentence with one'),
        (["river: the bank"], 'expected "sense: a sentence with one'),
        (["bnak"], "bank, 苹果, 打"),
        (["a: the [bank]", "a: a [bank]"], "two senses or more, found bank in 1"),
        (["a: the [bank]", "b: the [shore]"], "found bank, shore in 2"),
        (["a: the [xyz]", "b: a [xyz]"], "has no vector for 'xyz'"),
    ],
)
def test_demonstrations_that_cannot_be(static: Pretrained, sentences: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        polysemy(static, sentences)


@pytest.mark.parametrize("word", EXAMPLES)
def test_the_examples_are_whole(word: str) -> None:
    """Two senses of as many sentences, each marking the word, which the segmenter leaves a word of its own."""
    from foretext.text.words import word_spans

    senses = [sentence.partition(":")[0] for sentence in EXAMPLES[word]]
    assert {senses.count(sense) for sense in senses} == {4}
    for sentence in EXAMPLES[word]:
        query = parse_query(sentence.partition(":")[2].strip())
        assert query.word == word
        assert query.marked in word_spans(query.string), sentence


def test_uses_are_cut_between_words() -> None:
    query = parse_query("She had walked along the very muddy [bank] of the winding little river for hours")
    assert snippet(query) == "…the very muddy [bank] of the winding…"
    assert snippet(parse_query("a [bank]")) == "a [bank]"
