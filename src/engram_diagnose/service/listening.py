"""
The socket that is listened at, and the server behind it: uvicorn's, with our protocol, deadlines and log.
"""

import asyncio
import contextlib
import logging
import resource
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import uvicorn

from engram_diagnose.service.greeting import Greetings
from engram_diagnose.service.log import Log
from engram_diagnose.service.protocol import BoundedProtocol, Bounds, protocol_with
from engram_diagnose.service.reading import is_loopback
from engram_diagnose.service.settings import Settings, Tls

BACKLOG: Final = 256
"""Connections that are accepted at a time at most; few enough that descriptors do not run out meanwhile."""
_KEEP_ALIVE_SECONDS: Final = 75
_OTHER_DESCRIPTORS: Final = 128
"""Files, pipes and calls to others, beside the callers' connections."""


class ListenError(ValueError):
    """The service cannot listen; says where, why, and what to do."""


def bound_socket(settings: Settings) -> socket.socket:
    """A socket at the address of the settings, not listening yet; raises `ListenError`."""
    family, address = _address_of(settings)
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((address, settings.port))
    except OSError as error:
        found.close()
        reason = error.strerror or str(error)
        raise ListenError(f"cannot listen at {settings.listen}: {reason}; set another address with --listen") from None
    found.setblocking(False)
    return found


def _address_of(settings: Settings) -> tuple[socket.AddressFamily, str]:
    """The one address that `listen` means. Raises `ListenError` for a name of several, and for one that misleads."""
    try:
        rows = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListenError(f"cannot listen at {settings.listen}: {reason}; set another address with --listen") from None
    families = {row[0] for row in rows}
    family = socket.AF_INET if socket.AF_INET in families else socket.AF_INET6
    addresses = sorted({str(row[4][0]) for row in rows if row[0] == family})
    if len(addresses) != 1:
        raise ListenError(
            f"cannot listen at {settings.listen}: {settings.host} stands for {', '.join(addresses) or 'no address'}; "
            "set one address with --listen"
        )
    if is_loopback(settings.host) and not is_loopback(addresses[0]):
        raise ListenError(
            f"cannot listen at {settings.listen}: {settings.host} stands for {addresses[0]} here, which other hosts "
            "reach; set 127.0.0.1 with --listen, or correct /etc/hosts"
        )
    return family, addresses[0]


def bounds_of(settings: Settings) -> Bounds:
    """As many connections as the settings and the process's descriptors allow."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = settings.limits.connections if soft < 0 else max(8, soft - _OTHER_DESCRIPTORS - BACKLOG)
    return Bounds(min(settings.limits.connections, room), settings.limits.deadline_seconds)


def tls_context(tls: Tls) -> ssl.SSLContext | None:
    """What the service presents itself with; None without a certificate. Raises `ListenError`."""
    if tls.certificate is None or tls.key is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_certificate(context, tls.certificate, tls.key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    """Present this certificate from now on; raises `ListenError`, and then the former one stays."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
        context.load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise ListenError(f"cannot use {certificate} with {key}: {reason}; check that they belong together") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


class Server(uvicorn.Server):
    """uvicorn's server at one socket. Signals are none of its business: whoever runs it sets `should_exit`."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, tls: ssl.SSLContext | None, bounds: Bounds
    ) -> None:
        super().__init__(config)
        self.bounds = bounds
        self._listener = listener
        self.tls = tls
        self.up = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, with a deadline for greetings as well."""
        await self.lifespan.startup()
        self.servers = [await self._listen()]
        self.started = True
        self.up.set()

    async def _listen(self) -> Any:
        if self.tls is None:
            return await asyncio.get_running_loop().create_server(self._protocol, sock=self._listener, backlog=BACKLOG)
        self._listener.listen(BACKLOG)
        return Greetings(self._listener, self.tls, self.bounds, self._protocol)

    def _protocol(self) -> BoundedProtocol:
        protocol: Any = self.config.http_protocol_class
        made: BoundedProtocol = protocol(
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


def server_of(app: Any, settings: Settings, listener: socket.socket, bounds: Bounds) -> Server:
    """A server for the application; raises `ListenError`."""
    config = uvicorn.Config(
        app,
        http=protocol_with(bounds),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.limits.deadline_seconds) + 5,
    )
    return Server(config, listener, tls_context(settings.tls), bounds)


class _Bridge(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        more = {"error": f"{type(error).__name__}: {error}"} if error else {}
        self._log.seldom(record.getMessage().strip(), logger=record.name, **more)


def log_through(log: Log) -> None:
    """Let what libraries say go to our log."""
    for name in ("uvicorn.error", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [_Bridge(log)], False
        logger.setLevel(logging.WARNING)
