"""The published JSON Schemas say of structure what the loader says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from engram_diagnose.engine.facts.scope import DIMENSIONS
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.language import cases, catalogue_reader, reader, rule
from engram_diagnose.engine.language.loader import SCHEMAS
from engram_diagnose.engine.language.problem import MAX_PROBLEMS, Problem, Problems
from engram_diagnose.engine.language.schema import schema_problems, unnoticed
from engram_diagnose.engine.language.source import Mapping, parse_document

ROOT = Path(__file__).parents[3]
FIXTURES = Path(__file__).parent / "fixtures"
SCHEMA = {
    kind: json.loads((ROOT / "rules" / "schema" / f"{kind}-v1.json").read_text(encoding="utf-8"))
    for kind in SCHEMAS.values()
}
SHIPPED = sorted(path for path in (ROOT / "rules").rglob("*.yaml"))
GOOD = sorted(FIXTURES.glob("*.good.yaml"))

# What is wrong with these is structure: keys, kinds of nodes, words, forms.
STRUCTURE = """
    advice-that-does-both bad-id evidence-of-wrong-strength evidence-without-test fact-of-unknown-unit
    fact-with-a-wrong-name key-of-another-kind let-name list-without-a-word missing-keys no-condition no-kind no-pack
    override-of-unknown-parameter requires-that-is-no-bound step-both-ways suppression-without-day test-bound
    test-of-no-outcome unknown-key unknown-word wrong-figures wrong-kind-of-node
""".split()  # noqa: SIM905 -- a list of them is a page long


def parsed(path: Path) -> Mapping:
    root = parse_document(path.read_text(encoding="utf-8"), file=path.name, problems=Problems())
    assert root is not None
    return root


def kind_of(path: Path) -> str:
    match = re.search(r"^schema: engram-diagnose/([\w-]+)/v1$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert match
    return match[1]


def said(text: str, kind: str = "rules") -> list[str]:
    root = parse_document(text, file="f.yaml", problems=Problems())
    assert root is not None
    return [
        f"{problem.mark.line}:{problem.mark.column}: {problem.message}"
        for problem in schema_problems(root, SCHEMA[kind])
    ]


class EditorLoader(yaml.SafeLoader):
    """Scalars as YAML 1.2's core schema has them, which is what editors validate."""


EditorLoader.yaml_implicit_resolvers = {}
for tag, form, first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", "-+.0123456789"),
):
    EditorLoader.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{form})$"), list(first))


@pytest.mark.parametrize("kind", SCHEMA)
def test_a_schema_is_a_schema_and_knows_its_files(kind: str) -> None:
    Draft202012Validator.check_schema(SCHEMA[kind])
    assert SCHEMA[kind]["properties"]["schema"]["const"] == f"engram-diagnose/{kind}/v1"


@pytest.mark.parametrize("path", [*SHIPPED, *GOOD], ids=lambda path: path.name)
def test_good_files_pass_as_the_loader_sees_them(path: Path) -> None:
    assert schema_problems(parsed(path), SCHEMA[kind_of(path)]) == []


@pytest.mark.parametrize("path", [*SHIPPED, *GOOD], ids=lambda path: path.name)
def test_good_files_pass_as_editors_see_them(path: Path) -> None:
    data = yaml.load(path.read_text(encoding="utf-8"), EditorLoader)
    errors = Draft202012Validator(SCHEMA[kind_of(path)]).iter_errors(data)
    assert [error.message for error in errors] == []


@pytest.mark.parametrize("name", STRUCTURE)
def test_what_is_wrong_in_structure_is_refused_on_a_line_the_loader_names(name: str) -> None:
    problems = schema_problems(parsed(FIXTURES / f"{name}.bad.yaml"), SCHEMA["rules"])
    transcript = (FIXTURES / f"{name}.bad.txt").read_text(encoding="utf-8")
    lines = {int(line) for line in re.findall(r"^\S+\.yaml:(\d+):\d+: error", transcript, re.MULTILINE)}
    assert {problem.mark.line for problem in problems} & lines


@pytest.mark.parametrize(
    "path", sorted(FIXTURES.glob("*.bad.yaml")), ids=lambda path: path.name.removesuffix(".bad.yaml")
)
def test_the_schema_refuses_nothing_that_the_loader_accepts(path: Path) -> None:
    root = parse_document(path.read_text(encoding="utf-8"), file=path.name, problems=Problems())
    if root is None or "schema" not in root.values:
        return
    transcript = path.with_suffix(".txt").read_text(encoding="utf-8")
    lines = {int(line) for line in re.findall(r"^\S+\.yaml:(\d+):\d+: error", transcript, re.MULTILINE)}
    strays = [problem for problem in schema_problems(root, SCHEMA["rules"]) if problem.mark.line not in lines]
    assert [str(problem) for problem in strays] == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "schema: engram-diagnose/rules/v1\npack: x",
            "1:1: the schema asks for one of: rules, facts, targets, overrides, suppressions",
        ),
        ("schema: engram-diagnose/rules/v1\npack: x\nrules: {}", "3:8: a mapping stands where the schema wants a list"),
        ("schema: engram-diagnose/rules/v1\npack: x\nruls: []\nrules: []", "3:1: the schema has no key 'ruls' here"),
        ("schema: rules\npack: x\nrules: []", "1:9: the text 'rules' is not one of: engram-diagnose/rules/v1"),
        (
            "schema: engram-diagnose/rules/v1\npack: ''\nrules: []",
            "2:8: the text '' is shorter than the schema allows (1)",
        ),
        (
            "schema: engram-diagnose/rules/v1\npack: x\nfacts: {Bad: {values: [a]}}",
            "3:9: 'Bad' cannot stand here as a name",
        ),
        (
            "schema: engram-diagnose/rules/v1\npack: x\nfacts: {a.b: {unit: s, range: [1]}}",
            "3:31: a list is shorter than the schema allows (2)",
        ),
    ],
)
def test_a_complaint_stands_at_its_place_in_our_words(text: str, message: str) -> None:
    assert message in said(text)


def test_hints_are_what_the_schema_says_of_the_place() -> None:
    root = parse_document("schema: engram-diagnose/rules/v1\npack: x\nrules: [{id: a}]", file="f", problems=Problems())
    assert root is not None
    hints = {problem.message: problem.hint for problem in schema_problems(root, SCHEMA["rules"])}
    assert (
        hints["the text 'a' does not have the form that the schema wants"]
        == "Lower case, with at least one dot: subsystem.what-is-wrong."
    )
    assert hints["the schema asks for 'kind' here"] == "add `kind:`"


def test_a_schema_stops_complaining_some_time() -> None:
    keys = "".join(f"k{number}: 1\n" for number in range(5_000))
    assert len(said(f"schema: engram-diagnose/rules/v1\npack: x\nrules: []\n{keys}")) == MAX_PROBLEMS


def test_a_second_opinion_is_heard_where_the_first_was_silent() -> None:
    first = [Problem(parsed(GOOD[0]).mark, "x")]
    second = [Problem(parsed(GOOD[0]).mark, "y"), Problem(parsed(GOOD[1]).mark, "z")]
    assert [problem.message for problem in unnoticed(second, first)] == ["z"]


# The two are kept in step


def definitions(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA[kind]["$defs"]
    return found


def test_words_and_units_are_those_of_the_code() -> None:
    defs = definitions("rules")
    properties = defs["rule"]["properties"]
    assert defs["unit"]["enum"] == list(UNITS)
    assert defs["dimension"]["enum"] == list(DIMENSIONS)
    assert defs["severity"]["enum"] == list(rule.SEVERITIES)
    assert defs["absence"]["enum"] == list(rule.STRENGTHS)
    assert defs["strength"]["enum"] == list(rule.STRENGTHS[1:])
    assert defs["outcome"]["enum"] == list(cases.OUTCOMES)
    assert defs["recommendation"]["properties"]["when"]["enum"] == list(rule.WHENS)
    assert properties["kind"]["enum"] == list(rule.KINDS)
    assert properties["status"]["enum"] == list(rule.STATUSES)
    assert properties["when_true"]["enum"] == list(rule.CERTAINTIES)
    parameter = definitions("parameters")["parameter"]
    assert parameter["properties"]["restart"]["enum"] == list(catalogue_reader.RESTARTS)


def test_each_kind_of_rule_has_the_keys_that_the_loader_knows() -> None:
    for clause in definitions("rules")["rule"]["allOf"]:
        kind = clause["if"]["properties"]["kind"]["const"]
        assert set(clause["then"]["properties"]) == set(reader.KEYS[kind])


@pytest.mark.parametrize("kind", SCHEMA)
def test_every_part_says_what_it_is_for(kind: str) -> None:
    schema = SCHEMA[kind]
    parts = {**schema["properties"], **schema["$defs"]}
    assert [name for name, part in parts.items() if "description" not in part and "$ref" not in part] == []
