"""What counts as a change is read strictly, each problem at its place, and only when something is compared."""

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from engram_diagnose.engine.comparison.policy import Policy
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.deferred import deferred_kind
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.problem import RuleBaseError
from engram_diagnose.rulebase import load_rules
from engram_diagnose.rulecheck import check_rules

SHIPPED = Path(__file__).parents[3] / "rules" / "catalogue" / "comparison.yaml"
TEXT = SHIPPED.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return load_rules()


def read(loaded: Loaded, text: str) -> Policy:
    return read_comparison({"f.yaml": text}, loaded.catalogue, loaded.rules.rules)


def problems(loaded: Loaded, old: str, new: str) -> list[str]:
    assert old in TEXT
    with pytest.raises(RuleBaseError) as error:
        read(loaded, TEXT.replace(old, new, 1))
    return [str(problem) for problem in error.value.problems]


def test_the_shipped_file_is_read_and_every_rule_it_names_is_there(loaded: Loaded) -> None:
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    assert {one.rule for one in policy.regressions} == {
        name for name, rule in loaded.rules.rules.items() if "regression" in rule.tags and rule.kind == "symptom"
    }
    assert policy.figure("op.latency.p99") is not None
    assert 0.5 < policy.confidence < 1


def test_loading_the_rules_does_not_parse_it() -> None:
    assert deferred_kind(TEXT) == "comparison"
    assert not deferred_kind(TEXT.replace("comparison/v1", "comparison/v2"))
    assert not deferred_kind("# schema: engram-diagnose/comparison/v1\nschema: engram-diagnose/rules/v1")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("confidence: 95%", "confidence: 5%", "confidence is a share from 0.5 to 1"),
        ("confidence: 95%", "confidense: 95%", "no key 'confidense'"),
        ("runs: 8", "runs: 1", "runs is at least 2"),
        ("independent: 2", "independent: 0.5", "independent is at least 1"),
        ("longest: 1min", "longest: 1", "longest is a time, not a plain number"),
        ("span: 30min", "span: 0s", "span is more than 0"),
        ("[ops.rate, client.connections]", "[ops.rte]", "unknown fact ops.rte"),
        ("op.latency.p99: {change", "op.latency.p98: {change", "unknown fact op.latency.p98"),
        ("least: 0.1ms", "least: 0.1", "least is a time, not a plain number"),
        ("op.error_share: {better: lower, ", "op.error_share: {", "lacks 'better'"),
        ("activation.cache_hit_ratio: {change", "activation.cache_hit_ratio: {better: lower, change", "targets say"),
        (
            "worsens: true, ratio: true}\n  # The tail",
            "worsens: yes, ratio: true}\n  # The tail",
            "worsens must be true or false",
        ),
        ("limit: rise", "limit: rice", "has no parameter rice"),
        ("sense: rise", "sense: up", "sense is never 'up'"),
        (", share_of: clients", "", "lacks 'share_of'"),
        (
            "symptom.p99-regressed: {on: op.latency.p99, limit: rise, sense: rise}",
            "symptom.p99-regressed: x",
            "mapping",
        ),
        ("clients: client.connections", "clients: server.version", "server.version is no figure"),
    ],
)
def test_a_problem_is_named_at_its_place(loaded: Loaded, old: str, new: str, says: str) -> None:
    found = problems(loaded, old, new)
    line = TEXT[: TEXT.index(old)].count("\n") + 1
    assert any(says in one and one.startswith(f"f.yaml:{line}:") for one in found), found


def test_all_problems_are_named_at_once(loaded: Loaded) -> None:
    with pytest.raises(RuleBaseError) as error:
        read(loaded, TEXT.replace("runs: 8", "runs: 0").replace("sense: fall", "sense: down").replace("95%\n", "2\n"))
    assert len(error.value.problems) == 3


def test_a_rule_that_a_site_disabled_may_be_named(loaded: Loaded) -> None:
    rules = {name: rule for name, rule in loaded.rules.rules.items() if name != "symptom.p99-regressed"}
    assert read_comparison({"f.yaml": TEXT}, loaded.catalogue, rules).regressions


def test_without_the_file_the_installation_is_incomplete(loaded: Loaded) -> None:
    with pytest.raises(RuleBaseError, match="no file with schema engram-diagnose/comparison/v1"):
        read_comparison({"other.yaml": "schema: x"}, loaded.catalogue, loaded.rules.rules)


def test_a_site_may_put_its_own_in_its_place_and_a_check_sees_what_is_wrong_with_it(tmp_path: Path) -> None:
    own = tmp_path / "comparison.yaml"
    own.write_text(TEXT.replace("confidence: 95%", "confidence: 99%"), encoding="utf-8")
    loaded = load_rules([tmp_path])
    assert read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules).confidence == 0.99
    assert check_rules([tmp_path]).errors == 0
    own.write_text(TEXT.replace("runs: 8", "runs: 0"), encoding="utf-8")
    (problem,) = [one for one in check_rules([tmp_path]).problems if one.severity == "error"]
    assert problem.mark.file == str(own)


def test_its_schema_is_a_schema(root: Path) -> None:
    import json

    schema = json.loads((root / "rules" / "schema" / "comparison-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
