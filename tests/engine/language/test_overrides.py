"""What a site changes in the built-in rules."""

from pathlib import Path

import pytest

from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.language.expression import All, leaves
from engram_diagnose.engine.language.loader import Loaded, load
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.engine.rule_tests import run_tests
from engram_diagnose.rulebase import builtin_files

CATALOGUE = {name: data for name, data in builtin_files().items() if "/catalogue/" in name or "/dialects/" in name}
BASE = {"base.yaml": (Path(__file__).parent / "fixtures" / "base.yaml").read_bytes()}
HEAD = "schema: engram-diagnose/rules/v1\npack: site.fra1\n"
WAL = "base.write-amplification"


def override(rule: str, rev: int, rest: str, *, expires: str = "2027-03-31") -> str:
    return f"  - {{rule: {rule}, expect_rev: {rev}, reason: it is so here, owner: us, expires: {expires}, {rest}}}\n"


def loaded(*overrides: str, today: str = "2026-11-22") -> Loaded:
    return load(CATALOGUE, [BASE, {"site.yaml": f"{HEAD}overrides:\n{''.join(overrides)}".encode()}], today=today)


def test_parameters_and_severity_are_laid_over() -> None:
    base = loaded(override(WAL, 4, "set: {params.amp_max: 6, severity: info}")).rules
    rule = base.rules[WAL]
    assert (rule.severity, rule.params["amp_max"].value.value) == ("info", 6.0)
    assert rule.pack == "base"
    assert base.overridden == {WAL: "changed by site.fra1 (us): it is so here"}


def test_appended_conditions_must_hold_as_well() -> None:
    rule = loaded(override(WAL, 4, 'append: {when.all: ["cpu.busy < 50%"]}')).rules.rules[WAL]
    assert isinstance(rule.when, All)
    assert [leaf.text for leaf in leaves(rule.when)][-1] == "cpu.busy < 50%"


def test_a_gate_that_is_one_condition_can_be_appended_to() -> None:
    rule = loaded(override("base.store-slow", 1, 'append: {when.all: ["ops.rate > 10/s"]}')).rules.rules[
        "base.store-slow"
    ]
    assert isinstance(rule.when, All)
    assert len(rule.when.items) == 2


def test_a_disabled_rule_is_gone_and_whoever_names_it_is_left_alone() -> None:
    base = loaded(override("base.store-slow", 1, "disable: true")).rules
    assert "base.store-slow" not in base.rules
    assert base.overridden == {"base.store-slow": "disabled by site.fra1 (us): it is so here"}


def test_the_tests_of_an_override_replace_the_built_in_ones() -> None:
    tests = "tests: [{change: {wal.bytes_written@rate_5m: 80 MB/s}, expect: fires}, {expect: refuted}]"
    base = loaded(override(WAL, 4, f"set: {{params.amp_max: 6}}, {tests}"))
    rule = base.rules.rules[WAL]
    results = run_tests(expert(base), [rule])
    assert len(rule.cases) == 2
    assert [result.failure for result in results if result.failure] == []


def test_two_overrides_of_one_rule_add_up() -> None:
    rule = loaded(
        override(WAL, 4, "set: {params.amp_max: 6}"),
        override(WAL, 4, 'set: {severity: info}, append: {when.all: ["cpu.busy < 50%"]}'),
    ).rules.rules[WAL]
    assert (rule.severity, rule.params["amp_max"].value.value) == ("info", 6.0)
    assert [leaf.text for leaf in leaves(rule.when)][-1] == "cpu.busy < 50%" if rule.when else False


@pytest.mark.parametrize(("today", "applies"), [("2027-03-31", True), ("2027-04-01", False)])
def test_an_override_holds_through_its_last_day(today: str, applies: bool) -> None:
    base = loaded(override(WAL, 4, "set: {severity: info}"), today=today)
    assert (base.rules.rules[WAL].severity == "info") is applies
    assert len(base.warnings) == (0 if applies else 1)


def test_an_expired_override_may_be_of_another_rev_and_of_a_rule_that_is_gone() -> None:
    base = loaded(
        override(WAL, 1, "set: {severity: info}", expires="2026-01-01"),
        override("storage.gone", 1, "disable: true", expires="2026-01-01"),
    )
    assert [warning.mark.line for warning in base.warnings] == [4, 5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (override(WAL, 4, "set: {params.amp_max: 5ms}"), "amp_max is a plain number, not a time"),
        (override(WAL, 4, "append: {when.any: [cpu.busy > 1%]}"), "an override cannot append to 'when.any'"),
        (
            override(WAL, 4, "append: {when.all: [cpu.busy > 1 MiB]}"),
            "a plain number and an amount of data do not go together",
        ),
        (override(WAL, 4, "set: [severity]"), "set of the override must be a mapping, not a list"),
        (override(WAL, 4, "set: {params.amp_max: [1]}"), "params.amp_max takes one value"),
        (override(WAL, 4, "disable: yes"), "disable must be true or false, not 'yes'"),
        ("  - storage.x\n", "overrides is a list of mappings"),
        (override(WAL, 4, "disable: true") + override(WAL, 4, "disable: true"), f"there is no rule {WAL}"),
    ],
)
def test_a_wrong_override_is_told(text: str, message: str) -> None:
    with pytest.raises(RuleBaseError) as raised:
        loaded(text)
    assert [problem.message for problem in raised.value.problems] == [message]


def test_suppressions_are_read_and_end_with_their_day() -> None:
    text = f"{HEAD}suppressions:\n" + "".join(
        f"  - {{rule: base.huge-pages-off, scope: {{instance: 'e:7432'}}, reason: r, owner: o, expires: {day}}}\n"
        for day in ("2026-11-22", "2026-11-21")
    )
    base = load(CATALOGUE, [BASE, {"site.yaml": text.encode()}], today="2026-11-22")
    assert [(s.rule, dict(s.scope), s.expires) for s in base.rules.suppressions] == [
        ("base.huge-pages-off", {"instance": "e:7432"}, "2026-11-22")
    ]
    assert len(base.warnings) == 1
