"""A fact has a value, or says why it has none."""

import pytest

from engram_diagnose.engine.facts.fact import (
    Fact,
    Reason,
    Status,
    Unknown,
    not_applicable,
    point,
    unknown_fact,
)
from engram_diagnose.engine.facts.scope import INSTANCE, scope_of


def test_a_measured_fact_is_known() -> None:
    fact = Fact("cpu.busy", point(0.9))
    assert fact.known
    assert fact.key == ("cpu.busy", INSTANCE)


def test_an_unknown_fact_says_why() -> None:
    fact = unknown_fact("pmu.ipc", Reason.PARANOID, "perf_event_paranoid is 4", scope=scope_of({"core": "0"}))
    assert not fact.known
    assert str(fact.unknown) == "the kernel forbids it (perf_event_paranoid) (perf_event_paranoid is 4)"


def test_what_does_not_apply_has_no_value_either() -> None:
    fact = not_applicable("numa.remote_access_share", "one node")
    assert fact.status is Status.NOT_APPLICABLE
    assert not fact.known


@pytest.mark.parametrize(
    ("value", "status", "unknown"),
    [
        (None, Status.MEASURED, None),
        (None, Status.UNKNOWN, None),
        (point(1.0), Status.UNKNOWN, Unknown(Reason.NAN)),
        (point(1.0), Status.MEASURED, Unknown(Reason.NAN)),
    ],
)
def test_a_fact_is_never_half_known(value: tuple[float, float] | None, status: Status, unknown: Unknown | None) -> None:
    with pytest.raises(ValueError, match=r"cpu\.busy: a fact has a value, or is unknown with a reason"):
        Fact("cpu.busy", value, status, unknown=unknown)


def test_a_reason_without_a_particular_is_its_sentence() -> None:
    assert str(Unknown(Reason.NO_PMU)) == "no hardware counters on this host"
