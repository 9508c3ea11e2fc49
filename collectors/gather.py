"""
Collecting: every source that was named or found, asked once, into one bundle.

What is decided here is only where to ask. What the answers mean is decided when the bundle is read (`collectors.reading`).
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.files import configuration, configuration_paths, server_environment
from engram_diagnose.collectors.capture.http import http_answer
from engram_diagnose.collectors.capture.local import capture_local
from engram_diagnose.collectors.capture.machine import HostIdentity, Machine, host_identity
from engram_diagnose.collectors.capture.target import LocalTarget, NoTarget, local_target
from engram_diagnose.collectors.parse.endpoints import HEALTH, http_paths
from engram_diagnose.collectors.prometheus.client import Prometheus
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.plan import needed_selectors
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect
from engram_diagnose.engine.facts.fact import Reason

DEFAULT_WINDOW: Final = 300.0
"""Seconds that `$window` of a dialect's expressions stands for."""

NODE_DIALECT: Final = "node-exporter"
"""The dialect of host metrics; its series are joined with the server's by a selector the operator gives."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    What to collect. Nothing named is looked for on this host.

    `at` is the instant of the diagnosis (seconds since the epoch; 0 is now), `seconds` how long local counters are
    watched, `before` how long before `at` the quiet time lies that `@before` facts speak of. `statements` are what the operator
    says of the server, as facts.
    """

    prometheus: PrometheusOptions | None = None
    instance: str = ""
    node_instance: str = ""
    metrics_url: str = ""
    server_url: str = ""
    server_token: str = field(default="", repr=False)
    config_file: str = ""
    data_dir: str = ""
    pid: int | None = None
    dialect: str = ""
    at: float = 0.0
    seconds: float = 5.0
    before: float = 3600.0
    local: bool = True
    target_set: str = "target"
    statements: Mapping[str, float | str] = field(default_factory=dict)


Progress = Callable[[str], None]


class NothingToCollectError(ValueError):
    """No source was named, and none was found; says what was looked for and what to give."""


def gather(request: Request, catalogue: Catalogue, wanted: Iterable[str], *, now: float, tool: str,
           rules: Mapping[str, Mapping[str, Any]], progress: Progress = lambda _: None) -> Bundle:  # fmt: skip
    """
    Ask every source and put the raw answers into a bundle.

    `wanted` are the facts the loaded rules read: they decide which metrics and windows are fetched. Raises
    `NothingToCollectError` when there is nothing to ask.
    """
    identity = host_identity()
    machine = Machine(host=identity.id)
    return _Gathering(replace(request, at=request.at or now), catalogue, tuple(wanted), identity, machine, progress).bundle(tool, rules)


class _Gathering:
    def __init__(self, request: Request, catalogue: Catalogue, wanted: tuple[str, ...], identity: HostIdentity,
                 machine: Machine, progress: Progress) -> None:  # fmt: skip
        self._request = request
        self._catalogue = catalogue
        self._wanted = wanted
        self._identity = identity
        self._machine = machine
        self._progress = progress
        self._instance = request.instance
        self._located: LocalTarget | NoTarget | None = None

    def bundle(self, tool: str, rules: Mapping[str, Mapping[str, Any]]) -> Bundle:
        request = self._request
        metrics, dialect = self._metrics()
        target = self._target()
        with ThreadPoolExecutor(max_workers=2) as pool:
            local = pool.submit(self._local, target)
            direct = self._direct(dialect, target)
            answers = (*metrics, *local.result(), *direct, *self._configuration(dialect, target))
        if not any(answer.answered or answer.reason for answer in answers):
            raise NothingToCollectError("there is no source to ask")
        return Bundle(
            time=request.at,
            tool=tool,
            dialect=dialect.name,
            instance=self._instance or request.server_url or request.metrics_url,
            host=self._identity.id,
            host_name=self._identity.name,
            targets_set=request.target_set,
            options={"window": DEFAULT_WINDOW, "before": request.before, "statements": dict(request.statements),
                     "node_instance": request.node_instance, "local": isinstance(target, LocalTarget)},
            rules=rules,
            answers=answers,
        )  # fmt: skip

    # Prometheus

    def _metrics(self) -> tuple[tuple[Answer, ...], Dialect]:
        options = self._request.prometheus
        if options is None:
            return (), self._dialect(())
        self._progress("asking Prometheus")
        with Prometheus(options) as prometheus:
            published = self._find_instance(prometheus)
            dialect = self._dialect(published[1])
            if published[0] is not None:
                return (published[0],), dialect
            answers = [self._window(prometheus, dialect, "window", self._instance, self._request.at)]
            if any(name.endswith("@before") for name in self._wanted):
                answers.append(self._window(prometheus, dialect, "before", self._instance, self._request.at - self._request.before))
            if self._request.node_instance and NODE_DIALECT in self._catalogue.dialects:
                node = self._catalogue.dialects[NODE_DIALECT]
                answers.append(self._window(prometheus, node, "node", self._request.node_instance, self._request.at))
            return tuple(answers), dialect

    def _find_instance(self, prometheus: Prometheus) -> tuple[Answer | None, tuple[str, ...]]:
        """Which instance is meant, and the detect metrics it publishes; an answer when that cannot be told."""
        known = {metric for dialect in self._catalogue.dialects.values() if dialect.name != NODE_DIALECT for metric in dialect.detect}
        found = prometheus.instances(known, at=self._request.at)
        if isinstance(found, Refusal):
            return self._refused("window", found), ()
        candidates = [one for one in found.instances if one.metrics]
        if self._instance:
            candidates = [one for one in found.instances if one.name == self._instance]
        if len(candidates) == 1:
            self._instance = candidates[0].name
            return None, tuple(sorted(candidates[0].metrics))
        return self._refused("window", self._which(candidates, [one.name for one in found.instances])), ()

    def _which(self, candidates: Sequence[Any], all_names: list[str]) -> Refusal:
        if candidates:
            names = ", ".join(sorted(one.name for one in candidates)[:8])
            return Refusal(Reason.SOURCE_ABSENT, f"{len(candidates)} instances publish Engram metrics: {names}", "name one with --instance")
        if self._instance:
            known = f"; it knows {', '.join(sorted(all_names)[:8])}" if all_names else ""
            return Refusal(Reason.SOURCE_ABSENT, f"Prometheus has no samples of instance {self._instance!r} at that time{known}", "check --instance and --at")
        return Refusal(Reason.SOURCE_ABSENT, "no instance in Prometheus publishes metrics of a known dialect", "check the scrape configuration, or name the server with --instance")

    def _window(self, prometheus: Prometheus, dialect: Dialect, name: str, instance: str, at: float) -> Answer:
        suffix = "@before" if name == "before" else ""
        wanted = [one.removesuffix(suffix) for one in self._wanted if one.endswith(suffix)]
        needed = needed_selectors(wanted, dialect=dialect, catalogue=self._catalogue, default_window=DEFAULT_WINDOW)
        answer = prometheus.window(needed.metrics, instance=instance, seconds=needed.seconds, at=at)
        if isinstance(answer, Refusal):
            return self._refused(name, answer)
        return Answer("prometheus", f"{name} {needed.seconds:g}", at, self._metrics_host(), answer)

    def _refused(self, name: str, refusal: Refusal) -> Answer:
        return Answer("prometheus", f"{name} 0", self._request.at, self._metrics_host(), None, refusal.reason.name, str(refusal))

    def _metrics_host(self) -> str:
        """What the server's metrics speak of: this machine when the server runs on it, else the instance's name."""
        return self._identity.id if isinstance(self._target(), LocalTarget) else self._instance

    def _dialect(self, published: Iterable[str]) -> Dialect:
        """The dialect that was named; else the one whose metrics are there; else the one of the server asked directly."""
        dialects = self._catalogue.dialects
        if self._request.dialect:
            return dialects[self._request.dialect]
        seen = set(published)
        fits = {name: len(seen & set(dialect.detect)) for name, dialect in dialects.items() if name != NODE_DIALECT}
        best = max(fits, key=lambda name: (fits[name], name == "guide", name))
        if not fits[best] and self._request.server_url:
            best = self._detect_directly() or best
        return dialects[best]

    def _detect_directly(self) -> str:
        """The dialect by the form of the server's own `/metrics`."""
        answer = http_answer(self._machine, self._request.server_url, "/metrics", token=self._request.server_token)
        if not answer.answered:
            return ""
        form = "engram-json" if (answer.body or "").lstrip().startswith("{") else "prometheus"
        return next((name for name, dialect in sorted(self._catalogue.dialects.items())
                     if dialect.metrics_format == form and name != NODE_DIALECT), "")  # fmt: skip

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
        via = urlsplit(request.prometheus.url).hostname or "" if request.prometheus else ""
        return local_target(self._instance or _address(request.server_url or request.metrics_url), pid=request.pid, via=via)

    def _local(self, target: LocalTarget | NoTarget) -> list[Answer]:
        if isinstance(target, LocalTarget):
            self._progress(f"watching process {target.pid} for {self._request.seconds:g} s")
        return capture_local(self._machine, target, data_dir=self._request.data_dir, seconds=self._request.seconds)

    # The server itself

    def _direct(self, dialect: Dialect, target: LocalTarget | NoTarget) -> list[Answer]:
        request = self._request
        answers = []
        if request.metrics_url:
            self._progress("scraping the metrics endpoint")
            answers += self._scrape(request.metrics_url)
        if request.server_url:
            self._progress("asking the server")
            paths = {HEALTH, *http_paths(dialect)} | ({dialect.metrics_path} if dialect.metrics_format == "engram-json" else set())
            if dialect.metrics_format == "prometheus" and not request.metrics_url and request.prometheus is None:
                answers += self._scrape(request.server_url.rstrip("/") + dialect.metrics_path)
            answers += [http_answer(self._machine, request.server_url, path, token=request.server_token) for path in sorted(paths)]
        host = self._metrics_host()
        return [replace(answer, host=host) for answer in answers]

    def _scrape(self, url: str) -> list[Answer]:
        """Two scrapes, so that counters have a rate."""
        parts = urlsplit(url)
        base, path = f"{parts.scheme}://{parts.netloc}", (parts.path or "/metrics") + (f"?{parts.query}" if parts.query else "")
        found = []
        for turn in range(2):
            if turn:
                time.sleep(self._request.seconds)
            answer = http_answer(self._machine, base, path, token=self._request.server_token)
            found.append(replace(answer, collector="exposition"))
            if not answer.answered:
                break
        return found

    def _configuration(self, dialect: Dialect, target: LocalTarget | NoTarget) -> list[Answer]:
        if self._request.config_file:
            return [configuration(self._machine, self._request.config_file)]
        if not isinstance(target, LocalTarget):
            return []
        for path in configuration_paths(dialect.config_files, server_environment(target.pid)):
            answer = configuration(self._machine, path)
            if answer.reason != "SOURCE_ABSENT":
                return [answer]
        return []


def _address(url: str) -> str:
    """`host:port` of a URL."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] if parts.netloc else ""

