"""
Raw samples of a bundle, cut into windows, each evaluated as a diagnosis would evaluate its one.

A quantile from buckets is taken as Prometheus interpolates it: that is a steady function of the counts, so it moves
when they do; its size within one bucket is approximate.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.instances import USUAL_DIALECT
from engram_diagnose.collectors.prometheus.evaluate import EvaluationError, Evaluator, Sample
from engram_diagnose.collectors.prometheus.functions import semantics_of
from engram_diagnose.collectors.prometheus.labels import Labels, label
from engram_diagnose.collectors.prometheus.plan import Plan, plans_of
from engram_diagnose.collectors.prometheus.series import UP, SeriesError, SeriesStore, store_of_matrix
from engram_diagnose.engine.comparison.policy import Windows
from engram_diagnose.engine.facts.catalogue import Dialect, Source
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.compiled import CompiledRules, compile_rules
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.engine.language.stages import needs
from engram_diagnose.verification.side import Key, NothingToCompareError

_CUMULATIVE = ("_total", "_count", "_bucket", "_sum")


@dataclass(frozen=True, slots=True)
class Cut:
    """
    Windows of one bundle: for each figure its values by the window's number.

    `beyond` are figures that mostly lay in the last, endless bucket. `reset` is the last instant at which the server
    was found to have started anew.
    """

    start: float
    end: float
    seconds: float
    figures: Mapping[Key, Mapping[int, float]]
    beyond: frozenset[Key]
    reset: float | None = None

    def stretches(self, key: Key) -> tuple[tuple[float, ...], ...]:
        """A figure's values, by stretches of windows without a gap."""
        found: list[list[float]] = []
        last = -2
        for number, value in sorted(self.figures.get(key, {}).items()):
            if number != last + 1:
                found.append([])
            found[-1].append(value)
            last = number
        return tuple(map(tuple, found))


class Cutter:
    """Cuts bundles into windows of the same facts; `names` may be derived by rules."""

    def __init__(self, loaded: Loaded, names: Iterable[str], windows: Windows) -> None:
        self._catalogue = loaded.catalogue
        self._windows = windows
        self._names = frozenset(names)
        rules = deriving(self._names, loaded.rules.rules)
        self.measured = frozenset(self._names | {name for rule in rules.values() for name in needs(rule)})
        self._rules: CompiledRules | None = compile_rules(rules) if rules else None

    def cut(self, bundle: Bundle, *, since: float = 0.0, span: float = math.inf) -> Cut | None:
        """
        The windows of the last `span` seconds of a bundle, none of them reaching before `since`.

        None when it holds no raw samples of a Prometheus. Raises `NothingToCompareError` when they cannot be read.
        """
        answer = next((one for one in bundle.of("prometheus") if one.name.startswith("window ") and one.answered), None)
        if answer is None:
            return None
        try:
            store = _of_the_job(store_of_matrix(answer.body or ""), bundle.options.get("job"))
        except SeriesError as error:
            raise NothingToCompareError(f"the bundle's samples cannot be read: {error}; collect it again") from None
        return self._windows_of(bundle, answer, store, since, span)

    def _windows_of(self, bundle: Bundle, answer: Answer, store: SeriesStore, since: float, span: float) -> Cut:
        every, first, end = _scraped(store), _first(store), answer.time
        reset = _last_reset(store, end)
        start = max(first, end - span, since, reset or 0.0)
        seconds = self._length(end - start, every)
        count = int((end - start) / seconds + 1e-6) if end > start else 0
        dialects = self._catalogue.dialects
        dialect = dialects[bundle.dialect if bundle.dialect in dialects else USUAL_DIALECT]
        version = bundle.options.get("prometheus_version")
        reading = _Evaluated(Evaluator(store, semantics_of(version if isinstance(version, str) else "")),
                             self._plans(dialect, seconds))  # fmt: skip
        for number in range(count):
            reading.at(number, round((end - (count - 1 - number) * seconds) * 1000))
        figures = self.derived(reading.figures, end)
        kept = {key: values for key, values in figures.items() if key.on in self._names and values}
        return Cut(end - count * seconds, end, seconds, kept, reading.mostly_beyond(), reset)

    def _length(self, whole: float, every: float) -> float:
        """Seconds of one window: whole ones, and as many scrapes as it takes."""
        wanted = self._windows
        usual = max(min(wanted.longest, whole / wanted.wanted), whole / (4 * wanted.wanted))
        return float(max(1, math.ceil(max(usual, wanted.scrapes * every) - 1e-6)))

    def _plans(self, dialect: Dialect, seconds: float) -> list[Plan]:
        """The plans of every measured name, and what each gives over all spaces."""
        found: list[Plan] = []
        for name in sorted(self.measured):
            plans = plans_of(name, dialect=dialect, catalogue=self._catalogue, default_window=seconds)
            for plan in plans:
                if isinstance(plan, Plan) and plan.over is None and not plan.source.text_label:
                    found += [one for one in (plan, plan.merged) if one is not None]
        return found

    def derived(self, figures: Mapping[Key, Mapping[int, float]], at: float) -> dict[Key, dict[int, float]]:
        """The figures with those that rules derive from them, window by window."""
        found = {key: dict(values) for key, values in figures.items()}
        numbers = sorted({number for values in figures.values() for number in values})
        for number in numbers if self._rules else ():
            facts = [Fact(key.on, point(values[number]), scope=key.scope)
                     for key, values in figures.items() if number in values]  # fmt: skip
            for key, value in self._inferred(facts, at):
                found.setdefault(key, {})[number] = value
        return found

    def _inferred(self, facts: Sequence[Fact], at: float) -> Iterable[tuple[Key, float]]:
        assert self._rules is not None  # noqa: S101 -- asked by the caller
        for fact in infer(self._rules, facts, at=at).memory:
            if fact.name in self._names and fact.source and isinstance(fact.value, tuple):
                yield Key(fact.name, fact.scope), (fact.value[0] + fact.value[1]) / 2


class _Evaluated:
    """Figures of one store, window after window."""

    def __init__(self, evaluator: Evaluator, plans: Sequence[Plan]) -> None:
        self._evaluator = evaluator
        self._plans = plans
        self._beyond: dict[Key, int] = {}
        self.figures: dict[Key, dict[int, float]] = {}

    def at(self, number: int, time_ms: int) -> None:
        for plan in self._plans:
            try:
                samples = self._evaluator.at(plan.expression, time_ms)
            except EvaluationError:
                continue
            for sample in samples:
                self._keep(plan, number, sample)

    def _keep(self, plan: Plan, number: int, sample: Sample) -> None:
        value = sample.value * plan.source.factor
        if not math.isfinite(value):
            return
        key = Key(plan.name, _scope(plan.source, sample.labels))
        values = self.figures.setdefault(key, {})
        if number in values:  # two label sets that are one scope to us say different things of it
            value = values[number] + value if plan.source.counter else (values[number] + value) / 2
        values[number] = value
        if sample.bucket is not None and math.isinf(sample.bucket.high):
            self._beyond[key] = self._beyond.get(key, 0) + 1

    def mostly_beyond(self) -> frozenset[Key]:
        return frozenset(key for key, count in self._beyond.items() if 2 * count > len(self.figures[key]))


def deriving(names: Iterable[str], rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The rules that derive these facts, and those that derive what they read."""
    by_output = {name: rule for rule in rules.values() if rule.kind == "derive" for name in rule.outputs.values()}
    found: dict[str, Rule] = {}
    open_names = list(names)
    while open_names:
        rule = by_output.get(open_names.pop())
        if rule is not None and rule.id not in found:
            found[rule.id] = rule
            open_names += needs(rule)
    return {rule_id: found[rule_id] for rule_id in sorted(found)}


def _scope(source: Source, labels: Labels) -> Scope:
    found = {ours: label(labels, theirs) for ours, theirs in source.labels.items()}
    return source.scope.with_labels({ours: source.values.get(value, value) for ours, value in found.items() if value})


def _of_the_job(store: SeriesStore, job: object) -> SeriesStore:
    """The series of one job, where several scrape this instance and would count everything twice."""
    if not isinstance(job, str) or not job:
        return store
    kept = {name: tuple(one for one in group if label(one.labels, "job") == job)
            for name, group in store.by_name.items()}  # fmt: skip
    return replace(store, by_name={name: group for name, group in kept.items() if group})


def _scraped(store: SeriesStore) -> float:
    """Seconds between scrapes: the median gap of the series with most samples."""
    told = store.named(UP) or tuple(one for group in store.by_name.values() for one in group)
    series = max(told, key=lambda one: len(one.times), default=None)
    if series is None or len(series.times) < 2:
        return 60.0
    gaps = sorted(after - before for before, after in zip(series.times, series.times[1:], strict=False))
    return gaps[len(gaps) // 2] / 1000


def _first(store: SeriesStore) -> float:
    """The instant of the first sample, in seconds."""
    return min((one.times[0] for group in store.by_name.values() for one in group if one.times), default=0) / 1000


def _last_reset(store: SeriesStore, end: float) -> float | None:
    """When a counter was last found to have begun anew; None if never."""
    times = [one.times[index] for name, group in store.by_name.items() if name.endswith(_CUMULATIVE)
             for one in group for index in one.resets()]  # fmt: skip
    return max((time / 1000 for time in times if time / 1000 <= end), default=None)
