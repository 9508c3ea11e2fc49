"""
Working memory: the facts of one diagnosis.
"""

from collections.abc import Iterable, Iterator

from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.scope import INSTANCE, Scope


class Memory:
    """
    Facts by name and scope.

    A look-up takes the nearest enclosing scope: what is said of `{operation=recall}` holds for
    `{operation=recall, space=a}` unless something narrower is said. Of two scopes as near, the one whose labels come first in
    `scope.DIMENSIONS` wins.
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._facts: dict[str, dict[Scope, Fact]] = {}
        for fact in facts:
            self.add(fact)

    def add(self, fact: Fact) -> None:
        """Put a fact in; it replaces one of the same name and scope unless that is known and this is not."""
        scopes = self._facts.setdefault(fact.name, {})
        if fact.value is not None or (old := scopes.get(fact.scope)) is None or old.value is None:
            scopes[fact.scope] = fact

    def at(self, name: str) -> dict[Scope, Fact]:
        """Every fact of a name, by scope."""
        return self._facts.get(name, {})

    def lookup(self, name: str, scope: Scope = INSTANCE) -> Fact | None:
        """The fact that a scope sees, or None when nothing, not even *unknown*, is said."""
        scopes = self._facts.get(name)
        if scopes is None:
            return None
        for enclosing in enclosing_scopes(scope):
            fact = scopes.get(enclosing)
            if fact is not None:
                return fact
        return None

    def value(self, name: str, scope: Scope = INSTANCE) -> Value | None:
        """The value that a scope sees, or None."""
        fact = self.lookup(name, scope)
        return None if fact is None else fact.value

    def __iter__(self) -> Iterator[Fact]:
        """All facts, ordered by name and scope."""
        for name in sorted(self._facts):
            scopes = self._facts[name]
            yield from (scopes[scope] for scope in sorted(scopes))

    def __len__(self) -> int:
        return sum(map(len, self._facts.values()))


_CACHE: dict[Scope, tuple[Scope, ...]] = {}


def enclosing_scopes(scope: Scope) -> tuple[Scope, ...]:
    """The scope itself and all that enclose it, nearest first, the instance last."""
    found = _CACHE.get(scope)
    if found is None:
        labels = [name for name, _ in scope.labels]
        subsets = [[name for bit, name in enumerate(labels) if mask >> bit & 1] for mask in range(1 << len(labels))]
        subsets.sort(key=lambda subset: (-len(subset), [labels.index(name) for name in subset]))
        found = _CACHE[scope] = tuple(scope.project(subset) for subset in subsets)
    return found
