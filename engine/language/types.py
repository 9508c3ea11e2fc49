"""
Static checks of expressions: do the facts exist, do the units fit, can the test come out both ways?
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from engram_diagnose.engine.facts.catalogue import FactSpec, split_window
from engram_diagnose.engine.facts.unit import BANDWIDTH, BYTES, NUMBER, RATE, TIME, Dimension, format_value
from engram_diagnose.engine.language.expression import (
    UNREADABLE,
    Aggregated,
    Arithmetic,
    Between,
    Call,
    Comparison,
    Contains,
    Expression,
    Extent,
    Member,
    Named,
    Negative,
    Number,
    Reference,
    Span,
    Text,
)
from engram_diagnose.engine.language.problem import did_you_mean

Sort = Literal["number", "bool", "text", "truth"]


@dataclass(frozen=True, slots=True)
class Type:
    """What an expression yields. `any_unit` is a literal zero, which fits every unit."""

    sort: Sort
    dimension: Dimension = NUMBER
    any_unit: bool = False
    values: tuple[str, ...] = ()

    def goes_with(self, other: "Type") -> bool:
        """Whether the two can be compared, or one can stand where the other is wanted."""
        return self.sort == other.sort and (self.dimension == other.dimension or self.any_unit or other.any_unit)

    def __str__(self) -> str:
        return {
            "number": str(self.dimension),
            "bool": "true or false",
            "text": "a text",
            "truth": "a comparison",
        }[self.sort]


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong at a span of the expression's text."""

    message: str
    span: Span
    hint: str = ""


_TRUTH: Final = Type("truth")
_BOOL: Final = Type("bool")
_TEXT: Final = Type("text")


class Let(NamedTuple):
    """What a rule's name yields, and the extent of what it stands for."""

    kind: Type
    extent: Extent


class Mismatch(Exception):  # noqa: N818 -- no error of its own: its finding is recorded
    """Stops checking one expression."""


Resolve = Callable[[str], FactSpec | None]


class Checker:
    """
    Checks expressions against a vocabulary; `findings` collects what is wrong.

    `lets` are the rule's names, as far as they were checked already; `size` counts what those in use stand for.
    `may_ask` allows `known(fact)`, by which a table takes the best of several sources.
    """

    def __init__(
        self,
        resolve: Resolve,
        names: Iterable[str],
        scope: tuple[str, ...] = (),
        *,
        lets: Mapping[str, Let] | None = None,
        may_ask: bool = False,
    ) -> None:
        self._resolve = resolve
        self._names = names
        self._scope = scope
        self._lets = lets or {}
        self._may_ask = may_ask
        self.size = 0
        self.findings: list[Finding] = []

    def condition(self, expression: Expression) -> Type | None:
        """Check a condition, which comes to true or false; None when it does not fit together."""
        result = self._attempt(expression)
        if result is not None and result.sort not in ("truth", "bool"):
            self._find("this is not a condition", expression.span, "compare it with something")
            return None
        return result

    def value(self, expression: Expression) -> Type | None:
        """Check a value; None when it does not fit together."""
        result = self._attempt(expression)
        if result is not None and result.sort == "truth":
            self._find("a value is needed here, not a comparison", expression.span)
            return None
        return result

    def _attempt(self, expression: Expression) -> Type | None:
        try:
            return self._check(expression)
        except Mismatch:
            return None

    def _find(self, message: str, span: Span, hint: str = "") -> None:
        self.findings.append(Finding(message, span, hint))

    def _stop(self, message: str, span: Span, hint: str = "") -> Mismatch:
        self._find(message, span, hint)
        return Mismatch()

    def _check(self, node: Expression) -> Type:
        return _CHECKS[type(node)](self, node)

    def _number(self, node: Number) -> Type:
        return _BOOL if node.kind == "bool" else Type("number", node.unit.dimension, node.value == 0)

    def _text(self, node: Text) -> Type:
        return _TEXT

    def _negative(self, node: Negative) -> Type:
        return self._numeric(node.operand)

    def _between(self, node: Between) -> Type:
        self._alike(node.span, node.operand, node.low, node.high)
        return _TRUTH

    def _contains(self, node: Contains) -> Type:
        for side in (node.operand, node.part):
            if self._check(side).sort != "text":
                raise self._stop("`contains` takes texts", side.span)
        return _TRUTH

    def _named(self, node: Named) -> Type:
        known = self._lets.get(node.name)
        if known is not None:
            self.size += known.extent.size
            return known.kind
        if node.body is UNREADABLE or node is UNREADABLE:
            raise Mismatch
        checker = Checker(self._resolve, self._names, self._scope)
        result = checker._attempt(node.body)
        if result is None:  # the finding stands at the `let`
            raise Mismatch
        return result

    def _reference(self, node: Reference) -> Type:
        spec = self._resolve(node.name)
        if spec is None or "@" in node.name:
            spec = self._windowed(node)
        elif spec.counter:
            raise self._stop(
                f"{node.name} only ever grows; its rate is what tells",
                node.span,
                f"write {node.name}@rate_5m",
            )
        if node.labels:
            self._labels(node, spec)
        return Type(spec.kind, spec.unit.dimension if spec.kind == "number" else NUMBER, False, spec.values)

    def _windowed(self, node: Reference) -> FactSpec:
        """The entry for a name with a window (or for none at all), where that window means something."""
        spec = self._resolve(node.name)
        base, window = split_window(node.name)
        known = self._resolve(base)
        if spec is None and window is not None and known is not None:
            raise self._stop(f"{base} is a snapshot: it has no history", node.span, "write it without window and `for`")
        if spec is None:
            raise self._stop(f"unknown fact {node.name}", node.span, self._unknown_hint(node.name))
        if window is not None and known is not None and known.kind == "number":
            if known.counter and window.kind != "rate":
                hint = f"write {base}@rate_5m"
                raise self._stop(f"{base} only ever grows; its rate is what tells", node.span, hint)
            if not known.counter and window.kind == "rate":
                hint = f"write {base}@slope_30m for how fast it changes"
                raise self._stop(f"{base} is not a counter, so it has no rate", node.span, hint)
        return spec

    def _labels(self, node: Reference, spec: FactSpec) -> None:
        stray = next((name for name, _ in node.labels if name not in spec.scope), None)
        if stray is not None:
            self._find(f"{spec.name} has no label {stray}", node.span, labels_hint(spec))

    def _unknown_hint(self, name: str) -> str:
        base, minus, _ = name.partition("-")
        if minus and self._resolve(base) is not None:
            return "put spaces round a minus"
        base, at, _ = name.partition("@")
        if at and self._resolve(base) is not None:
            return "windows are @avg_5m, @min_5m, @max_5m, @rate_5m, @slope_30m, @before and @baseline"
        return (
            did_you_mean(name, self._names)
            or "`engram-diagnose rules list --facts` shows the catalogue; a pack may add facts of its own"
        )

    def _numeric(self, node: Expression) -> Type:
        result = self._check(node)
        if result.sort != "number":
            raise self._stop(f"a figure is needed here, not {result}", node.span)
        return result

    def _arithmetic(self, node: Arithmetic) -> Type:
        left, right = self._numeric(node.left), self._numeric(node.right)
        if node.operator == "*":
            return Type("number", left.dimension * right.dimension)
        if node.operator == "/":
            if isinstance(node.right, Number) and node.right.value == 0:
                raise self._stop("division by zero", node.right.span, "its outcome is never known")
            return Type("number", left.dimension / right.dimension)
        return self._same(node.span, (left, node.left), (right, node.right))

    def _same(self, span: Span, *sides: tuple[Type, Expression]) -> Type:
        """All of one dimension; zero fits any."""
        firm = [(kind, node) for kind, node in sides if not kind.any_unit]
        if not firm:
            return sides[0][0]
        expected = firm[0][0]
        for kind, node in firm[1:]:
            if kind.dimension != expected.dimension:
                hint = unit_hint(firm[0], (kind, node))
                raise self._stop(f"{expected} and {kind} do not go together", span, hint)
        return expected

    def _alike(self, span: Span, *nodes: Expression) -> None:
        self._same(span, *((self._numeric(node), node) for node in nodes))

    def _call(self, node: Call) -> Type:
        if node.function == "known":
            return self._asks(node)
        if node.function in ("min", "max", "clamp"):
            return self._same(node.span, *((self._numeric(item), item) for item in node.arguments))
        result = self._numeric(node.arguments[0])
        if node.function != "abs" and result.dimension != NUMBER:
            raise self._stop(
                f"{node.function} takes a plain number, not {result}",
                node.arguments[0].span,
                "divide by a unit first, such as x / 1 MiB",
            )
        return result

    def _asks(self, node: Call) -> Type:
        if not self._may_ask:
            raise self._stop(
                "known(…) belongs in the rows of a table",
                node.span,
                "a verdict must not hang on what happened to be measured",
            )
        if not isinstance(node.arguments[0], Reference):
            raise self._stop("known(…) takes the name of a fact", node.span)
        self._check(node.arguments[0])
        return _TRUTH

    def _aggregated(self, node: Aggregated) -> Type:
        if node.dimension in self._scope:
            raise self._stop(f"the rule already ranges over {node.dimension}", node.span)
        result = self._check(node.body)
        if node.function in ("any", "all"):
            if result.sort not in ("truth", "bool"):
                raise self._stop(f"{node.function}({node.dimension}, …) takes a condition", node.body.span)
            return _TRUTH
        if result.sort != "number":
            raise self._stop(f"{node.function}({node.dimension}, …) takes a figure", node.body.span)
        return result

    def _comparison(self, node: Comparison) -> Type:
        operator, left, right = node.operator, node.left, node.right
        kinds = self._check(left), self._check(right)
        sorts = {kind.sort for kind in kinds}
        if sorts == {"number"}:
            self._same(node.span, (kinds[0], left), (kinds[1], right))
        elif len(sorts) > 1 or "truth" in sorts:
            hint = "a text stands in quotes; a figure, true and false go without"
            raise self._stop(f"{kinds[0]} and {kinds[1]} cannot be compared", node.span, hint)
        elif operator not in ("==", "!="):
            raise self._stop(f"{kinds[0]} has no order", node.span, "use == or !=")
        else:
            self._choice(kinds[0].values, right)
            self._choice(kinds[1].values, left)
        return _TRUTH

    def _choice(self, values: tuple[str, ...], node: Expression) -> None:
        if values and isinstance(node, Text) and node.value not in values:
            hint = did_you_mean(node.value, values) or f"it is one of {', '.join(values)}"
            self._find(f'it is never "{node.value}"', node.span, hint)

    def _membership(self, node: Member) -> Type:
        operand, choices = node.operand, node.choices
        kind = self._check(operand)
        if kind.sort == "number":
            self._alike(node.span, operand, *choices)
            return _TRUTH
        for choice in choices:
            if self._check(choice).sort != kind.sort:
                raise self._stop(f"{kind} is never in a list of other things", choice.span)
            self._choice(kind.values, choice)
        return _TRUTH


_CHECKS: Final[dict[type, Callable[[Checker, Any], Type]]] = {
    Number: Checker._number,
    Text: Checker._text,
    Reference: Checker._reference,
    Named: Checker._named,
    Negative: Checker._negative,
    Arithmetic: Checker._arithmetic,
    Call: Checker._call,
    Aggregated: Checker._aggregated,
    Comparison: Checker._comparison,
    Between: Checker._between,
    Member: Checker._membership,
    Contains: Checker._contains,
}


_EXAMPLES: Final = {TIME: "ms", BYTES: " MiB", RATE: "/s", BANDWIDTH: " MB/s"}


def unit_hint(*sides: tuple[Type, Expression]) -> str:
    """What a bare number could have been written as, where one side is; else what each side is."""
    for (_, node), (other, _) in (sides, sides[::-1]):
        if isinstance(node, Number) and node.unit.dimension == NUMBER and not node.unit.symbol:
            suffix = _EXAMPLES.get(other.dimension)
            if suffix:
                return f"give it a unit, such as {node.value:g}{suffix}"
    return ", ".join(f"{name} is {kind}" for kind, node in sides if (name := _name(node)))


def _name(node: Expression) -> str:
    """What an expression is called, when that is short."""
    match node:
        case Reference():
            return str(node)
        case Named(name):
            return name
        case Number(value, unit, parameter=parameter):
            return f"${parameter}" if parameter else format_value(value, unit)
    return ""


def labels_hint(spec: FactSpec) -> str:
    """The labels a fact may carry, in words."""
    return f"its labels: {', '.join(spec.scope)}" if spec.scope else "it has none, for it speaks of the instance"


def bounds_text(spec: FactSpec) -> str:
    """The range of a fact, as a person reads it."""
    return f"{format_value(spec.low, spec.unit)} to {format_value(spec.high, spec.unit)}"
