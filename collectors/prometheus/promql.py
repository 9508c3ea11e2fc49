"""
The part of PromQL that dialects are written in, as an expression tree.

Selectors with matchers, range and offset; numbers; `+ - * /` and comparisons with `on`, `ignoring`,
`group_left` and `group_right`; `sum avg min max count`, `by` or `without`; the functions of
`FUNCTIONS`. The rest of the language is refused with its position, by `unsupported` when rules are
loaded rather than in the middle of an incident.
"""

from functools import lru_cache
from typing import Final

from engram_diagnose.collectors.prometheus.expression import Expression, Selector, kind_of, shared
from engram_diagnose.collectors.prometheus.lexer import PromqlError, format_duration
from engram_diagnose.collectors.prometheus.parser import Parser

__all__ = ["WINDOW", "PromqlError", "parse", "parse_counter", "unsupported", "with_window"]

WINDOW: Final = "$window"
_AS_LONG: Final = "5m     "
"""Some window, as many characters as the placeholder has, so that positions stay right."""


@lru_cache(maxsize=4096)
def with_window(text: str, seconds: float) -> str:
    """`text` with every `$window` filled in."""
    return text.replace(WINDOW, format_duration(seconds))


@lru_cache(maxsize=4096)
def parse(text: str) -> Expression:
    """
    The tree of an expression whose `$window` was filled in.

    Raises `PromqlError` with position and what was expected.
    """
    return shared(Parser(text).whole())


def parse_counter(text: str) -> Selector:
    """
    The tree of a plain instant selector, such as a dialect names a counter by.

    Raises `PromqlError` for anything else.
    """
    expression = parse(text)
    if not isinstance(expression, Selector) or expression.range_ms or expression.offset_ms:
        raise PromqlError(
            "a counter is named by a plain selector",
            position=0,
            expected='such as name{label="value"}',
        )
    return expression


def unsupported(text: str, *, counter: bool = False) -> str | None:
    """Why an expression (or, with `counter`, a counter's selector) cannot be evaluated here; None when it can."""
    try:
        expression = parse_counter(text) if counter else parse(text.replace(WINDOW, _AS_LONG))
        if kind_of(expression) == "matrix":
            raise PromqlError("a range of samples is no figure", position=0, expected="a function such as rate")
    except PromqlError as error:
        return str(error)
    return None
