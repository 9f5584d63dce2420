"""The token store: a corpus as one flat array of ids on disk, with the borders of words, sentences and documents.

A sealed folder, `cache/<key>`; its key covers the corpus's content, the tokenizer, what is held out and this format, so
a stale store is never found and a damaged one is built again. Files are little endian and memory-mapped: ids of 1, 2 or
4 bytes, one packed bit a token, int64 offsets.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

from foretext.disk import forget_large
from foretext.errors import ArtefactError, DataError, UsageError
from foretext.folder import Sealed, fingerprint, is_sealed, locked, open_sealed, sealing
from foretext.text.lines import line_blocks
from foretext.text.parts import choose_held_out, count_tokens, id_type, merge_parts, write_lines, write_part
from foretext.text.shards import Progress, each_shard, require_unchanged, shard_count, worker_count
from foretext.text.tokenizers.chunked import ChunkTokenizer
from foretext.types import Bits, Corpus, Ints, Tokenizer

VERSION = 1
KIND = "token store"


@dataclass(frozen=True, slots=True)
class PackedBits:
    """N booleans kept as packed bits (little bit order); read by number, slice or array of numbers."""

    packed: NDArray[np.uint8]
    length: int

    def __len__(self) -> int:
        return self.length

    @overload
    def __getitem__(self, places: int) -> bool: ...
    @overload
    def __getitem__(self, places: slice | NDArray[np.integer[Any]]) -> Bits: ...
    def __getitem__(self, places: int | slice | NDArray[np.integer[Any]]) -> bool | Bits:
        """Booleans at `places`, in the shape of `places`."""
        if isinstance(places, slice):
            places = np.arange(*places.indices(self.length))
        if isinstance(places, (int, np.integer)):
            return bool(self[np.array([places])][0])
        if places.size and not (-self.length <= places.min() and places.max() < self.length):
            raise IndexError(f"places {places.min()} to {places.max()} of {self.length} bits")
        at = np.where(places < 0, places + self.length, places).astype(np.int64)
        bits: Bits = ((self.packed[at >> 3] >> (at & 7).astype(np.uint8)) & 1).astype(np.bool_)
        return bits


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStore:
    """N tokens, s sentences, d documents, V entries of the vocabulary.

    `ids` [N] (uint8, 16 or 32); `word_starts` [N]; `sentences` [s+1]: where each starts among the tokens, and N;
    `documents` [d+1]: where each starts among the sentences, and s; `held_out` [s]; `counts` [V]: how often each id
    occurs in the training part. Sentences without tokens are left out.
    """

    ids: Ints
    word_starts: PackedBits
    sentences: Ints
    documents: Ints
    held_out: Bits
    counts: Ints
    tokenizer: Tokenizer
    key: str
    path: Path

    def sections(self, held_out: bool) -> Ints:
        """[k,3] (first sentence, last sentence (exclusive), document): the longest runs of sentences of one document
        that are all held out, or all not."""
        held = np.asarray(self.held_out)
        turns = np.flatnonzero(held[1:] != held[:-1]) + 1
        edges = np.union1d(np.asarray(self.documents), turns)
        wanted = np.flatnonzero(held[edges[:-1]] == held_out)
        document = np.searchsorted(self.documents, edges[wanted], side="right") - 1
        return np.stack([edges[wanted], edges[wanted + 1], document], axis=1).astype(np.int64)

    def let_go(self) -> None:
        """Let go of the pages that were read, where the store is large: what a run holds does not grow with its text."""
        forget_large(self.ids, self.word_starts.packed, self.sentences, self.documents, self.held_out)

    def text(self, start: int, stop: int) -> str:
        """Tokens [start, stop) as text to read."""
        return self.tokenizer.decode(self.ids[start:stop].tolist())


def build_store(
    corpus: Corpus,
    tokenizer: Tokenizer,
    cache: Path,
    *,
    held_out: float = 0.01,
    workers: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> TokenStore:
    """The store of `corpus` under `cache`, built if it is not there whole.

    `held_out`: the share of the text kept from training, chosen by document (see `parts.choose_held_out`). `workers`:
    processes; None = by the corpus's size, 0 = this process; the bytes are the same. `progress(shards done, shards)`
    (one shard in this process).
    Working memory does not grow with the corpus. A second process that wants the same store waits for the first.
    Errors: no token at all, or a file that changes meanwhile → DataError; a full disk → ResourceError.
    """
    if not 0 <= held_out < 1:
        raise UsageError(f"held_out is {held_out}, expected a share: 0 or more, less than 1")
    key = fingerprint(KIND, VERSION, corpus.key, tokenizer.key, held_out, seed)
    path = Path(cache) / key
    with locked(path):
        if is_sealed(path):
            try:
                return open_store(path, tokenizer)
            except ArtefactError:
                pass  # damaged: what can be computed again is not worth a question
        for left in path.parent.glob(f".*-{key}-*"):
            shutil.rmtree(left, ignore_errors=True)  # a killed writer's: we hold its lock
        processes = worker_count(corpus, workers)
        meta: dict[str, Any] = {"version": VERSION, "vocabulary": tokenizer.size, "tokenizer": tokenizer.key}
        with sealing(path, kind=KIND, key=key, meta=meta, replace=True) as draft:
            _write(corpus, tokenizer, draft, held_out, seed, processes, progress)
            require_unchanged(corpus)
        return open_store(path, tokenizer)


def _write(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: Path,
    held_out: float,
    seed: int,
    workers: int,
    progress: Progress | None,
) -> None:
    parts = folder / "parts"
    parts.mkdir()
    spaced = tokenizer if isinstance(tokenizer, ChunkTokenizer) and tokenizer.config.kind == "spaces" else None
    if spaced is not None and (blocks := line_blocks(corpus, progress)) is not None:
        of, tokens = 1, write_lines(blocks, spaced, parts, workers).tokens
    else:
        of = shard_count(corpus) if workers > 1 else 1  # whole shards end to end are the corpus: read it through
        shards = each_shard(write_part, corpus, of, tokenizer, parts, workers=workers, progress=progress)
        tokens = sum(part.tokens for part in shards)
    if not tokens:
        raise DataError("the corpus has no token", remedy="give a corpus with text")
    dtype = id_type(tokenizer.size)
    sizes = merge_parts(parts, of, folder, dtype)
    shutil.rmtree(parts)
    choose_held_out(folder, sizes, held_out, seed)
    (folder / "hashes.bin").unlink()
    count_tokens(folder, dtype, tokenizer.size)


def open_store(path: Path, tokenizer: Tokenizer, *, verify: bool = True) -> TokenStore:
    """Open a finished store; every byte is checked unless `verify` is off. Errors: damage, or a store of another
    tokenizer → ArtefactError; no such path → UsageError."""
    sealed = open_sealed(path, kind=KIND, verify=verify)
    meta = sealed.meta if isinstance(sealed.meta, dict) else {}
    if meta.get("version") != VERSION:
        raise ArtefactError(f"store format {meta.get('version')}, this version reads {VERSION}", file=path)
    if meta.get("tokenizer") != tokenizer.key or meta.get("vocabulary") != tokenizer.size:
        raise ArtefactError("the store was written with another tokenizer", file=path)
    ids = _column(sealed, "ids", id_type(tokenizer.size))
    bits = _column(sealed, "word_starts", np.uint8)
    store = TokenStore(
        ids=ids,
        word_starts=PackedBits(bits, len(ids)),
        sentences=_column(sealed, "sentences", "<i8"),
        documents=_column(sealed, "documents", "<i8"),
        held_out=_column(sealed, "held_out", np.bool_),
        counts=np.array(_column(sealed, "counts", "<i8")),
        tokenizer=tokenizer,
        key=sealed.key,
        path=Path(path),
    )
    _check(store, len(bits))
    return store


def _column(sealed: Sealed, name: str, dtype: DTypeLike) -> Any:
    file = sealed.path / f"{name}.bin"
    size = np.dtype(dtype).itemsize
    if f"{name}.bin" not in sealed.files or not file.stat().st_size or file.stat().st_size % size:
        raise ArtefactError(f"expected a file of {size}-byte rows", file=file)
    return np.memmap(file, dtype=dtype, mode="r")


def _check(store: TokenStore, packed: int) -> None:
    whole = (
        packed == (len(store.ids) + 7) // 8
        and store.sentences[-1] == len(store.ids)
        and store.documents[-1] == len(store.sentences) - 1 == len(store.held_out)
        and len(store.counts) == store.tokenizer.size
    )
    if not whole:
        raise ArtefactError("the store's files do not fit one another", file=store.path)


def unigram_entropy(counts: Ints) -> float:
    """Entropy in nats of the distribution that `counts` [V] describe: the loss of predicting each token by frequency
    alone, the line that a model has to beat."""
    positive = np.asarray(counts, dtype=np.float64)
    positive = positive[positive > 0]
    if not len(positive):
        return 0.0
    shares = positive / positive.sum()
    return float(-(shares * np.log(shares)).sum())


def default_cache() -> Path:
    """Where stores are kept: $FORETEXT_CACHE, else ~/.cache/foretext."""
    return Path(os.environ.get("FORETEXT_CACHE") or Path.home() / ".cache" / "foretext")
