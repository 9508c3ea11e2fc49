"""The published schema of a diagnosis, held against what is produced."""

import json
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from engram_diagnose.engine.diagnosis import Subject, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, unknown_fact
from engram_diagnose.engine.facts.scope import DIMENSIONS, scope_of
from engram_diagnose.engine.language.rule import SEVERITIES, STRENGTHS, WHENS
from engram_diagnose.rulebase import load_rules

Json = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


@cache
def schema() -> Json:
    found: Json = json.loads((ROOT / "rules/schema/diagnosis-v1.json").read_text(encoding="utf-8"))
    return found


def problems(instance: Json) -> list[str]:
    """What is wrong with a document once it has been JSON."""
    validator = Draft202012Validator(schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [f"{error.json_path}: {error.message}" for error in validator.iter_errors(json.loads(json.dumps(instance)))]


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(schema())


def test_every_object_is_closed_or_a_map() -> None:
    open_ = [path for path, node in objects(schema(), "$") if not closed(node)]
    assert open_ == ["$.$defs.head", "$.$defs.untested", "$.$defs.cause"], "these three are closed where they are used"


def objects(node: Any, path: str) -> Iterable[tuple[str, Json]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield path, node
        for key, item in node.items():
            yield from objects(item, f"{path}.{key}")
    elif isinstance(node, list):
        for item in node:
            yield from objects(item, path)


def closed(node: Json) -> bool:
    return node.get("additionalProperties", True) is not True or node.get("unevaluatedProperties") is False


def test_its_words_are_those_of_the_code() -> None:
    defs = schema()["$defs"]
    assert defs["reason"]["enum"] == [reason.name for reason in Reason]
    assert defs["status"]["enum"] == [status.value for status in Status]
    assert defs["severity"]["enum"] == list(SEVERITIES)
    assert defs["strength"]["enum"] == list(STRENGTHS)
    assert set(defs["remedy"]["properties"]["when"]["enum"]) == {*WHENS, ""}
    assert defs["scope"]["propertyNames"]["enum"] == list(DIMENSIONS)


def test_every_kind_of_diagnosis_is_valid(documents: dict[str, Json]) -> None:
    assert [(name, problem) for name, instance in documents.items() for problem in problems(instance)] == []


def test_what_is_not_in_the_schema_is_refused(documents: dict[str, Json]) -> None:
    base = documents["incident"]
    cause = base["causes"][0]
    for wrong in (
        base | {"more": 1},
        base | {"verdict": base["verdict"] | {"state": "fine"}},
        base | {"causes": [cause | {"surer": True}]},
        base | {"causes": [{key: value for key, value in cause.items() if key != "gate"}]},
        base | {"masked": [cause]},
    ):
        assert problems(wrong)


FACTS = st.sampled_from(
    ["wal.bytes_written@rate_5m", "store.bytes@rate_5m", "wal.flush.p99", "activation.cache_hit_ratio", "cpu.busy",
     "numa.nodes", "numa.remote_access_share", "cgroup.cpu_throttled_period_share", "client.retry_share",
     "cgroup.cpu_throttled_time_share", "host.attainable.fsync_p50", "process.pid", "mem.swapin_rate",
     "io.fsync_wait_share"]
)  # fmt: skip
FIGURES = st.floats(0, 1e9, allow_nan=False).map(lambda low: (low, low)) | st.tuples(
    st.floats(0, 1), st.floats(1, 1e6) | st.just(float("inf"))
)


def made(name: str, value: tuple[float, float] | None, space: str | None) -> Fact:
    scope = scope_of({"operation": "store", "space": space} if space else {})
    if value is None:
        return unknown_fact(name, Reason.NO_PMU, "x", scope=scope)
    return Fact(name, value, Status.MEASURED, scope, "test", "db1", 1.79e9)


@settings(max_examples=60)
@given(
    facts=st.lists(st.builds(made, FACTS, FIGURES | st.none(), st.none())),
    latencies=st.lists(
        st.builds(made, st.just("op.latency.p99"), FIGURES | st.none(), st.sampled_from(["a", "b", 'c"\n']))
    ),
)
def test_any_facts_make_a_valid_document(
    diagnose: Callable[[Iterable[Fact]], Json], facts: list[Fact], latencies: list[Fact]
) -> None:
    assert problems(diagnose([*facts, *latencies])) == []


@pytest.mark.slow
def test_the_built_in_rules_make_valid_documents() -> None:
    """Of what each rule is tested with, alone and all at once."""
    loaded = load_rules()
    ready = expert(loaded)
    given_ = {
        rule.id: [_fact(item) for item in rule.given] for rule in loaded.rules.rules.values() if rule.kind == "cause"
    }
    everything = list({fact.key: fact for facts in given_.values() for fact in facts}.values())
    for name, facts in [("everything", everything), *list(given_.items())[::6]]:
        for dialect in loaded.catalogue.dialects:
            instance = document(ready.diagnose(facts, Subject("db1:7432", "db1", 1.79e9, dialect)))
            assert problems(instance) == [], (name, dialect)


def _fact(item: Any) -> Fact:
    return Fact(
        item.reference.name, item.value, Status.MEASURED, scope_of(dict(item.reference.labels)), "given", "db1", 1.79e9
    )
