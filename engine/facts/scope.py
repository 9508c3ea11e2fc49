"""
Scope: what a fact is about.

The instance (or its host) is the empty scope; `{operation=recall, space=default}` is narrower. A scope
encloses another when every label of it stands in the other with the same value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

DIMENSIONS: Final = ("operation", "space", "tier", "hops", "device", "node", "core")
"""The labels a scope may carry, in the order in which they are printed."""

_ORDER = {name: index for index, name in enumerate(DIMENSIONS)}


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """Labels as sorted pairs; build one with `scope_of`."""

    labels: tuple[tuple[str, str], ...] = ()

    def get(self, dimension: str) -> str | None:
        """The value of one label, or None."""
        for name, value in self.labels:
            if name == dimension:
                return value
        return None

    def encloses(self, other: "Scope") -> bool:
        """Whether `other` is this scope or a narrower one."""
        return all(other.get(name) == value for name, value in self.labels)

    def project(self, dimensions: Iterable[str]) -> "Scope":
        """This scope without the labels that are not in `dimensions`."""
        wanted = frozenset(dimensions)
        return _intern(tuple(label for label in self.labels if label[0] in wanted))

    def with_labels(self, labels: Mapping[str, str]) -> "Scope":
        """This scope narrowed (or overridden) by `labels`."""
        return scope_of(dict(self.labels) | dict(labels)) if labels else self

    def __str__(self) -> str:
        return "{" + ", ".join(f"{name}={value}" for name, value in self.labels) + "}" if self.labels else ""


@lru_cache(maxsize=65536)
def _intern(labels: tuple[tuple[str, str], ...]) -> Scope:
    return Scope(labels)


def scope_of(labels: Mapping[str, str]) -> Scope:
    """
    The scope of these labels.

    Raises `ValueError` for a label that is not one of `DIMENSIONS`.
    """
    for name in labels:
        if name not in _ORDER:
            raise ValueError(f"{name!r} is not a scope; known: {', '.join(DIMENSIONS)}")
    return _intern(tuple(sorted(labels.items(), key=lambda label: _ORDER[label[0]])))


INSTANCE: Final = scope_of({})
