"""
Questions to Prometheus' HTTP API.

One raw query fetches all samples of one instance; what can go wrong on the way is answered with a
`Refusal`, never raised. httpx and ssl are imported with the first question, so that a command that
asks nothing does not wait for it.
"""

import contextlib
import json
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from engram_diagnose.collectors.prometheus.labels import escaped
from engram_diagnose.collectors.prometheus.options import (
    PrometheusOptions,
    Refusal,
    address_of,
    login_of,
    problem_of,
    redacted,
    shown,
)
from engram_diagnose.collectors.prometheus.pattern import quoted
from engram_diagnose.collectors.prometheus.refusal import of_answer, of_exception, of_status
from engram_diagnose.collectors.prometheus.series import UP
from engram_diagnose.engine.facts.fact import Reason

if TYPE_CHECKING:
    import ssl

    import httpx

__all__ = ["Found", "Instance", "Prometheus", "PrometheusOptions", "Refusal", "raw_query", "tls_context"]

_VICTORIA: Final = "x-server-hostname"
"""A header that VictoriaMetrics puts on every answer."""

_SMALL: Final = 4096
"""
Bytes below which an answer is decoded to see whether it is empty: one with samples is longer, or
cheap.
"""


@dataclass(frozen=True, slots=True)
class Instance:
    """One scraped target; `metrics` holds those of the detect metrics that it publishes, `up` None if not known."""

    name: str
    job: str
    up: bool | None
    metrics: frozenset[str]


@dataclass(frozen=True, slots=True)
class Found:
    """Targets that publish a detect metric, and the version that the server says it is; empty if it does not."""

    instances: tuple[Instance, ...]
    version: str


def raw_query(metrics: Iterable[str], *, instance: str, seconds: float) -> str:
    """
    The range selector of all samples of these metrics of one instance.

    Names stand in a pattern, so they are escaped for RE2 and then for PromQL; the instance is
    compared as it is. Without an instance all are fetched.
    """
    pattern = escaped("|".join(quoted(name) for name in sorted(set(metrics))))
    where = f',instance="{escaped(instance)}"' if instance else ""
    return f'{{__name__=~"{pattern}"{where}}}[{max(1, math.ceil(seconds))}s]'


class Prometheus:
    """
    One server, over one connection; a context manager.

    Each method gives its answer or a `Refusal`, and asks a second time only when the connection was
    reset.
    """

    def __init__(self, options: PrometheusOptions) -> None:
        self.options = options
        self._client: httpx.Client | None = None
        self._victoria = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._client is not None:
            self._client.close()

    def window(self, metrics: Iterable[str], *, instance: str, seconds: float, at: float) -> str | Refusal:
        """The raw samples of the `seconds` before `at` (seconds since the epoch), as the API's JSON text."""
        query = raw_query(metrics, instance=instance, seconds=seconds)
        answer = self._query(query, at)
        if isinstance(answer, Refusal) or len(answer) >= _SMALL:
            return answer
        results = _results(answer)
        if results is None:
            return _foreign(self.options)
        if not results:
            whose = f"of instance {shown(instance)!r} " if instance else ""
            detail = f"no samples {whose}in the {seconds:g} s before the instant"
            return Refusal(Reason.SOURCE_ABSENT, detail, "check the instance's name and the time")
        return answer

    def instances(self, detect: Iterable[str], *, at: float, within: float = 900) -> Found | Refusal:
        """
        The targets that published any of the metrics `detect` in the `within` seconds before `at`.

        Not only at that instant: a server that has just died publishes nothing, and is the one to
        look at.
        """
        names = "|".join(quoted(name) for name in sorted({*detect, UP}))
        selector = f'{{__name__=~"{escaped(names)}"}}[{max(1, math.ceil(within))}s]'
        answer = self._query(f"max by (__name__, instance, job) (last_over_time({selector}))", at)
        if isinstance(answer, Refusal):
            return answer
        results = _results(answer)
        if results is None:
            return _foreign(self.options)
        return Found(_instances(results), self._version())

    def samples(self, selector: str, *, seconds: float, at: float) -> list[Any] | Refusal:
        """
        The series of a selector with their samples of the `seconds` before `at`, or with the one at `at` for 0 seconds.

        As the API has them: `{"metric": {…}, "values": [[time, text], …]}`, or `"value": [time, text]`.
        """
        window = f"[{max(1, math.ceil(seconds))}s]" if seconds else ""
        answer = self._query(f"{selector}{window}", at)
        if isinstance(answer, Refusal):
            return answer
        results = _results(answer)
        return _foreign(self.options) if results is None else results

    def _version(self) -> str:
        """
        What the server says it is; Thanos and others may not, which is no reason to stop.

        VictoriaMetrics says it is some Prometheus 2, and is not: its ranges are open to the left, as those of 3 are.
        """
        answer = self._ask("GET", "/api/v1/status/buildinfo", {})
        data = _data(answer) if isinstance(answer, str) else None
        version = data.get("version") if isinstance(data, dict) else None
        said = redacted(version, self.options) if isinstance(version, str) else ""
        return f"VictoriaMetrics (says {said or 'nothing'})" if self._victoria else said

    def _query(self, query: str, at: float) -> str | Refusal:
        form = {
            "query": query,
            "time": f"{at:.3f}",
            "timeout": f"{math.ceil(self.options.timeout)}s",
        }
        return self._ask("POST", "/api/v1/query", form)

    def _ask(self, method: str, path: str, form: Mapping[str, str]) -> str | Refusal:
        """One question, asked again once if the connection was reset."""
        import httpx

        resets = (httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError)
        try:
            with contextlib.suppress(*resets):
                return self._exchange(method, path, form)
            return self._exchange(method, path, form)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return of_exception(error, self.options)

    def _exchange(self, method: str, path: str, form: Mapping[str, str]) -> str | Refusal:
        client = self._client = self._client or _client(self.options)
        deadline = time.monotonic() + self.options.timeout
        url = address_of(self.options) + path
        with client.stream(method, url, data=form or None) as response:
            self._victoria |= _VICTORIA in response.headers
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > self.options.max_bytes:
                    return _too_large(self.options)
                if time.monotonic() > deadline:
                    return _too_slow(self.options)
        refusal = of_status(response, bytes(body), self.options)
        return refusal or of_answer(bytes(body), self.options)


def _client(options: PrometheusOptions) -> "httpx.Client":
    """Raises `ValueError` or `OSError` for options that no request can be made from."""
    import httpx

    problem = problem_of(options)
    if problem:
        raise ValueError(problem)
    headers = {"Accept-Encoding": "identity", "Accept": "application/json", **options.headers}
    if options.bearer_token:
        headers["Authorization"] = f"Bearer {options.bearer_token}"
    login = None if options.bearer_token else login_of(options)
    secure = address_of(options).startswith("https:")
    return httpx.Client(
        headers=headers,
        auth=httpx.BasicAuth(*login) if login else None,
        verify=tls_context(options) if secure else _no_tls(),
        timeout=options.timeout,
        follow_redirects=False,
    )


@cache
def _no_tls() -> "ssl.SSLContext":
    """For plain HTTP, whose client would otherwise make a context of its own each time, and never use it."""
    import ssl

    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def tls_context(options: PrometheusOptions) -> "ssl.SSLContext":
    """The system's certificates (or `ca_file`), and the client's own; raises `OSError` for unusable files."""
    import ssl

    context = ssl.create_default_context(cafile=options.ca_file or None)
    if options.client_cert:
        context.load_cert_chain(options.client_cert, options.client_key or None)
    if not options.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _too_large(options: PrometheusOptions) -> Refusal:
    size = options.max_bytes / 2**20
    return Refusal(Reason.TOO_EXPENSIVE, f"the answer is larger than {size:g} MiB",
                   "ask for one instance, fewer metrics or a shorter window")  # fmt: skip


def _too_slow(options: PrometheusOptions) -> Refusal:
    return Refusal(Reason.SOURCE_UNREACHABLE, f"no whole answer within {options.timeout:g} s",
                   "raise the timeout, or ask for a shorter window")  # fmt: skip


def _foreign(options: PrometheusOptions) -> Refusal:
    detail = f"{address_of(options)} answers in JSON, but not as Prometheus' API does"
    return Refusal(Reason.UNPARSED, detail, "check the address: another server stands there")


def _data(answer: str) -> object:
    """The `data` of an answer; None when there is none."""
    try:
        decoded: Any = json.loads(answer)
    except (ValueError, RecursionError):
        return None
    return decoded.get("data") if isinstance(decoded, dict) else None


def _results(answer: str) -> list[Any] | None:
    data = _data(answer)
    result = data.get("result") if isinstance(data, dict) else None
    return result if isinstance(result, list) else None


def _instances(results: list[Any]) -> tuple[Instance, ...]:
    """Targets of a vector by instance and job; those that have nothing but `up` are none of ours."""
    published: dict[tuple[str, str], set[str]] = {}
    up: dict[tuple[str, str], bool] = {}
    for item in results:
        metric = item.get("metric") if isinstance(item, dict) else None
        if not isinstance(metric, dict):
            continue
        name, key = (
            metric.get("__name__"),
            (str(metric.get("instance", "")), str(metric.get("job", ""))),
        )
        if name == UP:
            up[key] = _last(item.get("value")) == "1"
        elif isinstance(name, str):
            published.setdefault(key, set()).add(name)
    return tuple(Instance(*key, up.get(key), frozenset(published[key])) for key in sorted(published))


def _last(pair: object) -> object:
    return pair[-1] if isinstance(pair, list) and pair else None
