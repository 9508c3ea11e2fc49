"""
Everything a rule says, as blocks.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from engram_diagnose.engine.explanation.wording import fact_text, formula
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.language.expression import Condition, Text
from engram_diagnose.engine.language.rule import Case, Evidence, Given, Graded, Parameter, Recommendation, Row, Rule
from engram_diagnose.engine.language.vocabulary import Vocabulary
from engram_diagnose.reference.block import (
    Block,
    Code,
    Heading,
    Items,
    Line,
    Link,
    Paragraph,
    Part,
    Snippet,
    Table,
    items,
    joined,
    line,
    slug,
)
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.words import condition_words, named_in, one_line, written

_SECONDS: Final = UNITS["s"]
_FORMATTED: Final = re.compile(r"\{([^{}:]+):[^{}]*\}")
"""A field of a sentence with a format, which means nothing: figures are printed in their own units."""


def rule_blocks(rule: Rule, index: Index, *, level: int, place: Line, full: bool = True) -> list[Block]:
    """
    A rule from its title to its tests, headed at `level`.

    `place` says where it stands: on a terminal file and line, on a page a link. Unless `full`, conditions stand in
    words alone and the tests are left out.
    """
    parts = (
        _head(rule, index, level, place),
        _conditions(rule, level + 1, full),
        _confidence(rule, index, level + 1),
        _outputs(rule, index, level + 1),
        _relations(rule, index),
        _thresholds(rule, level + 1),
        _advice(rule, level + 1),
        _listed("When it is wrong", rule.falsepositives, level + 1),
        _listed("Sources", rule.refs, level + 1),
        _tests(rule, index.vocabulary, level + 1) if full else (),
    )
    return [block for part in parts for block in part]


def rule_link(name: str) -> Link:
    """A link to a rule's place in the reference."""
    return Link(name, f"rules.md#{slug(name)}")


def fact_link(name: str, index: Index) -> Link:
    """A link to the place of a fact or a setting in the reference."""
    page = "parameters" if name in index.loaded.catalogue.parameters else "facts"
    return Link(name, f"{page}.md#{slug(name)}")


def links(names: Iterable[str]) -> Line:
    """Rules, one after the other."""
    return joined(rule_link(name) for name in names)


def _head(rule: Rule, index: Index, level: int, place: Line) -> Iterator[Block]:
    yield Heading(rule.id, level)
    yield Paragraph((rule.title + ".",))
    ranges = " × ".join(rule.scope) if rule.scope else "the instance"
    facts: list[Line] = [
        (f"{rule.kind}, {_severity(rule)}, {rule.status}; rev {rule.rev} of pack {rule.pack}; ", *place),
        (f"looked at for: {'every ' if rule.scope else ''}{ranges}",),
    ]
    if rule.owner or rule.tags:
        facts.append((f"owner: {rule.owner or 'none'}; tags: {', '.join(rule.tags) or 'none'}",))
    changed = index.loaded.rules.overridden.get(rule.id)
    facts += [(changed,)] if changed else []
    facts += [
        (f"suppressed until {item.expires} by {item.owner}: {item.reason}",)
        for item in index.loaded.rules.suppressions
        if item.rule == rule.id
    ]
    yield items(facts)
    if rule.reason:
        yield Paragraph((rule.reason,))


def _severity(rule: Rule) -> str:
    return f"as severe as {rule.severity_from} says, else {rule.severity}" if rule.severity_from else rule.severity


# --- Conditions and evidence ----------------------------------------------------------------------


def _conditions(rule: Rule, level: int, full: bool) -> Iterator[Block]:
    if rule.applies is not None:
        yield from _condition("Applies only where", rule.applies, level, full)
    if rule.when is not None:
        title = "Missed when" if rule.kind == "symptom" else "Concluded when"
        yield from _condition(title, rule.when, level, full)


def _condition(title: str, condition: Condition, level: int, full: bool) -> Iterator[Block]:
    yield Heading(title, level)
    names = [(0, (f"{name} stands for ", Code(text))) for name, text in named_in([condition]).items()]
    yield Items(tuple((depth, (words,)) for depth, words in condition_words(condition)) + tuple(names))
    if full:
        yield Snippet(written(condition), "yaml")


def _confidence(rule: Rule, index: Index, level: int) -> Iterator[Block]:
    if rule.kind != "cause":
        return
    yield Heading("How sure", level)
    certainty = index.loaded.scales.certainty[rule.when_true]
    yield Paragraph((f"Once that holds it is {rule.when_true} ({_percent(certainty)}). Evidence moves this figure:",))
    if rule.evidence:
        yield Table(("Evidence", "seen", "absent", "counts once with", "because"), tuple(map(_evidence, rule.evidence)))
    else:
        yield Paragraph(("There is no evidence beyond the gate.",))
    names = named_in([condition for piece in rule.evidence for condition in _tested(piece)])
    if names:
        yield items((f"{name} stands for ", Code(text)) for name, text in names.items())
    if rule.impact is not None:
        on = Code(str(rule.impact.on))
        relief = Code(" ".join(rule.impact.text.split()))
        yield Paragraph(("Impact: ", relief, " as a share of what ", on, " misses its target by."))


def _percent(share: float) -> str:
    return format_value(share, UNITS["share"])


def _tested(piece: Evidence | Graded) -> list[Condition]:
    return [piece.condition] if isinstance(piece, Evidence) else [step.condition for step in piece.steps]


def _evidence(piece: Evidence | Graded) -> tuple[Line, ...]:
    if isinstance(piece, Graded):
        tests, seen = [step.condition for step in piece.steps], ", ".join(step.seen for step in piece.steps)
    else:
        tests, seen = [piece.condition], piece.seen
    shown = "; ".join(one_line(test) for test in tests)
    because = _FORMATTED.sub(r"{\1}", piece.because)
    return line(shown), line(seen), line(piece.absent), line(piece.group), line(because)


# --- Tables and derivations -----------------------------------------------------------------------


def _outputs(rule: Rule, index: Index, level: int) -> Iterator[Block]:
    if not rule.outputs:
        return
    yield Heading("Gives", level)
    if rule.value is not None:
        yield items([(fact_link(rule.outputs[""], index), " = ", Code(" ".join(rule.value_text.split())))])
        names = named_in([], [rule.value])
        if names:
            yield items((f"{name} stands for ", Code(text)) for name, text in names.items())
        return
    yield Paragraph(("The first row that holds decides; where a row before it cannot be told, nothing is given.",))
    head = ("When", *rule.outputs.values(), "because")
    yield Table(head, tuple(_row(row, rule) for row in rule.rows))


def _row(row: Row, rule: Rule) -> tuple[Line, ...]:
    when = "else" if row.condition is None else one_line(row.condition)
    values = (formula(row.values[name]) if name in row.values else "" for name in rule.outputs)
    return (line(when), *(line(value) for value in values), line(row.why))


# --- What goes with it ----------------------------------------------------------------------------


def _relations(rule: Rule, index: Index) -> Iterator[Block]:
    found: list[Line] = []
    for title, names in (
        ("tells again, as `info` where one of them is there: ", rule.restates),
        ("explains: ", rule.explains),
        ("explained by: ", index.explained_by.get(rule.id, ())),
        ("while it is there, these are tested again later: ", rule.masks),
        ("not trusted while there is: ", index.masked_by.get(rule.id, ())),
    ):
        if names:
            found.append((title, *links(names)))
    if found:
        yield items(found)


def _thresholds(rule: Rule, level: int) -> Iterator[Block]:
    if rule.params:
        yield Heading("Thresholds", level)
        yield Table(("Name", "value", "bounds", "what it is"), tuple(map(_threshold, rule.params.values())))


def _threshold(parameter: Parameter) -> tuple[Line, ...]:
    value = parameter.value
    if isinstance(value, Text):
        return (Code(parameter.name),), line(f'"{value.value}"'), line(), line(parameter.doc)
    low, high = (format_value(end, value.unit) for end in (parameter.low, parameter.high))
    shown = format_value(value.value, value.unit)
    return (Code(parameter.name),), line(shown), line(f"{low} to {high}"), line(parameter.doc)


def _advice(rule: Rule, level: int) -> Iterator[Block]:
    if rule.recommend:
        yield Heading("What to do", level)
        yield Items(tuple(entry for item in rule.recommend for entry in _recommendation(item)))


def _recommendation(item: Recommendation) -> Iterator[tuple[int, Line]]:
    yield 0, (f"{item.when}: ", *_action(item))
    details: list[tuple[str, Line]] = [("because ", (item.because,)), ("trade-off: ", (item.tradeoff,))]
    if item.condition is not None:
        details.insert(0, ("only if ", (one_line(item.condition),)))
    if item.verify is not None:
        after = format_value(item.verify.after, _SECONDS)
        expected = one_line(item.verify.expect)
        details.append((f"after {after} expect: ", (expected,)))
    for title, text in details:
        if text != ("",):
            yield 1, (title, *text)
    for command in item.commands:
        yield 1, (Code(command),)


def _action(item: Recommendation) -> Line:
    if item.investigate:
        return (item.investigate,)
    settings: list[Part] = [Code(f"{setting.parameter} = {setting.text}") for setting in item.settings]
    return ("set ", *joined(settings))


def _listed(title: str, texts: Iterable[str], level: int) -> Iterator[Block]:
    if texts := tuple(texts):
        yield Heading(title, level)
        yield items((text,) for text in texts)


# --- Tests ----------------------------------------------------------------------------------------


def _tests(rule: Rule, vocabulary: Vocabulary, level: int) -> Iterator[Block]:
    if not rule.cases:
        return
    yield Heading("Tests", level)
    given = ", ".join(_given(item, vocabulary) for item in rule.given)
    yield Paragraph((f"Given {given or 'nothing'}:",))
    yield items(_case(case, vocabulary) for case in rule.cases)


def _given(item: Given, vocabulary: Vocabulary) -> str:
    return f"{item.reference} = {fact_text(item.value, vocabulary.spec(item.reference.name))}"


def _case(case: Case, vocabulary: Vocabulary) -> Line:
    changes = [_given(item, vocabulary) for item in case.change] + [f"without {reference}" for reference in case.drop]
    found = [f"{name} {bound[0]} {_percent(bound[1])}" for name, bound in
             (("confidence", case.confidence), ("impact", case.impact)) if bound is not None]  # fmt: skip
    found += [f"lacks {', '.join(case.missing)}"] if case.missing else []
    found += [_given(item, vocabulary) for item in case.derived]
    found += [f"advises {name} = {fact_text(value, vocabulary.spec(name))}" for name, value in case.advice]
    outcome = f"{case.expect} ({'; '.join(found)})" if found else case.expect
    return (f"{', '.join(changes) or 'as given'}: {outcome}",)
