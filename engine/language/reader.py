"""
Nodes into rules.

One function a part of a rule; each records what is wrong and goes on, so that all problems of a file come out at once.
"""

import re
from collections.abc import Iterable
from typing import Final

from engram_diagnose.engine.facts.scope import DIMENSIONS
from engram_diagnose.engine.language.cases import read_cases, read_given
from engram_diagnose.engine.language.conditions import read_condition
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.evidence import read_evidence
from engram_diagnose.engine.language.expression import UNREADABLE, Condition, Expression, Number, Reference, Text
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.lets import is_local_name, read_lets
from engram_diagnose.engine.language.problem import Mark, Problems, did_you_mean
from engram_diagnose.engine.language.remedies import read_recommendations
from engram_diagnose.engine.language.rule import CERTAINTIES, KINDS, SEVERITIES, STATUSES, Impact, Parameter, Rule
from engram_diagnose.engine.language.source import Mapping, Node, Scalar
from engram_diagnose.engine.language.stages import facts_named
from engram_diagnose.engine.language.tables import read_output, read_outputs, read_rows, read_value
from engram_diagnose.engine.language.templates import fields_of
from engram_diagnose.engine.language.types import unit_hint
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX, Vocabulary

_COMMON: Final = ("id", "rev", "kind", "title", "status", "severity", "owner", "tags", "scope", "reason", "refs",
                  "falsepositives", "params", "let", "given", "tests")  # fmt: skip
_OWN: Final = {
    "symptom": ("applies", "when", "restates", "severity_from", "recommend"),
    "cause": ("applies", "when", "when_true", "evidence", "impact", "explains", "masks", "recommend"),
    "table": ("applies", "outputs", "rows"),
    "derive": ("applies", "output", "value"),
}
_NEEDED: Final = {
    "symptom": ("id", "rev", "kind", "title", "when"),
    "cause": ("id", "rev", "kind", "title", "when", "when_true"),
    "table": ("id", "rev", "kind", "title", "outputs", "rows"),
    "derive": ("id", "rev", "kind", "title", "output", "value"),
}
KEYS: Final = {kind: (*_COMMON, *own) for kind, own in _OWN.items()}
"""The keys of each kind of rule."""
_STRAY: Final = {
    kind: {key: f"{key} belongs to another kind of rule than {kind}"
           for others in _OWN.values() for key in others if key not in own}
    for kind, own in _OWN.items()
}  # fmt: skip
_ID: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+(?:-[a-z0-9_]+)*)+")


def is_rule_id(text: str) -> bool:
    """Whether a rule can be called that: lower case, with at least one dot."""
    return bool(_ID.fullmatch(text))


def read_rule(
    node: Mapping, *, pack: str, vocabulary: Vocabulary, problems: Problems, thorough: bool = True
) -> Rule | None:
    """One rule, without its tests unless `thorough`; None when not even its id and kind can be told."""
    head = Fields(node, "the rule", problems)
    identity, kind = head.text("id"), head.choice("kind", KINDS, "")
    fields = Fields(node, f"rule {identity}" if identity else "the rule", problems)
    if not identity or not kind:
        fields.need("id", "kind")
        return None
    problems.rule = identity
    try:
        return _Reader(fields, identity, kind, pack, vocabulary, problems).rule(thorough=thorough)
    finally:
        problems.rule = ""


class _Reader:
    def __init__(
        self, fields: Fields, identity: str, kind: str, pack: str, vocabulary: Vocabulary, problems: Problems
    ) -> None:
        self._fields = fields
        self._id = identity
        self._kind = kind
        self._pack = pack
        self._problems = problems
        self._params = self._read_params()
        values: dict[str, Expression] = {name: parameter.value for name, parameter in self._params.items()}
        declared = fields.node.values.get("params")
        if isinstance(declared, Mapping):
            values |= dict.fromkeys(declared.values.keys() - values.keys(), UNREADABLE)
        self._context = Context(vocabulary, problems, self._scope(), values, {})

    def rule(self, *, thorough: bool) -> Rule:
        fields, kind, context = self._fields, self._kind, self._context
        fields.only(KEYS[kind], hints=_STRAY[kind])
        fields.need(*_NEEDED[kind])
        self._check_id()
        read_lets(fields, context)
        outputs = read_output(fields, context) if kind == "derive" else {}
        if kind == "table":
            outputs = read_outputs(fields, context)
        value = read_value(fields, context) if kind == "derive" else None
        rule = Rule(
            id=self._id,
            rev=fields.integer("rev", 1),
            kind=kind,  # type: ignore[arg-type]
            title=fields.text("title"),
            pack=self._pack,
            mark=fields.node.values["id"].mark,
            status=fields.choice("status", STATUSES, "stable"),
            severity=fields.choice("severity", SEVERITIES, "warning"),
            owner=fields.text("owner"),
            tags=fields.texts("tags"),
            reason=fields.text("reason"),
            refs=fields.texts("refs"),
            falsepositives=fields.texts("falsepositives"),
            scope=context.scope,
            params=self._params,
            lets={name: body for name, body in context.lets.items() if body is not UNREADABLE},
            applies=self._condition("applies"),
            when=self._condition("when"),
            when_true=fields.choice("when_true", CERTAINTIES, ""),
            evidence=read_evidence(fields, context) if kind == "cause" else (),
            impact=self._impact(),
            explains=fields.texts("explains"),
            masks=fields.texts("masks"),
            restates=fields.texts("restates"),
            severity_from=self._severity_from(),
            recommend=read_recommendations(fields, context),
            outputs=outputs,
            rows=read_rows(fields, outputs, context) if kind == "table" else (),
            value=value,
            value_text=fields.text("value") if value else "",
            given=read_given(fields, "given", context) if thorough else (),
            cases=read_cases(fields, context) if thorough else (),
            places=self._places(),
        )
        if thorough:
            self._check_sentences(rule)
        return rule

    def _check_id(self) -> None:
        if not is_rule_id(self._id):
            self._problems.error(
                self._fields.node.values["id"].mark,
                f"{self._id!r} is not a rule's id",
                length=len(self._id),
                hint="lower case, with at least one dot: subsystem.what-is-wrong",
            )

    def _places(self) -> dict[str, Mark]:
        """Where the ids of other rules stand."""
        return {node.text: node.mark for key in ("explains", "masks", "restates") for node in self._fields.scalars(key)}

    def _check_sentences(self, rule: Rule) -> None:
        if not self._context.sentences:
            return
        known = {*self._context.lets, *self._context.parameters, *facts_named(rule)}
        for node in self._context.sentences:
            for name in fields_of(node.text):
                spec = self._context.spec(name) if name not in known else None
                if name not in known and (spec is None or "@" in name):
                    self._unknown_field(node, name, known)

    def _unknown_field(self, node: Scalar, name: str, known: Iterable[str]) -> None:
        start = node.text.find(name)
        mark = node.mark.after(start) if node.single_line and start >= 0 else node.mark
        is_fact = self._context.spec(name) is not None
        message = f"{{{name}}}: this rule does not read {name}" if is_fact else f"{{{name}}} names nothing"
        hint = did_you_mean(name, sorted({*known, *self._context.vocabulary.names}))
        hint = hint or "a field is a let, a parameter or a fact; a window has to be read by the rule"
        self._problems.error(mark, message, hint=hint, length=len(name))

    def _scope(self) -> tuple[str, ...]:
        node = self._fields.node.values.get("scope")
        if node is None or (isinstance(node, Scalar) and node.text == "instance"):
            return ()
        labels = (node,) if isinstance(node, Scalar) else self._fields.scalars("scope")
        for label in labels:
            if label.text not in DIMENSIONS:
                self._problems.error(label.mark, f"{label.text!r} is not a scope", length=len(label.text),
                                     hint=f"it is `instance`, or a list of {', '.join(DIMENSIONS)}")  # fmt: skip
        found = {label.text for label in labels}
        return tuple(label for label in DIMENSIONS if label in found)

    def _read_params(self) -> dict[str, Parameter]:
        mapping = self._fields.mapping("params")
        found = {}
        for name, node in mapping.values.items() if mapping else ():
            parameter = self._parameter(name, node)
            if parameter is not None:
                found[name] = parameter
        return found

    def _parameter(self, name: str, node: Node) -> Parameter | None:
        if not isinstance(node, Mapping):
            self._problems.error(node.mark, f"parameter {name} needs `value:`, `min:`, `max:` and `doc:`")
            return None
        fields = Fields(node, f"parameter {name}", self._problems)
        fields.only(("value", "min", "max", "doc"))
        fields.need("value", "doc")
        if not is_local_name(name):
            self._problems.error(
                node.mark, f"{name!r} cannot be a parameter", hint="it is a word without dots and hyphens"
            )
        scalar, low, high = fields.scalar("value"), fields.quantity("min"), fields.quantity("max")
        if scalar is None:
            return None
        if scalar.quoted:
            return Parameter(name, Text(scalar.text), 0, 0, fields.text("doc"), scalar.mark)
        value = read_quantity(scalar, self._problems)
        if value is None:
            return None
        least, most = low.value if low else float("-inf"), high.value if high else float("inf")
        for bound, key in ((low, "min"), (high, "max")):
            if bound is not None and bound.value and value.value and bound.unit.dimension != value.unit.dimension:
                message = f"{key} of {name} is {bound.unit.dimension}, and its value {value.unit.dimension}"
                self._problems.error(fields.node.values[key].mark, message, hint="give both in one unit")
        if not least <= value.value <= most:
            self._problems.error(
                scalar.mark,
                f"{scalar.text} lies outside the bounds of {name}",
                hint=f"they are {'-∞' if low is None else low} to {'∞' if high is None else high}",
                length=len(scalar.text),
            )
        return Parameter(name, Number(value.value, value.unit), least, most, fields.text("doc"), scalar.mark)

    def _severity_from(self) -> str:
        """The fact whose text is the severity."""
        node = self._fields.scalar("severity_from")
        if node is None:
            return ""
        spec = self._context.spec(node.text)
        if spec is None or spec.kind != "text":
            hint = did_you_mean(node.text, self._context.vocabulary.names) if spec is None else ""
            self._problems.error(node.mark, f"{node.text} is not a fact that is a text", length=len(node.text),
                                 hint=hint or f"its text is one of {', '.join(SEVERITIES)}")  # fmt: skip
        return node.text

    def _condition(self, key: str) -> Condition | None:
        node = self._fields.node.values.get(key)
        return None if node is None else read_condition(node, self._context)

    def _impact(self) -> Impact | None:
        mapping = self._fields.mapping("impact")
        if mapping is None:
            return None
        fields = Fields(mapping, "impact", self._problems)
        fields.only(("on", "relief"))
        fields.need("on", "relief")
        on, relief = fields.scalar("on"), fields.scalar("relief")
        if on is None or relief is None:
            return None
        target, amount = self._context.value(on), self._context.value(relief)
        if target is None or amount is None:
            return None
        if not isinstance(target[0], Reference) or self._context.spec(TARGET_PREFIX + target[0].name) is None:
            self._problems.error(
                on.mark,
                f"{on.text} is not a fact that has a target",
                length=len(on.text),
                hint="impact is the share of the breach of a target; see rules/catalogue/targets.yaml",
            )
            return None
        if not target[1].goes_with(amount[1]):
            message = f"the relief is {amount[1]}, and {on.text} is {target[1]}"
            hint = unit_hint(target[::-1], amount[::-1])
            self._problems.error(relief.mark, message, hint=hint, length=len(relief.text))
            return None
        return Impact(target[0], amount[0], relief.text)
