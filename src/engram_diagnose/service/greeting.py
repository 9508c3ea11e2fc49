"""
Connections that begin with a TLS handshake: counted and bounded from the first byte on, as those without are.

asyncio's own server tells of a connection only once its handshake is done, so that callers who never finish theirs
would take up every descriptor, those of the database with them.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from typing import Final

from engram_diagnose.service.protocol import BoundedProtocol, Bounds

_AGAIN_SECONDS: Final = 0.1
"""When to try again to accept a connection, where that failed: there may be a descriptor by then."""


class Greetings:
    """Accepts connections at a listening socket, in the place of an `asyncio.Server`."""

    def __init__(
        self, listener: socket.socket, tls: ssl.SSLContext, bounds: Bounds, made: Callable[[], BoundedProtocol]
    ) -> None:
        self._listener = listener
        self._tls = tls
        self._bounds = bounds
        self._made = made
        self._greeting: set[Greeting] = set()
        self._task = asyncio.create_task(self._accept(), name="greetings")

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(self._listener)
            except OSError:
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            if self._bounds.make_room():
                greeting = Greeting(connection, self._tls, self._bounds, self._made)
                self._greeting.add(greeting)
                greeting.task.add_done_callback(lambda _, done=greeting: self._greeting.discard(done))  # type: ignore[misc]
            else:
                self._bounds.cut("connections")
                connection.close()
            await asyncio.sleep(0)  # so that what was cut off gives back its descriptor before there is one more

    def close(self) -> None:
        """Accept no further connection, and end those that have asked nothing yet."""
        self._task.cancel()
        self._listener.close()
        for greeting in tuple(self._greeting):
            greeting.cut_off("stopping")

    async def wait_closed(self) -> None:
        """Wait until that is done."""
        await asyncio.gather(self._task, *(one.task for one in self._greeting), return_exceptions=True)


class Greeting:
    """One handshake. It waits for its caller, and may be cut off for others, as a request may."""

    def __init__(
        self, connection: socket.socket, tls: ssl.SSLContext, bounds: Bounds, made: Callable[[], BoundedProtocol]
    ) -> None:
        self._bounds = bounds
        self._counted = True
        bounds.open += 1
        bounds.waiting[self] = None
        self.task = asyncio.create_task(self._greet(connection, tls, made))

    async def _greet(self, connection: socket.socket, tls: ssl.SSLContext, made: Callable[[], BoundedProtocol]) -> None:
        def greeted() -> BoundedProtocol:
            protocol = made()
            protocol.greeted = self._done  # from then on the connection counts itself
            return protocol

        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                greeted, connection, ssl=tls, ssl_handshake_timeout=self._bounds.deadline
            )
        except OSError:  # no TLS, too slow, gone, or a certificate that the caller does not trust
            if self._counted:
                self._bounds.cut("handshake")
            with contextlib.suppress(OSError):
                connection.close()
        finally:
            self._done()

    def cut_off(self, reason: str) -> None:
        """End it at once."""
        self._bounds.cut(reason)
        self._done()
        self.task.cancel()

    def _done(self) -> None:
        self._bounds.waiting.pop(self, None)
        if self._counted:
            self._counted = False
            self._bounds.open -= 1
