"""One bounded GET, for metrics and small JSON answers of the server."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request

from engram_diagnose.collectors.capture.answer import REFUSED, Answer
from engram_diagnose.collectors.capture.machine import Machine
from engram_diagnose.collectors.capture.reading import Reading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

TIMEOUT_SECONDS = 5.0
LIMIT_BYTES = 16 << 20


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect becomes an error: a token must not travel to where a server points."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> None:
        return None


def http_answer(
    machine: Machine,
    base_url: str,
    path: str,
    *,
    name: str = "",
    token: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
    limit_bytes: int = LIMIT_BYTES,
    context: ssl.SSLContext | None = None,
) -> Answer:
    """
    `GET base_url + path` as an answer of the collector `http` whose name is the path, query
    included, or `name` where the query may hold a secret.
    """
    url = base_url.rstrip("/") + path
    reading = get(
        url,
        token=token,
        timeout_seconds=timeout_seconds,
        limit_bytes=limit_bytes,
        context=context,
    )
    return machine.answer("http", name or path, reading)


def get(
    url: str,
    *,
    token: str = "",
    timeout_seconds: float = TIMEOUT_SECONDS,
    limit_bytes: int = LIMIT_BYTES,
    context: ssl.SSLContext | None = None,
) -> Reading:
    """
    The body of one GET: no proxy, no redirect, at most `limit_bytes`, done within
    `timeout_seconds`.

    HTTP 404 is SOURCE_ABSENT, anything else but 200 SOURCE_UNREACHABLE. The token stands in no
    message.
    """
    objection = _objection(url, token)
    if objection:
        return Reading(None, "SOURCE_UNREACHABLE", objection)
    deadline = time.monotonic() + timeout_seconds
    done: list[Reading] = []

    def work() -> None:
        done.append(_exchange(url, token, deadline, limit_bytes, context))

    # A resolver, or a server that sends a byte now and then, outlives any socket timeout.
    worker = threading.Thread(target=work, daemon=True)
    worker.start()
    worker.join(timeout_seconds + 0.1)
    return done[0] if done else _late(timeout_seconds)


def _objection(url: str, token: str) -> str:
    scheme, _, rest = url.partition("://")
    if scheme.lower() not in ("http", "https"):
        return f"{scheme[:20]!r} is not a scheme to ask; the address begins with http:// or https://"
    if "@" in rest.partition("/")[0]:
        return "the address holds a user name; leave it out and give a token"
    if any(ord(letter) <= 32 or ord(letter) == 127 for letter in url + token):
        return "the address or the token holds blanks or control characters"
    return ""


def _late(timeout_seconds: float) -> Reading:
    return Reading(None, "SOURCE_UNREACHABLE", f"no complete answer within {timeout_seconds:g} s")


def _exchange(url: str, token: str, deadline: float, limit: int, context: ssl.SSLContext | None) -> Reading:
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({}), _NoRedirects()]
    if url.lower().startswith("https:"):  # reading the certificates takes 20 ms
        tls = context or ssl.create_default_context()
        handlers.append(urllib.request.HTTPSHandler(context=tls))
    timeout = max(0.01, deadline - time.monotonic())
    try:
        headers = {"Accept": "*/*", "User-Agent": "engram-diagnose"}
        request = urllib.request.Request(url, headers=headers)  # noqa: S310  # the scheme is checked
        if token:
            request.add_unredirected_header("Authorization", f"Bearer {token}")
        with urllib.request.build_opener(*handlers).open(request, timeout=timeout) as response:
            return _body(response, deadline, limit)
    except urllib.error.HTTPError as error:
        with error:
            return _status(error.code, error.headers.get("Location", ""))
    except (OSError, http.client.HTTPException, ValueError) as error:
        return Reading(None, "SOURCE_UNREACHABLE", _cause(error))


def _body(response: http.client.HTTPResponse, deadline: float, limit: int) -> Reading:
    if response.status != 200:
        return _status(response.status, "")
    chunks = []
    size = 0
    while True:
        chunk = response.read1(1 << 16)
        if not chunk:
            break
        size += len(chunk)
        chunks.append(chunk)
        if size > limit:
            return Reading(None, "TOO_EXPENSIVE", f"the answer is larger than {limit} bytes")
        if time.monotonic() > deadline:
            return Reading(None, "SOURCE_UNREACHABLE", "the answer was not complete in time")
    if response.length:  # read1 does not mind a connection that was cut
        detail = f"the answer was cut: {response.length} bytes missing"
        return Reading(None, "SOURCE_UNREACHABLE", detail)
    return Reading(b"".join(chunks).decode("utf-8", "surrogateescape"))


def _status(code: int, location: str) -> Reading:
    if code == 404:
        return Reading(None, "SOURCE_ABSENT", "HTTP 404: the server has no such path")
    hint = {401: ": give a bearer token", 403: ": the token does not suffice"}.get(code, "")
    if 300 <= code < 400:
        hint = f": it redirects to {_public(location)[:200]!r}; give that address"
    return Reading(None, "SOURCE_UNREACHABLE", f"HTTP {code}{hint}")


def _public(location: str) -> str:
    """An address without its query and its user, either of which may be a secret."""
    scheme, mark, rest = location.partition("?")[0].partition("#")[0].rpartition("://")
    authority, slash, path = rest.partition("/")
    return scheme + mark + (authority.rpartition("@")[2] if mark else authority) + slash + path


def _cause(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ConnectionRefusedError):
        return f"{REFUSED}: nothing listens there"
    if isinstance(cause, socket.timeout):
        return "no answer in time"
    kind = f"{type(cause).__name__}: " if isinstance(cause, Exception) else ""
    return f"{kind}{cause}"[:300]
