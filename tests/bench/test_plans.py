"""What a benchmark is going to do, before it does it."""

from dataclasses import replace

import pytest

from engram_diagnose.bench.guards import GuardError, checked_address, require_bounds
from engram_diagnose.bench.plans import Plan, Wanted, planned, told
from engram_diagnose.bench.workloads import KINDS, NAMES
from engram_diagnose.engine.facts.catalogue import Catalogue

HERE = checked_address("http://127.0.0.1:7432")
WANTED = Wanted("suite", "floor", "abc")


@pytest.fixture
def plan(catalogue: Catalogue, limits: dict[str, float]):  # type: ignore[no-untyped-def]
    return lambda **changes: planned(HERE, replace(WANTED, **changes), catalogue, limits)


def test_a_suite_has_every_load_and_stays_below_ten_minutes(plan, limits: dict[str, float]) -> None:
    found: Plan = plan()
    assert [step.kind.name for step in found.steps] == list(KINDS)
    for targets in ("floor", "target", "baseline"):
        made = plan(targets=targets)
        assert made.size.seconds < 600
        require_bounds(made.size, limits)


@pytest.mark.parametrize(
    ("workload", "targets", "rate"),
    [
        ("store", "floor", 1000), ("recall", "floor", 5000), ("store", "baseline", 15_000),
        ("recall", "baseline", 25_000),
        ("mixed", "target", 10_000), ("mixed", "baseline", 18_000), ("multi-tenant", "target", 10_000),
        ("burst", "target", 50_000), ("burst", "floor", 50_000), ("store", "target", 3000), ("recall", "target", 7000),
    ],
)  # fmt: skip
def test_a_load_is_offered_what_its_set_asks_for_and_a_little_more(
    workload: str, targets: str, rate: float, plan
) -> None:
    (step,) = plan(workload=workload, targets=targets).steps
    assert rate <= step.rate <= rate * 1.02
    assert step.rate * 0.99 >= rate


def test_under_a_mixed_load_no_operation_is_asked_for_more_than_the_floor(plan) -> None:
    (step,) = plan(workload="mixed").steps
    assert step.rate * 0.3 == pytest.approx(1000, rel=0.02)


@pytest.mark.parametrize("workload", NAMES)
def test_only_spaces_of_its_own_are_written_to_and_all_are_named(workload: str, plan) -> None:
    found: Plan = plan(workload=workload)
    assert all(space.startswith("bench-abc-") for space in found.every_space)
    assert {space for step in found.steps for space in step.spaces} <= set(found.every_space)
    shown = "\n".join(told(found, server="s"))
    assert found.every_space[0] in shown
    assert "removes what it stored at the end" in shown
    assert f"the set {found.targets}" in shown


def test_stores_alone_need_nothing_stored_before(plan) -> None:
    found = plan(workload="store")
    assert (found.memories, found.quality_space) == (0, "")


def test_recalls_of_nothing_are_refused(plan) -> None:
    with pytest.raises(GuardError, match="--memories"):
        plan(workload="recall", memories=0)


@pytest.mark.parametrize(("option", "value"), [("connections", 2001), ("memories", 200_001), ("spaces", 33)])
def test_an_option_beyond_its_cap_is_refused(option: str, value: int, plan) -> None:
    with pytest.raises(GuardError, match=f"--{option}"):
        plan(**{option: value})


def test_a_burst_lasts_less_than_ten_seconds(plan) -> None:
    assert plan(workload="burst").steps[0].seconds < 10
    with pytest.raises(GuardError, match="burst"):
        plan(workload="burst", seconds=11.0)
    assert all(step.seconds < 10 for step in plan(seconds=60.0).steps if step.kind.name == "burst")


def test_a_plan_beyond_the_caps_is_refused(plan, limits: dict[str, float]) -> None:
    with pytest.raises(GuardError, match="requests"):
        require_bounds(plan(workload="mixed", rate=1e6, seconds=300.0).size, limits)


def test_the_lines_of_a_plan_fit_a_terminal(plan) -> None:
    lines = told(plan(targets="target"), server="127.0.0.1:7432 (guide 9.9, 12,000 memories)")
    assert max(map(len, lines)) <= 80
