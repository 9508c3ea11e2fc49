"""
What the expressions of one rule may name, and where their problems go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.language.expression import Expression, Leaf, Reference, Span
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.parser import Names, parse_condition, parse_reference, parse_value
from engram_diagnose.engine.language.problem import Mark, Problems
from engram_diagnose.engine.language.source import Scalar
from engram_diagnose.engine.language.tokens import ExpressionError
from engram_diagnose.engine.language.types import Checker, Let, Type
from engram_diagnose.engine.language.vocabulary import Vocabulary

MAX_SIZE: Final = 2000
"""Nodes an expression may have with its names written out; what walks trees takes that many steps."""


@dataclass(slots=True)
class Context:
    """
    Parses and checks the expressions of one rule against a vocabulary.

    `lets` is what the names read so far stand for, `typed` what those yield. `may_ask` allows `known(fact)`.
    `sentences` gathers texts with fields, which are checked when the rule has been read.
    """

    vocabulary: Vocabulary
    problems: Problems
    scope: tuple[str, ...]
    parameters: Mapping[str, Expression]
    lets: dict[str, Expression]
    typed: dict[str, Let] = field(default_factory=dict)
    may_ask: bool = False
    sentences: list[Scalar] = field(default_factory=list)

    def condition(self, node: Scalar, *, because: str = "") -> Leaf | None:
        """One condition, parsed and checked; None, with problems, when it is no good."""
        try:
            expression = parse_condition(node.text, Names(self.parameters, self.lets))
        except ExpressionError as error:
            self._refuse(node, error)
            return None
        checker = self._checker()
        kind = checker.condition(expression)
        if self._report(checker, node) or kind is None:
            return None
        return Leaf(expression, node.text.strip(), because, node.mark)

    def value(self, node: Scalar) -> tuple[Expression, Type] | None:
        """One value, parsed and checked, with its type; None, with problems, when it is no good."""
        try:
            expression = parse_value(node.text, Names(self.parameters, self.lets))
        except ExpressionError as error:
            self._refuse(node, error)
            return None
        checker = self._checker()
        kind = checker.value(expression)
        return None if self._report(checker, node) or kind is None else (expression, kind)

    def reference(self, node: Scalar) -> Reference | None:
        """A fact by name, labels included, and nothing else; None, with problems, when there is no such fact."""
        known = self.vocabulary.references.get(node.text)
        if known is not None:
            return known
        try:
            reference = parse_reference(node.text)
        except ExpressionError as error:
            self._refuse(node, error)
            return None
        checker = self._checker()
        checker.value(reference)
        if self._report(checker, node):
            return None
        self.vocabulary.references[node.text] = reference
        return reference

    def sentence(self, fields: Fields, key: str) -> str:
        """A text that may have fields."""
        node = fields.node.values.get(key)
        if isinstance(node, Scalar) and "{" in node.text:
            self.sentences.append(node)
        return fields.text(key)

    def spec(self, name: str) -> FactSpec | None:
        """The catalogue's word on a fact."""
        return self.vocabulary.spec(name)

    def with_current(self, parameter: str) -> "Context":
        """The same, with `current` standing for the value of a parameter in effect."""
        return replace(self, lets={**self.lets, "current": Reference(parameter)})

    def _checker(self) -> Checker:
        return Checker(self.vocabulary.spec, self.vocabulary.names, self.scope, lets=self.typed, may_ask=self.may_ask)

    def _refuse(self, node: Scalar, error: ExpressionError) -> None:
        mark, length = place_of(node, Span(error.start, error.end))
        self.problems.error(mark, str(error), hint=error.hint, length=length)

    def _report(self, checker: Checker, node: Scalar) -> bool:
        for finding in checker.findings:
            mark, length = place_of(node, finding.span)
            self.problems.error(mark, finding.message, hint=finding.hint, length=length)
        if checker.size > MAX_SIZE:
            message = f"with its names written out this has more than {MAX_SIZE:,} parts"
            self.problems.error(node.mark, message, hint="move a part into a `derive` rule's fact")
            return True
        return bool(checker.findings)


def place_of(node: Scalar, span: Span) -> tuple[Mark, int]:
    """The place of a span of a scalar's text, and its length; the scalar's start where columns cannot be told."""
    if node.single_line and "\n" not in node.text:
        return node.mark.after(span.start), max(1, span.end - span.start)
    return node.mark, 1
