"""
Collecting: every source that was named or found, asked once, into one bundle.

What is decided here is only where to ask. What the answers mean is decided when the bundle is read
(`collectors.reading`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final
from urllib.parse import urlsplit

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.address import AddressError, check_address
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.machine import HostIdentity, Machine, host_identity
from engram_diagnose.collectors.capture.site import NAMED, Bounds, Order, Scraped, Site
from engram_diagnose.collectors.capture.target import LocalTarget
from engram_diagnose.collectors.instances import (
    NODE_DIALECT,
    Chosen,
    choose,
    detect_metrics,
    dialect_evidence,
    dialect_of,
    interfaces,
    not_there,
)
from engram_diagnose.collectors.prometheus.client import Found, Prometheus
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.plan import needed_selectors
from engram_diagnose.collectors.site_bundle import DEFAULT_WINDOW, Heading, bundle_of
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect

__all__ = ["DEFAULT_WINDOW", "NODE_DIALECT", "NothingToCollectError", "Request", "gather"]

PRESENT: Final = 30.0
"""Seconds for which an instant counts as now: what this host and the server say now is not said of an earlier one."""


FUTURE: Final = 60.0
"""Seconds by which an instant may lie ahead of this host's clock, which need not be that of who names it."""


@dataclass(frozen=True, slots=True)
class Request:
    """
    What to collect. Nothing named is looked for on this host.

    `at` is the instant of the diagnosis (seconds since the epoch; 0 is now), `seconds` how long local counters are
    watched (0: as long as the limits say), `window` over how many seconds rates and quantiles are taken where a
    rule names none. The quiet time that `@before` facts speak of ends at `onset`, where that is known, else
    `before` seconds before `at`, and is as long as what is looked at now. `statements` are what the operator says
    of the server, as facts. `time_recalls` is how many recalls are sent to the server and timed. With `sizing` a
    host on which no server runs yet is taken for the one it will run on, unless something was named that tells of a
    server elsewhere. With `profile` all that needs perf is looked at as well.
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
    seconds: float = 0.0
    window: float = DEFAULT_WINDOW
    before: float = 3600.0
    onset: float = 0.0
    local: bool = True
    time_recalls: int = 0
    target_set: str = "target"
    statements: Mapping[str, float | str] = field(default_factory=dict)
    sizing: bool = False
    profile: bool = False

    @property
    def order(self) -> Order:
        """What of it this host and the server itself are asked."""
        return Order(**{one.name: getattr(self, one.name) for one in fields(Order) if hasattr(self, one.name)})

    @property
    def quiet_time(self) -> float:
        """When the time before it began to be bad ended."""
        return self.onset or self.at - self.before


Progress = Callable[[str], None]


class NothingToCollectError(ValueError):
    """No source was named, and none was found; says what was looked for and what to give."""


def gather(request: Request, catalogue: Catalogue, wanted: Iterable[str], *, now: float, tool: str,
           rules: Mapping[str, Mapping[str, Any]], bounds: Bounds, machine: Machine | None = None,
           progress: Progress = lambda _: None) -> Bundle:  # fmt: skip
    """
    Ask every source and put the raw answers into a bundle.

    `wanted` are the facts the loaded rules read: they decide which metrics and windows are fetched. Of an instant in
    the past only Prometheus can speak. `bounds` say how far collecting on this host goes; `machine` is this one unless
    a recorded tree is replayed. Raises `NothingToCollectError` when there is nothing to ask, and for an address or an
    instant that cannot be asked.
    """
    if request.dialect and request.dialect not in catalogue.dialects:
        known = ", ".join(sorted(set(catalogue.dialects) - {NODE_DIALECT}))
        raise NothingToCollectError(f"there is no dialect {request.dialect!r}; name one of {known} with --dialect")
    if request.at > now + FUTURE:
        ahead = request.at - now
        raise NothingToCollectError(f"the instant to diagnose lies {ahead:.0f} s in the future; give an earlier --at")
    if request.onset and request.onset > (request.at or now):
        raise NothingToCollectError("--onset lies after the instant to diagnose; give when it began to be bad")
    try:
        check_address("--metrics", request.metrics_url)
        check_address("--server", request.server_url)
    except AddressError as error:
        raise NothingToCollectError(str(error)) from None
    past = bool(request.at) and request.at < now - PRESENT
    if past and request.prometheus is None:
        raise NothingToCollectError("only Prometheus knows the past; give --prometheus URL together with --at")
    if past and request.time_recalls:
        raise NothingToCollectError("recalls can only be timed now; leave out --time-recalls or --at")
    asked = replace(request, at=request.at or now)
    gathering = _Gathering(asked, catalogue, tuple(wanted), past, bounds, machine, progress)
    return gathering.bundle(tool, rules)


class _Gathering:
    def __init__(self, request: Request, catalogue: Catalogue, wanted: tuple[str, ...], past: bool,
                 bounds: Bounds, machine: Machine | None, progress: Progress) -> None:  # fmt: skip
        self._request = request
        self._catalogue = catalogue
        self._wanted = wanted
        self._past = past
        self._bounds = bounds
        self._identity = host_identity() if machine is None else HostIdentity(machine.host, machine.host)
        self._machine = machine or Machine(host=self._identity.id)
        self._progress = progress
        self._chosen = Chosen(request.instance)
        self._version = ""
        self._told = ""
        self._found: Site | None = None

    def bundle(self, tool: str, rules: Mapping[str, Mapping[str, Any]]) -> Bundle:
        request = self._request
        metrics, dialect = self._metrics()
        answers = [*metrics, *self._site.answers(interfaces(self._catalogue.dialects)[dialect.name])]
        heading = Heading(
            request.at,
            tool,
            rules,
            target_set=request.target_set,
            window=request.window,
            before=request.at - request.quiet_time,
            statements=request.statements,
            node_instance=request.node_instance,
            prometheus_version=self._version,
            job=self._chosen.job,
            dialect_told=self._told,
            past=self._past,
        )
        return bundle_of(self._site, self._identity, answers, dialect=dialect.name, heading=heading)

    @property
    def _site(self) -> Site:
        """Host and server, once the instance is known."""
        if self._found is None:
            options = self._request.prometheus
            # The "localhost" of Prometheus is its own.
            scraped = Scraped(self._chosen.name, urlsplit(options.url).hostname or "") if options else None
            self._found = Site(
                self._request.order,
                self._machine,
                scraped=scraped,
                past=self._past,
                at=self._request.at,
                bounds=self._bounds,
                progress=self._progress,
            )
        return self._found

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
        needed = needed_selectors(
            wanted, dialect=dialect, catalogue=self._catalogue, default_window=self._request.window
        )
        answer = prometheus.window(needed.metrics, instance=instance, seconds=needed.seconds, at=at)
        if isinstance(answer, Refusal):
            return self._refused(name, answer)
        return Answer("prometheus", f"{name} {needed.seconds:g}", at, self._metrics_host(), answer)

    def _refused(self, name: str, refusal: Refusal) -> Answer:
        host, reason = self._metrics_host(), refusal.reason.name
        return Answer("prometheus", f"{name} 0", self._request.at, host, None, reason, str(refusal))

    def _metrics_host(self) -> str:
        """What the server's metrics speak of: this machine when the server runs on it, else the instance's name."""
        return self._identity.id if isinstance(self._site.target, LocalTarget) else self._chosen.name

    def _dialect(self) -> Dialect:
        """The dialect that was named; else the one whose metrics are there; else that of the server asked directly."""
        dialects, published = self._catalogue.dialects, self._chosen.metrics
        name = self._request.dialect or dialect_of(dialects, published)
        if name:
            seen = [dialect_evidence(dialects, name, published)] if published else []
            self._told = "; ".join([NAMED, *seen] if self._request.dialect else seen)
            return dialects[name]
        guessed = {name: one for name, one in interfaces(dialects).items() if name != NODE_DIALECT}
        name, self._told = self._site.dialect(guessed)
        return dialects[name]
