"""
Scope: what a fact is about.

The instance (or its host) is the empty scope; `{operation=recall, space=default}` is narrower. A scope
encloses another when every label of it stands in the other with the same value.
"""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

DIMENSIONS: Final = ("operation", "space", "tier", "hops", "device", "node", "core", "alert")
"""The labels a scope may carry, in the order in which they are printed."""

PARTS: Final = tuple(name for name in DIMENSIONS if name != "alert")
"""Those that say which part of the server is meant; the others say who speaks of it."""

_ORDER = {name: index for index, name in enumerate(DIMENSIONS)}


class Scope(NamedTuple):
    """
    Labels as sorted pairs; build one with `scope_of`.

    A tuple, because scopes are what facts and frames are found by, and only built-in types hash without a call.
    """

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

    def touches(self, other: "Scope") -> bool:
        """Whether one of the two encloses the other, whoever speaks of them."""
        mine, its = self.project(PARTS), other.project(PARTS)
        return mine.encloses(its) or its.encloses(mine)

    def project(self, dimensions: Iterable[str]) -> "Scope":
        """The scope without the labels that are not in `dimensions`."""
        return _projected(self.labels, tuple(dimensions))

    def with_labels(self, labels: Mapping[str, str]) -> "Scope":
        """The scope narrowed (or overridden) by `labels`."""
        return scope_of(dict(self.labels) | dict(labels)) if labels else self

    def __str__(self) -> str:
        return "{" + ", ".join(f"{name}={value}" for name, value in self.labels) + "}" if self.labels else ""


@lru_cache(maxsize=65536)
def _intern(labels: tuple[tuple[str, str], ...]) -> Scope:
    return Scope(labels)


@lru_cache(maxsize=65536)
def _projected(labels: tuple[tuple[str, str], ...], dimensions: tuple[str, ...]) -> Scope:
    return _intern(tuple(label for label in labels if label[0] in dimensions))


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
