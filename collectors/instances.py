"""
Which of the targets that Prometheus scrapes is meant, and which dialect a server speaks.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from engram_diagnose.collectors.capture.names import is_loopback, names_this_host, resolve, split_instance
from engram_diagnose.collectors.prometheus.client import Found, Instance
from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.engine.facts.fact import Reason

NODE_DIALECT: Final = "node-exporter"
"""The dialect of host metrics; its series are joined with the server's by a selector the operator gives."""

USUAL_DIALECT: Final = "guide"
"""What a server is taken to speak when nothing tells."""

_MOST_NAMED: Final = 8


@dataclass(frozen=True, slots=True)
class Chosen:
    """
    One scraped target. `job` is set where several jobs scrape the same instance, so that it is not counted twice;
    `metrics` are those of the detect metrics that it publishes.
    """

    name: str
    job: str = ""
    metrics: frozenset[str] = frozenset()


def choose(found: Found, name: str) -> Chosen | Refusal:
    """
    The instance of this name, or the only one that publishes Engram's metrics when there is no name.

    A named instance is taken even when it publishes nothing: that it is down is worth knowing.
    """
    candidates = [one for one in found.instances if one.name == name] if name else list(found.instances)
    names = sorted({one.name for one in candidates})
    if len(names) == 1:
        return _of_the_richest_job(candidates)
    if name:
        return Chosen(name)
    if names:
        detail = f"{len(names)} instances publish Engram metrics: {_listed(names)}"
        return Refusal(Reason.SOURCE_ABSENT, detail, "name one with --instance")
    detail = "no instance in Prometheus publishes metrics of a known dialect"
    return Refusal(Reason.SOURCE_ABSENT, detail, "check the scrape configuration, or name the server with --instance")


def _of_the_richest_job(candidates: Iterable[Instance]) -> Chosen:
    jobs = sorted(candidates, key=lambda one: (-len(one.metrics), one.job))
    return Chosen(jobs[0].name, jobs[0].job if len(jobs) > 1 else "", jobs[0].metrics)


def not_there(name: str, found: Found) -> Refusal:
    """Nothing is known of a named instance, not even that it is down."""
    names = sorted({one.name for one in found.instances})
    known = f"; instances with Engram metrics are {_listed(names)}" if names else ""
    detail = f"Prometheus has no samples of instance {name!r} at that time{known}"
    return Refusal(Reason.SOURCE_ABSENT, detail, "check --instance and --at")


def same_server(instance: str, url: str, *, via: str = "") -> bool:
    """
    Whether an instance label and a URL name the same host and port; a label without a port fits every port.

    `via` is the host of the Prometheus that said the label: its loopback is not ours.
    """
    parts = urlsplit(url)
    host, (label_host, label_port) = parts.hostname or "", split_instance(instance)
    if label_port not in (None, parts.port or (443 if parts.scheme.lower() == "https" else 80)):
        return False
    if is_loopback(label_host) and via:
        label_host = via.lower()
    if host == label_host:
        return True
    here = names_this_host(label_host)
    if here or names_this_host(host):
        return here and names_this_host(host)
    return bool(({host} | resolve(host)) & ({label_host} | resolve(label_host)))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def detect_metrics(dialects: Mapping[str, Dialect]) -> frozenset[str]:
    """The metrics that tell servers, and their dialects, from everything else that is scraped."""
    servers = (dialect for dialect in dialects.values() if dialect.name != NODE_DIALECT)
    return frozenset(metric for dialect in servers for metric in dialect.detect)


def dialect_of(dialects: Mapping[str, Dialect], published: Iterable[str]) -> str:
    """The dialect most of whose detect metrics are published; empty when none of any is."""
    seen = frozenset(published)
    fits = {name: len(seen.intersection(dialect.detect)) for name, dialect in dialects.items() if name != NODE_DIALECT}
    best = max(fits, key=lambda name: (fits[name], name == USUAL_DIALECT, name), default="")
    return best if fits.get(best) else ""


def dialect_by_form(dialects: Mapping[str, Dialect], body: str) -> str:
    """The dialect whose metrics have the form of this answer: JSON, or the text exposition."""
    form = "windowed-json" if body.lstrip().startswith("{") else "prometheus"
    fitting = [name for name, dialect in dialects.items() if dialect.metrics_format == form and name != NODE_DIALECT]
    return USUAL_DIALECT if USUAL_DIALECT in fitting else min(fitting, default="")
