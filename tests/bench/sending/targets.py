"""Servers that answer as a test says, each in a thread of the test."""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

BODY = b'{"memories":[]}'
Answering = Callable[["Target", socket.socket, int], bool]
"""Given the number of the request, from 1 on; gives whether the connection stays."""


def answer(status: int = 200, body: bytes = BODY, *lines: bytes, length: int | None = None) -> bytes:
    """A whole answer."""
    head = [b"HTTP/1.1 %d Said" % status, b"Content-Length: %d" % (len(body) if length is None else length), *lines]
    return b"\r\n".join([*head, b"", b""]) + body


class Target:
    """A context: a server on this machine; `arrivals` are the instants of its requests, in seconds."""

    def __init__(self, answering: Answering) -> None:
        self._answering = answering
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self.arrivals: list[float] = []
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = False

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self.die()
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def _start(self, run: Callable[..., None], *given: object) -> None:
        thread = threading.Thread(target=run, args=given)
        self._threads.append(thread)
        thread.start()

    def die(self) -> None:
        """Listen no more, and close all connections."""
        with self._lock:
            self.gone = True
            for one in (self._listener, *self._open):
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def stand_still(self, seconds: float) -> None:
        """Let nobody's request be answered for so long."""
        with self._lock:
            time.sleep(seconds)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                self._listener.close()
                return
            with self._lock:
                if self.gone:
                    connection.close()
                    continue
                self._open.add(connection)
            self.connections += 1
            self._start(self._client, connection)

    def _client(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while (request := connection.recv(65536)) and not self.gone:
                with self._lock:
                    self.requests.append(request)
                    self.arrivals.append(time.monotonic())
                    number = len(self.arrivals)
                if not self._answering(self, connection, number):
                    break
            with self._lock:
                self._open.discard(connection)


def says(*answers: bytes) -> Answering:
    """Each request gets the next answer, the last one for ever."""

    def answering(target: Target, connection: socket.socket, number: int) -> bool:
        connection.sendall(answers[min(number, len(answers)) - 1])
        return True

    return answering


def well_for(count: int, then: Answering) -> Answering:
    """So many good answers, then something else."""

    def answering(target: Target, connection: socket.socket, number: int) -> bool:
        if number <= count:
            connection.sendall(answer())
            return True
        return then(target, connection, number)

    return answering


def hangs(target: Target, connection: socket.socket, number: int) -> bool:
    return True


def closes(target: Target, connection: socket.socket, number: int) -> bool:
    return False


def resets(target: Target, connection: socket.socket, number: int) -> bool:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def dies(target: Target, connection: socket.socket, number: int) -> bool:
    target.die()
    return False


def endless_heading(target: Target, connection: socket.socket, number: int) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    for line in range(1_000_000):
        connection.sendall(b"X-Line-%d: and so on, and so on, and so on\r\n" % line)
    return False


def endless_body(target: Target, connection: socket.socket, number: int) -> bool:
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1_000_000):
        connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    return False
