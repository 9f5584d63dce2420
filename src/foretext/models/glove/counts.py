"""Counting as a Stepper: blocks of the token store → sorted runs on disk → one sealed folder of non-zeros in tile order.

Frequent pairs are added up in a plain array, the others collected and, when memory is full, sorted, added up and spilled as
a run. At the end the runs are merged range by range. The result does not depend on the memory, nor on interruptions.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext.disk import draft_of, make_folder, remove, remove_leftovers
from foretext.errors import ArtefactError, DataError, ResourceError
from foretext.folder import fingerprint, is_sealed, locked, sealing
from foretext.models.glove import sorting
from foretext.models.glove.config import GloveConfig
from foretext.models.glove.files import (
    COLUMNS,
    KIND,
    ROW,
    VERSION,
    Cooccurrences,
    Growing,
    Runs,
    no_room,
    open_cooccurrences,
)
from foretext.models.stepping import Store
from foretext.types import Arrays, Ints, Report, State

BLOCK = 400_000
"""Corpus tokens a step."""
MERGES = 64
"""Steps of merging."""
_GATHERED = 1 << 16
"""Rows merged at a time: they and their copy stay in cache."""


def ranked_words(config: GloveConfig, store: Store, init: Arrays | None, table: str) -> Ints:
    """Token ids [R] of the trained words, most frequent first: special tokens and words below `min_count` are left out;
    with the arrays of a folder to go on from, of its own words only those that the training part lacks.

    DataError when none is left."""
    counts = np.array(store.counts, np.int64)
    counts[[i for i in store.tokenizer.special.values() if i < len(counts)]] = 0
    least = np.full(len(counts), max(1, config.min_count))
    least[: 0 if init is None else len(init[table])] = 1
    words = np.flatnonzero(counts >= least)
    if not len(words):
        most = int(np.max(counts, initial=0))
        raise DataError(
            f"glove needs words seen at least min_count = {config.min_count} times; the most frequent is seen {most} times",
            remedy="give more text, or set family.min_count to 1" if most else "give text: the training part is empty",
        )
    found: Ints = words[np.argsort(-counts[words], kind="stable")]
    return found


def folder_of(config: GloveConfig, store: Store, words: Ints) -> Path:
    """Where the co-occurrences of these words lie, or will: under their content key, beside the token store."""
    side = config.tile_of(len(words))
    key = fingerprint(
        KIND, VERSION, store.key, config.window, config.symmetric, config.within, config.held_out, side,
        words.astype("<i8").tobytes(),
    )  # fmt: skip
    return store.path.parent / "cooccurrences" / key


def counting(config: GloveConfig, store: Store, words: Ints, folder: Path) -> "Counting | None":
    """The Stepper that counts the co-occurrences, with its runs in `folder`; None where they are there already."""
    path = folder_of(config, store, words)
    return None if is_sealed(path) and _whole(path) else Counting(config, store, words, folder)


def counted(config: GloveConfig, store: Store, words: Ints) -> Cooccurrences:
    """The co-occurrences of a store: from the cache, or counted now."""
    path = folder_of(config, store, words)
    if is_sealed(path):
        try:
            return open_cooccurrences(path)
        except ArtefactError:
            pass  # damaged: what can be computed again is not worth a question
    runs = path.with_name(f"{path.name}-runs")
    with locked(path):
        remove_leftovers(path.parent, runs.name)
        scratch = draft_of(runs)
        try:
            stepper = Counting(config, store, words, scratch, is_alone=True)
            while stepper.done < stepper.total:
                stepper.step()
        finally:
            remove(scratch)
    return open_cooccurrences(path)


def _whole(path: Path) -> bool:
    try:
        open_cooccurrences(path)
    except ArtefactError:
        return False
    return True


class Counting:
    """A Stepper (`types.Stepper`) that learns nothing: its last step seals the folder of co-occurrences.

    `state` spills what is in memory, so that a checkpoint is a list of files. The bytes it makes depend on the store and
    the configuration alone."""

    def __init__(self, config: GloveConfig, store: Store, words: Ints, folder: Path, *, is_alone: bool = False) -> None:
        self.config, self.store, self.words, self.folder = config, store, words, Path(folder)
        self.path = folder_of(config, store, words)
        self._is_alone = is_alone  # whether the lock of `path` is held already
        self.side = config.tile_of(len(words))
        self.across = -(-len(words) // self.side)
        self._shift, self._bits = np.uint64(self.side.bit_length() - 1), np.uint64((self.across - 1).bit_length())
        self._ranks = np.full(len(store.counts), -1, np.int32)
        self._ranks[words] = np.arange(len(words), dtype=np.int32)
        self._blocks = -(-int(store.sentences[-1]) // BLOCK)
        self.total = self._blocks + MERGES + 1
        self.done = 0
        weights = [0, *(round(sorting.ONE / d) for d in range(1, config.window + 1))]
        self._weights = np.array(weights, np.uint64)
        self._history = np.zeros(0, np.int32)
        self._runs: list[Growing] = []
        self._sizes = np.zeros(self.across**2, np.int64)
        self._made = {name: Growing(self.folder / f"{name}.bin") for name in ("places", "counts", "held_places", "held_counts")}
        self._merging: tuple[Runs, list[int]] | None = None
        self._allocate()

    def _allocate(self) -> None:
        """Half of the memory for the plain array, half for collected pairs and the copy that sorting needs."""
        half = max(1024, int(self.config.memory * 1e6) // 2)
        each = 8 if self.config.symmetric else 16
        self._base, self._reach, count = sorting.hyperbola(len(self.words), half // each)
        self._cells = np.zeros(count * each // 8, np.uint64)
        # No more than a corpus can fill.
        pairs = min(half // 16, int(self.store.sentences[-1]) * self.config.window)
        self._keys = np.empty(pairs + len(self._weights) + 1, np.uint64)
        self._other = np.empty_like(self._keys)
        self._filled = 0

    # ── steps ──

    def step(self) -> Report:
        """Count a block, merge a part, or seal."""
        tokens = 0
        if self.done < self._blocks:
            tokens = self._count(self.done * BLOCK, min((self.done + 1) * BLOCK, int(self.store.sentences[-1])))
            self.store.let_go()
        elif self.done < self._blocks + MERGES:
            self._merge(self.done - self._blocks)
        else:
            self._seal()
        self.done += 1
        return Report(loss=0.0, count=0, tokens=tokens, done=self.done / self.total)

    def _count(self, start: int, stop: int) -> int:
        """Tokens [start, stop) of the store; how many of them are in the training part."""
        sentences, documents = self.store.sentences, self.store.documents
        first = int(np.searchsorted(sentences, start, side="right")) - 1
        last = int(np.searchsorted(sentences, stop, side="left"))
        ends = np.minimum(sentences[first + 1 : last + 1], stop) - start
        skipped = np.array(self.store.held_out[first:last], np.bool_)
        if self.config.within == "documents":
            at = np.searchsorted(documents, np.arange(first, last))
            fresh = np.asarray(documents)[np.minimum(at, len(documents) - 1)] == np.arange(first, last)
        else:
            fresh = np.ones(last - first, np.bool_)
        if start > int(sentences[first]):
            fresh[0] = False  # the block before ended inside this sentence
        before = len(self._history)
        words, low = (np.zeros(before + stop - start + 1, np.int32) for _ in range(2))
        words[:before] = self._history
        ids = np.ascontiguousarray(self.store.ids[start:stop], dtype=np.int32)
        ends = np.ascontiguousarray(ends, dtype=np.int64)
        n = int(sorting.stream(ids, self._ranks, ends, skipped, fresh, self.config.window, words, low, before))
        done = before
        while True:
            done, self._filled = sorting.collect(
                words, low, done, n, self.config.symmetric, self._base, self._reach, self._weights, self._cells, self._keys,
                self._filled, self._shift, self._bits,
            )
            if done >= n:
                break
            self._spill()
        self._history = words[low[n] : n].copy()
        return int(np.diff(ends, prepend=0)[~skipped].sum())

    def _spill(self) -> None:
        """The collected pairs as a run."""
        if not self._filled:
            return
        run, keys, other = self._new_run(), self._keys[: self._filled], self._other[: self._filled]
        high = int(sorting.DISTANCE) + int(2 * self._shift + 2 * self._bits)
        keys, other = (other, keys) if sorting.sort(keys, other, int(sorting.DISTANCE), high) else (keys, other)
        at, out = 0, np.empty((_GATHERED, 2), np.uint64)
        while at < len(keys):
            at, rows = sorting.add_up(keys, at, self._weights, self.config.symmetric, self._shift, self._bits, out)
            run.append(out[:rows])
        self._filled = 0

    def _sweep(self) -> None:
        """The plain array as a run; it is 0 then."""
        if not self._cells.any():
            return
        run, at = self._new_run(), np.zeros(3, np.int64)
        out = np.empty((max(_GATHERED, 2 * self.side), 2), np.uint64)
        while at[0] < self.across:
            rows = sorting.sweep(
                self._cells, self._base, self._reach, self.config.symmetric, self.side, self._shift, self._bits, at, out
            )
            run.append(out[:rows])
        self._cells[:] = 0

    def _new_run(self) -> Growing:
        try:
            make_folder(self.folder)
        except OSError as error:
            raise no_room(self.folder, error) from error
        run = Growing(self.folder / f"run-{len(self._runs):05d}.bin")
        self._runs.append(run)
        return run

    def _merge(self, part: int) -> None:
        if self._merging is None:
            self._spill()
            self._sweep()
            self._keys = self._other = self._cells = np.zeros(0, np.uint64)
            runs = Runs([run for run in self._runs if run.size])
            runs.open()
            if not runs.views:
                raise DataError(
                    f"no two trained words ever stand within {self.config.window} words of each other",
                    remedy="give running text, or set family.min_count lower or family.window higher",
                )
            self._merging = runs, runs.borders(MERGES)
        runs, borders = self._merging
        most = max(_GATHERED, min(2048 * len(runs.views), int(self.config.memory * 1e6) // (4 * ROW)))
        # Of all hashes, the share of config.held_out lies below this.
        threshold = np.uint64(min(int(self.config.held_out * 2.0**64), 2**64 - 1))
        for rows in runs.pieces(borders[part], borders[part + 1], most):
            other = np.empty_like(rows)
            ordered = other if sorting.sort_rows(rows, other) else rows
            n = len(rows)
            places, counts, held, held_counts = np.empty(n, np.uint32), np.empty(n, np.float32), np.empty((n, 2), np.int32), np.empty(n, np.float32)
            entries, out = sorting.finish(
                ordered, self._shift, self._bits, self.across, threshold, self._sizes, places, counts, held, held_counts
            )
            self._made["places"].append(places[:entries])
            self._made["counts"].append(counts[:entries])
            self._made["held_places"].append(held[:out])
            self._made["held_counts"].append(held_counts[:out])

    def _seal(self) -> None:
        if not self._made["places"].size:
            raise DataError("every co-occurrence is held out", remedy="give more text, or set family.held_out lower")
        if self._is_alone:
            self._publish()
        else:
            with locked(self.path):
                self._publish()
        remove(self.folder)

    def _publish(self) -> None:
        meta = {"version": VERSION, "side": self.side, "symmetric": self.config.symmetric, "words": len(self.words)}
        arrays: Mapping[str, NDArray[Any]] = {"tiles": np.concatenate([[0], np.cumsum(self._sizes)]), "words": self.words}
        with sealing(self.path, kind=KIND, key=self.path.name, meta=meta, replace=True) as draft:
            for name, grown in self._made.items():
                _link(grown.path, draft / f"{name}.bin")
            for name, array in arrays.items():
                array.astype(COLUMNS[name]).tofile(draft / f"{name}.bin")

    # ── the rest of a Stepper ──

    def state(self) -> State:
        """What is in memory goes to disk first; then this is where counting stands."""
        self._spill()
        self._sweep()
        files = [*self._runs, *(grown for grown in self._made.values() if grown.size)]
        for grown in files if self.done < self.total else ():
            grown.sync()
        cursor = {
            "step": self.done, "total": self.total, "key": self.path.name,
            "runs": [run.state() for run in self._runs], "made": {name: grown.state() for name, grown in self._made.items()},
        }  # fmt: skip
        return State(arrays={"history": self._history, "sizes": self._sizes.copy()}, cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`; files are checked. ArtefactError when it belongs to another corpus or configuration."""
        cursor = state.cursor
        for name, mine in (("key", self.path.name), ("total", self.total)):
            if cursor[name] != mine:
                raise ArtefactError(
                    f"this checkpoint counts other co-occurrences ({name} {cursor[name]}, now {mine})",
                    remedy="resume with the recipe and corpus it was made with",
                )
        self.done = int(cursor["step"])
        self._history = np.array(state.arrays["history"], np.int32)
        self._sizes = np.array(state.arrays["sizes"], np.int64)
        self._runs = [Growing(self.folder / name, size, crc) for name, size, crc in cursor["runs"]]
        self._made = {key: Growing(self.folder / name, size, crc) for key, (name, size, crc) in cursor["made"].items()}
        self._filled, self._merging = 0, None
        self._cells[:] = 0
        if self.done < self.total:
            for grown in (*self._runs, *self._made.values()):
                if grown.size:
                    grown.check()

    def evaluate(self) -> Mapping[str, float]:
        """Nothing: counting has no loss."""
        return {}


def _link(source: Path, target: Path) -> None:
    """`source` under a second name, or copied where that is on another disk; an empty file where there is none."""
    try:
        if source.exists():
            try:
                os.link(source, target)
            except OSError:
                shutil.copyfile(source, target)
        else:
            target.touch()
    except OSError as error:
        raise ResourceError(f"cannot write: {error.strerror or error}", file=target, remedy="free some disk space") from error
