"""
The instruction that asks for a cache line ahead of its use.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numba.extending
from llvmlite import ir
from numba import types
from numba.core import cgutils

_READ: Final = 0
_KEEP: Final = 3
_DATA: Final = 1


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.extending.intrinsic(function))


@_intrinsic
def prefetch(_: Any, array: Any, index: Any) -> Any:
    """
    Ask for the line of `array[index]`, into all levels of cache; for use in loops.

    No index is out of range: an address that nobody has is not read, and nothing happens. On a CPU without such an
    instruction nothing happens either.
    """
    return types.void(array, index), _prefetch


def _prefetch(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, values[0])
    byte, number = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    asked = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
    place = builder.bitcast(builder.gep(array.data, [values[1]]), byte)
    # LLVM takes the last three as constants alone: arguments of the loop would not compile.
    builder.call(asked, [place, *(ir.Constant(number, each) for each in (_READ, _KEEP, _DATA))])
    return context.get_dummy_value()
