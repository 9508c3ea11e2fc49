"""
Which of the targets that Prometheus scrapes is meant, and which dialect a server speaks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engram_diagnose.collectors.capture.interface import USUAL_DIALECT as USUAL_DIALECT  # others ask for it here
from engram_diagnose.collectors.capture.interface import Interface
from engram_diagnose.collectors.parse.endpoints import HEALTH, http_paths
from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.engine.facts.fact import Reason

if TYPE_CHECKING:  # whoever builds the package has neither a client nor what it is made of
    from engram_diagnose.collectors.prometheus.client import Found, Instance

NODE_DIALECT: Final = "node-exporter"
"""The dialect of host metrics; its series are joined with the server's by a selector the operator gives."""

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


def dialect_evidence(dialects: Mapping[str, Dialect], chosen: str, published: Iterable[str]) -> str:
    """
    Which of the published names speak for the chosen dialect, and which for others: `told by 3 of 8 names of guide
    (a, b, c); against it speak 1 of 15 names of engram-0.1 (d)`.
    """
    seen = frozenset(published)
    found = {name: sorted(seen.intersection(dialect.detect)) for name, dialect in dialects.items()
             if name != NODE_DIALECT}  # fmt: skip
    said = {name: f"{len(names)} of {len(dialects[name].detect)} names of {name} ({_listed(names)})"
            for name, names in sorted(found.items()) if names}  # fmt: skip
    against = [text for name, text in said.items() if name != chosen]
    told = f"told by {said[chosen]}" if chosen in said else "told by none of its names"
    return f"{told}; against it speak {', '.join(against)}" if against else f"{told}; nothing speaks against it"


def interfaces(dialects: Mapping[str, Dialect]) -> dict[str, Interface]:
    """How servers are asked, by dialect; an exporter of host metrics may be named as well, and is never guessed."""
    return {
        name: Interface(
            metrics_path=one.metrics_path,
            metrics_format=one.metrics_format,
            exposition_path=one.exposition_path,
            paths=(HEALTH, *http_paths(one)),
            config_files=one.config_files,
        )
        for name, one in sorted(dialects.items())
    }
