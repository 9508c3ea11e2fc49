"""
What moved: the same rules over the quiet time before, so that what was equally true then is told from what is new.

A cause that held just as well while all was well does not alone explain why it is bad now. It is not ruled out: load
may have grown into it. It counts less than what moved.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engram_diagnose.engine.comparison.policy import Measure
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.inference.firing import Firing
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.evaluation import truth_of
from engram_diagnose.engine.language.expression import Condition
from engram_diagnose.engine.language.rule import Outcome, Rule
from engram_diagnose.engine.language.stages import reads, writes

BEFORE: Final = "@before"
"""What stands behind the name of a fact of the quiet time."""

VERSION: Final = "server.version"

Moved = Literal["moved", "stood", "untold"]
"""It was not so before; it was so before as well; nobody can tell."""


@dataclass(frozen=True, slots=True)
class LookBack:
    """
    A way to ask of the quiet time, `time` in seconds since the epoch.

    `facts` gives the facts of names as they were then, under the names they have of now. `settings_stood` tells that
    the configuration was the same then. `measures` are what tells whether the load changed.
    """

    time: float
    facts: Callable[[frozenset[str]], Iterable[Fact]]
    settings_stood: bool = True
    measures: tuple[Measure, ...] = ()

    def compared(self) -> frozenset[str]:
        """The facts that tell what changed, whatever the rules read."""
        return frozenset({VERSION, *(name for measure in self.measures for name in measure.facts)})


@dataclass(frozen=True, slots=True)
class Before:
    """The quiet time: what was known of it, and what the rules say of it. Empty where nothing was collected of it."""

    memory: Memory
    outcomes: Mapping[tuple[str, Scope], Outcome]
    time: float = 0.0
    measures: tuple[Measure, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.time)

    def truth(self, condition: Condition, scope: Scope) -> Truth:
        """Whether a condition held then."""
        return truth_of(condition, Seen(self.memory, scope))

    def moved(self, firing: Firing, explained: Sequence[Firing]) -> Moved:
        """
        Whether a concluded cause moved.

        It stood when it held before although none of the symptoms that it explains was there. Where one of them was,
        that it held as well is no argument against it. A rule that compares with before says itself what moved.
        """
        if any(name.endswith(BEFORE) for name in reads(firing.rule)):
            return "moved"
        outcome = self._outcome(firing)
        if outcome in ("refuted", "not-applicable"):
            return "moved"
        quiet = bool(explained) and all(self._outcome(symptom) == "refuted" for symptom in explained)
        return "stood" if outcome == "fires" and quiet else "untold"

    def _outcome(self, firing: Firing) -> Outcome:
        return self.outcomes.get((firing.rule.id, firing.scope), "unknown")


NOTHING_BEFORE: Final = Before(Memory(), {})
"""Of a diagnosis without a time to compare with."""


def asked_of_before(found: Iterable[Rule], rules: Mapping[str, Rule]) -> frozenset[str]:
    """The rules to run over the time before: those that were found, and those whose results they read."""
    producers = {name: rule.id for rule in rules.values() for name in writes(rule)}
    waiting = [rule.id for rule in found]
    asked: set[str] = set()
    while waiting:
        rule_id = waiting.pop()
        if rule_id not in asked:
            asked.add(rule_id)
            waiting += [producers[name] for name in reads(rules[rule_id]) if name in producers]
    return frozenset(asked)
