"""
What stands before every request: who calls, from which page, how much, and what browsers may do with the answer.

Plain ASGI, since what wraps every webhook must cost little.
"""

import asyncio
import base64
import binascii
import hmac
import json
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.service.log import Log
from engram_diagnose.service.passwords import (
    Logins,
    Proven,
    SecretFileError,
    Watched,
    digest_of,
    hashed,
    parse_logins,
    parse_token,
)
from engram_diagnose.service.problem import MEDIA_TYPE, details
from engram_diagnose.service.reading import is_loopback
from engram_diagnose.service.settings import Auth, Settings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

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
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HASHES_WAITING: Final = 8
"""Hashes that are computed or wait for it; a flood of wrong passwords must not take the processor."""


class RefusedError(Exception):
    """A request that goes no further: the status, why, and headers that belong to it."""

    def __init__(self, status: int, reason: str, *headers: tuple[bytes, bytes]) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Guard:
    """Lets a request through to `app`, or answers it. `settings` is asked for each time, since they can be reloaded."""

    def __init__(
        self,
        app: App,
        settings: Callable[[], Settings],
        log: Log,
        *,
        refused: Callable[[int], None] = lambda status: None,
    ) -> None:
        self._app = app
        self._settings = settings
        self._log = log
        self._refused = refused
        self._doors = Doors(settings().auth)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        settings = self._settings()
        answer = Answer(send, https=scope.get("scheme") == "https")
        try:
            length = framed(scope["headers"], scope.get("http_version", "1.1"))
            aimed_here(scope, settings)
            if scope["path"] not in OPEN_PATHS:
                await self._admit(scope, settings.auth)
            within = _within(receive, settings.limits.body_bytes, length)
            await self._app(scope, within, answer.send)
        except RefusedError as refusal:
            self._refused(refusal.status)
            if refusal.status in (401, 403, 421, 503):
                client = (scope.get("client") or ("",))[0]
                self._log.seldom("request refused", status=refusal.status, reason=refusal.reason, client=client)
            await answer.refuse(refusal)

    async def _admit(self, scope: Scope, auth: Auth) -> None:
        if self._doors.auth != auth:
            self._doors = Doors(auth)
        if auth.required:
            await self._doors.admit(_only(scope["headers"], b"authorization"))


class Doors:
    """The ways in that the settings name."""

    def __init__(self, auth: Auth) -> None:
        self.auth = auth
        self._tokens = [Watched(path, parse_token) for path in auth.bearer_token_files]
        self._logins = Watched(auth.basic_auth_file, parse_logins) if auth.basic_auth_file else None
        self._proven = Proven()
        self._nobody = parse_logins(f"nobody:{hashed('nobody')}").hashed[0][1] if self._logins else None
        self._hashing = ThreadPoolExecutor(1, thread_name_prefix="hashing") if self._logins else None
        self._waiting = 0

    async def admit(self, authorization: bytes) -> None:
        """Raise `RefusedError` unless the header proves who calls. Every secret is compared, also after one fitted."""
        kind, _, given = authorization.partition(b" ")
        if kind.lower() == b"bearer" and self._by_token(given.strip()):
            return
        if kind.lower() == b"basic" and await self._by_login(given.strip()):
            return
        raise RefusedError(401, "no valid bearer token or login", (b"www-authenticate", self._challenge()))

    def _challenge(self) -> bytes:
        kinds = ['Basic realm="engram-diagnose", charset="UTF-8"'] if self._logins else []
        kinds += ['Bearer realm="engram-diagnose"'] if self._tokens else []
        return ", ".join(kinds).encode()

    def _by_token(self, token: bytes) -> bool:
        given, fits = digest_of(token), False
        for watched in self._tokens:
            fits |= hmac.compare_digest(given, _held(watched) or b"")
        return fits

    async def _by_login(self, encoded: bytes) -> bool:
        logins = _held(self._logins) if self._logins else None
        try:
            login = base64.b64decode(encoded, validate=True)
        except binascii.Error:
            return False
        if logins is None:
            return False
        given, fits = digest_of(login), False
        for digest in logins.plain:
            fits |= hmac.compare_digest(given, digest)
        if fits or (logins.hashed and self._proven.knows(login, logins)):
            return True
        return bool(logins.hashed) and await self._by_hash(login, logins)

    async def _by_hash(self, login: bytes, logins: Logins) -> bool:
        """Whether a hashed password fits. A user nobody knows takes as long as one with a wrong password."""
        if self._waiting >= _HASHES_WAITING:
            raise RefusedError(503, "too many logins are being checked", (b"retry-after", b"1"))
        user, _, password = login.partition(b":")
        name, against = digest_of(user), self._nobody
        for known, candidate in logins.hashed:
            if hmac.compare_digest(name, known):
                against = candidate
        assert against is not None  # noqa: S101 -- narrows the type: there are logins
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            fits = await loop.run_in_executor(self._hashing, against.matches, password)
        finally:
            self._waiting -= 1
        fits &= against is not self._nobody
        if fits:
            self._proven.add(login, logins)
        return fits


def _held(watched: Watched[Any]) -> Any:
    """What the file holds, or None: one that cannot be read lets nobody in; `/-/ready` says which."""
    try:
        return watched.value()
    except SecretFileError:
        return None


def unusable_secrets(auth: Auth) -> list[str]:
    """What is wrong with the files of secrets; empty when nothing is."""
    watched: list[Watched[Any]] = [Watched(path, parse_token) for path in auth.bearer_token_files]
    watched += [Watched(auth.basic_auth_file, parse_logins)] if auth.basic_auth_file else []
    problems = []
    for one in watched:
        try:
            one.value()
        except SecretFileError as error:
            problems.append(str(error))
    return problems


def framed(headers: Headers, version: str) -> int | None:
    """
    The length that a request announces, None where it does not.

    Raises `RefusedError` for one whose end, host or coding two programs might understand differently.
    """
    encodings = _all(headers, b"content-encoding")
    if any(value.strip().lower() not in (b"", b"identity") for value in encodings):
        raise RefusedError(415, "send the body without Content-Encoding", (b"accept-encoding", b"identity"))
    hosts, lengths, transfers = (_all(headers, name) for name in (b"host", b"content-length", b"transfer-encoding"))
    if len(hosts) > 1 or (version == "1.1" and not hosts):
        raise RefusedError(400, "a request has one Host header")
    if transfers and (lengths or version != "1.1" or [value.strip().lower() for value in transfers] != [b"chunked"]):
        raise RefusedError(400, "Transfer-Encoding is chunked alone, without Content-Length, or not there")
    if not lengths:
        return None
    if len(lengths) > 1 or not lengths[0].isdigit():
        raise RefusedError(400, "a request has one Content-Length, a whole number")
    return int(lengths[0]) if len(lengths[0]) <= 18 else 1 << 62


def aimed_here(scope: Scope, settings: Settings) -> None:
    """
    Raise `RefusedError` for what a browser sends on behalf of another site's page.

    A form of another page is told by its origin. A name that another site lets point at this host is told by the Host
    header, where nothing else asks who calls.
    """
    headers = scope["headers"]
    host = _only(headers, b"host").decode("latin-1").lower()
    if not settings.auth.required and is_loopback(settings.host) and not _ours(host, settings):
        raise RefusedError(421, "this host is not served here; set public_url to the address that is used")
    if scope["method"] not in _CHANGING:
        return
    origin = _only(headers, b"origin").decode("latin-1").lower()
    site = _only(headers, b"sec-fetch-site")
    own = {f"http://{host}", f"https://{host}", _origin(settings.base_url)}
    if (origin and origin not in own) or (not origin and site and site not in (b"same-origin", b"none")):
        raise RefusedError(403, "the request comes from a page of another site")


def _ours(host: str, settings: Settings) -> bool:
    if not host:
        return True  # HTTP/1.0, which no browser speaks
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name == (urlsplit(settings.base_url).hostname or "")


def _origin(url: str) -> str:
    parts = urlsplit(url.lower())
    return f"{parts.scheme}://{parts.netloc}"


def _all(headers: Headers, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name == wanted]


def _only(headers: Headers, wanted: bytes) -> bytes:
    """The one value of a header; nothing where there are two that might contradict each other."""
    found = _all(headers, wanted)
    return found[0] if len(found) == 1 else b""


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
