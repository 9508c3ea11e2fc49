"""
What was measured on the lab beside the guide's figures: a small file next to the page, made from reports of `bench`,
and from facts of the server under loads that `bench` does not have.
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.engine.facts.catalogue import TargetSpec
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.scope import Scope, scope_of

FILE: Final = "measured-on-the-lab.json"
SCHEMA: Final = "engram-diagnose/measured-baselines/v1"
Json = Mapping[str, Any]
_LATENCIES: Final = {
    "op.latency.p50": "p50",
    "op.latency.p95": "p95",
    "op.latency.p99": "p99",
    "op.latency.p999": "p999",
}
_COMBINED: Final = "mixed"
_HIGHEST: Final = "op.rate"
_BURST: Final = "burst"


@dataclass(frozen=True, slots=True)
class MeasuredFigure:
    """One figure in the base unit of its fact; `note` says under which load."""

    on: str
    scope: Scope
    value: float
    note: str


@dataclass(frozen=True, slots=True)
class Measured:
    """Figures of one evening on one machine: `what` was loaded, on which `host`, and `when`."""

    what: str = ""
    host: str = ""
    when: str = ""
    figures: tuple[MeasuredFigure, ...] = ()

    def figure(self, on: str, scope: Scope) -> MeasuredFigure | None:
        """What was measured of a figure; None where nothing was."""
        return next((one for one in self.figures if (one.on, one.scope) == (on, scope)), None)


def parse_measured(text: str | None) -> Measured:
    """
    The file's figures; nothing measured where there is no file (None).

    Raises `ValueError`, which names the file and what is wrong with it.
    """
    if text is None:
        return Measured()
    try:
        found = json.loads(text)
        if found["schema"] != SCHEMA:
            raise ValueError(f"its schema is {found['schema']!r}, not {SCHEMA!r}")
        figures = tuple(_figure(one) for one in found["figures"])
        return Measured(str(found["what"]), str(found["host"]), str(found["when"]), figures)
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{FILE}: {type(error).__name__} {error}; make it anew from reports of `bench`") from None


def _figure(one: Json) -> MeasuredFigure:
    value = float(one["value"])
    if not math.isfinite(value):
        raise ValueError(f"{one['on']} is {value}")
    return MeasuredFigure(str(one["on"]), scope_of(dict(one["scope"])), value, str(one["note"]))


def measured_document(
    reports: Iterable[Json], *, what: str, host: str, others: Iterable[dict[str, Any]] = ()
) -> dict[str, Any]:
    """
    The file's document of reports (`rules/schema/bench-report-v1.json`); of each figure the last that was measured, and
    of the rate of one operation the highest: a report whose rate was asked for tells no other.

    `others` are entries of figures that no report holds (`entries_of_facts`); they stand where a report has the same.

    Only valid runs count. Latencies are those of the mixed load, as the sets mean them; rates of one operation those of
    a load of it alone; the rate of all what any report's verdicts found (the knee of a ramp), else the mixed load's.
    So a suite tells the rates, and a mixed load after it, at a rate that the server carries, the latencies.
    """
    made = list(reports)
    told = [one for report in made for one in _of_runs(report["benchmark"]["runs"])]
    told += [one for report in made for one in _of_verdicts(report["verdicts"])]
    told += others
    found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[str, Any]] = {}
    for one in told:
        key = one["on"], tuple(sorted(one["scope"].items()))
        if one["on"] != _HIGHEST or key not in found or one["value"] > found[key]["value"]:
            found[key] = one
    when = made[-1]["benchmark"]["runs"][-1]["started"][:10] if made else ""
    return {"schema": SCHEMA, "what": what, "host": host, "when": when,
            "figures": [found[key] for key in sorted(found)]}  # fmt: skip


def _of_runs(runs: Iterable[Json]) -> Iterable[dict[str, Any]]:
    for run in runs:
        name, rate = run["workload"]["name"], sum(one["rate"] for one in run["operations"].values())
        if not run["validity"]["valid"]:
            continue
        if name == _BURST:
            yield _entry("ops.burst_rate", {}, rate, f"for {run['duration_seconds']:g} s")
        for operation, one in run["operations"].items():
            yield from _of_operation(run, name, operation, one)
        if name == _COMBINED:
            yield _entry("ops.rate", {}, rate, _offered(run))


def _of_operation(run: Json, name: str, operation: str, one: Json) -> Iterable[dict[str, Any]]:
    scope = {"operation": operation}
    if run["workload"]["mix"].get(operation) == 1 and name != _BURST:
        yield _entry("op.rate", scope, one["rate"], _offered(run))
    for on, quantile in _LATENCIES.items() if name == _COMBINED else ():
        if one["response"]["quantiles"][quantile] is not None:
            yield _entry(on, scope, one["response"]["quantiles"][quantile], _offered(run))


def _of_verdicts(verdicts: Iterable[Json]) -> Iterable[dict[str, Any]]:
    for one in verdicts:
        if one["on"] == "ops.rate" and one["state"] in ("pass", "fail") and one["measured"]:
            yield _entry(one["on"], {}, one["measured"], one["reason"])
        if one["on"] == "client.connections" and one["state"] == "pass":
            yield _entry(one["on"], {}, one["measured"], "all served")


def entries_of_facts(facts: Iterable[Fact], targets: Iterable[TargetSpec], *, note: str) -> list[dict[str, Any]]:
    """
    What facts say of the figures that there are targets for, one entry a figure; unknown ones say nothing. Of a figure
    that is known within bounds, or of several devices or spaces, it is the worst one.

    A fact belongs to the target that says most of its scope: that of activations over several hops is the one of
    activations where none speaks of hops.
    """
    listed = list(targets)
    found: dict[tuple[str, Scope], dict[str, Any]] = {}
    # Of one scope the last source counts.
    for fact in {(one.name, one.scope): one for one in facts}.values():
        nearest = max(
            (one for one in listed if one.name == fact.name and set(one.scope.labels) <= set(fact.scope.labels)),
            key=lambda one: len(one.scope.labels), default=None,
        )  # fmt: skip
        if nearest is not None and fact.known and isinstance(fact.value, tuple):
            key, lower = (nearest.name, nearest.scope), nearest.better == "lower"
            values = [fact.value[1] if lower else fact.value[0], *([found[key]["value"]] if key in found else [])]
            found[key] = _entry(fact.name, dict(nearest.scope.labels), max(values) if lower else min(values), note)
    return list(found.values())


def _offered(run: Json) -> str:
    rate = run["workload"]["offered_rate"]
    return f"at {rate:,.0f}/s offered" if rate else f"{run['workload']['clients']} clients in a closed loop"


def _entry(on: str, scope: Mapping[str, str], value: float, note: str) -> dict[str, Any]:
    return {"on": on, "scope": dict(scope), "value": float(f"{value:.4g}"), "note": note}
