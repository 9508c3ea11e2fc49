"""
Vectors of floats as values of a loop: loads, fused multiply-adds and sums that the compiler need not find by itself.

Loops over tiles of lanes are not vectorised as they are written: neither numba nor LLVM sees that the lanes of a tile
are a register. Here they are one: a tuple of accumulators is a tuple of registers. Where the CPU's are narrower, LLVM
splits them; where it cannot fuse, it multiplies and adds.

The functions are called from loops only. Indices are counted in floats, and are not checked: the public functions
around the loops do that. Loads and stores fault unless they are aligned to the size of a vector.
"""

import platform
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, models, register_model

_FLOAT: Final = ir.FloatType()
_FLOAT_BYTES: Final = 4
_INDEX: Final = ir.IntType(64)


@cache
def lanes_here() -> int:
    """How many floats a register of this CPU holds: 16 with AVX-512, 8 with AVX, 4 elsewhere."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f") and features.get("avx512dq"):  # the latter loads eight lanes into both halves
        return 16
    return 8 if features.get("avx") else 4


def accumulators_here() -> int:
    """
    How many sums keep the multipliers of this CPU busy: the latency of an FMA times how many begin at once.

    That is 4 or 5 cycles times 2 on x86-64, whose 16 registers hold twelve beside the operands, and 4 times 4 on ARM.
    """
    return 12 if platform.machine() in ("x86_64", "AMD64") else 24


class Lanes(types.Type):
    """So many floats in a register."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(name=f"float32x{count}")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, of: Lanes) -> None:
        super().__init__(manager, of, ir.VectorType(_FLOAT, of.count))  # type: ignore[no-untyped-call]  # numba's


def _inside_loops(function: Callable[..., Any]) -> Any:
    """Make it an intrinsic; its constants come as literals. Loops call it without the first argument, hence `Any`."""
    return intrinsic(prefer_literal=True)(function)


@_inside_loops
def zeros(_: Any, lanes: Any, count: Any) -> Any:
    """So many accumulators of so many lanes, all 0; both are constants."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        return ir.Constant(context.get_value_type(signature.return_type), None)

    return _registers(lanes.literal_value, count.literal_value)(lanes, count), generate


@_inside_loops
def numbered(_: Any, lanes: Any, count: Any) -> Any:
    """So many accumulators of so many lanes: all lanes of the first 0, of the second 1, … Equal ones may become one."""
    kind = _registers(lanes.literal_value, count.literal_value)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        registers = context.get_value_type(signature.return_type)
        values = [ir.Constant(registers.element, [float(number)] * lanes.literal_value) for number in range(len(kind))]
        return ir.Constant(registers, values)

    return kind(lanes, count), generate


@_inside_loops
def load(_: Any, array: Any, at: Any, lanes: Any) -> Any:
    """The lanes of an array from `at` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        pointer = _pointer(context, builder, signature.args, arguments, lanes.literal_value)
        return builder.load(pointer, align=_FLOAT_BYTES * lanes.literal_value)

    return Lanes(lanes.literal_value)(array, at, lanes), generate


@_inside_loops
def load_twice(_: Any, array: Any, at: Any) -> Any:
    """Eight floats of an array in both halves of sixteen lanes."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        half = builder.load(_pointer(context, builder, signature.args, arguments, 8), align=_FLOAT_BYTES * 8)
        return _shuffled(builder, half, half, [*range(8), *range(8)])

    return Lanes(16)(array, at), generate


@_inside_loops
def filled(_: Any, value: Any, lanes: Any) -> Any:
    """One float in every lane."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        vector = context.get_value_type(signature.return_type)
        first = builder.insert_element(ir.Constant(vector, ir.Undefined), arguments[0], _INDEX(0))
        return _shuffled(builder, first, first, [0] * vector.count)

    return Lanes(lanes.literal_value)(types.float32, lanes), generate


@_inside_loops
def add_products(_: Any, sums: Any, factor: Any, array: Any, at: Any) -> Any:
    """The sums, to each of which is added `factor` times the next lanes of the array from `at` on."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        result, factor = arguments[0], arguments[1]
        first = _pointer(context, builder, signature.args[2:], arguments[2:], factor.type.count)
        for number in range(len(signature.return_type)):
            lanes = builder.load(builder.gep(first, [_INDEX(number)]), align=_FLOAT_BYTES * factor.type.count)
            added = _multiplied(builder, factor, lanes, builder.extract_value(result, number))
            result = builder.insert_value(result, added, number)
        return result

    return sums(sums, factor, array, at), generate


@_inside_loops
def scaled(_: Any, sums: Any, factor: Any, addend: Any) -> Any:
    """Each sum times `factor` plus `addend`."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        result = arguments[0]
        for number in range(len(signature.return_type)):
            next_one = _multiplied(builder, builder.extract_value(result, number), arguments[1], arguments[2])
            result = builder.insert_value(result, next_one, number)
        return result

    return sums(sums, factor, addend), generate


@_inside_loops
def added(_: Any, sums: Any, others: Any) -> Any:
    """The sums, one by one, of two tuples."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        result = arguments[0]
        for number in range(len(signature.return_type)):
            both = builder.fadd(builder.extract_value(result, number), builder.extract_value(arguments[1], number))
            result = builder.insert_value(result, both, number)
        return result

    return sums(sums, others), generate


@_inside_loops
def store_totals(_: Any, sums: Any, array: Any, at: Any) -> Any:
    """
    The total of each row's lanes, from `at` of the array on.

    Eight or four rows of eight lanes; or, of sixteen lanes, four times two rows, the first in the lower half.
    """
    order = _ORDERS[sums.dtype.count, len(sums)]

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        partial = [builder.extract_value(arguments[0], number) for number in range(len(sums))]
        for _ in range(2):  # until each group of four lanes has a part of four rows
            pairs = zip(partial[::2], partial[1::2], strict=True)
            partial = [_folded(builder, first, second) for first, second in pairs]
        low, high = (_shuffled(builder, partial[0], partial[-1], lanes) for lanes in order)
        totals = builder.fadd(low, high)
        pointer = _pointer(context, builder, signature.args[1:], arguments[1:], totals.type.count)
        builder.store(totals, pointer, align=_FLOAT_BYTES * totals.type.count)
        return context.get_dummy_value()

    return types.none(sums, array, at), generate


@_inside_loops
def not_unrolled(_: Any) -> Any:
    """
    Keep the loop that calls it as it is written.

    LLVM does not unroll a loop with inline assembly, be it empty. CPUs fetch lines ahead for each load instruction by
    its stride: with twice the instructions, each of twice the stride, tiles come 6 % later from the second level.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        builder.asm(ir.FunctionType(ir.VoidType(), []), "", "", [], side_effect=True)
        return context.get_dummy_value()

    return types.none(), generate


@_inside_loops
def total(_: Any, sums: Any) -> Any:
    """All lanes of all sums, added up one after another."""

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> ir.Value:
        result = ir.Constant(_FLOAT, 0.0)
        for number in range(len(signature.args[0])):
            vector = builder.extract_value(arguments[0], number)
            for lane in range(vector.type.count):
                result = builder.fadd(result, builder.extract_element(vector, _INDEX(lane)))
        return result

    return types.float32(sums), generate


_ORDERS: Final = {
    # Low and high lanes of four rows, then of the next four.
    (8, 8): ([0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
    (8, 4): ([0, 1, 2, 3], [4, 5, 6, 7]),
    # Rows 0 2 4 6, their high lanes, rows 1 3 5 7, their high lanes.
    (16, 4): ([0, 8, 1, 9, 2, 10, 3, 11], [4, 12, 5, 13, 6, 14, 7, 15]),
}
"""Where the halves of the totals lie after folding twice, by lanes and rows."""


def _registers(lanes: int, count: int) -> Any:
    return types.UniTuple(Lanes(lanes), count)  # type: ignore[no-untyped-call]  # numba's


def _pointer(context: Any, builder: ir.IRBuilder, kinds: Any, arguments: Any, lanes: int) -> ir.Value:
    """Where the lanes begin, of arguments and their types that begin with an array and an index into it."""
    data = context.make_array(kinds[0])(context, builder, arguments[0]).data
    return builder.bitcast(builder.gep(data, [arguments[1]]), ir.VectorType(_FLOAT, lanes).as_pointer())


def _multiplied(builder: ir.IRBuilder, one: ir.Value, other: ir.Value, addend: ir.Value) -> ir.Value:
    """One times the other plus the addend: `llvm.fma` would call a function for each lane where the CPU has no FMA."""
    kind = one.type
    signature = ir.FunctionType(kind, [kind] * 3)
    name = f"llvm.fmuladd.v{kind.count}f32"
    function = cgutils.get_or_insert_function(builder.module, signature, name)  # type: ignore[no-untyped-call]  # numba's
    return builder.call(function, [one, other, addend])


def _folded(builder: ir.IRBuilder, one: ir.Value, other: ir.Value) -> ir.Value:
    """Neighbours added: of each four lanes two are of the one, two of the other. Lanes do not leave their four."""
    count = one.type.count
    even = [
        source + lane for four in range(0, count, 4) for source in (four, count + four) for lane in (0, 2)
    ]  # one shuffle each, and of the kind that takes a cycle
    odd = [lane + 1 for lane in even]
    return builder.fadd(_shuffled(builder, one, other, even), _shuffled(builder, one, other, odd))


def _shuffled(builder: ir.IRBuilder, one: ir.Value, other: ir.Value, lanes: Sequence[int]) -> ir.Value:
    mask = ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), list(lanes))
    return builder.shuffle_vector(one, other, mask)
