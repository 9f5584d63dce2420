"""`fill` and `score` against the model asked by hand, one unpadded sequence at a time."""

import numpy as np
import pytest
import torch

from foretext.bundle import SOURCE, Pretrained, build_model
from foretext.errors import UsageError
from foretext.evaluation.fill import fill
from foretext.evaluation.score import score
from foretext.models.bert.config import BertConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.objectives import MaskedConfig
from foretext.recipe import Recipe
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.types import Batch, Target, Text, TokenBatch

TEXTS = ["The cat sat on the mat.", "A dog ran; the dog sat down.", "北京是中国的首都。", "我们在北京看见一只猫。"]


@pytest.fixture(scope="module")
def bert() -> Pretrained:
    """A random BERT of 12 positions; weights large enough that places matter."""
    tokenizer = train_tokenizer(TokenizerConfig(size=120), strings_corpus(TEXTS))
    family = BertConfig(layers=2, width=16, heads=2, inner=32, positions=12, initial_sd=0.5, dropout=0.0)
    recipe = Recipe(name="tiny", family=family, tokenizer=tokenizer.config, objectives={"masked": MaskedConfig()})
    arrays = build_model(recipe, tokenizer.size).arrays()
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays=arrays)


def by_hand(bert: Pretrained, ids: list[int], place: int) -> np.ndarray:
    """Log-probabilities [V] at `place` of one sequence."""
    row = torch.tensor([ids])
    view = TokenBatch(
        ids=row, sequence=torch.zeros_like(row), position=torch.arange(len(ids))[None], bounds=torch.tensor([[0, 0, len(ids)]]),
        segment=torch.zeros_like(row), summary=torch.tensor([0]),
    )
    with torch.no_grad():
        vectors = bert.model(Batch(views={SOURCE: view}))
        target = Target(at=torch.tensor([place]), gold=torch.tensor([0]), count=1)
        return bert.model.head("masked").predict(vectors, target)[0].numpy()


def wrapped(bert: Pretrained, ids: list[int]) -> list[int]:
    special = bert.tokenizer.special
    return [special["[CLS]"], *ids, special["[SEP]"]]


def ids_of(bert: Pretrained, string: str) -> list[int]:
    return bert.tokenizer.encode([Text(string=string)])[0].ids.tolist()


@pytest.mark.parametrize("mark", ["[MASK]", "___", "______", "＿＿"])
def test_fill_asks_the_model_at_the_mask(bert: Pretrained, mark: str) -> None:
    found = fill(bert, f"The {mark} sat.", n=4)
    ids = wrapped(bert, [*ids_of(bert, "The "), bert.tokenizer.special["[MASK]"], *ids_of(bert, " sat.")])
    expected = by_hand(bert, ids, 1 + len(ids_of(bert, "The ")))
    expected[list(bert.tokenizer.special.values())] = -np.inf
    best = np.argsort(-expected)[:4]
    assert [g.piece for g in found.guesses[0]] == [bert.tokenizer.pieces[i] for i in best]
    np.testing.assert_allclose([g.probability for g in found.guesses[0]], np.exp(expected[best]), rtol=1e-4)
    assert found.places == ((4, 4 + len(mark)),)
    assert found.text().endswith(f"The [{found.guesses[0][0].piece}] sat.")


def test_fill_keeps_masks_in_the_order_of_the_text(bert: Pretrained) -> None:
    """Far apart, so in different windows of a model of 12 positions; and next to each other."""
    text = "[MASK]京是[MASK][MASK]的首都。" + "我们在北京看见猫" * 3 + "[MASK]。"
    found = fill(bert, text, n=2)
    assert [text[a:b] for a, b in found.places] == ["[MASK]"] * 4
    assert len(found.guesses) == 4
    one = fill(bert, "[MASK]京", n=3)
    expected = by_hand(bert, wrapped(bert, [bert.tokenizer.special["[MASK]"], *ids_of(bert, "京")]), 1)
    assert one.guesses[0][0].probability == pytest.approx(
        np.exp(np.delete(expected, list(bert.tokenizer.special.values())).max()), rel=1e-4
    )
    json = found.as_json()
    assert [m["start"] for m in json["masks"]] == [a for a, _ in found.places]


def test_fill_in_a_long_text_reads_the_window_around_the_mask(bert: Pretrained) -> None:
    before, after = "我们在北京看见猫" * 3, "是中国的首都" * 2
    far, near = fill(bert, f"{before}[MASK]{after}", n=3), []
    ids = [*ids_of(bert, before), bert.tokenizer.special["[MASK]"], *ids_of(bert, after)]
    place = len(ids_of(bert, before))
    for start in range(place - 9, place + 1):
        window = wrapped(bert, ids[start : start + 10])
        near.append(np.exp(by_hand(bert, window, 1 + place - start)[len(bert.tokenizer.special) :].max()))
    assert any(far.guesses[0][0].probability == pytest.approx(p, rel=1e-4) for p in near)


def test_score_masks_each_token_in_turn(bert: Pretrained) -> None:
    texts = ["The cat sat on the mat.", "北京是首都", "", "dog"]
    for text, found in zip(texts, score(bert, texts, batch_tokens=40), strict=True):
        ids = ids_of(bert, text)
        expected = []
        for place, gold in enumerate(ids):
            asked = wrapped(bert, ids)
            asked[1 + place] = bert.tokenizer.special["[MASK]"]
            expected.append(by_hand(bert, asked, 1 + place)[gold])
        np.testing.assert_allclose(found.nats, expected, rtol=1e-4, atol=1e-4)
        assert found.tokens == tuple(bert.tokenizer.pieces[i] for i in ids)
        assert found.sum == pytest.approx(float(np.sum(expected)), abs=1e-3)
        assert found.mean == pytest.approx(found.sum / max(1, len(ids)))


def test_score_of_a_long_text_scores_every_token_once(bert: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "我们在北京看见一只猫。" * 5
    whole = score(bert, [text])[0]
    assert len(whole.nats) == len(ids_of(bert, text))
    assert (whole.nats < 0).all()
    monkeypatch.setattr("foretext.evaluation.score._QUESTIONS", 7)
    parts = score(bert, [text, "猫"])
    np.testing.assert_allclose(parts[0].nats, whole.nats, rtol=1e-5)
    assert len(parts[1].nats) == 1


def test_mask_in_a_scored_text_is_text(bert: Pretrained) -> None:
    assert bert.tokenizer.special["[MASK]"] not in ids_of(bert, "a [MASK] b")
    assert len(score(bert, ["a [MASK] b"])[0].nats) == len(ids_of(bert, "a [MASK] b"))


def test_errors_say_what_to_write(bert: Pretrained) -> None:
    with pytest.raises(UsageError, match=r"expected a mask.*write \[MASK\] or ___"):
        fill(bert, "no mask _ here __")
    encoder_only = {n: a for n, a in bert.arrays.items() if n.startswith("encoders.")}
    bare = Pretrained(recipe=bert.recipe, tokenizers=bert.tokenizers, arrays=encoder_only)
    with pytest.raises(UsageError, match="masked-LM head"):
        fill(bare, "[MASK]")
    recipe = Recipe(name="w", family=Word2VecConfig(), tokenizer=bert.recipe.tokenizer)
    static = Pretrained(recipe=recipe, tokenizers=bert.tokenizers, arrays={})
    with pytest.raises(UsageError, match=r"fill needs a family that can fill; word2vec cannot.*bert"):
        fill(static, "[MASK]")
    with pytest.raises(UsageError, match="score needs a family"):
        score(static, ["a"])
