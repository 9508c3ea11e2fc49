"""
Alerts that fired and ended while the service was down: Alertmanager knows nothing of them any more, Prometheus does.

Prometheus keeps a sample of `ALERTS` at each evaluation of a rule that fires. The first one is when the alert fired, to
the millisecond as Alertmanager had it. What Prometheus adds on the way to Alertmanager, such as external labels, is not
there, and neither is who would have been told: `alertmanager.missed` says which alerts to look for.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from engram_diagnose.collectors.prometheus.client import Prometheus
from engram_diagnose.collectors.prometheus.options import PrometheusOptions, Refusal
from engram_diagnose.history.model import Alert
from engram_diagnose.service.announce import is_ours
from engram_diagnose.service.intake import identity_of
from engram_diagnose.service.settings import DAY, Settings

MOST: Final = 500
"""Alerts that are taken in at a time, the latest ones."""
APART_SECONDS: Final = 300.0
"""Samples further apart belong to two firings: Prometheus looks back so far as well."""
_BEFORE_SECONDS: Final = 2 * APART_SECONDS
"""How far before the gap is looked, to tell when an alert began that fired as the service went down."""
_AT_ONCE_SECONDS: Final = 3600.0
"""The samples of one answer."""

Series = dict[tuple[tuple[str, str], ...], set[float]]


@dataclass(frozen=True, slots=True)
class Fired:
    """An alert from its first sample to its last."""

    labels: Mapping[str, str]
    starts_at: float
    ends_at: float


def fired(options: PrometheusOptions, matchers: Iterable[str], *, since: float, until: float) -> list[Fired] | Refusal:
    """
    The alerts that ended between the two instants (a day at most), earliest first.

    One that fires at `until` is not among them, since Alertmanager tells of it; nor is one that had fired for minutes
    at `since`, which was told of then.
    """
    begin = max(since, until - DAY) - _BEFORE_SECONDS
    samples: Series = {}
    firing: Series = {}
    with Prometheus(options) as asked:
        for one in matchers:
            selector = f'ALERTS{{alertstate="firing",{one}}}'
            at = until
            while at > begin:
                length = min(_AT_ONCE_SECONDS, at - begin)
                answer = asked.samples(selector, seconds=length, at=at)
                if isinstance(answer, Refusal):
                    return answer
                _add(samples, answer)
                at -= length
            now = asked.samples(selector, seconds=0, at=until)
            if isinstance(now, Refusal):
                return now
            _add(firing, now)
    found = [one for labels, times in samples.items() for one in _runs(labels, times)]
    over = (one for one in found if one.starts_at >= begin + APART_SECONDS and one.ends_at > since)
    still = {labels: max(times) for labels, times in firing.items()}
    ended = [one for one in over if one.ends_at < still.get(_key(one.labels), float("inf")) - APART_SECONDS
             or _key(one.labels) not in still]  # fmt: skip
    return sorted(ended, key=lambda one: (one.starts_at, _key(one.labels)))


def _add(series: Series, results: Iterable[Any]) -> None:
    for labels, times in _read(results):
        series.setdefault(labels, set()).update(times)


def _read(results: Iterable[Any]) -> Iterator[tuple[tuple[tuple[str, str], ...], list[float]]]:
    """What is not as Prometheus writes it is left out."""
    for item in results:
        try:
            labels = {name: str(value) for name, value in item["metric"].items()}
            pairs = item["values"] if "values" in item else [item["value"]]
            times = [float(time) for time, _ in pairs]
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
        yield _key({name: value for name, value in labels.items() if name not in ("__name__", "alertstate")}), times


def _key(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(labels.items()))


def _runs(labels: tuple[tuple[str, str], ...], times: set[float]) -> Iterator[Fired]:
    start = last = None
    for time in sorted(times):
        if start is None or last is None or time - last > APART_SECONDS:
            if start is not None and last is not None:
                yield Fired(dict(labels), start, last)
            start = time
        last = time
    if start is not None and last is not None:
        yield Fired(dict(labels), start, last)


def to_take_in(found: Iterable[Fired], known: Iterable[Alert], settings: Settings) -> list[tuple[Alert, Alert]]:
    """
    The alerts that nobody told of, each as it fired and as it ended; not our own, nor those to be ignored.

    An alert is known that has all of its labels, and further ones perhaps, and began at the same time.
    """
    about = settings.incidents
    replicas, tolerance = frozenset(about.replica_labels), about.tolerance_seconds
    told: dict[str, list[Alert]] = {}
    for alert in known:
        told.setdefault(alert.name, []).append(alert)
    taken = []
    for one in found:
        name = one.labels.get("alertname", "")
        if is_ours(one.labels) or name in about.ignore or any(_same(one, alert, tolerance, replicas)
                                                              for alert in told.get(name, ())):  # fmt: skip
            continue
        alert = Alert(identity_of(one.labels, replicas), "firing", one.labels, {}, one.starts_at)
        taken.append((alert, replace(alert, status="resolved", ends_at=one.ends_at)))
    return taken[-MOST:]


def _same(one: Fired, alert: Alert, tolerance: float, replicas: frozenset[str]) -> bool:
    labels = {name: value for name, value in one.labels.items() if name not in replicas}
    return abs(one.starts_at - alert.starts_at) <= tolerance and labels.items() <= alert.labels.items()


def is_matchers(text: str) -> bool:
    """Whether a text can stand between the braces of a selector, and stays there."""
    from engram_diagnose.collectors.prometheus.expression import Selector
    from engram_diagnose.collectors.prometheus.lexer import PromqlError
    from engram_diagnose.collectors.prometheus.parser import Parser

    try:
        found = Parser(f"ALERTS{{{text}}}").whole()
    except PromqlError:
        return False
    return isinstance(found, Selector) and found.name == "ALERTS" and bool(found.matchers) and not found.range_ms
