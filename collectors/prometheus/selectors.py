"""
Selectors in PromQL, narrowed: matchers added to each, in a text or in a tree.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple

from engram_diagnose.collectors.prometheus.expression import (
    Aggregation,
    Binary,
    Call,
    Expression,
    Matcher,
    Negation,
    Number,
    Selector,
)
from engram_diagnose.collectors.prometheus.labels import BUCKET, clean, escaped
from engram_diagnose.collectors.prometheus.lexer import PromqlError, Token, tokens_of
from engram_diagnose.collectors.prometheus.promql import WINDOW, parse

_AS_LONG: Final = "5m".ljust(len(WINDOW))
"""Some window, as many characters as the placeholder has, so that positions stay right."""

_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.A)
_BEFORE_LABELS: Final = frozenset({"by", "without", "on", "ignoring", "group_left", "group_right"})
_KEYWORDS: Final = _BEFORE_LABELS | {"and", "or", "unless", "atan2", "bool", "offset", "inf", "nan"}
_CLOSING: Final = {"(": ")", "[": "]", "{": "}"}


class _Insertion(NamedTuple):
    """Text to put before the character at `position`."""

    position: int
    text: str


def quoted_value(value: str) -> str:
    """
    A label value as a PromQL string.

    Lone surrogates, which no label value holds, are replaced; U+FFFD is written as an escape, since Prometheus takes
    the character itself for a byte that cannot be decoded.
    """
    return '"' + escaped(clean(value)).replace("\ufffd", r"\ufffd") + '"'


def narrowed(text: str, matchers: Mapping[str, str]) -> str:
    """
    `text` with `label="value"` added to every selector: bare names, names with braces, ranges, braces alone.

    Matchers that are there stay, also those on the same label, so that a selector never takes in more than it did.
    Everything else stays as it was written, `$window` included. The set operators, subqueries and functions that are
    not evaluated here are let through. Raises `PromqlError` for a text that cannot be read, and for a label name that
    is none.
    """
    for label in matchers:
        if not _LABEL.fullmatch(label):
            raise PromqlError(f"{label!r} is no label name", position=0, expected="letters, digits and _")
    tokens = tokens_of(text.replace(WINDOW, _AS_LONG))
    _refuse_unbalanced(tokens)
    result = _inserted(text, _insertions(tokens, matchers))
    _check(text, result)
    return result


def _inserted(text: str, insertions: Iterable[_Insertion]) -> str:
    parts, done = [], 0
    for insertion in insertions:
        parts += [text[done : insertion.position], insertion.text]
        done = insertion.position
    return "".join([*parts, text[done:]])


def _insertions(tokens: Sequence[Token], matchers: Mapping[str, str]) -> Iterator[_Insertion]:
    index = 0
    while tokens[index].kind != "end":
        token, following = tokens[index], tokens[index + 1]
        if _is(token, "[") or (_is(following, "(") and _word(token) in _BEFORE_LABELS):
            index = _end_of(tokens, index if _is(token, "[") else index + 1)
        elif _is(token, "{"):
            end = _end_of(tokens, index)
            yield _in_braces(tokens[index + 1 : end], tokens[end], matchers)
            index = end
        elif _names_metric(token, following):
            yield _Insertion(token.position + len(token.value), _braces(matchers))
        index += 1


def _names_metric(token: Token, following: Token) -> bool:
    """Whether a token is a metric's name without braces: no function, aggregation or keyword."""
    if token.kind != "identifier" or _word(token) in _KEYWORDS:
        return False
    return not _is(following, "(", "{") and _word(following) not in ("by", "without")


def _in_braces(inside: Sequence[Token], end: Token, matchers: Mapping[str, str]) -> _Insertion:
    kept = {(label.value, value.value) for label, sign, value in zip(inside, inside[1:], inside[2:], strict=False)
            if _is(sign, "=")}  # fmt: skip
    added = [f"{label}={quoted_value(value)}" for label, value in matchers.items() if (label, value) not in kept]
    comma = "," if added and inside and not _is(inside[-1], ",") else ""
    return _Insertion(end.position, comma + ",".join(added))


def _braces(matchers: Mapping[str, str]) -> str:
    body = ",".join(f"{label}={quoted_value(value)}" for label, value in matchers.items())
    return f"{{{body}}}" if body else ""


def _is(token: Token, *operators: str) -> bool:
    return token.kind == "operator" and token.value in operators


def _word(token: Token) -> str:
    return token.value.lower() if token.kind == "identifier" else ""


def _end_of(tokens: Sequence[Token], opening: int) -> int:
    """The index of the bracket that closes the one at `opening`; brackets are balanced."""
    depth = 0
    for index in range(opening, len(tokens)):
        depth += _is(tokens[index], *_CLOSING) - _is(tokens[index], *_CLOSING.values())
        if not depth:
            return index
    raise AssertionError("brackets were balanced")


def _refuse_unbalanced(tokens: Iterable[Token]) -> None:
    waiting: list[Token] = []
    for token in tokens:
        if _is(token, *_CLOSING):
            waiting.append(token)
        elif _is(token, *_CLOSING.values()) and (not waiting or _CLOSING[waiting.pop().value] != token.value):
            raise PromqlError(f"{token} closes nothing", position=token.position)
    if waiting:
        raise PromqlError(f"{waiting[-1]} is not closed", position=waiting[-1].position)


def _check(text: str, result: str) -> None:
    """Refuse a result that does not read where the text did, which would be a fault of ours."""
    try:
        parse(text.replace(WINDOW, _AS_LONG))
    except PromqlError:
        tokens_of(result.replace(WINDOW, _AS_LONG))
        return
    parse(result.replace(WINDOW, _AS_LONG))


# Trees


def pinned(expression: Expression, matchers: Iterable[Matcher]) -> Expression:
    """
    The part of an expression's result whose labels fit, as an expression.

    A matcher is added to the selectors whose label the result carries and to no others: in a share of a whole, the
    whole stays whole.
    """
    for matcher in matchers:
        expression = _pinned(expression, matcher)
    return expression


def _pinned(expression: Expression, matcher: Matcher) -> Expression:
    match expression:
        case Selector():
            return replace(expression, matchers=(*expression.matchers, matcher))
        case Aggregation():
            if (matcher.label in expression.labels) is expression.without:
                return expression
            return replace(expression, operand=_pinned(expression.operand, matcher))
        case Negation():
            return Negation(_pinned(expression.operand, matcher))
        case Call():
            return replace(expression, arguments=tuple(_pinned(one, matcher) for one in expression.arguments))
        case Binary():
            return replace(expression, left=_pinned(expression.left, matcher), right=_pinned(expression.right, matcher))
    return expression


def is_single(expression: Expression) -> bool:
    """Whether an expression gives one figure without labels at most, whatever series there are."""
    match expression:
        case Number():
            return True
        case Aggregation():
            return not expression.labels and not expression.without
        case Negation():
            return is_single(expression.operand)
        case Call("histogram_quantile", (share, Aggregation(labels=labels, without=False))):
            return is_single(share) and set(labels) <= {BUCKET}
        case Call():
            return all(map(is_single, expression.arguments))
        case Binary():
            return is_single(expression.left) and is_single(expression.right)
    return False
