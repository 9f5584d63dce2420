"""Vector registers inside generated code: what `tiles`, `lanes` and `picks` are written with.

Their functions are Numba intrinsics, a few lines of LLVM code written out for every call; where registers are narrower,
LLVM splits the vectors. Rows are float32 in C order, and as long as a multiple of `LANES`, padded with zeros where need
be; rows picked from a table may be of any length. Nothing is checked.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

LANES = 16
"""Floats of one vector."""
emitted: Callable[[Any], Any] = intrinsic
"""Numba calls the function for its types alone; calls of it look as its docstring says."""
FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
INDEX = ir.IntType(64)
INT32 = ir.IntType(32)
LANE_NUMBERS = ir.Constant(ir.VectorType(INT32, LANES), list(range(LANES)))


def padded(width: int) -> int:
    """`width` rounded up to whole vectors."""
    return -(-width // LANES) * LANES


def zero_rows(*shape: int) -> NDArray[np.float32]:
    """Zeros that begin where a cache line does: a vector that lies in two lines takes two reads."""
    size = math.prod(shape)
    raw = np.zeros(size + LANES, np.float32)
    start = -raw.__array_interface__["data"][0] % 64 // 4
    return raw[start : start + size].reshape(shape)


class Rows:
    """A 2-D array inside the generated code, of whole vectors."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        array = context.make_array(kind)(context, builder, value)
        self.width = builder.extract_value(array.shape, 1)
        self.data = builder.bitcast(array.data, FLOAT.as_pointer())

    def place(self, row: Any, column: Any) -> Any:
        """The address of [row, column]."""
        return self.builder.gep(self.data, [self.builder.add(self.builder.mul(row, self.width), column)])

    def tail(self) -> Any:
        """The lanes of a row's last vector; None: all of them may be touched."""
        return None

    def load(self, address: Any, tail: Any = None) -> Any:
        """The vector at `address`; of a row's `tail`, its lanes alone."""
        return load(self.builder, address)

    def store(self, vector: Any, address: Any, tail: Any = None) -> None:
        store(self.builder, vector, address)


class Picked(Rows):
    """Rows of an array by their numbers: a table of any width and the list of rows that count as row 0, 1, …"""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        super().__init__(context, builder, kind.types[0], builder.extract_value(value, 0))
        numbers = context.make_array(kind.types[1])(context, builder, builder.extract_value(value, 1))
        self.numbers = builder.bitcast(numbers.data, INT32.as_pointer())

    def tail(self) -> Any:
        builder, last = self.builder, self.builder.sub(self.width, constant(1))
        count = builder.trunc(builder.add(builder.and_(last, constant(LANES - 1)), constant(1)), INT32)
        return builder.icmp_signed("<", LANE_NUMBERS, spread(builder, count))

    def place(self, row: Any, column: Any) -> Any:
        number = self.builder.sext(self.builder.load(self.builder.gep(self.numbers, [row])), INDEX)
        return super().place(number, column)

    def load(self, address: Any, tail: Any = None) -> Any:
        return super().load(address) if tail is None else masked(self.builder, "load", address, tail)

    def store(self, vector: Any, address: Any, tail: Any = None) -> None:
        if tail is None:
            super().store(vector, address)
        else:
            masked(self.builder, "store", address, tail, vector)


def operand(context: Any, builder: Any, signature: Any, args: Any, which: int) -> Rows:
    kind = signature.args[which]
    return (Picked if isinstance(kind, types.BaseTuple) else Rows)(context, builder, kind, args[which])


def masked(builder: Any, what: str, address: Any, tail: Any, vector: Any = None) -> Any:
    """Load, or store `vector`, the lanes of `tail` alone; what is not loaded is 0."""
    pointer, align = builder.bitcast(address, VECTOR.as_pointer()), ir.Constant(INT32, 4)
    if what == "load":
        kind = ir.FunctionType(VECTOR, [pointer.type, INT32, tail.type, VECTOR])
        rest = (pointer, align, tail, ir.Constant(VECTOR, [0.0] * LANES))
    else:
        kind = ir.FunctionType(ir.VoidType(), [VECTOR, pointer.type, INT32, tail.type])
        rest = (vector, pointer, align, tail)
    name = f"llvm.masked.{what}.v{LANES}f32.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), rest)  # type: ignore[no-untyped-call]


def constant(value: int) -> Any:
    return ir.Constant(INDEX, value)


def plus(builder: Any, value: Any, more: int) -> Any:
    return builder.add(value, constant(more)) if more else value


def load(builder: Any, address: Any, kind: Any = VECTOR) -> Any:
    return builder.load(builder.bitcast(address, kind.as_pointer()), align=4)


def store(builder: Any, vector: Any, address: Any) -> None:
    builder.store(vector, builder.bitcast(address, vector.type.as_pointer()), align=4)


def plus_product(builder: Any, a: Any, b: Any, total: Any) -> Any:
    """total + a·b, in one instruction where the processor has one."""
    return builder.fadd(total, builder.fmul(a, b, flags=("contract",)), flags=("contract",))


def mask(places: Sequence[int]) -> Any:
    return ir.Constant(ir.VectorType(INT32, len(places)), list(places))


def spread(builder: Any, value: Any, lanes: int = LANES) -> Any:
    """`value` in every lane."""
    undefined = ir.Constant(ir.VectorType(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, undefined, mask([0] * lanes))


def everywhere(builder: Any, address: Any) -> Any:
    """One float of memory in every lane."""
    return spread(builder, builder.load(address, align=4))


def add_up(builder: Any, sums: list[Any]) -> Any:
    """The totals of 8 or 16 vectors, in order, in the lanes of one vector of so many.

    Each step adds two vectors crosswise and so halves their number: half the shuffles of one vector after the other."""
    undefined = ir.Constant(VECTOR, ir.Undefined)
    many = len(sums)

    def halved(evens: list[int], odds: list[int]) -> list[Any]:
        return [
            builder.fadd(builder.shuffle_vector(a, b, mask(evens)), builder.shuffle_vector(a, b, mask(odds)))
            for a, b in zip(sums[::2], sums[1::2], strict=True)
        ]

    # Within quarters of a vector: pairs of lanes, then pairs of pairs; each quarter ends as a part of four totals.
    for _ in range(2):
        sums = halved(*([4 * q + at + half for q in range(4) for half in (0, LANES) for at in low] for low in ((0, 2), (1, 3))))
    # Then whole quarters, which is what moves between the halves of a register.
    while len(sums) > 1:
        sums = halved(*([4 * q + half + at for half in (0, LANES) for q in low for at in range(4)] for low in ((0, 2), (1, 3))))
    if many == LANES:
        return sums[0]
    even, odd = ([4 * (q + half) + at for q in (0, 2) for at in range(4)] for half in (0, 1))
    return builder.fadd(*(builder.shuffle_vector(sums[0], undefined, mask(places)) for places in (even, odd)))


def loop(builder: Any, start: Any, stop: Any, step: int, sums: int, body: Callable[[Any, list[Any]], list[Any]],
         first: Sequence[Any] | None = None) -> list[Any]:
    """`for at in range(start, stop, step): values = body(at, values)`, the vectors held in registers."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    at = builder.phi(INDEX)
    at.add_incoming(start, before)
    held = [builder.phi(VECTOR) for _ in range(sums)]
    for number, phi in enumerate(held):
        phi.add_incoming(first[number] if first else ir.Constant(VECTOR, [0.0] * LANES), before)
    builder.cbranch(builder.icmp_signed("<", at, stop), inside, after)
    builder.position_at_end(inside)
    changed = body(at, held)
    end = builder.block
    at.add_incoming(builder.add(at, constant(step)), end)
    for phi, value in zip(held, changed, strict=True):
        phi.add_incoming(value, end)
    builder.branch(head)
    builder.position_at_end(after)
    return held


def column_groups(builder: Any, width: Any, most: int, group: Callable[[Any, int, bool], None]) -> None:
    """`group(at, vectors, last)` for the columns of rows `width` long: whole groups of `most` vectors as long as
    something is left after them, then the last one, which has from one vector to `most`."""

    def each(at: Any, _: list[Any]) -> list[Any]:
        group(at, most, False)
        return []

    vectors = builder.sdiv(builder.add(width, constant(LANES - 1)), constant(LANES))
    whole = builder.mul(builder.sdiv(builder.sub(vectors, constant(1)), constant(most)), constant(LANES * most))
    loop(builder, constant(0), whole, LANES * most, 0, each)
    rest = builder.sub(vectors, builder.sdiv(whole, constant(LANES)))
    after = builder.append_basic_block("after")
    choice = builder.switch(rest, after)
    for count in range(1, most + 1):
        block = builder.append_basic_block("last")
        choice.add_case(constant(count), block)
        builder.position_at_end(block)
        group(whole, count, True)
        builder.branch(after)
    builder.position_at_end(after)
