"""fastText: n-grams and hash as released, the fast method beside the oracle, unseen words, growth, and no torch."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from foretext.bundle import SOURCE, STATIC_TABLE, Pretrained
from foretext.errors import ArtefactError, DivergedError, UsageError
from foretext.evaluation.neighbors import Words, neighbors
from foretext.extending import extend, with_words
from foretext.first_vectors import matched
from foretext.models.word2vec import blocks, fasttext_kernel
from foretext.models.word2vec import subwords as subword_module
from foretext.models.word2vec.fasttext import NGRAMS, stepper
from foretext.models.word2vec.fasttext_config import FastTextConfig
from foretext.models.word2vec.subwords import Spelt, buckets, put_together, subwords
from foretext.pretraining import Setting, pretrain
from foretext.recipe import Recipe
from foretext.recipes import find
from foretext.text.corpus import strings_corpus
from foretext.text.store import build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from foretext.types import UNSEEN, State, Text
from models.word2vec.mini import finish

BOATS, COURT = "ship boat river water sailing harbour".split(), "court judge lawyer legal judgement verdict".split()
TOKENIZER = TokenizerConfig(kind="words", special=("[UNK]",), unseen="spelling")
CONFIG = FastTextConfig(width=12, min_count=1, sample=0.0, power=0.75, block=500, epochs=20, bucket=4000)
RECIPE = Recipe(name="tiny", family=CONFIG, tokenizer=TOKENIZER, held_out=0.1)


def documents(count: int = 200) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(BOATS if i % 2 else COURT, 12)) for i in range(count)]


def plainly(word: str, low: int, high: int, bucket: int) -> list[int]:
    """The released rule once more, from its description: n-grams of characters of "<word>", hashed byte by byte."""
    text = f"<{word}>"
    found = []
    for start in range(len(text)):
        for stop in range(start + low, min(start + high, len(text)) + 1):
            if stop - start == 1 and (start == 0 or stop == len(text)):
                continue
            h = 2166136261
            for byte in text[start:stop].encode():
                h = ((h ^ (byte if byte < 128 else byte + 0xFFFFFF00)) * 16777619) % 2**32
            found.append(h % bucket)
    return found


@pytest.mark.parametrize(("low", "high"), [(3, 6), (1, 4), (5, 5), (4, 3)])
def test_ngrams_and_their_buckets(low: int, high: int) -> None:
    words = ["", "a", "the", "banana", "青蛙", "清华大学", "né", "𝔸b"]
    config = FastTextConfig(min_n=low, max_n=high, bucket=1000)
    first, found = buckets(words, config)
    for number, word in enumerate(words):
        assert found[first[number] : first[number + 1]].tolist() == plainly(word, low, high, 1000), word
    assert buckets(["</s>", "the"], config)[0][1] == 0 and buckets(["the", "the"], config, without=[0])[0][1] == 0


def test_only_rows_that_words_reach_are_kept() -> None:
    tokenizer: Any = SimpleNamespace(pieces=["[UNK]", "the", "then"], special={"[UNK]": 0})
    dense, sparse = (subwords(tokenizer, replace(CONFIG, every_bucket=every)) for every in (True, False))
    assert dense.size == CONFIG.bucket and sparse.kept is not None and sparse.size == len(set(dense.rows.tolist()))
    assert sparse.kept[sparse.rows].tolist() == dense.rows.tolist()
    first, rows = sparse.of(["then", "zzzzz"])
    assert rows[: first[1]].tolist() == sparse.rows[sparse.first[2] :].tolist() and set(rows[first[1] :]) == {-1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    folder = tmp_path_factory.mktemp("fasttext")
    return pretrain(RECIPE, strings_corpus(documents()), folder / "m", setting=Setting(cache=folder / "c", threads=1, workers=0))


def test_neighbours_of_a_misspelt_word(model: Pretrained) -> None:
    for wrong, right, topic in (("judgment", "judgement", COURT), ("saling", "sailing", BOATS)):
        found = neighbors(model, wrong, n=6)
        assert isinstance(found, Words) and found.counts == (0,)
        assert found.nearest[0][0].word == right
        assert sorted(one.word for one in found.nearest[0]) == sorted(topic)
    with pytest.raises(UsageError, match="does not know"):
        neighbors(model, "qqq")


def test_encode_gives_unseen_words_their_vectors(model: Pretrained) -> None:
    found = model.encode(["The JUDGMENT; ship", "qqq", ""])
    assert found[0].tokens == ("the", "judgment", ";", "ship")
    assert (found[0].ids >= UNSEEN).tolist() == [True, True, True, False]
    spelled = model.spelled(["the", "Judgment", ";", "ship"])
    assert spelled is not None and np.allclose(found[0].layers[0], spelled, atol=1e-6)
    assert np.allclose(found[0].layers[0][3], model.vectors[found[0].ids[3]], atol=1e-6)
    assert not found[1].layers[0].any() and len(found[2].tokens) == 0
    table, grams = model.arrays[STATIC_TABLE], model.arrays[NGRAMS]
    known = subwords(model.tokenizer, CONFIG)
    ship = int(found[0].ids[3])
    mean = np.concatenate([table[ship : ship + 1], grams[known.rows[known.first[ship] : known.first[ship + 1]]]]).mean(axis=0)
    assert np.allclose(mean, model.vectors[ship], atol=1e-6)
    rows = known.of(["judgment"])[1]
    assert (rows < 0).any() and np.allclose(grams[rows[rows >= 0]].sum(axis=0) / len(rows), found[0].layers[0][1], atol=1e-6)


def test_a_word_more_costs_its_own_letters_alone(model: Pretrained, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking for 5,000 unseen words, one by one, had found the vocabulary's n-grams as often."""
    fresh, found = replace(model), []
    monkeypatch.setattr(subword_module, "buckets", lambda words, *rest, **named: found.append(len(words)) or buckets(words, *rest, **named))
    for word in ("judgment", "ships", "seas"):
        fresh.spelled([word])
    assert found == [model.tokenizer.size, 1, 1, 1]


def test_ids_of_unseen_words_are_the_same_everywhere(model: Pretrained) -> None:
    whole = model.tokenizer.encode([Text(string="judgment New York", words=((0, 8), (9, 17)))])[0]
    assert [whole.forms[i] for i in whole.ids.tolist()] == ["judgment", "new york"]
    assert whole.ids[0] == model.encode(["a judgment"])[0].ids[1]
    assert model.tokenizer.ids(["judgment ship"])[0].tolist()[0] == 0  # stores hold no unseen words
    with pytest.raises(UsageError, match="lexicons"):
        TokenizerConfig(unseen="spelling")


def test_finetuning_moves_the_rows_of_the_words_that_it_sees(model: Pretrained) -> None:
    encoder: Any = model.encoder()
    assert encoder.widths == (12,) and [len(group) for group in encoder.groups().values()] == [2]
    encoding = model.tokenizer.encode([Text(string="judgment ship")])[0]
    ids = torch.from_numpy(encoding.ids)[None]
    from foretext.types import TokenBatch

    view = TokenBatch(ids=ids, sequence=torch.zeros_like(ids), position=ids, bounds=torch.tensor([[0, 0, 2]]), forms=encoding.forms)
    encoder(view).layers[0].sum().backward()
    known = subwords(model.tokenizer, CONFIG)
    ship, rows = int(ids[0, 1]), known.of(["judgment"])[1]
    assert torch.nonzero(encoder.table.weight.grad.abs().sum(1)).flatten().tolist() == [ship]
    moved = set(torch.nonzero(encoder.ngrams.weight.grad.abs().sum(1)).flatten().tolist())
    assert moved == {*rows[rows >= 0].tolist(), *known.rows[known.first[ship] : known.first[ship + 1]].tolist()}


def test_a_new_word_starts_where_its_letters_put_it(model: Pretrained) -> None:
    grown = extend(model, strings_corpus(["the judgment the judgment"] * 5), words=["judgment"]).pretrained
    assert grown.tokenizer.pieces[-1] == "judgment"
    before, after = model.spelled(["judgment"]), grown.vectors[-1:]
    assert before is not None and np.allclose(before, after, atol=1e-6)
    assert np.allclose(model.vectors, grown.vectors[:-1], atol=1e-6)
    assert grown.arrays[NGRAMS].shape[0] > model.arrays[NGRAMS].shape[0]
    assert grown.encode(["judgment"])[0].ids.tolist() == [len(model.vectors)]


def test_first_vectors_of_words_that_the_folder_never_saw(model: Pretrained, tmp_path: Path) -> None:
    text = strings_corpus(["judgment ship qqq"] * 3)
    config = TokenizerConfig(kind="words", special=("[UNK]",))
    store = build_store(text, train_tokenizer(config, text, workers=0), tmp_path, workers=0)
    first = matched(model, store)
    got = dict(zip([store.tokenizer.pieces[i] for i in first.ids], first.rows, strict=True))
    assert set(got) == {"judgment", "ship"}
    assert np.array_equal(got["judgment"], model.spelled(["judgment"])[0])  # type: ignore[index]


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_the_fast_method_is_as_good_as_the_oracle(architecture: Any, tmp_path: Path) -> None:
    store = a_store(tmp_path)
    losses = []
    for method in ("blocks", "pairs"):
        run = stepper(replace(CONFIG, architecture=architecture, method=method, epochs=6), store)
        before = run.evaluate()["loss"]
        reports = [run.step() for _ in range(run.total)]
        losses.append(run.evaluate()["loss"])
        assert abs(before - 6 * np.log(2)) < 0.3
        assert abs(reports[-1].loss - losses[-1]) < 0.15
    assert losses[0] <= losses[1] + 0.05 and losses[1] < before - 0.5


def a_store(tmp_path: Path) -> Any:
    text = strings_corpus(documents())
    return build_store(text, train_tokenizer(TOKENIZER, text, workers=0), tmp_path, workers=0, held_out=0.1)


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_stopped_and_resumed_is_the_same_run_to_the_bit(architecture: Any, tmp_path: Path) -> None:
    config, store = replace(CONFIG, architecture=architecture), a_store(tmp_path)
    whole, parts = (stepper(config, store, seed=3, steps=6) for _ in range(2))
    for _ in range(6):
        whole.step()
    for _ in range(2):
        parts.step()
    state = parts.state()
    assert set(state.arrays) == {STATIC_TABLE, NGRAMS, "heads.negative_sampling.table.weight"}
    again = stepper(config, store, seed=3, steps=6)
    again.restore(State(arrays={n: a.copy() for n, a in state.arrays.items()}, cursor=state.cursor))
    for _ in range(4):
        again.step()
    for name, array in whole.state().arrays.items():
        assert np.array_equal(array, again.state().arrays[name]), name


def test_it_goes_on_from_a_folder_and_refuses_other_ngrams(model: Pretrained, tmp_path: Path) -> None:
    store = build_store(strings_corpus(documents(40)), model.tokenizer, tmp_path, workers=0, held_out=0.1)
    run = stepper(replace(CONFIG, rate=1e-9), store, init=model.arrays, steps=1)
    run.step()
    assert np.allclose(run.state().arrays[NGRAMS], model.arrays[NGRAMS], atol=1e-6)
    with pytest.raises(ArtefactError, match="n-grams of the model"):
        stepper(replace(CONFIG, max_n=4), store, init=model.arrays)


def test_going_on_adds_the_new_texts_words(model: Pretrained, tmp_path: Path) -> None:
    """Through `pretrain`, whose recipe says other n-grams: the model's own are kept, old rows stand first."""
    recipe = replace(RECIPE, family=replace(CONFIG, rate=1e-9, max_n=4, bucket=77, min_count=2))
    text = strings_corpus([*documents(60), *["judgment judgment ship"] * 30])
    made = pretrain(recipe, text, tmp_path / "m", source=model, setting=Setting(cache=tmp_path / "c", threads=1, workers=0))
    size, family = model.tokenizer.size, made.recipe.family
    assert list(made.tokenizer.pieces) == [*model.tokenizer.pieces, "judgment"]
    assert isinstance(family, FastTextConfig) and (family.max_n, family.bucket) == (CONFIG.max_n, CONFIG.bucket)
    assert np.allclose(made.arrays[STATIC_TABLE][:size], model.arrays[STATIC_TABLE], atol=1e-6)
    assert np.allclose(made.vectors[:size], model.vectors, atol=1e-6) and made.vectors[size].any()
    assert len(made.arrays[NGRAMS]) > len(model.arrays[NGRAMS])


# ── rows that stand still, and threads ──────────────────────────────────────────────────────────────────────────────


def a_grown_store(model: Pretrained, folder: Path) -> Any:
    """New words among the old ones: "shipping" has n-grams that "ship" has, and n-grams of its own."""
    rng = np.random.default_rng(1)
    text = strings_corpus([" ".join(rng.choice([*BOATS[:4], "shipping", "xylophone"], 12)) for _ in range(60)])
    tokenizer, added = with_words(model.tokenizer, text, min_count=1)
    assert added == 2
    return build_store(text, tokenizer, folder, workers=0, held_out=0.1)


@pytest.mark.parametrize("updates", ["hogwild", "synchronous"])
@pytest.mark.parametrize("method", ["blocks", "pairs"])
@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_given_words_keep_their_vectors_and_new_words_learn(
    architecture: Any, method: Any, updates: Any, model: Pretrained, tmp_path: Path
) -> None:
    store, size = a_grown_store(model, tmp_path), model.tokenizer.size
    config = replace(CONFIG, architecture=architecture, method=method, updates=updates, frozen="given", epochs=2)
    run = stepper(config, store, init=model.arrays)
    start = {name: array.copy() for name, array in run.state().arrays.items()}
    ends = finish(run).state().arrays
    assert np.array_equal(ends[STATIC_TABLE][:size], model.arrays[STATIC_TABLE])
    assert np.array_equal(Spelt(config, ends, store.tokenizer).vectors(None)[:size], model.vectors)
    old, new = subwords(model.tokenizer, CONFIG), subwords(store.tokenizer, CONFIG)
    assert old.kept is not None and new.kept is not None
    given = np.isin(new.kept, old.kept)
    assert np.array_equal(ends[NGRAMS][given], model.arrays[NGRAMS])
    moved = (ends[NGRAMS] != start[NGRAMS]).any(axis=1)
    assert moved.tolist() == (~given).tolist() and (~given).sum() > 5
    assert (ends[STATIC_TABLE][size:] != start[STATIC_TABLE][size:]).any(axis=1).all()
    free = finish(stepper(replace(config, frozen="nothing"), store, init=model.arrays)).state().arrays
    assert (Spelt(config, free, store.tokenizer).vectors(None)[:size] != model.vectors).any(axis=1).sum() >= 4


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_a_new_word_moves_as_far_as_if_all_its_rows_learnt(architecture: str) -> None:
    rng = np.random.default_rng(0)
    first, rows = np.array([0, 3, 7], np.int64), np.array([0, 1, 2, 1, 2, 3, 4], np.int32)
    plan = (np.array([1, 0], np.int32), np.array([0, 1], np.int32), np.array([2, 1], np.int32))  # word 1 meets word 0
    if architecture == "cbow":
        plan = (plan[0][::-1].copy(), *plan[1:])  # and here tells it
    train = fasttext_kernel.train_cbow_pairs if architecture == "cbow" else fasttext_kernel.train_pairs
    tables = [rng.standard_normal((size, 8)).astype(np.float32) for size in (2, 5, 2)]
    moves = []
    for still, fixed in ((blocks.NOTHING, blocks.NOTHING), (np.array([True, False]), np.array([True, True, True, False, False]))):
        mine = [table.copy() for table in tables]
        alias = (np.ones(2, np.float32), np.arange(2, dtype=np.int32))
        train(*mine, first, rows, *plan, 2, 0.1, 0.1, *alias, 3, np.array([5], np.uint64), still, fixed)
        before, after = np.empty((2, 8), np.float32), np.empty((2, 8), np.float32)
        for given, out in ((tables, before), (mine, after)):
            put_together(*given[:2], first, rows, np.arange(2, dtype=np.int32), out)
        moves.append(after - before)
    assert np.allclose(moves[0][1], moves[1][1], atol=1e-6) and np.abs(moves[0][1]).max() > 1e-2
    assert moves[0][0].any() and not moves[1][0].any()


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_given_vectors_keep_their_direction(architecture: Any, tmp_path: Path) -> None:
    store = a_store(tmp_path)
    ids, rows = np.array([1, 4, 9]), np.random.default_rng(0).standard_normal((3, 12)).astype(np.float32)
    for frozen in ("given", "nothing"):
        config = replace(CONFIG, architecture=architecture, frozen=frozen, epochs=2)  # type: ignore[arg-type]
        ends = finish(stepper(config, store, first=(ids, rows))).state().arrays
        found = Spelt(config, ends, store.tokenizer).vectors(None)
        assert np.array_equal(ends[STATIC_TABLE][ids], rows) == (frozen == "given")
        parallel = (found[ids] * rows).sum(axis=1) / np.linalg.norm(found[ids], axis=1) / np.linalg.norm(rows, axis=1)
        assert (parallel > 1 - 1e-6).all() == (frozen == "given")


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
def test_synchronous_updates_are_the_same_bits_for_any_threads(
    architecture: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foretext.models.word2vec.synchronous.WORDS", 200)
    store = a_store(tmp_path)
    config = replace(CONFIG, architecture=architecture, updates="synchronous", shards=3, epochs=6)
    runs = [finish(stepper(config, store, seed=2, threads=threads)) for threads in (1, 2, 3)]
    parts = stepper(config, store, seed=2, threads=2)
    for _ in range(2):
        parts.step()
    again = stepper(config, store, seed=2)
    again.restore(parts.state())
    for other in (*runs[1:], finish(again)):
        for name, array in runs[0].state().arrays.items():
            assert np.array_equal(array, other.state().arrays[name]), name
    hogwild = finish(stepper(replace(config, updates="hogwild"), store, seed=2))
    assert not np.array_equal(hogwild.inward, runs[0].inward)
    assert abs(runs[0].evaluate()["loss"] - hogwild.evaluate()["loss"]) < 0.3
    assert runs[0].evaluate()["loss"] < stepper(config, store).evaluate()["loss"] - 0.4


@pytest.mark.parametrize("architecture", ["skip-gram", "cbow"])
@pytest.mark.parametrize("updates", ["hogwild", "synchronous"])
def test_numbers_that_blow_up_are_caught_before_the_tables(architecture: Any, updates: Any, tmp_path: Path) -> None:
    run = stepper(replace(CONFIG, architecture=architecture, updates=updates, rate=1e9), a_store(tmp_path))
    with pytest.raises(DivergedError, match=r"fasttext met a non-finite score in step \d+.*lower family.rate"):
        finish(run)
    assert all(np.isfinite(array).all() for array in run.state().arrays.values())


def test_pieces_have_no_ngrams(tmp_path: Path) -> None:
    text = strings_corpus(documents(20))
    store = build_store(text, train_tokenizer(TokenizerConfig(size=60), text, workers=0), tmp_path, workers=0)
    with pytest.raises(UsageError, match="words"):
        stepper(CONFIG, store)


@pytest.mark.parametrize(("field", "value"), [("shared", 12), ("bucket", 0), ("bucket", 1 << 31), ("min_n", 0), ("rate", 0.0)])
def test_what_a_config_refuses(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=field):
        FastTextConfig(**{field: value})


def test_recipes_are_the_released_codes() -> None:
    family: Any = find("fasttext").family
    assert (family.min_n, family.max_n, family.bucket, family.rate, family.sample, family.power) == (3, 6, 2_000_000, 0.05, 1e-4, 0.5)
    assert find("fasttext").tokenizer.unseen == "spelling"
    chinese: Any = find("fasttext-chinese").family
    assert (chinese.min_n, chinese.max_n) == (1, 4)


def test_training_and_asking_import_no_torch(model: Pretrained, tmp_path: Path) -> None:
    program = (
        "import sys; from foretext.bundle import load_pretrained; from foretext.evaluation.neighbors import neighbors;"
        "from foretext.models.word2vec import fasttext; from foretext.text.store import build_store;"
        "from foretext.text.corpus import strings_corpus; from pathlib import Path;"
        f"model = load_pretrained({str(model.path)!r});"
        f"store = build_store(strings_corpus(['ship boat'] * 9), model.tokenizer, Path({str(tmp_path)!r}), workers=0);"
        "fasttext.stepper(model.recipe.family, store, steps=1).step();"
        "print(neighbors(model, 'judgment').nearest[0][0].word); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "judgement", done.stderr


def test_the_model_is_the_same_after_saving(model: Pretrained) -> None:
    from foretext.bundle import load_pretrained

    assert model.path is not None
    again = load_pretrained(model.path)
    assert again.tokenizer.key == model.tokenizer.key and SOURCE in again.tokenizers
    assert np.array_equal(again.vectors, model.vectors)
