"""
Staging: in which order rules must run so that every fact is complete before it is read.

A rule that reads another's output or verdict runs in a later stage. A circle has no such order.
"""

from collections.abc import Iterable, Mapping

from engram_diagnose.engine.language.expression import Condition, Expression, leaves, references
from engram_diagnose.engine.language.rule import Evidence, Graded, Rule


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
    names |= {rule.severity_from} if rule.severity_from else set()
    return reads(rule) | names | {setting.parameter for item in rule.recommend for setting in item.settings}


def facts_named(rule: Rule) -> frozenset[str]:
    """The names of all facts a rule mentions in conditions and values, its advice included."""
    tests = [leaf.test for condition in (*conditions_of(rule), *advice_conditions(rule)) for leaf in leaves(condition)]
    values = [*values_of(rule), *(setting.value for item in rule.recommend for setting in item.settings)]
    values += [piece.quantity for piece in rule.evidence if isinstance(piece, Graded)]
    named = {reference.name for expression in (*tests, *values) for reference in references(expression)}
    if rule.impact is not None:
        named.add(rule.impact.on.name)
    return frozenset(named)


def advice_conditions(rule: Rule) -> Iterable[Condition]:
    """The conditions of what a rule recommends."""
    for item in rule.recommend:
        if item.condition is not None:
            yield item.condition
        if item.verify is not None:
            yield item.verify.expect


def writes(rule: Rule) -> frozenset[str]:
    """The facts a rule gives: its outputs and its verdict."""
    return frozenset({rule.id, *rule.outputs.values()})


def stages(rules: Mapping[str, Rule]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """
    The stages of rule ids, each stage sorted, and the ids that stand in a circle (empty when none do).
    """
    producers = {name: rule.id for rule in rules.values() for name in writes(rule)}
    waiting = {rule.id: {producers[name] for name in reads(rule) if name in producers} for rule in rules.values()}
    found = layers(waiting)
    return tuple(found), circle_in(waiting) if waiting else ()


def layers(waiting: dict[str, set[str]]) -> list[tuple[str, ...]]:
    """
    Names in the order in which they can be had when each needs others: those of a layer, sorted, need earlier ones.

    They are taken out of `waiting`; what stays there waits for a circle. Every name that is needed has to be a key.
    """
    readers: dict[str, list[str]] = {}
    for name, needs in waiting.items():
        for need in needs:
            readers.setdefault(need, []).append(name)
    missing = {name: len(needs) for name, needs in waiting.items()}
    found: list[tuple[str, ...]] = []
    ready = sorted(name for name, count in missing.items() if not count)
    while ready:
        found.append(tuple(ready))
        following = []
        for name in ready:
            del waiting[name]
            for reader in readers.get(name, ()):
                missing[reader] -= 1
                if not missing[reader]:
                    following.append(reader)
        ready = sorted(following)
    return found


def circle_in(waiting: Mapping[str, set[str]]) -> tuple[str, ...]:
    """One circle among names that wait for each other, beginning with its first."""
    path: dict[str, None] = {}
    name = min(waiting)
    while name not in path:
        path[name] = None
        name = min(other for other in waiting[name] if other in waiting)
    circle = list(path)[list(path).index(name) :]
    start = circle.index(min(circle))
    return tuple(circle[start:] + circle[:start])
