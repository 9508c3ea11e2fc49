"""
What went wrong on the way to an answer, in words of an operator.
"""

import json
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urljoin, urlsplit, urlunsplit

from engram_diagnose.collectors.prometheus.options import (
    PrometheusOptions,
    Refusal,
    address_of,
    redacted,
)
from engram_diagnose.engine.facts.fact import Reason

if TYPE_CHECKING:
    import httpx

_EXPENSIVE: Final = (
    "too many samples",
    "would load too many",
    "exceeds the limit",
    "limit exceeded",
    "max series",
)
_CREDENTIALS: Final = "give a bearer token, or user and password, that may read /api/v1/query"
_RUNNING: Final = "check the address, and that Prometheus runs and may be reached from here"


def of_exception(error: Exception, options: PrometheusOptions) -> Refusal:
    """An exception of httpx, ssl, the operating system, or of making the request."""
    import ssl

    import httpx

    try:
        address = address_of(options)
    except ValueError as wrong:
        return Refusal(Reason.SOURCE_UNREACHABLE, str(wrong), "correct the address")
    if isinstance(error, httpx.TimeoutException):
        detail = f"{address} did not answer within {options.timeout:g} s"
        return Refusal(Reason.SOURCE_UNREACHABLE, detail, "raise the timeout, or ask for a shorter window")
    certificate = _cause(error, ssl.SSLError)
    if certificate is not None:
        return _of_tls(address, certificate, options)
    if isinstance(error, httpx.ConnectError):
        detail = f"{address} cannot be connected to ({_words(error)})"
        return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options), _RUNNING)
    if isinstance(error, httpx.DecodingError):
        detail = f"{address} sends an answer that cannot be unpacked ({_words(error)})"
        return Refusal(
            Reason.UNPARSED, redacted(detail, options), "look at the proxies on the way: one compresses badly"
        )
    if isinstance(error, httpx.HTTPError) and not isinstance(error, httpx.LocalProtocolError):
        detail = f"{address} broke the connection ({_words(error)})"
        return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options), _RUNNING)
    if isinstance(error, OSError):
        detail = f"a certificate or key file cannot be read ({error.strerror or _words(error)})"
        return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options), "check the paths of the TLS files")
    # What is left speaks of the request, and may quote headers, so only sentences of our own are
    # passed on.
    detail = str(error) if type(error) is ValueError else "no request can be made from these options"
    return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options), "correct the options for Prometheus")


def _of_tls(address: str, error: BaseException, options: PrometheusOptions) -> Refusal:
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"the certificate of {address} is not trusted ({error.verify_message})"
        return Refusal(
            Reason.SOURCE_UNREACHABLE,
            redacted(detail, options),
            "name its authority's file as the CA",
        )
    detail = f"no TLS connection to {address} ({_words(error)})"
    return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options),
                   "check http against https, and the client certificate")  # fmt: skip


def _cause(error: BaseException | None, kind: type[BaseException]) -> BaseException | None:
    """The first of a kind in the chain of causes."""
    for _ in range(10):
        if error is None or isinstance(error, kind):
            return error
        error = error.__cause__ or error.__context__
    return None


def _words(error: BaseException) -> str:
    return str(error) or type(error).__name__


def of_status(response: "httpx.Response", body: bytes, options: PrometheusOptions) -> Refusal | None:
    """A status other than 200; None for that."""
    status, address = response.status_code, address_of(options)
    if status == 200:
        return None
    said = redacted(_said(body), options)
    if 300 <= status < 400:
        detail = f"{address} redirects to {_target(address, response.headers.get('location', ''))}"
        next_step = "give the address it redirects to, if you trust it"
        return Refusal(Reason.SOURCE_UNREACHABLE, redacted(detail, options), next_step)
    if status in (401, 403):
        return Refusal(Reason.SOURCE_UNREACHABLE, f"{address} refuses access ({status})", _CREDENTIALS)
    if status == 404:
        detail = f"{address} has no /api/v1/query (404)"
        return Refusal(Reason.SOURCE_UNREACHABLE, detail, "add the path prefix, such as /prometheus for Mimir")
    if any(phrase in said for phrase in _EXPENSIVE) or status == 413:
        detail = f"the server finds the question too expensive ({status}: {said})"
        return Refusal(Reason.TOO_EXPENSIVE, detail, "ask for one instance or a shorter window")
    if status in (400, 422):
        detail = f"the server refuses the query ({status}: {said})"
        return Refusal(Reason.UNPARSED, detail, "check that this is Prometheus, and its version")
    if status in (502, 503, 504, 429):
        detail = f"{address} is overloaded or not ready ({status}: {said})"
        return Refusal(Reason.SOURCE_UNREACHABLE, detail, _again(response.headers.get("retry-after", "")))
    return Refusal(Reason.SOURCE_UNREACHABLE, f"{address} answers {status} ({said})", _RUNNING)


def _again(retry_after: str) -> str:
    """What to do about a server that may answer later; it may say when, in seconds or as a date."""
    later = retry_after.strip()
    if re.fullmatch(r"[0-9]{1,6}", later):
        return f"try again in {int(later)} s, as it asks, or ask for a shorter window"
    if re.fullmatch(r"[A-Za-z0-9:, ]{1,40}", later):
        return f"try again after {later}, as it asks, or ask for a shorter window"
    return "try again, or ask for a shorter window"


def _target(address: str, location: str) -> str:
    """Where a redirect leads, without user, password and query."""
    try:
        parts = urlsplit(urljoin(address, location))
    except ValueError:
        return "an address that is none"
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _said(body: bytes) -> str:
    """The error in an answer, else its beginning."""
    try:
        answer = json.loads(body)
        if isinstance(answer, dict) and isinstance(answer.get("error"), str):
            return str(answer["error"])
    except (ValueError, RecursionError):
        pass
    text = body[:200].decode("utf-8", "replace")
    return "an HTML page" if text.lstrip().startswith("<") else text.strip() or "no text"


def of_answer(body: bytes, options: PrometheusOptions) -> str | Refusal:
    """
    The body of a 200 as text, looked at just as far as to tell that it is JSON.

    It may be 64 MiB, and whoever reads its samples decodes it whole anyway.
    """
    address = address_of(options)
    try:
        text = body.decode()
    except UnicodeDecodeError:
        detail = f"{address} answers in something other than UTF-8"
        return Refusal(Reason.UNPARSED, detail, _RUNNING)
    start = text[:200].lstrip()
    if start.startswith("<"):
        detail = f"{address} answers with an HTML page instead of JSON"
        next_step = "check the address: a login page or another server stands there"
        return Refusal(Reason.UNPARSED, detail, next_step)
    if not start.startswith("{"):
        return Refusal(Reason.UNPARSED, f"{address} does not answer in JSON", _RUNNING)
    if not text[-200:].rstrip().endswith("}"):
        detail = f"the answer of {address} breaks off after {len(body)} bytes"
        return Refusal(Reason.UNPARSED, detail, "ask again; if it happens again, look at the proxies on the way")
    return text
