"""
What a site changes: built-in rules, targets, and findings it accepts.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import FactSpec, TargetSpec
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.cases import read_cases
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.tokens import ExpressionError
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.reader import read_rule
from engram_diagnose.engine.language.rule import SEVERITIES, Rule, Suppression
from engram_diagnose.engine.language.source import Mapping as Node
from engram_diagnose.engine.language.source import Scalar, Sequence
from engram_diagnose.engine.language.vocabulary import Vocabulary

_KEYS: Final = (
    "rule",
    "expect_rev",
    "reason",
    "owner",
    "expires",
    "set",
    "append",
    "disable",
    "tests",
)


def apply_overrides(
    roots: Iterable[Node],
    rules: dict[str, Rule],
    vocabulary: Vocabulary,
    problems: Problems,
    today: str,
) -> dict[str, str]:
    """
    Change `rules` as the packs' `overrides:` say; gives the changed ids with who changed them and why.

    An overridden rule is read again from its own nodes with the changes laid over, so that every check applies to it.
    """
    nodes = _rule_nodes(roots)
    changed: dict[str, str] = {}
    for pack, node in _entries(roots, "overrides", problems):
        fields = Fields(node, "the override", problems)
        fields.only(_KEYS)
        fields.need("rule", "expect_rev", "reason", "owner", "expires")
        rule = _target(fields, rules, problems)
        if rule is None or not _current(fields, rule, problems):
            continue
        expires = fields.date("expires")
        if expires and expires < today:
            problems.warning(fields.mark("expires"), f"the override of {rule.id} expired on {expires} and no longer applies",
                             hint="renew it, or remove it", length=len("expires"))  # fmt: skip
            continue
        if fields.truth("disable", False):
            del rules[rule.id]
            changed[rule.id] = f"disabled by {pack} ({fields.text('owner')}): {fields.text('reason')}"
            continue
        rules[rule.id] = _overridden(rule, nodes[rule.id], fields, vocabulary, problems)
        changed[rule.id] = f"changed by {pack} ({fields.text('owner')}): {fields.text('reason')}"
    return dict(sorted(changed.items()))


def _entries(roots: Iterable[Node], key: str, problems: Problems) -> Iterable[tuple[str, Node]]:
    for root in roots:
        fields = Fields(root, "the file", problems)
        for node in fields.items(key):
            if isinstance(node, Node):
                yield fields.text("pack"), node
            else:
                problems.error(node.mark, f"{key} is a list of mappings")


def _rule_nodes(roots: Iterable[Node]) -> dict[str, Node]:
    found: dict[str, Node] = {}
    for root in roots:
        rules = root.values.get("rules")
        for node in rules.items if isinstance(rules, Sequence) else ():
            identity = node.values.get("id") if isinstance(node, Node) else None
            if isinstance(identity, Scalar) and isinstance(node, Node):
                found.setdefault(identity.text, node)
    return found


def _target(fields: Fields, rules: Mapping[str, Rule], problems: Problems) -> Rule | None:
    node = fields.scalar("rule")
    if node is None:
        return None
    if node.text not in rules:
        problems.error(node.mark, f"there is no rule {node.text}", length=len(node.text),
                       hint=did_you_mean(node.text, rules) or "`engram-diagnose rules list` shows them")  # fmt: skip
        return None
    return rules[node.text]


def _current(fields: Fields, rule: Rule, problems: Problems) -> bool:
    expected = fields.integer("expect_rev", rule.rev)
    if expected != rule.rev:
        problems.error(fields.mark("expect_rev"), f"this overrides rev {expected} of {rule.id}, which is now rev {rule.rev}",
                       hint=f"compare with {rule.mark}: {rule.title}; then set expect_rev: {rule.rev}",
                       length=len("expect_rev"))  # fmt: skip
    return expected == rule.rev


def _overridden(rule: Rule, node: Node, fields: Fields, vocabulary: Vocabulary, problems: Problems) -> Rule:
    changed = Node(node.file, node.line, node.column, dict(node.values), dict(node.keys))
    _set(changed, rule, fields, problems)
    _append(changed, fields, problems)
    read = read_rule(changed, pack=rule.pack, vocabulary=vocabulary, problems=problems)
    if read is None:
        return rule
    values = {name: parameter.value for name, parameter in read.params.items()}
    context = Context(vocabulary, problems, read.scope, values, {})
    # Built-in tests hold without overrides; those of the override hold with it.
    return replace(read, cases=read_cases(fields, context, read.kind))


def _set(changed: Node, rule: Rule, fields: Fields, problems: Problems) -> None:
    mapping = fields.mapping("set")
    for key, node in mapping.values.items() if mapping else ():
        mark = mapping.key_mark(key) if mapping else node.mark
        if not isinstance(node, Scalar):
            problems.error(node.mark, f"{key} takes one value")
        elif key == "severity":
            if node.text not in SEVERITIES:
                problems.error(
                    node.mark,
                    f"severity is never {node.text!r}",
                    hint=f"it is one of {', '.join(SEVERITIES)}",
                    length=len(node.text),
                )
            else:
                changed.values["severity"] = node
                changed.keys.setdefault("severity", node)
        elif key.startswith("params."):
            _set_parameter(changed, rule, key.removeprefix("params."), node, problems)
        else:
            problems.error(
                mark,
                f"an override cannot set {key!r}",
                hint="it sets severity and params.NAME",
                length=len(key),
            )


def _set_parameter(changed: Node, rule: Rule, name: str, node: Scalar, problems: Problems) -> None:
    parameter = rule.params.get(name)
    params = changed.values.get("params")
    if parameter is None or not isinstance(params, Node):
        problems.error(node.mark, f"{rule.id} has no parameter {name}", length=len(node.text),
                       hint=did_you_mean(name, rule.params) or f"it has: {', '.join(rule.params) or 'none'}")  # fmt: skip
        return
    quantity = read_quantity(node, problems)
    if quantity is None:
        return
    entry = params.values[name]
    if isinstance(entry, Node):
        replaced = Node(entry.file, entry.line, entry.column, {**entry.values, "value": node}, entry.keys)
        changed.values["params"] = Node(
            params.file, params.line, params.column, {**params.values, name: replaced}, params.keys
        )


def _append(changed: Node, fields: Fields, problems: Problems) -> None:
    mapping = fields.mapping("append")
    for key, node in mapping.values.items() if mapping else ():
        if key != "when.all" or not isinstance(node, Sequence):
            problems.error(
                node.mark,
                f"an override cannot append to {key!r}",
                hint="`append: {when.all: [condition …]}`",
            )
            continue
        gate = changed.values.get("when")
        old = (
            gate.values["all"].items
            if isinstance(gate, Node) and isinstance(gate.values.get("all"), Sequence)
            else [gate]
        )  # type: ignore[union-attr]
        both = Sequence(
            node.file,
            node.line,
            node.column,
            [item for item in (*old, *node.items) if item is not None],
        )
        changed.values["when"] = Node(
            node.file,
            node.line,
            node.column,
            {"all": both},
            {"all": mapping.keys[key]} if mapping else {},
        )


def read_target_overrides(
    root: Node, targets: list[TargetSpec], facts: Mapping[str, FactSpec], problems: Problems
) -> list[TargetSpec]:
    """The targets with a pack's `targets:` laid over all three sets: a site states its own figure once."""
    if not isinstance(root.values.get("targets"), Node):
        return targets
    mapping = Fields(root, "the file", problems).mapping("targets")
    found = list(targets)
    for name, node in mapping.values.items() if mapping else ():
        target = _target_override(name, node, mapping, facts, problems) if mapping else None
        if target is not None:
            same = [old for old in found if old.name == target.name and old.scope == target.scope]
            better = (
                same[0].better
                if same
                else next((old.better for old in found if old.name == target.name), target.better)
            )
            found = [old for old in found if old not in same] + [replace(target, better=better)]
    return found


def _target_override(
    name: str, node: source.Node, mapping: Node, facts: Mapping[str, FactSpec], problems: Problems
) -> TargetSpec | None:
    try:
        reference = parse_reference(name)
    except ExpressionError as error:
        problems.error(mapping.key_mark(name), str(error), hint=error.hint, length=len(name))
        return None
    spec = facts.get(reference.name)
    if spec is None:
        problems.error(
            mapping.key_mark(name),
            f"unknown fact {reference.name}",
            hint=did_you_mean(reference.name, facts),
            length=len(name),
        )
        return None
    quantity = read_quantity(node, problems) if isinstance(node, Scalar) else None
    if quantity is None:
        return None
    if quantity.unit.dimension != spec.unit.dimension:
        problems.error(node.mark, f"{reference.name} is {spec.unit.dimension}, not {quantity.unit.dimension}")
        return None
    figure = quantity.value
    return TargetSpec(
        reference.name,
        scope_of(dict(reference.labels)),
        "lower",
        "stated by the site",
        figure,
        figure,
        figure,
    )


def read_suppressions(root: Node, rules: Mapping[str, Rule], problems: Problems, today: str) -> list[Suppression]:
    """A pack's `suppressions:` that have not expired."""
    found = []
    for _, node in _entries((root,), "suppressions", problems):
        fields = Fields(node, "the suppression", problems)
        fields.only(("rule", "scope", "reason", "owner", "expires"))
        fields.need("rule", "reason", "owner", "expires")
        rule = _target(fields, rules, problems)
        scope = fields.mapping("scope")
        labels = {
            key: value.text for key, value in (scope.values if scope else {}).items() if isinstance(value, Scalar)
        }
        expires = fields.date("expires")
        if expires and expires < today:
            problems.warning(fields.mark("expires"), f"this suppression expired on {expires} and no longer applies",
                             hint="renew it, or remove it", length=len("expires"))  # fmt: skip
        elif rule is not None and expires:
            found.append(Suppression(rule.id, labels, fields.text("reason"), fields.text("owner"), expires, node.mark))
    return found
