"""From a metric's labels to a fact's scope, as one source of a dialect says."""

from collections.abc import Mapping

from engram_diagnose.engine.facts.catalogue import Source
from engram_diagnose.engine.facts.scope import DIMENSIONS, Scope


def scope_for(source: Source, labels: Mapping[str, str]) -> Scope | None:
    """
    The scope of one series: the source's own, and what `source.labels` takes from the metric's.

    `source.values` renames values. A series that lacks a wanted label, or whose value is renamed
    to "", is of no scope: None.
    """
    scope: dict[str, str] = {}
    for dimension, label in source.labels.items():
        if dimension not in DIMENSIONS:
            continue
        value = labels.get(label, "")
        renamed = source.values.get(value, value)
        if not renamed:
            return None
        scope[dimension] = renamed
    return source.scope.with_labels(scope)
