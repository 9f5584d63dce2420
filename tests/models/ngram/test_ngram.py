"""The n-gram model beside a slow reference, and its counting under every interruption and limit."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foretext.config import override
from foretext.errors import ArtefactError, DataError, ResourceError, UsageError
from foretext.models.ngram.config import NgramConfig
from foretext.models.ngram.counts import Counts, Packing, Room, Run, sorted_run
from foretext.models.ngram.estimating import FALLBACK, HEAD, discounts, estimate
from foretext.models.ngram.model import Ngram
from foretext.models.ngram.train import Counting, stepper
from foretext.models.stream import Stream, of_texts
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import TokenizerConfig, train_tokenizer
from models.ngram.reference import START, Reference

V, END = 14, 1


def units(seed: int, count: int = 60) -> list[list[int]]:
    """Sentences of ids 2 to 11 by Zipf's law, so that counts of every size occur."""
    rng = np.random.default_rng(seed)
    return [(2 + rng.zipf(1.5, rng.integers(1, 9)) % 10).tolist() for _ in range(count)]


def stream(texts: list[list[int]]) -> Stream:
    return of_texts([np.array(text, np.int64) for text in texts], END)


def counted(texts: list[list[int]], order: int, vocabulary: int = V) -> Run:
    line = stream(texts)
    words, context = line.contexts(0, len(line), order - 1)
    return sorted_run(*Packing(order, vocabulary).pack(np.concatenate([words[:, None], context], axis=1) + 1))


def model(texts: list[list[int]], order: int, vocabulary: int = V) -> Ngram:
    arrays = estimate(counted(texts, order, vocabulary), Packing(order, vocabulary))
    return Ngram(NgramConfig(order=order), arrays, vocabulary, END)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_probabilities_are_the_papers(order: int) -> None:
    """Seen, half seen and unseen histories, words never seen, ends: 1e-6 of log p (the tables are float32)."""
    texts = units(0, 300 if order == 2 else 60)
    slow, fast = Reference(texts, order, V, END), model(texts, order)
    asked = [*texts[:6], [13, 12, 2, 3, 13], [0, 2, 2], []]
    wanted = []
    for unit in asked:
        line = (START, *unit, END)
        wanted += [np.log(slow.p(line[i], line[max(0, i - order + 1) : i])) for i in range(1, len(line))]
    assert np.abs(fast.nats(stream(asked)) - wanted).max() <= 1e-6
    if order == 2:
        assert slow.discounts[2] != list(FALLBACK), "choose texts that have discounts of their own"


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=7), min_size=1, max_size=12),
    st.integers(1, 5),
    st.lists(st.integers(0, 13), max_size=4),
    st.booleans(),
)
def test_the_probabilities_of_all_words_sum_to_one(texts: list[list[int]], order: int, history: list[int], begins: bool) -> None:
    """After any history, seen or not, from the start of a unit or from inside it."""
    fast = model(texts, order)
    nearest = [*history[::-1], *([END] if begins else [])]
    context = np.array([[*nearest, *[-1] * 4][: order - 1]] * V, np.int64).reshape(V, order - 1)
    assert abs(np.exp(fast.log_probability(np.arange(V), context)).sum() - 1.0) <= 1e-5


def test_discounts_are_the_papers_or_the_fallback() -> None:
    adjusted = np.repeat([1, 2, 3, 4, 9], [40, 12, 6, 3, 5])
    y = 40 / (40 + 24)
    assert np.allclose(discounts(adjusted), [1 - 2 * y * 12 / 40, 2 - 3 * y * 6 / 12, 3 - 4 * y * 3 / 6])
    assert discounts(np.array([1, 1, 2])).tolist() == list(FALLBACK)
    assert discounts(np.repeat([1, 2, 3, 4], [40, 1, 50, 1])).tolist() == list(FALLBACK), "a negative discount was used"


@pytest.mark.parametrize("memory", [0, 400, 1 << 30])
def test_runs_merge_to_the_same_counts_in_any_memory(memory: int, tmp_path: Path) -> None:
    """Forty sorted blocks, in memory or on disk; nothing is left in the folder."""
    texts, order = units(3, 200), 3
    whole = counted(texts, order)
    counts = Counts(memory, tmp_path)
    for start in range(0, 200, 5):
        counts.add(counted(texts[start : start + 5], order))
    assert (counts.on_disk() > 0) == (memory < 1 << 30)
    found = counts.merged()
    for name in ("high", "low", "counts"):
        assert np.array_equal(getattr(found, name), getattr(whole, name)), name
    assert list(tmp_path.iterdir()) == []
    assert int(found.counts.sum()) == len(stream(texts))


def test_a_full_disk_is_told_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write to a mapped page without room would end the process with SIGBUS."""
    made: list[int] = []

    def full(handle: int, start: int, size: int) -> None:
        made.append(size)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(ResourceError, match=f"counts need {8 * len(counted(units(3, 50), 3)):,} bytes .*No space left") as caught:
        Counts(0, tmp_path).add(counted(units(3, 50), 3))
    assert caught.value.file == str(tmp_path) and made == [8 * len(counted(units(3, 50), 3))]
    monkeypatch.undo()
    Counts(0, tmp_path).add(counted(units(3, 50), 3))


@pytest.mark.parametrize("order", [1, 3, 5])
def test_a_model_is_the_same_in_any_memory(order: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Estimated whole, and in pieces of three n-grams, with five contexts at a time and files for all else."""
    run, packing = counted(units(5, 60), order), Packing(order, V)
    whole = estimate(run, packing)
    assert len(run.counts) > 9, "too few n-grams for several pieces"
    for name, value in {"_PIECE": 3, "_WINDOW": 5}.items():
        monkeypatch.setattr(f"foretext.models.ngram.estimating.{name}", value)
    monkeypatch.setattr("foretext.models.ngram.counts._FEW", 0)
    found = estimate(run, packing, Room(0, tmp_path))
    assert found.keys() == whole.keys()
    for name, array in whole.items():
        assert found[name].tobytes() == array.tobytes(), name
    assert list(tmp_path.iterdir()) == []


def test_packing_keeps_every_word_of_a_large_vocabulary() -> None:
    rng = np.random.default_rng(1)
    for order, size in ((5, 2**21 - 1), (5, 7), (1, 2**21 - 1), (3, 300_000)):
        packing, codes = Packing(order, size), rng.integers(0, size + 1, (50, order))
        high, low = packing.pack(codes)
        assert all(np.array_equal(packing.column(high, low, k), codes[:, k]) for k in range(order))
        assert np.array_equal(np.lexsort((low, high)), np.lexsort(codes.T[::-1])), "not in suffix order"
    with pytest.raises(UsageError, match="128 bits"):
        Packing(5, 2**21)


def test_the_counts_come_back_from_the_tables() -> None:
    for order in (1, 3, 5):
        whole, found = counted(units(4), order), model(units(4), order).counted()
        for name in ("high", "low", "counts"):
            assert np.array_equal(getattr(found, name), getattr(whole, name)), (order, name)


# ── the stepper ─────────────────────────────────────────────────────────────────────────────────────────────────────

TEXT = ["The judge sat on the bench. The jury heard the trial.", "A ship came in. The sailor sat on a rope. The sea was calm."] * 8
WORDS = TokenizerConfig(kind="words", special=("[UNK]", "</s>"))


def made_store(folder: Path, texts: list[str] = TEXT, config: TokenizerConfig = WORDS, held_out: float = 0.0) -> TokenStore:
    corpus = strings_corpus(texts)
    return build_store(corpus, train_tokenizer(config, corpus, workers=0), folder, held_out=held_out, workers=0)


def run(config: NgramConfig, store: TokenStore, **given: Any) -> Counting:
    made = stepper(config, store, **given)
    while made.done < made.total:
        made.step()
    return made


def test_blocks_memory_and_resuming_change_nothing(tmp_path: Path) -> None:
    store = made_store(tmp_path)
    whole = run(NgramConfig(order=4), store).arrays()
    assert run(NgramConfig(order=4), store).total == 1
    small = stepper(NgramConfig(order=4, block=17, memory=1), store)
    for _ in range(5):
        small.step()
    again = stepper(NgramConfig(order=4, block=17, memory=1), store)
    again.restore(small.state())
    while again.done < again.total:
        again.step()
    assert again.total > 10
    for name, array in whole.items():
        assert again.arrays()[name].tobytes() == array.tobytes(), name


def test_going_on_adds_counts(tmp_path: Path) -> None:
    """A model of one text, continued on another, is the model of both."""
    both, config = made_store(tmp_path / "a"), NgramConfig(order=3, unit="sentence")
    tokenizer = both.tokenizer
    parts = [build_store(strings_corpus(texts), tokenizer, tmp_path / "b", held_out=0.0, workers=0) for texts in (TEXT[:7], TEXT[7:])]
    first = run(config, parts[0]).arrays()
    second = run(config, parts[1], init=first).arrays()
    for name, array in run(config, both).arrays().items():
        assert second[name].tobytes() == array.tobytes(), name


def test_a_pass_is_all_there_is_to_count(tmp_path: Path) -> None:
    made = stepper(NgramConfig(block=50), made_store(tmp_path), steps=10**6)
    assert made.total == made.blocks > 2


def test_what_cannot_be_counted_is_refused(tmp_path: Path) -> None:
    store = made_store(tmp_path / "a")
    with pytest.raises(DataError, match="unknown words"):
        stepper(NgramConfig(), made_store(tmp_path / "b", config=TokenizerConfig(kind="words", min_count=999, special=("[UNK]", "</s>"))))
    with pytest.raises(UsageError, match=r"special token '</s>'"):
        stepper(NgramConfig(), made_store(tmp_path / "c", config=TokenizerConfig(kind="words", special=("[UNK]",))))
    with pytest.raises(UsageError, match="no vectors"):
        stepper(NgramConfig(), store, first=(np.arange(2), np.zeros((2, 3))))
    for key, why in (("updates", "counted by one thread"), ("frozen", "no vectors that could stand"), ("extends", "stay unknown")):
        with pytest.raises(UsageError, match=why):
            override(NgramConfig(), {key: "given"})
    with pytest.raises(UsageError, match="1 to 5"):
        NgramConfig(order=6)
    made = run(NgramConfig(order=3), store)
    with pytest.raises(ArtefactError, match="seed"):
        stepper(NgramConfig(order=3), store, seed=4).restore(made.state())
    with pytest.raises(ArtefactError, match=r"lacks heads\.ngram\.order_4"):
        Ngram(NgramConfig(order=4), made.arrays(), store.tokenizer.size, 1)
    cut = {**made.arrays(), f"{HEAD}.order_2.log": made.arrays()[f"{HEAD}.order_2.log"][:-1]}
    with pytest.raises(ArtefactError, match="differ in length"):
        Ngram(NgramConfig(order=3), cut, store.tokenizer.size, 1)


def test_units_longer_and_shorter_than_contexts(tmp_path: Path) -> None:
    """Sentences of one word, and a document that is one long unit: every place is counted."""
    store = made_store(tmp_path, ["Go. Stop. Go.", "word " * 3000])
    for unit in ("sentence", "document"):
        made = run(NgramConfig(order=5, unit=unit, block=64), store)  # type: ignore[arg-type]
        top = made.counts.merged()
        assert int(top.counts.sum()) == len(made.stream) == len(store.ids) + (len(store.sentences) - 1 if unit == "sentence" else 2)


def test_neither_torch_nor_anything_of_it_is_imported(tmp_path: Path) -> None:
    made_store(tmp_path)
    code = (
        "import sys\nfrom pathlib import Path\nfrom models.ngram.test_ngram import made_store, run\n"
        "from models.nnlm.test_nnlm import CONFIG\nfrom foretext.models.ngram.config import NgramConfig\n"
        "from foretext.models.nnlm.train import stepper\n"
        f"store = made_store(Path({str(tmp_path)!r}))\nrun(NgramConfig(), store).evaluate()\n"
        "made = stepper(CONFIG, store)\nmade.step()\nmade.evaluate()\nassert 'torch' not in sys.modules\nprint('done')"
    )
    here = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=here)
    assert done.stdout.strip() == "done", done.stderr[-2000:]
