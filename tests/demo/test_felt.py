"""What clients feel of a fault, beside the healthy lab: what is a case and what is none."""

import json
from typing import Any

import pytest

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.demo.felt import Felt, compared, figures_felt
from engram_diagnose.lab.faults import FAULTS
from engram_diagnose.lab.single_faults import QUALITY, RECALL_P99, STORE_P99
from engram_diagnose.rulebase import load_rules

CATALOGUE = load_rules(thorough=False).catalogue


def run(**p99: float) -> dict[str, Any]:
    """A run with these P99 in seconds, by operation."""
    return {"duration_seconds": 12.0,
            "operations": {name: {"sent": 1000, "ok": 1000, "response": {"quantiles": {"p50": value / 4, "p99": value}}}
                           for name, value in p99.items()}}  # fmt: skip


def bundle(**quality: float) -> Bundle:
    """What clients of a lab tell of the share of neighbours found, by space."""
    answers = []
    for space, share in quality.items():
        record = {"schema": "engram-diagnose/client-load/v1", "operations": [], "seconds": 12.0,
                  "recall_quality": {"recall_at_k": share, "k": 10, "queries": 150, "space": space}}  # fmt: skip
        answers.append(Answer("bench", "load", 1.7e9, "id", json.dumps(record)))
    return Bundle(tool="test", time=1.7e9, answers=tuple(answers))


def test_latencies_are_response_times_and_quality_is_what_the_client_found() -> None:
    names = (
        RECALL_P99,
        STORE_P99,
        QUALITY,
        "op.latency.p99{operation=activation}",
        "op.latency.p999{operation=recall}",
    )
    found = figures_felt(run(recall=0.012, store=0.003), bundle(here=0.91), names, wait=5.0)
    assert found == pytest.approx({RECALL_P99: 0.012, STORE_P99: 0.003, QUALITY: 0.91})


@pytest.mark.parametrize(
    ("ok", "seconds", "felt"),
    [(1000, 12.0, 0.012), (990, 12.0, 0.012), (989, 12.0, 5.0), (989, 3.0, 3.0), (0, 12.0, 5.0)],
)
def test_requests_that_fail_wait_longest(ok: int, seconds: float, felt: float) -> None:
    seen = run(recall=0.012) | {"duration_seconds": seconds}
    entry = seen["operations"]["recall"]
    entry["ok"] = ok
    if not ok:
        entry["response"]["quantiles"] = {"p50": None, "p99": None}
    assert figures_felt(seen, bundle(), [RECALL_P99], wait=5.0) == {RECALL_P99: felt}


def test_a_fault_is_felt_that_is_slower_and_misses_its_target() -> None:
    (felt,) = compared({RECALL_P99: 0.004}, {RECALL_P99: 0.030}, CATALOGUE)
    assert (felt.target, felt.better) == (0.010, "lower")
    assert felt.harms(0.2)
    assert str(felt) == f"{RECALL_P99} is 30.0 ms, and 4.0 ms without the fault"


@pytest.mark.parametrize(("healthy", "sick"), [(0.004, 0.009), (0.050, 0.055), (0.030, 0.004)])
def test_what_keeps_its_target_or_is_as_slow_without_the_fault_is_not_felt(healthy: float, sick: float) -> None:
    (felt,) = compared({RECALL_P99: healthy}, {RECALL_P99: sick}, CATALOGUE)
    assert not felt.harms(0.2)


def test_of_a_share_less_is_worse() -> None:
    (felt,) = compared({QUALITY: 0.99}, {QUALITY: 0.80}, CATALOGUE)
    assert (felt.better, felt.harms(0.05), felt.harms(0.25)) == ("higher", True, False)
    assert str(felt) == f"{QUALITY} is 80.0%, and 99.0% without the fault"
    assert not Felt(QUALITY, 0.80, 0.99, better="higher").harms(0.05)


def test_a_figure_that_one_side_lacks_is_not_compared() -> None:
    assert compared({RECALL_P99: 0.004}, {STORE_P99: 0.030}, CATALOGUE) == ()


def test_every_fault_breaches_something_that_clients_can_feel() -> None:
    assert all(fault.breaches for fault in FAULTS.values() if not fault.healthy)
    assert not any(fault.breaches for fault in FAULTS.values() if fault.healthy)
