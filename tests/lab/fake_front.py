"""A front over a fake engine on a thread of its own, and a client that says exactly what it is told to."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop
from fake_engine import FakeEngine

from engram_diagnose.lab.api import Api
from engram_diagnose.lab.server import Bounds, Front


@dataclass(frozen=True, slots=True)
class Told:
    """One answer: its status, its header lines in small letters, its body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def trouble(self) -> str:
        return str(self.json["error"]["message"])


class Client:
    """One connection."""

    def __init__(self, port: int, *, seconds: float = 10) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=seconds)
        self.read = b""

    def send(self, *parts: bytes) -> "Client":
        for part in parts:
            self.socket.sendall(part)
        return self

    def answer(self, *, body: bool = True) -> Told:
        """The next answer; raises `EOFError` where the connection ended before it was whole."""
        while b"\r\n\r\n" not in self.read:
            self._more()
        head, _, rest = self.read.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        status = int(lines[0].split()[1])
        length = int(headers.get("content-length", "0")) if body else 0
        self.read = rest
        while len(self.read) < length:
            self._more()
        told, self.read = self.read[:length], self.read[length:]
        return Told(status, headers, told)

    def flood(self, data: bytes, *, times: int, every_seconds: float = 0) -> None:
        """Send the same again and again; raises what the socket raises once the lab has had enough."""
        for _ in range(times):
            self.send(data)
            time.sleep(every_seconds)

    def is_at_end(self) -> bool:
        """Whether the lab has closed, after what was read."""
        try:
            return not self.read and not self.socket.recv(1)
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.socket.close()

    def _more(self) -> None:
        got = self.socket.recv(65536)
        if not got:
            raise EOFError(self.read[:200])
        self.read += got


@dataclass(frozen=True, slots=True)
class Lab:
    """A running front."""

    port: int
    front: Front
    engine: FakeEngine
    loop: asyncio.AbstractEventLoop
    clients: list[Client]

    def client(self) -> Client:
        """A new connection, closed with the lab."""
        self.clients.append(Client(self.port))
        return self.clients[-1]

    def stop(self) -> bool:
        """As a signal does; whether all was answered."""
        return asyncio.run_coroutine_threadsafe(self.front.stop(), self.loop).result(20)

    def ask(self, method: str, target: str, *, body: Any = None, headers: dict[str, str] | None = None) -> Told:
        client = Client(self.port)
        try:
            return client.send(request(method, target, body=body, headers=headers)).answer(body=method != "HEAD")
        finally:
            client.close()


def request(method: str, target: str, *, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """A request's bytes; a body that is no bytes is sent as JSON."""
    sent = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: lab",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    if body is not None:
        lines.append(f"Content-Length: {len(sent)}")
        if not any(re.match("content-type", line, re.IGNORECASE) for line in lines):
            lines.append("Content-Type: application/json")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + sent


_BOUNDS = Bounds()


@contextmanager
def running(*, bounds: Bounds = _BOUNDS, engine: FakeEngine | None = None) -> Iterator[Lab]:
    """A front until the end of the block."""
    loop, started = uvloop.new_event_loop(), threading.Event()
    engine = engine or FakeEngine()
    front = Front(Api(engine, scrape=lambda: b"lab 1\n"), bounds=bounds)
    places: list[tuple[str, int]] = []
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.setblocking(False)

    async def serve() -> None:
        places.append(await front.start(listener))
        started.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve())
        loop.run_forever()

    thread = threading.Thread(target=run)
    thread.start()
    assert started.wait(10)
    lab = Lab(places[0][1], front, engine, loop, [])
    try:
        yield lab
    finally:
        for client in lab.clients:
            client.close()
        lab.stop()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
        listener.close()
