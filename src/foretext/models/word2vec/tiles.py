"""Small products in explicit vector registers: what the compiler does not find in a loop by itself.

Left to itself, LLVM takes half-width registers on processors with AVX-512, adds up each dot product on its own, and
reads and writes the sums again for every few terms. Here the sums of a tile stay in registers until it is done, and
sixteen dot products are added up together. Each function below is a Numba intrinsic, a few lines of LLVM code written
out for every call; where registers are narrower, LLVM splits the vectors.

Rows are float32 in C order, and as long as a multiple of `LANES`, padded with zeros where need be. Nothing is checked.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 16
"""Floats of one vector."""
LIMIT = 10.0
"""Scores beyond ±LIMIT count as that."""
_ABOVE = tuple(c / 34459425.0 for c in (34459425.0, 4729725.0, 135135.0, 990.0, 1.0))
_BELOW = tuple(c / 34459425.0 for c in (34459425.0, 16216200.0, 945945.0, 13860.0, 45.0))
"""tanh t = t·N(t²)/M(t²): Lambert's continued fraction cut after its ninth quotient; |error of σ| < 3e-7 on ±LIMIT."""
emitted: Callable[[Any], Any] = intrinsic
"""Numba calls the function for its types alone; calls of it look as its docstring says."""
_FLOAT = ir.FloatType()
_HALF_VECTOR = ir.VectorType(_FLOAT, 8)
_VECTOR = ir.VectorType(_FLOAT, LANES)
_INDEX = ir.IntType(64)
_INT32 = ir.IntType(32)


def padded(width: int) -> int:
    """`width` rounded up to whole vectors."""
    return -(-width // LANES) * LANES


def rows(*shape: int) -> NDArray[np.float32]:
    """Zeros that begin where a cache line does: a vector that lies in two lines takes two reads."""
    size = int(np.prod(shape))
    raw = np.zeros(size + LANES, np.float32)
    start = -raw.ctypes.data % 64 // 4
    return raw[start : start + size].reshape(shape)


class _Rows:
    """A 2-D array inside the generated code."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        array = context.make_array(kind)(context, builder, value)
        self.width = builder.extract_value(array.shape, 1)
        self.data = builder.bitcast(array.data, _FLOAT.as_pointer())

    def place(self, row: Any, column: Any) -> Any:
        """The address of [row, column]."""
        return self.builder.gep(self.data, [self.builder.add(self.builder.mul(row, self.width), column)])


def _number(value: int) -> Any:
    return ir.Constant(_INDEX, value)


def _plus(builder: Any, value: Any, more: int) -> Any:
    return builder.add(value, _number(more)) if more else value


def _load(builder: Any, address: Any, kind: Any = _VECTOR) -> Any:
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=4)


def _store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, builder.bitcast(address, vector.type.as_pointer()), align=4)


def _plus_product(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """total + a·b, in one instruction where the processor has one."""
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def _mask(places: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(_INT32, len(places)), list(places))


def _spread(builder: Any, address: Any) -> Any:
    """One float in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, builder.load(address, align=4), ir.Constant(_INT32, 0))
    return builder.shuffle_vector(first, undefined, _mask([0] * LANES))


def _totals(builder: Any, sums: list[Any]) -> Any:
    """The totals of 4 or 16 vectors, in order, in the lanes of one vector of so many.

    Each step adds two vectors crosswise and so halves their number: half the shuffles of one vector after the other."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    # Within quarters of a vector: pairs of lanes, then pairs of pairs; each quarter ends as a part of four totals.
    for low, high in (((0, 2), (1, 3)), ((0, 2), (1, 3))):
        evens = [4 * quarter + at + half for quarter in range(4) for half in (0, LANES) for at in low]
        odds = [4 * quarter + at + half for quarter in range(4) for half in (0, LANES) for at in high]
        sums = [
            builder.fadd(builder.shuffle_vector(a, b, _mask(evens)), builder.shuffle_vector(a, b, _mask(odds)))
            for a, b in zip(sums[::2], sums[1::2], strict=True)
        ]
    if len(sums) == 1:
        quarters = [builder.shuffle_vector(sums[0], undefined, _mask([4 * q + at for at in range(4)])) for q in range(4)]
        return builder.fadd(builder.fadd(quarters[0], quarters[1]), builder.fadd(quarters[2], quarters[3]))
    # Then whole quarters, which is what moves between the halves of a register.
    for _ in range(2):
        evens = [4 * quarter + half + at for half in (0, LANES) for quarter in (0, 2) for at in range(4)]
        odds = [4 * quarter + half + at for half in (0, LANES) for quarter in (1, 3) for at in range(4)]
        sums = [
            builder.fadd(builder.shuffle_vector(a, b, _mask(evens)), builder.shuffle_vector(a, b, _mask(odds)))
            for a, b in zip(sums[::2], sums[1::2], strict=True)
        ]
    return sums[0]


def _loop(builder: Any, start: Any, stop: Any, step: int, sums: int, body: Callable[[Any, list[Any]], list[Any]],
          first: Sequence[Any] | None = None) -> list[Any]:
    """`for at in range(start, stop, step): values = body(at, values)`, the vectors held in registers."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    at = builder.phi(_INDEX)
    at.add_incoming(start, before)
    held = [builder.phi(_VECTOR) for _ in range(sums)]
    for number, phi in enumerate(held):
        phi.add_incoming(first[number] if first else ir.Constant(_VECTOR, [0.0] * LANES), before)
    builder.cbranch(builder.icmp_signed("<", at, stop), inside, after)
    builder.position_at_end(inside)
    changed = body(at, held)
    end = builder.block
    at.add_incoming(builder.add(at, _number(step)), end)
    for phi, value in zip(held, changed, strict=True):
        phi.add_incoming(value, end)
    builder.branch(head)
    builder.position_at_end(after)
    return held


def _dots(high: int) -> Callable[..., Any]:
    """Dot products of `high` rows with four."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y, out = (_Rows(context, builder, signature.args[n], args[n]) for n in (0, 2, 4))
        lefts = [x.place(_plus(builder, args[1], a), _number(0)) for a in range(high)]
        rights = [y.place(_plus(builder, args[3], b), _number(0)) for b in range(4)]

        def body(at: Any, sums: list[Any]) -> list[Any]:
            left = [_load(builder, builder.gep(row, [at])) for row in lefts]
            right = [_load(builder, builder.gep(row, [at])) for row in rights]
            return [_plus_product(builder, left[n // 4], right[n % 4], total) for n, total in enumerate(sums)]

        totals = _totals(builder, _loop(builder, _number(0), x.width, LANES, 4 * high, body))
        for a in range(high):
            four = totals if high == 1 else builder.shuffle_vector(totals, totals, _mask(range(4 * a, 4 * a + 4)))
            _store(builder, four, out.place(_plus(builder, args[1], a), args[5]))
        return context.get_dummy_value()

    return made


@emitted
def dots(typing: Any, x: Any, i: Any, y: Any, k: Any, out: Any, column: Any) -> Any:
    """dots(x, i, y, k, out, column): out[i+a, column+b] = x[i+a] · y[k+b] for a, b < 4."""
    return types.void(x, types.int64, y, types.int64, out, types.int64), _dots(4)


@emitted
def dots1(typing: Any, x: Any, i: Any, y: Any, k: Any, out: Any, column: Any) -> Any:
    """dots1(x, i, y, k, out, column): out[i, column+b] = x[i] · y[k+b] for b < 4."""
    return types.void(x, types.int64, y, types.int64, out, types.int64), _dots(1)


def _sum_of_rows(high: int, across: bool, wide: Sequence[int], fresh: bool = False) -> Callable[..., Any]:
    """out[r+a] (`fresh`: = , else +=) Σ_t w[·]·y[k+t] for a < `high` and t < `count`, in column groups of `wide` vectors each, widest
    first. The weight of row a, term t: w[i+t, c+a] where `across`, else w[i+a, c+t]."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, y, w = (_Rows(context, builder, signature.args[n], args[n]) for n in (0, 2, 4))
        row, k, i, c, count = args[1], args[3], args[5], args[6], args[7]

        def group(at: Any, vectors: int) -> None:
            def body(t: Any, sums: list[Any]) -> list[Any]:
                source = y.place(builder.add(k, t), at)
                terms = [_load(builder, builder.gep(source, [_number(LANES * v)])) for v in range(vectors)]
                if across:
                    line = w.place(builder.add(i, t), c)
                    weights = [_spread(builder, builder.gep(line, [_number(a)])) for a in range(high)]
                else:
                    weights = [_spread(builder, w.place(_plus(builder, i, a), builder.add(c, t))) for a in range(high)]
                return [_plus_product(builder, weights[n // vectors], terms[n % vectors], total) for n, total in enumerate(sums)]

            targets = [
                builder.gep(out.place(_plus(builder, row, a), at), [_number(LANES * v)])
                for a in range(high)
                for v in range(vectors)
            ]
            first = None if fresh else [_load(builder, target) for target in targets]
            for total, target in zip(_loop(builder, _number(0), count, 1, len(targets), body, first), targets, strict=True):
                _store(builder, total, target)

        start = _number(0)
        for vectors in wide:
            stop = builder.sub(out.width, _number(LANES * vectors - 1))

            def each(at: Any, _: list[Any], vectors: int = vectors) -> list[Any]:
                group(at, vectors)
                return []

            _loop(builder, start, stop, LANES * vectors, 0, each)
            done = builder.sdiv(builder.sub(out.width, start), _number(LANES * vectors))
            start = builder.add(start, builder.mul(done, _number(LANES * vectors)))
        return context.get_dummy_value()

    return made


def _signature(out: Any, y: Any, w: Any) -> Any:
    return types.void(out, types.int64, y, types.int64, w, types.int64, types.int64, types.int64)


@emitted
def add_rows(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows(out, row, y, k, w, i, c, count): out[row] += Σ_t w[i, c+t]·y[k+t], t < count."""
    return _signature(out, y, w), _sum_of_rows(1, False, (8, 4, 2, 1))


@emitted
def add_rows8(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows8(out, row, y, k, w, i, c, count): out[row+a] += Σ_t w[i+a, c+t]·y[k+t], a < 8, t < count."""
    return _signature(out, y, w), _sum_of_rows(8, False, (2, 1))


@emitted
def add_rows8_across(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows8_across(out, row, y, k, w, i, c, count): out[row+a] += Σ_t w[i+t, c+a]·y[k+t], a < 8, t < count."""
    return _signature(out, y, w), _sum_of_rows(8, True, (2, 1))


@emitted
def set_row(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """set_row(out, row, y, k, w, i, c, count): out[row] = Σ_t w[i, c+t]·y[k+t], t < count."""
    return _signature(out, y, w), _sum_of_rows(1, False, (8, 4, 2, 1), fresh=True)


@emitted
def set_rows8_across(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """set_rows8_across(out, row, y, k, w, i, c, count): out[row+a] = Σ_t w[i+t, c+a]·y[k+t], a < 8, t < count."""
    return _signature(out, y, w), _sum_of_rows(8, True, (2, 1), fresh=True)


@emitted
def transpose8(typing: Any, x: Any, i: Any, k: Any, out: Any) -> Any:
    """transpose8(x, i, k, out): out[k+b, i+a] = x[i+a, k+b] for a, b < 8."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (_Rows(context, builder, signature.args[n], args[n]) for n in (0, 3))
        lines = [_load(builder, source.place(_plus(builder, args[1], a), args[2]), _HALF_VECTOR) for a in range(8)]
        for half in (4, 2, 1):  # blocks of so many lanes change places
            for a in (a for a in range(8) if not a & half):
                low = [at if not at & half else 8 + at - half for at in range(8)]
                high = [at + half if not at & half else 8 + at for at in range(8)]
                pair = lines[a], lines[a + half]
                lines[a], lines[a + half] = (builder.shuffle_vector(*pair, _mask(places)) for places in (low, high))
        for b, line in enumerate(lines):
            _store(builder, line, target.place(_plus(builder, args[2], b), args[1]))
        return context.get_dummy_value()

    return types.void(x, types.int64, types.int64, out), made


@emitted
def product(typing: Any, scores: Any, row: Any, column: Any, complement: Any) -> Any:
    """product(scores, row, column, complement): the product of eight numbers x from [row, column] on, or of 1 − x."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _Rows(context, builder, signature.args[0], args[0]).place(args[1], args[2])
        found = _load(builder, place, _HALF_VECTOR)
        rest = builder.fsub(ir.Constant(_HALF_VECTOR, [1.0] * 8), found)
        found = builder.select(args[3], rest, found)
        for half in (4, 2, 1):
            moved = builder.shuffle_vector(found, found, _mask([(at + half) % 8 for at in range(8)]))
            found = builder.fmul(found, moved)
        return builder.extract_element(found, ir.Constant(_INT32, 0))

    return types.float32(scores, types.int64, types.int64, types.boolean), made


@emitted
def prefetch(typing: Any, table: Any, row: Any) -> Any:
    """prefetch(table, row): ask for a row that will be changed soon, and go on."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        rows = _Rows(context, builder, signature.args[0], args[0])
        byte = ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, _INT32, _INT32, _INT32])
        ask = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        start = rows.place(args[1], _number(0))
        # To write, to keep in every cache, as data.
        numbers = [ir.Constant(_INT32, value) for value in (1, 3, 1)]

        def line(at: Any, _: list[Any]) -> list[Any]:
            builder.call(ask, [builder.bitcast(builder.gep(start, [at]), byte), *numbers])
            return []

        _loop(builder, _number(0), rows.width, LANES, 0, line)
        line(builder.sub(rows.width, _number(1)), [])
        return context.get_dummy_value()

    return types.void(table, types.int64), made


@emitted
def squash(typing: Any, scores: Any, row: Any, column: Any, sign: Any) -> Any:
    """squash(scores, row, column, sign): eight scores s from [row, column] on become σ(s), s clamped to ±LIMIT; answers
    Σ max(0, sign·s − LIMIT) as float32, or NaN where a score is not finite."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _Rows(context, builder, signature.args[0], args[0]).place(args[1], args[2])
        score = _load(builder, place, _HALF_VECTOR)

        def every(value: float) -> Any:
            return ir.Constant(_HALF_VECTOR, [value] * 8)

        def bounded(relation: str, value: Any, bound: Any) -> Any:
            return builder.select(builder.fcmp_ordered(relation, value, bound), value, bound)

        def polynomial(u: Any, factors: Sequence[float]) -> Any:
            value = every(factors[-1])
            for factor in factors[-2::-1]:
                value = _plus_product(builder, u, value, every(factor))
            return value

        undefined = ir.Constant(_HALF_VECTOR, ir.Undefined)
        signs = builder.insert_element(undefined, args[3], ir.Constant(_INT32, 0))
        signed = builder.fmul(builder.shuffle_vector(signs, undefined, _mask([0] * 8)), score)
        lost = bounded(">", builder.fsub(signed, every(LIMIT)), every(0.0))
        lost = builder.fadd(lost, builder.fmul(score, every(0.0)))  # NaN where a score is not finite
        t = builder.fmul(every(0.5), bounded("<", bounded(">", score, every(-LIMIT)), every(LIMIT)))
        u = builder.fmul(t, t)
        ratio = builder.fdiv(polynomial(u, _ABOVE), polynomial(u, _BELOW))
        odds = _plus_product(builder, builder.fmul(every(0.5), t), ratio, every(0.5))
        _store(builder, odds, place)
        for half in (4, 2, 1):
            moved = builder.shuffle_vector(lost, lost, _mask([(at + half) % 8 for at in range(8)]))
            lost = builder.fadd(lost, moved)
        return builder.extract_element(lost, ir.Constant(_INT32, 0))

    return types.float32(scores, types.int64, types.int64, types.float32), made
