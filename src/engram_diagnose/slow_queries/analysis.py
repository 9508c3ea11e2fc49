"""
The analysis of one bundle: its slices, what pattern each has, and a diagnosis of each that is slow.
"""

import math
from collections.abc import Sequence
from typing import Any, Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.instances import USUAL_DIALECT
from engram_diagnose.collectors.prometheus.lexer import format_duration
from engram_diagnose.engine.comparison.policy import Windows
from engram_diagnose.engine.diagnosis import Diagnosis, Expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.expression import leaves, references
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.stages import conditions_of
from engram_diagnose.session import facts_of, subject_of
from engram_diagnose.slow_queries.patterns import Pattern, patterns_of, sizes_of
from engram_diagnose.slow_queries.queries import queries_of
from engram_diagnose.slow_queries.slices import P99, Slice, seen_from, slices_of
from engram_diagnose.verification.side import NothingToCompareError
from engram_diagnose.verification.windows import Cut, Cutter

SCHEMA: Final = "engram-diagnose/slow-queries/v1"
Json = dict[str, Any]
_SECONDS: Final = UNITS["s"]
_SHOWN: Final = ("op.latency.p50", "op.rate")


def analyse(bundle: Bundle, expert: Expert, *, over: float | None = None) -> Json:
    """
    The slow operations of a bundle by memory space, as a document: `slow`, `unsure`, `within`, `unknown`.

    `over` is the limit on P99 in seconds, that of `rules/catalogue/slow-queries.yaml` where it is None. Every operation
    is judged by it, background ones too, which are marked. Raises `BundleError`.
    """
    return _Analysis(bundle, expert, over).document()


class _Analysis:
    def __init__(self, bundle: Bundle, expert: Expert, over: float | None) -> None:
        loaded = expert.loaded
        self._bundle = bundle
        self._expert = expert
        self._catalogue: Catalogue = loaded.catalogue
        self._limits = read_limits(loaded.texts, "slow-queries")
        self._over = self._limits["over"] if over is None else over
        dialects = loaded.catalogue.dialects
        self._dialect: Dialect = dialects[bundle.dialect if bundle.dialect in dialects else USUAL_DIALECT]
        self._facts = facts_of(bundle, loaded)
        self._background = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules).background
        self._values = {(fact.name, fact.scope): fact for fact in self._facts}

    def document(self) -> Json:
        slices = slices_of(self._facts, self._over)
        slow = [one for one in slices if one.standing == "slow"]
        told = slow[: int(self._limits["told"])]
        cut, sizes = self._cut(), sizes_of(self._figures())
        return {
            "schema": SCHEMA,
            "subject": {
                "instance": self._bundle.instance,
                "time": iso(self._bundle.time),
                "dialect": self._dialect.name,
            },
            "over_seconds": self._over,
            "over": format_value(self._over, _SECONDS),
            "since_seconds": self._window,
            "since": format_value(self._window, _SECONDS),
            "slow": [self._slow(one, patterns_of(one, slices, cut, sizes, self._limits, self._over)) for one in told],
            "also_slow": [self._head(one) for one in slow[len(told) :]],
            "unsure": [self._head(one) for one in slices if one.standing == "unsure"],
            "within": [self._head(one) for one in slices if one.standing == "within"],
            "unknown": [self._unknown(one) for one in slices if one.standing == "unknown"] or self._nothing(slices),
        }

    @property
    def _window(self) -> float:
        found = self._bundle.options.get("window")
        return float(found) if isinstance(found, int | float) and math.isfinite(found) and found > 0 else 300.0

    def _cut(self) -> Cut | None:
        length, scrapes = self._limits["window"], 4
        wanted = max(1, round(self._window / length))
        names = (P99, "op.rate", "ops.space_rate", "ops.rate")
        cutter = Cutter(self._expert.loaded, names, Windows(wanted, scrapes, length, self._window))
        try:
            return cutter.cut(self._bundle, span=self._window)
        except NothingToCompareError:  # facts of these samples say so already
            return None

    def _figures(self) -> dict[tuple[str, Scope], float]:
        found = ((key, fact.value) for key, fact in self._values.items())
        return {key: (value[0] + value[1]) / 2 for key, value in found if isinstance(value, tuple)}

    # Slices

    def _head(self, one: Slice) -> Json:
        return {
            "operation": one.operation,
            "space": one.space or None,
            "background": one.operation in self._background,
            "p99": self._text(one.p99),
            "p99_seconds": _ends(one.p99),
        }

    def _unknown(self, one: Slice) -> Json:
        fact = one.p99
        why = str(fact.unknown) if fact.unknown else ""
        return self._head(one) | {"why": why, "get_by": fact.get_by}

    def _nothing(self, slices: Sequence[Slice]) -> list[Json]:
        """Why there is no slice at all, where there is none."""
        fact = next((one for one in self._facts if one.name == P99 and not one.known), None)
        if slices or fact is None:
            return []
        why = str(fact.unknown) if fact.unknown else ""
        return [{"operation": "", "space": None, "background": False, "p99": "unknown", "p99_seconds": None,
                 "why": why, "get_by": fact.get_by}]  # fmt: skip

    def _text(self, fact: Fact) -> str:
        return fact_text(fact.value, self._catalogue.spec(fact.name)) if fact.known else "unknown"

    def _slow(self, one: Slice, patterns: Sequence[Pattern]) -> Json:
        found = self._diagnosed(one)
        causes = self._causes(one, found)
        deep = queries_of(one, causes, instance=self._bundle.instance, catalogue=self._catalogue,
                          dialect=self._dialect, window=format_duration(self._window))  # fmt: skip
        return self._head(one) | {
            "figures": {name: self._shown(name, one.scope) for name in _SHOWN},
            "patterns": [{"name": one.name, "state": one.state, "sentence": one.sentence} for one in patterns],
            "causes": causes,
            "not_testable": self._untestable(one, found),
            "queries": [{"shows": one.shows, "promql": one.promql} for one in deep],
        }

    def _shown(self, name: str, scope: Scope) -> str:
        fact = self._values.get((name, scope))
        return self._text(fact) if fact is not None else "unknown"

    def _diagnosed(self, one: Slice) -> Diagnosis:
        return self._expert.diagnose(seen_from(one, self._facts, self._over), subject_of(self._bundle))

    def _causes(self, one: Slice, found: Diagnosis) -> list[Json]:
        """The ranked causes that explain a missed latency of this operation, as a diagnosis of it alone writes them."""
        latency = latency_symptoms(self._expert, one.operation)
        written = zip(found.causes, document(found)["causes"], strict=True)
        ours = [told for cause, told in written if any(symptom.rule.id in latency for symptom in cause.explained)]
        return [
            told | {"rank": rank, "negligible": rank > 1 and told["negligible"]} for rank, told in enumerate(ours, 1)
        ]

    def _untestable(self, one: Slice, found: Diagnosis) -> list[str]:
        """The causes of this operation's latency that could not be tested, by id."""
        latency = latency_symptoms(self._expert, one.operation)
        return [item.firing.rule.id for item in found.undecided
                if item.firing.rule.kind == "cause" and latency & set(item.firing.rule.explains)]  # fmt: skip


def latency_symptoms(expert: Expert, operation: str) -> frozenset[str]:
    """The symptoms that say that this operation takes too long: by the figure that their tests compare."""
    found = set()
    for rule in expert.loaded.rules.rules.values():
        if rule.kind != "symptom":
            continue
        read = [reference for condition in conditions_of(rule) for leaf in leaves(condition)
                for reference in references(leaf.test)]  # fmt: skip
        if any(reference.name == P99 and dict(reference.labels).get("operation") == operation for reference in read):
            found.add(rule.id)
    return frozenset(found)


def _ends(fact: Fact) -> list[float | None] | None:
    """The interval; an end that no bucket bounds is null."""
    if not isinstance(fact.value, tuple):
        return None
    return [end if math.isfinite(end) else None for end in fact.value]
