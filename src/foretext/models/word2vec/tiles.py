"""Small products in explicit vector registers: what the compiler does not find in a loop by itself.

Left to itself, LLVM takes half-width registers on processors with AVX-512, adds up each dot product on its own, and
reads and writes the sums again for every few terms. Here the sums of a tile stay in registers until it is done, and
sixteen dot products are added up together. Each function below is an intrinsic of `registers`.
"""

from collections.abc import Callable
from typing import Any

from numba.core import types

from foretext.models.word2vec.registers import (
    LANES,
    Picked,
    column_groups,
    constant,
    emitted,
    everywhere,
    load,
    loop,
    mask,
    operand,
    plus,
    plus_product,
    store,
)


def _sum_of_rows(high: int, across: bool, most: int, to: str = "add") -> Callable[..., Any]:
    """out[r+a] += Σ_t w[·]·y[k+t] for a < `high` and t < `count`, in column groups of at most `most` vectors. The weight
    of row a, term t: w[i+t, c+a] where `across`, else w[i+a, c+t]. `to`: "add" starts the sums from what is there, "set"
    from 0, and "late" adds them to what is there row by row, so that one picked twice gets both."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, y, w = (operand(context, builder, signature, args, n) for n in (0, 2, 4))
        row, k = args[1], args[3]
        i, c, count = args[5:8]
        width = (y if isinstance(y, Picked) else out).width

        def group(at: Any, vectors: int, last: bool) -> None:
            tails = [[None] * (vectors - 1) + [some.tail() if last else None] for some in (out, y)]

            def body(t: Any, sums: list[Any]) -> list[Any]:
                source = y.place(builder.add(k, t), at)
                terms = [y.load(builder.gep(source, [constant(LANES * v)]), tails[1][v]) for v in range(vectors)]
                if across:
                    line = w.place(builder.add(i, t), c)
                    weights = [everywhere(builder, builder.gep(line, [constant(a)])) for a in range(high)]
                else:
                    weights = [everywhere(builder, w.place(plus(builder, i, a), builder.add(c, t))) for a in range(high)]
                return [plus_product(builder, weights[n // vectors], terms[n % vectors], total) for n, total in enumerate(sums)]

            targets = [
                builder.gep(out.place(plus(builder, row, a), at), [constant(LANES * v)])
                for a in range(high)
                for v in range(vectors)
            ]
            ends = tails[0] * high
            first = [out.load(target, tail) for target, tail in zip(targets, ends, strict=True)] if to == "add" else None
            totals = loop(builder, constant(0), count, 1, len(targets), body, first)
            for total, target, tail in zip(totals, targets, ends, strict=True):
                out.store(builder.fadd(out.load(target, tail), total) if to == "late" else total, target, tail)

        column_groups(builder, width, most, group)
        return context.get_dummy_value()

    return made


def _signature(out: Any, y: Any, w: Any) -> Any:
    return types.void(out, types.int64, y, types.int64, w, *[types.int64] * 3)


@emitted
def add_rows(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows(out, row, y, k, w, i, c, count): out[row] += Σ_t w[i, c+t]·y[k+t], t < count."""
    return _signature(out, y, w), _sum_of_rows(1, False, 8)


@emitted
def add_rows_across(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows_across(out, row, y, k, w, i, c, count): out[row] += Σ_t w[i+t, c]·y[k+t], t < count."""
    return _signature(out, y, w), _sum_of_rows(1, True, 8)


@emitted
def add_rows8_late(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """add_rows8_late(out, row, y, k, w, i, c, count): out[row+a] += Σ_t w[i+a, c+t]·y[k+t], a < 8, t < count; the same
    row may be picked more than once."""
    return _signature(out, y, w), _sum_of_rows(8, False, 2, to="late")


@emitted
def set_rows8_across(typing: Any, out: Any, row: Any, y: Any, k: Any, w: Any, i: Any, c: Any, count: Any) -> Any:
    """set_rows8_across(out, row, y, k, w, i, c, count): out[row+a] = Σ_t w[i+t, c+a]·y[k+t], a < 8, t < count."""
    return _signature(out, y, w), _sum_of_rows(8, True, 2, to="set")


@emitted
def across16(typing: Any, x: Any, column: Any, xt: Any) -> Any:
    """across16(x, column, xt): xt[column+b, a] = x[a, column+b] for a, b < 16."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        source, target = (operand(context, builder, signature, args, n) for n in (0, 2))
        lines = [load(builder, source.place(constant(a), args[1])) for a in range(LANES)]
        for half in (8, 4, 2, 1):  # blocks of so many lanes change places
            for a in (a for a in range(LANES) if not a & half):
                low = [at if not at & half else LANES + at - half for at in range(LANES)]
                high = [at + half if not at & half else LANES + at for at in range(LANES)]
                pair = lines[a], lines[a + half]
                lines[a], lines[a + half] = (builder.shuffle_vector(*pair, mask(places)) for places in (low, high))
        for b, line in enumerate(lines):
            store(builder, line, target.place(plus(builder, args[1], b), constant(0)))
        return context.get_dummy_value()

    return types.void(x, types.int64, xt), made


@emitted
def dots_across(typing: Any, out: Any, row: Any, y: Any, k: Any, xt: Any) -> Any:
    """dots_across(out, row, y, k, xt): out[row+a, i] = y[k+a] · x[i] for a < 8, i < 16, where xt[d, i] = x[i, d]: a product
    a lane, and nothing to add up crosswise. More rows at a time would need more addresses than there are registers."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        out, y, xt = (operand(context, builder, signature, args, n) for n in (0, 2, 4))
        lefts = [y.place(plus(builder, args[3], a), constant(0)) for a in range(8)]

        def body(at: Any, sums: list[Any]) -> list[Any]:
            right = load(builder, xt.place(at, constant(0)))
            return [
                plus_product(builder, everywhere(builder, builder.gep(left, [at])), right, total)
                for left, total in zip(lefts, sums, strict=True)
            ]

        for a, total in enumerate(loop(builder, constant(0), y.width, 1, 8, body)):
            store(builder, total, out.place(plus(builder, args[1], a), constant(0)))
        return context.get_dummy_value()

    return types.void(out, types.int64, y, types.int64, xt), made
