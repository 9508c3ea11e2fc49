"""
Frames: what each scope sees, laid out by slot so that compiled tests read it with one index.
"""

from collections.abc import Iterable
from functools import lru_cache

from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.memory import Memory, enclosing_scopes
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.inference.leaf import Frame, Slots
from engram_diagnose.engine.language.expression import Reference


class Frames:
    """The frames over one working memory, made when a scope is first asked for and kept up to date by `add`."""

    def __init__(self, memory: Memory, slots: Slots) -> None:
        self.memory = memory
        self._slots = slots
        self._made: dict[Scope, Frame] = {}
        self._base: Frame | None = None

    def frame(self, scope: Scope = INSTANCE) -> Frame:
        """The frame of a scope."""
        made = self._made.get(scope)
        if made is None:
            made = self._made[scope] = self._build(scope)
        return made

    def add(self, facts: Iterable[Fact]) -> None:
        """Put derived facts into memory and into every frame that sees them."""
        for fact in facts:
            self.memory.add(fact)
            for (name, labels), slot in self._slots.named(fact.name):
                for scope, frame in self._made.items():
                    frame[slot] = self.memory.value(name, _narrowed(scope, labels))

    def _build(self, scope: Scope) -> Frame:
        frame = list(self.frame(INSTANCE)) if scope != INSTANCE else self._plain_frame()
        value = self.memory.value
        for name in self.memory.narrow:  # only what is said of narrower scopes differs from the instance's
            for (_, labels), slot in self._slots.named(name):
                frame[slot] = value(name, _narrowed(scope, labels))
        frame[0] = ScopeView(self, scope)
        return frame

    def _plain_frame(self) -> Frame:
        frame: Frame = [None] * (len(self._slots.of) + 1)
        plain = self.memory.plain
        for name, slot in self._slots.places:
            fact = plain.get(name)
            if fact is not None:
                frame[slot] = fact.value
        return frame


@lru_cache(maxsize=65536)
def _narrowed(scope: Scope, labels: tuple[tuple[str, str], ...]) -> Scope:
    return scope.with_labels(dict(labels)) if labels else scope


class ScopeView:
    """One scope's view of the frames: it serves aggregates (as slot 0) and the reference evaluator alike."""

    def __init__(self, frames: Frames, scope: Scope) -> None:
        self.frames = frames
        self.scope = scope

    def narrower(self, dimension: str, names: frozenset[str]) -> list[Frame]:
        """The frames one label narrower in which any of these facts stands, in the order of the label."""
        return [self.frames.frame(scope) for scope in narrower_scopes(self.frames.memory, self.scope, dimension, names)]


def narrower_scopes(memory: Memory, scope: Scope, dimension: str, names: Iterable[str]) -> list[Scope]:
    """The scopes one label narrower than `scope` that facts of these names carry, ordered."""
    values = {value for name in names for other in memory.narrow.get(name, ())
              if (value := other.get(dimension)) is not None and agree(other, scope)}  # fmt: skip
    return [scope.with_labels({dimension: value}) for value in sorted(values)]


def agree(other: Scope, scope: Scope) -> bool:
    """Whether two scopes give no label different values."""
    return all(other.get(name) in (None, value) for name, value in scope.labels)


class Seen:
    """What one scope sees, for the reference evaluator (`language.evaluation.Known`)."""

    def __init__(self, memory: Memory, scope: Scope = INSTANCE) -> None:
        self.memory = memory
        self.scope = scope

    def fact(self, reference: Reference) -> Fact | None:
        """The fact a reference means here."""
        return self.memory.lookup(reference.name, _narrowed(self.scope, reference.labels))

    def value(self, reference: Reference) -> Value | None:
        """Its value, or None."""
        fact = self.fact(reference)
        return None if fact is None else fact.value

    def narrower(self, dimension: str, names: frozenset[str]) -> "list[Seen]":
        """The scopes one label narrower."""
        return [Seen(self.memory, scope) for scope in narrower_scopes(self.memory, self.scope, dimension, names)]


def instances(memory: Memory, dimensions: tuple[str, ...], read: Iterable[Reference]) -> list[Scope]:
    """
    The scopes a rule over `dimensions` runs in: the narrowest that the facts it reads carry.

    Where no fact carries any of the labels, it runs once for the instance.
    """
    if not dimensions:
        return [INSTANCE]
    narrow = memory.narrow
    found = {other.project(dimensions) for reference in read for other in narrow.get(reference.name, ())
             if all(other.get(name) == value for name, value in reference.labels)}  # fmt: skip
    enclosing = {scope for other in found for scope in enclosing_scopes(other)[1:]}
    return sorted(scope for scope in found - enclosing if scope.labels) or [INSTANCE]
