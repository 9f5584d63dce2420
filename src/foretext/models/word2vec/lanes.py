"""Sixteen scores at once: their σ and the steps that follow from it, a pair a lane; the companion of `tiles`.

In a row of scores all pairs share the word that is told; lane i is the block's centre i.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types

from foretext.models.word2vec.registers import (
    INDEX,
    INT32,
    LANE_NUMBERS,
    LANES,
    emitted,
    load,
    masked,
    operand,
    plus_product,
    spread,
    store,
)

LIMIT = 10.0
"""Scores beyond ±LIMIT count as that."""
_ABOVE = tuple(c / 34459425.0 for c in (34459425.0, 4729725.0, 135135.0, 990.0, 1.0))
_BELOW = tuple(c / 34459425.0 for c in (34459425.0, 16216200.0, 945945.0, 13860.0, 45.0))
"""tanh t = t·N(t²)/M(t²): Lambert's continued fraction cut after its ninth quotient; |error of σ| < 3e-7 on ±LIMIT."""


def _every(kind: Any, value: float) -> Any:
    return ir.Constant(kind, [value] * kind.count)


def _bounded(builder: Any, relation: str, value: Any, bound: Any) -> Any:
    return builder.select(builder.fcmp_ordered(relation, value, bound), value, bound)


def _odds(builder: Any, score: Any) -> Any:
    """σ of a vector, its scores clamped to ±LIMIT."""

    def polynomial(u: Any, factors: Sequence[float]) -> Any:
        value = _every(score.type, factors[-1])
        for factor in factors[-2::-1]:
            value = plus_product(builder, u, value, _every(score.type, factor))
        return value

    half = _every(score.type, 0.5)
    inside = _bounded(builder, ">", score, _every(score.type, -LIMIT))
    t = builder.fmul(half, _bounded(builder, "<", inside, _every(score.type, LIMIT)))
    u = builder.fmul(t, t)
    ratio = builder.fdiv(polynomial(u, _ABOVE), polynomial(u, _BELOW))
    return plus_product(builder, builder.fmul(half, t), ratio, half)


def _lost(builder: Any, signed: Any) -> Any:
    """What clamping takes away from −log σ(−signed): max(0, signed − LIMIT); NaN where a score is not finite."""
    zero = _every(signed.type, 0.0)
    over = _bounded(builder, ">", builder.fsub(signed, _every(signed.type, LIMIT)), zero)
    return builder.fadd(over, builder.fmul(signed, zero))


class _Line:
    """A 1-D array inside the generated code, read and written sixteen entries at a time."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Any, which: int) -> None:
        self.builder, kind = builder, signature.args[which]
        entry = INT32 if kind.dtype == types.int32 else ir.FloatType()
        self.vector = ir.VectorType(entry, LANES)
        self.data = builder.bitcast(context.make_array(kind)(context, builder, args[which]).data, entry.as_pointer())

    def load(self, start: Any = None) -> Any:
        return load(self.builder, self.builder.gep(self.data, [start]) if start is not None else self.data, self.vector)

    def store(self, vector: Any) -> None:
        store(self.builder, vector, self.data)


def _bits(builder: Any, lanes: Any) -> Any:
    """Truths of sixteen lanes as the bits of a number."""
    return builder.zext(builder.bitcast(lanes, ir.IntType(LANES)), INDEX)


def _windows(builder: Any, place: Any, low: Any, high: Any, itself: Any) -> Any:
    """The lanes i with low[i] ≤ place < high[i] and i ≠ itself."""
    place, itself = (spread(builder, builder.trunc(number, INT32)) for number in (place, itself))
    inside = builder.and_(builder.icmp_signed("<=", low.load(), place), builder.icmp_signed("<", place, high.load()))
    return builder.and_(inside, builder.icmp_signed("!=", LANE_NUMBERS, itself))


@emitted
def pull(typing: Any, scores: Any, row: Any, place: Any, low: Any, high: Any, itself: Any, rate: Any, odds: Any,
         lost: Any) -> Any:
    """pull(scores, row, place, low, high, itself, rate, odds, lost): the scores of the word at `place` become the steps
    rate·(1 − σ) of the centres i whose window has it, low[i] ≤ place < high[i] and i ≠ itself, and 0 elsewhere. Their
    `odds` [16] are multiplied by σ, and `lost` [16] grows by max(0, −s − LIMIT), NaN where a score is not finite.
    Answers the pairs as bits."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = operand(context, builder, signature, args, 0).place(args[1], ir.Constant(INDEX, 0))
        low, high, odds, lost = (_Line(context, builder, signature, args, n) for n in (3, 4, 7, 8))
        score = load(builder, at)
        zero, one = _every(score.type, 0.0), _every(score.type, 1.0)
        pairs = _windows(builder, args[2], low, high, args[5])
        found = _odds(builder, score)
        step = builder.fmul(spread(builder, args[6]), builder.fsub(one, found))
        store(builder, builder.select(pairs, step, zero), at)
        odds.store(builder.fmul(odds.load(), builder.select(pairs, found, one)))
        hidden = builder.select(pairs, _lost(builder, builder.fsub(zero, score)), zero)
        lost.store(builder.fadd(lost.load(), hidden))
        return _bits(builder, pairs)

    return types.int64(scores, types.int64, types.int64, low, high, types.int64, types.float32, odds, lost), made


@emitted
def push(typing: Any, scores: Any, row: Any, factors: Any, odds: Any, lost: Any) -> Any:
    """push(scores, row, factors, odds, lost): the scores of a negative become the steps factors[i]·σ; `odds` [16] are
    multiplied by 1 − σ, and `lost` [16] grows by max(0, s − LIMIT), NaN where a score is not finite."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = operand(context, builder, signature, args, 0).place(args[1], ir.Constant(INDEX, 0))
        factors, odds, lost = (_Line(context, builder, signature, args, n) for n in (2, 3, 4))
        score = load(builder, at)
        found = _odds(builder, score)
        store(builder, builder.fmul(factors.load(), found), at)
        odds.store(builder.fmul(odds.load(), builder.fsub(_every(score.type, 1.0), found)))
        lost.store(builder.fadd(lost.load(), _lost(builder, score)))
        return context.get_dummy_value()

    return types.void(scores, types.int64, factors, odds, lost), made


@emitted
def decide(typing: Any, scores: Any, row: Any, column: Any, codes: Any, start: Any, count: Any, rate: Any, odds: Any,
           lost: Any) -> Any:
    """decide(scores, row, column, codes, start, count, rate, odds, lost): the scores s from [row, column] on of one vector
    at `count` nodes, of which the first sixteen are decided, become steps rate·(1 − code − σ(s)), 0 beyond them; codes
    (0 or 1) from `start` on. `odds` [16] are multiplied by the probability of each code, and `lost` [16] grows by what
    clamping takes from −log of it. Answers as bits which of the scores are not finite."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = operand(context, builder, signature, args, 0).place(args[1], args[2])
        codes, odds, lost = (_Line(context, builder, signature, args, n) for n in (3, 7, 8))
        inside = builder.icmp_signed("<", LANE_NUMBERS, spread(builder, builder.trunc(args[5], INT32)))
        score = load(builder, at)
        zero, one = _every(score.type, 0.0), _every(score.type, 1.0)
        code = masked(builder, "load", builder.gep(codes.data, [args[4]]), inside)
        flip = plus_product(builder, _every(score.type, -2.0), code, one)
        signed = builder.fmul(score, flip)
        found = _odds(builder, signed)
        step = builder.fmul(builder.fmul(spread(builder, args[6]), flip), builder.fsub(one, found))
        store(builder, builder.select(inside, step, zero), at)
        odds.store(builder.fmul(odds.load(), builder.select(inside, found, one)))
        hidden = builder.select(inside, _lost(builder, builder.fsub(zero, signed)), zero)
        lost.store(builder.fadd(lost.load(), hidden))
        return _bits(builder, builder.fcmp_unordered("uno", hidden, hidden))

    return types.int64(scores, types.int64, types.int64, codes, types.int64, types.int64, types.float32, odds, lost), made


@emitted
def within(typing: Any, has: Any, row: Any, place: Any, low: Any, high: Any, itself: Any) -> Any:
    """within(has, row, place, low, high, itself): has[row, i] becomes 1 for the centres i whose window has the word at
    `place`, low[i] ≤ place < high[i] and i ≠ itself, and 0 elsewhere. Answers them as bits."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = operand(context, builder, signature, args, 0).place(args[1], ir.Constant(INDEX, 0))
        low, high = (_Line(context, builder, signature, args, n) for n in (3, 4))
        pairs = _windows(builder, args[2], low, high, args[5])
        kind = ir.VectorType(ir.FloatType(), LANES)
        store(builder, builder.select(pairs, _every(kind, 1.0), _every(kind, 0.0)), at)
        return _bits(builder, pairs)

    return types.int64(has, types.int64, types.int64, low, high, types.int64), made


@emitted
def equal(typing: Any, words: Any, start: Any, word: Any) -> Any:
    """equal(words, start, word): which of the sixteen entries from `start` on are `word`, as bits."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        found = _Line(context, builder, signature, args, 0).load(args[1])
        return _bits(builder, builder.icmp_signed("==", found, spread(builder, builder.trunc(args[2], INT32))))

    return types.int64(words, types.int64, types.int64), made


@emitted
def span(typing: Any, bits: Any) -> Any:
    """span(bits): the number of the lowest bit that is set, and one more than that of the highest; bits > 0."""
    kind = types.UniTuple(types.int64, 2)  # type: ignore[no-untyped-call]

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sure = ir.Constant(ir.IntType(1), 1)
        above = builder.ctlz(args[0], sure)
        return context.make_tuple(builder, kind, (builder.cttz(args[0], sure), builder.sub(ir.Constant(INDEX, 64), above)))

    return kind(types.int64), made
