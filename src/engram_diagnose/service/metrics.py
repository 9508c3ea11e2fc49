"""
The service's own metrics: what it counts as it goes, and what the database holds when it is asked.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from engram_diagnose import __version__
from engram_diagnose.history.model import Finding, Incident
from engram_diagnose.history.records import Counts

if TYPE_CHECKING:
    from engram_diagnose.history.incidents import IncidentStore

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
MOST_FINDINGS: Final = 100
"""Findings that are shown; what sends many alerts must not make many series."""
_LABEL: Final = 128
_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_WHAT: Final = "engram_diagnose"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the database holds: how much of everything, and the findings of open incidents."""

    counts: Counts = field(default_factory=Counts)
    findings: tuple[tuple[Incident, Finding], ...] = ()


def stored(store: "IncidentStore") -> Stored:
    """Ask the database; raises `StoreError`."""
    return Stored(store.counts(), store.open_findings())


@dataclass(frozen=True, slots=True)
class Running:
    """What the parts do at this moment. `worker` is whether a worker process is there."""

    connections: int = 0
    waiting: int = 0
    worker: bool = False
    starts: int = 0
    ready: bool = True


class Metrics:
    """The counters of one service, and the page that Prometheus reads."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each, which nobody reads
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.notified = self._counted("notifications", "Webhook calls, by what became of them.", "result",
                                      ("accepted", "invalid", "full", "failed"))  # fmt: skip
        self.alerted = self._counted("alerts", "Alerts taken in, by what they were.", "result",
                                     ("new", "duplicate", "ignored", "malformed"))  # fmt: skip
        self.answered = self._counted("responses", "Answers, by status.", "code")
        self.cut = self._counter("connections_cut", "Connections closed on the caller, by reason.", "reason")
        self.reloads = self._counter("reloads", "Reloads, by what became of them.", "result")
        self.reloaded = Gauge(
            f"{_WHAT}_last_reload_successful",
            "Whether the settings and rules in force are those on the disk.",
            registry=self.registry,
        )
        self.reloaded.set(1)
        self.accept_seconds = Histogram(
            f"{_WHAT}_accept_seconds",
            "From a whole webhook call to the alerts on the disk.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        Gauge(f"{_WHAT}_build_info", "The version.", ("version",), registry=self.registry).labels(__version__).set(1)

    def _counted(self, name: str, text: str, label: str, known: Iterable[str] = ()) -> "Counted":
        return Counted(self._counter(name, text, label), known)

    def _counter(self, name: str, text: str, label: str) -> Counter:
        return Counter(f"{_WHAT}_{name}", text, (label,), registry=self.registry)

    def page(self, held: Stored | None, running: Running, now: float) -> bytes:
        """The exposition. Without `held`, as when the database cannot be read, its part is left out."""
        both = _Collected([*self.registry.collect(), *_of_running(running), *_of_stored(held, now)])
        return generate_latest(cast(CollectorRegistry, both))


class Counted:
    """
    A counter by one label, of which few values occur: counting is all that is left to do for each request.

    Looking the label's value up takes the library longer than counting it.
    """

    def __init__(self, counter: Counter, known: Iterable[str] = ()) -> None:
        self._counter = counter
        self._by_value: dict[str | int, Counter] = {value: counter.labels(value) for value in known}

    def __call__(self, value: str | int, number: float = 1) -> None:
        """Count so many more."""
        if (found := self._by_value.get(value)) is None:
            found = self._by_value[value] = self._counter.labels(str(value))
        if number:
            found.inc(number)


class _Collected:
    """As much of a registry as it takes to print it."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def _of_running(running: Running) -> Iterator[Metric]:
    yield _gauge("connections", "Connections that are open.", running.connections)
    yield _gauge("notifications_waiting", "Notifications that wait to be written.", running.waiting)
    yield _gauge("ready", "Whether alerts are taken in.", running.ready)
    yield _gauge("worker_up", "Whether a worker process is there.", running.worker)
    yield CounterMetricFamily(f"{_WHAT}_worker_starts", "Worker processes that were started.", value=running.starts)


def _of_stored(held: Stored | None, now: float) -> Iterator[Metric]:
    yield _gauge("database_up", "Whether the database can be read.", held is not None)
    if held is None:
        return
    counts = held.counts
    yield _by("incidents", "Incidents kept.", "state", open=counts.open, closed=counts.closed)
    yield _by("jobs", "Diagnoses.", "state", queued=counts.queued, running=counts.running, done=counts.done,
              parked=counts.parked)  # fmt: skip
    yield _by("messages", "Messages kept.", "state", pending=counts.pending, sent=counts.sent,
              given_up=counts.given_up)  # fmt: skip
    yield _gauge("alerts_kept", "Alerts kept.", counts.alerts)
    yield _gauge("database_bytes", "What the database takes up, without what is free inside it.", counts.bytes)
    yield _gauge("job_wait_seconds", "How long the oldest diagnosis that may run has waited.",
                 _since(counts.oldest_waiting, now))  # fmt: skip
    yield _gauge("message_wait_seconds", "How long the oldest message that may be sent has waited.",
                 _since(counts.oldest_unsent, now))  # fmt: skip
    yield from _of_findings(held.findings)


def _of_findings(findings: tuple[tuple[Incident, Finding], ...]) -> Iterator[Metric]:
    from engram_diagnose.service.announce import chosen, severity_of

    number: dict[tuple[str, str, str], int] = {}
    confidence: dict[tuple[str, str, str], float] = {}
    for incident, finding in chosen(findings, MOST_FINDINGS):
        labels = (incident.instance[:_LABEL], severity_of(finding), finding.rule[:_LABEL])
        number[labels] = number.get(labels, 0) + 1
        sure = math.nan if finding.confidence is None else finding.confidence
        confidence[labels] = max(sure, confidence.get(labels, sure))
    names = ("instance", "severity", "rule")
    count = GaugeMetricFamily(f"{_WHAT}_findings", "Open incidents by what was found.", labels=names)
    sureness = GaugeMetricFamily(
        f"{_WHAT}_finding_confidence", "How sure the surest of these findings is, 0 to 1; NaN without a cause.",
        labels=names)  # fmt: skip
    for labels in sorted(number):
        count.add_metric(labels, number[labels])
        sureness.add_metric(labels, confidence[labels])
    yield count
    yield sureness
    yield _gauge("findings_left_out", "Findings beyond those shown.", max(0, len(findings) - MOST_FINDINGS))


def _since(moment: float | None, now: float) -> float:
    return 0.0 if moment is None else max(0.0, now - moment)


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{_WHAT}_{name}", text, value=float(value))


def _by(name: str, text: str, label: str, **values: float) -> Metric:
    family = GaugeMetricFamily(f"{_WHAT}_{name}", text, labels=(label,))
    for value, number in values.items():
        family.add_metric((value,), number)
    return family
