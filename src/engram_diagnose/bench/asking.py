"""
Single requests before and after a load: health, metrics, one memory, removing a space. Nothing here is timed.

Each has a deadline of its own, follows no redirect, goes through no proxy, and its answer is bounded.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from engram_diagnose.bench.guards import Address

_MOST_BYTES: Final = 16 << 20
_SHOWN: Final = 120


class NoAnswerError(ValueError):
    """A server that gave no answer at all; says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer: its status, and its body as far as it is text."""

    status: int
    text: str
    retry_after: str = ""

    @property
    def json(self) -> Any:
        """The body as JSON; None for what is none."""
        try:
            return json.loads(self.text)
        except (ValueError, RecursionError):
            return None

    @property
    def shown(self) -> str:
        """The beginning of the body on one line, for a message."""
        line = " ".join(self.text.split())
        return "".join(letter if letter.isprintable() else "?" for letter in line)[:_SHOWN]


class Asking:
    """A server that is asked one thing after the other; a context, which closes its connections."""

    def __init__(self, address: Address, *, token: str = "", wait: float) -> None:
        self.address = address
        self._wait = wait
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"User-Agent": "engram-diagnose bench", "Accept": "*/*"}
        self._client = httpx.Client(
            base_url=address.url, headers=headers, timeout=wait, trust_env=False, follow_redirects=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:  # fmt: skip
        self._client.close()

    def get(self, path: str, *, query: Mapping[str, str] | None = None, space: str = "") -> Reply:
        """`GET path`; raises `NoAnswerError`."""
        return self._ask("GET", path, query=query, space=space)

    def post(self, path: str, body: Mapping[str, Any], *, space: str = "") -> Reply:
        """`POST path` with a JSON body; raises `NoAnswerError`."""
        return self._ask("POST", path, body=body, space=space)

    def delete(self, path: str) -> Reply:
        """`DELETE path`; raises `NoAnswerError`."""
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, *, query: Mapping[str, str] | None = None,
             body: Mapping[str, Any] | None = None, space: str = "") -> Reply:  # fmt: skip
        headers = {"X-Memory-Space": space} if space else {}
        try:
            with self._client.stream(method, path, params=query, json=body, headers=headers) as response:
                text = _bounded(response, until=time.monotonic() + self._wait)
                return Reply(response.status_code, text, response.headers.get("Retry-After", ""))
        except httpx.TimeoutException:
            raise NoAnswerError(f"{self.address.authority} gave no answer to {method} {path} within {self._wait:g} s; "
                                "it hangs, or something between drops what is sent") from None  # fmt: skip
        except httpx.ConnectError as error:
            raise NoAnswerError(f"{self.address.authority}: {_connecting(error)}") from None
        except httpx.RemoteProtocolError as error:
            said = str(error)[:_SHOWN]
            raise NoAnswerError(f"{self.address.authority} answers {method} {path} with what is no HTTP ({said}); "
                                "another service stands on that port, or it died") from None  # fmt: skip
        except (httpx.ReadError, httpx.WriteError):
            raise NoAnswerError(f"{self.address.authority} closed the connection instead of answering {method} {path}: "
                                "it died, or another service stands on that port") from None  # fmt: skip
        except httpx.HTTPError as error:
            said = f"{type(error).__name__} {str(error)[:_SHOWN]}".strip()
            raise NoAnswerError(f"{self.address.authority} gave no answer to {method} {path}: {said}") from None


def _bounded(response: httpx.Response, *, until: float) -> str:
    """
    At most so many bytes of the body; the rest says nothing more.

    Raises `httpx.ReadTimeout` for one that is not there by `until`: a byte now and then outlives any other timeout.
    """
    chunks, size = [], 0
    for chunk in response.iter_bytes():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MOST_BYTES:
            break
        if time.monotonic() > until:
            raise httpx.ReadTimeout("the answer was not complete in time")
    return b"".join(chunks)[:_MOST_BYTES].decode("utf-8", "replace")


def _connecting(error: httpx.ConnectError) -> str:
    said = str(error)
    if "refused" in said.lower():
        return "nothing listens there; start the server, or name its port"
    if "name or service" in said.lower() or "nodename" in said.lower() or "resolution" in said.lower():
        return "no such host is known; check the name"
    return f"no connection ({said[:_SHOWN]}); check address, route and firewall"
