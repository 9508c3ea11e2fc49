"""
The connections of a worker: opened without waiting, each with at most one request under way, replaced when they break.
"""

import errno
import select
import socket
import time
from collections import deque
from typing import Any, Final

from engram_diagnose.bench.sending.answers import AnswerReader
from engram_diagnose.bench.sending.recording import Lane

_NS: Final = 1_000_000_000
_AGAIN: Final = _NS // 20
"""Before a connection that could not be made is tried again."""
_QUIET: Final = select.EPOLLIN | select.EPOLLRDHUP
_WRITING: Final = _QUIET | select.EPOLLOUT
NO_DESCRIPTOR: Final = "too-many-open-files"
_WORDS: Final = {errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset", errno.EPIPE: "reset",
                 errno.ETIMEDOUT: "timeout", errno.EHOSTUNREACH: "no-route", errno.ENETUNREACH: "no-route",
                 errno.EMFILE: NO_DESCRIPTOR, errno.ENFILE: NO_DESCRIPTOR,
                 errno.EADDRNOTAVAIL: "no-free-local-port"}  # fmt: skip


def word_of(code: int | None) -> str:
    """What happened to a connection, in a word that errors are counted by."""
    return _WORDS.get(code or 0, errno.errorcode.get(code or 0, "broken").lower())


class Connection:
    """One connection; `lane` is the kind of the request under way on it, None when it is idle."""

    __slots__ = ("due", "fd", "lane", "made", "out", "reader", "recv", "send", "sent", "sock")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.recv, self.send = sock.recv, sock.send
        self.reader: AnswerReader | None = None
        self.made = False
        self.out = b""
        self.lane: Lane | None = None
        self.due = 0
        self.sent = 0


class Connections:
    """
    All connections of a worker, by their descriptor; `idle` are those that a request can go out on.

    `resolve` must come first; it raises `OSError`.
    """

    def __init__(self, poll: "select.epoll", host: str, port: int) -> None:
        self._poll = poll
        self._host, self._port = host, port
        self._retry: deque[int] = deque()
        self.by_fd: dict[int, Connection] = {}
        self.idle: list[Connection] = []
        self.failures: list[str] = []

    def resolve(self) -> None:
        """Look up the host's address, once."""
        found = socket.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        self._target: tuple[int, Any] = (family, address)

    def open(self) -> None:
        """Begin one; one that cannot be made stands in `failures`, and is tried again."""
        family, address = self._target
        try:
            sock = socket.socket(family, socket.SOCK_STREAM)
        except OSError as error:
            self._failed(word_of(error.errno))
            return
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            sock.close()
            self._failed(word_of(code))
            return
        self.by_fd[sock.fileno()] = Connection(sock)
        self._poll.register(sock.fileno(), _WRITING)

    def _failed(self, why: str) -> None:
        self.failures.append(why)
        self._retry.append(time.monotonic_ns() + _AGAIN)

    def made(self, connection: Connection) -> bool:
        """Whether a connection that was begun came about; it is idle then."""
        code = connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            self.drop(connection)
            self._failed(word_of(code))
            return False
        connection.made = True
        self._poll.modify(connection.fd, _QUIET)
        self.idle.append(connection)
        return True

    def drop(self, connection: Connection) -> None:
        """Close one."""
        self.by_fd.pop(connection.fd, None)
        if connection.lane is None and connection in self.idle:
            self.idle.remove(connection)
        connection.lane = None
        # Closing takes it out of the poll as well: its descriptor has no duplicate.
        connection.sock.close()

    def replace(self, connection: Connection, *, now: int, later: bool) -> None:
        """Close one and open another, `later` for one that broke: a server that closes each is not stormed."""
        self.drop(connection)
        if later:
            self._retry.append(now + _AGAIN)
        else:
            self.open()

    def retry(self, now: int) -> None:
        """Open those again whose time has come."""
        while self._retry and self._retry[0] <= now:
            self._retry.popleft()
            self.open()

    def wait_to_write(self, connection: Connection, rest: bytes) -> None:
        """Send the rest of a request as soon as there is room."""
        connection.out = rest
        self._poll.modify(connection.fd, _WRITING)

    def write_rest(self, connection: Connection) -> None:
        """Send on; raises `OSError`."""
        try:
            connection.out = connection.out[connection.send(connection.out) :]
        except BlockingIOError:
            return
        if not connection.out:
            self._poll.modify(connection.fd, _QUIET)

    def under_way(self) -> list[Connection]:
        """Those with a request that has no answer yet."""
        return [one for one in self.by_fd.values() if one.lane is not None]

    def close(self) -> None:
        """Close all of them."""
        for connection in list(self.by_fd.values()):
            connection.sock.close()
        self.by_fd.clear()
        self.idle.clear()
