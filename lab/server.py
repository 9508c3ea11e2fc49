"""
The lab's HTTP front: one thread, one protocol object a connection, no task and no exception on the way of a request.

A connection answers in the order it was asked, however many requests it sends at once. What a client may make us hold
is bounded: the head, the body, requests waiting, answers not read, and the time that a request may take to arrive.
"""

import asyncio
import contextlib
import os
import socket
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

import httptools

from engram_diagnose.lab.api import Api, Call
from engram_diagnose.lab.asking import Answer
from engram_diagnose.lab.text import CONTINUE, END, END_CLOSE, END_KEEP, Reply, trouble


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one client may take."""

    url_bytes: int = 64 << 10
    head_bytes: int = 96 << 10
    body_bytes: int = 256 << 10
    waiting: int = 256
    """Requests of one connection that wait for their answers; more are answered 429."""
    paused_above: int = 64
    """From so many on, no more is read from the connection."""
    connections: int = 10_000
    arriving_seconds: float = 10
    idle_seconds: float = 300
    unread_seconds: float = 30
    unread_bytes: int = 256 << 10
    lingering_seconds: float = 2
    """How long a connection that was refused may go on sending before it is cut."""
    stopping_seconds: float = 10


_BACKLOG: Final = 4096
"""Connections the kernel holds for us until we take them."""
_BAD_REQUEST: Final = trouble(400, "this is not HTTP")
_TOO_SLOW: Final = trouble(408, "the request took too long to arrive")
_LONG_URL: Final = trouble(414, "the address is too long")
_LONG_HEAD: Final = trouble(431, "the headers are too long")
_LONG_BODY: Final = trouble(413, "the body is too long; a memory is 4,000 bytes and 768 numbers")
_TOO_MANY: Final = trouble(429, "too many requests wait on this connection")
_STOPPING: Final = trouble(503, "the lab is stopping")
_FULL: Final = trouble(503, "the lab has as many connections as it takes")
_BROKEN: Final = trouble(500, "the lab could not answer; see its error output")

_NAMES: Final = {
    b"x-memory-space": "space",
    b"content-type": "content_type",
    b"expect": "expect",
    b"x-retry-attempt": "retry",
}
_NAME_LENGTHS: Final = frozenset(map(len, _NAMES))


class _Slot:
    """One request in its connection's order; `reply` is None until it is answered."""

    __slots__ = ("call", "connection", "end", "reply")

    def __init__(self, connection: "Connection", call: Call | None, reply: Reply | None, end: bytes) -> None:
        self.connection = connection
        self.call = call
        self.reply = reply
        self.end = end


class Front:
    """The server: its connections, and the operations that they wait for."""

    def __init__(self, api: Api, *, bounds: Bounds = Bounds()) -> None:
        self.api = api
        self.bounds = bounds
        self.connections: set[Connection] = set()
        self.waiting: dict[int, _Slot] = {}
        self.stopping = False
        self._emptied: asyncio.Event = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def start(self, listener: socket.socket) -> tuple[str, int]:
        """Listen at a bound socket, and give its address; raises `OSError` where another was quicker."""
        self._loop = loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(lambda: Connection(self, loop), sock=listener, backlog=_BACKLOG)
        loop.add_reader(self.api.engine.fileno(), self._completed)
        self._sweep()
        taken = listener.getsockname()
        return str(taken[0]), int(taken[1])

    async def stop(self) -> bool:
        """
        Take no more, answer what is in flight, close.

        False where something was not answered within the bound; its connections are cut.
        """
        self.stopping = True
        loop, listener = self._loop, self._listener
        if loop is None or listener is None:
            return True
        listener.close()
        for connection in list(self.connections):
            connection.finish()
        answered = True
        if self.connections:
            try:
                await asyncio.wait_for(self._emptied.wait(), self.bounds.stopping_seconds)
            except TimeoutError:
                answered = not self.waiting
        for connection in list(self.connections):
            connection.cut()
        if self._sweeper is not None:
            self._sweeper.cancel()
        loop.remove_reader(self.api.engine.fileno())
        return answered

    def gone(self, connection: "Connection") -> None:
        self.connections.discard(connection)
        if self.stopping and not self.connections:
            self._emptied.set()

    def _completed(self) -> None:
        """Operations ended: answer them, each connection once."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.api.engine.fileno(), 8)
        ready: set[Connection] = set()
        for answer in self.api.engine.completed():
            slot = self.waiting.pop(answer.ticket, None)
            if slot is not None and slot.call is not None:
                slot.reply = self._finished(slot.call, answer)
                ready.add(slot.connection)
        for connection in ready:
            connection.flush()

    def _finished(self, call: Call, answer: Answer) -> Reply:
        try:
            return self.api.finish(call, answer)
        except Exception as error:  # whatever it was, the other connections are not to suffer from it
            return self.broken(error)

    def broken(self, error: Exception) -> Reply:
        """Tell the one who runs the lab, and answer 500."""
        if self._loop is not None:
            self._loop.call_exception_handler({"message": "a request could not be answered", "exception": error})
        return _BROKEN

    def _sweep(self) -> None:
        """Once a second: clients that send, read or stay too slowly are shown out, and averages begin anew."""
        if self._loop is None:
            return
        self.api.engine.tick()
        now = self._loop.time()
        for connection in list(self.connections):
            connection.check(now)
        self._sweeper = self._loop.call_later(min(1.0, self.bounds.arriving_seconds / 4), self._sweep)


class Connection(asyncio.Protocol):
    """One client."""

    __slots__ = (
        "_arrived_ns",
        "_begun",
        "_body",
        "_bytes",
        "_closing",
        "_fields",
        "_front",
        "_in_head",
        "_lingers",
        "_loop",
        "_parser",
        "_quiet_since",
        "_reading",
        "_slots",
        "_transport",
        "_unread_since",
        "_url",
    )

    def __init__(self, front: Front, loop: asyncio.AbstractEventLoop) -> None:
        self._front = front
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._slots: deque[_Slot] = deque()
        self._arrived_ns = 0
        self._url = b""
        self._fields: dict[str, bytes] = {}
        self._body: bytes | bytearray = b""
        self._bytes = 0
        """Of the request that is arriving, but for those that came together with its begin."""
        self._in_head = False
        self._begun = 0.0
        """When the request that is arriving began; 0 where none is."""
        self._quiet_since = 0.0
        self._unread_since = 0.0
        self._closing = False
        self._lingers = False
        """What still comes is thrown away, so that the client gets to read why."""
        self._reading = True

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._transport.set_write_buffer_limits(high=self._front.bounds.unread_bytes)
        self._quiet_since = self._loop.time()
        self._front.connections.add(self)
        if self._front.stopping:
            self._refuse(_STOPPING)
        elif len(self._front.connections) > self._front.bounds.connections:
            self._refuse(_FULL)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        self._arrived_ns = time.monotonic_ns()
        if self._begun and self._is_too_long(len(data)):
            self._refuse(_LONG_HEAD if self._in_head else _LONG_BODY)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close_when_answered()
        except httptools.HttpParserError:
            self._refuse(_BAD_REQUEST)
        if self._slots:
            self.flush()

    def eof_received(self) -> bool:
        """The client has said all it will; it may still read the answers."""
        self._close_when_answered()
        return bool(self._slots)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._slots.clear()
        self._parser = None  # it knows us, and we it: a cycle
        self._front.gone(self)

    def pause_writing(self) -> None:
        self._unread_since = self._loop.time()
        self._pause()

    def resume_writing(self) -> None:
        self._unread_since = 0.0
        self._resume()

    # The parser's side

    def on_message_begin(self) -> None:
        self._begun = self._loop.time()
        self._url = b""
        self._fields = {}
        self._body = b""
        self._bytes = 0
        self._in_head = True

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > self._front.bounds.url_bytes:
            self._refuse(_LONG_URL)

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) in _NAME_LENGTHS:
            field = _NAMES.get(name.lower())
            if field is not None:
                self._fields[field] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._fields and self._fields.get("expect", b"").lower() == b"100-continue" and not self._slots:
            self._transport.write(CONTINUE)

    def on_body(self, body: bytes) -> None:
        if self._closing:
            return
        if len(self._body) + len(body) > self._front.bounds.body_bytes:
            self._refuse(_LONG_BODY)
        elif not self._body:
            self._body = body
        else:
            self._body = bytearray(self._body) if isinstance(self._body, bytes) else self._body
            self._body += body

    def on_message_complete(self) -> None:
        self._begun = 0.0
        if self._closing:
            return
        parser = self._parser
        end = END
        if not parser.should_keep_alive():
            end = END_CLOSE
        elif parser.get_http_version() == "1.0":
            end = END_KEEP
        call = Call(parser.get_method(), self._url, arrived_ns=self._arrived_ns)
        call.body = self._body
        if self._fields:
            self._take_fields(call)
        slot = _Slot(self, call, None, end)
        front = self._front
        if len(self._slots) >= front.bounds.waiting:
            slot.reply = _TOO_MANY
        else:
            try:
                result = front.api.handle(call)
            except Exception as error:  # a fault of ours is this request's alone
                result = front.broken(error)
            if isinstance(result, int):
                front.waiting[result] = slot
            else:
                slot.reply = result
        self._slots.append(slot)
        if end is END_CLOSE:
            self._closing = True
        if self._reading and len(self._slots) >= front.bounds.paused_above:
            self._pause()

    # Ours

    def flush(self) -> None:
        """Write the answers that are there, in the order of the requests; then end where that was asked for."""
        slots = self._slots
        pieces: list[bytes] = []
        ends = False
        while slots and (reply := slots[0].reply) is not None:
            slot = slots.popleft()
            head, body = reply
            end = slot.end
            if self._closing and not slots:
                end, ends = END_CLOSE, True
            pieces += (head, b"%d" % len(body), end)
            if slot.call is None or slot.call.method != b"HEAD":
                pieces.append(body)
        if not pieces:
            return
        self._quiet_since = self._loop.time()
        self._transport.write(b"".join(pieces))
        if ends:
            self._end()
        elif not self._reading and not self._unread_since and len(slots) < self._front.bounds.paused_above // 2:
            self._resume()

    def finish(self) -> None:
        """The lab stops: close, with the answers that are owed."""
        self._close_when_answered()

    def cut(self) -> None:
        self._transport.abort()

    def check(self, now: float) -> None:
        """Show out whoever keeps us waiting."""
        bounds = self._front.bounds
        if self._unread_since and now - self._unread_since > bounds.unread_seconds:
            self.cut()
        elif self._closing:
            if not self._slots and now - self._quiet_since > bounds.lingering_seconds and not self._unread_since:
                self.cut()
        elif self._begun and self._reading and now - self._begun > bounds.arriving_seconds:
            self._refuse(_TOO_SLOW)
        elif not self._slots and not self._begun and now - self._quiet_since > bounds.idle_seconds:
            self._transport.close()

    def _take_fields(self, call: Call) -> None:
        fields = self._fields
        call.space = fields.get("space", b"")
        call.content_type = fields.get("content_type", b"")
        if retry := fields.get("retry"):
            self._front.api.counts.retries_told = True
            self._front.api.counts.retries += retry.isdigit() and int(retry[:9]) > 0

    def _refuse(self, reply: Reply) -> None:
        """Answer what cannot be read on, after what is owed, and close."""
        if self._closing:
            return
        self._slots.append(_Slot(self, None, reply, END_CLOSE))
        self._closing = True
        self._lingers = True
        self._begun = 0.0
        self.flush()

    def _end(self) -> None:
        """Close; where the client may still be sending, only our side: a reset would take the answer from it."""
        if self._lingers and self._transport.can_write_eof():
            self._transport.write_eof()
        else:
            self._transport.close()

    def _is_too_long(self, more: int) -> bool:
        """Whether the request that is arriving is longer than any could be; chunks may cost some times their body."""
        bounds = self._front.bounds
        self._bytes += more
        return self._bytes > bounds.head_bytes + (0 if self._in_head else 4 * bounds.body_bytes)

    def _close_when_answered(self) -> None:
        if self._slots:
            self._closing = True
        elif not self._closing:
            self._closing = True
            self._transport.close()

    def _pause(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def _resume(self) -> None:
        if not self._reading and not self._closing and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
