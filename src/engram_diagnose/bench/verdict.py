"""
What a set of targets says of a benchmark: per figure measured, limit, and how it stands, with its reason.

It reads benchmark documents (`rules/schema/benchmark-v1.json`), so a saved one is judged as the one just made.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from engram_diagnose.bench.document import State, Verdict
from engram_diagnose.bench.validity import CPU, DELIVERED, LAG
from engram_diagnose.bench.workloads import BURST, COMBINED, RAMP
from engram_diagnose.engine.facts.catalogue import TARGET_SETS, Catalogue, TargetSpec
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of

Json = Mapping[str, Any]
Better = Literal["lower", "higher"]

TAILS: Final = {"p50": 0.5, "p95": 0.05, "p99": 0.01, "p999": 0.001}
"""The recorded quantiles that targets speak of, and the share of operations beyond each."""
_CLIENT: Final = {
    "client-lag": "the client sent late",
    "client-cpu": "a worker of the client had no CPU left",
    "not-delivered": "the client could not send what was planned",
    "unstable": "the figures had not settled after the warm-up",
    "aborted": "the run was ended early",
}
_LATE: Final = frozenset({"not-served", "timeout"})
"""Kinds of failure that say that more was asked than could be served: the point of a burst, told by its rate."""
_UNSENT: Final = "not-served"
_ERRORS: Final = "failed requests, whatever the set says"


def judge(runs: Iterable[Json], catalogue: Catalogue, limits: Mapping[str, float], *, targets: str) -> list[Verdict]:
    """
    Hold the runs to the set `targets` (floor, target or baseline); `limits` are those of `rules/catalogue/bench.yaml`.

    An INVALID run passes and fails nothing but its errors. Steps of a ramp are judged by their knee alone.
    """
    listed = list(runs)
    judging = _Judging(catalogue, targets, limits)
    steps = [run for run in listed if run["workload"]["name"] == RAMP]
    single = [run for run in listed if run["workload"]["name"] != RAMP]
    found = list(judging.ramp(steps)) if steps else []
    return [*found, *(one for run in single for one in judging.run(run))]


class _Judging:
    def __init__(self, catalogue: Catalogue, targets: str, limits: Mapping[str, float]) -> None:
        self._held = _Set(catalogue, targets)
        self._limits = limits

    # One run

    def run(self, run: Json) -> Iterator[Verdict]:
        name = run["workload"]["name"]
        for operation in sorted(run["operations"]):
            yield from self._operation(run, operation)
        if name in (BURST, *COMBINED):
            spec = self._held.spec("ops.burst_rate" if name == BURST else "ops.rate")
            if spec is not None:
                yield self._rate(run, spec, INSTANCE, total_rate(run))
        clients = self._held.spec("client.connections")
        if clients is not None and run["workload"]["clients"] >= self._held.limit(clients):
            # So many clients are served when their requests are; those of a burst come late, and are served.
            failing, invalid = is_failing(run, self._limits), invalidity(run)
            state: State = "fail" if failing else "invalid" if invalid and not _only_slowed(run) else "pass"
            yield self._verdict(run, clients, INSTANCE, run["workload"]["clients"], state,
                                invalid if state == "invalid" else "")  # fmt: skip

    def _operation(self, run: Json, name: str) -> Iterator[Verdict]:
        operation, scope = run["operations"][name], scope_of({"operation": name})
        yield self._errors(run, scope, operation)
        if run["workload"]["name"] == BURST:  # a burst is there to be absorbed: what it waits has no target
            return
        for quantile in TAILS:
            spec = self._held.spec(f"op.latency.{quantile}", scope)
            if spec is not None:
                yield self._latency(run, spec, scope, quantile)
        spec = self._held.spec("op.rate", scope)
        if spec is not None and run["workload"]["mix"].get(name) == 1:
            yield self._rate(run, spec, scope, float(operation["rate"]))

    def _errors(self, run: Json, scope: Scope, operation: Json) -> Verdict:
        """Failed requests are the server's, but those of a burst that came too late, and those that were never sent."""
        sent, most = operation["sent"], self._limits["errors_most"]
        excused = _excused(run)
        failed = sum(count for kind, count in operation["errors"].items() if kind not in excused)
        unsent = operation["errors"].get(_UNSENT, 0) if _by_client(run) else 0
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(operation["errors"].items()))
        state: State = "not measured" if not sent else "pass" if failed / sent <= most else "fail"
        if state == "pass" and unsent / max(1, sent) > most:
            state, kinds = "invalid", f"{kinds}: {invalidity(run)}"
        return Verdict(run["workload"]["name"], "op.error_share", dict(scope.labels), self._held.name, "lower", most,
                       failed / sent if sent else None, state, _ERRORS, kinds or ("" if sent else "nothing was sent"),
                       (run["order"],))  # fmt: skip

    def _latency(self, run: Json, spec: TargetSpec, scope: Scope, quantile: str) -> Verdict:
        operation = run["operations"][scope.get("operation")]
        measured, invalid = operation["response"]["quantiles"][quantile], invalidity(run)
        if invalid and not _only_slowed(run):
            return self._verdict(run, spec, scope, measured, "invalid", invalid)
        if reason := self._untold(operation, quantile):
            return self._verdict(run, spec, scope, None, "not measured", reason)
        if measured <= self._held.limit(spec):
            return self._verdict(run, spec, scope, measured, "pass", f"although {invalid}" if invalid else "")
        return self._verdict(run, spec, scope, measured, "invalid" if invalid else "fail", invalid)

    def _untold(self, operation: Json, quantile: str) -> str:
        """Why a latency says nothing although the run is valid; empty when it does."""
        share = sum(operation["errors"].values()) / operation["sent"] if operation["sent"] else 0.0
        if share > self._limits["errors_most"]:
            return f"{share:.1%} failed, and latencies are of the rest"
        needed = self._limits["tail_least"] / TAILS[quantile]
        return "" if operation["ok"] >= needed else f"{operation['ok']:,} good answers, and {needed:,.0f} are needed"

    def _rate(self, run: Json, spec: TargetSpec, scope: Scope, measured: float) -> Verdict:
        offered, limit = run["workload"]["offered_rate"], self._held.limit(spec)
        if measured >= limit:
            return self._verdict(run, spec, scope, measured, "pass")
        if invalid := invalidity(run):
            return self._verdict(run, spec, scope, measured, "invalid", invalid)
        if offered is None or offered >= limit:
            return self._verdict(run, spec, scope, measured, "fail")
        told = f"{offered:,.0f}/s were offered"
        if measured < self._limits["served_least"] * offered:
            return self._verdict(run, spec, scope, measured, "fail", f"{told}, and already that was too much")
        return self._verdict(run, spec, scope, None, "not measured", told)

    def _verdict(self, run: Json, spec: TargetSpec, scope: Scope, measured: float | None, state: State,
                 reason: str = "") -> Verdict:  # fmt: skip
        value = None if measured is None else float(measured)
        return Verdict(run["workload"]["name"], spec.name, dict(scope.labels), self._held.name, spec.better,
                       self._held.limit(spec), value, state, spec.doc, reason, (run["order"],))  # fmt: skip

    # A ramp

    def ramp(self, steps: Sequence[Json]) -> Iterator[Verdict]:
        spec = self._held.spec("ops.rate")
        if spec is None:
            return
        limit = self._held.limit(spec)
        knee = knee_of(steps, self._limits, most_p99=self._held.own_p99(steps))
        runs = tuple(run["order"] for run in steps)
        state: State = "fail"
        value, reason = knee.rate or 0.0, "the knee: beyond it answers come late, or not at all"
        if knee.rate is not None and knee.rate >= limit:
            state, reason = "pass", "the knee"
        elif knee.ended == "client":
            state, reason = "invalid", "beyond it this client was the bottleneck: nothing is known"
        elif knee.ended == "plan":
            yield Verdict(RAMP, spec.name, {}, self._held.name, spec.better, limit, None, "not measured", spec.doc,
                          f"the ramp ended at {value:,.0f}/s, at which the server kept up", runs)  # fmt: skip
            return
        yield Verdict(RAMP, spec.name, {}, self._held.name, spec.better, limit, value, state, spec.doc, reason, runs)


class _Set:
    """One set of targets."""

    def __init__(self, catalogue: Catalogue, name: str) -> None:
        if name not in TARGET_SETS:
            raise ValueError(f"there is no set {name!r}; known: {', '.join(TARGET_SETS)}")
        self.name = name
        self._specs = [one for one in catalogue.targets if getattr(one, name) is not None]

    def spec(self, figure: str, scope: Scope = INSTANCE) -> TargetSpec | None:
        """The entry for a figure in a scope, None where the set is silent: that with most labels that all match."""
        fitting = [one for one in self._specs if one.name == figure and one.scope.encloses(scope)]
        return max(fitting, key=lambda one: len(one.scope.labels), default=None)

    def limit(self, spec: TargetSpec) -> float:
        return float(getattr(spec, self.name))

    def own_p99(self, runs: Iterable[Json]) -> dict[str, float]:
        """The P99 that this set allows each operation of these runs, as far as it speaks of them."""
        specs = {name: self.spec("op.latency.p99", scope_of({"operation": name}))
                 for run in runs for name in run["operations"]}  # fmt: skip
        return {name: self.limit(spec) for name, spec in specs.items() if spec is not None}


def set_limit(catalogue: Catalogue, targets: str, figure: str, labels: Mapping[str, str] | None = None) -> float | None:
    """What a set says of a figure, in base units; None where it is silent."""
    held = _Set(catalogue, targets)
    spec = held.spec(figure, scope_of(labels or {}))
    return None if spec is None else held.limit(spec)


_LOOSER: Final = {"baseline": ("baseline", "target", "floor"), "target": ("target", "floor", "baseline"),
                  "floor": ("floor", "target", "baseline")}  # fmt: skip


def p99_limits(catalogue: Catalogue, targets: str, operations: Iterable[str]) -> dict[str, float]:
    """The P99 that a set allows each operation, in seconds; where it is silent, what the next set says."""
    found = {}
    for name in operations:
        asked = (set_limit(catalogue, one, "op.latency.p99", {"operation": name}) for one in _LOOSER[targets])
        if (limit := next((one for one in asked if one is not None), None)) is not None:
            found[name] = limit
    return found


# Runs


def total_rate(run: Json) -> float:
    """Good answers per second, of all operations together."""
    return float(sum(one["rate"] for one in run["operations"].values()))


def invalidity(run: Json) -> str:
    """Why a run says nothing of the server, in words; empty for a valid one."""
    return ", ".join(_CLIENT.get(one, one) for one in run["validity"]["reasons"])


def _only_slowed(run: Json) -> bool:
    """
    Whether all that the client did wrong can only have made answers later than they were.

    Its delay is part of the response time, so that what keeps a limit with it would have kept it without.
    """
    return set(run["validity"]["reasons"]) <= {LAG, CPU}


def _by_client(run: Json) -> bool:
    """Whether what was never sent is the client's doing: no connection came free because it did not read answers."""
    return bool(set(run["validity"]["reasons"]) & {CPU, DELIVERED})


def _excused(run: Json) -> frozenset[str]:
    """Kinds of failure that are not held against the server."""
    return _LATE if run["workload"]["name"] == BURST else frozenset({_UNSENT}) if _by_client(run) else frozenset()


def is_failing(run: Json, limits: Mapping[str, float]) -> bool:
    """Whether more of its requests failed than may, by the server's doing."""
    excused = _excused(run)
    sent = sum(one["sent"] for one in run["operations"].values())
    failed = sum(count for one in run["operations"].values() for kind, count in one["errors"].items()
                 if kind not in excused)  # fmt: skip
    return not sent or failed / sent > limits["errors_most"]


@dataclass(frozen=True, slots=True)
class Knee:
    """
    The highest rate of a ramp at which all was served within the limit; None where not even the first was.

    `ended` says what ended the ramp above it: `server`, `client` where more could not be sent, or `plan`.
    """

    rate: float | None
    ended: Literal["server", "client", "plan"]


def knee_of(steps: Sequence[Json], limits: Mapping[str, float], *, most_p99: Mapping[str, float]) -> Knee:
    """The knee of a ramp's runs; `most_p99` is the latency limit of each operation that has one, in seconds."""
    good = [run for run in steps if keeps_up(run, limits, most_p99=most_p99)]
    rate = max((total_rate(run) for run in good), default=None)
    offered = max((float(run["workload"]["offered_rate"]) for run in good), default=0.0)
    above = [run for run in steps if float(run["workload"]["offered_rate"]) > offered]
    if not above:
        return Knee(rate, "plan")
    by_client = all(invalidity(run) and not is_failing(run, limits) for run in above)
    return Knee(rate, "client" if by_client else "server")


def keeps_up(run: Json, limits: Mapping[str, float], *, most_p99: Mapping[str, float]) -> bool:
    """Whether all that was offered was sent, answered well, and within the limit."""
    if not _only_slowed(run) or is_failing(run, limits):
        return False
    if total_rate(run) < limits["served_least"] * float(run["workload"]["offered_rate"]):
        return False
    quantiles = {name: one["response"]["quantiles"]["p99"] for name, one in run["operations"].items()}
    return all(value is not None and value <= most_p99.get(name, value) for name, value in quantiles.items())
