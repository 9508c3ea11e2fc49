"""
A window of a Prometheus as a bundle: the raw samples of one instance between two instants.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.gather import DEFAULT_WINDOW
from engram_diagnose.collectors.instances import (
    USUAL_DIALECT,
    choose,
    detect_metrics,
    dialect_of,
    not_there,
)
from engram_diagnose.collectors.prometheus.client import Prometheus
from engram_diagnose.collectors.prometheus.options import Refusal
from engram_diagnose.collectors.prometheus.plan import needed_selectors
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.verification.side import NothingToCompareError

if TYPE_CHECKING:
    from engram_diagnose.collectors.gather import Request

_LEAST: Final = 900.0
"""Seconds before the end in which an instance is looked for."""


@dataclass(frozen=True, slots=True)
class Span:
    """From when to when, in seconds since the epoch; `text` is how the operator wrote it."""

    start: float
    end: float
    text: str = ""

    @property
    def seconds(self) -> float:
        """Its length."""
        return self.end - self.start


def bundle_of_window(request: "Request", span: Span, catalogue: Catalogue, wanted: Iterable[str], *,
                     tool: str) -> Bundle:  # fmt: skip
    """
    The raw samples of one instance in a span of time.

    Raises `NothingToCompareError` when Prometheus does not answer, or has nothing of it.
    """
    assert request.prometheus is not None  # noqa: S101 -- the command line has seen to it
    with Prometheus(request.prometheus) as prometheus:
        within = max(_LEAST, span.seconds)
        found = prometheus.instances(detect_metrics(catalogue.dialects), at=span.end, within=within)
        if isinstance(found, Refusal):
            raise _refused(found)
        chosen = choose(found, request.instance)
        if isinstance(chosen, Refusal):
            raise _refused(chosen)
        name = request.dialect or dialect_of(catalogue.dialects, chosen.metrics) or USUAL_DIALECT
        needed = needed_selectors(wanted, dialect=catalogue.dialects[name], catalogue=catalogue,
                                  default_window=DEFAULT_WINDOW)  # fmt: skip
        answer = prometheus.window(needed.metrics, instance=chosen.name, seconds=span.seconds, at=span.end)
        if isinstance(answer, Refusal):
            raise _refused(not_there(chosen.name, found) if not chosen.metrics else answer)
    return Bundle(
        time=span.end,
        tool=tool,
        dialect=name,
        instance=chosen.name,
        options={"job": chosen.job, "prometheus_version": found.version, "past": True},
        answers=(Answer("prometheus", f"window {span.seconds:g}", span.end, chosen.name, answer),),
    )


def _refused(refusal: Refusal) -> NothingToCompareError:
    return NothingToCompareError(str(refusal))
