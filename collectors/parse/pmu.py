"""The facts of the hardware counters: counts by the CPU's table of events, and why there are none."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.attribution import known, unknown
from engram_diagnose.collectors.parse.event_table import EventFact, EventTable
from engram_diagnose.collectors.parse.figures import Missing, UnparsedError
from engram_diagnose.collectors.parse.formula import SECONDS, NoValueError
from engram_diagnose.collectors.parse.json_text import figure, parse_json
from engram_diagnose.collectors.parse.perf_stat import Count, Counted, Counts, matched, parse_counts
from engram_diagnose.collectors.parse.pmu_access import COUNTER_GET_BY, Access, parse_probe
from engram_diagnose.collectors.parse.recipe import absence
from engram_diagnose.engine.facts.fact import Fact, Reason, not_applicable, point

TABLE_FACTS: Final = frozenset(
    {
        "cache.l1d_mpki",
        "cache.l2_mpki",
        "cache.llc_miss_ratio",
        "cache.llc_mpki",
        "cache.miss_ratio",
        "coherence.cross_ccx_fill_pki",
        "membw.read",
        "membw.total",
        "membw.write",
        "numa.remote_access_rate",
        "numa.remote_access_share",
        "pmu.backend_stall_share",
        "pmu.branch_miss_ratio",
        "pmu.ipc",
        "pmu.memory_bound_share",
        "simd.packed_share",
        "tlb.walk_pki",
    }
)
"""What every table of events has to say something of."""
_RUNNING: Final = "pmu.running_share"
PMU_FACTS: Final = TABLE_FACTS | {_RUNNING}
"""The names of the facts that the counters make."""

LEAST_RUNNING: Final = 0.5
"""As `Reason.MUX_LOW` says it: below, a ratio of scaled counts has been seen to tell the opposite."""
_SLACK: Final = 0.1
"""By how much a share may leave 0..1, since its events do not begin at one instant; it is then clipped."""
_SAID: Final = {"smt": "whether threads share a core", "width": "how many slots a cycle has"}
_TOOL: Final = "perf stat"
_CLOCK: Final = "task-clock"


@dataclass(frozen=True, slots=True)
class _Taken:
    """The counts of one run by "group.alias", None where the output does not tell, and for how many seconds."""

    of_host: bool
    seconds: float
    counts: Mapping[str, Count | None]
    ran_ms: float | None
    trouble: Missing | None


@dataclass(frozen=True, slots=True)
class _Stat:
    """What the answer of `perf stat` says."""

    version: str
    table: str
    runs: tuple[_Taken, ...]
    refused: Mapping[str, str]
    left_out: Mapping[str, Missing]


def facts_of_pmu(answers: Iterable[Answer], tables: Iterable[EventTable]) -> list[Fact]:
    """
    The facts of `PMU_FACTS`, sorted by name: each known, unknown with its reason and what would obtain it, or not
    applicable.

    Of several answers of one name the newest counts. Pure; never raises for what an answer says.
    """
    mine = [answer for answer in answers if answer.collector == "perf"]
    probed, stat = (_newest(mine, name) for name in ("probe", "stat"))
    reading = _Reading(probed, stat, {table.name: table for table in tables})
    return [reading.fact(name) for name in sorted(PMU_FACTS)]


def _newest(answers: Sequence[Answer], name: str) -> Answer | None:
    found = [answer for answer in answers if answer.name == name]
    return max(found, key=lambda answer: answer.time) if found else None


class _Reading:
    """Both answers together with the table of this CPU."""

    def __init__(self, probed: Answer | None, counted: Answer | None, tables: Mapping[str, EventTable]) -> None:
        self._answer = counted or probed
        self._access = _read_probe(probed)
        self._stat, self._no_stat = _read_stat(counted)
        name = (self._stat.table if self._stat else "") or (self._access.table if self._access else "")
        self._table = tables.get(name)
        self._no_table = Missing(
            Reason.EVENT_UNSUPPORTED,
            f"the table {name!r} is not here" if name else "no table of events is for this CPU",
        )
        self._zero = self._reads_zero()

    def fact(self, name: str) -> Fact:
        if name == _RUNNING:
            return self._running()
        table = self._table
        meaningless = self._meaningless(name)
        if meaningless:
            host, time = (self._answer.host, self._answer.time) if self._answer else ("", 0.0)
            return not_applicable(name, meaningless, source=_TOOL, host=host, time=time)
        formula = table.facts.get(name) if table else None
        trouble = self._trouble(formula)
        if trouble is not None:
            return self._unknown(name, trouble)
        if table is None:
            return self._unknown(name, self._no_table)
        if formula is None:
            absent = table.absent.get(name)
            why = absent.because if absent else f"the table {table.name} does not say"
            return self._unknown(name, Missing(Reason.EVENT_UNSUPPORTED, why), absent.get_by if absent else "")
        return self._computed(formula, table)

    def _meaningless(self, name: str) -> str:
        if name.startswith("numa.") and self._access is not None and self._access.nodes == 1:
            return "one NUMA node"
        return self._table.inapplicable.get(name, "") if self._table else ""

    # Why nothing was counted

    def _trouble(self, formula: EventFact | None) -> Missing | None:
        """Why none of the counts that a fact needs, or would need, can be had."""
        on_host = self._on_host(formula)
        if self._access is not None:
            refused = self._access.host if on_host else self._access.cores
            if refused is not None:
                return refused
        if self._no_stat is not None:
            return self._no_stat
        return self._zero if not on_host else None

    def _on_host(self, formula: EventFact | None) -> bool:
        groups = formula.formula.groups if formula and self._table else ()
        return any(self._table.groups[name].of_host for name in groups) if self._table else False

    def _reads_zero(self) -> Missing | None:
        """Cycles or instructions of nothing while the server ran: counters that a hypervisor only pretends to have."""
        formula = self._table.facts.get("pmu.ipc") if self._table else None
        if formula is None or self._stat is None:
            return None
        for run in self._stat.runs:
            counts = [run.counts.get(name) for name in sorted(formula.formula.names)]
            zero = any(count is not None and count.state is Counted.YES and count.value == 0 for count in counts)
            if zero and run.ran_ms:
                return Missing(Reason.PMU_ZERO, f"0 counted in {run.ran_ms:g} ms of CPU time")
        return None

    # What was counted

    def _computed(self, fact: EventFact, table: EventTable) -> Fact:
        values = self._variables()
        unsaid = sorted(name for name in fact.formula.names if "." not in name and name not in (*values, SECONDS))
        if unsaid:
            return self._unknown(
                fact.name, Missing(Reason.SOURCE_ABSENT, f"the kernel does not say {_SAID[unsaid[0]]}")
            )
        seconds: dict[str, float] = {}
        for name in sorted(name for name in fact.formula.names if "." in name):
            found = self._count(name, table)
            if isinstance(found, Missing):
                return self._unknown(fact.name, found)
            values[name], seconds[name.partition(".")[0]] = found
        try:
            return self._known(fact, table, fact.formula.evaluate(values, seconds), max(seconds.values()))
        except NoValueError as error:
            return self._unknown(fact.name, Missing(Reason.TOO_FEW_SAMPLES, str(error)))

    def _variables(self) -> dict[str, float]:
        """What formulas may read besides counts, as far as the probe knows it."""
        if self._access is None:
            return {}
        found = {"smt": float(self._access.smt)}
        return {**found, "width": float(self._access.width)} if self._access.width else found

    def _count(self, name: str, table: EventTable) -> tuple[float, float] | Missing:
        """One count and its seconds, or why it is not to be used."""
        assert self._stat is not None  # noqa: S101 -- without it there was trouble
        group = name.partition(".")[0]
        if name in self._stat.refused:
            return Missing(Reason.EVENT_UNSUPPORTED, f"perf does not take {name}: {self._stat.refused[name]}")
        if group in self._stat.left_out:
            return self._stat.left_out[group]
        run = next((run for run in self._stat.runs if name in run.counts), None)
        if run is None:
            return Missing(Reason.NO_PMU, f"no {table.groups[group].on} counters here")
        if run.trouble is not None:
            return run.trouble
        return _usable(name, run.counts[name], run)

    def _known(self, fact: EventFact, table: EventTable, value: float, seconds: float) -> Fact:
        assert self._answer is not None  # noqa: S101 -- there are counts
        if fact.name.endswith(("_share", "_ratio")):
            if not -_SLACK <= value <= 1 + _SLACK:
                return self._unknown(fact.name, Missing(Reason.UNPARSED, f"comes to {value:.4g}, which is no share"))
            value = min(1.0, max(0.0, value))
        elif value < 0:
            return self._unknown(fact.name, Missing(Reason.UNPARSED, f"comes to {value:.4g}, below zero"))
        source = f"{self._tool()}: {fact.formula.text}"
        made = known(fact.name, point(value), self._answer, source=source, window=seconds, proxy_of=fact.proxy_of)
        return replace(made, quality="; ".join(self._notes(fact, table)))

    def _notes(self, fact: EventFact, table: EventTable) -> Iterator[str]:
        if table.experimental:
            yield f"experimental: the table for {table.title} was never held against such a CPU"
        if self._access is not None and self._access.user_only and not self._on_host(fact):
            yield "without the kernel's part"
        if fact.note:
            yield fact.note

    def _running(self) -> Fact:
        trouble = self._trouble(None)
        if trouble is not None:
            return self._unknown(_RUNNING, trouble)
        assert self._stat is not None  # noqa: S101 -- without it there was trouble
        assert self._answer is not None  # noqa: S101 -- as above
        shares = [
            count.running
            for run in self._stat.runs
            for count in run.counts.values()
            if count is not None and count.state is Counted.YES
        ]
        if not shares:
            return self._unknown(_RUNNING, Missing(Reason.NOT_COUNTED, "no counter of the hardware ran"))
        seconds = sum(run.seconds for run in self._stat.runs)
        return known(_RUNNING, point(min(shares)), self._answer, source=self._tool(), window=seconds)

    def _tool(self) -> str:
        version = self._stat.version if self._stat else ""
        return f"perf {version} stat" if version else _TOOL

    def _unknown(self, name: str, why: Missing, get_by: str = "") -> Fact:
        source = "" if self._answer is None else _TOOL
        return unknown(name, why, self._answer, source=source, get_by=get_by or COUNTER_GET_BY.get(why.reason, ""))


def _usable(name: str, count: Count | None, run: _Taken) -> tuple[float, float] | Missing:
    if count is None:
        return Missing(Reason.UNPARSED, f"the output does not tell {name}")
    if count.state is Counted.NOT_SUPPORTED:
        return Missing(Reason.EVENT_UNSUPPORTED, f"{name} {count.state.value}")
    if count.state is Counted.NOT_COUNTED:
        if run.ran_ms == 0:
            return Missing(Reason.TOO_FEW_SAMPLES, "the server used no CPU while it was counted")
        return Missing(Reason.NOT_COUNTED, f"{name} {count.state.value}")
    if count.running < LEAST_RUNNING:
        return Missing(Reason.MUX_LOW, f"{name} ran {count.running:.0%} of the time")
    return count.value, run.seconds


# ── the answers ──────────────────────────────────────────────────────────────────────────────────


def _read_probe(answer: Answer | None) -> Access | None:
    """What the probe found; None where it was not asked, or what it says cannot be read: counts then speak alone."""
    try:
        return parse_probe(answer.body or "") if answer is not None and answer.answered else None
    except UnparsedError:
        return None


def _read_stat(answer: Answer | None) -> tuple[_Stat | None, Missing | None]:
    if answer is None:
        return None, Missing(Reason.NOT_COLLECTED, "perf stat")
    if not answer.answered:
        return None, absence(answer)
    try:
        return _parse_stat(answer.body or ""), None
    except UnparsedError as error:
        return None, Missing(Reason.UNPARSED, f"perf stat: {error}")


def _parse_stat(text: str) -> _Stat:
    body = parse_json(text)
    if not isinstance(body, dict) or not isinstance(body.get("rounds"), list):
        raise UnparsedError("not what capture writes")
    return _Stat(
        version=_text(body, "version")[:60],
        table=_text(body, "table"),
        runs=tuple(_run(entry) for entry in body["rounds"]),
        refused={name: str(why)[:300] for name, why in _members(body, "refused")},
        left_out={name: _reason(why) for name, why in _members(body, "left_out")},
    )


def _run(entry: object) -> _Taken:
    if not isinstance(entry, dict):
        raise UnparsedError("a round is not an object")
    listed = entry.get("asked")
    asked = [event for event in listed if _is_event(event)] if isinstance(listed, list) else []
    seconds = figure(entry.get("seconds"))
    if seconds is None or seconds < 0:
        raise UnparsedError("a round without its seconds")
    of_host = entry.get("of_host") is True
    counts = parse_counts(_text(entry, "output"))
    lines = matched(counts, [printed for _, _, printed in asked], summed=of_host)
    if of_host:  # one name a device: they were added up
        found = {f"{group}.{alias}": line for (group, alias, _), line in zip(asked, lines, strict=True)}
    else:
        found = _once(asked, lines)
    trouble = _reason([entry.get("reason"), entry.get("detail")]) if entry.get("reason") else None
    return _Taken(of_host, seconds, found, None if of_host else _clock(counts), trouble)


def _once(asked: Sequence[Sequence[str]], lines: Iterable[Count | None]) -> dict[str, Count | None]:
    """By name; None for a name that was asked for twice, which capture never does."""
    found: dict[str, Count | None] = {}
    for (group, alias, _), line in zip(asked, lines, strict=True):
        name = f"{group}.{alias}"
        found[name] = None if name in found else line
    return found


def _clock(counts: Counts) -> float | None:
    """Milliseconds of CPU time that the server used; None where that was not counted."""
    lines = counts.of(_CLOCK)
    if len(lines) != 1 or lines[0].state is Counted.NOT_SUPPORTED:
        return None
    return lines[0].value


def _reason(why: object) -> Missing:
    """A reason's name and its detail; what is not a reason of ours could not be read."""
    name, detail = why if isinstance(why, list) and len(why) == 2 else ("", why)
    try:
        return Missing(Reason[str(name)], str(detail)[:300])
    except KeyError:
        return Missing(Reason.UNPARSED, f"{str(name)[:40]!r} is not a reason: {str(detail)[:300]}")


def _is_event(value: object) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(isinstance(text, str) for text in value)


def _members(body: Mapping[str, object], key: str) -> Iterator[tuple[str, object]]:
    value = body.get(key)
    yield from value.items() if isinstance(value, dict) else ()


def _text(body: Mapping[str, object], key: str) -> str:
    value = body.get(key)
    return value if isinstance(value, str) else ""
