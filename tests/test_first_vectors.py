"""First vectors: matched by what a piece spells, said how much they cover, the same whenever and by whoever made."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from foretext import budget, first_vectors, steppers
from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained, load_pretrained
from foretext.config import override
from foretext.errors import ArtefactError, Preempted, UsageError
from foretext.first_vectors import KEY, FirstVectors, identified, matched, settled, skipgram, spelled, table
from foretext.models.bert.config import BertConfig
from foretext.models.word2vec.config import Word2VecConfig
from foretext.pretraining import Setting, dry_run, prepare, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.steppers import Job, make
from foretext.text.corpus import strings_corpus
from foretext.text.tokenizers import ChunkTokenizer, TokenizerConfig
from foretext.text.tokenizers.spelling import BytePairs, Spelling, Unigram, Whole, WordPiece
from foretext.training.config import Limits, Phase
from foretext.training.progress import SilentWatch
from foretext.training.trial import Rate
from foretext.types import Report

ONE = Setting(threads=1, device="cpu", workers=0)
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def wordpieces(*pieces: str, **rules: Any) -> ChunkTokenizer:
    config = TokenizerConfig(kind="wordpiece", **rules)
    return ChunkTokenizer(config, WordPiece([*SPECIAL, *pieces], range(5), 1, whole_unknown=False))


def lexicon(*words: str, **rules: Any) -> ChunkTokenizer:
    config = TokenizerConfig(kind="words", special=("[UNK]",), **rules)
    return ChunkTokenizer(config, Whole(["[UNK]", *words], [0] * (1 + len(words)), 1, 0))


def folder(tokenizer: ChunkTokenizer, rows: np.ndarray | None = None) -> Pretrained:
    """A static model whose row i is (i, i², 1), zeros for "[UNK]"."""
    i = np.arange(tokenizer.size, dtype=np.float32)
    vectors = np.stack([i, i**2, np.ones_like(i)], axis=1) * (i > 0)[:, None] if rows is None else rows
    recipe = Recipe(name="given", family=Word2VecConfig(width=vectors.shape[1]), tokenizer=tokenizer.config)
    return Pretrained(recipe=recipe, tokenizers={SOURCE: tokenizer}, arrays={STATIC_TABLE: vectors.astype(np.float32)})


def found(source: ChunkTokenizer, target: ChunkTokenizer, counts: Sequence[int] | None = None) -> dict[str, float]:
    """Target piece → the row that it got, by its first number."""
    first = given(source, target, counts)
    return {target.pieces[i]: float(row[0]) for i, row in zip(first.ids.tolist(), first.rows, strict=True)}


def given(source: ChunkTokenizer, target: ChunkTokenizer, counts: Sequence[int] | None = None) -> FirstVectors:
    store: Any = SimpleNamespace(tokenizer=target, counts=np.array(counts if counts is not None else [1] * target.size))
    return matched(folder(source), store)


# ── matching ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_piece_matches_what_stands_in_a_word_alike() -> None:
    target = wordpieces("ing", "##ing", "river", "##s", "海")
    assert found(lexicon("river", "ing", "海"), target) == {"river": 1, "ing": 2, "海": 3}
    both = wordpieces("river", "##ing", "[unused]")
    assert found(both, target) == {"[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "river": 5, "##ing": 6}


def test_coverage_is_reported_by_piece_and_by_token() -> None:
    target = wordpieces("river", "##ing", "bank")
    first = given(lexicon("river", "bank"), target, [0, 0, 0, 0, 0, 6, 3, 1])
    assert first.report["pieces"] == 2 / 8
    assert first.report["tokens"] == pytest.approx(0.7)
    assert first.report["pieces by parts"] == 0
    assert first.text.startswith("first vectors: 25% of pieces, 70% of tokens from given (key ")


def test_case_and_accents_fold_by_the_targets_rules() -> None:
    source = lexicon("Paris", "Bank", "bank", "BANK", "café", lowercase=False, strip_accents=False)
    assert found(source, wordpieces("paris", "bank", "cafe")) == {"paris": 1, "bank": 3, "cafe": 5}
    cased = wordpieces("Paris", "paris", "bank", "Bank", "cafe", lowercase=False, strip_accents=False)
    assert found(source, cased) == {"Paris": 1, "bank": 3, "Bank": 2}


def test_a_word_that_the_folder_cuts_gets_the_mean_of_its_parts() -> None:
    source = wordpieces("riv", "##er", "bank", "##s")
    first = given(source, wordpieces("river", "banks", "tide", "##er"))
    rows = dict(zip(first.ids.tolist(), first.rows.tolist(), strict=True))
    assert rows[5] == [(5 + 6) / 2, (25 + 36) / 2, 1.0]
    assert rows[6] == [(7 + 8) / 2, (49 + 64) / 2, 1.0]
    assert 7 not in rows  # "t" is unknown there
    assert rows[8][0] == 6
    assert first.report["pieces by parts"] == 2 / 9
    # What the source's own folding reads as one of its words is that word.
    assert found(lexicon("paris"), wordpieces("Paris", lowercase=False)) == {"Paris": 1}


def test_rows_of_zeros_are_no_vectors() -> None:
    source, target = lexicon("river", "bank"), wordpieces("river", "bank")
    rows = np.array([[0, 0], [0, 0], [1, 2]], np.float32)
    store: Any = SimpleNamespace(tokenizer=target, counts=np.ones(target.size))
    assert matched(folder(source, rows), store).ids.tolist() == [6]
    with pytest.raises(UsageError, match="none of the vocabulary's pieces"):
        matched(folder(source, 0 * rows), store)


def test_every_kind_of_piece_is_spelled() -> None:
    special = ("[UNK]",)
    unigram: Spelling = Unigram(["[UNK]", "▁ri", "ver", "▁"], [0.0] * 4, {0}, 0)
    tokenizer = ChunkTokenizer(TokenizerConfig(kind="unigram", special=special), unigram)
    assert list(spelled(tokenizer, tokenizer.pieces)) == [
        ("special", "[UNK]"), ("head", "ri"), ("tail", "ver"), ("head", ""),
    ]  # fmt: skip
    bpe = ChunkTokenizer(TokenizerConfig(kind="bpe", special=()), BytePairs(["Ġri", "ver", "Ã©", "Ã"], [], ()))
    assert list(spelled(bpe, bpe.pieces)) == [("head", "ri"), ("tail", "ver"), ("tail", "é"), ("tail", "\udcc3")]
    assert found(tokenizer, wordpieces("ri", "##ver", "ver")) == {"ri": 1, "##ver": 2, "ver": (2 + 3) / 2}


def test_the_matrix_is_centred_and_as_wide_as_the_familys_own_draw() -> None:
    rng = np.random.default_rng(0)
    first = FirstVectors(ids=np.arange(0, 400, 2), rows=rng.normal(3.0, 7.0, (200, 16)).astype(np.float32), report={})
    made = table(first, 400, BertConfig(initial_sd=0.05), 3)
    assert made.shape == (400, 16) and made.dtype == np.float32
    assert np.abs(made[::2].mean(axis=0)).max() < 1e-6
    assert made[::2].std() == pytest.approx(0.05, rel=1e-5)
    assert made[1::2].std() == pytest.approx(0.05, rel=0.03)
    centred = first.rows - first.rows.mean(axis=0)
    assert np.corrcoef(made[::2].ravel(), centred.ravel())[0, 1] == pytest.approx(1.0)
    torch.manual_seed(99)
    assert np.array_equal(table(first, 400, BertConfig(initial_sd=0.05), 3), made)
    assert not np.array_equal(table(first, 400, BertConfig(initial_sd=0.05), 4)[1], made[1])


# ── what names a run ────────────────────────────────────────────────────────────────────────────────────────────────


def test_refused_before_anything_runs(tmp_path: Path) -> None:
    recipe = find("bert-budget")
    (tmp_path / "file").write_text("2 2\n")
    bad = {
        "absent": "random, auto, a pretrained folder or a file of word vectors; check",
        str(tmp_path / "file"): "found a file; open",
        f"{KEY}abc": "folder with the key abc",
    }
    for name, message in bad.items():
        with pytest.raises(UsageError, match=message):
            settled(replace(recipe, init_embeddings=name))
    with pytest.raises(ArtefactError, match="not a foretext folder"):
        settled(replace(recipe, init_embeddings=str(tmp_path)))
    with pytest.raises(UsageError, match=r"3 numbers wide, the model's embeddings 256.*family.width = 3"):
        settled(recipe, folder(lexicon("river")))
    with pytest.raises(UsageError, match="learns its own"):
        settled(replace(find("word2vec"), init_embeddings="auto"))


def test_a_folder_counts_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    one = folder(lexicon("river")).save(tmp_path / "one")
    assert one.path is not None
    one.path.rename(tmp_path / "moved")
    recipe = override(find("word2vec"), {"family": {"width": 3}, "init_embeddings": str(tmp_path / "moved")})
    made, opened = settled(recipe)
    assert opened is not None and made.init_embeddings == f"{KEY}{one.key}" == identified(recipe).init_embeddings
    other = folder(lexicon("bank"))
    assert settled(recipe, other)[0].key() != made.key()
    assert settled(recipe, other)[0].key() == settled(recipe, folder(lexicon("bank")))[0].key()
    assert identified(find("bert-budget")) == find("bert-budget")


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def corpus() -> Any:
    rng = np.random.default_rng(0)
    words = np.array("the a river bank boat water money market price ship sailor trader rises falls".split())
    return strings_corpus(["\n".join(" ".join(rng.choice(words, 10)) + "." for _ in range(8)) for _ in range(30)])


def recipe_of(name: str, **more: Any) -> Recipe:
    family: dict[str, Any] = {"width": 16}
    if name == "word2vec":
        return override(find(name), {"family": {**family, "min_count": 1, "block": 300}, **more})
    family |= {"layers": 1, "heads": 2, "inner": 32}
    laid = {"family": family, "tokenizer": {"size": 80}, "windows": {"length": 32}, "held_out": 0.1, "batch": {"rows": 4}}
    return override(find("bert-budget"), {**laid, **more})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A static and a contextual folder over the same text."""
    root = tmp_path_factory.mktemp("models")
    for name in ("word2vec", "bert-budget"):
        recipe = recipe_of(name, init_embeddings="random", seed=5)
        pretrain(recipe, corpus(), root / name, limits=Limits(steps=3, evaluations=1), setting=replace(ONE, cache=root / "cache"))
    return {path.name: path for path in root.iterdir()}


def still(name: str) -> dict[str, Any]:
    """Settings under which training changes next to nothing."""
    return {"family": {"rate": 1e-12}} if name == "word2vec" else {"optimizer": {"rate": 1e-30, "decay": 0.0}}


@pytest.mark.parametrize("source", ["word2vec", "bert-budget"])
@pytest.mark.parametrize("name", ["word2vec", "bert-budget"])
def test_every_family_starts_from_any_folder(tmp_path: Path, models: dict[str, Path], name: str, source: str) -> None:
    recipe = override(recipe_of(name), {**still(name), "init_embeddings": str(models[source])})
    made = pretrain(recipe, corpus(), tmp_path / "m", limits=Limits(steps=1, evaluations=1), setting=ONE)
    origin = load_pretrained(models[source])
    assert made.recipe.init_embeddings == f"{KEY}{origin.key}"
    assert made.provenance.init["from"] == origin.key
    assert 0.1 < float(made.provenance.init["tokens"]) <= 1.0
    theirs = {piece: origin.vectors[i] for i, piece in enumerate(origin.tokenizer.pieces)}
    words = [word for word in ("river", "the", "sailor", "market") if word in theirs and word in made.tokenizer.pieces]
    ours = np.stack([made.vectors[list(made.tokenizer.pieces).index(word)] for word in words])
    given = np.stack([theirs[word] for word in words])
    if name == "word2vec":
        np.testing.assert_allclose(ours, given, atol=1e-6)
    else:  # centred and scaled: the differences point the same way
        for a, b in zip(np.diff(ours, axis=0), np.diff(given, axis=0), strict=True):
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) == pytest.approx(1.0, abs=1e-4)
    again = pretrain(replace(recipe, init_embeddings="random"), corpus(), tmp_path / "r", limits=Limits(steps=1), setting=ONE)
    assert again.key != made.key
    assert again.provenance.init == {"from": "random"}


class Stop(SilentWatch):
    def report(self, step: int, report: Report) -> None:
        if step == 2:
            signal.raise_signal(signal.SIGTERM)


def test_a_run_is_resumed_with_the_same_folder_only(tmp_path: Path, models: dict[str, Path]) -> None:
    recipe = replace(recipe_of("bert-budget"), init_embeddings=str(models["word2vec"]))
    limits = Limits(steps=4, evaluations=1)
    straight = pretrain(recipe, corpus(), tmp_path / "s", limits=limits, setting=ONE)
    with pytest.raises(Preempted):
        pretrain(recipe, corpus(), tmp_path / "m", limits=limits, setting=ONE, watch=Stop())
    other = replace(recipe, init_embeddings=str(models["bert-budget"]))
    with pytest.raises(ArtefactError, match=rf"another recipe \(init_embeddings: {KEY}\w+ → {KEY}\w+\)"):
        pretrain(other, corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    made = pretrain(recipe, corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    assert made.key == straight.key and made.provenance.init == straight.provenance.init
    assert all(np.array_equal(made.arrays[name], straight.arrays[name]) for name in straight.arrays)


def test_two_origins_of_the_embeddings_are_refused(tmp_path: Path, models: dict[str, Path]) -> None:
    recipe = replace(recipe_of("bert-budget"), init_embeddings=str(models["word2vec"]))
    with pytest.raises(UsageError, match="not both"):
        dry_run(recipe, corpus(), source=load_pretrained(models["bert-budget"]), setting=ONE)


# ── auto ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Any:
    setting = replace(ONE, cache=tmp_path_factory.mktemp("store"))
    return prepare(recipe_of("bert-budget"), corpus(), None, setting, SilentWatch())


def first_table(recipe: Recipe, store: Any, threads: int) -> np.ndarray:
    stepper: Any = make(Job(recipe=recipe, store=store, threads=threads, device="cpu"), steps=1, watch=SilentWatch())
    return np.array(stepper.state().arrays["encoders.text.embeddings.table.weight"])


def test_auto_depends_on_store_and_seed_alone(store: Any) -> None:
    recipe = recipe_of("bert-budget")
    one = first_table(recipe, store, 1)
    torch.manual_seed(7)
    np.random.seed(7)
    longer = override(recipe, {"optimizer": {"rate": 1.0}, "batch": {"rows": 2}})
    assert np.array_equal(first_table(longer, store, 2), one)
    torch.set_num_threads(1)
    assert not np.allclose(first_table(replace(recipe, seed=1), store, 1), one)


def test_auto_reads_a_part_of_a_large_text_from_all_over_it(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    real = first_vectors.resolve

    def spy(where: str) -> Any:
        return lambda config, text, **rest: read.append((text, rest["epochs"])) or real(where)(config, text, **rest)

    monkeypatch.setattr(first_vectors, "resolve", spy)
    monkeypatch.setattr(first_vectors, "AUTO_TOKENS", int(store.counts.sum()) // 4)
    first = skipgram(store, 8, 0, SilentWatch())
    assert np.array_equal(first.rows, skipgram(store, 8, 0, SilentWatch()).rows)
    text, epochs = read[0]
    lengths = np.diff(store.sentences)
    share = lengths[~text.held_out].sum() / lengths[~store.held_out].sum()
    assert epochs == 1.0 and 0.05 < share < 0.5
    assert not (store.held_out & ~text.held_out).any()  # what is held out stays out
    trained = np.flatnonzero(~text.held_out)
    assert trained[0] < len(lengths) / 3 and trained[-1] > 2 * len(lengths) / 3
    monkeypatch.setattr(first_vectors, "AUTO_TOKENS", 10**9)
    skipgram(store, 8, 0, SilentWatch())
    assert read[-1][0] is store and read[-1][1] == first_vectors.AUTO_EPOCHS


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one whenever AUTO trains."""
    times: list[int] = []
    real = steppers.skipgram
    monkeypatch.setattr(steppers, "skipgram", lambda *given: times.append(1) or real(*given))
    return times


def test_auto_is_never_trained_on_resuming(tmp_path: Path, trained: list[int]) -> None:
    recipe, limits = recipe_of("bert-budget"), Limits(steps=4, evaluations=1)
    with pytest.raises(Preempted):
        pretrain(recipe, corpus(), tmp_path / "m", limits=limits, setting=ONE, watch=Stop())
    assert trained == [1]
    made = pretrain(recipe, corpus(), tmp_path / "m", limits=limits, setting=ONE, resume=True)
    assert trained == [1]
    assert made.provenance.init == {"from": "auto"}


RATE = Rate(step=0.1, tokens=1.0, evaluation=0.0, checkpoint=0.0, size=1, parameters=1, memory=1, steps=2)


def test_auto_is_trained_once_where_phases_have_the_stepper_made_anew(
    store: Any, trained: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    windows = {"kind": "packed", "length": 16, "copies": 0}
    recipe = recipe_of("bert-budget", phases=[{"share": 1.0}, {"share": 1.0, "windows": windows}])
    assert isinstance(recipe.phases[1], Phase)
    monkeypatch.setattr(budget.trial, "measure", lambda *_, **__: RATE)
    job = Job(recipe=replace(recipe, limits=Limits(minutes=1.0, keep=0)), store=store, threads=1, device="cpu")
    stepper: Any = budget.planned(job, SilentWatch())[0]
    assert trained == [1]
    straight: Any = make(job, steps=stepper.total, watch=SilentWatch())
    assert stepper.total > 2 and stepper.state().cursor == straight.state().cursor
    for _ in range(2):
        assert stepper.step() == straight.step()


@dataclass
class Clock:
    now: float = 0.0

    def monotonic(self) -> float:
        return self.now


def test_the_seconds_of_auto_come_off_the_budget(store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(budget, "time", clock)
    monkeypatch.setattr(budget.trial, "measure", lambda *_, **__: RATE)
    real = steppers.skipgram

    def slow(*given: Any) -> FirstVectors:
        clock.now += 20.0
        return real(*given)

    monkeypatch.setattr(steppers, "skipgram", slow)
    recipe = replace(recipe_of("bert-budget"), limits=Limits(minutes=1.0, keep=0))
    auto, _, _ = budget.planned(Job(recipe=recipe, store=store, threads=1, device="cpu"), SilentWatch())
    assert auto.total == int(0.98 * 40.0 / 0.1)
    plain = replace(recipe, init_embeddings="random")
    assert budget.planned(Job(recipe=plain, store=store, threads=1, device="cpu"), SilentWatch())[0].total == 588
