"""
One process that sends its part of a load.

    python -m engram_diagnose.bench.sending.worker

A task comes in through stdin, "" goes out (or why it cannot begin), the instant to start comes in, progress and the
result go out, each a pickle behind its length. When stdin ends, so does the load, with what there is.
"""

import ctypes
import gc
import os
import pickle
import resource
import signal
import struct
import sys
from typing import Any, BinaryIO

from engram_diagnose.bench.sending.sender import Sender
from engram_diagnose.bench.sending.task import Progress

_LENGTH = struct.Struct("<Q")
_PR_SET_TIMERSLACK = 29


def write(out: BinaryIO, value: object) -> None:
    """One value behind its length."""
    data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    out.write(_LENGTH.pack(len(data)) + data)
    out.flush()


def read(source: BinaryIO) -> Any:
    """The next value; None at the end. The source may be a pipe that gives what it has."""
    head = _exactly(source, _LENGTH.size)
    data = None if head is None else _exactly(source, _LENGTH.unpack(head)[0])
    return None if data is None else pickle.loads(data)  # noqa: S301 -- from our own process


def _exactly(source: BinaryIO, count: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < count:
        part = source.read(count - len(parts))
        if not part:
            return None
        parts += part
    return bytes(parts)


def _wake_in_time() -> None:
    """Ask the kernel not to put sleepers off for 50 microseconds, as it does to wake several at once."""
    ctypes.CDLL(None).prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)


def _open_as_many_as_allowed() -> None:
    """Each connection is an open file, and usual shells allow 1,024 although the system allows more."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    """The process of one worker; silent when the benchmark that it belongs to is gone."""
    # Ctrl-C is the parent's business: it ends the load through stdin, and the figures so far are kept.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _wake_in_time()
    _open_as_many_as_allowed()
    source, out = os.fdopen(0, "rb", 0), sys.stdout.buffer

    def say(progress: Progress) -> None:
        write(out, progress)

    try:
        task = read(source)
        if task is None:
            return
        sender = Sender(task, 0, say)
        write(out, sender.connect())
        start = read(source)
        if start is not None:
            # What is there by now stays: the collector need not look at it over and over.
            gc.freeze()
            write(out, sender.run(start))
    except (BrokenPipeError, KeyboardInterrupt):
        os._exit(1)


if __name__ == "__main__":
    main()
