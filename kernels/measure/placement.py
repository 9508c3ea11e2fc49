"""
Memory on a NUMA node of choice, and where memory really lies: what Linux has system calls for and Python has not.
"""

import ctypes
import os
import platform
from collections.abc import Mapping, Sequence
from typing import Final

_CALLS: Final[Mapping[str, tuple[int, int]]] = {"x86_64": (237, 279), "aarch64": (235, 239)}
"""The numbers of mbind and move_pages, by machine."""
_BIND: Final = 2
"""MPOL_BIND: on these nodes or nowhere."""
_BITS: Final = 64
_MOST_NODES: Final = 1024
"""The kernel's own bound."""


def bind(address: int, size: int, node: int) -> None:
    """
    Have pages that are touched from now on placed on a node: `address` begins a page, `size` is in bytes.

    Raises `OSError` where there is no such node, or this process may not (containers forbid it unless they are given
    the capability SYS_NICE). Nothing is placed elsewhere when the node is full: the kernel ends a program instead.
    """
    if not 0 <= node < _MOST_NODES:
        raise ValueError(f"there is no NUMA node {node}")
    mask = (ctypes.c_ulong * (_MOST_NODES // _BITS))()
    mask[node // _BITS] = 1 << node % _BITS
    # The kernel takes the number of bits plus one, and looks at one less.
    _call("mbind", address, size, _BIND, ctypes.addressof(mask), _MOST_NODES + 1, 0)


def nodes_of(addresses: Sequence[int]) -> list[int]:
    """The node on which the page of each address lies; a negative error number for a page that was never touched."""
    count = len(addresses)
    pages = (ctypes.c_void_p * count)(*addresses)
    found = (ctypes.c_int * count)()
    _call("move_pages", 0, count, ctypes.addressof(pages), 0, ctypes.addressof(found), 0)
    return list(found)


def _call(name: str, *arguments: int) -> None:
    numbers = _CALLS.get(platform.machine())
    if numbers is None:
        raise OSError(f"the number of {name} on {platform.machine()} is not known")
    # ctypes gives integers as 32 bits, which cuts addresses; what is not given is whatever the register held.
    given = [ctypes.c_long(argument) for argument in (numbers[name == "move_pages"], *arguments)]
    if ctypes.CDLL(None, use_errno=True).syscall(*given) < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
