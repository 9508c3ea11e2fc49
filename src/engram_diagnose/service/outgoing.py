"""
Calls to servers of others: bounded in time and size, never redirected, and refused in words without a secret.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx

from engram_diagnose.collectors.prometheus.client import tls_context
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, login_of, redacted
from engram_diagnose.service.login import LoginError

_LATER: Final = frozenset({401, 403, 408, 425, 429})
"""
Statuses below 500 that say nothing against what was sent: the next attempt may fare better, with a login that was
corrected by then.
"""

_LONGEST_WAIT: Final = 3600.0
"""Seconds that another server may make us wait."""


@dataclass(frozen=True, slots=True)
class Refused:
    """
    Why a call did not succeed, in one line without a secret.

    `rejected` says that the server took offence at this very message, so that another may go through. `wait` is how
    many seconds the server asks to be left alone for.
    """

    detail: str
    rejected: bool = False
    wait: float = 0.0


class Outgoing:
    """
    Calls to one server, over connections that are kept.

    `options` is asked anew for each call, so that a changed secret counts at once; it raises `LoginError`. What decides
    about the connection itself (certificates) is read with the first call. To be used within one event loop.
    """

    def __init__(self, options: Callable[[], PrometheusOptions]) -> None:
        self._options = options
        self._client: httpx.AsyncClient | None = None
        self._making = asyncio.Lock()

    async def close(self) -> None:
        """Close the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> bytes | Refused:
        """What the server has at `path`, below its address."""
        return await self._ask("GET", path, query=query)

    async def post(self, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes | Refused:
        """What the server says to a JSON body."""
        return await self._ask("POST", path, body=body, headers={"Content-Type": "application/json", **(headers or {})})

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes | Refused:
        try:
            options = self._options()
        except LoginError as error:
            return Refused(str(error))
        try:
            async with asyncio.timeout(options.timeout):
                return await self._exchange(options, method, path, query, body, headers or {})
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return Refused(_words(error, options))

    async def _exchange(
        self,
        options: PrometheusOptions,
        method: str,
        path: str,
        query: Mapping[str, str] | None,
        body: bytes | None,
        headers: Mapping[str, str],
    ) -> bytes | Refused:
        client = await self._connected(options)
        url = _bare(options.url) + path
        login = None if options.bearer_token else login_of(options)
        request = client.build_request(
            method, url, params=query, content=body, headers={**_headers(options), **headers}, timeout=options.timeout
        )
        response = await client.send(request, stream=True, auth=httpx.BasicAuth(*login) if login else None)
        try:
            said = await _read(response, options.max_bytes)
        finally:
            await response.aclose()
        if said is None:
            return Refused(f"{origin_of(options.url)} answers with more than {options.max_bytes / 2**20:g} MiB")
        return _refusal(response, said, options) or said

    async def _connected(self, options: PrometheusOptions) -> httpx.AsyncClient:
        """The one client; the system's certificates take long to read, so another thread does."""
        async with self._making:
            if self._client is None:
                self._client = await asyncio.to_thread(_client, options)
            return self._client


def origin_of(url: str) -> str:
    """A URL's scheme, host and port: all that may be shown of one whose path may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _client(options: PrometheusOptions) -> httpx.AsyncClient:
    """Raises `OSError` and `ValueError` for certificates that cannot be used."""
    secure = options.url.startswith("https:")
    return httpx.AsyncClient(
        verify=tls_context(options) if secure else False,
        follow_redirects=False,
        limits=httpx.Limits(max_connections=8, max_keepalive_connections=2, keepalive_expiry=90),
    )


def _headers(options: PrometheusOptions) -> dict[str, str]:
    headers = {"Accept-Encoding": "identity", "Accept": "application/json", "User-Agent": "engram-diagnose"}
    headers |= options.headers
    if options.bearer_token:
        headers["Authorization"] = f"Bearer {options.bearer_token}"
    return headers


def _bare(url: str) -> str:
    """The URL without its login, which goes into a header."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def _read(response: httpx.Response, most: int) -> bytes | None:
    """The body; None for one of more than `most` bytes."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            return None
    return bytes(body)


def _words(error: Exception, options: PrometheusOptions) -> str:
    """An exception of httpx, ssl or the operating system, in words of an operator."""
    where, said = origin_of(options.url), str(error) or type(error).__name__
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"{where} did not answer within {options.timeout:g} s"
    if isinstance(error, httpx.ConnectError):
        return _hidden(f"{where} cannot be connected to ({said})", options)
    if isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.LocalProtocolError):
        return _hidden(f"{where} broke the connection ({said})", options)
    if isinstance(error, OSError):
        return _hidden(f"a certificate or key file cannot be used ({error.strerror or said})", options)
    return f"no request to {where} can be made from the settings ({type(error).__name__})"


def _refusal(response: httpx.Response, body: bytes, options: PrometheusOptions) -> Refused | None:
    """What a status says; None for success."""
    status, where = response.status_code, origin_of(options.url)
    if 200 <= status < 300:
        return None
    wait = _wait(response.headers.get("retry-after", ""))
    if 300 <= status < 400:
        to = _target(options.url, response.headers.get("location", ""))
        return Refused(_hidden(f"{where} redirects to {to}, which is not followed; give that address", options))
    if status in (401, 403):
        return Refused(f"{where} refuses access ({status}); check the login", wait=wait)
    said = _hidden(_said(body), options)
    return Refused(
        f"{where} answers {status} ({said})", rejected=400 <= status < 500 and status not in _LATER, wait=wait
    )


def _target(url: str, location: str) -> str:
    try:
        return origin_of(urljoin(_bare(url), location))
    except ValueError:
        return "an address that is none"


def _wait(retry_after: str) -> float:
    """Seconds to wait by a Retry-After header, bounded; 0 without one that can be read."""
    if re.fullmatch("[0-9]{1,9}", retry_after):
        return min(float(retry_after), _LONGEST_WAIT)
    try:
        moment = parsedate_to_datetime(retry_after)
        return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), _LONGEST_WAIT)
    except (ValueError, TypeError):
        return 0.0


def _said(body: bytes) -> str:
    """The beginning of an answer, or the message in it."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, str):
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("message"), str):
        return str(answer["message"])
    text = body[:200].decode("utf-8", "replace").strip()
    return "an HTML page" if text.startswith("<") else text or "no text"


def _hidden(text: str, options: PrometheusOptions) -> str:
    """A text without secrets, of which the rest of the URL may be one."""
    parts = urlsplit(options.url)
    for secret in (parts.path, parts.query):
        if len(secret) >= 4:
            text = text.replace(secret, "***")
    return redacted(text, options)
