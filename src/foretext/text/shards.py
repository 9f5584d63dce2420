"""Work over a corpus in shards: in this process, or in several that are started afresh (never forked).

A shard's result depends on the corpus and the shard alone, and the number of shards on the corpus alone, so one worker
and eight give the same bytes.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from foretext.errors import ResourceError
from foretext.types import Corpus, Sentence

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (shards done, shards in all)."""
SMALL = 20 << 20
"""Bytes of corpus below which one process is faster than starting others."""
_LARGE = 1 << 30


def shard_count(corpus: Corpus) -> int:
    """1 for a small corpus or one of unknown size, 8 from 20 MiB, 16 from 1 GiB. Few, because a shard in the middle of
    a large file is found by reading up to it."""
    size = corpus_size(corpus)
    return 1 if size < SMALL else 8 if size < _LARGE else 16


def corpus_size(corpus: Corpus) -> int:
    """Bytes as stored, where the corpus knows them; else 0."""
    return int(getattr(corpus, "size", 0))


def require_unchanged(corpus: Corpus) -> None:
    """DataError where files of the corpus are no longer what its key speaks of; what was made of them is then no
    result. Corpora of other kinds do not change."""
    check = getattr(corpus, "require_unchanged", None)
    if check is not None:
        check()


def worker_count(corpus: Corpus, workers: int | None) -> int:
    """`workers` as asked for (0 = this process); None: one a core for a corpus of 20 MiB or more, else this process."""
    if workers is not None:
        return workers
    if multiprocessing.current_process().daemon:
        return 0  # it may not have children
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return 0 if corpus_size(corpus) < SMALL or cores < 2 else cores


def joined(sentences: Iterator[Sentence]) -> Iterator[tuple[str, Sentence]]:
    """Each sentence with the white space before it instead of the white space after it, so that byte-level pieces
    ("Ġ…") come out as if the document had never been split: a document's strings concatenate to its paragraphs joined
    by line ends."""
    last: Sentence | None = None
    carried = ""
    for sentence in sentences:
        if last is not None:
            same = sentence.document == last.document
            body = last.string.rstrip() if same else last.string
            yield carried + body, last
            carried = last.string[len(body) :] if same else ""
            if same and sentence.paragraph != last.paragraph:
                carried += "\n"
        last = sentence
    if last is not None:
        yield carried + last.string, last


def each_shard(
    work: Callable[..., Result],
    corpus: Corpus,
    of: int,
    *arguments: Any,
    workers: int = 0,
    progress: Progress | None = None,
) -> Iterator[Result]:
    """Yield `work(corpus, shard, of, *arguments)` for shards 0…of−1 in order. `work` is a module-level function.

    With `workers` > 1 it runs in that many processes. Errors are those of `work`; a killed worker is a ResourceError.
    """
    if workers < 2 or of == 1:
        for shard in range(of):
            yield work(corpus, shard, of, *arguments)
            if progress:
                progress(shard + 1, of)
        return
    next(corpus.sentences(0, of), None)  # what finding shards needs is worked out here, once, and sent along
    try:
        yield from _in_processes(work, corpus, of, arguments, min(workers, of), progress)
    except BrokenProcessPool as error:
        raise ResourceError(
            "a worker process died: for want of memory, or because it could not import what the corpus is made of",
            remedy="use fewer workers, or 0 to stay in this process",
        ) from error


def _in_processes(
    work: Callable[..., Result],
    corpus: Corpus,
    of: int,
    arguments: tuple[Any, ...],
    workers: int,
    progress: Progress | None,
) -> Iterator[Result]:
    others = set(multiprocessing.active_children())
    # Ctrl-C reaches every process of the terminal: this one answers for all of them.
    pool = ProcessPoolExecutor(
        workers,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    finished = False
    try:
        with _no_main():
            futures = [pool.submit(work, corpus, shard, of, *arguments) for shard in range(of)]
        waiting: set[Future[Result]] = set(futures)
        for shard in range(of):
            while not futures[shard].done():
                _, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                if progress:
                    progress(of - len(waiting), of)
            yield futures[shard].result()
            futures[shard] = Future()  # a result may be large: let it go once it is used
        finished = True
    finally:
        if not finished:
            for process in set(multiprocessing.active_children()) - others:
                process.terminate()
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _no_main() -> Iterator[None]:
    """Started processes would import the user's own script again, and run it unless it is guarded: hide it."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
