"""Callers who connect, begin to speak and go no further."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def half_open(port: int, number: int, begun: bytes) -> Iterator[None]:
    """So many connections that nobody waits for, each of which has sent `begun` where it could; closed at the end."""
    callers = []
    for _ in range(number):
        caller = socket.socket()
        caller.setblocking(False)
        caller.connect_ex(("127.0.0.1", port))
        callers.append(caller)
    for caller in callers:
        with suppress(OSError):
            caller.send(begun)
    try:
        yield
    finally:
        for caller in callers:
            caller.close()
