"""
What the lab's loops ask of the kernel, outside the GIL: futexes, files, clocks to sleep by, the name of a thread.

numba has none of these. Each is a call of a function of libc, written into the loop that uses it by its name, so that
the machine code can be cached and finds it in the next process. What fails gives minus errno, and never raises. Nothing
here checks an index, nor that a file is open: the loops do, or whoever allocates what they are given.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numba.extending
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils

EINTR: Final = 4
EIO: Final = 5
EAGAIN: Final = 11
EINVAL: Final = 22
ENOSPC: Final = 28
EMSGSIZE: Final = 90
ETIMEDOUT: Final = 110
"""Linux's numbers of what went wrong, as far as loops give or look at them."""

CREATE: Final = 0o1 | 0o100 | 0o1000 | 0o2000000
"""How `open_at` makes a file: to write to, empty, and not passed on to programs that are started."""

_cgutils: Final[Any] = cgutils  # nothing in it says its types
_IS_ARM: Final = binding.get_default_triple().partition("-")[0] in ("aarch64", "arm64")
_FUTEX: Final = 98 if _IS_ARM else 202
"""The number of the system call."""
_WAIT: Final = 0 | 128
_WAKE: Final = 1 | 128
"""Futexes of this process alone: cheaper than those that may be shared."""
_SET_NAME: Final = 15
_OWN_MODE: Final = 0o600
_I8: Final = ir.IntType(8)
_I32: Final = ir.IntType(32)
_I64: Final = ir.IntType(64)
_POINTER: Final = ir.PointerType(_I8)
_BILLION: Final = 1_000_000_000


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.extending.intrinsic(function))


@_intrinsic
def futex_wait(_: Any, words: Any, index: Any, expected: Any, timeout_ns: Any) -> Any:
    """
    Sleep until somebody wakes `words[index]` (int32), unless it is no longer `expected`; 0, or minus errno.

    EAGAIN says that it was another already, ETIMEDOUT that the time was over. It also ends for no reason: look again.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        wait = _duration(builder, values[3])
        place = _place(context, builder, signature, values)
        number, operation = ir.Constant(_I64, _FUTEX), ir.Constant(_I32, _WAIT)
        called = _call(builder, "syscall", _I64, number, place, operation, values[2], wait, variadic=1)
        return _or_error(builder, called)

    return types.int64(words, types.intp, types.int32, types.int64), write


@_intrinsic
def futex_wake(_: Any, words: Any, index: Any, count: Any) -> Any:
    """Wake up to `count` threads that sleep at `words[index]` (int32); how many there were."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values)
        number, operation = ir.Constant(_I64, _FUTEX), ir.Constant(_I32, _WAKE)
        called = _call(builder, "syscall", _I64, number, place, operation, values[2], variadic=1)
        return _or_error(builder, called)

    return types.int64(words, types.intp, types.int32), write


@_intrinsic
def write_at(_: Any, file: Any, data: Any, offset: Any, count: Any, position: Any) -> Any:
    """Write `data[offset : offset + count]` (uint8) at `position` of a file; how much was, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values, array=1, index=2)
        return _or_error(builder, _call(builder, "pwrite", _I64, values[0], place, values[3], values[4]))

    return types.int64(types.int32, data, types.intp, types.int64, types.int64), write


@_intrinsic
def read_at(_: Any, file: Any, data: Any, offset: Any, count: Any, position: Any) -> Any:
    """Read `count` bytes from `position` of a file to `data[offset:]` (uint8); how many there were, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _place(context, builder, signature, values, array=1, index=2)
        return _or_error(builder, _call(builder, "pread", _I64, values[0], place, values[3], values[4]))

    return types.int64(types.int32, data, types.intp, types.int64, types.int64), write


@_intrinsic
def flush(_: Any, file: Any) -> Any:
    """fdatasync: what was written to the file is on the disk; 0, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _or_error(builder, _call(builder, "fdatasync", _I32, values[0]))

    return types.int64(types.int32), write


@_intrinsic
def flush_folder(_: Any, folder: Any) -> Any:
    """fsync: the names of a folder's files, or all that is known of a file, are on the disk; 0, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _or_error(builder, _call(builder, "fsync", _I32, values[0]))

    return types.int64(types.int32), write


@_intrinsic
def reserve(_: Any, file: Any, position: Any, count: Any) -> Any:
    """
    Have the disk keep room for `count` bytes from `position`, more than none; 0, or minus errno.

    Without it, writing to a file that is mapped into memory ends the process once the disk is full.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        failed = _call(builder, "posix_fallocate", _I32, values[0], values[1], values[2])  # it gives errno itself
        return builder.neg(builder.sext(failed, _I64))

    return types.int64(types.int32, types.int64, types.int64), write


@_intrinsic
def open_at(_: Any, folder: Any, name: Any, flags: Any) -> Any:
    """Open a file by its name in a folder, bytes (uint8) that end with a 0; its number, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _begin(context, builder, signature, values, array=1)
        mode = ir.Constant(_I32, _OWN_MODE)
        return _or_error(builder, _call(builder, "openat", _I32, values[0], place, values[2], mode, variadic=3))

    return types.int64(types.int32, name, types.int32), write


@_intrinsic
def close_file(_: Any, file: Any) -> Any:
    """Close a file; 0, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return _or_error(builder, _call(builder, "close", _I32, values[0]))

    return types.int64(types.int32), write


@_intrinsic
def signal(_: Any, eventfd: Any) -> Any:
    """Add 1 to an eventfd, which whoever polls it sees; 8, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = _cgutils.alloca_once_value(builder, ir.Constant(_I64, 1))
        eight = ir.Constant(_I64, 8)
        return _or_error(builder, _call(builder, "write", _I64, values[0], builder.bitcast(one, _POINTER), eight))

    return types.int64(types.int32), write


@_intrinsic
def sleep_for(_: Any, duration_ns: Any) -> Any:
    """Sleep so many nanoseconds, or less where a signal ends it; 0, or minus errno."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        none = ir.Constant(_POINTER, None)
        return _or_error(builder, _call(builder, "nanosleep", _I32, _duration(builder, values[0]), none))

    return types.int64(types.int64), write


@_intrinsic
def set_thread_name(_: Any, name: Any) -> Any:
    """Call this thread by a name, up to 15 bytes (uint8) that end with a 0, as `top` and `perf` show it."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        place = _begin(context, builder, signature, values, array=0)
        return _or_error(builder, _call(builder, "prctl", _I32, ir.Constant(_I32, _SET_NAME), place, variadic=1))

    return types.int64(name), write


@_intrinsic
def copy_items(_: Any, to: Any, to_index: Any, source: Any, index: Any, count: Any) -> Any:
    """`to[to_index : to_index + count] = source[index : index + count]`, of flat arrays; the two do not overlap."""
    if to.dtype != source.dtype:
        raise TypeError(f"items are copied between arrays of one type, not from {source} to {to}")

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        there = _place(context, builder, signature, values)
        here = _place(context, builder, signature, values, array=2, index=3)
        size = context.get_abi_sizeof(context.get_data_type(to.dtype))
        length = builder.mul(values[4], ir.Constant(_I64, size))
        ordinary = ir.Constant(ir.IntType(1), 0)
        _call(builder, "llvm.memcpy.p0.p0.i64", ir.VoidType(), there, here, length, ordinary)
        return context.get_dummy_value()

    return types.void(to, types.intp, source, types.intp, types.int64), write


def _place(context: Any, builder: Any, signature: Any, values: Any, *, array: int = 0, index: int = 1) -> Any:
    """The address of an item, by the arguments' positions."""
    held = context.make_array(signature.args[array])(context, builder, values[array])
    return builder.bitcast(builder.gep(held.data, [values[index]]), _POINTER)


def _begin(context: Any, builder: Any, signature: Any, values: Any, *, array: int) -> Any:
    held = context.make_array(signature.args[array])(context, builder, values[array])
    return builder.bitcast(held.data, _POINTER)


def _duration(builder: Any, duration_ns: Any) -> Any:
    """A `struct timespec` of nanoseconds that are not negative."""
    room = _cgutils.alloca_once(builder, ir.LiteralStructType([_I64, _I64]))
    zero, billion = ir.Constant(_I64, 0), ir.Constant(_I64, _BILLION)
    asked = builder.select(builder.icmp_signed("<", duration_ns, zero), zero, duration_ns)
    builder.store(builder.sdiv(asked, billion), _cgutils.gep_inbounds(builder, room, 0, 0))
    builder.store(builder.srem(asked, billion), _cgutils.gep_inbounds(builder, room, 0, 1))
    return builder.bitcast(room, _POINTER)


def _or_error(builder: Any, result: Any) -> Any:
    """What a call gave, or minus errno where it was negative."""
    wide = result if result.type == _I64 else builder.sext(result, _I64)
    failed = builder.icmp_signed("<", wide, ir.Constant(_I64, 0))
    place = _call(builder, "__errno_location", ir.PointerType(_I32))
    return builder.select(failed, builder.neg(builder.sext(builder.load(place), _I64)), wide)


def _call(builder: Any, name: str, gives: Any, *values: Any, variadic: int | None = None) -> Any:
    """A call of a function of libc; of a `variadic` one, that many arguments are named in its declaration."""
    named = [value.type for value in values[:variadic]]
    kind = ir.FunctionType(gives, named, var_arg=variadic is not None)
    return builder.call(_cgutils.get_or_insert_function(builder.module, kind, name), values)
