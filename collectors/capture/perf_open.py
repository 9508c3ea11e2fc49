"""Asking the kernel for a counter, and giving it back at once: the errno says what this user may count here."""

from __future__ import annotations

import ctypes
import errno
import os
import platform

_CALLS = {"x86_64": 298, "aarch64": 241, "riscv64": 241, "ppc64le": 319, "s390x": 331, "loongarch64": 241}
"""The number of perf_event_open(2) by machine."""
_CLOSE_ON_EXEC = 8
_WORDS = 16
"""The attributes of an event, in words of eight bytes: the size of their sixth version, which every kernel takes."""

HARDWARE, SOFTWARE, TRACEPOINT = 0, 1, 2
CYCLES, INSTRUCTIONS = 0, 1
TASK_CLOCK = 1
_DISABLED, _EXCLUDE_KERNEL, _EXCLUDE_HYPERVISOR, _PRECISE_SHIFT = 1 << 0, 1 << 5, 1 << 6, 15
_FLAGS_WORD = 5
_PERIOD_WORD = 2


def open_error(
    kind: int,
    config: int,
    *,
    pid: int = 0,
    cpu: int = -1,
    user_only: bool = True,
    precise: bool = False,
) -> str:
    """
    The name of the errno with which the kernel refuses a counter, "" where it gives one.

    `kind` is the type of a device (`HARDWARE`, …, or what its file `type` says). A `pid` of 0 is this process, -1 with
    a `cpu` everything that runs on it. Without `user_only` the kernel is counted too. `precise` asks for exact
    addresses (PEBS, IBS). The counter is closed before this returns, and never ran.
    """
    number = _CALLS.get(platform.machine())
    if number is None:
        return "ENOSYS"
    attributes = _attributes(kind, config, user_only=user_only, precise=precise)
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        descriptor = libc.syscall(
            ctypes.c_long(number),
            ctypes.byref(attributes),
            ctypes.c_int(pid),
            ctypes.c_int(cpu),
            ctypes.c_int(-1),
            ctypes.c_ulong(_CLOSE_ON_EXEC),
        )
    except (OSError, AttributeError):
        return "ENOSYS"
    if descriptor < 0:
        code = ctypes.get_errno()
        return errno.errorcode.get(code, str(code))
    os.close(descriptor)
    return ""


def _attributes(kind: int, config: int, *, user_only: bool, precise: bool) -> ctypes.Array[ctypes.c_uint64]:
    words = (ctypes.c_uint64 * _WORDS)()
    words[0] = kind | (ctypes.sizeof(words) - 8) << 32
    words[1] = config
    words[_PERIOD_WORD] = 1_000_003 if precise else 0  # exact addresses come with samples only
    words[_FLAGS_WORD] = _DISABLED | (_EXCLUDE_KERNEL | _EXCLUDE_HYPERVISOR if user_only else 0)
    words[_FLAGS_WORD] |= (1 << _PRECISE_SHIFT) if precise else 0
    return words
