"""One vector, or a few, against rows that are picked from a table and changed where they lie; the companion of `tiles`.

`y` is a table of any width and the list of the rows that count as row 0, 1, … of it. What belongs to a vector (`x`, `dx`)
is padded with zeros to whole registers.
"""

from typing import Any

from numba.core import types

from foretext.models.word2vec.registers import (
    LANES,
    add_up,
    column_groups,
    constant,
    emitted,
    everywhere,
    load,
    loop,
    operand,
    plus,
    plus_product,
    store,
)


def _eight(builder: Any, x: Any, i: Any, each: bool, y: Any, k: Any) -> list[Any]:
    """Eight sums, still in lanes, of the products of x[i], or where `each` of x[i+a], with y[k+a]."""
    rights = [y.place(plus(builder, k, a), constant(0)) for a in range(8)]
    lefts = [x.place(plus(builder, i, a), constant(0)) for a in range(8 if each else 1)]

    def added(at: Any, sums: list[Any], tail: Any) -> list[Any]:
        left = [load(builder, builder.gep(row, [at])) for row in lefts]
        right = [y.load(builder.gep(row, [at]), tail) for row in rights]
        return [plus_product(builder, left[a % len(left)], right[a], total) for a, total in enumerate(sums)]

    # The last vector of a row apart: beyond the row's end lies another row, which may hold what is not finite.
    last = builder.and_(builder.sub(y.width, constant(1)), constant(-LANES))
    sums = loop(builder, constant(0), last, LANES, 8, lambda at, sums: added(at, sums, None))
    return added(last, sums, y.tail())


@emitted
def dots8(typing: Any, x: Any, i: Any, y: Any, k: Any, out: Any, row: Any, column: Any) -> Any:
    """dots8(x, i, y, k, out, row, column): out[row, column+b] = x[i] · y[k+b] for b < 8."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y, out = (operand(context, builder, signature, args, n) for n in (0, 2, 4))
        store(builder, add_up(builder, _eight(builder, x, args[1], False, y, args[3])), out.place(args[5], args[6]))
        return context.get_dummy_value()

    return types.void(x, types.int64, y, types.int64, out, types.int64, types.int64), made


@emitted
def dots_each(typing: Any, x: Any, y: Any, k: Any, out: Any, row: Any) -> Any:
    """dots_each(x, y, k, out, row): out[row, a] = x[a] · y[k+a] for a < 16."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, y, out = (operand(context, builder, signature, args, n) for n in (0, 1, 3))
        sums = []
        for a in (0, 8):
            sums += _eight(builder, x, constant(a), True, y, plus(builder, args[2], a))
        store(builder, add_up(builder, sums), out.place(args[4], constant(0)))
        return context.get_dummy_value()

    return types.void(x, y, types.int64, out, types.int64), made


@emitted
def meet(typing: Any, x: Any, dx: Any, i: Any, y: Any, w: Any, row: Any, count: Any) -> Any:
    """meet(x, dx, i, y, w, row, count): dx[i] += w[row, t]·y[t] and y[t] += w[row, t]·x[i], for t < count, by one another as
    they were; no row may be picked twice. `dx` may be `x`."""

    def made(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        x, dx, y, w = (operand(context, builder, signature, args, n) for n in (0, 1, 3, 4))
        i, row, count = args[2], args[5], args[6]

        def group(at: Any, vectors: int, last: bool) -> None:
            tails = [None] * (vectors - 1) + [y.tail() if last else None]

            def places(start: Any) -> list[Any]:
                return [builder.gep(start, [constant(LANES * v)]) for v in range(vectors)]

            mine = [load(builder, place) for place in places(x.place(i, at))]
            sums = places(dx.place(i, at))

            def body(t: Any, totals: list[Any]) -> list[Any]:
                step, lines = everywhere(builder, w.place(row, t)), places(y.place(t, at))
                old = [y.load(line, tail) for line, tail in zip(lines, tails, strict=True)]
                for v in range(vectors):
                    y.store(plus_product(builder, step, mine[v], old[v]), lines[v], tails[v])
                return [plus_product(builder, step, old[v], total) for v, total in enumerate(totals)]

            first = [load(builder, place) for place in sums]
            for total, place in zip(loop(builder, constant(0), count, 1, vectors, body, first), sums, strict=True):
                store(builder, total, place)

        column_groups(builder, y.width, 8, group)
        return context.get_dummy_value()

    return types.void(x, dx, types.int64, y, w, types.int64, types.int64), made
