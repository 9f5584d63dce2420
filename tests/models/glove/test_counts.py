"""Counting: equal to a dictionary; the same bytes at any memory, block and interruption; what a full disk leaves."""

import resource
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conformance.glove import entries_of, pairs_of
from foretext.errors import ArtefactError, DataError, Preempted, ResourceError, UsageError
from foretext.models.glove import counts, sorting
from foretext.models.glove.config import GloveConfig
from foretext.models.glove.counts import Counting, counted, counting, folder_of, ranked_words
from foretext.models.glove.files import open_cooccurrences
from foretext.text.corpus import strings_corpus
from foretext.text.store import TokenStore, build_store
from foretext.text.tokenizers import train_tokenizer
from foretext.training.config import Limits
from foretext.training.progress import SilentWatch
from foretext.training.run import run
from foretext.types import Report
from models.glove.world import WORDS
from models.glove.world import store as made_store

CONFIG = GloveConfig(window=5, min_count=2, tile=16, held_out=0.03)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return made_store(tmp_path_factory.mktemp("glove") / "cache")


def config(**changes: Any) -> GloveConfig:
    return replace(CONFIG, **changes)


def files(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*.bin")}


def count(chosen: GloveConfig, store: TokenStore, folder: Path) -> Counting:
    """Counted step by step, anew; what the cache had is gone."""
    words = ranked_words(chosen, store, None, "")
    shutil.rmtree(folder_of(chosen, store, words), ignore_errors=True)
    made = Counting(chosen, store, words, folder)
    while made.done < made.total:
        made.step()
    return made


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("within", ["documents", "sentences"])
def test_counts_are_those_of_a_dictionary_at_any_memory(
    symmetric: bool, within: Any, store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, bytes] = {}
    runs = []
    for memory, block in ((256.0, 400_000), (0.02, 777), (0.002, 500)):
        monkeypatch.setattr(counts, "BLOCK", block)
        made = count(config(symmetric=symmetric, within=within, memory=memory), store, tmp_path / "runs")
        runs.append(len(made._runs))
        now = files(made.path)
        assert not seen or now == seen, "the files depend on memory"
        seen = now
    assert runs[0] == 1 and runs[2] > 20, f"spilled {runs} times"
    found = open_cooccurrences(made.path)
    whole = pairs_of(GloveConfig(window=5, symmetric=symmetric, within=within), store, found.words)
    held = {(int(i), int(j)): float(x) for (i, j), x in zip(found.held_places, found.held_counts, strict=True)}
    both = {**entries_of(found), **held}
    wanted = {pair: x for pair, x in whole.items() if not symmetric or pair[0] <= pair[1]}
    assert both.keys() == wanted.keys() and len(both) == len(found.places) + len(held)
    assert max(abs(both[pair] / wanted[pair] - 1) for pair in wanted) < 1e-6
    assert 0.005 < len(held) / len(both) < 0.08 and found.across > 2
    assert not (tmp_path / "runs").exists(), "the runs stay behind"


def test_the_held_out_pairs_do_not_depend_on_the_tile(store: TokenStore, tmp_path: Path) -> None:
    held = []
    for side in (4, 32):
        found = open_cooccurrences(count(config(tile=side), store, tmp_path / "runs").path)
        held.append({(int(i), int(j)) for i, j in found.held_places})
    assert held[0] == held[1] and len(held[0]) > 5


@pytest.mark.parametrize("cells", [0, 1, 7, 100, 10_000])
def test_the_hyperbola_gives_each_pair_a_cell_of_its_own(cells: int) -> None:
    base, reach, count = sorting.hyperbola(40, cells)
    places = [base[a] + b - a for a in range(40) for b in range(a, int(reach[a]))]
    assert sorted(places) == list(range(count)) and count <= cells
    assert (np.diff(reach) <= 0).all()
    assert cells < 10_000 or count == 40 * 41 // 2


class StopAt(SilentWatch):
    """Sends this process a signal after some steps."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.step = step

    def report(self, step: int, report: Report) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGTERM)


def test_stopped_in_either_half_it_goes_on_to_the_same_bytes(store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BLOCK", 800)
    chosen = config(memory=0.005)
    straight = count(chosen, store, tmp_path / "straight")
    wanted, words = files(straight.path), ranked_words(chosen, store, None, "")
    for file in straight.path.iterdir():
        file.unlink()
    straight.path.rmdir()
    blocks = straight._blocks
    assert blocks > 4
    limits = Limits(evaluations=0, keep=1)
    for stop in (1, 3, blocks, blocks + 5, straight.total - 1):
        with pytest.raises(Preempted):
            run(Counting(chosen, store, words, tmp_path / "runs"), tmp_path / "run", limits, StopAt(stop))
    made = Counting(chosen, store, words, tmp_path / "runs")
    assert run(made, tmp_path / "run", limits, SilentWatch()).steps == straight.total
    assert files(made.path) == wanted
    assert counting(chosen, store, words, tmp_path / "runs") is None, "it would be counted again"
    again = Counting(chosen, store, words, tmp_path / "runs")
    assert run(again, tmp_path / "run", limits, SilentWatch()).steps == straight.total, "a finished run is a no-op"


def test_damaged_runs_and_another_corpus_are_refused(store: TokenStore, tmp_path: Path) -> None:
    words = ranked_words(CONFIG, store, None, "")
    made = Counting(CONFIG, store, words, tmp_path / "runs")
    made.step()
    state = made.state()
    (run_file,) = (tmp_path / "runs").glob("run-*.bin")
    whole = run_file.read_bytes()
    for damage in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:]):
        run_file.write_bytes(damage)
        with pytest.raises(ArtefactError, match="run-00000"):
            Counting(CONFIG, store, words, tmp_path / "runs").restore(state)
    run_file.write_bytes(whole + b"left by a later step")
    Counting(CONFIG, store, words, tmp_path / "runs").restore(state)
    run_file.unlink()
    with pytest.raises(ArtefactError, match="run-00000"):
        Counting(CONFIG, store, words, tmp_path / "runs").restore(state)
    other = made_store(tmp_path / "other", seed=1)
    with pytest.raises(ArtefactError, match="other co-occurrences"):
        Counting(CONFIG, other, ranked_words(CONFIG, other, None, ""), tmp_path / "runs").restore(state)


def test_a_damaged_cache_is_counted_again(store: TokenStore) -> None:
    words = ranked_words(CONFIG, store, None, "")
    before = np.array(counted(CONFIG, store, words).counts)
    file = folder_of(CONFIG, store, words) / "counts.bin"
    data = bytearray(file.read_bytes())
    data[5] ^= 1
    file.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"counts\.bin"):
        open_cooccurrences(file.parent)
    assert np.array_equal(counted(CONFIG, store, words).counts, before)


def test_a_disk_that_fills_while_spilling_loses_nothing(store: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "BLOCK", 800)
    chosen = config(memory=0.005, window=6)
    straight = count(chosen, store, tmp_path / "straight")
    wanted, words = files(straight.path), straight.words
    made, state = Counting(chosen, store, words, tmp_path / "runs"), straight.state()
    kept = resource.getrlimit(resource.RLIMIT_FSIZE)
    refusals = 0
    while made.done < made.total:
        state = made.state()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100 + 700 * (made.done % 3), kept[1]))
        try:
            made.step()
            made.state()
        except ResourceError as error:
            refusals += 1
            assert str(tmp_path) in error.message or str(made.path) in error.message
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
            made = Counting(chosen, store, words, tmp_path / "runs")
            made.restore(state)
            made.step()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, kept)
    assert refusals > 5 and files(made.path) == wanted


def test_a_vocabulary_or_a_window_without_words_is_refused(tmp_path: Path) -> None:
    store = made_store(tmp_path / "cache", documents=20)
    with pytest.raises(DataError, match="at least min_count = 100000 times"):
        ranked_words(config(min_count=100_000), store, None, "")
    lonely = strings_corpus(["alone", "single", "alone"])
    alone = build_store(lonely, train_tokenizer(WORDS, lonely, workers=0), tmp_path / "alone", held_out=0.0, workers=0)
    with pytest.raises(DataError, match="within 5 words of each other"):
        counted(config(min_count=1), alone, ranked_words(config(min_count=1), alone, None, ""))
    every = config(held_out=1.0)
    with pytest.raises(DataError, match="held out"):
        counted(every, store, ranked_words(every, store, None, ""))


@pytest.mark.parametrize("changes", [{"window": 256}, {"tile": 3}, {"tile": 32_768}, {"rate": 0.0}, {"memory": 0.0}, {"held_out": 1.5}, {"width": 0}])
def test_settings_out_of_range_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        config(**changes)


def test_tiles_fit_the_cache_and_are_not_too_many() -> None:
    for width in (50, 100, 300):
        side = GloveConfig(width=width).tile_of(50_000)
        assert 2 * side * 2 * width * 4 <= 1 << 20 < 4 * side * 2 * width * 4
    assert GloveConfig(width=300).tile_of(400_000) * 1024 >= 400_000
