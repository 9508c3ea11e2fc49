"""
A bundle into facts: the same for a run that was just collected and for a bundle from last month.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.gather import DEFAULT_WINDOW, NODE_DIALECT
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.endpoints import HEALTH, facts_of_endpoints, facts_of_health
from engram_diagnose.collectors.parse.engram_json import absent_metrics, facts_of_engram_json
from engram_diagnose.collectors.parse.local import LOCAL_FACTS, facts_of_local
from engram_diagnose.collectors.prometheus.facts import facts_of_series, needed_selectors
from engram_diagnose.collectors.prometheus.series import SeriesError, SeriesStore, store_of_matrix, store_of_scrapes
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, FactSpec
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, point, unknown_fact

BEFORE: Final = "@before"
BASELINE: Final = "@baseline"

_NO_COLLECTOR: Final[Mapping[str, str]] = {
    "perf": "this release has no collector for hardware counters and profiles",
    "kernels": "this release has no microbenchmarks",
    "alert": "no alert started this diagnosis",
    "operator": "the operator has not said",
}
"""By a fact's origin: why nobody has asked for it."""


def facts_of_bundle(bundle: Bundle, catalogue: Catalogue, wanted: Iterable[str]) -> list[Fact]:
    """
    The facts a bundle holds, and an unknown one, with its reason, for each wanted name that it does not.

    Depends on nothing but its arguments, so that a bundle tells the same story wherever it is read.
    """
    return _Reading(bundle, catalogue, tuple(sorted(set(wanted)))).facts()


class _Reading:
    def __init__(self, bundle: Bundle, catalogue: Catalogue, wanted: tuple[str, ...]) -> None:
        self._bundle = bundle
        self._catalogue = catalogue
        self._wanted = wanted
        self._dialect = catalogue.dialects[bundle.dialect if bundle.dialect in catalogue.dialects else "guide"]

    def facts(self) -> list[Fact]:
        # The last known one stands: what was measured on the host itself goes before what an exporter says of it.
        facts = [*self._metrics(), *self._direct(), *self._local(), *self._configuration(), *self._statements()]
        facts += self._telemetry(facts)
        return facts + self._rest(facts)

    # Metrics

    def _metrics(self) -> list[Fact]:
        facts: list[Fact] = []
        for answer in self._bundle.of("prometheus"):
            kind, _, seconds = answer.name.partition(" ")
            if kind == "node":
                facts += self._series(answer, self._catalogue.dialects[NODE_DIALECT], float(seconds or 0), suffix="")
            else:
                facts += self._series(answer, self._dialect, float(seconds or 0), suffix=BEFORE if kind == "before" else "")
        scrapes = self._bundle.of("exposition")
        return facts + (self._scrapes(scrapes) if scrapes else [])

    def _series(self, answer: Answer, dialect: Dialect, seconds: float, *, suffix: str) -> list[Fact]:
        if not answer.answered:
            return self._refused(dialect, answer, suffix)
        try:
            store = store_of_matrix(answer.body or "")
        except SeriesError as error:
            return self._refused(dialect, Answer(answer.collector, answer.name, answer.time, answer.host, None, "UNPARSED", str(error)), suffix)
        return self._evaluated(store, dialect, answer.time, answer.host, seconds, suffix)

    def _scrapes(self, answers: Iterable[Answer]) -> list[Fact]:
        good = [answer for answer in answers if answer.answered]
        if not good:
            return self._refused(self._dialect, next(iter(answers)), "")
        try:
            store = store_of_scrapes([(answer.time, answer.body or "") for answer in good])
        except SeriesError as error:
            first = good[0]
            return self._refused(self._dialect, Answer("exposition", first.name, first.time, first.host, None, "UNPARSED", str(error)), "")
        return self._evaluated(store, self._dialect, good[-1].time, good[-1].host, float("inf"), "")

    def _evaluated(self, store: SeriesStore, dialect: Dialect, at: float, host: str, collected: float, suffix: str) -> list[Fact]:
        window = float(self._bundle.options.get("window", DEFAULT_WINDOW))
        return facts_of_series(store, dialect=dialect, catalogue=self._catalogue, wanted=self._names(dialect, suffix), at=at,
                               host=host, default_window=window, collected=collected, suffix=suffix)  # fmt: skip

    def _names(self, dialect: Dialect, suffix: str) -> list[str]:
        """The wanted names with a suffix, without it; and, of now, all that the dialect publishes: a reader may ask."""
        if suffix:
            return [name.removesuffix(suffix) for name in self._wanted if name.endswith(suffix)]
        published = {source.fact for source in dialect.sources.values()}
        counters = {name for name in published if (spec := self._catalogue.facts.get(name)) and spec.counter}
        names = [name for name in self._wanted if name.partition("@")[0] in published and not name.endswith((BEFORE, BASELINE))]
        return sorted({*names, *(published - counters)})

    def _refused(self, dialect: Dialect, answer: Answer, suffix: str) -> list[Fact]:
        names = self._names(dialect, suffix)
        reason = Reason[answer.reason] if answer.reason in Reason.__members__ else Reason.SOURCE_UNREACHABLE
        return [unknown_fact(name + suffix, reason, answer.detail, source=answer.collector, host=answer.host, time=answer.time) for name in names]

    # The other collectors

    def _local(self) -> list[Fact]:
        return facts_of_local(self._bundle.answers)

    def _direct(self) -> list[Fact]:
        answers = self._bundle.of("http")
        facts = facts_of_endpoints(answers, self._dialect) if answers else []
        for answer in answers:
            if answer.name == self._dialect.metrics_path and self._dialect.metrics_format == "engram-json":
                facts += facts_of_engram_json(answer, self._dialect)
            elif answer.name == HEALTH:
                facts += facts_of_health(answer)
        return facts

    def _configuration(self) -> list[Fact]:
        answers = self._bundle.of("config")
        return facts_of_configuration(answers[0] if answers else None, self._dialect, self._catalogue)

    def _statements(self) -> list[Fact]:
        """What the operator said when the bundle was made; that nothing was said of scarce memory means there is none."""
        said = {"workload.memory_constrained": 0.0, **self._bundle.options.get("statements", {})}
        host, time = self._bundle.host, self._bundle.time
        return [Fact(name, value if isinstance(value, str) else point(float(value)), Status.RECORDED, source="the operator",
                     host=host, time=time) for name, value in sorted(said.items())]  # fmt: skip

    # The telemetry itself

    def _telemetry(self, facts: Iterable[Fact]) -> list[Fact]:
        dialect = self._dialect
        time, host = self._bundle.time, self._bundle.host
        found = [Fact("telemetry.dialect", dialect.name, Status.RECORDED, source="dialect of the bundle", host=host, time=time)]
        absent, expected = self._absent()
        if expected:
            found.append(_counted("telemetry.expected_metrics", expected, host, time))
            found.append(_counted("telemetry.absent_metrics", len(absent), host, time))
            found.append(Fact("telemetry.absent_names", ", ".join(absent), source="metrics the dialect promises", host=host, time=time))
            mismatch = float(len(absent) == expected)
            found.append(Fact("telemetry.dialect_mismatch", point(mismatch), source=f"metrics of dialect {dialect.name}", host=host, time=time))
        return found

    def _absent(self) -> tuple[list[str], int]:
        """The metrics the dialect promises (not those it merely may have) that the answers do not hold, and how many it promises."""
        for answer in self._bundle.of("http"):
            if answer.name == self._dialect.metrics_path and answer.answered and self._dialect.metrics_format == "engram-json":
                absent = absent_metrics(answer, self._dialect)
                return list(absent), len({source.json for source in self._dialect.sources.values() if source.json})
        held = self._held()
        promised = sorted({metric for source in self._dialect.sources.values() if not source.invented
                           for metric in needed_selectors([source.fact], dialect=self._dialect, catalogue=self._catalogue,
                                                          default_window=DEFAULT_WINDOW).metrics} - {"up"})  # fmt: skip
        return ([], 0) if held is None else ([metric for metric in promised if metric not in held], len(promised))

    def _held(self) -> frozenset[str] | None:
        """The metric names in the answers, or None when there was no answer."""
        for answer in self._bundle.of("prometheus"):
            if answer.name.startswith("window") and answer.answered:
                return _metric_names(store_of_matrix(answer.body or ""))
        scrapes = [answer for answer in self._bundle.of("exposition") if answer.answered]
        return _metric_names(store_of_scrapes([(scrapes[-1].time, scrapes[-1].body or "")])) if scrapes else None

    # What nobody said

    def _rest(self, facts: Iterable[Fact]) -> list[Fact]:
        """An unknown fact, with its reason, for each wanted name that no collector spoke of."""
        spoken = {fact.name for fact in facts}
        return [self._unsaid(name) for name in self._wanted if name not in spoken and self._measured(name)]

    def _measured(self, name: str) -> bool:
        spec = self._catalogue.spec(name)
        return spec is not None and spec.origin not in ("rules", "targets")

    def _unsaid(self, name: str) -> Fact:
        spec = self._catalogue.spec(name)
        reason, detail = self._why(name, spec)
        get_by = spec.get_by if spec else ""
        return unknown_fact(name, reason, detail, get_by=get_by, host=self._bundle.host, time=self._bundle.time)

    def _why(self, name: str, spec: FactSpec | None) -> tuple[Reason, str]:
        if name.endswith(BASELINE):
            return Reason.NOT_COLLECTED, "no baseline was given"
        if name.endswith(BEFORE):
            return Reason.WINDOW_NOT_COLLECTED, "no metrics from before"
        if spec is not None and spec.origin in _NO_COLLECTOR:
            return Reason.NOT_COLLECTED, _NO_COLLECTOR[spec.origin]
        base = name.partition("@")[0]
        if base in LOCAL_FACTS:
            return Reason.WINDOW_NOT_COLLECTED, "this host keeps no history"
        if spec is not None and spec.origin == "config" and base not in self._dialect.keys:
            return Reason.NOT_IN_DIALECT, f"dialect {self._dialect.name} has no such key"
        published = {source.fact for source in self._dialect.sources.values()}
        if spec is not None and spec.origin == "prometheus" and base not in published:
            return Reason.NOT_IN_DIALECT, f"dialect {self._dialect.name}"
        return Reason.NOT_COLLECTED, "no source for it was asked"


def _counted(name: str, count: int, host: str, time: float) -> Fact:
    return Fact(name, point(float(count)), source="metrics the dialect promises", host=host, time=time)


def _metric_names(store: SeriesStore) -> frozenset[str]:
    return frozenset(store.by_name)


def baseline_facts(facts: Iterable[Fact]) -> list[Fact]:
    """Facts of a saved bundle as the `@baseline` that regressions compare with."""
    return [Fact(fact.name + BASELINE, fact.value, Status.RECORDED, fact.scope, f"baseline: {fact.source}", fact.host, fact.time, fact.window)
            for fact in facts if fact.known and "@" not in fact.name]  # fmt: skip
