"""
What clients felt under a load of our own (`bench`), as the run's record tells it.

    {"schema": "engram-diagnose/client-load/v1", "seconds": 20.0, "offered_rate": 5000.0, "served_share": 1.0,
     "connections": 64, "burst": false,
     "operations": [{"operation": "recall", "space": "bench-a", "sent": 100000, "ok": 99990, "failed": 10,
                     "rate": 4999.5, "quantiles": {"p50": 0.002, "p99": 0.009}, "mean": 0.0026}],
     "recall_quality": {"recall_at_k": 0.97, "k": 10, "queries": 150, "space": "bench-a"}}

Latencies and the quality of recalls stand above what a server says of itself, for they are what its clients get, and
exact where a histogram of the server's has a bucket. Rates only stand in: a server counts what others ask as well.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, point
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of

COLLECTOR: Final = "bench"
NAME: Final = "load"
SCHEMA: Final = "engram-diagnose/client-load/v1"
_SOURCE: Final = "a load of our own, timed by its client"
_QUANTILES: Final = ("p50", "p90", "p95", "p99", "p999")
_OPERATIONS: Final = frozenset({"store", "recall", "activation", "consolidation", "pattern_completion"})
_AT: Final = 10
"""The facts know recall at ten alone."""


@dataclass(frozen=True, slots=True)
class ClientLoad:
    """Facts of one run: those that stand above the server's own, and those that only stand in for them."""

    felt: tuple[Fact, ...] = ()
    stand_ins: tuple[Fact, ...] = ()


def facts_of_client_load(answers: Iterable[Answer]) -> ClientLoad:
    """What the newest record tells; nothing where no load was run, unknown facts for a record that cannot be read."""
    listed = sorted((one for one in answers if one.collector == COLLECTOR), key=lambda one: one.time)
    if not listed:
        return ClientLoad()
    answer = listed[-1]
    if not answer.answered:
        return ClientLoad(stand_ins=_none(answer, absence(answer)))
    try:
        record = _record(answer.body or "")
        entries = [_entry(one) for one in record["operations"]]
    except UnparsedError as error:
        return ClientLoad(stand_ins=_none(answer, Missing(Reason.UNPARSED, f"{answer.name}: {error}")))
    felt = [fact for entry in entries for fact in _latencies(entry, answer, record)]
    return ClientLoad((*felt, *_quality(record, answer), *_burst(record, entries, answer)),
                      (*_rates(entries, answer, record), *_connections(record, answer)))  # fmt: skip


def _none(answer: Answer, why: Missing) -> tuple[Fact, ...]:
    names = [f"op.latency.{name}" for name in _QUANTILES] + ["op.rate", "ops.rate"]
    return tuple(unknown(name, why, answer, source=_SOURCE) for name in names)


def _record(body: str) -> dict[str, Any]:
    document = parse_json(body)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise UnparsedError(f"it is no {SCHEMA}")
    if not isinstance(document.get("operations"), list):
        raise UnparsedError("it lists no operations")
    return document


@dataclass(frozen=True, slots=True)
class _Entry:
    """
    One operation, times in seconds, rate a second.

    `scopes` are the operation's, and that of its space where all of it went to one: as far as is known here both are
    the same load.
    """

    scopes: tuple[Scope, ...]
    sent: float
    failed: float
    rate: float
    mean: float | None
    quantiles: Mapping[str, float]


def _entry(entry: object) -> _Entry:
    operation = entry.get("operation") if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not isinstance(operation, str) or operation not in _OPERATIONS:
        raise UnparsedError("an operation without its name")
    space = entry.get("space")
    whole = {"operation": operation}
    scopes = (scope_of(whole), *([scope_of(whole | {"space": space})] if isinstance(space, str) and space else []))
    figures = [figure(entry.get(name)) for name in ("sent", "failed", "rate")]
    if any(one is None or one < 0 for one in figures):
        raise UnparsedError(f"{operation}: sent, failed and rate are not all figures")
    sent, failed, rate = (one or 0.0 for one in figures)
    quantiles = entry.get("quantiles")
    told = quantiles if isinstance(quantiles, dict) else {}
    found = {name: value for name in _QUANTILES if (value := figure(told.get(name))) is not None and value >= 0}
    mean = figure(entry.get("mean"))
    return _Entry(scopes, sent, min(failed, sent), rate, mean if mean is None or mean >= 0 else None, found)


def _latencies(entry: _Entry, answer: Answer, record: Mapping[str, Any]) -> list[Fact]:
    seconds = dict(entry.quantiles) | ({"mean": entry.mean} if entry.mean is not None else {})
    return [_known(f"op.latency.{name}", value, answer, record, scope=scope, quality=_told(record))
            for name, value in sorted(seconds.items()) for scope in entry.scopes]  # fmt: skip


def _rates(entries: Sequence[_Entry], answer: Answer, record: Mapping[str, Any]) -> list[Fact]:
    found = [fact for entry in entries for scope in entry.scopes for fact in _rates_of(entry, scope, answer, record)]
    for name, operation in (("store.rate", "store"), ("recall.rate", "recall")):
        rates = (one.rate for one in entries if one.scopes[0].get("operation") == operation)
        found.append(_known(name, math.fsum(rates), answer, record))
    return [*found, _known("ops.rate", math.fsum(one.rate for one in entries), answer, record)]


def _rates_of(entry: _Entry, scope: Scope, answer: Answer, record: Mapping[str, Any]) -> Iterable[Fact]:
    yield _known("op.rate", entry.rate, answer, record, scope=scope)
    if entry.sent:
        yield _known("op.error_share", entry.failed / entry.sent, answer, record, scope=scope)
    if entry.mean is not None:  # Little's law
        yield _known("op.inflight", entry.rate * entry.mean, answer, record, scope=scope, status=Status.DERIVED)


def _connections(record: Mapping[str, Any], answer: Answer) -> list[Fact]:
    count = figure(record.get("connections"))
    return [] if count is None or count < 0 else [_known("client.connections", count, answer, record)]


def _burst(record: Mapping[str, Any], entries: Sequence[_Entry], answer: Answer) -> list[Fact]:
    if record.get("burst") is not True:
        return []
    return [_known("ops.burst_rate", math.fsum(one.rate for one in entries), answer, record)]


def _quality(record: Mapping[str, Any], answer: Answer) -> list[Fact]:
    told = record.get("recall_quality")
    if not isinstance(told, dict) or figure(told.get("k")) != _AT:
        return []
    share, queries = figure(told.get("recall_at_k")), figure(told.get("queries"))
    if share is None or not 0 <= share <= 1 or not queries or queries < 1:
        return []
    space = told.get("space")
    scope = scope_of({"space": space}) if isinstance(space, str) and space else INSTANCE
    quality = f"{queries:.0f} recalls compared with exact search over what was stored for them"
    return [_known("index.recall_at_10", share, answer, record, scope=scope, quality=quality)]


def _told(record: Mapping[str, Any]) -> str:
    offered, share = figure(record.get("offered_rate")), figure(record.get("served_share"))
    said = [] if offered is None else [f"{offered:.0f}/s were offered"]
    if record.get("latency_from") == "sending":
        said.append(f"{share or 0:.0%} of them served, so times are from the sending: the queue's are the client's")
    return "; ".join(said)


def _known(name: str, value: float, answer: Answer, record: Mapping[str, Any], *, scope: Scope = INSTANCE,
           status: Status = Status.MEASURED, quality: str = "") -> Fact:  # fmt: skip
    fact = known(name, point(value), answer, source=_SOURCE, scope=scope, status=status,
                 window=figure(record.get("seconds")) or 0.0)  # fmt: skip
    return replace(fact, quality=quality) if quality else fact
