"""Distinct words of a corpus and how often each occurs, in one pass and bounded memory."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

import numpy as np

from foretext.text.lines import Block, line_blocks
from foretext.text.shards import Progress, each_shard, joined, shard_count, worker_count
from foretext.text.tokenizers.config import TokenizerConfig
from foretext.text.tokenizers.splitting import Splitter
from foretext.types import Corpus, Ints

_SENTENCES = 256


def count_words(
    config: TokenizerConfig, corpus: Corpus, *, workers: int | None = None, progress: Progress | None = None
) -> dict[str, int]:
    """Folded words → counts, most frequent first and equal counts in code point order.

    Raw chunks are counted, which costs a regular expression and a dictionary, and only distinct ones are cut into words
    and folded. Where more than `config.most_words` are distinct the rarest are forgotten; the result is the same for
    any number of workers. Text that is cut into lines and words already is counted as bytes (see `numbering`).
    """
    chunks: Counter[str] = Counter()
    processes = worker_count(corpus, workers)
    blocks = line_blocks(corpus, progress) if config.kind == "spaces" else None
    if blocks is not None:
        parts = count_lines(blocks, processes)
    else:
        parts = each_shard(count_chunks, corpus, shard_count(corpus), config, workers=processes, progress=progress)
    for counted in parts:
        chunks.update(counted)
        prune(chunks, config.most_words)
    splitter = Splitter(config)
    words: dict[str, int] = {}
    for chunk, count in chunks.items():
        for string in (chunk,) if splitter.as_it_is(chunk) else splitter.strings(chunk):
            words[string] = words.get(string, 0) + count
    ranked = sorted(words)
    ranked.sort(key=words.__getitem__, reverse=True)  # equal counts stay in order
    return {word: words[word] for word in ranked}


def count_lines(blocks: Iterator[Block], threads: int) -> Iterator[Mapping[str, int]]:
    """The words of the blocks, as many blocks together as share a lexicon."""
    from foretext.text.numbering import number_blocks  # Numba takes half a second, which few tokenizers need

    for lexicon, together in groupby(number_blocks(blocks, threads), key=attrgetter("lexicon")):
        counts: Ints = np.empty(0, np.int64)
        for found in together:
            more = found.counts
            more[: len(counts)] += counts
            counts = more
        yield dict(zip(lexicon.words, counts.tolist(), strict=True))


def count_chunks(corpus: Corpus, shard: int, of: int, config: TokenizerConfig) -> Mapping[str, int]:
    """The chunks of one shard, pruned."""
    splitter = Splitter(config)
    counted: Counter[str] = Counter()
    found: list[str] = []
    for number, (string, _) in enumerate(joined(corpus.sentences(shard, of)), start=1):
        found += splitter.chunks(string)
        if number % _SENTENCES == 0:
            counted.update(found)
            found.clear()
            prune(counted, config.most_words)
    counted.update(found)
    prune(counted, config.most_words)
    return counted


def prune(counted: Counter[Any], most: int) -> None:
    """Once `counted` has more than `most` entries, forget all of the lowest counts until three quarters of that are
    left: whole counts at a time, so that entries seen equally often share their fate. Where that would leave none, equal
    counts are kept in code point order."""
    if len(counted) <= most:
        return
    keep = max(1, 3 * most // 4)
    counts = np.fromiter(counted.values(), dtype=np.int64, count=len(counted))
    floor = int(np.partition(counts, len(counts) - keep - 1)[len(counts) - keep - 1])
    if int(counts.max()) > floor:
        gone = [word for word, count in counted.items() if count <= floor]
    else:
        gone = sorted(counted, key=lambda word: (-counted[word], word))[keep:]
    for word in gone:
        del counted[word]
