"""Impact: which share of a breach a cause explains."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.fact import Fact, Interval, Reason, Status, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scope import INSTANCE, Scope, scope_of
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Arithmetic, Expression, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import Impact, Rule
from engram_diagnose.engine.ranking.impact import Breach, impact

LATENCY = Reference("op.latency.p99")
RELIEF = Reference("wal.flush.p99")


def rule(on: Reference = LATENCY, relief: Expression = RELIEF) -> Rule:
    return Rule("r", 1, "cause", "", "test", Mark("test", 1, 1), impact=Impact(on, relief, ""))


def told(name: str, value: float | Interval | None, **labels: str) -> Fact:
    if value is None:
        return unknown_fact(name, Reason.NAN, scope=scope_of(labels))
    return Fact(name, value if isinstance(value, tuple) else point(value), Status.MEASURED, scope_of(labels))


def facts(measured: float | Interval | None, target: float | None, relief: float | Interval | None) -> Memory:
    found = [told("op.latency.p99", measured), told("wal.flush.p99", relief)]
    return Memory(found if target is None else [*found, told("target.op.latency.p99", target)])


def lower(_: str) -> str:
    return "lower"


def higher(_: str) -> str:
    return "higher"


def found(memory: Memory, *, scope: Scope = INSTANCE, on: Reference = LATENCY) -> Breach:
    return impact(rule(on), Seen(memory, scope), lower)


def test_it_is_the_relief_over_the_breach() -> None:
    """18 ms against a target of 10 ms is 8 ms too much, of which 6 ms are the flush's."""
    breach = found(facts(0.018, 0.010, 0.006))
    assert (breach.low, breach.high) == (pytest.approx(0.75), pytest.approx(0.75))
    assert breach.known
    assert breach.middle == pytest.approx(0.75)
    assert (breach.on, breach.measured, breach.target, breach.relief) == (
        "op.latency.p99",
        point(0.018),
        point(0.010),
        point(0.006),
    )


def test_more_relief_than_breach_explains_all_of_it() -> None:
    assert found(facts(0.012, 0.010, 0.006)).middle == 1.0


def test_a_relief_below_zero_explains_nothing() -> None:
    breach = found(facts(0.012, 0.010, -0.006))
    assert (breach.low, breach.high) == (0.0, 0.0)
    assert breach.known


@pytest.mark.parametrize("measured", [0.009, 0.010])
def test_a_target_that_is_met_leaves_nothing_to_explain(measured: float) -> None:
    breach = found(facts(measured, 0.010, 0.006))
    assert (breach.low, breach.high, breach.known) == (0.0, 0.0, True)


@pytest.mark.parametrize(
    ("measured", "target", "relief", "reason"),
    [
        (None, 0.010, 0.006, "op.latency.p99 is unknown"),
        (0.018, None, 0.006, "no target in the chosen set"),
        (0.018, 0.010, None, "relief cannot be computed"),
        ((0.008, 0.016), 0.010, 0.006, "whether op.latency.p99 misses its target is not sure"),
    ],
)
def test_what_cannot_be_computed_lies_anywhere_and_says_why(
    measured: float | Interval | None, target: float | None, relief: float | None, reason: str
) -> None:
    breach = found(facts(measured, target, relief))
    assert (breach.low, breach.high, breach.middle) == (0.0, 1.0, 0.5)
    assert not breach.known
    assert reason in breach.reason


def test_a_rule_without_impact_lies_anywhere() -> None:
    silent = Rule("r", 1, "cause", "", "test", Mark("test", 1, 1))
    breach = impact(silent, Seen(Memory()), lower)
    assert (breach.low, breach.high, breach.known) == (0.0, 1.0, False)


def test_a_bucket_makes_it_an_interval() -> None:
    """12 to 18 ms is 2 to 8 ms too much; 2 ms of relief are a quarter to all of it."""
    breach = found(facts((0.012, 0.018), 0.010, 0.002))
    assert (breach.low, breach.high) == (pytest.approx(0.25), pytest.approx(1.0))
    assert breach.known


def test_throughput_counts_the_other_way_round() -> None:
    """8,000/s against 10,000/s lacks 2,000/s, of which the cause would give back 1,500/s."""
    memory = Memory([told("ops.rate", 8_000.0), told("target.ops.rate", 10_000.0), told("wal.flush.p99", 1_500.0)])
    breach = impact(rule(Reference("ops.rate")), Seen(memory), higher)
    assert breach.middle == pytest.approx(0.75)
    met = Memory([told("ops.rate", 12_000.0), told("target.ops.rate", 10_000.0), told("wal.flush.p99", 1_500.0)])
    assert impact(rule(Reference("ops.rate")), Seen(met), higher).middle == 0.0


def test_it_is_computed_in_the_rule_s_own_scope() -> None:
    memory = Memory(
        [told("op.latency.p99", 0.018, space="a"), told("op.latency.p99", 0.030, space="b"),
         told("target.op.latency.p99", 0.010), told("wal.flush.p99", 0.004)]
    )  # fmt: skip
    assert found(memory, scope=scope_of({"space": "a"})).middle == pytest.approx(0.5)
    assert found(memory, scope=scope_of({"space": "b"})).middle == pytest.approx(0.2)


def test_where_only_narrower_scopes_are_measured_the_worst_counts() -> None:
    on = Reference("op.latency.p99", (("operation", "store"),))
    memory = Memory(
        [told("op.latency.p99", 0.018, operation="store", space="a"),
         told("op.latency.p99", 0.050, operation="store", space="b"),
         told("op.latency.p99", 0.900, operation="recall", space="b"),
         told("target.op.latency.p99", 0.010, operation="store"), told("wal.flush.p99", 0.004)]
    )  # fmt: skip
    breach = found(memory, on=on)
    assert breach.middle == pytest.approx(0.1)
    assert breach.scope == scope_of({"operation": "store", "space": "b"})


def test_the_relief_is_looked_up_where_the_breach_is() -> None:
    memory = Memory(
        [told("op.latency.p99", 0.018, space="a"), told("op.latency.p99", 0.050, space="b"),
         told("target.op.latency.p99", 0.010), told("wal.flush.p99", 0.008, space="a"),
         told("wal.flush.p99", 0.020, space="b")]
    )  # fmt: skip
    relief = Arithmetic("*", RELIEF, RELIEF)
    assert found(memory).middle == pytest.approx(0.5)
    assert impact(rule(relief=relief), Seen(memory), lower).relief == (
        pytest.approx(0.0004),
        pytest.approx(0.0004),
    )


def test_of_throughputs_the_lowest_is_the_worst() -> None:
    memory = Memory(
        [told("ops.rate", 9_000.0, space="a"), told("ops.rate", 2_000.0, space="b"), told("target.ops.rate", 10_000.0),
         told("wal.flush.p99", 4_000.0)]
    )  # fmt: skip
    breach = impact(rule(Reference("ops.rate")), Seen(memory), higher)
    assert breach.scope == scope_of({"space": "b"})
    assert breach.middle == pytest.approx(0.5)


FIGURES = st.floats(-1e6, 1e6) | st.sampled_from([0.0, math.inf])


@given(st.tuples(FIGURES, FIGURES), FIGURES, st.tuples(FIGURES, FIGURES), st.booleans())
def test_it_is_a_share_whatever_the_figures(
    measured: tuple[float, float], target: float, relief: tuple[float, float], better_higher: bool
) -> None:
    a, b = sorted(measured)
    c, d = sorted(relief)
    breach = impact(rule(), Seen(facts((a, b), target, (c, d))), higher if better_higher else lower)
    assert 0.0 <= breach.low <= breach.middle <= breach.high <= 1.0
    assert breach.known or (breach.low, breach.high) == (0.0, 1.0)
