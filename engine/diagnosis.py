"""
A diagnosis: facts and a rule base in; symptoms, ranked causes, and what could not be told out.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from engram_diagnose.engine.advice.policy import Policy
from engram_diagnose.engine.facts.admission import admitted
from engram_diagnose.engine.facts.catalogue import Catalogue, Kind
from engram_diagnose.engine.facts.fact import Fact, Status, point
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.inference.compiled import CompiledRules, compile_rules
from engram_diagnose.engine.inference.firing import Decide, Firing, decide_with_closures
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.inference.run import infer
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import SEVERITIES, Rule, RuleBase, Suppression
from engram_diagnose.engine.language.stages import reads
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX, Vocabulary
from engram_diagnose.engine.ranking.cause import Cause, Masked
from engram_diagnose.engine.ranking.change import NOTHING_BEFORE, Before, LookBack, asked_of_before
from engram_diagnose.engine.ranking.confidence import UNTOLD, Basis, basis_of, confidence
from engram_diagnose.engine.ranking.coverage import Coverage, Untestable, coverage, untestable
from engram_diagnose.engine.ranking.impact import impact
from engram_diagnose.engine.ranking.order import sort_out, weight
from engram_diagnose.engine.ranking.severity import as_severe_as_told, restatements

TARGET_TAG = "target"
"""The tag of symptoms that say whether a promise to clients is kept."""


@dataclass(frozen=True, slots=True)
class Suppressed:
    """A finding the site accepts."""

    firing: Firing
    suppression: Suppression


@dataclass(frozen=True, slots=True)
class Subject:
    """What was diagnosed: `time` in seconds since the epoch."""

    instance: str = ""
    host: str = ""
    time: float = 0.0
    dialect: str = ""
    target_set: str = "target"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Everything that was decided, with the working memory it was decided on."""

    subject: Subject
    memory: Memory
    symptoms: tuple[Firing, ...]
    causes: tuple[Cause, ...]
    experimental: tuple[Cause, ...]
    masked: tuple[Masked, ...]
    suppressed: tuple[Suppressed, ...]
    undecided: tuple[Untestable, ...]
    firings: tuple[Firing, ...]
    coverage: Coverage
    rules: RuleBase
    catalogue: Catalogue
    scales: Scales
    policy: Policy
    before: Before = NOTHING_BEFORE

    def missed(self) -> tuple[Firing, ...]:
        """The symptoms that are there, most severe first."""
        there = [firing for firing in self.symptoms if firing.outcome == "fires"]
        return tuple(
            sorted(
                there,
                key=lambda firing: (
                    -SEVERITIES.index(firing.rule.severity),
                    firing.rule.id,
                    firing.scope,
                ),
            )
        )

    def targets_tested(self) -> tuple[int, int]:
        """Of the symptoms that stand for targets, how many were decided, and how many there are."""
        decided: dict[str, bool] = {}
        for firing in self.symptoms:
            if TARGET_TAG in firing.rule.tags:
                decided[firing.rule.id] = decided.get(firing.rule.id, False) or firing.outcome in (
                    "fires",
                    "refuted",
                )
        return sum(decided.values()), len(decided)


@dataclass(frozen=True, slots=True)
class Expert:
    """A rule base ready for many diagnoses."""

    loaded: Loaded
    compiled: CompiledRules
    restated: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    _raw: dict[str, str] = field(default_factory=dict)
    _kinds: dict[str, Kind | None] = field(default_factory=dict)
    _bases: dict[str, Basis] = field(default_factory=dict)

    def diagnose(
        self,
        facts: Iterable[Fact],
        subject: Subject,
        *,
        decide: Decide = decide_with_closures,
        look_back: LookBack | None = None,
    ) -> Diagnosis:
        """
        Diagnose one set of facts.

        The same facts, in any order, give the same diagnosis, unless two known ones share a name and a scope: the
        later one then stands. With `look_back` the rules that were found are asked of the quiet time before as well,
        and what was equally true then counts less than what moved.
        """
        targets = target_facts(self.loaded.catalogue, subject.target_set)
        sound = [admitted(fact, self._kind(fact.name)) for fact in facts]
        inference = infer(self.compiled, [*targets, *sound], at=subject.time, decide=decide)
        memory = inference.memory
        firings = as_severe_as_told(inference.firings, memory)
        kept, suppressed = _suppress(firings, self.loaded.rules, subject.instance)
        symptoms = tuple(firing for firing in kept if firing.rule.kind == "symptom")
        missed = _by_rule(firing for firing in symptoms if firing.outcome == "fires")
        found = [firing for firing in kept if firing.rule.kind == "cause" and firing.outcome == "fires"]
        before = self._before([*found, *(one for ones in missed.values() for one in ones)], memory, subject, look_back)
        concluded = [self._cause(firing, memory, missed, before) for firing in found]
        undecided = tuple(
            untestable(firing, Seen(memory, firing.scope), self._get_by)
            for firing in kept
            if firing.outcome == "unknown" and firing.rule.kind in ("cause", "symptom")
        )
        shown, experimental, masked = sort_out(concluded, self.loaded.scales)
        return Diagnosis(
            subject,
            memory,
            symptoms,
            shown,
            experimental,
            masked,
            suppressed,
            undecided,
            kept,
            coverage(firings, undecided),
            self.loaded.rules,
            self.loaded.catalogue,
            self.loaded.scales,
            self.loaded.policy,
            before,
        )

    def _before(self, found: Sequence[Firing], memory: Memory, subject: Subject, look_back: LookBack | None) -> Before:
        """What the rules that were found say of the time before, in which only what is fixed was the same."""
        if look_back is None:
            return NOTHING_BEFORE
        rules = self.loaded.rules.rules
        asked = asked_of_before((firing.rule for firing in found), rules)
        names = frozenset(name for rule_id in asked for name in reads(rules[rule_id]))
        then = [admitted(fact, self._kind(fact.name)) for fact in look_back.facts(names | look_back.compared())]
        if not any(fact.known for fact in then):
            return NOTHING_BEFORE
        stay = [name for name in sorted(names) if self._stays(name, settings=look_back.settings_stood)]
        same = [fact for name in stay for fact in memory.at(name).values()]
        inference = infer(self.compiled.only(asked), [*same, *then], at=look_back.time)
        outcomes = {(one.rule.id, one.scope): one.outcome for one in inference.firings}
        return Before(inference.memory, outcomes, look_back.time, look_back.measures)

    def _stays(self, name: str, *, settings: bool) -> bool:
        """Whether a fact was the same before: targets, what is fixed while a server runs, with `settings` those too."""
        spec = self.loaded.catalogue.spec(name.removeprefix(TARGET_PREFIX))
        known = spec is not None and (spec.fixed or (settings and spec.origin == "config"))
        return known or name.startswith(TARGET_PREFIX)

    def _cause(self, firing: Firing, memory: Memory, missed: Mapping[str, Sequence[Firing]], before: Before) -> Cause:
        seen = Seen(memory, firing.scope)
        explained = tuple(
            symptom
            for rule_id in self._explains(firing.rule)
            for symptom in missed.get(rule_id, ())
            if symptom.scope.touches(firing.scope)
        )
        severity = max((symptom.rule.severity for symptom in explained), key=SEVERITIES.index, default="")
        scales = self.loaded.scales
        weighed = confidence(firing.rule, seen, scales, self._raw_source, basis=self._basis(firing.rule))
        breach = impact(firing.rule, seen, self.better)
        moved = before.moved(firing, explained) if before else "untold"
        return Cause(
            firing.rule,
            firing.scope,
            weighed.stated(scales),
            breach,
            explained,
            severity,
            moved,
            weight(severity, moved, breach, scales.weights),
        )

    def _explains(self, rule: Rule) -> list[str]:
        """The symptoms that a cause explains, and those that tell them again; what is measured before what is told."""
        again = {other for name in rule.explains for other in self.restated.get(name, ())}
        rules = self.loaded.rules.rules
        return sorted({*rule.explains, *again} & rules.keys(), key=lambda name: (rules[name].severity_from, name))

    def _kind(self, name: str) -> Kind | None:
        if name not in self._kinds:
            spec = self.loaded.catalogue.spec(name.removeprefix(TARGET_PREFIX))
            verdict: Kind | None = "bool" if name in self.loaded.rules.rules else None
            self._kinds[name] = verdict if spec is None else spec.kind
        return self._kinds[name]

    def _get_by(self, name: str) -> str:
        spec = self.loaded.catalogue.spec(name)
        return spec.get_by if spec else ""

    def _basis(self, rule: Rule) -> Basis:
        found = self._bases.get(rule.id)
        if found is None:
            found = self._bases[rule.id] = basis_of(rule, self._raw_source)
        return found

    def _raw_source(self, name: str) -> str:
        found = self._raw.get(name)
        if found is None:
            found = self._raw[name] = raw_source(self.loaded.catalogue, name)
        return found

    def better(self, name: str) -> str:
        """Whether a target's figure should be `lower` or `higher`."""
        return next(
            (target.better for target in self.loaded.catalogue.targets if target.name == name),
            "lower",
        )


def expert(loaded: Loaded) -> Expert:
    """Make a loaded rule base ready to diagnose."""
    rules = loaded.rules.rules
    return Expert(loaded, compile_rules(rules), restatements(rules.values()))


def raw_source(catalogue: Catalogue, name: str) -> str:
    """The measured quantity behind a fact; empty for settings and targets, which measure nothing."""
    spec = Vocabulary(catalogue).spec(name) if name.startswith(TARGET_PREFIX) else catalogue.spec(name)
    if spec is None or spec.origin in UNTOLD:
        return ""
    return spec.raw or name.partition("@")[0]


def target_facts(catalogue: Catalogue, target_set: str) -> list[Fact]:
    """`target.<fact>` for every target of the chosen set (`floor`, `target` or `baseline`)."""
    found = []
    for target in catalogue.targets:
        figure = getattr(target, target_set)
        if figure is not None:
            found.append(
                Fact(
                    TARGET_PREFIX + target.name,
                    point(figure),
                    Status.RECORDED,
                    target.scope,
                    f"target set {target_set!r}",
                )
            )
    return found


def _by_rule(firings: Iterable[Firing]) -> dict[str, list[Firing]]:
    found: dict[str, list[Firing]] = {}
    for firing in firings:
        found.setdefault(firing.rule.id, []).append(firing)
    return found


def _suppress(
    firings: Sequence[Firing], base: RuleBase, instance: str
) -> tuple[tuple[Firing, ...], tuple[Suppressed, ...]]:
    by_rule: dict[str, list[Suppression]] = {}
    for suppression in base.suppressions:
        by_rule.setdefault(suppression.rule, []).append(suppression)
    kept, suppressed = [], []
    for firing in firings:
        match = next(
            (item for item in by_rule.get(firing.rule.id, ()) if _matches(item.scope, firing.scope, instance)),
            None,
        )
        if match is None or firing.outcome != "fires":
            kept.append(firing)
        else:
            suppressed.append(Suppressed(firing, match))
    return tuple(kept), tuple(suppressed)


def _matches(wanted: Mapping[str, str], scope: Scope, instance: str) -> bool:
    return all((instance if name == "instance" else scope.get(name)) == value for name, value in wanted.items())
