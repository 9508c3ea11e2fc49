"""The alerts that asked for a diagnosis, as facts: one scope a name, the most severe and earliest for the whole."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.parse.alerts import MOST_NAMES, facts_of_alerts
from engram_diagnose.engine.facts.fact import Fact, Status

AT = 1_700_000_000.0
NAMES = ("alert.name", "alert.severity", "alert.component", "alert.age")


def alert(name: str = "RecallLatencyHigh", severity: str = "critical", before: float = 60, **labels: str) -> Any:
    told = {"alertname": name, "severity": severity, **labels}
    return {"name": name, "severity": severity, "labels": told, "starts_at": AT - before, "status": "firing"}


def facts(said: object) -> dict[str, Fact]:
    """By name and scope, as a report writes them."""
    return {f"{fact.name}{fact.scope}": fact for fact in facts_of_alerts(said, host="db1", time=AT)}


def values(said: object) -> dict[str, Any]:
    return {name: fact.value for name, fact in facts(said).items() if fact.known}


@pytest.mark.parametrize("said", [None, []])
def test_without_an_alert_that_there_is_none_is_known_and_nothing_else_is_said(said: object) -> None:
    assert values(said) == {"alert.count": (0, 0)}
    assert list(facts(said)) == ["alert.count"]


def test_an_alert_is_told_of_by_its_name_and_of_the_whole() -> None:
    found = values([alert(component="activation")])
    for scope in ("", "{alert=RecallLatencyHigh}"):
        assert found[f"alert.count{scope}"] == (1, 1)
        assert found[f"alert.name{scope}"] == "RecallLatencyHigh"
        assert found[f"alert.severity{scope}"] == "critical"
        assert found[f"alert.component{scope}"] == "activation"
        assert found[f"alert.age{scope}"] == (60, 60)


def test_of_the_whole_the_most_severe_alert_is_told_and_of_these_the_earliest() -> None:
    said = [alert("A", "info", 900), alert("B", "critical", 60), alert("C", "critical", 120), alert("D", "page", 999)]
    found = values(said)
    assert (found["alert.name"], found["alert.severity"]) == ("C", "critical")
    assert found["alert.count"] == (4, 4)
    assert values(said[::-1]) == found


def test_alerts_of_one_name_are_one_with_the_worst_severity_and_the_first_start() -> None:
    found = values([alert(severity="warning", before=300, space="a"), alert(severity="critical", before=60, space="b")])
    assert found["alert.count{alert=RecallLatencyHigh}"] == (2, 2)
    assert found["alert.severity{alert=RecallLatencyHigh}"] == "critical"
    assert found["alert.age{alert=RecallLatencyHigh}"] == (300, 300)


def test_an_alert_that_was_resolved_is_still_one_alert() -> None:
    assert values([alert(), alert() | {"status": "resolved"}])["alert.count"] == (1, 1)


def test_what_an_alert_does_not_say_is_unknown_with_the_reason() -> None:
    found = facts([{"name": "Odd", "severity": "page", "labels": {}, "starts_at": None}])
    assert {name for name in NAMES if not found[name].known} == {"alert.severity", "alert.component", "alert.age"}
    assert "'page'" in str(found["alert.severity"].unknown)
    assert "label component" in str(found["alert.component"].unknown)


def test_an_alert_that_fired_after_the_instant_has_no_age() -> None:
    assert facts([alert(before=-30)])["alert.age"].status is Status.NOT_APPLICABLE


def test_an_alert_without_a_name_is_called_so() -> None:
    assert values([{"labels": {"severity": "Warning"}}])["alert.severity{alert=unnamed}"] == "warning"


def test_of_very_many_names_the_most_severe_are_told_and_the_number_of_the_rest() -> None:
    found = facts([alert(f"A{number:04}", "info") for number in range(MOST_NAMES + 5)] + [alert("Z")])
    assert found["alert.count"].value == (MOST_NAMES + 6, MOST_NAMES + 6)
    assert "6 more names" in found["alert.count"].quality
    assert "alert.name{alert=Z}" in found
    assert len(found) == (MOST_NAMES + 1) * (len(NAMES) + 1)


@pytest.mark.parametrize("said", ["RecallLatencyHigh", 7, {"name": "A"}, [7], [None], [["A"]]])
def test_what_is_no_alert_is_left_out_and_said(said: object) -> None:
    count = facts(said)["alert.count"]
    assert (count.value, count.quality) == ((0, 0), "1 could not be read")


def test_a_very_long_name_is_cut() -> None:
    assert max(map(len, facts([alert("x" * 10_000)]))) < 300


@given(st.lists(st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(
        st.sampled_from(["name", "severity", "labels", "starts_at", "alertname", "component"]), inner),
)))  # fmt: skip
def test_any_option_gives_facts_in_one_order(said: list[Any]) -> None:
    found = facts_of_alerts(said, host="db1", time=AT)
    assert found[0].name == "alert.count"
    assert all(fact.time == AT and fact.host == "db1" for fact in found)
