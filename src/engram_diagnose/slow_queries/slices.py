"""
Slices: one operation in one memory space, seen as if it were the whole server.

A rule that asks for the latency of recall asks for that of all spaces together. What is said of one space, put in the
place of what is said of all, makes the same rule speak of that space.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.fact import Fact, Interval, Status, point
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.facts.truth import Truth
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX

P99 = "op.latency.p99"
Standing = Literal["slow", "unsure", "within", "unknown"]
"""Over the limit; on both sides of it, as far as its bucket tells; not over it; nobody knows."""


@dataclass(frozen=True, slots=True)
class Slice:
    """One operation in one memory space (empty: the server tells no spaces apart), and its P99, in seconds."""

    scope: Scope
    p99: Fact
    standing: Standing

    @property
    def operation(self) -> str:
        """The operation's name."""
        return self.scope.get("operation") or ""

    @property
    def space(self) -> str:
        """The memory space's name; empty where the server tells none apart."""
        return self.scope.get("space") or ""

    @property
    def slowness(self) -> float:
        """What slices are ordered by: the middle of the P99, or the lower end where it has no upper one."""
        value = self.p99.value
        if not isinstance(value, tuple):
            return 0.0
        return value[0] if value[1] == float("inf") else (value[0] + value[1]) / 2


def slices_of(facts: Iterable[Fact], over: float) -> list[Slice]:
    """
    Every slice that has a latency, the slowest first; of unknown ones only those that nothing narrower speaks for.

    Where a space is told, what is said of all spaces together is left out: the slow one would hide in it.
    """
    found = {fact.scope: fact for fact in facts if fact.name == P99 and fact.scope.get("operation") and _plain(fact)}
    split = {scope.get("operation") for scope, fact in found.items() if fact.known and scope.get("space")}
    kept = [fact for scope, fact in found.items() if scope.get("space") or scope.get("operation") not in split]
    slices = [Slice(fact.scope, fact, _standing(fact, over)) for fact in kept]
    return sorted(slices, key=lambda one: (-one.slowness, one.scope))


def _plain(fact: Fact) -> bool:
    return all(name in ("operation", "space") for name, _ in fact.scope.labels)


def _standing(fact: Fact, over: float) -> Standing:
    if not isinstance(fact.value, tuple):
        return "unknown"
    truth = interval.greater(fact.value, point(over))
    return "slow" if truth is Truth.TRUE else "within" if truth is Truth.FALSE else "unsure"


def seen_from(one: Slice, facts: Iterable[Fact], over: float) -> list[Fact]:
    """
    The facts as this slice sees them: its own space's in the place of all spaces', and none of other spaces'.

    The limit stands in the place of every target of its latency.
    """
    seen = [_projected(fact, one.space) for fact in facts if _speaks(fact, one.space)]
    ordered = sorted(seen, key=lambda pair: pair[0])  # what is said of the space itself stands last, and so counts
    own = [fact for _, fact in ordered]
    return [*own, *_limits(one.operation, over)]


def _speaks(fact: Fact, space: str) -> bool:
    return not space or fact.scope.get("space") in (None, space)


def _projected(fact: Fact, space: str) -> tuple[bool, Fact]:
    if not space or fact.scope.get("space") is None:
        return False, fact
    labels = {name: value for name, value in fact.scope.labels if name != "space"}
    return True, replace(fact, scope=scope_of(labels))


def _limits(operation: str, over: float) -> list[Fact]:
    scope = scope_of({"operation": operation})
    hops = [INSTANCE, scope_of({"hops": "single"}), scope_of({"hops": "multi"})]
    scopes = [scope.with_labels(dict(one.labels)) for one in hops]
    value: Interval = point(over)
    return [Fact(TARGET_PREFIX + P99, value, Status.RECORDED, one, "--over") for one in scopes]
