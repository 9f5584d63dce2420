"""New words for a vocabulary: the right ones, old ids and rows untouched, new rows the mean of their pieces."""

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import foretext
from foretext.bundle import SOURCE, Pretrained, build_model, load_pretrained
from foretext.cli import run
from foretext.config import override
from foretext.errors import DataError, UsageError
from foretext.extending import Extension, coverage, extend, read_words
from foretext.models.bert.config import BertConfig
from foretext.objectives import MaskedConfig
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig, train_tokenizer
from foretext.text.tokenizers.spelling import WordPiece
from foretext.training.config import Limits
from foretext.types import Text
from stage_two import pretrained as static_or_bert

OLD = "the a river bank boat water money market price ship sailor trader rises falls moves past under near old new".split()
NEW = ["stentgraft", "boatmarket", "waterprices"]
DOMAIN = strings_corpus([" ".join([*NEW, "the river", "1066", "x-ray", "海", "鳗"]) + "." for _ in range(6)])
ONE = Setting(threads=1, device="cpu")
FAMILY = BertConfig(layers=2, width=16, heads=2, inner=32, positions=32, dropout=0.0, attention_dropout=0.0)


def sentences(words: list[str], seed: int, documents: int = 30) -> list[str]:
    draw = random.Random(seed)
    return ["\n".join(" ".join(draw.choices(words, k=10)) + "." for _ in range(6)) for _ in range(documents)]


def recipe(**values: object) -> Recipe:
    base = replace(find("bert-budget"), family=FAMILY, init_embeddings="random")
    laid = {"tokenizer": {"size": 90}, "windows": {"length": 32}, "held_out": 0.2, "batch": {"rows": 8}, **values}
    return override(base, laid)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """A BERT pretrained for some steps on text without the new words."""
    folder = tmp_path_factory.mktemp("extending")
    setting = replace(ONE, cache=folder / "cache")
    corpus = strings_corpus([*sentences(OLD, 0), " ".join(sorted({c for word in NEW for c in word}))])
    return pretrain(recipe(), corpus, folder / "m", limits=Limits(steps=25, evaluations=1), setting=setting)


@pytest.fixture(scope="module")
def extended(source: Pretrained) -> Extension:
    return extend(source, DOMAIN)


def test_words_are_ranked_by_the_pieces_they_save(source: Pretrained) -> None:
    text = ["boatmarket stentgraft boatmarket " * 3, "waterprices 1066 1066 1066 , , , 2b 2b 2b"]
    found = extend(source, strings_corpus(text), min_count=1)
    pieces = {word: len(source.tokenizer.encode([Text(string=word)])[0].ids) for word in NEW}
    saved = {"boatmarket": 6, "stentgraft": 3, "waterprices": 1}
    expected = sorted(NEW, key=lambda word: -saved[word] * (pieces[word] - 1))
    assert [one.word for one in found.added] == expected
    assert {one.word: one.count for one in found.added} == saved
    assert all(len(one.pieces) == pieces[one.word] > 1 for one in found.added)
    assert [one.word for one in extend(source, strings_corpus(text), min_count=1, most=2).added] == expected[:2]
    assert [one.word for one in extend(source, strings_corpus(text), min_count=6).added] == ["boatmarket"]


def test_old_ids_and_rows_stay_and_new_ones_follow(source: Pretrained, extended: Extension) -> None:
    made, old = extended.pretrained, source.tokenizer.size
    assert list(made.tokenizer.pieces[:old]) == list(source.tokenizer.pieces)
    assert list(made.tokenizer.pieces[old:]) == [one.word for one in extended.added]
    assert made.recipe.tokenizer.size == made.tokenizer.size == old + len(extended.added)
    known = [word for word in OLD if not word.startswith(tuple(one.word for one in extended.added))]
    assert len(known) > 15
    texts = [*sentences(known, 3, 10), "Boats, priors! 里 unpriced 77 stent graft", ""]
    before, after = source.tokenizer.ids(texts), made.tokenizer.ids(texts)
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    sizes = {name: len(array) for name, array in made.arrays.items() if array.shape != source.arrays[name].shape}
    assert set(sizes) == {"encoders.text.embeddings.table.weight", "heads.masked.bias"}
    for name, array in source.arrays.items():
        assert made.arrays[name][: len(array)].tobytes() == array.tobytes()
    encoding = made.tokenizer.encode([Text(string="The Stentgraft's waterprices")])[0]
    assert [made.tokenizer.pieces[i] for i in encoding.ids] == ["the", "stentgraft", "[UNK]", "s", "waterprices"]
    assert encoding.offsets[1].tolist() == [4, 14]


def test_vocabulary_rows_are_told_from_others_of_the_same_length() -> None:
    """A model with as many positions as entries: its position table must not grow."""
    corpus = strings_corpus(sentences(OLD, 0))
    tokenizer = train_tokenizer(TokenizerConfig(size=90), corpus, workers=0)
    config = replace(FAMILY, positions=tokenizer.size)
    made = Recipe(name="x", family=config, tokenizer=tokenizer.config, objectives={"masked": MaskedConfig()})
    model = build_model(made, tokenizer.size)
    found = extend(Pretrained(recipe=made, tokenizers={SOURCE: tokenizer}, arrays=model.arrays()), DOMAIN)
    other = build_model(found.pretrained.recipe, found.pretrained.tokenizer.size)
    assert {n: a.shape for n, a in other.arrays().items()} == {n: a.shape for n, a in found.pretrained.arrays.items()}
    assert found.pretrained.model is not None


def test_a_new_logit_is_the_mean_of_its_pieces_logits(source: Pretrained, extended: Extension) -> None:
    """So it never outbids its likeliest piece, and old words lose little of their probability."""
    made = extended.pretrained
    hidden = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32) * 5

    def logits(model: Pretrained) -> np.ndarray:
        return hidden @ model.vectors.T + model.arrays["heads.masked.bias"]

    before, after = logits(source), logits(made)
    place = {piece: number for number, piece in enumerate(source.tokenizer.pieces)}
    spelled = [one for one in extended.added if "[UNK]" not in one.pieces]
    assert len(spelled) >= 3
    for one in spelled:
        at = made.tokenizer.pieces.index(one.word)
        its = before[:, [place[piece] for piece in one.pieces]]
        assert np.allclose(after[:, at], its.mean(axis=1), atol=1e-4)
        assert (after[:, at] <= its.max(axis=1) + 1e-4).all()
    bare = next(one for one in extended.added if one.pieces == ("[UNK]",))
    ordinary = np.delete(before, list(source.tokenizer.special.values()), axis=1)
    assert np.allclose(after[:, made.tokenizer.pieces.index(bare.word)], ordinary.mean(axis=1), atol=1e-4)
    left = np.exp(torch.logsumexp(torch.tensor(before), 1) - torch.logsumexp(torch.tensor(after), 1))
    assert float(left.min()) > before.shape[1] / (before.shape[1] + len(extended.added) * before.shape[1] / 4)


def test_coverage_before_and_after(source: Pretrained, extended: Extension) -> None:
    before, after = extended.before, extended.after
    counted = dict.fromkeys([*NEW, "the", "river", "1066", "x", "-", "ray", "海", "鳗", "."], 6)
    assert before == coverage(source.tokenizer, counted)  # type: ignore[arg-type]
    assert before.words == after.words == 6 * 12
    spelled = [source.tokenizer.encode([Text(string=word)])[0].ids for word in counted]
    unknown = source.tokenizer.special["[UNK]"]
    assert before.pieces == pytest.approx(sum(map(len, spelled)) / 12)
    assert before.whole == pytest.approx(sum(len(ids) == 1 and unknown not in ids for ids in spelled) / 12)
    assert before.unknown == pytest.approx(sum(unknown in ids for ids in spelled) / 12)
    assert after.whole >= before.whole + 5 / 12
    assert after.pieces < before.pieces
    assert after.unknown < before.unknown
    assert extended.pretrained.provenance.results["share of whole words after"] == after.whole


def test_going_on_from_it_starts_no_worse_than_from_random_rows(source: Pretrained, extended: Extension, tmp_path: Path) -> None:
    """extend → pretrain --from → transfer; the first loss on text with the new words, against random new rows."""
    draw = np.random.default_rng(0)
    made, old = extended.pretrained, source.tokenizer.size
    noise = {name: array.copy() for name, array in made.arrays.items()}
    noise["encoders.text.embeddings.table.weight"][old:] = draw.normal(0, 0.02, (made.tokenizer.size - old, 16))
    noise["heads.masked.bias"][old:] = 0.0
    text = strings_corpus(sentences([*OLD, *NEW * 3], 5, 40))
    frozen = recipe(optimizer={"kind": "adamw", "rate": 1e-30, "decay": 0.0})
    losses = {}
    for name, start in (("pieces", made), ("random", replace(made, arrays=noise))):
        setting = replace(ONE, cache=tmp_path / "cache")
        ended = pretrain(frozen, text, tmp_path / name, source=start, limits=Limits(steps=1, evaluations=1), setting=setting)
        losses[name] = ended.provenance.results["masked loss"]
    assert losses["pieces"] < losses["random"]
    saved = made.save(tmp_path / "saved")
    further = pretrain(
        recipe(), text, tmp_path / "on", source=saved, limits=Limits(steps=20, evaluations=1),
        setting=replace(ONE, cache=tmp_path / "cache"),
    )  # fmt: skip
    assert further.provenance.results["masked loss"] < losses["pieces"]
    assert further.tokenizer.key == saved.tokenizer.key
    assert further.provenance.source == saved.key
    rows = [(f"the {word} moves", "new" if word in NEW else "old") for word in (*NEW, *OLD[:3]) for _ in range(8)]
    adapted = foretext.transfer(further, rows, tmp_path / "classifier", how="features", threads=1)
    assert [p.label for p in adapted.predict(["the stentgraft moves", "the river moves"])] == ["new", "old"]


def test_an_imported_vocabulary_with_special_tokens_anywhere() -> None:
    """As Hugging Face files have it: [PAD] first, the others in the middle, a whole word unknown by one character."""
    letters = "abcdefgh"
    pieces = ["[PAD]", "[unused0]", *letters[:4], "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters[4:], *(f"##{c}" for c in letters), "##bcz"]
    config = TokenizerConfig(size=len(pieces), unseen="word")
    special = [pieces.index(token) for token in config.special]
    tokenizer = ChunkTokenizer(config, WordPiece(pieces, special, pieces.index("[UNK]"), whole_unknown=True))
    arrays = {"encoders.text.embeddings.table.weight": np.eye(len(pieces), 16, dtype=np.float32)}
    imported = Pretrained(recipe=Recipe(name="x", family=FAMILY, tokenizer=config), tokenizers={SOURCE: tokenizer}, arrays=arrays, key="k")
    found = extend(imported, strings_corpus([*["abc deaf xyz abc xyz deaf. abcd"] * 2, "abcz"]), min_count=2)
    assert [one.word for one in found.added] == ["deaf", "abcd", "xyz"]  # abc would leave "abcz" unknown
    assert found.pretrained.tokenizer.special == tokenizer.special
    new, old = (m.arrays["encoders.text.embeddings.table.weight"] for m in (found.pretrained, imported))
    assert np.allclose(new[-1], np.delete(old, special, 0).mean(0))  # xyz had no piece
    asked = extend(imported, strings_corpus(["abc abcz"]), words=["ABC", "deaf", "deaf", "a b", "e-f", "a"])
    assert [one.word for one in asked.added] == ["deaf"]
    assert dict(asked.left_out) == {
        "abc": "it would make 'abcz' unknown", "a b": "the tokenizer cuts it into a | b",
        "e-f": "the tokenizer cuts it into e | - | f", "a": "it is an entry already",
    }  # fmt: skip
    assert found.after.unknown <= found.before.unknown


def test_chinese_is_told_of_and_gets_its_missing_characters(source: Pretrained) -> None:
    text = strings_corpus(["海鳗在海里。" * 6])
    found = extend(source, text)
    assert {one.word for one in found.added} == set("海鳗在里")
    assert "4 missing characters" in " ".join(found.notes)
    assert (found.before.unknown, found.after.unknown) == (pytest.approx(1.0), pytest.approx(1 / 6))  # the full stop
    asked = extend(source, text, words=["海鳗"])
    assert ([one.word for one in asked.added], asked.left_out[0][0]) == (["海", "鳗"], "海鳗")


def test_a_lexicon_gets_its_unknown_words_at_the_mean_row(tmp_path: Path) -> None:
    vectors = static_or_bert("word2vec")
    text = strings_corpus(["the trawler of the 海鳗 near the ship . trawler"] * 6)
    found = extend(vectors, text)
    assert [one.word for one in found.added] == ["trawler", "海鳗"]
    assert found.pretrained.tokenizer.counts[-2:].tolist() == [12, 6]  # type: ignore[attr-defined]
    mean = vectors.vectors[1:].mean(0, dtype=np.float64).astype(np.float32)
    assert (found.pretrained.vectors[-2:] == mean).all()
    assert (found.pretrained.vectors[:-2] == vectors.vectors).all()
    assert "mean row" in found.notes[0]
    further = override(find("word2vec"), {"family": {"width": 24, "min_count": 1, "sample": 0.0, "extends": False}})
    source = replace(
        found.pretrained,
        arrays={**found.pretrained.arrays, "heads.negative_sampling.table.weight": np.zeros_like(found.pretrained.vectors)},
    ).save(tmp_path / "m")
    made = pretrain(further, text, tmp_path / "on", source=source, limits=Limits(steps=4), setting=replace(ONE, cache=tmp_path / "c"))
    assert made.tokenizer.size == len(made.vectors) == vectors.tokenizer.size + 2
    assert not (made.vectors[-2] == mean).all()


def test_what_cannot_be_extended_is_one_message(source: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no word seen 5 times or more lacks an entry; lower --min-count"):
        extend(source, strings_corpus(["the new new ."] * 9))
    with pytest.raises(DataError, match=r"none of the words can be added \(the: it is an entry already\)"):
        extend(source, DOMAIN, words=["the"])
    with pytest.raises(UsageError, match="at least 1"):
        extend(source, DOMAIN, most=0)
    pieces = train_tokenizer(TokenizerConfig(kind="bpe", size=300), strings_corpus(sentences(OLD, 0)), workers=0)
    with pytest.raises(UsageError, match="byte-level BPE"):
        extend(replace(source, tokenizers={SOURCE: pieces}), DOMAIN)
    with pytest.raises(UsageError, match="exists already"):
        foretext.extend(source, DOMAIN, tmp_path)
    with pytest.raises(UsageError, match="words are given"):
        foretext.extend(source, DOMAIN, tmp_path / "x", words=["a"], most=3)
    (tmp_path / "w.txt").write_bytes(b"\xef\xbb\xbffine\n\n two \nbad \xff")
    with pytest.raises(DataError, match=r"w\.txt:byte"):
        read_words(tmp_path / "w.txt")
    with pytest.raises(UsageError, match="no such file"):
        read_words(tmp_path / "absent.txt")


def test_the_command_reports_and_the_folder_opens(source: Pretrained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "domain.txt").write_text("\n".join(f"The stentgraft and the boatmarket {n}." for n in range(6)))
    (tmp_path / "words.txt").write_text("\ufeffStentgraft\nheart attack\n", encoding="utf-8")
    model, text = str(source.path), str(tmp_path / "domain.txt")
    run(["extend", model, text, "--out", str(tmp_path / "a"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert {one["word"] for one in told["added"]} >= {"stentgraft", "boatmarket"}
    assert told["after"]["whole"] > told["before"]["whole"]
    run(["extend", model, text, "--out", str(tmp_path / "b"), "--words", str(tmp_path / "words.txt")])
    printed = capsys.readouterr().out
    assert "1 word added" in printed
    assert "left out: heart attack (the tokenizer cuts it into heart | attack)" in printed
    a, b = load_pretrained(tmp_path / "a"), load_pretrained(tmp_path / "b")
    assert a.provenance.source == b.provenance.source == source.key
    assert len({a.key, b.key, source.key}) == 3
    others = [extend(source, DOMAIN, words=[word]).pretrained.save(tmp_path / word) for word in NEW[:2]]
    assert len({one.key for one in others}) == 2  # as many words from the same text, but others
    assert a.encode(["a stentgraft"])[0].tokens[-1] == "stentgraft"
