"""
Collecting: every source that was named or found, asked once, into one bundle.

What is decided here is only where to ask. What the answers mean is decided when the bundle is read
(`collectors.reading`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.collectors.bundle_format import HOST_ALONE, Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.files import configuration, configuration_paths, server_environment
from engram_diagnose.collectors.capture.http import http_answer
from engram_diagnose.collectors.capture.local import capture_host, capture_local
from engram_diagnose.collectors.capture.machine import Machine, host_identity
from engram_diagnose.collectors.capture.names import names_this_host
from engram_diagnose.collectors.capture.storage import data_directory
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget, local_target
from engram_diagnose.collectors.instances import (
    NODE_DIALECT,
    USUAL_DIALECT,
    Chosen,
    choose,
    detect_metrics,
    dialect_by_form,
    dialect_of,
    not_there,
    same_server,
)
from engram_diagnose.collectors.parse.endpoints import HEALTH, http_paths
from engram_diagnose.collectors.prometheus.client import Found, Prometheus
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.plan import needed_selectors
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect

__all__ = ["DEFAULT_WINDOW", "NODE_DIALECT", "NothingToCollectError", "Request", "gather"]

DEFAULT_WINDOW: Final = 300.0
"""Seconds that `$window` of a dialect's expressions stands for."""

PRESENT: Final = 30.0
"""Seconds for which an instant counts as now: what this host and the server say now is not said of an earlier one."""


FUTURE: Final = 60.0
"""Seconds by which an instant may lie ahead of this host's clock, which need not be that of who names it."""

_NOT_RUNNING: Final = ("SOURCE_ABSENT", "PTRACE_DENIED")
"""Why no process was found on this host; other reasons say that the server is elsewhere, or was left out."""

_OF_TODAY: Final = "today's configuration is no evidence of the past; give --config FILE if it was the same then"


@dataclass(frozen=True, slots=True)
class Request:
    """
    What to collect. Nothing named is looked for on this host.

    `at` is the instant of the diagnosis (seconds since the epoch; 0 is now), `seconds` how long local counters are
    watched. The quiet time that `@before` facts speak of ends at `onset`, where that is known, else `before` seconds
    before `at`, and is as long as what is looked at now. `statements` are what the operator says of the server, as
    facts. With `sizing` a host on which no server runs yet is taken for the one it will run on, unless something was
    named that tells of a server elsewhere.
    """

    prometheus: PrometheusOptions | None = None
    instance: str = ""
    node_instance: str = ""
    metrics_url: str = field(default="", repr=False)
    server_url: str = ""
    server_token: str = field(default="", repr=False)
    config_file: str = ""
    data_dir: str = ""
    pid: int | None = None
    dialect: str = ""
    at: float = 0.0
    seconds: float = 5.0
    before: float = 3600.0
    onset: float = 0.0
    local: bool = True
    target_set: str = "target"
    statements: Mapping[str, float | str] = field(default_factory=dict)
    sizing: bool = False

    @property
    def quiet_time(self) -> float:
        """When the time before it began to be bad ended."""
        return self.onset or self.at - self.before


Progress = Callable[[str], None]


class NothingToCollectError(ValueError):
    """No source was named, and none was found; says what was looked for and what to give."""


def gather(request: Request, catalogue: Catalogue, wanted: Iterable[str], *, now: float, tool: str,
           rules: Mapping[str, Mapping[str, Any]], progress: Progress = lambda _: None) -> Bundle:  # fmt: skip
    """
    Ask every source and put the raw answers into a bundle.

    `wanted` are the facts the loaded rules read: they decide which metrics and windows are fetched. Of an instant in
    the past only Prometheus can speak. Raises `NothingToCollectError` when there is nothing to ask, and for an
    address or an instant that cannot be asked.
    """
    if request.dialect and request.dialect not in catalogue.dialects:
        known = ", ".join(sorted(set(catalogue.dialects) - {NODE_DIALECT}))
        raise NothingToCollectError(f"there is no dialect {request.dialect!r}; name one of {known} with --dialect")
    if request.at > now + FUTURE:
        ahead = request.at - now
        raise NothingToCollectError(f"the instant to diagnose lies {ahead:.0f} s in the future; give an earlier --at")
    if request.onset and request.onset > (request.at or now):
        raise NothingToCollectError("--onset lies after the instant to diagnose; give when it began to be bad")
    _check_address("--metrics", request.metrics_url)
    _check_address("--server", request.server_url)
    past = bool(request.at) and request.at < now - PRESENT
    if past and request.prometheus is None:
        raise NothingToCollectError("only Prometheus knows the past; give --prometheus URL together with --at")
    gathering = _Gathering(replace(request, at=request.at or now), catalogue, tuple(wanted), past, progress)
    return gathering.bundle(tool, rules)


class _Gathering:
    def __init__(self, request: Request, catalogue: Catalogue, wanted: tuple[str, ...], past: bool,
                 progress: Progress) -> None:  # fmt: skip
        self._request = request
        self._catalogue = catalogue
        self._wanted = wanted
        self._past = past
        self._identity = host_identity()
        self._machine = Machine(host=self._identity.id)
        self._progress = progress
        self._chosen = Chosen(request.instance)
        self._version = ""
        self._located: LocalTarget | NoTarget | None = None

    def bundle(self, tool: str, rules: Mapping[str, Mapping[str, Any]]) -> Bundle:
        request = self._request
        metrics, dialect = self._metrics()
        self._target()  # once, before two threads ask for it
        with ThreadPoolExecutor(max_workers=2) as pool:
            local = pool.submit(self._local)
            direct = [] if self._past else self._direct(dialect)
            answers = (*metrics, *local.result(), *direct, *self._configuration(dialect))
        alone = self._alone()
        marks: dict[str, object] = {"past": True} if self._past else {HOST_ALONE: True} if alone else {}
        return Bundle(
            time=request.at,
            tool=tool,
            dialect=dialect.name,
            instance=self._chosen.name or _address(self._named_url() or self._server_url()),
            host=self._identity.id,
            host_name=self._identity.name,
            targets_set=request.target_set,
            options={"window": DEFAULT_WINDOW, "before": request.at - request.quiet_time,
                     "statements": dict(request.statements),
                     "node_instance": request.node_instance, "local": alone or isinstance(self._target(), LocalTarget),
                     "prometheus_version": self._version, "job": self._chosen.job, **marks},
            rules=rules,
            answers=answers,
        )  # fmt: skip

    # Prometheus

    def _metrics(self) -> tuple[list[Answer], Dialect]:
        options = self._request.prometheus
        if options is None:
            return [], self._dialect()
        self._progress("asking Prometheus")
        with Prometheus(options) as prometheus:
            found = prometheus.instances(detect_metrics(self._catalogue.dialects), at=self._request.at)
            if isinstance(found, Refusal):
                return [self._refused("window", found)], self._dialect()
            chosen = choose(found, self._request.instance)
            if isinstance(chosen, Refusal):
                return [self._refused("window", chosen)], self._dialect()
            self._chosen, self._version = chosen, found.version
            dialect = self._dialect()
            return self._windows(prometheus, found, dialect), dialect

    def _windows(self, prometheus: Prometheus, found: Found, dialect: Dialect) -> list[Answer]:
        """The raw samples of now, of before, and of the host's exporter, as far as they are wanted."""
        request, instance = self._request, self._chosen.name
        answers = [self._window(prometheus, dialect, "window", instance, request.at)]
        if answers[0].reason == "SOURCE_ABSENT" and not self._chosen.metrics:
            return [self._refused("window", not_there(instance, found))]
        quiet = any(name.endswith("@before") for name in self._wanted)
        if quiet:
            answers.append(self._window(prometheus, dialect, "before", instance, request.quiet_time))
        if request.node_instance and NODE_DIALECT in self._catalogue.dialects:
            node = self._catalogue.dialects[NODE_DIALECT]
            answers.append(self._window(prometheus, node, "node", request.node_instance, request.at))
            if quiet:
                then = request.quiet_time
                answers.append(self._window(prometheus, node, "before-node", request.node_instance, then))
        return answers

    def _window(self, prometheus: Prometheus, dialect: Dialect, name: str, instance: str, at: float) -> Answer:
        suffix = "@before" if name.startswith("before") else ""
        wanted = [one.removesuffix(suffix) for one in self._wanted if one.endswith(suffix)]
        # All that the server publishes of itself now: another reader of the bundle may ask for more than these rules.
        wanted += [source.fact for source in dialect.sources.values() if not suffix]
        needed = needed_selectors(wanted, dialect=dialect, catalogue=self._catalogue, default_window=DEFAULT_WINDOW)
        answer = prometheus.window(needed.metrics, instance=instance, seconds=needed.seconds, at=at)
        if isinstance(answer, Refusal):
            return self._refused(name, answer)
        return Answer("prometheus", f"{name} {needed.seconds:g}", at, self._metrics_host(), answer)

    def _refused(self, name: str, refusal: Refusal) -> Answer:
        host, reason = self._metrics_host(), refusal.reason.name
        return Answer("prometheus", f"{name} 0", self._request.at, host, None, reason, str(refusal))

    def _metrics_host(self) -> str:
        """What the server's metrics speak of: this machine when the server runs on it, else the instance's name."""
        return self._identity.id if isinstance(self._target(), LocalTarget) else self._chosen.name

    def _dialect(self) -> Dialect:
        """The dialect that was named; else the one whose metrics are there; else that of the server asked directly."""
        dialects = self._catalogue.dialects
        named = self._request.dialect or dialect_of(dialects, self._chosen.metrics) or self._dialect_asked()
        return dialects[named or USUAL_DIALECT]

    def _dialect_asked(self) -> str:
        """The dialect by the form of the server's own `/metrics`."""
        named, found = self._request.metrics_url, self._server_url()
        if self._past or not (named or found):
            return ""
        answer = self._ask(*_split(named)) if named else self._ask(found, "/metrics")
        return dialect_by_form(self._catalogue.dialects, answer.body or "") if answer.answered else ""

    # This machine

    def _target(self) -> LocalTarget | NoTarget:
        """The server's process, looked for once the instance is known."""
        if self._located is None:
            self._located = self._locate()
        return self._located

    def _locate(self) -> LocalTarget | NoTarget:
        request = self._request
        if not request.local:
            return NoTarget("NOT_COLLECTED", "this host was left out (--no-local)")
        label = self._chosen.name
        via = self._via() if label else ""
        return local_target(label or _address(self._named_url()), pid=request.pid, via=via)

    def _via(self) -> str:
        """Who says the instance's label: the "localhost" of Prometheus is its own."""
        options = self._request.prometheus
        return urlsplit(options.url).hostname or "" if options else ""

    def _alone(self) -> bool:
        """Whether this host is to be sized for a server that nobody named and that does not run here yet."""
        request, target = self._request, self._target()
        elsewhere = request.prometheus or self._named_url() or request.pid or self._past
        return request.sizing and not elsewhere and isinstance(target, NoTarget) and target.reason in _NOT_RUNNING

    def _named_url(self) -> str:
        return self._request.server_url or self._request.metrics_url

    def _local(self) -> list[Answer]:
        target, request = self._target(), self._request
        if isinstance(target, NoTarget):
            # Of a host without the server only what does not move matters, so its counters are not watched.
            host = capture_host(self._machine, data_dir=request.data_dir, seconds=0) if self._alone() else []
            return [*capture_local(self._machine, target), *host]
        if self._past:
            why = NoTarget("WINDOW_NOT_COLLECTED", "this host's counters are of now, and the diagnosis is of the past")
            return capture_local(self._machine, why)
        self._progress(f"watching process {target.pid} for {request.seconds:g} s")
        data_dir = request.data_dir or data_directory(target.pid)
        return capture_local(self._machine, target, data_dir=data_dir, seconds=request.seconds)

    # The server itself

    def _server_url(self) -> str:
        """Where to ask the server: what was named, else the port on which its process was found listening here."""
        target = self._target()
        if self._request.server_url or not isinstance(target, LocalTarget) or not target.port:
            return self._request.server_url
        return f"http://127.0.0.1:{target.port}"

    def _direct(self, dialect: Dialect) -> list[Answer]:
        request, url = self._request, self._server_url()
        answers: list[Answer] = []
        if request.metrics_url:
            answers += self._said_by(request.metrics_url, self._metrics_endpoint(dialect))
        if url:
            self._progress("asking the server")
            told: list[Answer] = []
            if request.prometheus is None and not request.metrics_url:
                told += self._exposition(url, dialect)
            told += [self._ask(url, path) for path in sorted(_paths(dialect))]
            answers += self._said_by(url, told) if request.server_url else self._said_here(told)
        # Nobody named an address that was found: that it does not answer on this interface says nothing.
        return [one for one in answers if one.answered or self._named_url() or one.detail.startswith("HTTP ")]

    def _said_here(self, answers: list[Answer]) -> list[Answer]:
        """Answers from the port on which the server's own process was found listening."""
        return [replace(answer, host=self._identity.id) for answer in answers]

    def _said_by(self, url: str, answers: list[Answer]) -> list[Answer]:
        """
        Answers with the server they speak of: who was asked. Two servers must not be taken for one, so that those of
        another than the chosen instance count as unknown. Who names both says that they are one: labels are rewritten.
        """
        address, name = _address(url), self._chosen.name
        if name and not self._request.instance and not same_server(name, url, via=self._via()):
            detail = f"{address} was asked, and {name} is diagnosed; if they are one, say so with --instance {name}"
            return [replace(one, host=address, reason="OTHER_HOST", detail=detail) for one in answers]
        if isinstance(self._target(), LocalTarget) and names_this_host(urlsplit(url).hostname or ""):
            return self._said_here(answers)
        return [replace(answer, host=name or address) for answer in answers]

    def _ask(self, url: str, path: str, name: str = "") -> Answer:
        return http_answer(self._machine, url, path, name=name, token=self._request.server_token)

    def _metrics_endpoint(self, dialect: Dialect) -> list[Answer]:
        """What was named as the metrics: a text exposition, or the server's JSON."""
        base, path, name = _split(self._request.metrics_url)
        if dialect.metrics_format == "windowed-json" and name == dialect.metrics_path:
            return [self._ask(base, path, name)]
        return self._scrapes(self._request.metrics_url, 2)

    def _exposition(self, url: str, dialect: Dialect) -> list[Answer]:
        """The text exposition: twice where it holds counters, once where its figures are sums over a window already."""
        if dialect.metrics_format == "prometheus":
            return self._scrapes(url.rstrip("/") + dialect.metrics_path, 2)
        return self._scrapes(url.rstrip("/") + dialect.exposition_path, 1) if dialect.exposition_path else []

    def _scrapes(self, url: str, count: int) -> list[Answer]:
        base, path, name = _split(url)
        found: list[Answer] = []
        for turn in range(count):
            if turn:
                self._progress(f"scraping {name} again in {self._request.seconds:g} s")
                time.sleep(self._request.seconds)
            found.append(replace(self._ask(base, path, name), collector="exposition"))
            if not found[-1].answered:
                break
        return found

    def _configuration(self, dialect: Dialect) -> list[Answer]:
        target = self._target()
        if self._request.config_file:
            return [configuration(self._machine, self._request.config_file)]
        if not isinstance(target, LocalTarget):
            return []
        if self._past:
            place = next(iter(dialect.config_files), "configuration")
            host = self._identity.id
            return [Answer("config", place, self._request.at, host, None, "WINDOW_NOT_COLLECTED", _OF_TODAY)]
        for path in configuration_paths(dialect.config_files, server_environment(target.pid)):
            answer = configuration(self._machine, path)
            if answer.reason != "SOURCE_ABSENT":
                return [answer]
        return []


def _paths(dialect: Dialect) -> set[str]:
    """What to ask a server for besides its text exposition."""
    metrics = {dialect.metrics_path} if dialect.metrics_format == "windowed-json" else set()
    return {HEALTH, *http_paths(dialect)} | metrics


def _address(url: str) -> str:
    """`host:port` of a URL."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.netloc else ""


def _check_address(option: str, url: str) -> None:
    """Raises `NothingToCollectError`, which never repeats the address: it may hold a password."""
    if not url:
        return
    form = "write it like http://db1:7432"
    try:
        parts = urlsplit(url)
        asked = parts.scheme.lower() in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise NothingToCollectError(f"the address after {option} cannot be read; {form}") from None
    if "@" in parts.netloc:
        raise NothingToCollectError(f"the address after {option} holds a user name; leave it out and give a token")
    if not asked:
        raise NothingToCollectError(f"the address after {option} lacks http:// or https://, or its host; {form}")


def _split(url: str) -> tuple[str, str, str]:
    """
    A metrics address as its server, its path with the query, and its path alone, which is what it is called: a query
    may hold a secret. The path is `/metrics` where there is none.
    """
    parts = urlsplit(url)
    query = f"?{parts.query}" if parts.query else ""
    path = parts.path if parts.path.strip("/") else "/metrics"
    return f"{parts.scheme}://{parts.netloc}", path + query, path
