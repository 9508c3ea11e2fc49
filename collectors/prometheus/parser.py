"""
The parser of PromQL's subset: precedence climbing over the tokens.
"""

import math
from dataclasses import replace
from typing import Final, Literal, cast

from engram_diagnose.collectors.prometheus.expression import (
    AGGREGATIONS,
    COMPARISONS,
    EQUAL_LABELS,
    FUNCTIONS,
    Aggregation,
    Binary,
    Call,
    Expression,
    Kind,
    Matcher,
    Matching,
    MatchOperator,
    Negation,
    Number,
    Selector,
    kind_of,
)
from engram_diagnose.collectors.prometheus.labels import NAME
from engram_diagnose.collectors.prometheus.lexer import PromqlError, Token, milliseconds, tokens_of
from engram_diagnose.collectors.prometheus.pattern import PatternError, pattern_of

MAX_DEPTH: Final = 64

_PRECEDENCE: Final = {**dict.fromkeys(COMPARISONS, 1), "+": 2, "-": 2, "*": 3, "/": 3}
_RESERVED: Final = frozenset({"on", "ignoring", "group_left", "group_right", "bool"})
_SET_OPERATORS: Final = frozenset({"and", "or", "unless", "atan2"})
_UNARY: Final = 4


class Parser:
    """
    Reads one expression; make one for each.

    `depth` counts nested calls, `heights` keeps those of the trees built so far by id.
    """

    def __init__(self, text: str) -> None:
        self.tokens = tokens_of(text)
        self.index = 0
        self.depth = 0
        self.heights: dict[int, int] = {}

    def whole(self) -> Expression:
        expression = self._expression(1)
        if self._token.kind != "end":
            raise self._error(
                f"{self._token} after the expression",
                _why_not(self._token) or "an operator or the end",
            )
        return expression

    @property
    def _token(self) -> Token:
        return self.tokens[self.index]

    @property
    def _following(self) -> Token:
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)]

    def _error(self, message: str, expected: str = "", token: Token | None = None) -> PromqlError:
        return PromqlError(message, position=(token or self._token).position, expected=expected)

    def _next(self) -> Token:
        token = self._token
        self.index += token.kind != "end"
        return token

    def _at(self, *operators: str) -> bool:
        return self._token.kind == "operator" and self._token.value in operators

    def _accept(self, operator: str) -> bool:
        found = self._at(operator)
        self.index += found
        return found

    def _require(self, operator: str) -> None:
        if not self._accept(operator):
            raise self._error(f"found {self._token}", operator)

    def _word(self) -> str:
        """The identifier here in lower case, as keywords are written either way; else empty."""
        return self._token.value.lower() if self._token.kind == "identifier" else ""

    # Expressions

    def _expression(self, lowest: int) -> Expression:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"nested more than {MAX_DEPTH} deep")
        left = self._unary()
        while self._token.kind == "operator" and _PRECEDENCE.get(self._token.value, 0) >= lowest:
            left = self._binary(left)
        self.depth -= 1
        return left

    def _unary(self) -> Expression:
        if not self._at("+", "-"):
            primary = self._primary()
            self._refuse_modifiers()
            return primary
        sign = self._next()
        operand = self._expression(_UNARY)
        if kind_of(operand) == "matrix":
            raise self._error("a sign before a range of samples", "a vector or a number", sign)
        if sign.value == "+":
            return operand
        return Number(-operand.value) if isinstance(operand, Number) else self._tree(Negation(operand), operand)

    def _tree(self, root: Expression, *branches: Expression) -> Expression:
        """`root`, after a look at how high its tree is: `1+1+1+…` nests as deeply as parentheses do."""
        height = 1 + max((self.heights.get(id(branch), 0) for branch in branches), default=0)
        if height > MAX_DEPTH:
            raise self._error(f"more than {MAX_DEPTH} operators in a row")
        self.heights[id(root)] = height
        return root

    def _binary(self, left: Expression) -> Expression:
        operator = self._next()
        as_bool = self._word() == "bool"
        self.index += as_bool
        matching = self._matching()
        right = self._expression(_PRECEDENCE[operator.value] + 1)
        binary = Binary(operator.value, left, right, matching or EQUAL_LABELS, as_bool)
        problem = _binary_problem(binary, kind_of(left), kind_of(right), matched=matching is not None)
        if problem:
            raise self._error(problem, token=operator)
        return self._tree(binary, left, right)

    def _matching(self) -> Matching | None:
        if self._word() not in ("on", "ignoring") or self._following.value != "(":
            return None
        on = self._next().value.lower() == "on"
        matching = Matching(on, self._labels())
        if self._word() not in ("group_left", "group_right"):
            return matching
        many = cast(Literal["left", "right"], self._next().value.lower().removeprefix("group_"))
        include = self._labels() if self._at("(") else ()
        if on and set(include) & set(matching.labels):
            raise self._error("a label in both on(…) and the group")
        return replace(matching, many=many, include=include)

    def _primary(self) -> Expression:
        token = self._token
        if token.kind == "number":
            return Number(self._number(self._next()))
        if self._accept("("):
            inner = self._expression(1)
            self._require(")")
            return inner
        if self._at("{"):
            return self._selector("")
        if token.kind == "identifier":
            return self._named()
        raise self._error(f"found {token}", "a metric, a function, a number or (")

    def _named(self) -> Expression:
        word, following = self._word(), self._following
        grouped = following.value.lower() in ("by", "without") and following.kind == "identifier"
        if word in AGGREGATIONS and (following.value == "(" or grouped):
            return self._aggregation()
        if following.kind == "operator" and following.value == "(":
            return self._call()
        if word in ("inf", "nan"):
            return Number(float(self._next().value))
        if word in _RESERVED:
            raise self._error(f"found {self._token}", "a metric, a function, a number or (")
        return self._selector(self._next().value)

    def _number(self, token: Token) -> float:
        try:
            value = float(int(token.value, 16)) if token.value[:2].lower() == "0x" else float(token.value)
        except (ValueError, OverflowError):
            value = math.inf
        if math.isinf(value):
            raise self._error("a number that is too large", token=token)
        return value

    # Functions and aggregations

    def _aggregation(self) -> Expression:
        operator = self._next().value.lower()
        grouping = self._grouping()
        self._require("(")
        operand = self._expression(1)
        if kind_of(operand) != "vector":
            raise self._error(f"{operator} of {_an(kind_of(operand))}", "a vector")
        self._require(")")
        without, labels = grouping or self._grouping() or (False, ())
        return self._tree(Aggregation(operator, operand, labels, without), operand)

    def _grouping(self) -> tuple[bool, tuple[str, ...]] | None:
        if self._word() not in ("by", "without"):
            return None
        return self._next().value.lower() == "without", self._labels()

    def _labels(self) -> tuple[str, ...]:
        self._require("(")
        labels: list[str] = []
        while not self._accept(")"):
            labels.append(self._label())
            if not self._at(")"):
                self._require(",")
        return tuple(dict.fromkeys(labels))

    def _label(self) -> str:
        token = self._next()
        if token.kind != "identifier" or ":" in token.value:
            raise self._error(f"found {token}", "a label name", token)
        return token.value

    def _call(self) -> Expression:
        name = self._next()
        kinds = FUNCTIONS.get(name.value)
        if kinds is None:
            raise self._error(
                f"{name.value} is not supported",
                ", ".join(sorted(AGGREGATIONS | set(FUNCTIONS))),
                name,
            )
        self._require("(")
        arguments: list[Expression] = []
        if not self._accept(")"):
            arguments.append(self._expression(1))
            while self._accept(","):
                arguments.append(self._expression(1))
            self._require(")")
        self._check_arguments(name, kinds, tuple(map(kind_of, arguments)))
        return self._tree(Call(name.value, tuple(arguments)), *arguments)

    def _check_arguments(self, name: Token, kinds: tuple[Kind, ...], found: tuple[Kind, ...]) -> None:
        if kinds != found:
            given = ", ".join(map(_an, found)) or "nothing"
            expected = ", ".join(map(_an, kinds)) or "nothing"
            raise self._error(f"{name.value} of {given}", expected, name)

    # Selectors

    def _selector(self, name: str) -> Expression:
        start = self._token
        matchers = self._matchers() if self._at("{") else ()
        names = [matcher for matcher in matchers if matcher.label == NAME]
        if names and not name and len(names) == 1 and names[0].operator == "=":
            name, matchers = (
                names[0].value,
                tuple(matcher for matcher in matchers if matcher is not names[0]),
            )
        elif names:
            name = ""
        if not name:
            raise self._error("a selector that does not name one metric", 'such as name{label="value"}', start)
        return self._modified(Selector(name, matchers))

    def _matchers(self) -> tuple[Matcher, ...]:
        self._require("{")
        matchers: list[Matcher] = []
        while not self._accept("}"):
            matchers.append(self._matcher())
            if not self._at("}"):
                self._require(",")
        return tuple(matchers)

    def _matcher(self) -> Matcher:
        label = self._label()
        if not self._at("=", "!=", "=~", "!~"):
            raise self._error(f"found {self._token}", "=, !=, =~ or !~")
        operator = cast(MatchOperator, self._next().value)
        value = self._next()
        if value.kind != "string":
            raise self._error(f"found {value}", "a string in quotes", value)
        if operator in ("=~", "!~"):
            self._check_pattern(value)
        return Matcher(label, operator, value.value)

    def _check_pattern(self, token: Token) -> None:
        try:
            pattern_of(token.value)
        except PatternError as error:
            raise self._error(str(error), token=token) from None

    def _modified(self, selector: Selector) -> Selector:
        """A selector with the range and offset behind it."""
        if self._accept("["):
            selector = replace(selector, range_ms=self._range())
        if self._word() == "offset":
            self._next()
            sign = -1 if self._accept("-") else 1
            selector = replace(selector, offset_ms=sign * self._duration())
        if self._at("["):
            raise self._error("a range after this", "the range directly behind the selector")
        return selector

    def _range(self) -> int:
        opening = self._token
        range_ms = self._duration()
        if self._token.value.startswith(":"):  # `:1m` is read as a name, which may begin so
            raise self._error("a subquery is not supported", "]")
        self._require("]")
        if range_ms <= 0:
            raise self._error("a range of nothing", "such as [5m]", opening)
        return range_ms

    def _refuse_modifiers(self) -> None:
        if self._at("["):
            expected = "a range directly behind a selector"
            raise self._error("a subquery is not supported", expected)
        if self._word() == "offset":
            expected = "an offset directly behind a selector"
            raise self._error("an offset of something computed", expected)

    def _duration(self) -> int:
        token = self._next()
        if token.kind not in ("duration", "number"):
            raise self._error(f"found {token}", "a duration such as 5m", token)
        return milliseconds(token)


def _an(kind: Kind) -> str:
    return {"scalar": "a number", "vector": "a vector", "matrix": "a range of samples"}[kind]


def _binary_problem(binary: Binary, left: Kind, right: Kind, *, matched: bool) -> str:
    """What is wrong with the operands of an operator; empty when nothing is."""
    scalars = (left, right).count("scalar")
    if "matrix" in (left, right):
        return f"{binary.operator} of a range of samples"
    if binary.as_bool and binary.operator not in COMPARISONS:
        return "bool belongs to a comparison"
    if scalars and matched:
        return "on(…) and ignoring(…) join two vectors"
    if scalars == 2 and binary.operator in COMPARISONS and not binary.as_bool:
        return "a comparison of two numbers needs bool"
    return ""


def _why_not(token: Token) -> str:
    """What would have been right in place of PromQL that is not supported."""
    if token.value in ("%", "^", "@") or token.value.lower() in _SET_OPERATORS:
        return f"only + - * / and comparisons; {token.value} is not supported"
    return ""
