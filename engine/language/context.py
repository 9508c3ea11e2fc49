"""
What the expressions of one rule may name, and where their problems go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.language.expression import Expression, Leaf, Number, Span, Text
from engram_diagnose.engine.language.parser import (
    ExpressionError,
    Names,
    parse_condition,
    parse_value,
)
from engram_diagnose.engine.language.problem import Mark, Problems
from engram_diagnose.engine.language.source import Scalar
from engram_diagnose.engine.language.types import Checker, Type
from engram_diagnose.engine.language.vocabulary import Vocabulary


@dataclass(slots=True)
class Context:
    """Parses and checks the expressions of one rule against a vocabulary; `may_ask` allows `known(fact)`."""

    vocabulary: Vocabulary
    problems: Problems
    scope: tuple[str, ...]
    parameters: Mapping[str, Number | Text]
    lets: dict[str, Expression]
    may_ask: bool = False

    def condition(self, node: Scalar, *, because: str = "") -> Leaf | None:
        """One condition, parsed and checked; None, with problems, when it is no good."""
        expression = self._parse(node, as_condition=True)
        if expression is None:
            return None
        checker = self._checker()
        checker.condition(expression)
        if self._report(checker, node):
            return None
        return Leaf(expression, node.text.strip(), because, node.mark)

    def value(self, node: Scalar) -> tuple[Expression, Type] | None:
        """One value, parsed and checked, with its type."""
        expression = self._parse(node, as_condition=False)
        if expression is None:
            return None
        checker = self._checker()
        kind = checker.value(expression)
        return None if self._report(checker, node) or kind is None else (expression, kind)

    def spec(self, name: str) -> FactSpec | None:
        """The catalogue's word on a fact."""
        return self.vocabulary.spec(name)

    def _checker(self) -> Checker:
        return Checker(self.vocabulary.spec, self.vocabulary.names, self.scope, may_ask=self.may_ask)

    def _parse(self, node: Scalar, *, as_condition: bool) -> Expression | None:
        names = Names(self.parameters, self.lets)
        try:
            return parse_condition(node.text, names) if as_condition else parse_value(node.text, names)
        except ExpressionError as error:
            place = place_of(node, Span(error.start, error.end))
            self.problems.error(place[0], str(error), hint=error.hint, length=place[1])
            return None

    def _report(self, checker: Checker, node: Scalar) -> bool:
        for finding in checker.findings:
            mark, length = place_of(node, finding.span)
            self.problems.error(mark, finding.message, hint=finding.hint, length=length)
        return bool(checker.findings)


def place_of(node: Scalar, span: Span) -> tuple[Mark, int]:
    """The place of a span of a scalar's text, and its length; the scalar's start where columns cannot be told."""
    if node.single_line and "\n" not in node.text:
        return node.mark.after(span.start), max(1, span.end - span.start)
    return node.mark, 1
