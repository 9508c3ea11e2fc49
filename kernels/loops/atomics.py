"""
What loops need to meet each other on several threads: atomic access, a pause in a spin, and clocks.

numba has none of these for CPUs; these are LLVM's own instructions, written into the loop that uses them, and cached
with it. All take a whole item of an array, which must be aligned to its size: nothing here checks an index.
"""

import time
from collections.abc import Callable
from typing import Any, Final, cast

import numba.extending
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

_cgutils: Final[Any] = cgutils  # nothing in it says its types
_MACHINE: Final[str] = binding.get_default_triple().partition("-")[0]
_IS_X86: Final = _MACHINE in ("x86_64", "i386", "i686")
_IS_ARM: Final = _MACHINE in ("aarch64", "arm64")
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_YIELD_HINT: Final = 1
"""The number of `yield` among ARM's hints."""


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.extending.intrinsic(function))


@_intrinsic
def atomic_add(_: Any, array: Any, index: Any, value: Any) -> Any:
    """`array[index] += value` of integers as one step, sequentially consistent; gives what was there before."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        return builder.atomic_rmw("add", place, values[2], "seq_cst")

    return array.dtype(array, types.intp, array.dtype), write


@_intrinsic
def compare_exchange(_: Any, array: Any, index: Any, expected: Any, new: Any) -> Any:
    """
    Make `array[index]` of integers `new` if it is `expected`, as one step; gives what was there before.

    It was exchanged where that is `expected`. What was written before it on this thread is seen by whoever reads `new`.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        pair = builder.cmpxchg(place, values[2], values[3], "acq_rel", "acquire")
        return builder.extract_value(pair, 0)

    return array.dtype(array, types.intp, array.dtype, array.dtype), write


@_intrinsic
def load_atomic(_: Any, array: Any, index: Any) -> Any:
    """`array[index]` as it is now (acquire): read anew each time, which a loop may otherwise do once."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load_atomic(
            _place(context, builder, signature, values), "acquire", _size(context, signature.args[0])
        )

    return array.dtype(array, types.intp), write


@_intrinsic
def store_atomic(_: Any, array: Any, index: Any, value: Any) -> Any:
    """`array[index] = value` (release): whoever reads it sees what was written before it."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        builder.store_atomic(values[2], place, "release", _size(context, signature.args[0]))
        return context.get_dummy_value()

    return types.void(array, types.intp, array.dtype), write


@_intrinsic
def pause(_: Any) -> Any:
    """Tell the core that this is a spin: its other thread gets the room. Nothing where there is no such hint."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _IS_X86:
            _call(builder, "llvm.x86.sse2.pause", ir.VoidType())
        elif _IS_ARM:
            _call(builder, "llvm.aarch64.hint", ir.VoidType(), ir.Constant(_I32, _YIELD_HINT))
        return context.get_dummy_value()

    return types.void(), write


@_intrinsic
def ticks(_: Any) -> Any:
    """
    A counter of the CPU that goes up at a constant rate, of which nothing else is known; 0 where there is none.

    It costs a few nanoseconds. It is no barrier: neighbouring instructions may run before or after it.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _IS_X86:
            return _call(builder, "llvm.readcyclecounter", _I64)
        if _IS_ARM:  # LLVM's own there is a counter that programs may not read
            read = ir.InlineAsm(ir.FunctionType(_I64, []), "mrs $0, cntvct_el0", "=r", side_effect=True)
            return builder.call(read, [])
        return ir.Constant(_I64, 0)

    return types.int64(), write


@_intrinsic
def nanoseconds(_: Any) -> Any:
    """
    The monotonic clock, in nanoseconds: what every spin is bounded by.

    It costs some 25 ns, or a system call where the clock of a guest is a slow one: a spin asks for it now and then.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        moment = _cgutils.alloca_once(builder, ir.LiteralStructType([_I64, _I64]))
        asked = _cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(_I32, [_I32, ir.PointerType(ir.IntType(8))]), "clock_gettime"
        )
        place = builder.bitcast(moment, ir.PointerType(ir.IntType(8)))
        builder.call(asked, [ir.Constant(_I32, time.CLOCK_MONOTONIC), place])
        whole, rest = (builder.load(_cgutils.gep_inbounds(builder, moment, 0, field)) for field in (0, 1))
        return builder.add(builder.mul(whole, ir.Constant(_I64, 1_000_000_000)), rest)

    return types.int64(), write


def _place(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    held = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.gep(held.data, [values[1]])


def _size(context: Any, array: Any) -> int:
    return int(context.get_abi_sizeof(context.get_data_type(array.dtype)))


def _call(builder: Any, name: str, gives: Any, *values: Any) -> Any:
    kind = ir.FunctionType(gives, [value.type for value in values])
    return builder.call(_cgutils.get_or_insert_function(builder.module, kind, name), values)
