"""The arithmetic of GloVe's training, compiled by Numba; importing this module compiles nothing.

R words by frequency · D width · P width padded to whole vectors. A table [R,2,P] keeps a word's vector and its AdaGrad sums
of squares side by side (one stretch of memory a word), a bias table [R,2] likewise; padding is 0.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from foretext.kernels import below, jit, mixed
from foretext.types import Bits

Table = NDArray[np.floating[Any]]
LANE = 16
"""A row is a whole number of so many floats, so that vector loops have no remainder."""
_AHEAD = 3
"""Entries between asking the memory for rows and using them."""
_LINE = 16
"""Floats of a cache line."""
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _prefetch(typing: Any, table: Any, row: Any, place: Any) -> Any:
    """Ask for the cache line of element `place` (4-byte numbers from the row's start) of `table[row]`, to be written."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        array = context.make_array(kind)(context, builder, arguments[0])
        stride = builder.extract_value(array.strides, 0)
        offset = builder.add(builder.mul(arguments[1], stride), builder.mul(arguments[2], ir.Constant(arguments[2].type, 4)))
        byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        pointer = builder.gep(builder.bitcast(array.data, byte), [offset])
        form = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        insert: Any = cgutils.get_or_insert_function
        prefetch = insert(builder.module, form, "llvm.prefetch.p0")
        builder.call(prefetch, [pointer, number(1), number(3), number(1)])
        return context.get_dummy_value()

    return types.none(table, types.int64, types.int64), generate


_touch: Any = intrinsic(_prefetch)


@jit
def weighed(count: Any, x_max: float, alpha: float) -> Any:
    """(log x, f(x)) of a co-occurrence count (2014, eq. 9)."""
    log = math.log(count)
    return log, 1.0 if count >= x_max else math.exp(alpha * (log - math.log(x_max)))


@jit
def unpack(places: Any, counts: Any, start: int, stop: int, stride: int, row: int, column: int, mirrored: bool, x_max: float,
           alpha: float, state: NDArray[np.uint64], rows: Any, columns: Any, logs: Table, weights: Table) -> int:
    """Lay every `stride`-th of the entries [start, stop) of a tile into `rows`, `columns`, `logs` = log X and `weights` = f(X) in random order;
    answers how many. `row`, `column`: the tile's first words; `mirrored`: with the roles exchanged, which the diagonal,
    being its own mirror image, is left out of. (The inside-out shuffle of Fisher and Yates.)"""
    n = 0
    for k in range(start, stop, stride):
        i = row + np.int64(places[k] >> np.uint32(16))
        j = column + np.int64(places[k] & np.uint32(0xFFFF))
        if mirrored:
            if i == j:
                continue
            i, j = j, i
        at = below(state, n + 1)
        rows[n], columns[n], logs[n], weights[n] = rows[at], columns[at], logs[at], weights[at]
        rows[at], columns[at] = i, j
        logs[at], weights[at] = weighed(counts[k], x_max, alpha)
        n += 1
    return n


@jit
def train_entries(words: Table, contexts: Table, word_biases: Table, context_biases: Table, rows: Any, columns: Any,
                  logs: Table, weights: Table, n: int, rate: Any, clip: Any, still: Bits) -> Any:
    """One AdaGrad update an entry, in order: answers (Σ ½·f·diff² before each update, entries, all finite).

    The gradient of an entry's loss by w_i is f·diff·w̃_j, and so on; it is clipped to ±`clip` and multiplied by `rate`,
    a parameter moves by that over the root of its sum of squares, and the square is added afterwards, as in `glove.c`.
    A difference that is not finite stops before it is applied. Of words that `still` [R] marks ([0]: none) the biases move
    alone: their vectors are given a rate of 0, which leaves the inner loop as it is."""
    width, loss, none = words.shape[2], 0.0, rate - rate
    for k in range(n):
        if k + _AHEAD < n:
            ahead, other = np.int64(rows[k + _AHEAD]), np.int64(columns[k + _AHEAD])
            for place in range(0, 2 * width, _LINE):
                _touch(words, ahead, np.int64(place))
                _touch(contexts, other, np.int64(place))
        i, j = rows[k], columns[k]
        word, word_sums, context, context_sums = words[i, 0], words[i, 1], contexts[j, 0], contexts[j, 1]
        score = word_biases[i, 0] + context_biases[j, 0]
        for d in range(width):
            score += word[d] * context[d]
        difference = score - logs[k]
        pull = weights[k] * difference
        if not math.isfinite(pull):
            return loss, k, False
        loss += 0.5 * pull * difference
        rate_up = none if still.shape[0] > 0 and still[i] else rate
        rate_down = none if still.shape[0] > 0 and still[j] else rate
        for d in range(width):
            up = min(max(pull * context[d], -clip), clip) * rate_up
            down = min(max(pull * word[d], -clip), clip) * rate_down
            word[d] -= up / np.sqrt(word_sums[d])
            context[d] -= down / np.sqrt(context_sums[d])
            word_sums[d] += up * up
            context_sums[d] += down * down
        both = min(max(pull, -clip), clip) * rate
        word_biases[i, 0] -= both / np.sqrt(word_biases[i, 1])
        context_biases[j, 0] -= both / np.sqrt(context_biases[j, 1])
        word_biases[i, 1] += both * both
        context_biases[j, 1] += both * both
    return loss, n, True


@jit
def train_tiles(words: Table, contexts: Table, word_biases: Table, context_biases: Table, places: Any, counts: Any,
                offsets: Any, tiles: Any, stride: int, part: int, across: int, side: int, mirrored: bool, x_max: float, alpha: float, rate: Any,
                clip: Any, seed: Any, rows: Any, columns: Any, logs: Table, weights: Table, still: Bits) -> Any:
    """Train on `tiles` [t] in order, of each the entries `part`, `part` + `stride`, …, in an order that `seed`, tile, part and
    side alone decide.

    Tile n holds entries [offsets[n], offsets[n+1]) of `places`, `counts`, and stands in row n // `across`. `rows`,
    `columns`, `logs`, `weights`: working memory for the entries of one tile's part. Answers as `train_entries`."""
    state = np.empty(1, np.uint64)
    loss, entries = 0.0, 0
    for t in range(tiles.shape[0]):
        tile = np.int64(tiles[t])
        state[0] = mixed(seed + np.uint64(2 * tile + mirrored) * _GOLDEN) + np.uint64(part)
        n = unpack(places, counts, offsets[tile] + part, offsets[tile + 1], stride, tile // across * side, tile % across * side, mirrored,
                   x_max, alpha, state, rows, columns, logs, weights)
        added, done, finite = train_entries(
            words, contexts, word_biases, context_biases, rows, columns, logs, weights, n, rate, clip, still
        )
        loss += added
        entries += done
        if not finite:
            return loss, entries, False
    return loss, entries, True


@jit
def entry_losses(words: Table, contexts: Table, word_biases: Table, context_biases: Table, rows: Any, columns: Any,
                 counts: Any, x_max: float, alpha: float) -> float:
    """Σ ½·f·diff² over entries, nothing changed (float64)."""
    loss = 0.0
    for k in range(rows.shape[0]):
        i, j = rows[k], columns[k]
        log, weight = weighed(counts[k], x_max, alpha)
        score = np.float64(word_biases[i, 0]) + np.float64(context_biases[j, 0])
        for d in range(words.shape[2]):
            score += np.float64(words[i, 0, d]) * np.float64(contexts[j, 0, d])
        loss += 0.5 * weight * (score - log) ** 2
    return loss
