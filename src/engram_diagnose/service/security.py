"""
What stands before every request: who calls, from which page, how much, and what browsers may do with the answer.

Plain ASGI, since what wraps every webhook must cost little.
"""

import json
from collections.abc import Awaitable, Callable, MutableMapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.service.doors import Doors
from engram_diagnose.service.log import Log
from engram_diagnose.service.problem import MEDIA_TYPE, details
from engram_diagnose.service.reading import is_loopback
from engram_diagnose.service.refusal import RefusedError
from engram_diagnose.service.settings import Auth, Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]
ByName = dict[bytes, list[bytes]]

OPEN_PATHS: Final = frozenset({"/-/healthy", "/-/ready"})
"""What probes ask, who seldom can say who they are. The answers give nothing away."""

CSP: Final = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; font-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_ALWAYS: Final[tuple[tuple[bytes, bytes], ...]] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
    (b"content-security-policy", CSP.encode()),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
)
_TLS: Final = (b"strict-transport-security", b"max-age=31536000")
_READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing; whatever else is sent may."""
_SINGLE: Final = {
    name.lower().encode(): name
    for name in ("Host", "Authorization", "Content-Length", "Content-Type", "Origin", "Sec-Fetch-Site")
}
"""Headers of which two programs could each believe another one."""
_LONGEST_NAME: Final = 300
"""Characters of a Host header; a name has 253 at most, and a port six."""
_TOLD: Final = frozenset({401, 403, 421, 429, 503})
"""Refusals that an operator may want to know of."""


class Guard:
    """Lets a request through to `app`, or answers it. `settings` is asked for each time, since they can be reloaded."""

    def __init__(self, app: App, settings: Callable[[], Settings], log: Log) -> None:
        self._app = app
        self._settings = settings
        self._log = log
        self._doors = Doors(settings().auth)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        settings = self._settings()
        answer = Answer(send, https=scope.get("scheme") == "https")
        try:
            headers = by_name(scope["headers"])
            length = framed(headers, scope.get("http_version", "1.1"))
            aimed_here(headers, scope["method"], settings)
            if scope["path"] not in OPEN_PATHS:
                await self._admit(headers, settings.auth, _client(scope))
            within = _within(receive, settings.limits.body_bytes, length)
            await self._app(scope, within, answer.send)
        except RefusedError as refusal:
            if refusal.status in _TOLD:
                self._log.seldom("request refused", status=refusal.status, reason=refusal.reason, client=_client(scope))
            await answer.refuse(refusal)

    async def _admit(self, headers: ByName, auth: Auth, client: str) -> None:
        if self._doors.auth != auth:
            self._doors = Doors(auth)
        if auth.required:
            await self._doors.admit(_first(headers, b"authorization"), client)


def _client(scope: Scope) -> str:
    """The address that the connection comes from. What a header says of it anybody can write."""
    return str((scope.get("client") or ("",))[0])


def by_name(headers: Headers) -> ByName:
    """The values of each header, in the order of the request. Names are in small letters, as ASGI has them."""
    found: ByName = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    return found


def framed(headers: ByName, version: str) -> int | None:
    """
    The length that a request announces, None where it does not.

    Raises `RefusedError` for one whose end, host or coding two programs might understand differently.
    """
    encodings = headers.get(b"content-encoding")
    if encodings and any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        raise RefusedError(415, "send the body without Content-Encoding", (b"accept-encoding", b"identity"))
    if version not in ("1.0", "1.1"):
        raise RefusedError(505, "send the request as HTTP/1.1")
    if twice := _twice(headers):
        raise RefusedError(400, f"a request has one {twice} header")
    if version == "1.1" and not _first(headers, b"host"):
        raise RefusedError(400, "a request has one Host header")
    lengths, transfers = headers.get(b"content-length"), headers.get(b"transfer-encoding")
    if transfers and (lengths or version != "1.1" or [value.strip().lower() for value in transfers] != [b"chunked"]):
        raise RefusedError(400, "Transfer-Encoding is chunked alone, without Content-Length, or not there")
    if not lengths:
        return None
    if not lengths[0].isdigit():
        raise RefusedError(400, "Content-Length is a whole number")
    return int(lengths[0]) if len(lengths[0]) <= 18 else 1 << 62


def aimed_here(headers: ByName, method: str, settings: Settings) -> None:
    """
    Raise `RefusedError` for what a browser sends on behalf of another site's page.

    A form of another page is told by its origin. A name that another site lets point at this host is told by the Host
    header, where nothing else asks who calls.
    """
    host = _first(headers, b"host").decode("latin-1").lower()
    if not settings.auth.required and is_loopback(settings.host) and not _ours(host, settings.base_url):
        raise RefusedError(421, "this host is not served here; set public_url to the address that is used")
    origin = _first(headers, b"origin").decode("latin-1").lower()
    site = _first(headers, b"sec-fetch-site")
    if method in _READING or not (origin or site):
        return
    own = {f"http://{host}", f"https://{host}", _origin(settings.base_url)}
    if (origin and origin not in own) or (not origin and site and site not in (b"same-origin", b"none")):
        raise RefusedError(403, "the request comes from a page of another site")


def _ours(host: str, base_url: str) -> bool:
    if not host:
        return True  # HTTP/1.0, which no browser speaks
    return _is_name_of_ours(host, base_url) if len(host) <= _LONGEST_NAME else False


@lru_cache(maxsize=64)
def _is_name_of_ours(host: str, base_url: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name == (urlsplit(base_url).hostname or "")


def _origin(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _first(headers: ByName, wanted: bytes) -> bytes:
    """The first value of a header, nothing where it is not there. That there are not two was asked before."""
    values = headers.get(wanted)
    return values[0] if values else b""


def _twice(headers: ByName) -> str:
    """A header that stands there twice and must not; empty when none does."""
    return next((_SINGLE[name] for name, values in headers.items() if len(values) > 1 and name in _SINGLE), "")


def _within(receive: Receive, most: int, announced: int | None) -> Receive:
    """`receive`, which raises `RefusedError` as soon as the body is larger than `most`."""
    if announced is not None and announced > most:
        raise _too_large(most)
    seen = 0

    async def limited() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > most:
            raise _too_large(most)
        return message

    return limited


def _too_large(most: int) -> RefusedError:
    return RefusedError(413, f"the body is larger than {most} bytes; limits.body_bytes sets this")


class Answer:
    """Sends a response with the headers that every one has."""

    def __init__(self, send: Send, *, https: bool) -> None:
        self._send = send
        self._more = (*_ALWAYS, _TLS) if https else _ALWAYS
        self._started = False

    async def send(self, message: Message) -> None:
        """Pass a message on; the application's own header goes before ours of that name."""
        if message["type"] == "http.response.start":
            self._started = True
            headers = list(message.get("headers", ()))
            own = {name.lower() for name, _ in headers}
            message["headers"] = headers + [pair for pair in self._more if pair[0] not in own]
        await self._send(message)

    async def refuse(self, refusal: RefusedError) -> None:
        """Answer with the refusal and close, since the rest of the body was not read."""
        if self._started:
            raise refusal
        body = json.dumps(details(refusal.status, refusal.reason)).encode() + b"\n"
        headers = [
            (b"content-type", MEDIA_TYPE.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
            *refusal.headers,
        ]
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
