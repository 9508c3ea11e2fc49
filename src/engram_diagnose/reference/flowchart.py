"""
The troubleshooting flowchart: which questions to ask in which order, taken from symptoms and the causes that explain
them.

The order of the questions that the guide asks is the guide's. Behind them stand the other causes: those that the
server's metrics decide before those that need the host, and those before what takes a profile; what explains few
symptoms before what may be behind anything.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from engram_diagnose.engine.language.rule import Recommendation, Rule
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.testable import ACCESSES, COUNTERS, HOST, METRICS, NODE, coverage_matrix
from engram_diagnose.reference.words import named_in, one_line

OVERVIEW: Final = "overview"
_GUIDE: Final = "guide"
_FEW: Final = 12
"""Up to so many causes stand in one chart; of more, those that may be behind anything have charts of their own."""
_PARAMETER: Final = re.compile(r" \(\$\w+\)")
_ITS_TARGET: Final = re.compile(r"(\S+) is (above|below) target\.\1(?=[ ,;)]|$)")
_NOT_TRUE: Final = re.compile(r"not \(([^()]+) is true\)")
_ALERT, _CRITICAL = "symptom.alert-", "-critical"
_LOOK: Final = {
    METRICS: "the server's metrics and configuration",
    NODE: "the host, or its node exporter",
    HOST: "the server's host",
    COUNTERS: "a profile on the server's host",
}
_ITSELF: Final = "what collecting says of itself"


@dataclass(frozen=True, slots=True)
class Question:
    """
    One question of a chart.

    `test` is what decides it, in words, `look` what has to be looked at for that. `yes` is what is the matter then, and
    `action` what to do first; or `chart` names the chart to go on with.
    """

    test: str
    yes: str
    rules: tuple[str, ...]
    look: str = ""
    action: str = ""
    asks: str = ""
    chart: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """Questions in their order, and what is left to do when the answer to all of them is no."""

    name: str
    title: str
    questions: tuple[Question, ...]
    otherwise: str
    next: tuple[tuple[str, str], ...] = ()
    """Names and titles of the charts to go on with when no question was answered with yes."""


@dataclass(frozen=True, slots=True)
class _Area:
    """
    Symptoms that one asks about together; `first` are the questions that the guide asks, in its order.

    `otherwise` is what to do when it is none of the causes.
    """

    name: str
    title: str
    asks: str
    symptoms: tuple[str, ...]
    first: tuple[str, ...] = ()
    otherwise: str = "take a profile"


_AREAS: Final = (
    _Area("down", "The server does not answer", "Does the server not answer?", ("symptom.server-down",),
          otherwise="read the server's log, and the last state of its unit or container"),
    _Area("recall", "Recall is slow", "Is recall slow?", ("symptom.recall-slow", "symptom.recall-p50-slow"),
          ("tiers.hot-tier-too-small", "memory.cache-misses", "activation.prefetch-out-of-range",
           "index.low-connectivity", "index.search-too-wide", "simd.underutilised")),
    _Area("activation", "Activation is slow", "Is activation slow?", ("symptom.activation-slow",),
          ("tiers.hot-tier-too-small", "activation.prefetch-out-of-range", "activation.batch-too-small")),
    _Area("store", "Store is slow", "Is store slow?", ("symptom.store-slow",),
          ("storage.wal-flush-slow", "storage.store-waits-for-wal", "storage.wal-write-amplification",
           "locks.hot-tier-contention")),
    _Area("completion", "Pattern completion is slow", "Is pattern completion slow?",
          ("symptom.pattern-completion-slow",), ("completion.too-deep", "completion.too-many-candidates")),
    _Area("consolidation", "Consolidation is slow or late", "Does consolidation stand out, or not finish?",
          ("symptom.consolidation-slow", "symptom.consolidation-stale"), ("consolidation.disturbs-queries",)),
    _Area("tail", "One in a thousand is slow", "Are only the slowest in a thousand slow?", ("symptom.tail-slow",)),
    _Area("cache-hits", "The hot tier serves too little", "Is the cache hit ratio low?",
          ("symptom.cache-hit-low", "symptom.alert-tiers", "symptom.alert-pool")),
    _Area("throughput", "Throughput is low", "Does less come out than clients ask for?",
          ("symptom.throughput-low", "symptom.high-cpu-low-throughput", "symptom.no-core-scaling",
           "symptom.clients-many"), ("locks.hot-tier-contention",)),
    _Area("cpu", "The CPUs are busy", "Are the CPUs busy?", ("symptom.cpu-high", "symptom.cpu-high-critical")),
    _Area("memory", "Memory runs short", "Does memory run short?",
          ("symptom.memory-high", "symptom.memory-high-critical", "symptom.memory-limit-near",
           "symptom.memory-limit-near-critical", "symptom.memory-overhead")),
    _Area("disk", "The disk is busy or full", "Is the disk busy, full, or the log behind?",
          ("symptom.disk-iops-high", "symptom.disk-iops-high-critical", "symptom.alert-disk", "symptom.alert-log"),
          ("storage.wal-write-amplification",)),
    _Area("network", "The network is busy", "Is the network busy?",
          ("symptom.network-high", "symptom.network-high-critical")),
    _Area("errors", "Operations fail", "Do operations fail?", ("symptom.errors-high",)),
    _Area("quality", "Recall misses memories", "Does recall miss what it should find?",
          ("symptom.recall-quality-low",), ("index.low-connectivity",),
          otherwise="compare with a baseline of better days"),
    _Area("regression", "It was better before", "Was it better on the day that was saved as a baseline?",
          ("symptom.p99-regressed", "symptom.throughput-regressed", "symptom.cache-hit-regressed",
           "symptom.memory-overhead-regressed"), otherwise="compare a profile of each day"),
)  # fmt: skip
_TRUST: Final = "figures"
_LOAD, _HOST, _HARDWARE = "load", "host", "hardware"
_LATENT: Final = (_LOAD, _HOST, _HARDWARE)
"""Charts of causes that may be behind almost any symptom."""
_GROUPS: Final = {"demand": _LOAD, "regression": _LOAD, "host": _HOST, "cpu": _HOST, "memory": _HARDWARE,
                  "numa": _HARDWARE, "simd": _HARDWARE, "locks": _HARDWARE}  # fmt: skip
_TITLES: Final = {
    OVERVIEW: "Where to begin",
    _TRUST: "The figures cannot be trusted",
    _LOAD: "The load, or what changed",
    _HOST: "The host",
    _HARDWARE: "Locks, caches and memory",
}


def charts(index: Index) -> tuple[Chart, ...]:
    """The overview, a chart for each area of symptoms, and those of causes that may be behind any of them."""
    return _Charts(index).made()


class _Charts:
    def __init__(self, index: Index) -> None:
        self._index = index
        self._rules = index.loaded.rules.rules
        self._access = _least_access(index)
        self._causes = [rule for rule in self._rules.values() if rule.kind == "cause"]

    def made(self) -> tuple[Chart, ...]:
        areas = [self._area(area) for area in _AREAS]
        return (self._overview(), self._trust(), *areas, *(self._latent(name) for name in _LATENT))

    # Charts

    def _overview(self) -> Chart:
        trust = Question("one of the rules telemetry.* speaks", _TITLES[_TRUST], self._ids(self._of_group("telemetry")),
                         asks="Can the figures not be trusted?", chart=_TRUST)  # fmt: skip
        down, *others = [self._asked(area) for area in _AREAS]
        otherwise = "No target is missed. What else was found, and what could not be tested, stands below the verdict"
        return Chart(OVERVIEW, _TITLES[OVERVIEW], (down, trust, *others), otherwise)

    def _asked(self, area: _Area) -> Question:
        symptoms = [rule for name in area.symptoms if (rule := self._rules.get(name)) is not None]
        alerts = [rule for rule in self._rules.values() if set(rule.restates) & set(area.symptoms)]
        own = [rule for rule in symptoms if not rule.id.startswith(_ALERT) and not rule.id.endswith(_CRITICAL)]
        tests = dict.fromkeys(map(_test, own))
        told = any(rule.id.startswith(_ALERT) for rule in (*symptoms, *alerts))
        return Question("; or ".join((*tests, *(("an alert says so",) if told else ()))), area.title,
                        self._ids((*symptoms, *alerts)), asks=area.asks, chart=area.name)  # fmt: skip

    def _ids(self, rules: Iterable[Rule]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(rule.id for rule in rules))

    def _trust(self) -> Chart:
        questions = tuple(map(self._cause, self._ordered(self._of_group("telemetry"))))
        otherwise = "None of these: trust them, and go on"
        return Chart(_TRUST, _TITLES[_TRUST], questions, otherwise, ((OVERVIEW, _TITLES[OVERVIEW]),))

    def _area(self, area: _Area) -> Chart:
        found = [rule for rule in self._causes if set(rule.explains) & set(area.symptoms)]
        first = [self._rules[name] for name in area.first if name in self._rules]
        latent = () if len(found) <= _FEW else tuple(name for name in _LATENT if any(self._group(rule) == name
                                                                                     for rule in found))  # fmt: skip
        rest = [rule for rule in found if rule not in first and self._group(rule) not in latent]
        questions = tuple(map(self._cause, (*first, *self._ordered(rest))))
        otherwise = "go on with what may be behind any symptom" if latent else area.otherwise
        return Chart(area.name, area.title, questions, f"None of these: {otherwise}", _titled(latent))

    def _latent(self, name: str) -> Chart:
        found = [rule for rule in self._causes if self._group(rule) == name]
        following = _LATENT[_LATENT.index(name) + 1 :][:1]
        otherwise = "None of these: go on" if following else "None of these: keep a profile, and report what it shows"
        return Chart(name, _TITLES[name], tuple(map(self._cause, self._ordered(found))), otherwise,
                     _titled(following))  # fmt: skip

    # Causes

    def _group(self, rule: Rule) -> str:
        """The chart of causes that may be behind anything that a cause belongs to; empty for the others."""
        return _HARDWARE if self._access.get(rule.id) == COUNTERS else _GROUPS.get(rule.id.partition(".")[0], "")

    def _of_group(self, prefix: str) -> list[Rule]:
        return [rule for rule in self._causes if rule.id.startswith(f"{prefix}.")]

    def _ordered(self, rules: Iterable[Rule]) -> list[Rule]:
        return sorted(rules, key=lambda rule: (self._rank(rule), len(rule.explains), rule.id))

    def _rank(self, rule: Rule) -> int:
        access = self._access.get(rule.id)
        return ACCESSES.index(access) if access is not None else len(ACCESSES)

    def _cause(self, rule: Rule) -> Question:
        access = self._access.get(rule.id)
        return Question(_test(rule), rule.title, (rule.id,), look=_ITSELF if access is None else _LOOK[access],
                        action=first_action(rule, self._index))  # fmt: skip


def _titled(names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, _TITLES[name]) for name in names)


def _least_access(index: Index) -> dict[str, str]:
    """The least that has to be looked at to test each cause, with the dialect that publishes most."""
    found: dict[str, str] = {}
    for cell in sorted(coverage_matrix(index.loaded.rules.rules, index.loaded.catalogue),
                       key=lambda cell: ACCESSES.index(cell.access)):  # fmt: skip
        for name in cell.testable:
            found.setdefault(name, cell.access)
    return found


def _test(rule: Rule) -> str:
    """A rule's gate in words, without the names of its parameters, and what its own names stand for."""
    if rule.when is None:
        return ""
    words = _NOT_TRUE.sub(r"\1 is not true", _ITS_TARGET.sub(r"\1 is \2 its target", one_line(rule.when)))
    named = [f"{name} is {formula}" for name, formula in named_in([rule.when]).items()]
    return _PARAMETER.sub("", f"{words}, where {' and '.join(named)}" if named else words)


def first_action(rule: Rule, index: Index) -> str:
    """The first thing that a cause's advice says, in words of the guide's keys."""
    if not rule.recommend:
        return "see the rule"
    return "; ".join(_action(rule.recommend[0], index))


def _action(advice: Recommendation, index: Index) -> Iterator[str]:
    if advice.investigate:
        yield advice.investigate
    if advice.settings:
        keys = dict.fromkeys(_key(setting.parameter, index) for setting in advice.settings)
        yield f"Change {', '.join(keys)}: tune says to what"


def _key(parameter: str, index: Index) -> str:
    dialect = index.loaded.catalogue.dialects.get(_GUIDE)
    key = dialect.keys.get(parameter) if dialect is not None else None
    return key.key if key is not None and key.key else parameter
