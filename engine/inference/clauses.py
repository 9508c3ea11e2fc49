"""
Conditions as positive clauses, for forward chainers that know neither *unknown* nor *not*.

Every condition gets two atoms: one says that it is true, one that it is false. Neither holds of a condition that is
unknown. A clause concludes one atom from others, so that `all: [a, b]` becomes

    true(all) <- true(a), true(b)        false(all) <- false(a)        false(all) <- false(b)

and `not` swaps the two. Nothing is negated, so nothing is ever concluded from absence.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

from engram_diagnose.engine.language.expression import (
    All,
    AnyOf,
    AtLeast,
    Condition,
    Expression,
    Leaf,
    Not,
    leaves,
)
from engram_diagnose.engine.language.rule import Outcome, Rule

ALWAYS: Final = 0
"""The atom that holds in every diagnosis."""
NEVER: Final = 1
"""The atom that holds in none."""

MAX_BODY: Final = 8
"""Longer conjunctions are nested: durable-rules joins at most 16 messages."""
MAX_COUNTED: Final = 6
"""Larger `at_least` lists are halved: every way to choose is a clause, and 3 of 6 already are 20."""


@dataclass(frozen=True, slots=True)
class Clause:
    """`head` is concluded when every atom of `body` holds."""

    head: int
    body: tuple[int, ...]


class Rails(NamedTuple):
    """The atoms that say that a condition is true, and that it is false."""

    true: int
    false: int

    def swapped(self) -> "Rails":
        """The rails of the opposite."""
        return Rails(self.false, self.true)


_TRUE: Final = Rails(ALWAYS, NEVER)


class Verdicts(NamedTuple):
    """The atom for each decided outcome of a rule; *unknown* is when none of them holds."""

    fires: int
    refuted: int
    inapplicable: int

    def read(self, holding: set[int]) -> Outcome:
        """The outcome, given every atom that holds. Raises `ValueError` when they contradict one another."""
        found: list[Outcome] = []
        if self.fires in holding:
            found.append("fires")
        if self.refuted in holding:
            found.append("refuted")
        if self.inapplicable in holding:
            found.append("not-applicable")
        if len(found) > 1:
            raise ValueError(f"one rule came out both {found[0]} and {found[1]}")
        return found[0] if found else "unknown"


class ClauseBase:
    """Turns conditions into clauses; equal conditions of different rules share their atoms."""

    def __init__(self) -> None:
        self.clauses: list[Clause] = []
        self.tests: dict[Expression, Rails] = {}
        self._rails: dict[Condition, Rails] = {}
        self._heads: dict[frozenset[frozenset[int]], int] = {}
        self._count = NEVER + 1

    def verdicts(self, rule: Rule) -> Verdicts:
        """The atoms that say what comes of a rule's `applies` and `when`."""
        applies = _TRUE if rule.applies is None else self.rails(rule.applies)
        gate = _TRUE if rule.when is None else self.rails(rule.when)
        fires = self._conclude([(applies.true, gate.true)])
        return Verdicts(fires, self._conclude([(applies.true, gate.false)]), applies.false)

    def leaf_rails(self, rule: Rule) -> tuple[tuple[Expression, Rails], ...]:
        """The tests whose truth decides a rule, each with its atoms."""
        conditions = [item for item in (rule.applies, rule.when) if item is not None]
        tests = dict.fromkeys(leaf.test for condition in conditions for leaf in leaves(condition))
        return tuple((test, self._leaf(test)) for test in tests)

    def rails(self, condition: Condition) -> Rails:
        """The atoms of a condition, with the clauses that conclude them."""
        if isinstance(condition, Leaf):
            return self._leaf(condition.test)
        found = self._rails.get(condition)
        if found is None:
            found = self._rails[condition] = self._combined(condition)
        return found

    def _leaf(self, test: Expression) -> Rails:
        found = self.tests.get(test)
        if found is None:
            found = self.tests[test] = Rails(self._atom(), self._atom())
        return found

    def _combined(self, condition: All | AnyOf | Not | AtLeast) -> Rails:
        match condition:
            case Not(item):
                return self.rails(item).swapped()
            case All(items):
                return self._every([self.rails(item) for item in items])
            case AnyOf(items):
                return self._every([self.rails(item).swapped() for item in items]).swapped()
            case AtLeast(count, items):
                return self._at_least(count, items)

    def _every(self, items: Sequence[Rails]) -> Rails:
        true = self._conclude([[item.true for item in items]])
        return Rails(true, self._conclude([[item.false] for item in items]))

    def _at_least(self, count: int, items: tuple[Condition, ...]) -> Rails:
        if count <= 0:
            return _TRUE
        if count > len(items):
            return _TRUE.swapped()
        if len(items) > MAX_COUNTED and 1 < count < len(items):
            return self.rails(_halved(count, items))
        rails = [self.rails(item) for item in items]
        true = self._conclude(combinations([item.true for item in rails], count))
        missing = len(items) - count + 1
        return Rails(true, self._conclude(combinations([item.false for item in rails], missing)))

    def _conclude(self, bodies: Iterable[Sequence[int]]) -> int:
        """An atom that holds when all of one of these bodies holds."""
        needed = {frozenset(body) - {ALWAYS} for body in bodies if NEVER not in body}
        if frozenset() in needed:
            return ALWAYS
        if not needed:
            return NEVER
        if len(needed) == 1 and len(next(iter(needed))) == 1:
            return next(iter(next(iter(needed))))
        key = frozenset(needed)
        head = self._heads.get(key)
        if head is None:
            head = self._heads[key] = self._atom()
            ordered = sorted(tuple(sorted(body)) for body in needed)
            self.clauses += [Clause(head, self._shortened(body)) for body in ordered]
        return head

    def _shortened(self, body: tuple[int, ...]) -> tuple[int, ...]:
        """The same conjunction in at most `MAX_BODY` atoms."""
        while len(body) > MAX_BODY:
            parts = [body[start : start + MAX_BODY] for start in range(0, len(body), MAX_BODY)]
            body = tuple(self._conclude([part]) for part in parts)
        return body

    def _atom(self) -> int:
        self._count += 1
        return self._count - 1


def _halved(count: int, items: tuple[Condition, ...]) -> Condition:
    """`count` of all are `i` of the first half and the rest of the second, for some `i`."""
    middle = len(items) // 2
    first, second = items[:middle], items[middle:]
    shares = range(max(0, count - len(second)), min(count, len(first)) + 1)
    return AnyOf(tuple(All((AtLeast(i, first), AtLeast(count - i, second))) for i in shares))
