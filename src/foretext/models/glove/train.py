"""The GloVe Stepper: the non-zeros of a memory-mapped co-occurrence matrix, trained by the kernels, without torch.

R words by frequency · V vocabulary · D width. An epoch is cut into units of a few thousand non-zeros: a part of a tile, or a
few sparse tiles, of either the matrix or its mirror image. Units come in an order drawn anew each epoch, and so do a unit's
tiles and a tile's entries: near in time are rows that are near in cache, for so short a time that no unit is learned for
itself at the cost of the others.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.errors import ArtefactError, DivergedError
from foretext.models.glove import kernel
from foretext.models.glove.config import GloveConfig
from foretext.models.glove.counts import Counting, counted, counting, ranked_words
from foretext.models.glove.files import Cooccurrences
from foretext.models.stepping import Store, require_own, require_sane
from foretext.types import Arrays, Floats, Ints, Report, State

TABLE = "encoders.text.table.weight"
"""W + W̃ [V,D]: what the paper reports (section 4.2), and what is read of a folder."""
CONTEXTS = "heads.glove.table.weight"
"""W̃ [V,D]; W is the difference."""
BIASES = "heads.glove_words.bias"
"""b [V] of the words; those of the contexts, b̃, belong to W̃. Both are kept to go on from."""
CONTEXT_BIASES = "heads.glove.bias"
STRIPES = 32
"""Parts with about equally many non-zeros, for rows and for columns."""
PART = 8192
"""About so many non-zeros a unit: enough to fetch a tile's rows for. (Units of all tiles of two stripes, 56,000 non-zeros, left
the held-out loss after an epoch of 11M words at 0.141; these leave it at 0.065, all non-zeros at random at 0.064.)"""
_COPIED = 1 << 14
"""Rows that are taken over at once."""
_HELD_OUT = 200_000
"""Most held-out non-zeros looked at."""

Scratch = tuple[Ints, Ints, NDArray[np.float32], NDArray[np.float32]]
Result = tuple[float, int, bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Tiles (numbers) trained one after the other, of each every `stride`-th entry from `part` on; `rows`, `columns`: the
    stripes whose words and contexts they move; `size`: about how many entries."""

    tiles: Ints
    stride: int
    part: int
    mirrored: bool
    rows: int
    columns: int
    size: int


def units(found: Cooccurrences) -> list[Unit]:
    """Every entry in one unit, or for a symmetric matrix in two: as it is and mirrored."""
    sizes, across = np.diff(found.tiles), found.across
    filled = np.flatnonzero(sizes)
    row, column, size = filled // across, filled % across, sizes[filled]
    mass = np.bincount(row, size, across) + np.bincount(column, size, across)
    middle = np.cumsum(mass) - mass / 2
    stripe = np.minimum((STRIPES * middle / mass.sum()).astype(np.int64), STRIPES - 1)
    pair = stripe[row] * STRIPES + stripe[column]
    strides = -(-size // PART)
    # Tiles that make one part are put together, within a pair of stripes, until they make one.
    alone, together = np.flatnonzero(strides > 1), np.flatnonzero(strides == 1)
    order = together[np.argsort(pair[together], kind="stable")]
    whole = np.cumsum(size[order])
    begins = np.searchsorted(pair[order], pair[order])
    group = (whole - whole[begins]) // PART
    cuts = np.flatnonzero((np.diff(pair[order]) != 0) | (np.diff(group) != 0)) + 1
    groups = [*np.split(order, cuts)] if len(order) else []
    made = []
    for numbers in [*groups, *(alone[k : k + 1] for k in range(len(alone)))]:
        first, count, stride = numbers[0], int(size[numbers].sum()), int(strides[numbers[0]])
        a, b = int(stripe[row[first]]), int(stripe[column[first]])
        for part in range(stride):
            for mirrored in (False, True)[: 1 + found.symmetric]:
                rows, columns = (b, a) if mirrored else (a, b)
                made.append(Unit(
                    tiles=filled[numbers], stride=stride, part=part, mirrored=mirrored, rows=rows, columns=columns,
                    size=(count - part - 1) // stride + 1,
                ))  # fmt: skip
    return made


class Glove:
    """A Stepper (`types.Stepper`): AdaGrad on the non-zeros of a store's co-occurrences, which are counted first where they
    are not there.

    Deterministic to the bit with one thread, or with several where `config.updates` is "synchronous", and after `restore`;
    not with Hogwild's."""

    def __init__(
        self, config: GloveConfig, store: Store, *, seed: int, threads: int, steps: int | None, epochs: float | None,
        init: Arrays | None, first: tuple[Ints, Floats] | None = None,
    ) -> None:
        self.config, self.seed, self.threads = config, seed, max(1, threads)
        self.found = found = counted(config, store, ranked_words(config, store, init, TABLE))
        given = 0 if init is None else len(init[TABLE])
        self._init, self._rows = init, max(given, int(found.words.max()) + 1)
        self.words, self.contexts, self.word_biases, self.context_biases = self._tables(given)
        still = found.words < given
        if first is not None:
            still[self._place(*first)] = True
        self.still = still if config.frozen == "given" else np.zeros(0, np.bool_)
        self._units = units(found)
        self._entries = sum(unit.size for unit in self._units)
        self._steps = max(1, min(len(self._units), round(self._entries / config.block)))
        self._tokens = int(np.asarray(store.counts).sum())
        passes = epochs if epochs is not None else config.epochs
        self.total = steps if steps is not None else max(1, round(passes * self._steps))
        self.done = 0
        self._planned: tuple[int, list[list[Unit]]] | None = None
        most = min(PART, int(np.diff(found.tiles).max()))
        self._scratch: SimpleQueue[Scratch] = SimpleQueue()
        for _ in range(self.threads):
            self._scratch.put((
                np.empty(most, np.int64), np.empty(most, np.int64), np.empty(most, np.float32), np.empty(most, np.float32)
            ))  # fmt: skip

    # ── tables ──

    def _tables(self, given: int) -> tuple[kernel.Table, kernel.Table, kernel.Table, kernel.Table]:
        """`glove.c`'s start: vectors and biases uniform in ±0.5/D, sums of squares 1. Or a folder's: W is the saved sum less
        W̃ (half of the sum each where no W̃ is saved, as in files of other programs)."""
        width, count = self.config.width, len(self.found.words)
        padded = -(-width // kernel.LANE) * kernel.LANE
        tables = [np.zeros((count, 2, padded), np.float32) for _ in range(2)]
        biases = [np.ones((count, 2), np.float32) for _ in range(2)]
        for number, (table, bias) in enumerate(zip(tables, biases, strict=True)):
            table[:, 1] = 1.0
            rng = draws.generator(self.seed, "glove tables", number)
            for start in range(0, count, _COPIED):  # the table is all that may be as large as the table
                part = table[start : start + _COPIED, 0, :width]
                part[...] = (rng.random(part.shape, dtype=np.float32) - np.float32(0.5)) / np.float32(width)
            bias[:, 0] = (rng.random(count, dtype=np.float32) - np.float32(0.5)) / np.float32(width)
        for start in range(0, count if given else 0, _COPIED):
            rank = start + np.flatnonzero(self.found.words[start : start + _COPIED] < given)
            ids = self.found.words[rank]
            whole, contexts = self._given(TABLE, ids), self._given(CONTEXTS, ids)
            tables[0][rank, 0, :width], tables[1][rank, 0, :width] = whole - contexts, contexts
            for bias, name in zip(biases, (BIASES, CONTEXT_BIASES), strict=True):
                bias[rank, 0] = self._given(name, ids)
        return tables[0], tables[1], biases[0], biases[1]

    def _given(self, name: str, ids: Any) -> Any:
        """Rows `ids` of an array that the run goes on from, or what stands for one that its folder lacks."""
        assert self._init is not None
        if name in self._init:
            return np.asarray(self._init[name])[ids]
        return np.asarray(self._init[TABLE])[ids] / 2 if name == CONTEXTS else 0.0

    def _place(self, ids: Ints, rows: Floats) -> Ints:
        """Given vectors in place of the random start of these words' rows of W, or where they stand still in place of both
        rows, half each; answers the words' ranks."""
        width, rank = self.config.width, np.full(max(self._rows, int(ids.max(initial=0)) + 1), -1)
        rank[self.found.words] = np.arange(len(self.found.words))
        known = rank[ids] >= 0
        ranks: Ints = rank[ids[known]]
        if self.config.frozen == "given":
            self.words[ranks, 0, :width] = self.contexts[ranks, 0, :width] = rows[known] / 2
        else:
            self.words[ranks, 0, :width] = rows[known]
        return ranks

    def arrays(self) -> Arrays:
        """What a folder keeps, over the vocabulary; words that were never trained have zeros, or what they came with."""
        width, ids = self.config.width, self.found.words
        made = {
            TABLE: self.words[:, 0, :width] + self.contexts[:, 0, :width], CONTEXTS: self.contexts[:, 0, :width],
            BIASES: self.word_biases[:, 0], CONTEXT_BIASES: self.context_biases[:, 0],
        }  # fmt: skip
        whole = {name: np.zeros((self._rows, *array.shape[1:]), np.float32) for name, array in made.items()}
        for name, array in made.items():
            whole[name][ids] = array
            if self._init is not None:
                given = len(self._init[TABLE])
                # W + W̃ of a vector that stood still may be a rounding away from it.
                learnt = ids[~self.still] if len(self.still) and name in (TABLE, CONTEXTS) else ids
                kept = np.setdiff1d(np.arange(given), learnt)
                whole[name][kept] = self._given(name, kept)
        return whole

    # ── steps ──

    def _plan(self, epoch: int) -> list[list[Unit]]:
        """The steps of an epoch: units in a drawn order, cut where the entries before them pass a step's share."""
        if self._planned is None or self._planned[0] != epoch:
            rng = draws.generator(self.seed, "glove units", epoch)
            order = rng.permutation(len(self._units))
            sizes = np.array([self._units[k].size for k in order])
            # The k-th unit is no later than in step k, and no earlier than so that one is left for every step after it.
            step = (np.cumsum(sizes) - sizes / 2) * self._steps // self._entries
            number = np.arange(len(order))
            step = np.clip(step, self._steps - len(order) + number, number).astype(np.int64)
            plan: list[list[Unit]] = [[] for _ in range(self._steps)]
            for k, at in zip(order, np.minimum(step, self._steps - 1), strict=True):
                unit = self._units[k]
                plan[at].append(replace(unit, tiles=rng.permutation(unit.tiles)) if len(unit.tiles) > 1 else unit)
            self._planned = epoch, plan
        return self._planned[1]

    def step(self) -> Report:
        """Train on the next units. DivergedError at the first non-finite difference, before it reaches the tables, and where
        the loss has run away."""
        epoch, part = divmod(self.done, self._steps)
        where = f"step {self.done + 1} (epoch {epoch + 1}, part {part + 1})"
        remedy = f"lower family.rate (now {self.config.rate:g}) or family.clip"
        results = self._run(self._plan(epoch)[part], draws.number(self.seed, "glove entries", epoch))
        if not all(finite for _, _, finite in results):
            raise DivergedError(f"glove met a non-finite score in {where}", remedy=remedy)
        entries = sum(number for _, number, _ in results)
        loss = sum(loss for loss, _, _ in results) / max(1, entries)
        require_sane(loss, "glove", where, remedy)
        self.done += 1
        tokens = self._tokens * (part + 1) // self._steps - self._tokens * part // self._steps
        done = min(1.0, self.done / self.total)
        return Report(loss=loss, count=entries, tokens=tokens, done=done, rate=self.config.rate)

    def _run(self, plan: Sequence[Unit], seed: int) -> list[Result]:
        if self.threads == 1:
            return [self._train(unit, seed) for unit in plan]
        with ThreadPoolExecutor(self.threads) as pool:
            if self.config.updates == "hogwild":
                return list(pool.map(lambda unit: self._train(unit, seed), plan))
            # A unit waits for the last one before it that moves the same words, and the same contexts. Units start in
            # order, so the first that is not done never waits.
            last: dict[tuple[str, int], Future[Result]] = {}
            futures = []
            for unit in plan:
                mine = (("words", unit.rows), ("contexts", unit.columns))
                before = [last[key] for key in mine if key in last]
                futures.append(pool.submit(self._after, before, unit, seed))
                last.update(dict.fromkeys(mine, futures[-1]))
            return [future.result() for future in futures]

    def _after(self, before: Sequence[Future[Result]], unit: Unit, seed: int) -> Result:
        results = [future.result() for future in before]
        return self._train(unit, seed) if all(finite for _, _, finite in results) else (0.0, 0, False)

    def _train(self, unit: Unit, seed: int) -> Result:
        """One unit: (summed loss, entries, finite)."""
        config, found, scratch = self.config, self.found, self._scratch.get()
        try:
            loss, entries, finite = kernel.train_tiles(
                self.words, self.contexts, self.word_biases, self.context_biases, found.places, found.counts, found.tiles,
                unit.tiles, unit.stride, unit.part, found.across, found.side, unit.mirrored, config.x_max, config.alpha,
                np.float32(config.rate), np.float32(config.clip), np.uint64(seed), *scratch, self.still,
            )
        finally:
            self._scratch.put(scratch)
        return float(loss), int(entries), bool(finite)

    # ── the rest of a Stepper ──

    def _state(self) -> Mapping[str, NDArray[np.float32]]:
        """Views of everything that moves."""
        width = self.config.width
        return {
            "words": self.words[:, 0, :width], "contexts": self.contexts[:, 0, :width],
            "word_biases": self.word_biases[:, 0], "context_biases": self.context_biases[:, 0],
            "optimizer.words": self.words[:, 1, :width], "optimizer.contexts": self.contexts[:, 1, :width],
            "optimizer.word_biases": self.word_biases[:, 1], "optimizer.context_biases": self.context_biases[:, 1],
        }  # fmt: skip

    def state(self) -> State:
        """Copies of vectors, biases and sums of squares [R,…] in order of frequency, and the step number."""
        cursor = {"step": self.done, "total": self.total, "seed": self.seed, "counts": self.found.key}
        return State(arrays={name: view.copy() for name, view in self._state().items()}, cursor=cursor)

    def restore(self, state: State) -> None:
        """Go on from `state`. ArtefactError when it belongs to other co-occurrences, another seed, length or size."""
        require_own(state.cursor, total=self.total, seed=self.seed, counts=self.found.key)
        for name, view in self._state().items():
            if state.arrays[name].shape != view.shape:
                raise ArtefactError(f"expected {name} of shape {view.shape}, found {state.arrays[name].shape}", place=name)
            view[...] = state.arrays[name]
        self.done = int(state.cursor["step"])

    def evaluate(self) -> Mapping[str, float]:
        """Mean ½·f·diff² of the non-zeros kept from training, of a symmetric matrix both halves; {} where there are none."""
        places, counts = self.found.held_places[:_HELD_OUT], np.asarray(self.found.held_counts[:_HELD_OUT])
        if not len(counts):
            return {}
        rows, columns = (np.ascontiguousarray(places[:, side], dtype=np.int64) for side in (0, 1))
        pairs = [(rows, columns, counts)]
        if self.found.symmetric:
            other = rows != columns
            pairs.append((columns[other], rows[other], counts[other]))
        loss = sum(self._loss(*part) for part in pairs)
        return {"loss": loss / sum(len(part) for _, _, part in pairs)}

    def _loss(self, rows: Ints, columns: Ints, counts: Any) -> float:
        tables = (self.words, self.contexts, self.word_biases, self.context_biases)
        return float(kernel.entry_losses(*tables, rows, columns, counts, self.config.x_max, self.config.alpha))


def stepper(
    config: GloveConfig, store: Store, *, seed: int = 0, threads: int = 1, steps: int | None = None,
    epochs: float | None = None, init: Arrays | None = None, first: tuple[Ints, Floats] | None = None,
) -> Glove:
    """A Glove ready to step. `steps` fixes the length of the run, else `epochs`, else `config.epochs`.

    `init`: arrays to go on from, under their names on disk. Their words keep their ids, and every one that the store's
    training part has is trained; words of the tokenizer that follow are added where they are seen `config.min_count`
    times; sums of squares start anew. `first`: ids [K] and vectors [K,D] in place of the
    random start of these words' rows of W. DataError when no word is frequent enough, or no two stand near each other.
    """
    return Glove(config, store, seed=seed, threads=threads, steps=steps, epochs=epochs, init=init, first=first)


def before(config: GloveConfig, store: Store, init: Arrays | None, folder: Path) -> Counting | None:
    """What must run first: the Stepper that counts, with its runs in `folder`; None where the co-occurrences are there."""
    return counting(config, store, ranked_words(config, store, init, TABLE), folder)
