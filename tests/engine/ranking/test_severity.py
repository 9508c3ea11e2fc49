"""A symptom that somebody else tells is as severe as they say, and never counts beside the figures that show it."""

import pytest

from engram_diagnose.engine.diagnosis import Diagnosis, Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.language.loader import load
from engram_diagnose.engine.language.problem import RuleBaseError

CATALOGUE = """
schema: engram-diagnose/catalogue/v1
facts:
  sign.slow: {type: bool, scope: [space], origin: prometheus, doc: a sign}
  sign.log: {type: bool, scope: [space], origin: prometheus, doc: a sign}
  alert.name: {type: text, scope: [alert], origin: alert, doc: its name}
  alert.severity: {type: text, scope: [alert], origin: alert, doc: what it says}
""".replace("type:", "kind:")
INFERENCE = """
schema: engram-diagnose/inference/v1
certainty: {possible: 30%, likely: 60%, near-certain: 90%}
likelihood_ratio: {weak: 2, moderate: 5, strong: 20, decisive: 100}
tie_margin: 1%
order: {severity: {info: 25%, warning: 50%, critical: 100%}, slight: 25%, full: 2, stood: 25%}
"""
RULES = """
schema: engram-diagnose/rules/v1
pack: test
rules:
  - {id: symptom.slow, rev: 1, kind: symptom, title: Slow, severity: warning, scope: [space], when: sign.slow}
  - {id: symptom.told, rev: 1, kind: symptom, title: Told, severity: info, severity_from: alert.severity,
     restates: [symptom.slow], scope: [alert], when: alert.name == "Slow"}
  - {id: cause.log, rev: 1, kind: cause, title: Log, when_true: likely, scope: [space], when: sign.log,
     explains: [symptom.slow]}
"""
A, SLOW = scope_of({"alert": "a"}), scope_of({"space": "x"})


def told(severity: str | None = "critical", scope: Scope = A) -> list[Fact]:
    said = [Fact("alert.severity", severity, scope=scope)] if severity is not None else []
    return [Fact("alert.name", "Slow", scope=scope), *said]


def sign(name: str, value: bool = True) -> Fact:
    return Fact(f"sign.{name}", point(float(value)), scope=SLOW)


def files(rules: str = RULES) -> dict[str, bytes]:
    texts = {"catalogue": CATALOGUE, "inference": INFERENCE, "rules": rules}
    return {f"{name}.yaml": text.encode() for name, text in texts.items()}


def diagnosed(*facts: Fact, more: str = "") -> Diagnosis:
    base = expert(load(files(RULES + more), today="2026-01-01"))
    return base.diagnose(facts, Subject("db1:7432", "db1", 1.0))


def severities(found: Diagnosis) -> dict[str, str]:
    return {firing.rule.id: firing.rule.severity for firing in found.missed()}


@pytest.mark.parametrize("severity", ["critical", "warning", "info"])
def test_alone_it_is_as_severe_as_it_says(severity: str) -> None:
    assert severities(diagnosed(*told(severity))) == {"symptom.told": severity}
    assert severities(diagnosed(*told(severity), sign("slow", False))) == {"symptom.told": severity}


@pytest.mark.parametrize("severity", [None, "page", ""])
def test_where_it_says_none_of_the_three_the_rules_severity_stands(severity: str | None) -> None:
    assert severities(diagnosed(*told(severity))) == {"symptom.told": "info"}


def test_each_is_as_severe_as_it_says_itself() -> None:
    found = diagnosed(*told("warning"), *told("critical", scope_of({"alert": "b"})))
    assert [(str(firing.scope), firing.rule.severity) for firing in found.missed()] == [
        ("{alert=b}", "critical"),
        ("{alert=a}", "warning"),
    ]


def test_beside_the_figures_it_is_info_and_they_lead() -> None:
    found = diagnosed(*told("critical"), sign("slow"))
    assert severities(found) == {"symptom.slow": "warning", "symptom.told": "info"}
    assert next(iter(severities(found))) == "symptom.slow"
    assert document(found)["verdict"]["severity"] == "warning"


def test_what_explains_the_figures_explains_what_is_told_in_whatever_part_of_the_server() -> None:
    cause = diagnosed(*told("critical"), sign("slow"), sign("log")).causes[0]
    assert [firing.rule.id for firing in cause.explained] == ["symptom.slow", "symptom.told"]
    assert cause.severity == "warning"


def test_where_only_the_alert_tells_of_it_the_cause_is_as_severe_as_the_alert() -> None:
    cause = diagnosed(*told("critical"), sign("log")).causes[0]
    assert ([firing.rule.id for firing in cause.explained], cause.severity) == (["symptom.told"], "critical")


def test_a_site_that_sets_the_severity_is_heard_above_the_alert() -> None:
    override = """
overrides:
  - {rule: symptom.told, expect_rev: 1, set: {severity: info}, reason: ours, owner: us, expires: 2026-12-31}
"""
    assert severities(diagnosed(*told("critical"), more=override)) == {"symptom.told": "info"}


def test_the_severity_of_the_rule_base_is_untouched() -> None:
    found = diagnosed(*told("critical"))
    assert found.rules.rules["symptom.told"].severity == "info"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("alert.severity,\n", "alert.severty,\n", "did you mean alert.severity"),
        ("alert.severity,\n", "sign.slow,\n", "sign.slow is not a fact that is a text"),
        ("restates: [symptom.slow]", "restates: [symptom.slw]", "did you mean symptom.slow"),
        ("restates: [symptom.slow]", "restates: [cause.log]", "which is a cause"),
        ("explains: [symptom.slow]", "explains: [symptom.slow], restates: [symptom.slow]", "another kind of rule"),
    ],
)
def test_what_it_restates_and_asks_must_be_there(old: str, new: str, said: str) -> None:
    with pytest.raises(RuleBaseError) as error:
        load(files(RULES.replace(old, new)), today="2026-01-01")
    assert said in "\n".join(f"{problem.message} {problem.hint}" for problem in error.value.problems)


def test_a_fact_of_the_whole_instance_is_heard_as_well() -> None:
    assert severities(diagnosed(*told("critical", INSTANCE))) == {"symptom.told": "critical"}
