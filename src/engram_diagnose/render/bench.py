"""
A benchmark in words: what every format shows, in the order in which it is read.

Formats lay this out and escape it; they compute nothing. Every text in it has been through `neutral.clean`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple

from engram_diagnose.bench.verdict import invalidity
from engram_diagnose.render.bench_drawing import drawn_curve, drawn_ladder, drawn_timeline
from engram_diagnose.render.causes import Step, confidence_words, steps_of
from engram_diagnose.render.drawing import Drawn
from engram_diagnose.render.figures import calibration_words, count, instant, labels, percent
from engram_diagnose.render.measured import figure
from engram_diagnose.render.neutral import clean

Json = Mapping[str, Any]

_NAMES: Final = {
    "op.latency.p50": "P50", "op.latency.p90": "P90", "op.latency.p95": "P95", "op.latency.p99": "P99",
    "op.latency.p999": "P99.9", "op.rate": "rate", "op.error_share": "failed", "ops.rate": "operations",
    "ops.burst_rate": "operations in a burst", "client.connections": "connections served",
}  # fmt: skip
_QUANTILES: Final = {"p50": "P50", "p90": "P90", "p95": "P95", "p99": "P99", "p999": "P99.9"}
_LADDER: Final = 3
"""So many runs of one load in a row are shown as steps, a line each."""
_DRAWN: Final = 40
"""Runs with drawings; of more a page would be slow, and nobody would look."""
SAYS: Final = (
    "Response is from the planned instant to the answer, what a user waits; service is from the sending. Percentiles "
    "are of all good answers of a run together."
)


class VerdictRow(NamedTuple):
    """One figure held against its limit."""

    state: str
    what: str
    measured: str
    limit: str
    reason: str
    about: str


class VerdictGroup(NamedTuple):
    """The verdicts of one workload, and the runs they rest on."""

    workload: str
    runs: tuple[int, ...]
    rows: tuple[VerdictRow, ...]


class OperationView(NamedTuple):
    """One kind of operation in one run; `latencies` are pairs of a percentile and its response time."""

    name: str
    rate: str
    sent: str
    failed: str
    latencies: tuple[tuple[str, str], ...]
    service: str
    curve: Drawn | None


class RunView(NamedTuple):
    """One run. `invalid` is empty for one that is valid; `about` says what was asked, `client` how the client fared."""

    number: int
    title: str
    about: tuple[str, ...]
    client: str
    invalid: str
    operations: tuple[OperationView, ...]
    quality: str
    timeline: tuple[Drawn, ...]


class StepRow(NamedTuple):
    """One step of a ladder; `waits` are the P99s in the order of the ladder's operations."""

    run: int
    offered: str
    good: str
    failed: str
    waits: tuple[str, ...]
    invalid: str


class Ladder(NamedTuple):
    """Runs of one load at one rate after the other: what a ramp is made of."""

    title: str
    about: tuple[str, ...]
    operations: tuple[str, ...]
    rows: tuple[StepRow, ...]
    drawn: Drawn | None
    runs: tuple[RunView, ...]


class AdviceView(NamedTuple):
    """One likely cause, and what to do about it."""

    number: int
    title: str
    severity: str
    confidence: str
    explains: tuple[str, ...]
    reason: str
    steps: tuple[Step, ...]
    rule: str


class View(NamedTuple):
    """
    Everything a report of a benchmark says; `diagnosis` is empty where nothing was diagnosed.

    `runs` are those that are no step of a ladder.
    """

    label: str
    state: str
    sentence: str
    name: str
    tool: str
    target_set: str
    when: str
    servers: tuple[str, ...]
    groups: tuple[VerdictGroup, ...]
    diagnosis: str
    coverage: str
    advice: tuple[AdviceView, ...]
    notes: tuple[str, ...]
    ladders: tuple[Ladder, ...]
    runs: tuple[RunView, ...]


def bench_view(document: Json) -> View:
    """The view of a report document (`rules/schema/bench-report-v1.json`)."""
    document = clean(document)
    runs, advised = document["benchmark"]["runs"], document["recommendations"]
    groups = [list(group) for _, group in groupby(runs, key=lambda run: (run["workload"]["name"], run["side"]))]
    shown = {run["order"]: _run(run, document["verdicts"], drawn=number < _DRAWN) for number, run in enumerate(runs)}
    return View(
        label=document["verdict"]["state"].upper(),
        state=document["verdict"]["state"],
        sentence=document["verdict"]["sentence"],
        name=document["name"],
        tool=document["tool"],
        target_set=document["target_set"],
        when=_when(runs),
        servers=tuple(dict.fromkeys(_server(run["server"]) for run in runs)),
        groups=tuple(_groups(document["verdicts"])),
        diagnosis=advised["sentence"] if advised else "",
        coverage=advised["coverage"] if advised else "",
        advice=tuple(_advised(advised)) if advised else (),
        notes=tuple(document["notes"]),
        ladders=tuple(_ladder(group, shown) for group in groups if len(group) >= _LADDER),
        runs=tuple(shown[run["order"]] for group in groups if len(group) < _LADDER for run in group),
    )


def _when(runs: Sequence[Json]) -> str:
    seconds = sum(run["duration_seconds"] for run in runs)
    return f"{count(len(runs), 'run')}, {figure(seconds, 's')} of load, from {instant(runs[0]['started'])}"


def _server(server: Json) -> str:
    known = [server["address"], f"version {server['version']}" if server["version"] else "version not told"]
    known += [f"dialect {server['dialect']}"] if server["dialect"] else []
    known += [f"configuration {server['configuration'][:19]}"] if server["configuration"] else []
    return ", ".join(known)


# Verdicts


def _groups(verdicts: Iterable[Json]) -> Iterable[VerdictGroup]:
    for (workload, runs), group in groupby(verdicts, key=lambda one: (one["workload"], tuple(one["runs"]))):
        yield VerdictGroup(workload, runs, tuple(map(_verdict, group)))


def _verdict(one: Json) -> VerdictRow:
    return VerdictRow(one["state"], figure_name(one), one["measured_text"] or "unknown", one["limit_text"],
                      one["reason"], one["about"])  # fmt: skip


def figure_name(one: Json) -> str:
    """`recall P99`, `operations`; other labels than the operation's as they are."""
    rest = {name: value for name, value in one["scope"].items() if name != "operation"}
    name = f"{_NAMES.get(one['on'], one['on'])}{labels(rest)}"
    return f"{one['scope'].get('operation', '')} {name}".strip()


# Runs


def _run(run: Json, verdicts: Iterable[Json], *, drawn: bool) -> RunView:
    load, quality = run["workload"], run.get("recall_quality")
    limits = {one["scope"].get("operation", ""): (one["limit"], one["limit_text"]) for one in verdicts
              if run["order"] in one["runs"] and one["on"] == "op.latency.p99"}  # fmt: skip
    return RunView(
        number=run["order"],
        title=" ".join(filter(None, (load["name"], run["side"] and f"({run['side']})"))),
        about=tuple(_about(run)),
        client=_client(run),
        invalid=invalidity(run),
        operations=tuple(_operation(run["order"], name, one, limits.get(name), drawn=drawn)
                         for name, one in sorted(run["operations"].items())),
        quality=_quality(quality) if quality else "",
        timeline=drawn_timeline(run["timeline"], name=f"run-{run['order']}") if drawn and run.get("timeline") else (),
    )  # fmt: skip


def _ladder(runs: Sequence[Json], shown: Mapping[int, RunView]) -> Ladder:
    first = shown[runs[0]["order"]]
    operations = tuple(sorted({name for run in runs for name in run["operations"]}))
    seconds = sum(run["duration_seconds"] for run in runs)
    return Ladder(
        title=first.title,
        about=(first.about[0], f"{count(len(runs), 'step')}, {figure(seconds, 's')} in all"),
        operations=operations,
        rows=tuple(_step(run, operations, shown[run["order"]].invalid) for run in runs),
        drawn=drawn_ladder(runs, operations),
        runs=tuple(shown[run["order"]] for run in runs),
    )


def _step(run: Json, operations: Iterable[str], invalid: str) -> StepRow:
    found, offered = run["operations"], run["workload"]["offered_rate"]
    failed = sum(sum(one["errors"].values()) for one in found.values())
    waits = (found[name]["response"]["quantiles"]["p99"] if name in found else None for name in operations)
    return StepRow(run["order"], _rate(offered) if offered else f"{run['workload']['clients']:,} clients",
                   _rate(sum(one["rate"] for one in found.values())), f"{failed:,}", tuple(map(_time, waits)),
                   invalid)  # fmt: skip


def _about(run: Json) -> Iterable[str]:
    load = run["workload"]
    shares = sorted(load["mix"].items(), key=lambda one: (-one[1], one[0]))
    yield ", ".join(f"{percent(share)} {name}" for name, share in shares if share)
    offered = f"open loop, {_rate(load['offered_rate'])} offered" if load["loop"] == "open" else "closed loop"
    yield f"{offered}, {count(load['clients'], 'connection')}, {figure(run['duration_seconds'], 's')}"
    held = count(load["dataset"]["memories"], "memory").replace("memorys", "memories")
    yield f"{held} of {load['dimension']:,} dimensions in {count(len(load['spaces']), 'space')}"


def _rate(value: float) -> str:
    return f"{value:,.0f}/s" if value >= 10 else f"{value:.3g}/s"


def _client(run: Json) -> str:
    validity = run["validity"]
    return (
        f"lag P99 {figure(validity['lag_p99_seconds'], 's')}, {percent(validity['delivered_share'])} delivered, "
        f"busiest worker {percent(validity['worker_cpu_share'])} of a core"
    )


def _quality(found: Json) -> str:
    queries = f"{found['queries']:,} {'query' if found['queries'] == 1 else 'queries'}"
    return f"{found['recall_at_k'] * 100:.1f} % of the true nearest {found['k']} found, over {queries}"


def _operation(run: int, name: str, one: Json, limit: tuple[float, str] | None, *, drawn: bool) -> OperationView:
    failed = sum(one["errors"].values())
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in sorted(one["errors"].items()) if number)
    response = one["response"]
    times = [(words, response["quantiles"][key]) for key, words in _QUANTILES.items()] + [("max", response["max"])]
    return OperationView(
        name=name,
        rate=_rate(one["rate"]),
        sent=f"{one['sent']:,}",
        failed=f"{failed:,} ({kinds})" if failed else "0",
        latencies=tuple((words, _time(value)) for words, value in times),
        service=_time(one["service"]["quantiles"]["p99"]),
        curve=drawn_curve(run, name, one, limit) if drawn else None,
    )


def _time(value: float | None) -> str:
    return "unknown" if value is None else figure(value, "s")


# What is advised


def _advised(advised: Json) -> Iterable[AdviceView]:
    calibration = calibration_words(advised)
    for number, cause in enumerate(advised["causes"], 1):
        yield AdviceView(
            number=number,
            title=f"{cause['title']} {labels(cause['scope'])}".strip(),
            severity=cause["severity"] or "",
            confidence=", ".join(filter(None, (confidence_words(cause["confidence"]), calibration))),
            explains=tuple(dict.fromkeys(cause["explains"])),
            reason=cause["reason"],
            steps=steps_of(cause["remedies"]),
            rule=cause["rule"],
        )
        calibration = ""
