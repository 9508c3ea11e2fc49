"""
Deep-dive queries: PromQL to paste, for one slice and for what its causes rest on.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engram_diagnose.engine.facts.catalogue import Catalogue, Dialect
from engram_diagnose.engine.facts.scope import Scope, scope_of
from engram_diagnose.patch.figures import figure_query
from engram_diagnose.slow_queries.slices import P99, Slice

_OF_EVERY_SLICE = (P99, "op.latency.p50", "op.rate", "op.error_share")
_MOST = 8


@dataclass(frozen=True, slots=True)
class DeepDive:
    """What a query shows, and its PromQL."""

    shows: str
    promql: str


def queries_of(one: Slice, causes: Iterable[Mapping[str, Any]], *, instance: str, catalogue: Catalogue,
               dialect: Dialect, window: str) -> tuple[DeepDive, ...]:  # fmt: skip
    """
    The slice's own figures, then those that the gates and evidence of its causes read, each once, eight at most.

    A fact that this dialect's Prometheus does not have has no query.
    """
    asked = [(name, one.scope) for name in _OF_EVERY_SLICE] + [
        (name, _scope(labels, one)) for cause in causes for name, labels in _read(cause)
    ]
    found: dict[str, DeepDive] = {}
    for name, scope in asked:
        promql = figure_query(name, scope, instance=instance, catalogue=catalogue, dialect=dialect, window=window)
        if promql is not None and promql not in found:
            found[promql] = DeepDive(f"{name}{_told_by(name, scope, dialect)}", promql)
    return tuple(found.values())[:_MOST]


def _told_by(name: str, scope: Scope, dialect: Dialect) -> Scope:
    """The labels of a scope that the series of a fact are told apart by."""
    base = name.partition("@")[0]
    sources = [source for source in dialect.sources.values() if source.fact == base]
    return scope.project({label for source in sources for label in (*source.labels, *dict(source.scope.labels))})


def _read(cause: Mapping[str, Any]) -> Iterable[tuple[str, Mapping[str, str]]]:
    pieces = [*cause["evidence"]["for"], *cause["evidence"]["unknown"]]
    tests = [*cause["gate"], *(test for piece in pieces for test in piece["tests"])]
    for test in tests:
        for reading in test["facts"]:
            if not reading["name"].startswith(("target.", "config.")):
                yield reading["name"], reading["scope"]


def _scope(labels: Mapping[str, str], one: Slice) -> Scope:
    """The fact's own scope, in the slice's space."""
    return scope_of({**labels, **({"space": one.space} if one.space else {})})
