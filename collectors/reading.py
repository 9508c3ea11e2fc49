"""
A bundle into facts: the same for a run that was just collected and for a bundle from last month.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from engram_diagnose.collectors.bundle_format import HOST_ALONE, Bundle, BundleError
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.instances import NODE_DIALECT, USUAL_DIALECT
from engram_diagnose.collectors.parse.alerts import facts_of_alerts
from engram_diagnose.collectors.parse.attained import facts_of_attained
from engram_diagnose.collectors.parse.client_load import facts_of_client_load
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.endpoints import HEALTH, facts_of_endpoints, facts_of_health
from engram_diagnose.collectors.parse.engram_json import absent_metrics, expected_metrics, facts_of_engram_json
from engram_diagnose.collectors.parse.knowledge import MEASURING, NO_KNOWLEDGE, Knowledge
from engram_diagnose.collectors.parse.local import LOCAL_FACTS, facts_of_host, facts_of_local
from engram_diagnose.collectors.parse.recalls import facts_of_recalls
from engram_diagnose.collectors.prometheus.facts import facts_of_scrapes, facts_of_series
from engram_diagnose.collectors.prometheus.functions import semantics_of
from engram_diagnose.collectors.prometheus.labels import label
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.collectors.prometheus.series import SeriesError, SeriesStore, store_of_matrix, store_of_scrapes
from engram_diagnose.collectors.telemetry import Promise, facts_of_freshness, facts_of_promise, promised_series
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect, FactSpec
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, point, unknown_fact

BEFORE: Final = "@before"
BASELINE: Final = "@baseline"
AS_OF_TODAY: Final = "as of today"
"""Said of a configuration that was read after the instant which is diagnosed."""

_USUAL_WINDOW: Final = 300.0
_LONGEST_WINDOW: Final = 86_400.0 * 31
_END_OF_TIME: Final = 253_402_300_800.0
"""The year 10,000, in seconds since 1970."""

_NO_COLLECTOR: Final[Mapping[str, str]] = {
    "perf": "nobody looked: a profile does",
    "kernels": "nobody has measured what the server's host can attain",
    "alert": "no alert started this diagnosis",
    "operator": "the operator has not said",
}
"""By a fact's origin: why nobody has asked for it."""


def facts_of_bundle(
    bundle: Bundle, catalogue: Catalogue, wanted: Iterable[str], *, knowledge: Knowledge = NO_KNOWLEDGE
) -> list[Fact]:
    """
    The facts a bundle holds, and an unknown one, with its reason, for each wanted name that it does not.

    `knowledge` tells how counters and profiles are read; without it they stay unread, and what they tell unknown.
    Depends on nothing but its arguments, so that a bundle tells the same story wherever it is read. Raises
    `BundleError` for times that no calendar has.
    """
    for time in (bundle.time, *(answer.time for answer in bundle.answers)):
        if not 0 <= time < _END_OF_TIME:
            raise BundleError(f"the bundle holds {time:g}, which is no time in seconds since 1970; collect it again")
    return _Reading(bundle, catalogue, tuple(sorted(set(wanted))), knowledge).facts()


def facts_of_before(bundle: Bundle, catalogue: Catalogue, names: Iterable[str]) -> list[Fact]:
    """
    The facts of these names as they were in the bundle's quiet time, under the names they have of now.

    None where nothing was collected of it: only what keeps a history can tell.
    """
    reading = _Reading(
        bundle,
        catalogue,
        tuple(f"{name}{BEFORE}" for name in sorted(set(names)) if not name.endswith((BEFORE, BASELINE))),
    )
    return [replace(fact, name=fact.name.removesuffix(BEFORE)) for fact in reading.before()]


class _Reading:
    def __init__(
        self, bundle: Bundle, catalogue: Catalogue, wanted: tuple[str, ...], knowledge: Knowledge = NO_KNOWLEDGE
    ) -> None:
        self._bundle = bundle
        self._knowledge = knowledge
        self._catalogue = catalogue
        self._wanted = wanted
        self._dialect = catalogue.dialects[bundle.dialect if bundle.dialect in catalogue.dialects else USUAL_DIALECT]
        self._window = _seconds(bundle.options.get("window"), _USUAL_WINDOW)
        self._semantics = semantics_of(_text(bundle.options.get("prometheus_version")))
        self._telemetry: list[Fact] = []
        self._promise = Promise()
        self._metrics_host = bundle.host

    def facts(self) -> list[Fact]:
        # The last known one stands: what was measured on the host itself goes before what an exporter says of it.
        # Recalls of our own come first: they only stand in for what a server records of its clients'.
        # A load of our own tells its latencies better than the server, and its rates worse: others may ask as well.
        load = facts_of_client_load(self._bundle.answers)
        facts = [*load.stand_ins, *facts_of_recalls(self._bundle.answers), *self._metrics(), *self._direct()]
        facts += [*self._local(), *self._configuration(), *self._statements(), *load.felt]
        facts += facts_of_attained(self._bundle.answers, at=self._bundle.time)
        facts += [*self._deep(), *self._telemetry, *self._kept(), *self._alerts()]
        return facts + self._rest(facts)

    # Prometheus

    def _metrics(self) -> list[Fact]:
        windows = self._bundle.of("prometheus")
        facts = [fact for answer in windows for fact in self._window_of(answer)]
        return facts + self._scrapes(self._bundle.of("exposition"))

    def before(self) -> list[Fact]:
        """Of the quiet time alone."""
        windows = [answer for answer in self._bundle.of("prometheus") if answer.name.startswith("before")]
        return [fact for answer in windows for fact in self._window_of(answer)]

    def _window_of(self, answer: Answer) -> list[Fact]:
        """`window 300`, `node 300`, `before 300`, `before-node 300`: whose samples, of when, and how long."""
        kind, _, seconds = answer.name.partition(" ")
        dialect = self._catalogue.dialects.get(NODE_DIALECT) if kind.endswith("node") else self._dialect
        if dialect is None:
            return []
        return self._series(answer, dialect, _seconds(seconds, 0.0), BEFORE if kind.startswith("before") else "")

    def _series(self, answer: Answer, dialect: Dialect, collected: float, suffix: str) -> list[Fact]:
        if not answer.answered:
            return self._refused(dialect, answer, suffix)
        try:
            store = self._of_the_job(store_of_matrix(answer.body or ""))
        except SeriesError as error:
            return self._refused(dialect, _unparsed(answer, error), suffix)
        if dialect is self._dialect and not suffix:
            self._promised(promised_series(dialect, store), answer)
            self._telemetry += facts_of_freshness(store, at=answer.time, window=self._window, host=answer.host)
        covered = _covered(store, answer.time)
        window = min(self._window, covered)
        return facts_of_series(
            _noted(store, covered) if window < self._window else store,
            dialect=dialect, catalogue=self._catalogue, wanted=self._names(dialect, suffix), at=answer.time,
            host=answer.host, default_window=window, semantics=self._semantics, collected=collected, suffix=suffix,
            longest_rate=covered,
        )  # fmt: skip

    def _of_the_job(self, store: SeriesStore) -> SeriesStore:
        """The series of one job, where several scrape this instance and would count everything twice."""
        job = _text(self._bundle.options.get("job"))
        return store.kept(lambda labels: label(labels, "job") == job) if job else store

    # The text exposition

    def _scrapes(self, answers: tuple[Answer, ...]) -> list[Fact]:
        if not answers:
            return []
        good = [answer for answer in answers if answer.answered]
        if not good:
            return self._refused(self._dialect, answers[0], "")
        scrapes = [(answer.time, answer.body or "") for answer in good]
        try:
            self._promised(promised_series(self._dialect, store_of_scrapes(scrapes)), good[-1])
            return facts_of_scrapes(scrapes, dialect=self._dialect, catalogue=self._catalogue,
                                    wanted=self._names(self._dialect, ""), host=good[-1].host)  # fmt: skip
        except SeriesError as error:
            return self._refused(self._dialect, _unparsed(good[0], error), "")

    def _names(self, dialect: Dialect, suffix: str) -> list[str]:
        """The wanted names with a suffix, without it; and, of now, all that the dialect publishes: a reader may ask."""
        if suffix:
            return [name.removesuffix(suffix) for name in self._wanted if name.endswith(suffix)]
        published = {source.fact for source in dialect.sources.values()}
        counters = {name for name in published if (spec := self._catalogue.facts.get(name)) and spec.counter}
        names = [name for name in self._wanted
                 if name.partition("@")[0] in published and not name.endswith((BEFORE, BASELINE))]  # fmt: skip
        return sorted({*names, *(published - counters)})

    def _refused(self, dialect: Dialect, answer: Answer, suffix: str) -> list[Fact]:
        """What the series would have told, unknown for the reason of the answer that is none."""
        series = {source.fact for source in dialect.sources.values() if source.promql or source.counter}
        names = [name for name in self._names(dialect, suffix) if name.partition("@")[0] in series]
        reason = Reason[answer.reason] if answer.reason in Reason.__members__ else Reason.SOURCE_UNREACHABLE
        return [unknown_fact(name + suffix, reason, answer.detail, source=answer.collector, host=answer.host,
                             time=answer.time) for name in names]  # fmt: skip

    # The other collectors

    def _local(self) -> list[Fact]:
        """What this machine says of itself and of the server on it; of itself alone where none runs on it yet."""
        facts = facts_of_local(self._bundle.answers)
        if self._bundle.options.get(HOST_ALONE) is not True:
            return facts
        host = facts_of_host(self._bundle.answers)
        names = {fact.name for fact in host}
        return [*host, *(fact for fact in facts if fact.name not in names)]

    def _deep(self) -> list[Fact]:
        """What programs that measure were asked; of a server elsewhere only what is wanted."""
        answers = self._bundle.answers
        absent = next((one for one in reversed(self._bundle.of("target")) if not one.answered), None)
        if absent is None and not any(one.collector in MEASURING or one.collector == "collection" for one in answers):
            return []
        from engram_diagnose.collectors.parse.deep import facts_of_deep  # a tenth of a diagnosis, and seldom needed

        wanted = frozenset(self._wanted)
        found = facts_of_deep(answers, self._knowledge)
        return found if absent is None else [fact for fact in found if fact.name in wanted]

    def _direct(self) -> list[Fact]:
        answers = self._bundle.of("http")
        facts = facts_of_endpoints(answers, self._dialect) if answers else []
        for answer in answers:
            if answer.name == self._dialect.metrics_path and self._dialect.metrics_format == "windowed-json":
                facts += facts_of_engram_json(answer, self._dialect)
                self._promised(self._promise_of_json(answer), answer)
            elif answer.name == HEALTH:
                facts += facts_of_health(answer)
        return facts

    def _promise_of_json(self, answer: Answer) -> Promise:
        expected = frozenset(expected_metrics(self._dialect)) if answer.answered else frozenset[str]()
        return Promise(expected, expected.difference(absent_metrics(answer, self._dialect)))

    def _configuration(self) -> list[Fact]:
        answers = self._bundle.of("config")
        facts = facts_of_configuration(answers[0] if answers else None, self._dialect, self._catalogue)
        if not answers or self._bundle.options.get("past") is not True:
            return facts
        constants = {name for name, key in self._dialect.keys.items() if not key.key}
        return [_of_today(fact) if fact.known and fact.name not in constants else fact for fact in facts]

    def _statements(self) -> list[Fact]:
        """What the operator said when the bundle was made; silence on scarce memory means there is enough."""
        said = self._bundle.options.get("statements")
        known = {"workload.memory_constrained": 0.0, **(said if isinstance(said, dict) else {})}
        return [fact for name in sorted(known) if (fact := self._stated(name, known[name])) is not None]

    def _stated(self, name: str, value: object) -> Fact | None:
        """A statement as a fact; None for one that the catalogue has no such fact for."""
        spec = self._catalogue.facts.get(name)
        if spec is None or isinstance(value, str) != (spec.kind == "text"):
            return None
        if isinstance(value, str):
            return self._recorded(name, value, "the operator")
        number = _number(value, math.nan)
        return None if math.isnan(number) else self._recorded(name, number, "the operator")

    def _recorded(self, name: str, value: float | str, source: str) -> Fact:
        stated = value if isinstance(value, str) else point(float(value))
        return Fact(name, stated, Status.RECORDED, source=source, host=self._bundle.host, time=self._bundle.time)

    def _alerts(self) -> list[Fact]:
        """The alerts that asked for this diagnosis; that there is none is known."""
        return facts_of_alerts(self._bundle.options.get("alerts"), host=self._bundle.host, time=self._bundle.time)

    # The telemetry itself

    def _promised(self, promise: Promise, answer: Answer) -> None:
        self._promise |= promise
        self._metrics_host = answer.host

    def _kept(self) -> list[Fact]:
        """The dialect, and what of its promises the metrics keep."""
        named = self._recorded("telemetry.dialect", self._dialect.name, "dialect of the bundle")
        named = replace(named, quality=_text(self._bundle.options.get("dialect_told")))
        host = self._metrics_host
        return [named, *facts_of_promise(self._promise, self._dialect, host=host, time=named.time)]

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


def _number(value: object, usual: float) -> float:
    """A figure that a bundle states; what is none, or no length of time, counts as not stated."""
    try:
        number = float(value) if isinstance(value, int | float | str) else usual
    except (ValueError, OverflowError):
        return usual
    return number if math.isfinite(number) and number >= 0 else usual


def _of_today(fact: Fact) -> Fact:
    return replace(fact, quality=f"{fact.quality}; {AS_OF_TODAY}" if fact.quality else AS_OF_TODAY)


def _seconds(value: object, usual: float) -> float:
    """A length of time that a bundle states, of at most a month; what is none counts as not stated."""
    number = _number(value, usual)
    return number if 0 < number <= _LONGEST_WINDOW else usual


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _unparsed(answer: Answer, error: SeriesError) -> Answer:
    return replace(answer, body=None, reason="UNPARSED", detail=str(error))


def _covered(store: SeriesStore, at: float) -> float:
    """
    How many seconds before `at` the first sample lies: a Prometheus that was just started knows no more.

    Rates over a longer window would spread what happened in them over time of which nothing is known.
    """
    first = min((one.times[0] for one in store.every if one.times), default=None)
    if first is None or first >= round(at * 1000):
        return math.inf
    return float(math.ceil((round(at * 1000) - first + 1) / 1000))


def _noted(store: SeriesStore, covered: float) -> SeriesStore:
    return replace(store, quality=(*store.quality, f"samples reach back {format_duration(covered)} only"))


def baseline_facts(facts: Iterable[Fact]) -> list[Fact]:
    """Facts of a saved bundle as the `@baseline` that regressions compare with."""
    return [_better_days(fact) for fact in facts if fact.known and "@" not in fact.name]


def _better_days(fact: Fact) -> Fact:
    return replace(fact, name=fact.name + BASELINE, status=Status.RECORDED, source=f"baseline: {fact.source}")
