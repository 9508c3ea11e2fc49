"""What a host attained becomes facts, as long as it is still that host."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.attained import ATTAINED_FACTS, FACTS, SCHEMA, From, facts_of_attained
from engram_diagnose.engine.facts.fact import Fact, Reason, point
from engram_diagnose.rulebase import load_rules

MEASURED = 1_790_000_000.0
DAY = 86_400.0
HOST = {"cpu": "Made-up CPU 9000", "cpus": 4, "kernel": "6.1.0", "device": "8:1"}


def measurement(wanted: From, figure: float, **more: Any) -> dict[str, Any]:
    return {
        "name": wanted.name, "unit": "B/s", "labels": dict(wanted.labels), "threads": 1, "better": "higher",
        "median": figure * 1.01, "lower": figure, "upper": figure * 1.02, "attained": figure, "repeats": 9,
        "switches": 0, "steal": 0.0, "stability": "stable", "notes": [],
    } | more  # fmt: skip


def part(name: str, *measurements: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "name": name, "measured_at": MEASURED, "expires_at": MEASURED + 30 * DAY, "seconds": 1.0, "of": HOST,
        "measurements": list(measurements), "unmeasured": [],
    } | more  # fmt: skip


def record(*parts: dict[str, Any]) -> str:
    return json.dumps({"schema": SCHEMA, "host": "f00d", "parts": list(parts)})


def everything(**more: Any) -> str:
    """A record in which every fact has its measurement: the first is 1, the next 2, …"""
    by_part: dict[str, list[dict[str, Any]]] = {}
    for number, wanted in enumerate(FACTS.values(), start=1):
        by_part.setdefault(wanted.part, []).append(measurement(wanted, float(number), **more))
    return record(*(part(name, *listed) for name, listed in by_part.items()))


def facts(body: str | None, *, now: dict[str, Any] | None = HOST, at: float = MEASURED + DAY) -> dict[str, Fact]:
    answers = [Answer("kernels", "attained", at, "f00d", body, "" if body else "NOT_COLLECTED", "nobody has measured")]
    if now is not None:
        answers.append(Answer("kernels", "attained/now", at, "f00d", json.dumps(now)))
    return {fact.name: fact for fact in facts_of_attained(answers, at=at)}


def test_every_fact_is_the_figure_that_three_repeats_of_four_reach() -> None:
    found = facts(everything())
    assert {name: fact.value for name, fact in found.items()} == {
        name: point(float(number)) for number, name in enumerate(FACTS, start=1)
    }
    assert {fact.time for fact in found.values()} == {MEASURED}
    assert all("half of 9 lie within 2.0%" in fact.quality for fact in found.values())


def test_nobody_looked_says_nothing() -> None:
    assert facts_of_attained([], at=MEASURED) == []


def test_without_a_record_every_fact_says_how_to_get_one() -> None:
    found = facts(None, now=None)
    assert set(found) == ATTAINED_FACTS
    assert {fact.unknown.reason for fact in found.values() if fact.unknown} == {Reason.NOT_COLLECTED}
    assert all("engram-diagnose kernels" in fact.get_by for fact in found.values())


def test_a_record_expires() -> None:
    found = facts(everything(), at=MEASURED + 31 * DAY)
    assert {str(fact.unknown) for fact in found.values()} == {"the last sample is too old (measured 31 days before)"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"cpu": "Another CPU"}, "another CPU (Made-up CPU 9000; now Another CPU)"),
        ({"cpus": 8}, "another number of CPUs"),
    ],
)
def test_figures_of_a_host_that_was_changed_say_nothing(changed: dict[str, Any], said: str) -> None:
    found = facts(everything(), now=HOST | changed)
    assert all(said in str(fact.unknown) for fact in found.values())


def test_durable_writes_are_those_of_the_disk_that_they_were_measured_on() -> None:
    found = facts(everything(), now=HOST | {"device": "259:3"})
    unknown = {name for name, fact in found.items() if not fact.known}
    assert unknown == {name for name, wanted in FACTS.items() if wanted.on_device}
    assert unknown
    assert all("another disk (8:1; now 259:3)" in str(found[name].unknown) for name in unknown)


def test_what_the_host_is_now_may_be_unknown() -> None:
    assert all(fact.known for fact in facts(everything(), now=None).values())


def test_figures_that_scatter_too_far_are_no_limit() -> None:
    found = facts(everything(stability="unstable", upper=1000.0))
    assert {fact.unknown.reason for fact in found.values() if fact.unknown} == {Reason.TOO_COARSE}
    assert all("others used the host" in str(fact.unknown) for fact in found.values())


def test_of_a_single_figure_no_spread_is_told() -> None:
    assert {fact.quality for fact in facts(everything(repeats=1)).values()} == {"a single figure"}


def test_noise_is_said() -> None:
    assert all(fact.quality.endswith("noisy") for fact in facts(everything(stability="noisy")).values())


def test_a_part_that_was_not_run_costs_its_own_facts_alone() -> None:
    name, wanted = next(iter(FACTS.items()))
    found = facts(record(part(wanted.part, measurement(wanted, 5.0))))
    assert found[name].value == point(5.0)
    others = {one for one, other in FACTS.items() if other.part != wanted.part}
    assert all("has not been run" in str(found[one].unknown) for one in others)


def test_what_could_not_be_measured_says_why() -> None:
    name, wanted = next(iter(FACTS.items()))
    why = {"name": wanted.name, "labels": {}, "reason": "there is one CPU", "get_by": ""}
    found = facts(record(part(wanted.part, unmeasured=[why])))
    assert "there is one CPU" in str(found[name].unknown)


def test_of_several_the_fact_takes_the_one_it_is_about() -> None:
    for name, wanted in FACTS.items():
        first, second = measurement(wanted, 10.0), measurement(wanted, 40.0)
        found = facts(record(part(wanted.part, first, second)))
        assert found[name].value == point(40.0 if wanted.largest else 10.0)


def test_bandwidth_of_one_thread_is_not_that_of_the_host() -> None:
    one = FACTS["host.attainable.memory_bandwidth_one_thread"]
    why = {"name": "stream.read", "labels": {"level": "memory", "threads": "all"}, "reason": "there is a CPU quota"}
    other = {"name": "stream.read", "labels": {"level": "L3", "threads": "all"}, "reason": "L3 is too small"}
    found = facts(record(part("stream", measurement(one, 15e9), unmeasured=[other, why])))
    assert found["host.attainable.memory_bandwidth_one_thread"].value == point(15e9)
    assert "there is a CPU quota" in str(found["host.attainable.memory_bandwidth"].unknown)


def test_each_fact_is_in_the_catalogue_and_each_of_the_catalogue_is_measured() -> None:
    catalogue = load_rules(()).catalogue
    assert {name for name, spec in catalogue.facts.items() if spec.origin == "kernels"} == ATTAINED_FACTS


@pytest.mark.parametrize(
    "body",
    ["", "[]", "{}", "null", '{"schema": "engram-diagnose/attained/v1"}', '{"schema": "other", "parts": []}',
     json.dumps({"schema": SCHEMA, "parts": [{"name": "stream"}]}), "[" * 10_000],
)  # fmt: skip
def test_a_record_that_is_none_is_said_to_be_none(body: str) -> None:
    found = facts(body or "x")
    assert {fact.unknown.reason for fact in found.values() if fact.unknown} == {Reason.UNPARSED}


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)


@given(st.data())
def test_no_record_breaks_reading(data: st.DataObject) -> None:
    document = json.loads(everything())
    chosen = data.draw(st.sampled_from(document["parts"]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.sampled_from([document, chosen, *chosen["measurements"][:1]]))
        if isinstance(place, dict) and place:
            place[data.draw(st.sampled_from(sorted(place)))] = data.draw(JSON)
        if not isinstance(document.get("parts"), list) or not isinstance(chosen.get("measurements"), list):
            break
    for fact in facts(json.dumps(document)).values():
        assert fact.known or fact.unknown
