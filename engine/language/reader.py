"""
Nodes into rules.

One function a part of a rule; each records what is wrong and goes on, so that all problems of a file come out at once.
"""

from typing import Final

from engram_diagnose.engine.facts.scope import DIMENSIONS
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.language.cases import read_cases, read_given
from engram_diagnose.engine.language.conditions import read_condition
from engram_diagnose.engine.language.context import Context
from engram_diagnose.engine.language.expression import (
    Condition,
    Expression,
    Number,
    Reference,
    Text,
)
from engram_diagnose.engine.language.fields import Fields, read_quantity
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.remedies import read_recommendations, read_setting
from engram_diagnose.engine.language.rule import (
    CERTAINTIES,
    KINDS,
    SEVERITIES,
    STATUSES,
    STRENGTHS,
    Evidence,
    Graded,
    Impact,
    Parameter,
    Row,
    Rule,
    Step,
)
from engram_diagnose.engine.language.source import Mapping, Node, Scalar
from engram_diagnose.engine.language.types import Type
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX, Vocabulary

_COMMON: Final = ("id", "rev", "kind", "title", "status", "severity", "owner", "tags", "scope", "reason", "refs",
                  "falsepositives", "params", "let", "given", "tests")  # fmt: skip
_OWN: Final = {
    "symptom": ("applies", "when", "recommend"),
    "cause": (
        "applies",
        "when",
        "when_true",
        "evidence",
        "impact",
        "explains",
        "masks",
        "recommend",
    ),
    "table": ("applies", "outputs", "rows"),
    "derive": ("applies", "output", "value"),
}
_NEEDED: Final = {
    "symptom": ("id", "rev", "kind", "title", "when"),
    "cause": ("id", "rev", "kind", "title", "when", "when_true"),
    "table": ("id", "rev", "kind", "title", "outputs", "rows"),
    "derive": ("id", "rev", "kind", "title", "output", "value"),
}


def read_rule(node: Mapping, *, pack: str, vocabulary: Vocabulary, problems: Problems) -> Rule | None:
    """One rule; None when not even its id and kind can be told."""
    head = Fields(node, "the rule", problems)
    identity, kind = head.text("id"), head.choice("kind", KINDS, "")
    fields = Fields(node, f"rule {identity}" if identity else "the rule", problems)
    if not identity or not kind:
        fields.need("id", "kind")
        return None
    problems.rule = identity
    try:
        return _Reader(fields, identity, kind, pack, vocabulary, problems).rule()
    finally:
        problems.rule = ""


class _Reader:
    def __init__(
        self,
        fields: Fields,
        identity: str,
        kind: str,
        pack: str,
        vocabulary: Vocabulary,
        problems: Problems,
    ) -> None:
        self._fields = fields
        self._id = identity
        self._kind = kind
        self._pack = pack
        self._problems = problems
        params = self._params()
        values = {name: parameter.value for name, parameter in params.items()}
        self._params_read = params
        self._context = Context(vocabulary, problems, self._scope(), values, {})

    def rule(self) -> Rule:
        fields, kind = self._fields, self._kind
        fields.only(
            _COMMON + _OWN[kind],
            hints={
                key: f"{key} belongs to another kind of rule than {kind}"
                for own in _OWN.values()
                for key in own
                if key not in _OWN[kind]
            },
        )
        fields.need(*_NEEDED[kind])
        self._lets()
        outputs = self._outputs()
        value = self._value() if kind == "derive" else None
        return Rule(
            id=self._id,
            rev=fields.integer("rev", 1),
            kind=kind,  # type: ignore[arg-type]
            title=fields.text("title"),
            pack=self._pack,
            mark=fields.node.key_mark("id"),
            status=fields.choice("status", STATUSES, "stable"),
            severity=fields.choice("severity", SEVERITIES, "warning"),
            owner=fields.text("owner"),
            tags=fields.texts("tags"),
            reason=fields.text("reason"),
            refs=fields.texts("refs"),
            falsepositives=fields.texts("falsepositives"),
            scope=self._context.scope,
            params=self._params_read,
            applies=self._condition("applies"),
            when=self._condition("when"),
            when_true=fields.choice("when_true", CERTAINTIES, ""),
            evidence=self._evidence(),
            impact=self._impact(),
            explains=fields.texts("explains"),
            masks=fields.texts("masks"),
            recommend=read_recommendations(fields, self._context),
            outputs=outputs,
            rows=self._rows(outputs),
            value=value[0] if value else None,
            value_text=fields.text("value") if value else "",
            given=read_given(fields, "given", self._context),
            cases=read_cases(fields, self._context, kind),
        )

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

    def _params(self) -> dict[str, Parameter]:
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
                self._problems.error(fields.mark(key), f"{key} of {name} has another unit than its value")
        if not least <= value.value <= most:
            self._problems.error(scalar.mark, f"{scalar.text} lies outside the parameter's bounds",
                                 hint=f"min {low}, max {high}", length=len(scalar.text))  # fmt: skip
        return Parameter(name, Number(value.value, value.unit), least, most, fields.text("doc"), scalar.mark)

    def _lets(self) -> None:
        mapping = self._fields.mapping("let")
        for name, node in mapping.values.items() if mapping else ():
            if not isinstance(node, Scalar):
                self._problems.error(node.mark, f"let {name} must be an expression")
                continue
            read = self._context.value(node)
            # A zero stands in for what could not be read: it fits every unit, so one problem makes no others.
            self._context.lets[name] = read[0] if read else Number(0.0, UNITS[""])

    def _condition(self, key: str) -> Condition | None:
        node = self._fields.node.values.get(key)
        return None if node is None else read_condition(node, self._context)

    def _evidence(self) -> tuple[Evidence | Graded, ...]:
        found: list[Evidence | Graded] = []
        for node in self._fields.items("evidence"):
            if not isinstance(node, Mapping):
                self._problems.error(node.mark, "a piece of evidence is a mapping with `if:` or `graded:`")
                continue
            piece = self._graded(node) if "graded" in node.values else self._piece(node)
            if piece is not None:
                found.append(piece)
        return tuple(found)

    def _piece(self, node: Mapping) -> Evidence | None:
        fields = Fields(node, "the evidence", self._problems)
        fields.only(("if", "all", "any", "not", "at_least", "seen", "absent", "group", "because"))
        seen = fields.choice("seen", STRENGTHS[1:], "")
        if not seen and "seen" not in fields:
            fields.need("seen")
        absent = fields.choice("absent", STRENGTHS, _one_weaker(seen))
        condition = self._evidence_condition(node, fields)
        if condition is None:
            return None
        return Evidence(
            condition,
            seen or "weak",
            absent,
            fields.text("group"),
            fields.text("because"),
            node.mark,
        )  # type: ignore[arg-type]

    def _evidence_condition(self, node: Mapping, fields: Fields) -> Condition | None:
        tests = [key for key in ("if", "all", "any", "not", "at_least") if key in node.values]
        if len(tests) != 1:
            self._problems.error(
                node.mark,
                "a piece of evidence has one `if:` (or `all:`, `any:`, `not:`, `at_least:`)",
            )
            return None
        if tests == ["if"]:
            scalar = fields.scalar("if")
            return self._context.condition(scalar, because=fields.text("because")) if scalar else None
        inner = Mapping(
            node.file,
            node.line,
            node.column,
            {tests[0]: node.values[tests[0]]},
            {tests[0]: node.keys[tests[0]]},
        )
        return read_condition(inner, self._context)

    def _graded(self, node: Mapping) -> Graded | None:
        fields = Fields(node, "the evidence", self._problems)
        fields.only(("graded", "steps", "absent", "group", "because"))
        fields.need("steps")
        quantity = fields.scalar("graded")
        if quantity is None or self._context.value(quantity) is None:
            return None
        steps = [step for item in fields.items("steps") if (step := self._step(item, quantity)) is not None]
        if not steps:
            return None
        strongest = max(steps, key=lambda step: STRENGTHS.index(step.seen)).seen
        weakest = min(steps, key=lambda step: STRENGTHS.index(step.seen)).seen
        absent = fields.choice("absent", STRENGTHS, _one_weaker(weakest))
        ordered = sorted(steps, key=lambda step: -STRENGTHS.index(step.seen))
        read = self._context.value(quantity)
        if read is None or not strongest:
            return None
        return Graded(
            read[0],
            quantity.text,
            tuple(ordered),
            absent,
            fields.text("group"),
            fields.text("because"),
            node.mark,
        )  # type: ignore[arg-type]

    def _step(self, node: Node, quantity: Scalar) -> Step | None:
        if not isinstance(node, Mapping):
            self._problems.error(node.mark, "a step is `{above: figure, seen: strength}` or `{below: …}`")
            return None
        fields = Fields(node, "the step", self._problems)
        fields.only(("above", "below", "seen"))
        fields.need("seen")
        keys = [key for key in ("above", "below") if key in fields]
        if len(keys) != 1:
            self._problems.error(node.mark, "a step has either `above:` or `below:`")
            return None
        limit = fields.scalar(keys[0])
        seen = fields.choice("seen", STRENGTHS[1:], "weak")
        if limit is None:
            return None
        operator = ">" if keys[0] == "above" else "<"
        text = f"{_grouped(quantity.text)} {operator} {_grouped(limit.text)}"
        leaf = self._context.condition(Scalar(text, limit.file, limit.line, limit.column, False, False))
        return Step(leaf, seen) if leaf is not None else None  # type: ignore[arg-type]

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
            self._problems.error(on.mark, f"{on.text} is not a fact that has a target", length=len(on.text),
                                 hint="impact is the share of the breach of a target; see rules/catalogue/targets.yaml")  # fmt: skip
            return None
        if target[1].dimension != amount[1].dimension:
            self._problems.error(
                relief.mark,
                f"the relief is {amount[1]}, and {on.text} is {target[1]}",
                length=len(relief.text),
            )
            return None
        return Impact(target[0], amount[0], relief.text)

    def _outputs(self) -> dict[str, str]:
        if self._kind == "derive":
            output = self._fields.scalar("output")
            return {"": output.text} if output is not None and self._known_output(output) else {}
        mapping = self._fields.mapping("outputs") if self._kind == "table" else None
        found = {}
        for name, node in mapping.values.items() if mapping else ():
            if isinstance(node, Scalar) and self._known_output(node):
                found[name] = node.text
        return found

    def _known_output(self, node: Scalar) -> bool:
        spec = self._context.spec(node.text)
        if spec is None or spec.origin != "rules":
            message = f"unknown fact {node.text}" if spec is None else f"{node.text} is measured, not derived"
            self._problems.error(node.mark, message, length=len(node.text),
                                 hint="a rule's output is a catalogue fact with `origin: rules`; a pack may add its own")  # fmt: skip
            return False
        return True

    def _value(self) -> tuple[Expression, Type] | None:
        node = self._fields.scalar("value")
        output = self._fields.scalar("output")
        read = self._context.value(node) if node is not None else None
        if read and node and output:
            self._fits(node, read[1], output.text)
        return read

    def _fits(self, node: Scalar, kind: Type, output: str) -> None:
        spec = self._context.spec(output)
        if spec is None:
            return
        wanted = Type(spec.kind, spec.unit.dimension) if spec.kind == "number" else Type(spec.kind)
        if kind.sort != wanted.sort or (kind.dimension != wanted.dimension and not kind.any_unit):
            self._problems.error(node.mark, f"{output} is {wanted}, and this is {kind}", length=len(node.text))

    def _rows(self, outputs: dict[str, str]) -> tuple[Row, ...]:
        found = []
        nodes = self._fields.items("rows")
        for position, node in enumerate(nodes):
            row = self._row(node, outputs, last=position == len(nodes) - 1)
            if row is not None:
                found.append(row)
        return tuple(found)

    def _row(self, node: Node, outputs: dict[str, str], *, last: bool) -> Row | None:
        if not isinstance(node, Mapping):
            self._problems.error(node.mark, "a row is a mapping with `if:` (or `else: true`), `set:` and `why:`")
            return None
        fields = Fields(node, "the row", self._problems)
        fields.only(("if", "all", "any", "not", "at_least", "else", "set", "why"))
        fields.need("set", "why")
        condition = None
        if "else" in fields:
            fields.truth("else", True)
            if not last:
                self._problems.error(fields.mark("else"), "rows behind `else` are never reached", length=4)
        else:
            self._context.may_ask = True
            condition = self._evidence_condition(node, fields)
            self._context.may_ask = False
            if condition is None:
                return None
        return Row(condition, self._row_values(fields, outputs), fields.text("why"))

    def _row_values(self, fields: Fields, outputs: dict[str, str]) -> dict[str, Expression]:
        mapping = fields.mapping("set")
        found: dict[str, Expression] = {}
        if mapping is None:
            return found
        Fields(mapping, "the row's set", self._problems).only(outputs)
        Fields(mapping, "the row's set", self._problems).need(*outputs)
        for name, node in mapping.values.items():
            if isinstance(node, Scalar) and name in outputs:
                value = read_setting(node, outputs[name], self._context)
                if value is not None:
                    found[name] = value
        return found


def _one_weaker(seen: str) -> str:
    return STRENGTHS[max(0, STRENGTHS.index(seen) - 1)] if seen in STRENGTHS else "none"


def _grouped(text: str) -> str:
    """In parentheses where an operator could tear it apart."""
    return f"({text})" if any(operator in text for operator in "+-*/") and not text[:1].isdigit() else text
