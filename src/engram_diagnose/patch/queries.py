"""
Tests of the rule language as PromQL.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from itertools import combinations
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.expression import Number
from engram_diagnose.collectors.prometheus.lexer import MAX_CHARACTERS, tokens_of
from engram_diagnose.collectors.prometheus.merging import promql_of
from engram_diagnose.engine.facts import interval
from engram_diagnose.engine.facts.catalogue import split_window
from engram_diagnose.engine.facts.fact import Interval, Value, point
from engram_diagnose.engine.facts.scope import Scope
from engram_diagnose.engine.language import expression as tree
from engram_diagnose.engine.language.vocabulary import TARGET_PREFIX
from engram_diagnose.patch.figures import Deployment, UnsayableError, figure, why_none

_MOST_CHOICES: Final = 64
"""Combinations of an `at_least` that are written out."""

_STANDING: Final = frozenset({"config", "kernels"})
"""Origins of facts that stay as they are while the server runs: settings, and what the host can attain."""


@dataclass(frozen=True, slots=True)
class Query:
    """PromQL, or None and the reason why there is none."""

    promql: str | None
    reason: str = ""


def condition_query(condition: tree.Condition, scope: Scope, deployment: Deployment) -> Query:
    """
    A condition as PromQL: one series where it holds, none where it does not or is not known.

    Facts that Prometheus has are asked for; derived ones are written out; settings, targets, tables' results and
    figures of the past stand as the numbers that the deployment has for them.
    """
    try:
        said = _Said(deployment).condition(condition, scope)
    except UnsayableError as error:
        return Query(None, str(error))
    if isinstance(said, bool):
        return Query(None, "nothing in it changes in Prometheus")
    return Query(said.text)


class _Vector(NamedTuple):
    """PromQL that gives one series without labels at most; `tight` where it needs no parentheses."""

    text: str
    tight: bool = False


_Operand = _Vector | float | str
"""A float is a number that is known now, a str a text that is."""

_Truth = _Vector | bool

_FLIPPED: Final = {">": "<=", ">=": "<", "<": ">=", "<=": ">", "==": "!=", "!=": "=="}
_DECIDE: Final[dict[str, Callable[[float, float], bool]]] = {
    ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
_PLAIN_FUNCTIONS: Final = {"abs": "abs({})", "log10": "log10({})", "ceil": "ceil({})", "floor": "floor({})",
                           "next_pow2": "2 ^ ceil(log2({}))"}  # fmt: skip


class _Said:
    """Says conditions and expressions for one deployment. Every method raises `UnsayableError`."""

    def __init__(self, deployment: Deployment) -> None:
        self._at = deployment
        self._makers = {name: (rule, key) for rule in deployment.rules.values() for key, name in rule.outputs.items()}

    # Truths

    def condition(self, condition: tree.Condition, scope: Scope, *, wanted: bool = True) -> _Truth:
        """The condition, or with `wanted` False its opposite: unknown is neither."""
        match condition:
            case tree.Leaf(test):
                return self._test(test, scope, wanted=wanted)
            case tree.Not(item):
                return self.condition(item, scope, wanted=not wanted)
            case tree.All(items) | tree.AnyOf(items):
                parts = [self.condition(item, scope, wanted=wanted) for item in items]
                return _joined(parts, every=isinstance(condition, tree.All) is wanted)
            case tree.AtLeast(count, items):
                if math.comb(len(items), count) > _MOST_CHOICES:
                    raise UnsayableError(f"{count} of {len(items)} tests are too many combinations")
                choices = tuple(tree.All(choice) for choice in combinations(items, count))
                return self.condition(tree.AnyOf(choices), scope, wanted=wanted)

    def _test(self, test: tree.Expression, scope: Scope, *, wanted: bool) -> _Truth:
        match test:
            case tree.Comparison(sign, left, right):
                return _compared(
                    sign if wanted else _FLIPPED[sign], self._value(left, scope), self._value(right, scope)
                )
            case tree.Between(operand, low, high):
                inside = tree.All((_leaf(">=", operand, low), _leaf("<=", operand, high)))
                return self.condition(inside, scope, wanted=wanted)
            case tree.Member(operand, choices):
                one = tree.AnyOf(tuple(_leaf("==", operand, choice) for choice in choices))
                return self.condition(one, scope, wanted=wanted)
            case tree.Named(_, body):
                return self._test(body, scope, wanted=wanted)
            case tree.Contains(operand, part):
                whole, piece = self._value(operand, scope), self._value(part, scope)
                if isinstance(whole, str) and isinstance(piece, str):
                    return (piece in whole) is wanted
                raise UnsayableError("it looks into a text")
            case tree.Call("known") | tree.Aggregated():
                raise UnsayableError(_why_not(test))
        return _compared("==", self._value(test, scope), 1.0 if wanted else 0.0)

    # Values

    def _value(self, node: tree.Expression, scope: Scope) -> _Operand:
        match node:
            case tree.Number(value):
                return value
            case tree.Text(text):
                return text
            case tree.Named(_, body):
                return self._value(body, scope)
            case tree.Reference():
                return self._reference(node, scope.with_labels(dict(node.labels)))
            case tree.Negative(operand):
                return _arithmetic("-", 0.0, self._value(operand, scope))
            case tree.Arithmetic(sign, left, right):
                return _arithmetic(sign, self._value(left, scope), self._value(right, scope))
            case tree.Call(function, arguments) if function != "known":
                return _called(function, [_figure(self._value(one, scope)) for one in arguments])
        raise UnsayableError(_why_not(node))

    def _reference(self, reference: tree.Reference, scope: Scope) -> _Operand:
        name = reference.name
        value = self._at.settings.get(name)
        if value is None and self._stands(name):
            value = self._at.memory.value(name, scope)
        if value is not None:
            return _constant(str(reference), value)
        try:
            text = figure(name, scope, self._at)
        except UnsayableError:
            return self._made(reference, scope)
        return _Vector(text, tight=_is_call(text))

    def _made(self, reference: tree.Reference, scope: Scope) -> _Operand:
        """A fact that Prometheus does not have: what it is derived from."""
        name = reference.name
        rule, _ = self._makers.get(name, (None, ""))
        if rule is not None and rule.value is not None:
            return self._value(rule.value, scope.project(rule.scope))
        if self._stands(name):
            raise UnsayableError(f"{reference} is not known")
        if rule is not None:
            raise UnsayableError(f"{reference} is chosen among what was measured, by {rule.id}")
        raise UnsayableError(why_none(name, scope, self._at))

    def _stands(self, name: str) -> bool:
        """Whether a fact has one figure for good, as far as this patch is concerned."""
        base, window = split_window(name)
        if name.startswith(TARGET_PREFIX) or (window is not None and window.kind in ("before", "baseline")):
            return True
        if base not in self._makers:
            spec = self._at.catalogue.spec(base)
            return spec is not None and spec.origin in _STANDING
        return all(self._stands(reference.name) for value in self._values(base) for reference in tree.references(value))

    def _values(self, name: str) -> list[tree.Expression]:
        """What a rule that makes a fact may give it as value."""
        rule, key = self._makers[name]
        rows = [row.values[key] for row in rule.rows if key in row.values]
        return rows if rule.value is None else [*rows, rule.value]


def _leaf(sign: tree.ComparisonOperator, left: tree.Expression, right: tree.Expression) -> tree.Leaf:
    return tree.Leaf(tree.Comparison(sign, left, right))


def _why_not(node: tree.Expression) -> str:
    if isinstance(node, tree.Aggregated):
        return f"it ranges over every {node.dimension}"
    if isinstance(node, tree.Call):
        return "it asks what is known"
    return "it is a test and no figure"


def _constant(name: str, value: Value | None) -> float | str:
    if value is None:
        raise UnsayableError(f"{name} is not known")
    return value if isinstance(value, str) else _middle(name, value)


def _middle(name: str, value: Interval) -> float:
    """What an interval counts as."""
    middle = value[0] if value[0] == value[1] else (value[0] + value[1]) / 2
    if not math.isfinite(middle):
        raise UnsayableError(f"{name} is not known well enough")
    return middle


def _joined(parts: list[_Truth], *, every: bool) -> _Truth:
    """All of the parts, or any of them. What is decided already is left out, or decides the whole."""
    if any(part is not every for part in parts if isinstance(part, bool)):
        return not every
    open_ = list(dict.fromkeys(part for part in parts if isinstance(part, _Vector)))
    if not open_:
        return every
    word = " and on () " if every else " or on () "
    return open_[0] if len(open_) == 1 else _vector(word.join(f"({part.text})" for part in open_))


def _compared(sign: str, left: _Operand, right: _Operand) -> _Truth:
    if isinstance(left, str) or isinstance(right, str):
        if isinstance(left, str) and isinstance(right, str):
            return (left == right) is (sign == "==")
        raise UnsayableError("it compares a text")
    if isinstance(left, float) and isinstance(right, float):
        return _DECIDE[sign](left, right)
    return _vector(f"{_enclosed(left)} {sign} {_enclosed(right)}")


def _arithmetic(sign: str, left: _Operand, right: _Operand) -> _Vector | float:
    left, right = _figure(left), _figure(right)
    if isinstance(left, float) and isinstance(right, float):
        return _folded(interval.OPERATORS[sign](point(left), point(right)))
    return _vector(f"{_enclosed(left)} {sign} {_enclosed(right)}")


def _called(function: str, arguments: list[_Vector | float]) -> _Vector | float:
    known = [argument for argument in arguments if isinstance(argument, float)]
    if len(known) == len(arguments):
        return _folded(interval.FUNCTIONS[function](*map(point, known)))
    if function in ("min", "max"):
        return reduce(lambda left, right: _extreme(function, left, right), arguments)
    if function == "clamp":
        return _extreme("min", _extreme("max", arguments[0], arguments[1]), arguments[2])
    return _vector(_PLAIN_FUNCTIONS[function].format(_text(arguments[0])), tight=function != "next_pow2")


def _extreme(function: str, left: _Vector | float, right: _Vector | float) -> _Vector | float:
    """The lesser or greater of two; none where either is not known."""
    if isinstance(left, float) and isinstance(right, float):
        return _folded(interval.FUNCTIONS[function](point(left), point(right)))
    if isinstance(left, float):
        left, right = right, left
    if isinstance(right, float):
        clamp = "clamp_max" if function == "min" else "clamp_min"
        return _vector(f"{clamp}({_text(left)}, {_text(right)})", tight=True)
    sign, other = ("<", "<=") if function == "min" else (">", ">=")
    a, b = _enclosed(left), _enclosed(right)
    return _vector(f"({a} {sign} {b}) or on () ({b} {other} {a})")


def _figure(operand: _Operand) -> _Vector | float:
    if isinstance(operand, str):
        raise UnsayableError("it calculates with a text")
    return operand


def _folded(value: interval.Maybe) -> float:
    if value is None:
        raise UnsayableError("it does not come to a figure")
    return _middle("it", value)


def _vector(text: str, *, tight: bool = False) -> _Vector:
    if len(text) > MAX_CHARACTERS:
        raise UnsayableError(f"it takes more than {MAX_CHARACTERS:,} characters")
    return _Vector(text, tight)


def _text(operand: _Vector | float) -> str:
    return operand.text if isinstance(operand, _Vector) else promql_of(Number(operand))


def _enclosed(operand: _Vector | float) -> str:
    text = _text(operand)
    bare = operand.tight if isinstance(operand, _Vector) else operand >= 0
    return text if bare else f"({text})"


def _is_call(text: str) -> bool:
    """Whether a text is one call, such as `sum(…)`: the parenthesis it opens first is the one it closes last."""
    tokens = tokens_of(text)[:-1]
    depth = 0
    for index, token in enumerate(tokens[1:], 1):
        depth += (token.kind, token.value) == ("operator", "(")
        depth -= (token.kind, token.value) == ("operator", ")")
        if not depth:
            return index == len(tokens) - 1 and tokens[0].kind == "identifier" and index > 1
    return False
