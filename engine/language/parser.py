"""
The expression parser: a Pratt parser over a fixed set of tokens, with limits, and never `eval`.

    condition  := value [comparison | between | in | contains] ["for" duration]
    comparison := (">" | ">=" | "<" | "<=" | "==" | "!=") value
    between    := "between" value "and" value
    in         := "in" "[" value {"," value} "]"
    contains   := "contains" text
    value      := term {("+" | "-") term};  term := factor {("*" | "/") factor};  factor := ["-"] primary
    primary    := quantity | text | "true" | "false" | "$" name | name ["{" labels "}"] | call | "(" value ")"
    call       := function "(" value {"," value} ")" | aggregate "(" label "," condition ")"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from engram_diagnose.engine.facts.scope import DIMENSIONS, scope_of
from engram_diagnose.engine.facts.unit import TIME, UNITS, parse_quantity
from engram_diagnose.engine.language.expression import (
    Aggregated,
    Arithmetic,
    Between,
    Call,
    Comparison,
    Contains,
    Expression,
    Member,
    Named,
    Negative,
    Number,
    Reference,
    Span,
    Text,
)
from engram_diagnose.engine.language.holding import LONGEST, held
from engram_diagnose.engine.language.problem import did_you_mean
from engram_diagnose.engine.language.tokens import COMPARISONS, WORDS, ExpressionError, Token, is_name, tokenize

MAX_DEPTH: Final = 24
FUNCTIONS: Final = {
    "min": (1, 16), "max": (1, 16), "abs": (1, 1), "clamp": (3, 3),
    "log10": (1, 1), "ceil": (1, 1), "floor": (1, 1), "next_pow2": (1, 1), "known": (1, 1),
}  # fmt: skip
"""Name to the fewest and most arguments."""

AGGREGATES: Final = ("any", "all", "min", "max", "sum")
RESERVED: Final = frozenset({"true", "false", "current", *WORDS})
"""What a `let` cannot be called."""


@dataclass(frozen=True, slots=True)
class Names:
    """What `$parameters` and bare names stand for; a parameter that could not be read may be any expression."""

    parameters: Mapping[str, Expression]
    lets: Mapping[str, Expression]


NO_NAMES: Final = Names({}, {})


def parse_condition(text: str, names: Names = NO_NAMES) -> Expression:
    """
    A condition, as the grammar of this module has it.

    Raises `ExpressionError` at the first thing that does not fit.
    """
    parser = _Parser(text, names)
    expression = parser.condition()
    parser.expect_end()
    return expression


def parse_value(text: str, names: Names = NO_NAMES) -> Expression:
    """
    A value: the grammar's `value` alone.

    Raises `ExpressionError`.
    """
    if "." in text and is_name(text):
        return parse_reference(text)
    parser = _Parser(text, names)
    expression = parser.value()
    parser.expect_end()
    return expression


@lru_cache(maxsize=8192)
def parse_reference(text: str) -> Reference:
    """
    A fact by name, labels included, and nothing else.

    Raises `ExpressionError`.
    """
    if "." in text and is_name(text):
        return Reference(text, (), Span(0, len(text)))
    parser = _Parser(text, NO_NAMES)
    expression = parser.value()
    parser.expect_end()
    if not isinstance(expression, Reference):
        raise ExpressionError("expected the name of a fact", 0, len(text))
    return expression


class _Parser:
    """`_token` is the next token to be taken, the `end` token behind the last."""

    def __init__(self, text: str, names: Names) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._position = 0
        self._token = self._tokens[0]
        self._depth = 0
        self._names = names

    # Tokens

    def _take(self) -> Token:
        token = self._token
        if token.kind == "end":
            raise self._unfinished()
        self._position += 1
        self._token = self._tokens[self._position]
        return token

    def _accept(self, text: str) -> bool:
        """Take the next token if it is this one. Quotes are part of a text, so no text is ever taken for a word."""
        if self._token.text != text:
            return False
        self._take()
        return True

    def _expect(self, text: str) -> Token:
        token = self._token
        if token.kind == "end":
            raise ExpressionError(f"expected {text!r} at the end", len(self._text), len(self._text) + 1)
        if token.text != text:
            raise ExpressionError(f"expected {text!r}, found {token.text!r}", token.start, token.end)
        return self._take()

    def expect_end(self) -> None:
        token = self._token
        if token.kind != "end":
            hint = _rest_hint(token.text)
            raise ExpressionError(f"{token.text!r} does not belong here", token.start, token.end, hint)

    def _unfinished(self) -> ExpressionError:
        end = len(self._text.rstrip())
        return ExpressionError("the expression ends too early", max(0, end - 1), end, "a value is missing here")

    # Grammar

    def condition(self) -> Expression:
        test = self._test(self.value())
        return self._for(test) if self._accept("for") else test

    def _test(self, left: Expression) -> Expression:
        token = self._token
        if token.kind == "end":
            return left
        if token.text in COMPARISONS:
            self._take()
            right = self.value()
            return Comparison(token.text, left, right, _span(left, right))  # type: ignore[arg-type]
        if self._accept("between"):
            low = self.value()
            self._expect("and")
            high = self.value()
            return Between(left, low, high, _span(left, high))
        if self._accept("in"):
            return self._member(left)
        if self._accept("contains"):
            part = self.value()
            return Contains(left, part, _span(left, part))
        if token.text == "=":
            raise ExpressionError("one = is not a comparison", token.start, token.end, "write ==")
        return left

    def _member(self, left: Expression) -> Expression:
        self._expect("[")
        choices = [self.value()]
        while self._accept(","):
            choices.append(self.value())
        end = self._expect("]").end
        return Member(left, tuple(choices), Span(left.span.start, end))

    def _for(self, test: Expression) -> Expression:
        token = self._take()
        try:
            duration = parse_quantity(token.text)
        except ValueError:
            duration = None
        if token.kind != "number" or duration is None or duration.unit.dimension != TIME:
            raise ExpressionError("`for` takes a duration", token.start, token.end, "such as `for 3m`")
        if not (1 <= duration.value <= LONGEST and duration.value.is_integer()):
            raise ExpressionError("`for` takes whole seconds, from 1s to 30d", token.start, token.end)
        return held(test, int(duration.value), Span(token.start, token.end))

    def value(self) -> Expression:
        self._deeper()
        left = self._term()
        while (operator := self._token.text) in ("+", "-"):
            self._take()
            right = self._term()
            left = Arithmetic(operator, left, right, _span(left, right))  # type: ignore[arg-type]
        self._depth -= 1
        return left

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", 0, len(self._text), "use `let:`")

    def _term(self) -> Expression:
        left = self._factor()
        while (operator := self._token.text) in ("*", "/"):
            self._take()
            right = self._factor()
            left = Arithmetic(operator, left, right, _span(left, right))  # type: ignore[arg-type]
        return left

    def _factor(self) -> Expression:
        start, minuses = self._token.start, 0
        while self._accept("-"):
            minuses += 1
        operand = self._primary()
        if minuses % 2 == 0:
            return operand
        span = Span(start, operand.span.end)
        if isinstance(operand, Number) and operand.kind == "number":
            return Number(-operand.value, operand.unit, "number", operand.parameter, span)
        return Negative(operand, span)

    def _primary(self) -> Expression:
        token = self._take()
        if token.kind == "name":
            return self._named(token)
        if token.kind == "number":
            return _quantity(token)
        if token.kind == "text":
            return Text(_unquote(token.text), "", Span(token.start, token.end))
        if token.kind == "parameter":
            return self._parameter(token)
        if token.text == "(":
            inner = self.value()
            self._expect(")")
            return inner
        raise ExpressionError(f"expected a value, found {token.text!r}", token.start, token.end)

    def _parameter(self, token: Token) -> Expression:
        name = token.text[1:]
        known = self._names.parameters.get(name)
        span = Span(token.start, token.end)
        if isinstance(known, Number):
            return Number(known.value, known.unit, known.kind, name, span)
        if isinstance(known, Text):
            return Text(known.value, name, span)
        if known is not None:
            return known
        raise ExpressionError(f"unknown parameter ${name}", token.start, token.end,
                              did_you_mean(name, self._names.parameters) or "declare it under `params:`")  # fmt: skip

    def _named(self, token: Token) -> Expression:
        name = token.text
        if "." in name:
            return self._reference(token)
        span = Span(token.start, token.end)
        if name in ("true", "false"):
            return Number(float(name == "true"), UNITS[""], "bool", "", span)
        if self._token.text == "(":
            return self._call(token)
        body = self._names.lets.get(name)
        if body is not None:
            return Named(name, body, span)
        if name in WORDS:
            raise ExpressionError(f"expected a value, found {name!r}", token.start, token.end)
        hint = (
            did_you_mean(name, self._names.lets)
            or f'a text stands in quotes: "{name}"; a name of your own under `let:`'
        )
        raise ExpressionError(f"unknown name {name}", token.start, token.end, hint)

    def _reference(self, token: Token) -> Expression:
        if self._token.text != "{":
            return Reference(token.text, (), Span(token.start, token.end))
        labels, end = self._labels()
        try:
            scope = scope_of(labels)
        except ValueError as error:
            raise ExpressionError(str(error), token.start, end) from None
        return Reference(token.text, scope.labels, Span(token.start, end))

    def _labels(self) -> tuple[dict[str, str], int]:
        """`{label=value, …}`, and where it ends."""
        labels: dict[str, str] = {}
        self._expect("{")
        while True:
            name = self._take()
            self._expect("=")
            if name.text in labels:
                raise ExpressionError(f"the label {name.text} stands twice", name.start, name.end)
            labels[name.text] = self._label_value()
            if not self._accept(","):
                return labels, self._expect("}").end

    def _label_value(self) -> str:
        """A quoted text, or everything up to the next comma or brace."""
        first = self._token
        if first.kind == "text":
            return _unquote(self._take().text)
        end = first.start
        while self._token.text not in (",", "}"):
            end = self._take().end
        if end == first.start:
            raise ExpressionError("a label needs a value", first.start, first.end)
        return self._text[first.start : end].strip()

    def _call(self, token: Token) -> Expression:
        self._expect("(")
        if token.text in AGGREGATES and self._token.text in DIMENSIONS:
            return self._aggregate(token)
        if token.text not in FUNCTIONS:
            raise ExpressionError(
                f"unknown function {token.text}",
                token.start,
                token.end,
                did_you_mean(token.text, (*FUNCTIONS, *AGGREGATES)) or f"known: {', '.join(FUNCTIONS)}",
            )
        arguments = [self.value()]
        while self._accept(","):
            arguments.append(self.value())
        end = self._expect(")").end
        fewest, most = FUNCTIONS[token.text]
        if not fewest <= len(arguments) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            message = f"{token.text} takes {wanted} argument{'s' if most > 1 else ''}, not {len(arguments)}"
            raise ExpressionError(message, token.start, end)
        return Call(token.text, tuple(arguments), Span(token.start, end))

    def _aggregate(self, token: Token) -> Expression:
        dimension = self._take().text
        self._expect(",")
        self._deeper()
        body = self._test(self.value())
        self._depth -= 1
        end = self._expect(")").end
        return Aggregated(token.text, dimension, body, Span(token.start, end))  # type: ignore[arg-type]


def _span(left: Expression, right: Expression) -> Span:
    return Span(left.span.start, right.span.end)


def _quantity(token: Token) -> Number:
    try:
        quantity = _parsed(token.text)
    except ValueError as error:
        raise ExpressionError(str(error), token.start, token.end) from None
    return Number(quantity.value, quantity.unit, "number", "", Span(token.start, token.end))


_parsed = lru_cache(maxsize=4096)(parse_quantity)


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _rest_hint(text: str) -> str:
    if text in ("and", "or", "not"):
        return "combine conditions with `all:`, `any:` and `not:`"
    if text in COMPARISONS:
        return "one comparison a condition; use `between … and …`, or `all:`"
    return ""
