"""
Vectors of float64 as wide as the CPU's registers, for loops whose memory access has to be as it is written: LLVM's own
vectorising leaves half of a wide register unused on many CPUs, and never stores past the caches.

Nothing here checks an index or an alignment: who calls a loop does.
"""

from collections.abc import Callable
from typing import Any, Final, cast

import numba.extending
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models

_IS_X86: Final = binding.get_default_triple().partition("-")[0] in ("x86_64", "i386", "i686")
_DOUBLE: Final = ir.DoubleType()
_I32: Final = ir.IntType(32)


def _lanes() -> int:
    features = binding.get_host_cpu_features()
    return 8 if features.get("avx512f") else 4 if features.get("avx") else 2


LANES: Final = _lanes()
"""How many float64 one register holds."""

ALIGNMENT: Final = 8 * LANES
"""Bytes that arrays have to be aligned to where whole vectors are stored past the caches."""

_VECTOR: Final = ir.VectorType(_DOUBLE, LANES)


class _Doubles(types.Type):
    def __init__(self) -> None:
        super().__init__(name=f"float64x{LANES}")


@numba.extending.register_model(_Doubles)
class _DoublesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _VECTOR)  # type: ignore[no-untyped-call]  # numba's are typed in part


_DOUBLES: Final = _Doubles()


def _intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    return cast(Callable[..., Any], numba.extending.intrinsic(function))


@_intrinsic
def all_lanes(_: Any, value: Any) -> Any:
    """`value` (float64) in each lane."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        one = builder.insert_element(ir.Constant(_VECTOR, ir.Undefined), values[0], _I32(0))
        return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))

    return _DOUBLES(types.float64), write


@_intrinsic
def load(_: Any, array: Any, index: Any) -> Any:
    """`array[index : index + LANES]`, wherever it lies."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.load(_place(context, builder, signature, values), align=8)

    return _DOUBLES(array, types.intp), write


@_intrinsic
def store_past_caches(_: Any, array: Any, index: Any, value: Any) -> Any:
    """
    `array[index : index + LANES] = value`, without reading its lines first; that it is aligned is not looked at.

    Others see it after `end_of_stores` only.
    """

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        stored = builder.store(values[2], _place(context, builder, signature, values), align=ALIGNMENT)
        stored.set_metadata("nontemporal", builder.module.add_metadata([_I32(1)]))
        return context.get_dummy_value()

    return types.void(array, types.intp, _DOUBLES), write


@_intrinsic
def end_of_stores(_: Any) -> Any:
    """Wait until what was stored past the caches is seen by others."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        if _IS_X86:
            kind = ir.FunctionType(ir.VoidType(), [])
            fence: Any = cgutils.get_or_insert_function  # numba's are typed in part
            builder.call(fence(builder.module, kind, "llvm.x86.sse.sfence"), [])
        else:
            builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), write


@_intrinsic
def added(_: Any, left: Any, right: Any) -> Any:
    """`left + right`, lane by lane."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fadd(*values)

    return _DOUBLES(_DOUBLES, _DOUBLES), write


@_intrinsic
def multiplied(_: Any, left: Any, right: Any) -> Any:
    """`left * right`, lane by lane."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fmul(*values)

    return _DOUBLES(_DOUBLES, _DOUBLES), write


@_intrinsic
def total(_: Any, vector: Any) -> Any:
    """The sum of all lanes."""

    def write(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        lanes = [builder.extract_element(values[0], _I32(lane)) for lane in range(LANES)]
        while len(lanes) > 1:
            lanes = [builder.fadd(low, high) for low, high in zip(lanes[::2], lanes[1::2], strict=True)]
        return lanes[0]

    return types.float64(_DOUBLES), write


def _place(context: Any, builder: Any, signature: Any, values: Any) -> Any:
    """Where `LANES` items from an index on lie."""
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.bitcast(builder.gep(array.data, [values[1]]), _VECTOR.as_pointer())
