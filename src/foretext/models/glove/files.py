"""The files of counting: sorted runs that memory spilled, and the co-occurrences that they are merged into.

On disk a run is (key, sum) rows of two uint64, ascending. What is finished is a sealed folder, `cooccurrences/<key>` beside
the token store: `places.bin` uint32 and `counts.bin` float32 a non-zero in tile order, `tiles.bin` int64 where each tile
begins, `words.bin` int64 the token id of each rank, `held_places.bin` int32 pairs of ranks and `held_counts.bin` float32.
"""

import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foretext.disk import forget
from foretext.errors import ArtefactError, ResourceError
from foretext.folder import open_sealed
from foretext.models.glove import sorting
from foretext.types import JSON, Floats, Ints

KIND = "co-occurrences"
VERSION = 1
COLUMNS: dict[str, DTypeLike] = {
    "places": "<u4", "counts": "<f4", "tiles": "<i8", "words": "<i8", "held_places": "<i4", "held_counts": "<f4",
}
ROW = 16
"""Bytes of a run's row."""


@dataclass(slots=True)
class Growing:
    """A file that is only ever added to, with what a checkpoint must know of it: bytes and their checksum (CRC-32)."""

    path: Path
    size: int = 0
    crc: int = 0

    def append(self, data: NDArray[Any]) -> None:
        """Add an array's bytes; ResourceError where the disk is full. What a failed write left is cut off by the next."""
        raw = data.tobytes()
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o666)
            with open(handle, "r+b", buffering=0) as file:
                file.truncate(self.size)
                file.seek(self.size)
                left = memoryview(raw)
                while left:
                    left = left[file.write(left) :]
        except OSError as error:
            raise no_room(self.path, error) from error
        self.size += len(raw)
        self.crc = zlib.crc32(raw, self.crc)

    def sync(self) -> None:
        """Make it durable."""
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_RDONLY, 0o666)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise no_room(self.path, error) from error

    def state(self) -> JSON:
        """[name, bytes, checksum]."""
        return [self.path.name, self.size, self.crc]

    def check(self) -> None:
        """ArtefactError where the file is missing, shorter than it was, or altered."""
        crc = 0
        try:
            with open(self.path, "rb") as file:
                left = self.size
                while left and (part := file.read(min(left, 1 << 20))):
                    crc, left = zlib.crc32(part, crc), left - len(part)
        except FileNotFoundError:
            left = self.size
        if left or crc != self.crc:
            raise ArtefactError(
                "a file of half-counted co-occurrences is missing or damaged", file=self.path,
                remedy="remove the unfinished run and start again",
            )  # fmt: skip


def no_room(path: Path, error: OSError) -> ResourceError:
    """What a write that the system refused says."""
    return ResourceError(
        f"cannot write: {error.strerror or error}", file=path,
        remedy="free some disk space and resume: every finished part is kept",
    )  # fmt: skip


# ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(slots=True)
class Runs:
    """Sorted runs as one: `pieces` gives the rows of a range of keys, in parts that memory can hold."""

    files: Sequence[Growing]
    views: list[NDArray[np.uint64]] = field(default_factory=list)

    def open(self) -> None:
        """Map the files."""
        self.views = [np.memmap(f.path, np.uint64, "r", shape=(f.size // ROW, 2)) for f in self.files if f.size]

    def borders(self, parts: int) -> list[int]:
        """`parts` + 1 keys that divide all rows about evenly: the first 0, the last above every key."""
        samples, weights = [], []
        for view in self.views:
            step = max(1, len(view) // 512)
            samples.append(np.array(view[::step, 0]))
            weights.append(np.full(len(samples[-1]), step))
            forget(view)
        keys, weight = np.concatenate(samples), np.concatenate(weights)
        order = np.argsort(keys, kind="stable")
        whole = np.cumsum(weight[order])
        at = np.searchsorted(whole, whole[-1] * np.arange(1, parts) / parts)
        return [0, *(int(k) for k in keys[order][np.minimum(at, len(keys) - 1)]), 1 << 63]

    def pieces(self, low: int, high: int, most: int) -> Iterator[NDArray[np.uint64]]:
        """Rows with `low` ≤ key < `high`, range after range, about `most` at a time at most; a piece is not sorted, and no
        key is in two pieces."""
        starts, stops = self._places(low), self._places(high)
        waiting = [(starts, stops)]
        while waiting:
            starts, stops = waiting.pop()
            sizes = stops - starts
            longest = int(sizes.argmax())
            if sizes.sum() <= most or sizes[longest] < 2:
                if sizes.sum():
                    yield self._read(starts, stops)
                continue
            middle = self._places(int(self.views[longest][(starts[longest] + stops[longest]) // 2, 0]))
            waiting += [(middle, stops), (starts, middle)]

    def _places(self, key: int) -> Ints:
        found = np.array([sorting.before(view, np.uint64(key)) for view in self.views])
        forget(*self.views)
        return found

    def _read(self, starts: Ints, stops: Ints) -> NDArray[np.uint64]:
        # Read, not sliced from the map: mapped pages would count as this process's memory until the end.
        files = [f for f in self.files if f.size]
        parts = [
            np.fromfile(f.path, np.uint64, count=2 * int(b - a), offset=ROW * int(a)).reshape(-1, 2)
            for f, a, b in zip(files, starts, stops, strict=True)
            if b > a
        ]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]


# ── what is finished ────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Cooccurrences:
    """Non-zeros by tiles of `side` × `side` words, R words by frequency, `across` = ⌈R / side⌉ tiles in a row.

    Entries [tiles[n], tiles[n+1]) of `places` and `counts` are tile n: row n // across, column n % across; a place is (row
    inside the tile) · 2¹⁶ + column inside it. `symmetric`: only row ≤ column is kept, the other half is its mirror image.
    `words` [R] token ids. `held_places` [h,2], `held_counts` [h]: the non-zeros that are never trained on."""

    places: NDArray[np.uint32]
    counts: Floats
    tiles: Ints
    words: Ints
    held_places: Ints
    held_counts: Floats
    side: int
    symmetric: bool
    key: str

    @property
    def across(self) -> int:
        """Tiles in a row."""
        return -(-len(self.words) // self.side)


def open_cooccurrences(path: Path) -> Cooccurrences:
    """Open what counting made, every byte checked. Damage → ArtefactError."""
    sealed = open_sealed(path, kind=KIND)
    meta = sealed.meta if isinstance(sealed.meta, dict) else {}
    if meta.get("version") != VERSION:
        raise ArtefactError(f"co-occurrences of format {meta.get('version')}, this version reads {VERSION}", file=path)
    columns: dict[str, Any] = {}
    for name, kind in COLUMNS.items():
        file = path / f"{name}.bin"
        size = np.dtype(kind).itemsize
        if file.name not in sealed.files or file.stat().st_size % size:
            raise ArtefactError(f"expected a file of {size}-byte numbers", file=file)
        columns[name] = np.memmap(file, dtype=kind, mode="r") if file.stat().st_size else np.zeros(0, kind)
    columns["held_places"] = columns["held_places"].reshape(-1, 2)
    found = Cooccurrences(**columns, side=int(meta["side"]), symmetric=bool(meta["symmetric"]), key=sealed.key)
    whole = (
        len(found.tiles) == found.across**2 + 1
        and found.tiles[-1] == len(found.places) == len(found.counts)
        and len(found.held_places) == len(found.held_counts)
    )
    if not whole:
        raise ArtefactError("the files of the co-occurrences do not fit one another", file=path)
    return found
