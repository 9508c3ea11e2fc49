"""
What a site changes: built-in rules, targets, and findings it accepts.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import FactSpec, TargetSpec
from engram_diagnose.engine.facts.scope import DIMENSIONS, scope_of
from engram_diagnose.engine.language import source
from engram_diagnose.engine.language.cases import read_cases
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import Expression, Number
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.parser import parse_reference
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.reader import read_rule
from engram_diagnose.engine.language.rule import SEVERITIES, Rule, Suppression
from engram_diagnose.engine.language.source import Mapping as Node
from engram_diagnose.engine.language.source import Scalar, Sequence
from engram_diagnose.engine.language.tokens import ExpressionError
from engram_diagnose.engine.language.types import labels_hint
from engram_diagnose.engine.language.vocabulary import Vocabulary

_KEYS: Final = ("rule", "expect_rev", "reason", "owner", "expires", "set", "append", "disable", "tests")


def apply_overrides(
    roots: Iterable[Node], rules: dict[str, Rule], vocabulary: Vocabulary, problems: Problems, today: str
) -> dict[str, str]:
    """
    Change `rules` as the packs' `overrides:` say; gives the changed ids with who changed them and why.

    An overridden rule is read again from its own nodes with the changes laid over, so that every check applies to it.
    Several overrides of one rule add up, in the order of packs and files; none may set what another has set.
    """
    overrides = _Overrides(_rule_nodes(roots), rules, vocabulary, problems)
    for pack, node in _entries(roots, "overrides", problems):
        fields = Fields(node, "the override", problems)
        fields.only(_KEYS)
        fields.need("rule", "expect_rev", "reason", "owner", "expires")
        if not _has_expired(fields, "override", today):
            overrides.apply(pack, fields)
    return dict(sorted(overrides.changed.items()))


def _has_expired(fields: Fields, what: str, today: str) -> bool:
    expires = fields.date("expires")
    if not expires or expires >= today:
        return False
    rule = fields.text("rule")
    fields.problems.warning(
        fields.node.values["expires"].mark,
        f"this {what} of {rule} expired on {expires} and no longer applies",
        hint="renew it, or remove it",
        length=len(expires),
    )
    return True


def _entries(roots: Iterable[Node], key: str, problems: Problems) -> Iterator[tuple[str, Node]]:
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
                found.setdefault(identity.text.strip(), node)
    return found


class _Overrides:
    def __init__(
        self, nodes: dict[str, Node], rules: dict[str, Rule], vocabulary: Vocabulary, problems: Problems
    ) -> None:
        self._nodes = nodes
        self._rules = rules
        self._vocabulary = vocabulary
        self._problems = problems
        self._set: dict[tuple[str, str], Scalar] = {}
        self.changed: dict[str, str] = {}

    def apply(self, pack: str, fields: Fields) -> None:
        rule = _target(fields, self._rules, self._problems)
        if rule is None or not self._is_current(fields, rule):
            return
        by = f"{pack} ({fields.text('owner')}): {fields.text('reason')}"
        if fields.truth("disable", False):
            del self._rules[rule.id]
            self.changed[rule.id] = f"disabled by {by}"
            return
        self._rules[rule.id] = self._overridden(rule, fields)
        earlier = self.changed.get(rule.id)
        self.changed[rule.id] = f"{earlier}; and by {by}" if earlier else f"changed by {by}"

    def _is_current(self, fields: Fields, rule: Rule) -> bool:
        expected = fields.integer("expect_rev", rule.rev)
        if expected != rule.rev:
            node = fields.node.values["expect_rev"]
            message = f"this overrides rev {expected} of {rule.id}, which is now rev {rule.rev}"
            hint = f"compare with {rule.mark}: {rule.title}; then set expect_rev: {rule.rev}"
            self._problems.error(node.mark, message, hint=hint, length=len(str(expected)))
        return expected == rule.rev

    def _overridden(self, rule: Rule, fields: Fields) -> Rule:
        node = self._nodes[rule.id]
        changed = Node(node.file, node.line, node.column, dict(node.values), dict(node.keys))
        mapping = fields.mapping("set")
        for key, value in mapping.values.items() if mapping else ():
            if mapping and isinstance(value, Scalar):
                self._set_one(changed, rule, mapping.keys[key], value)
            else:
                self._problems.error(value.mark, f"{key} takes one value")
        _append(changed, fields)
        read = read_rule(changed, pack=rule.pack, vocabulary=self._vocabulary, problems=self._problems)
        if read is None:
            return rule
        self._nodes[rule.id] = changed
        values: dict[str, Expression] = {name: parameter.value for name, parameter in read.params.items()}
        context = Context(self._vocabulary, self._problems, read.scope, values, {})
        # Built-in tests hold without overrides; those of the override hold with it.
        return replace(read, cases=read_cases(fields, context))

    def _set_one(self, changed: Node, rule: Rule, key: Scalar, value: Scalar) -> None:
        earlier = self._set.setdefault((rule.id, key.text), key)
        if earlier is not key:
            self._problems.error(key.mark, f"{key.text} of {rule.id} is set already, at {earlier.mark}",
                                 hint="keep one", length=len(key.text))  # fmt: skip
        elif key.text == "severity":
            self._set_severity(changed, value)
        elif key.text.startswith("params."):
            self._set_parameter(changed, rule, key, value)
        else:
            hint = did_you_mean(key.text, ("severity", *(f"params.{name}" for name in rule.params)))
            self._problems.error(key.mark, f"an override cannot set {key.text!r}", length=len(key.text),
                                 hint=hint or "it sets severity and params.NAME")  # fmt: skip

    def _set_severity(self, changed: Node, value: Scalar) -> None:
        if value.text in SEVERITIES:
            changed.values["severity"] = value
            changed.keys.setdefault("severity", value)
            changed.values.pop("severity_from", None)
        else:
            self._problems.error(value.mark, f"severity is never {value.text!r}", length=len(value.text),
                                 hint=f"it is one of {', '.join(SEVERITIES)}")  # fmt: skip

    def _set_parameter(self, changed: Node, rule: Rule, key: Scalar, value: Scalar) -> None:
        name = key.text.removeprefix("params.")
        parameter, params = rule.params.get(name), changed.values.get("params")
        if parameter is None or not isinstance(params, Node):
            self._problems.error(
                key.mark,
                f"{rule.id} has no parameter {name}",
                length=len(key.text),
                hint=did_you_mean(name, rule.params) or f"it has: {', '.join(rule.params) or 'none'}",
            )
            return
        if isinstance(parameter.value, Number):
            quantity = read_quantity(value, self._problems)
            if quantity is None:
                return
            if quantity.unit.dimension != parameter.value.unit.dimension:
                message = f"{name} is {parameter.value.unit.dimension}, not {quantity.unit.dimension}"
                self._problems.error(value.mark, message, length=len(value.text))
                return
        entry = params.values[name]
        if isinstance(entry, Node):
            replaced = Node(entry.file, entry.line, entry.column, {**entry.values, "value": value}, entry.keys)
            values = {**params.values, name: replaced}
            changed.values["params"] = Node(params.file, params.line, params.column, values, params.keys)


def _target(fields: Fields, rules: Mapping[str, Rule], problems: Problems) -> Rule | None:
    node = fields.scalar("rule")
    if node is None:
        return None
    if node.text not in rules:
        problems.error(node.mark, f"there is no rule {node.text}", length=len(node.text),
                       hint=did_you_mean(node.text, rules) or "`engram-diagnose rules list` shows them")  # fmt: skip
        return None
    return rules[node.text]


def _append(changed: Node, fields: Fields) -> None:
    """Lay the conditions of `append: {when.all: […]}` beside those of the gate; all of them must hold then."""
    mapping = fields.mapping("append")
    for key, node in mapping.values.items() if mapping else ():
        if mapping is None or key != "when.all" or not isinstance(node, Sequence):
            fields.problems.error(
                node.mark, f"an override cannot append to {key!r}", hint="`append: {when.all: [condition …]}`"
            )
            continue
        items = [item for item in (*_gate_items(changed.values.get("when")), *node.items) if item is not None]
        both = Sequence(node.file, node.line, node.column, items)
        changed.values["when"] = Node(node.file, node.line, node.column, {"all": both}, {"all": mapping.keys[key]})
        changed.keys.setdefault("when", mapping.keys[key])


def _gate_items(gate: source.Node | None) -> list[source.Node | None]:
    conditions = gate.values.get("all") if isinstance(gate, Node) else None
    return list(conditions.items) if isinstance(conditions, Sequence) else [gate]


def read_target_overrides(
    root: Node, targets: list[TargetSpec], facts: Mapping[str, FactSpec], problems: Problems
) -> list[TargetSpec]:
    """The targets with a pack's `targets:` laid over all three sets: a site states its own figure once."""
    mapping = Fields(root, "the file", problems).mapping("targets")
    found = list(targets)
    for name, node in mapping.values.items() if mapping else ():
        target = _target_override(name, node, mapping, facts, problems) if mapping else None
        if target is not None:
            same = [old for old in found if old.name == target.name and old.scope == target.scope]
            better = next((old.better for old in (*same, *found) if old.name == target.name), target.better)
            found = [old for old in found if old not in same] + [replace(target, better=better)]
    return found


def _target_override(
    name: str, node: source.Node, mapping: Node, facts: Mapping[str, FactSpec], problems: Problems
) -> TargetSpec | None:
    mark = mapping.key_mark(name)
    try:
        reference = parse_reference(name)
    except ExpressionError as error:
        problems.error(mark.after(error.start), str(error), hint=error.hint, length=error.end - error.start)
        return None
    spec = facts.get(reference.name)
    if spec is None:
        hint = did_you_mean(reference.name, facts)
        problems.error(mark, f"unknown fact {reference.name}", hint=hint, length=len(reference.name))
        return None
    for label, _ in reference.labels:
        if label not in spec.scope:
            hint = labels_hint(spec)
            problems.error(mark, f"{spec.name} has no label {label}", hint=hint, length=len(name))
            return None
    if not isinstance(node, Scalar):
        problems.error(node.mark, f"the target of {name} is one figure")
        return None
    quantity = read_quantity(node, problems)
    if quantity is None:
        return None
    if quantity.unit.dimension != spec.unit.dimension:
        message = f"{reference.name} is {spec.unit.dimension}, not {quantity.unit.dimension}"
        problems.error(node.mark, message, hint=f"it is kept in {spec.unit.symbol}", length=len(node.text))
        return None
    figure = quantity.value
    scope = scope_of(dict(reference.labels))
    return TargetSpec(reference.name, scope, "lower", "stated by the site", figure, figure, figure)


def read_suppressions(root: Node, rules: Mapping[str, Rule], problems: Problems, today: str) -> list[Suppression]:
    """A pack's `suppressions:` that have not expired."""
    found = []
    for _, node in _entries((root,), "suppressions", problems):
        fields = Fields(node, "the suppression", problems)
        fields.only(("rule", "scope", "reason", "owner", "expires"))
        fields.need("rule", "reason", "owner", "expires")
        if _has_expired(fields, "suppression", today):
            continue
        rule, labels, expires = _target(fields, rules, problems), _labels(fields), fields.date("expires")
        if rule is not None and expires:
            found.append(Suppression(rule.id, labels, fields.text("reason"), fields.text("owner"), expires, node.mark))
    return found


def _labels(fields: Fields) -> dict[str, str]:
    """The labels a finding must carry, `instance` among them."""
    mapping = fields.mapping("scope")
    if mapping is None:
        return {}
    scope = Fields(mapping, "the scope", fields.problems)
    scope.only(("instance", *DIMENSIONS))
    return {name: scope.text(name) for name in mapping.values}
