"""
Staging: in which order rules must run so that every fact is complete before it is read.

A rule that reads another's output or verdict runs in a later stage. A circle has no such order.
"""

from collections.abc import Iterable, Mapping

from engram_diagnose.engine.language.expression import Condition, Expression, leaves, references
from engram_diagnose.engine.language.rule import Evidence, Rule


def conditions_of(rule: Rule) -> Iterable[Condition]:
    """Every condition inference decides for a rule."""
    for condition in (rule.applies, rule.when):
        if condition is not None:
            yield condition
    for piece in rule.evidence:
        if isinstance(piece, Evidence):
            yield piece.condition
        else:
            yield from (step.condition for step in piece.steps)
    for row in rule.rows:
        if row.condition is not None:
            yield row.condition


def values_of(rule: Rule) -> Iterable[Expression]:
    """Every value inference computes for a rule."""
    if rule.value is not None:
        yield rule.value
    for row in rule.rows:
        yield from row.values.values()
    if rule.impact is not None:
        yield rule.impact.relief


def reads(rule: Rule) -> frozenset[str]:
    """The names of the facts inference reads for a rule."""
    tests = (leaf.test for condition in conditions_of(rule) for leaf in leaves(condition))
    names = {reference.name for expression in (*tests, *values_of(rule)) for reference in references(expression)}
    if rule.impact is not None:
        names |= {rule.impact.on.name, f"target.{rule.impact.on.name}"}
    return frozenset(names)


def needs(rule: Rule) -> frozenset[str]:
    """The facts a rule may ask for at all: what inference reads, and what its recommendations are computed from."""
    expressions = [setting.value for item in rule.recommend for setting in item.settings]
    conditions = [item.condition for item in rule.recommend if item.condition is not None]
    expressions += [leaf.test for condition in conditions for leaf in leaves(condition)]
    names = {reference.name for expression in expressions for reference in references(expression)}
    return reads(rule) | names | {setting.parameter for item in rule.recommend for setting in item.settings}


def writes(rule: Rule) -> frozenset[str]:
    """The facts a rule gives: its outputs and its verdict."""
    return frozenset({rule.id, *rule.outputs.values()})


def stages(rules: Mapping[str, Rule]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """
    The stages of rule ids, each stage sorted, and the ids that stand in a circle (empty when none do).
    """
    producers = {name: rule.id for rule in rules.values() for name in writes(rule)}
    waiting = {rule.id: {producers[name] for name in reads(rule) if name in producers} for rule in rules.values()}
    done: set[str] = set()
    found: list[tuple[str, ...]] = []
    while waiting:
        ready = tuple(sorted(rule for rule, needs in waiting.items() if needs <= done))
        if not ready:
            return tuple(found), _circle(waiting)
        found.append(ready)
        done.update(ready)
        for rule in ready:
            del waiting[rule]
    return tuple(found), ()


def _circle(waiting: Mapping[str, set[str]]) -> tuple[str, ...]:
    """One circle among rules that wait for each other, beginning with its first id."""
    path = [min(waiting)]
    while True:
        following = min(rule for rule in waiting[path[-1]] if rule in waiting)
        if following in path:
            circle = path[path.index(following) :]
            start = circle.index(min(circle))
            return tuple(circle[start:] + circle[:start])
        path.append(following)
