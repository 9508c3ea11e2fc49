"""
What a PromQL expression is made of, once it was read.

Every node is immutable and hashable, so that one sub-expression is evaluated once an instant.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

from engram_diagnose.collectors.prometheus.labels import escaped
from engram_diagnose.collectors.prometheus.pattern import pattern_of

Kind = Literal["scalar", "vector", "matrix"]
MatchOperator = Literal["=", "!=", "=~", "!~"]


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label; a label that is not there has the empty value."""

    label: str
    operator: MatchOperator
    value: str

    def accepts(self, value: str) -> bool:
        """Whether a series whose label has this value passes."""
        if self.operator in ("=", "!="):
            return (value == self.value) == (self.operator == "=")
        return pattern_of(self.value).matches(value) == (self.operator == "=~")


@dataclass(frozen=True, slots=True)
class Number:
    """A number, also a negative one."""

    value: float


@dataclass(frozen=True, slots=True)
class Selector:
    """
    `name{matchers}[range] offset …`, in milliseconds; `range_ms` 0 is an instant selector.

    As text it is name and matchers alone.
    """

    name: str
    matchers: tuple[Matcher, ...] = ()
    range_ms: int = 0
    offset_ms: int = 0

    def __str__(self) -> str:
        body = ",".join(f'{m.label}{m.operator}"{escaped(m.value)}"' for m in self.matchers)
        return self.name + (f"{{{body}}}" if body else "")


@dataclass(frozen=True, slots=True)
class Negation:
    """Unary minus on a vector."""

    operand: "Expression"


@dataclass(frozen=True, slots=True)
class Call:
    """A function of `FUNCTIONS` with as many arguments of the kinds as that says."""

    function: str
    arguments: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Aggregation:
    """`sum by (labels) (operand)`, or `without`."""

    operator: str
    operand: "Expression"
    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True, slots=True)
class Matching:
    """
    How two vectors are joined.

    `on` joins on `labels` alone, else on all but these. `many` tells which side may have several
    series for one of the other (`group_left`: left), and `include` which labels are taken over from
    the one side.
    """

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["", "left", "right"] = ""
    include: tuple[str, ...] = ()


EQUAL_LABELS: Final = Matching()


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic, or a comparison, which filters unless `as_bool`."""

    operator: str
    left: "Expression"
    right: "Expression"
    matching: Matching = EQUAL_LABELS
    as_bool: bool = False


Expression = Number | Selector | Negation | Call | Aggregation | Binary

AGGREGATIONS: Final = frozenset({"sum", "avg", "min", "max", "count"})
COMPARISONS: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})

_OVER_RANGE: Final = (
    "rate increase irate delta deriv changes resets avg_over_time min_over_time max_over_time "
    "sum_over_time last_over_time count_over_time"
)
FUNCTIONS: Final[dict[str, tuple[Kind, ...]]] = {
    **dict.fromkeys(_OVER_RANGE.split(), ("matrix",)),
    "histogram_quantile": ("scalar", "vector"),
    "histogram_count": ("vector",),
    "histogram_sum": ("vector",),
    "clamp_min": ("vector", "scalar"),
    "clamp_max": ("vector", "scalar"),
    "abs": ("vector",),
    "time": (),
}
"""The kinds of each function's arguments. All give a vector, but `time`, which gives a scalar."""


def shared(expression: Expression) -> Expression:
    """The same expression, made of one object for each of its equal parts: these are evaluated once an instant."""
    match expression:
        case Negation() | Aggregation():
            expression = replace(expression, operand=shared(expression.operand))
        case Call():
            expression = replace(expression, arguments=tuple(map(shared, expression.arguments)))
        case Binary():
            expression = replace(expression, left=shared(expression.left), right=shared(expression.right))
    return _first(expression)


@lru_cache(maxsize=16384)
def _first(expression: Expression) -> Expression:
    """The first one that was equal."""
    return expression


def kind_of(expression: Expression) -> Kind:
    """What an expression evaluates to."""
    match expression:
        case Number() | Call("time"):
            return "scalar"
        case Selector():
            return "matrix" if expression.range_ms else "vector"
        case Binary():
            sides = kind_of(expression.left), kind_of(expression.right)
            return "scalar" if sides == ("scalar", "scalar") else "vector"
        case Negation():
            return kind_of(expression.operand)
    return "vector"


def selectors_in(expression: Expression) -> Iterator[Selector]:
    """Every selector, from left to right."""
    match expression:
        case Selector():
            yield expression
        case Negation() | Aggregation():
            yield from selectors_in(expression.operand)
        case Call():
            for argument in expression.arguments:
                yield from selectors_in(argument)
        case Binary():
            yield from selectors_in(expression.left)
            yield from selectors_in(expression.right)


def longest_range_ms(expression: Expression) -> int:
    """The longest range in the expression; 0 when it has none."""
    return max((selector.range_ms for selector in selectors_in(expression)), default=0)
