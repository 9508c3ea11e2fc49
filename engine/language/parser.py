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
from typing import Final, NamedTuple

from engram_diagnose.engine.facts.scope import DIMENSIONS, scope_of
from engram_diagnose.engine.facts.unit import NUMBER, TIME, UNITS, parse_quantity
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
from engram_diagnose.engine.language.problem import did_you_mean

MAX_TOKENS: Final = 256
MAX_DEPTH: Final = 24

FUNCTIONS: Final = {
    "min": (1, 16), "max": (1, 16), "abs": (1, 1), "clamp": (3, 3),
    "log10": (1, 1), "ceil": (1, 1), "floor": (1, 1), "next_pow2": (1, 1), "known": (1, 1),
}  # fmt: skip
"""Name to the fewest and most arguments."""

AGGREGATES: Final = ("any", "all", "min", "max", "sum")

_UNIT: Final = "|".join(re.escape(u) for u in sorted(UNITS, key=len, reverse=True) if u and u[0] != "/")
_TOKEN: Final = re.compile(
    rf"""
      (?P<number>(?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?
         (?:(?:/(?:s|min|h)(?![\w.]))|(?:\s*(?:{_UNIT})(?![\w.]))|(?:\s*%))?)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<parameter>\$[A-Za-z_]\w*)
    | (?P<name>[A-Za-z_]\w*(?:\.\w+(?:-\w+)*)*(?:@\w+)?)
    | (?P<operator>>=|<=|==|!=|[-+*/(),><\[\]{{}}=])
    | (?P<space>\s+)
    """,
    re.VERBOSE,
)
_COMPARISONS: Final = (">", ">=", "<", "<=", "==", "!=")
_WORDS: Final = ("between", "and", "in", "contains", "for")


class ExpressionError(ValueError):
    """What is wrong in an expression, at `start`..`end` of its text, and a hint."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.start, self.end, self.hint = start, max(end, start + 1), hint


class Token(NamedTuple):
    """One token; `kind` is the group that matched."""

    kind: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Names:
    """What `$parameters` and bare names stand for."""

    parameters: Mapping[str, Number | Text]
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
    parser = _Parser(text, names)
    expression = parser.value()
    parser.expect_end()
    return expression


def parse_reference(text: str) -> Reference:
    """
    A fact by name, labels included, and nothing else.

    Raises `ExpressionError`.
    """
    expression = parse_value(text)
    if not isinstance(expression, Reference):
        raise ExpressionError("expected the name of a fact", 0, len(text))
    return expression


def tokenize(text: str) -> list[Token]:
    """The tokens of an expression; raises `ExpressionError` at a character that starts none."""
    tokens: list[Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ExpressionError(f"{text[position]!r} does not belong here", position, position + 1,
                                  _character_hint(text[position]))  # fmt: skip
        if match.lastgroup != "space":
            tokens.append(Token(match.lastgroup or "", match.group(), position, match.end()))
        position = match.end()
        if len(tokens) > MAX_TOKENS:
            raise ExpressionError(f"more than {MAX_TOKENS} tokens", position, position + 1,
                                  "split it with `let:`")  # fmt: skip
    return tokens


def _character_hint(character: str) -> str:
    return {
        "&": "use `all:` and `any:`",
        "|": "use `any:`",
        "!": "use `not:` or `!=`",
        "≥": "write >=",
        "≤": "write <=",
    }.get(character, "")


class _Parser:
    def __init__(self, text: str, names: Names) -> None:
        self._text = text
        self._tokens = tokenize(text)
        self._position = 0
        self._depth = 0
        self._names = names

    # Tokens

    def _peek(self) -> Token | None:
        return self._tokens[self._position] if self._position < len(self._tokens) else None

    def _take(self) -> Token:
        token = self._peek()
        if token is None:
            raise self._unfinished()
        self._position += 1
        return token

    def _accept(self, *texts: str) -> Token | None:
        token = self._peek()
        if token is not None and token.text in texts and token.kind in ("operator", "name"):
            self._position += 1
            return token
        return None

    def _expect(self, text: str) -> Token:
        token = self._peek()
        if token is None:
            raise ExpressionError(f"expected {text!r} at the end", len(self._text), len(self._text) + 1)
        if token.text != text:
            raise ExpressionError(f"expected {text!r}, found {token.text!r}", token.start, token.end)
        return self._take()

    def expect_end(self) -> None:
        token = self._peek()
        if token is not None:
            raise ExpressionError(
                f"{token.text!r} does not belong here",
                token.start,
                token.end,
                _rest_hint(token.text),
            )

    def _unfinished(self) -> ExpressionError:
        end = len(self._text.rstrip())
        return ExpressionError("the expression ends too early", max(0, end - 1), end, "a value is missing here")

    # Grammar

    def condition(self) -> Expression:
        left = self.value()
        test = self._test(left)
        return self._for(test) if self._accept("for") else test

    def _test(self, left: Expression) -> Expression:
        token = self._peek()
        if token is None:
            return left
        if token.text in _COMPARISONS:
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
        if token.kind != "number" or duration is None or duration.unit.dimension != TIME or duration.value < 1:
            raise ExpressionError("`for` takes a duration", token.start, token.end, "such as `for 3m`")
        return _held(test, duration.value, token)

    def value(self) -> Expression:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", 0, len(self._text), "use `let:`")
        left = self._term()
        while token := self._accept("+", "-"):
            right = self._term()
            left = Arithmetic(token.text, left, right, _span(left, right))  # type: ignore[arg-type]
        self._depth -= 1
        return left

    def _term(self) -> Expression:
        left = self._factor()
        while token := self._accept("*", "/"):
            right = self._factor()
            left = Arithmetic(token.text, left, right, _span(left, right))  # type: ignore[arg-type]
        return left

    def _factor(self) -> Expression:
        minuses = 0
        start = self._peek()
        while self._accept("-"):
            minuses += 1
        operand = self._primary()
        if minuses % 2 and start is not None:
            if isinstance(operand, Number) and operand.kind == "number":
                return Number(
                    -operand.value,
                    operand.unit,
                    "number",
                    operand.parameter,
                    Span(start.start, operand.span.end),
                )
            return Negative(operand, Span(start.start, operand.span.end))
        return operand

    def _primary(self) -> Expression:
        token = self._take()
        span = Span(token.start, token.end)
        if token.kind == "number":
            return _quantity(token)
        if token.kind == "text":
            return Text(_unquote(token.text), "", span)
        if token.kind == "parameter":
            return self._parameter(token)
        if token.kind == "name":
            return self._named(token)
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
        raise ExpressionError(f"unknown parameter ${name}", token.start, token.end,
                              did_you_mean(name, self._names.parameters) or "declare it under `params:`")  # fmt: skip

    def _named(self, token: Token) -> Expression:
        span = Span(token.start, token.end)
        if token.text in ("true", "false"):
            return Number(float(token.text == "true"), UNITS[""], "bool", "", span)
        following = self._peek()
        if following is not None and following.text == "(" and "." not in token.text:
            return self._call(token)
        if token.text in self._names.lets:
            return Named(token.text, self._names.lets[token.text], span)
        if token.text in _WORDS:
            raise ExpressionError(f"expected a value, found {token.text!r}", token.start, token.end)
        if "." not in token.text:
            hint = did_you_mean(token.text, self._names.lets) or 'declare it under `let:`, or put text in quotes: "…"'
            raise ExpressionError(f"unknown name {token.text}", token.start, token.end, hint)
        return self._reference(token)

    def _reference(self, token: Token) -> Expression:
        labels: dict[str, str] = {}
        end = token.end
        if self._accept("{"):
            while True:
                name = self._take()
                self._expect("=")
                labels[name.text] = self._label_value()
                if not self._accept(","):
                    break
            end = self._expect("}").end
        try:
            scope = scope_of(labels)
        except ValueError as error:
            raise ExpressionError(str(error), token.start, end) from None
        return Reference(token.text, scope.labels, Span(token.start, end))

    def _label_value(self) -> str:
        """A quoted text, or everything up to the next comma or brace."""
        first = self._take()
        if first.kind == "text":
            return _unquote(first.text)
        end = first.end
        while (token := self._peek()) is not None and token.text not in (",", "}"):
            end = self._take().end
        return self._text[first.start : end].strip()

    def _call(self, token: Token) -> Expression:
        self._expect("(")
        first = self._peek()
        if token.text in AGGREGATES and first is not None and first.text in DIMENSIONS:
            return self._aggregate(token)
        if token.text not in FUNCTIONS:
            raise ExpressionError(f"unknown function {token.text}", token.start, token.end,
                                  did_you_mean(token.text, (*FUNCTIONS, *AGGREGATES)) or f"known: {', '.join(FUNCTIONS)}")  # fmt: skip
        arguments = [self.value()]
        while self._accept(","):
            arguments.append(self.value())
        end = self._expect(")").end
        fewest, most = FUNCTIONS[token.text]
        if not fewest <= len(arguments) <= most:
            wanted = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(f"{token.text} takes {wanted} arguments, not {len(arguments)}", token.start, end)
        return Call(token.text, tuple(arguments), Span(token.start, end))

    def _aggregate(self, token: Token) -> Expression:
        dimension = self._take().text
        self._expect(",")
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH} levels", 0, len(self._text))
        body = self._test(self.value())
        self._depth -= 1
        end = self._expect(")").end
        return Aggregated(token.text, dimension, body, Span(token.start, end))  # type: ignore[arg-type]


def _span(left: Expression, right: Expression) -> Span:
    return Span(left.span.start, right.span.end)


def _quantity(token: Token) -> Number:
    try:
        quantity = parse_quantity(token.text)
    except ValueError as error:
        raise ExpressionError(str(error), token.start, token.end) from None
    return Number(quantity.value, quantity.unit, "number", "", Span(token.start, token.end))


def _unquote(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[:1] in "\"'" else text


def _held(test: Expression, seconds: float, token: Token) -> Expression:
    """`fact > limit for 3m` is `fact@min_3m > limit`: every raw sample of the window was above."""
    if not isinstance(test, Comparison) or test.operator in ("==", "!="):
        raise ExpressionError("`for` needs a comparison with >, >=, < or <=", token.start, token.end)
    left, right = _through_names(test.left), _through_names(test.right)
    flipped = isinstance(left, Number)
    fact, limit = (right, left) if flipped else (left, right)
    if not isinstance(fact, Reference) or not _constant(limit):
        raise ExpressionError("`for` needs one fact on one side and a constant or target on the other",
                              test.span.start, test.span.end, "move the arithmetic into a `derive` rule's fact")  # fmt: skip
    if "@" in fact.name:
        raise ExpressionError("`for` and a window do not go together", fact.span.start, fact.span.end)
    above = (test.operator in (">", ">=")) != flipped
    name = f"{fact.name}@{'min' if above else 'max'}_{_window_text(seconds)}"
    held = Reference(name, fact.labels, fact.span)
    span = Span(test.span.start, token.end)
    return Comparison(test.operator, limit, held, span) if flipped else Comparison(test.operator, held, limit, span)


def _through_names(node: Expression) -> Expression:
    return _through_names(node.body) if isinstance(node, Named) else node


def _constant(node: Expression) -> bool:
    return isinstance(node, Number) or (isinstance(node, Reference) and node.name.startswith("target."))


def _window_text(seconds: float) -> str:
    for scale, suffix in ((3600, "h"), (60, "m")):
        if seconds % scale == 0:
            return f"{int(seconds // scale)}{suffix}"
    return f"{int(seconds)}s"


def _rest_hint(text: str) -> str:
    if text in ("and", "or", "not"):
        return "combine conditions with `all:`, `any:` and `not:`"
    if text in _COMPARISONS:
        return "one comparison a condition; use `between … and …`, or `all:`"
    return ""


def is_dimensionless(number: Number) -> bool:
    """Whether a literal has no unit that matters: a plain number, or zero, which fits every unit."""
    return number.value == 0 or number.unit.dimension == NUMBER
