"""
`fact > limit for 3m`: a comparison that held through a window.
"""

from typing import Final

from engram_diagnose.engine.language.expression import (
    UNREADABLE,
    Comparison,
    Expression,
    Named,
    Number,
    Reference,
    Span,
)
from engram_diagnose.engine.language.tokens import ExpressionError

LONGEST: Final = 30 * 86400
"""In seconds; Prometheus keeps fifteen days by default."""


def held(test: Expression, seconds: int, duration: Span) -> Expression:
    """
    The comparison of the window's extreme: `fact > limit for 3m` is `fact@min_3m > limit`, every raw sample was above.

    `duration` is where the duration stands. Raises `ExpressionError` for what no window can tell.
    """
    if not isinstance(test, Comparison) or test.operator in ("==", "!="):
        raise ExpressionError("`for` needs a comparison with >, >=, < or <=", duration.start, duration.end)
    left, right = _through_names(test.left), _through_names(test.right)
    if UNREADABLE in (left, right):
        return test
    flipped = isinstance(left, Number)
    fact, limit = (right, left) if flipped else (left, right)
    if not isinstance(fact, Reference) or not _constant(limit):
        raise ExpressionError(
            "`for` needs one fact on one side and a constant or target on the other",
            test.span.start,
            test.span.end,
            "move the arithmetic into a `derive` rule's fact",
        )
    if "@" in fact.name:
        raise ExpressionError("`for` and a window do not go together", fact.span.start, fact.span.end)
    above = (test.operator in (">", ">=")) != flipped
    name = f"{fact.name}@{'min' if above else 'max'}_{_window_text(seconds)}"
    held = Reference(name, fact.labels, fact.span)
    span = Span(test.span.start, duration.end)
    return Comparison(test.operator, limit, held, span) if flipped else Comparison(test.operator, held, limit, span)


def _through_names(node: Expression) -> Expression:
    while isinstance(node, Named) and node is not UNREADABLE:
        node = node.body
    return node


def _constant(node: Expression) -> bool:
    return isinstance(node, Number) or (isinstance(node, Reference) and node.name.startswith("target."))


def _window_text(seconds: int) -> str:
    for scale, suffix in ((3600, "h"), (60, "m")):
        if seconds % scale == 0:
            return f"{seconds // scale}{suffix}"
    return f"{seconds}s"
