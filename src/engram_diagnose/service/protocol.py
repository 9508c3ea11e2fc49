"""
HTTP for callers who may be slow, many or hostile: uvicorn's protocol with deadlines, bounds and a cap.

A caller has `deadline` seconds to send a whole request, headers and body, however small the steps; and as long to take
in what was written to it, unless it takes in enough of it all the time. When there are as many connections as there
may be, a new one takes the place of the one that has waited longest for its caller, so that thousands of half-open
ones keep nobody out.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES: Final = 65536
"""Request line and headers together."""
FRAMING: Final = 16
"""Bytes around each byte of a body that is sent in chunks, at most: more than single bytes need."""
PACE: Final = 16384
"""Bytes of an answer that a slow caller takes in each second at least, since what it does not is kept for it."""
AHEAD: Final = 16
"""Requests that a caller may send before the first one is answered; each takes up memory until its turn."""


class Waiting(Protocol):
    """A connection, or what is to become one."""

    def cut_off(self, reason: str) -> None:
        """End it at once, and count it no longer."""


@dataclass(slots=True)
class Bounds:
    """What all connections of one server share. `waiting` are those that wait for their caller, longest first."""

    connections: int
    deadline: float
    waiting: dict[Waiting, None] = field(default_factory=dict)
    open: int = 0
    cut: Callable[[str], None] = lambda reason: None

    def make_room(self) -> bool:
        """Whether one more connection may stay; the one that has waited longest is closed for it."""
        if self.open < self.connections:
            return True
        longest = next(iter(self.waiting), None)
        if longest is None:
            return False
        longest.cut_off("connections")
        return True


class BoundedProtocol(HttpToolsProtocol):
    """One connection. Made by `protocol_with`, which says what its bounds are."""

    bounds: Bounds

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._timer: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._counted = False
        self._head: int | None = 0
        self._body = 0
        self._around = 0
        self.greeted: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in uvicorn
        """Take the connection in, or turn it away. `greeted` is told first: it was counted until now."""
        super().connection_made(transport)
        if self.greeted is not None:
            self.greeted()
        if not self.bounds.make_room():
            self.bounds.cut("connections")
            self._answer(503, b"retry-after: 1\r\n")
            return
        self._counted = True
        self.bounds.open += 1
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._forget()
        self._stop(self._stalled)
        super().connection_lost(exc)
        self._unset_keepalive_if_required()

    def _forget(self) -> None:
        self.bounds.waiting.pop(self, None)
        self._stop(self._timer)
        self._timer = None
        if self._counted:
            self._counted = False
            self.bounds.open -= 1

    def _wait(self) -> None:
        """The caller's turn: the clock runs until the request is whole."""
        self.bounds.waiting.pop(self, None)
        self.bounds.waiting[self] = None
        self._stop(self._timer)
        self._timer = self.loop.call_later(self.bounds.deadline, self.cut_off, "deadline")

    def cut_off(self, reason: str) -> None:
        """End the connection at once, without waiting for anything to be sent or received."""
        self.bounds.cut(reason)
        self._forget()
        self.transport.abort()

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head, or what stands around the body, has grown too large."""
        was_body, before = self._head is None, self._body
        if self._head is not None:
            self._head += len(data)
        if not self.transport.is_closing():
            super().data_received(data)
        if self._head is not None and self._head > HEAD_BYTES and not self.transport.is_closing():
            self.bounds.cut("head")
            self._answer(431, b"")
        if was_body and self._head is None:
            self._around += len(data) - (self._body - before)
            if self._around > HEAD_BYTES + FRAMING * self._body:
                self.cut_off("framing")
        if self._timer is None and self.timeout_keep_alive_task is None and self._idle():
            self._wait()  # it sends what begins no request

    def on_message_begin(self) -> None:
        """A request begins: its deadline runs from its first byte, or from when the connection was made."""
        super().on_message_begin()
        if self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        if len(self.pipeline) >= AHEAD:
            self.cut_off("ahead")
            raise ValueError("too many requests at once")  # which ends the parser's work on what came
        if not _aimed_at_host(self.url, self.headers):
            raise ValueError("the URL names another host than the Host header")
        self._head, self._body, self._around = None, 0, 0
        super().on_headers_complete()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. A trailer, behind a body in chunks, is none: nobody looked at it who let the request in."""
        if self._head is not None:
            super().on_header(name, value)

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole: now it is our turn."""
        self._head = 0
        self.bounds.waiting.pop(self, None)
        self._stop(self._timer)
        self._timer = None
        super().on_message_complete()
        if self._idle():  # it was answered before it was read
            self._wait()

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete  # type: ignore[redundant-expr]  # None at first

    def on_response_complete(self) -> None:
        """The answer is written: the caller's turn again, now without a deadline, since it may have nothing to ask."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._stalls()
        elif self._idle():  # and no further request, sent ahead, is being answered
            self.bounds.waiting[self] = None

    def timeout_keep_alive_handler(self) -> None:
        """Nothing was asked for long: close, also when the last answer was never taken in."""
        super().timeout_keep_alive_handler()
        self._stalls()

    def pause_writing(self) -> None:
        """The caller does not take in what is written."""
        super().pause_writing()
        self._stalls()

    def resume_writing(self) -> None:
        """It does again."""
        if not self.transport.is_closing():
            self._stop(self._stalled)
            self._stalled = None
        super().resume_writing()

    def _stalls(self) -> None:
        if self._stalled is None:
            self._watch(self.transport.get_write_buffer_size())

    def _watch(self, left: int) -> None:
        self._stalled = self.loop.call_later(self.bounds.deadline, self._look, left)

    def _look(self, before: int) -> None:
        """Cut off a caller that has taken in too little of what is kept for it since the last look."""
        left = self.transport.get_write_buffer_size()
        if before - left < PACE * self.bounds.deadline:
            self.cut_off("stalled")
        else:
            self._watch(left)

    def _answer(self, status: int, headers: bytes) -> None:
        """Answer without having looked at the request, and close."""
        self.transport.write(STATUS_LINE[status] + headers + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()
        self._stalls()

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


def _aimed_at_host(url: bytes, headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether a URL with a host in it, as proxies are sent, has the same one as the Host header."""
    scheme, found, rest = url.partition(b"://")
    if url.startswith((b"/", b"*")) or not found:
        return True
    authority = re.split(rb"[/?#]", rest, maxsplit=1)[0]
    host = next((value for name, value in headers if name == b"host"), authority)
    return scheme.lower() in (b"http", b"https") and authority.lower() == host.strip().lower()


def protocol_with(bounds: Bounds) -> type[BoundedProtocol]:
    """The protocol whose connections share these bounds, for `uvicorn.Config(http=…)`."""
    return type("BoundedProtocol", (BoundedProtocol,), {"bounds": bounds})
