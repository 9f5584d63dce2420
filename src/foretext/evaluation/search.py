"""The nearest rows of a table of word vectors: exactly, by blocks of one matrix product; or by an index of faiss.

V vocabulary · D width · Q queries
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from foretext import draws
from foretext.errors import ResourceError, UsageError, unknown
from foretext.evaluation.words import WordTable, unit
from foretext.types import Floats

Kind = Literal["exact", "flat", "ivf"]
_CELLS = 1 << 22
"""Scores held at once, about: 16 MB."""
_SAMPLE = 200
"""Words whose true neighbours tell an approximate index's recall."""
_ENOUGH = 39
"""Rows a cell of "ivf": faiss warns that fewer train its centres badly."""
_PROBES = 8
"""Cells that are looked into at least."""

Hits = list[list[tuple[int, float]]]
"""For each query (entry, cosine), the nearest first; the lower entry first among equals."""


class Index(Protocol):
    """`search`: the `n` entries with the greatest cosine to each query [Q,D]. `about`: how they were found, "" for exactly."""

    @property
    def about(self) -> str: ...

    def search(self, queries: Floats, n: int) -> Hits: ...


def index(table: WordTable, kind: str = "exact") -> Index:
    """"exact": a matrix product, block by block; nothing to build. "flat": the same by faiss. "ivf": faiss looks into the
    cells nearest to the query alone; its recall is measured and said. Both of faiss copy the table.

    Errors: an unknown kind → UsageError; faiss is not installed → ResourceError.
    """
    if kind == "exact":
        return Exact(table)
    if kind in ("flat", "ivf"):
        return Faiss(table, cells=kind == "ivf")
    raise unknown("index", kind, ("exact", "flat", "ivf"))


@dataclass(frozen=True)
class Exact:
    """Cosines with every entry."""

    table: WordTable
    about: str = ""

    def search(self, queries: Floats, n: int) -> Hits:
        """Blocks of rows against all queries; only the best of each block are kept."""
        directions = unit(queries)
        best: Hits = [[] for _ in directions]
        step = max(1, _CELLS // max(1, len(directions)))
        for start, scores_QV in cosine_blocks(self.table, directions, step):
            for kept, scores in zip(best, scores_QV, strict=True):
                kept += [(start + i, float(scores[i])) for i in greatest(scores, n)]
        return [sorted(kept, key=lambda hit: (-hit[1], hit[0]))[:n] for kept in best]


class Faiss:
    """faiss over the unit rows of the entries that may be an answer. `cells`: inverted lists around k-means centres
    (Sivic and Zisserman 2003), a sixteenth of them looked into."""

    def __init__(self, table: WordTable, *, cells: bool) -> None:
        try:
            import faiss
        except ImportError as error:
            raise ResourceError("faiss is not installed", remedy="pip install 'foretext[faiss]', or use --index exact") from error
        self.table = table
        self.cells = cells
        self._entries: NDArray[np.int64] = np.flatnonzero(table.searched)
        rows = np.ascontiguousarray(unit(table.vectors[self._entries]))
        width = table.vectors.shape[1]
        self._faiss: Any = faiss.IndexFlatIP(width)
        if cells:
            lists = int(min(4 * np.sqrt(len(rows)), len(rows) / _ENOUGH))
            if lists < 2:
                raise UsageError(f"{len(rows):,} words are too few for cells", remedy="use --index exact")
            self._faiss = faiss.IndexIVFFlat(self._faiss, width, lists, faiss.METRIC_INNER_PRODUCT)
            self._faiss.nprobe = max(_PROBES, lists // 16)
            self._faiss.train(rows)
        self._faiss.add(rows)

    @property
    def about(self) -> str:
        """The recall of the ten nearest, measured now; nothing for an index that compares everything."""
        if not self.cells:
            return ""
        return f"approximate: of the true ten nearest, {self.recall():.1%} were found for {min(_SAMPLE, self.table.size)} sampled words"

    def recall(self, n: int = 10) -> float:
        """Share of the true `n` nearest entries that this index finds, over a fixed sample of the vocabulary."""
        chosen = draws.generator(0, "recall of an index").permutation(self._entries)[:_SAMPLE]
        queries = self.table.vectors[np.sort(chosen)]
        pairs = zip(self.search(queries, n), Exact(self.table).search(queries, n), strict=True)
        shares = [len({i for i, _ in got} & {i for i, _ in true}) / max(1, len(true)) for got, true in pairs]
        return float(np.mean(shares))

    def search(self, queries: Floats, n: int) -> Hits:
        """faiss answers −1 where it has no more."""
        directions = np.ascontiguousarray(unit(queries))
        scores, places = self._faiss.search(directions, min(n, len(self._entries)))
        found = [
            [(int(self._entries[place]), float(score)) for score, place in zip(row, at, strict=True) if place >= 0]
            for row, at in zip(scores, places, strict=True)
        ]
        return [sorted(hits, key=lambda hit: (-hit[1], hit[0])) for hits in found]


def cosine_blocks(table: WordTable, directions: Floats, rows: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    """(first entry, cosines [Q,rows]) of unit `directions` [Q,D] with the table, block by block; −∞ for entries that may
    not be an answer."""
    for start, block in table.blocks(rows):
        stop = start + len(block)
        scores: NDArray[np.float32] = np.asarray(directions, np.float32) @ np.asarray(block, np.float32).T
        scores /= np.maximum(table.norms[start:stop], np.float32(1e-30))
        scores[:, ~table.searched[start:stop]] = -np.inf
        yield start, scores


def greatest(scores: NDArray[np.float32], n: int) -> list[int]:
    """The places of the n greatest finite scores, greatest first; the lower place first among equals."""
    few = min(n, len(scores))
    if few < 1:
        return []
    least = np.partition(scores, -few)[-few]
    places = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return [int(i) for i in places[np.argsort(-scores[places], kind="stable")][:few]]
