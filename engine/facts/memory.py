"""
Working memory: the facts of one diagnosis.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from engram_diagnose.engine.facts.fact import Fact, Value
from engram_diagnose.engine.facts.scope import INSTANCE, Scope


class Memory:
    """
    Facts by name and scope.

    A look-up takes the nearest enclosing scope: what is said of `{operation=recall}` holds for
    `{operation=recall, space=a}` unless something narrower is said. Of two scopes as near, the one whose labels come
    first in `scope.DIMENSIONS` wins.
    """

    def __init__(self, facts: Iterable[Fact] = ()) -> None:
        self._plain: dict[str, Fact] = {}
        self._narrow: dict[str, dict[Scope, Fact]] = {}
        plain = self._plain
        for fact in facts:
            if fact.scope == INSTANCE and fact.name not in plain:
                plain[fact.name] = fact
            else:
                self.add(fact)

    def add(self, fact: Fact) -> None:
        """
        Put a fact in.

        Of two known ones of a name and scope the later stands; a known one before an unknown one; of two unknown
        ones the one whose reason's name comes first, whichever is put in first.
        """
        if fact.scope == INSTANCE:
            if _stands(fact, self._plain.get(fact.name)):
                self._plain[fact.name] = fact
            return
        scopes = self._narrow.setdefault(fact.name, {})
        if fact.value is not None or _stands(fact, scopes.get(fact.scope)):
            scopes[fact.scope] = fact

    @property
    def plain(self) -> Mapping[str, Fact]:
        """What is said of the instance, by name."""
        return self._plain

    @property
    def narrow(self) -> Mapping[str, Mapping[Scope, Fact]]:
        """What is said of narrower scopes than the instance, by name and scope."""
        return self._narrow

    def at(self, name: str) -> dict[Scope, Fact]:
        """Every fact of a name, by scope."""
        found = dict(self._narrow.get(name, ()))
        if name in self._plain:
            found[INSTANCE] = self._plain[name]
        return found

    def lookup(self, name: str, scope: Scope = INSTANCE) -> Fact | None:
        """The fact that a scope sees, or None when nothing, not even *unknown*, is said."""
        scopes = self._narrow.get(name)
        if scopes is not None:
            for enclosing in enclosing_scopes(scope):
                fact = scopes.get(enclosing)
                if fact is not None:
                    return fact
        return self._plain.get(name)

    def value(self, name: str, scope: Scope = INSTANCE) -> Value | None:
        """The value that a scope sees, or None."""
        fact = self.lookup(name, scope)
        return None if fact is None else fact.value

    def __iter__(self) -> Iterator[Fact]:
        """All facts, ordered by name and scope."""
        for name in sorted(self._plain.keys() | self._narrow.keys()):
            scopes = self.at(name)
            yield from (scopes[scope] for scope in sorted(scopes))

    def __len__(self) -> int:
        return len(self._plain) + sum(map(len, self._narrow.values()))


def _stands(new: Fact, old: Fact | None) -> bool:
    """Whether a fact takes the place of the one that is there."""
    if new.value is not None or old is None:
        return True
    return old.value is None and _unknown_key(new) < _unknown_key(old)


def _unknown_key(fact: Fact) -> tuple[str | float, ...]:
    """Orders unknown facts of one name and scope by all they say, so that their order of arrival does not count."""
    why = ("", "") if fact.unknown is None else (fact.unknown.reason.name, fact.unknown.detail)
    told = (fact.status.name, fact.source, fact.host, fact.get_by, fact.proxy_of, fact.quality)
    return (*why, *told, fact.time, fact.window)


@lru_cache(maxsize=4096)
def enclosing_scopes(scope: Scope) -> tuple[Scope, ...]:
    """The scope itself and all that enclose it, nearest first, the instance last."""
    labels = [name for name, _ in scope.labels]
    subsets = [[name for bit, name in enumerate(labels) if mask >> bit & 1] for mask in range(1 << len(labels))]
    subsets.sort(key=lambda subset: (-len(subset), [labels.index(name) for name in subset]))
    return tuple(scope.project(subset) for subset in subsets)
