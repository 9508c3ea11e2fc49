"""
Checks that need the whole rule base: names between rules, circles, outputs, and what each rule says as a whole.
"""

from collections.abc import Container, Mapping
from typing import Final

from engram_diagnose.engine.language.decidable import check_contradictions, check_decidable
from engram_diagnose.engine.language.directions import check_directions
from engram_diagnose.engine.language.expression import All, Condition
from engram_diagnose.engine.language.lints import Provided, check_gate
from engram_diagnose.engine.language.problem import Problems, did_you_mean
from engram_diagnose.engine.language.rule import Rule, RuleBase
from engram_diagnose.engine.language.stages import advice_conditions, circle_in, conditions_of, layers, stages, writes
from engram_diagnose.engine.language.vocabulary import Vocabulary

_NAMES: Final = (("explains", "symptom"), ("masks", "cause"), ("restates", "symptom"))


def check_rule_base(
    base: RuleBase, vocabulary: Vocabulary, problems: Problems, *, site_files: Container[str] = ()
) -> None:
    """Add what is wrong between and within the rules to `problems`; `site_files` are those that are not built in."""
    _check_circles(base.rules, problems)
    ids = {kind: frozenset(rule.id for rule in base.rules.values() if rule.kind == kind) for _, kind in _NAMES}
    written = frozenset(name for rule in base.rules.values() for name in writes(rule))
    provided = Provided(vocabulary.catalogue, written, site_files)
    producers: dict[str, str] = {}
    for rule in base.rules.values():
        problems.rule = rule.id
        _check_names(rule, base, ids, vocabulary, problems)
        _check_outputs(rule, producers, problems)
        if rule.id in vocabulary.catalogue.facts:
            problems.error(
                rule.mark, f"{rule.id} is the name of a fact", hint="give the rule another id", length=len(rule.id)
            )
        conditions = tuple(conditions_of(rule))
        check_decidable(rule, (*conditions, *advice_conditions(rule)), vocabulary, problems)
        check_contradictions(rule, _held_together(rule, conditions), problems)
        check_directions(rule, base.rules, vocabulary.catalogue, problems)
        check_gate(rule, vocabulary, problems)
        provided.check(rule, vocabulary, problems)
    problems.rule = ""


def _held_together(rule: Rule, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
    """The conditions of a rule, with the two that must both hold as one."""
    if rule.applies is None or rule.when is None:
        return conditions
    return (All((rule.applies, rule.when)), *conditions[2:])


def _check_circles(rules: Mapping[str, Rule], problems: Problems) -> None:
    left = dict(rules)
    while circle := stages(left)[1]:
        _complain(circle, "read", "a fact must be complete before a rule reads it", rules, problems)
        for name in circle:
            del left[name]
    masks = {rule.id: set(rule.masks) & rules.keys() for rule in rules.values()}
    layers(masks)
    if masks:
        hint = "each would hide the other, and the report would show neither"
        _complain(circle_in(masks), "mask", hint, rules, problems)


def _complain(circle: tuple[str, ...], word: str, hint: str, rules: Mapping[str, Rule], problems: Problems) -> None:
    path = " -> ".join((*circle, circle[0]))
    mark, length = rules[circle[0]].mark, len(circle[0])
    problems.error(mark, f"these rules {word} one another in a circle: {path}", hint=hint, length=length)


def _check_names(
    rule: Rule, base: RuleBase, ids: Mapping[str, frozenset[str]], vocabulary: Vocabulary, problems: Problems
) -> None:
    for key, kind in _NAMES:
        for name in getattr(rule, key):
            if name in ids[kind] or (name not in base.rules and vocabulary.is_rule(name)):
                continue  # the latter: it is disabled, or could not be read
            what = f"a {base.rules[name].kind}" if name in base.rules else "nothing"
            problems.error(
                rule.places.get(name, rule.mark),
                f"{key} of {rule.id} names {name}, which is {what}",
                length=len(name),
                hint=did_you_mean(name, sorted(ids[kind])) or f"it takes the id of a {kind}",
            )


def _check_outputs(rule: Rule, producers: dict[str, str], problems: Problems) -> None:
    for name in rule.outputs.values():
        if producers.setdefault(name, rule.id) != rule.id:
            problems.error(rule.mark, f"{name} is given by {producers[name]} already", length=len(rule.id),
                           hint="one rule gives a fact; a table with more rows can do it for both")  # fmt: skip
