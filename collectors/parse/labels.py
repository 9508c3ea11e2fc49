"""From a metric's labels to a fact's scope, as one source of a dialect says."""

from collections.abc import Mapping

from engram_diagnose.engine.facts.catalogue import Source
from engram_diagnose.engine.facts.scope import DIMENSIONS, Scope, scope_of

CONSTANT = "="


def scope_for(source: Source, labels: Mapping[str, str]) -> Scope | None:
    """
    The scope of one series.

    `source.labels` maps scope labels to metric labels, or, behind `=`, to a constant
    (`operation: "=store"`); `source.values` renames values, and "" drops the series: None.
    """
    scope: dict[str, str] = {}
    for dimension, label in source.labels.items():
        if dimension not in DIMENSIONS:
            continue
        constant = label.startswith(CONSTANT)
        value = label[len(CONSTANT) :] if constant else labels.get(label, "")
        renamed = source.values.get(value, value)
        if not renamed:
            return None
        scope[dimension] = renamed
    return scope_of(scope)


def constant_scope(source: Source) -> Scope:
    """What of the scope is known without any series."""
    known = {
        dimension: label[len(CONSTANT) :]
        for dimension, label in source.labels.items()
        if label.startswith(CONSTANT) and dimension in DIMENSIONS
    }
    return scope_of(known)
