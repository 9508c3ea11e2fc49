"""Confidence, against figures worked out by hand."""

import math
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.fact import Fact, Reason, Status, point, unknown_fact
from engram_diagnose.engine.facts.memory import Memory
from engram_diagnose.engine.facts.scales import Scales
from engram_diagnose.engine.facts.unit import UNITS
from engram_diagnose.engine.inference.frames import Seen
from engram_diagnose.engine.language.expression import Comparison, Leaf, Number, Reference
from engram_diagnose.engine.language.problem import Mark
from engram_diagnose.engine.language.rule import STRENGTHS, Evidence, Graded, Rule, Step, Strength
from engram_diagnose.engine.ranking.confidence import Confidence, confidence

SCALES = Scales(
    certainty={"possible": 0.3, "likely": 0.6, "near-certain": 0.9},
    likelihood_ratio={"weak": 2.0, "moderate": 5.0, "strong": 20.0, "decisive": 100.0},
    tie_margin=0.01,
)
RATIO = {"none": 1.0, "weak": 2.0, "moderate": 5.0, "strong": 20.0, "decisive": 100.0}


def odds(probability: float) -> float:
    return probability / (1 - probability)


def share(odds_for: float) -> float:
    return odds_for / (1 + odds_for)


def above(name: str, limit: float = 1.0) -> Leaf:
    return Leaf(Comparison(">", Reference(name), Number(limit, UNITS[""])))


def below(name: str, limit: float) -> Leaf:
    return Leaf(Comparison("<", Reference(name), Number(limit, UNITS[""])))


def evidence(name: str, seen: Strength, absent: Strength = "none", *, group: str = "") -> Evidence:
    return Evidence(above(name), seen, absent, group)


def graded(name: str, *steps: tuple[float, Strength], absent: Strength = "none", group: str = "") -> Graded:
    """Steps as a file gives them, above their figure, strongest first."""
    ordered = sorted(steps, key=lambda step: -STRENGTHS.index(step[1]))
    found = tuple(Step(above(name, limit), seen) for limit, seen in ordered)
    return Graded(Reference(name), name, found, absent, group)


def weighed(
    pieces: Sequence[Evidence | Graded],
    facts: dict[str, float | tuple[float, float] | None],
    *,
    when_true: str = "likely",
    proxies: Sequence[str] = (),
    raw: Callable[[str], str] = lambda name: name,
) -> Confidence:
    """The confidence in a rule of this evidence. A fact is a figure, an interval, or None for unknown."""
    rule = Rule("r", 1, "cause", "", "test", Mark("test", 1, 1), when=above("gate"), when_true=when_true,
                evidence=tuple(pieces))  # fmt: skip
    memory = Memory(fact(name, value, proxy=name in proxies) for name, value in {"gate": 2.0, **facts}.items())
    return confidence(rule, Seen(memory), SCALES, raw)


def fact(name: str, value: float | tuple[float, float] | None, *, proxy: bool = False) -> Fact:
    if value is None:
        return unknown_fact(name, Reason.NO_PMU)
    status = Status.PROXY if proxy else Status.MEASURED
    return Fact(name, value if isinstance(value, tuple) else point(value), status)


@pytest.mark.parametrize(("word", "prior"), [("possible", 0.3), ("likely", 0.6), ("near-certain", 0.9)])
def test_without_evidence_it_is_the_prior(word: str, prior: float) -> None:
    found = weighed([], {}, when_true=word)
    assert found.prior == prior
    assert found.probability == pytest.approx(prior)
    assert (found.low, found.high) == (found.probability, found.probability)


@pytest.mark.parametrize(
    ("seen", "expected"),
    # odds 60/40 = 1.5, times 2, 5, 20, 100
    [("weak", 3 / 4), ("moderate", 7.5 / 8.5), ("strong", 30 / 31), ("decisive", 150 / 151)],
)
def test_what_is_seen_multiplies_the_odds(seen: Strength, expected: float) -> None:
    assert weighed([evidence("a", seen)], {"a": 2.0}).probability == pytest.approx(expected)


@pytest.mark.parametrize(
    ("absent", "expected"),
    # odds 1.5, divided by 1, 2, 5, 20, 100
    [("none", 0.6), ("weak", 0.75 / 1.75), ("moderate", 0.3 / 1.3), ("strong", 0.075 / 1.075),
     ("decisive", 0.015 / 1.015)],
)  # fmt: skip
def test_what_is_absent_divides_them(absent: Strength, expected: float) -> None:
    assert weighed([evidence("a", "decisive", absent)], {"a": 0.0}).probability == pytest.approx(expected)


def test_independent_evidence_adds_up() -> None:
    """30 % are odds of 3/7; strong for, moderate for, weak against: 3/7 · 20 · 5 / 2."""
    pieces = [evidence("a", "strong"), evidence("b", "moderate"), evidence("c", "strong", "weak")]
    found = weighed(pieces, {"a": 2.0, "b": 2.0, "c": 0.0}, when_true="possible")
    assert found.probability == pytest.approx(share(3 / 7 * 20 * 5 / 2))


def test_evidence_of_one_group_counts_once_at_its_strongest() -> None:
    pieces = [evidence("a", "weak", group="fsync"), evidence("b", "strong", group="fsync"), evidence("c", "moderate")]
    found = weighed(pieces, {"a": 2.0, "b": 2.0, "c": 2.0})
    assert found.probability == pytest.approx(share(1.5 * 20 * 5))
    assert [piece.counted for piece in found.pieces] == [False, True, True]


def test_of_two_as_strong_in_a_group_the_one_against_counts() -> None:
    pieces = [evidence("a", "strong", group="g"), evidence("b", "weak", "strong", group="g")]
    assert weighed(pieces, {"a": 2.0, "b": 0.0}).probability == pytest.approx(share(1.5 / 20))


def test_evidence_of_one_raw_source_counts_once() -> None:
    """`cpu.busy` and its average over five minutes are one measurement."""
    pieces = [evidence("cpu.busy", "moderate"), evidence("cpu.busy@avg_5m", "strong"), evidence("b", "weak")]
    found = weighed(
        pieces, {"cpu.busy": 2.0, "cpu.busy@avg_5m": 2.0, "b": 2.0}, raw=lambda name: name.partition("@")[0]
    )
    assert found.probability == pytest.approx(share(1.5 * 20 * 2))
    assert [piece.counted for piece in found.pieces] == [False, True, True]


def test_a_group_and_a_raw_source_chain() -> None:
    """The first two share a group, the last two a source: all three are one."""
    pieces = [evidence("a", "weak", group="g"), evidence("b", "moderate", group="g"), evidence("b@avg_5m", "strong")]
    facts: dict[str, float | tuple[float, float] | None] = {"a": 2.0, "b": 2.0, "b@avg_5m": 2.0}
    found = weighed(pieces, facts, raw=lambda name: name.partition("@")[0])
    assert found.probability == pytest.approx(share(1.5 * 20))


def test_settings_share_no_source() -> None:
    """What measures nothing has an empty raw source, and two settings are two pieces."""
    found = weighed([evidence("config.a", "moderate"), evidence("config.b", "moderate")],
                    {"config.a": 2.0, "config.b": 2.0}, raw=lambda _: "")  # fmt: skip
    assert found.probability == pytest.approx(share(1.5 * 25))


@pytest.mark.parametrize(
    ("value", "odds_for"),
    [(25.0, 1.5 * 20), (15.0, 1.5 * 5), (5.0, 1.5 / 2), (20.0, 1.5 * 5), (10.0, 1.5 / 2)],
)
def test_of_graded_evidence_the_highest_step_counts_alone(value: float, odds_for: float) -> None:
    """Cache misses above 10 % support, above 20 % strongly support; together they are not 100 times the odds."""
    steps = graded("miss", (10.0, "moderate"), (20.0, "strong"), absent="weak")
    assert weighed([steps], {"miss": value}).probability == pytest.approx(share(odds_for))


def test_graded_evidence_may_count_downwards() -> None:
    steps = (Step(below("scaling", 0.5), "moderate"), Step(below("scaling", 0.8), "weak"))
    piece = Graded(Reference("scaling"), "scaling", steps, "weak")
    for value, odds_for in ((0.3, 1.5 * 5), (0.7, 1.5 * 2), (0.9, 1.5 / 2)):
        assert weighed([piece], {"scaling": value}).probability == pytest.approx(share(odds_for))


def test_unknown_evidence_widens_the_interval_and_moves_no_figure() -> None:
    found = weighed([evidence("a", "strong", "moderate")], {"a": None})
    assert found.probability == pytest.approx(0.6)
    assert found.low == pytest.approx(share(1.5 / 5))
    assert found.high == pytest.approx(share(1.5 * 20))


def test_evidence_that_nobody_spoke_of_is_as_unknown() -> None:
    found = weighed([evidence("a", "strong", "moderate")], {})
    assert (found.low, found.high) == (pytest.approx(share(1.5 / 5)), pytest.approx(share(1.5 * 20)))


def test_unknown_evidence_of_a_decided_group_only_widens_by_what_would_beat_it() -> None:
    """Strong evidence is seen already: of the group's unknown piece only *decisive against* would tell more."""
    pieces = [evidence("a", "strong", group="g"), evidence("b", "moderate", "decisive", group="g")]
    found = weighed(pieces, {"a": 2.0, "b": None})
    assert found.probability == pytest.approx(share(1.5 * 20))
    assert found.high == pytest.approx(share(1.5 * 20))
    assert found.low == pytest.approx(share(1.5 / 100))


def test_a_bucket_across_a_step_leaves_room_above_the_step_that_holds() -> None:
    steps = graded("miss", (10.0, "moderate"), (20.0, "strong"), absent="weak")
    found = weighed([steps], {"miss": (15.0, 30.0)})
    assert found.probability == pytest.approx(share(1.5 * 5))
    assert found.low == pytest.approx(share(1.5 * 5))
    assert found.high == pytest.approx(share(1.5 * 20))


def test_a_bucket_across_the_lowest_step_decides_nothing() -> None:
    steps = graded("miss", (10.0, "moderate"), (20.0, "strong"), absent="weak")
    found = weighed([steps], {"miss": (5.0, 15.0)})
    assert found.probability == pytest.approx(0.6)
    assert found.low == pytest.approx(share(1.5 / 2))
    assert found.high == pytest.approx(share(1.5 * 5))


@pytest.mark.parametrize(("seen", "spoken"), [("decisive", 20.0), ("strong", 5.0), ("moderate", 2.0), ("weak", 1.0)])
def test_a_proxy_speaks_one_strength_weaker(seen: Strength, spoken: float) -> None:
    found = weighed([evidence("a", seen)], {"a": 2.0}, proxies=["a"])
    assert found.probability == pytest.approx(share(1.5 * spoken))
    assert found.pieces[0].proxy


def test_a_proxy_is_weaker_against_as_well() -> None:
    found = weighed([evidence("a", "strong", "strong")], {"a": 0.0}, proxies=["a"])
    assert found.probability == pytest.approx(share(1.5 / 5))


def test_a_graded_proxy_is_weaker_at_every_step() -> None:
    steps = graded("miss", (10.0, "moderate"), (20.0, "strong"), absent="moderate")
    for value, odds_for in ((25.0, 1.5 * 5), (15.0, 1.5 * 2), (5.0, 1.5 / 2)):
        assert weighed([steps], {"miss": value}, proxies=["miss"]).probability == pytest.approx(share(odds_for))


def test_a_gate_that_rests_on_a_proxy_lowers_the_prior_one_word() -> None:
    found = weighed([], {}, when_true="near-certain", proxies=["gate"])
    assert found.prior == 0.6
    assert found.prior_weakened
    assert weighed([], {}, when_true="possible", proxies=["gate"]).prior == 0.3


@given(
    st.lists(
        st.tuples(
            st.sampled_from(STRENGTHS[1:]),
            st.sampled_from(STRENGTHS),
            st.sampled_from([0.0, 2.0, None]),
            st.sampled_from(["", "g", "h"]),
        ),
        max_size=7,
    )
)
def test_the_interval_holds_the_figure_and_every_way_the_unknown_may_come_out(
    drawn: list[tuple[Strength, Strength, float | None, str]],
) -> None:
    pieces = [evidence(f"e{n}", seen, absent, group=group) for n, (seen, absent, _, group) in enumerate(drawn)]
    values = {f"e{n}": value for n, (_, _, value, _) in enumerate(drawn)}
    found = weighed(pieces, {**values})
    assert 0 < found.low <= found.probability <= found.high < 1
    for settled in (0.0, 2.0):
        known = weighed(pieces, {name: settled if value is None else value for name, value in values.items()})
        assert found.low - 1e-12 <= known.probability <= found.high + 1e-12
        assert known.low == known.probability == known.high


@given(st.permutations(range(6)), st.lists(st.sampled_from([0.0, 2.0, None]), min_size=6, max_size=6))
def test_the_order_of_evidence_changes_no_bit(order: list[int], values: list[float | None]) -> None:
    pieces = [evidence(f"e{n}", STRENGTHS[1 + n % 4], STRENGTHS[n % 5]) for n in range(6)]  # type: ignore[arg-type]
    facts: dict[str, float | tuple[float, float] | None] = {f"e{n}": value for n, value in enumerate(values)}
    first, second = weighed(pieces, facts), weighed([pieces[n] for n in order], facts)
    assert (first.probability, first.low, first.high) == (second.probability, second.low, second.high)


def test_however_much_speaks_against_it_the_figure_stays_a_probability() -> None:
    pieces = [evidence(f"e{n}", "weak", "decisive") for n in range(400)]
    facts: dict[str, float | tuple[float, float] | None] = {f"e{n}": 0.0 for n in range(400)}
    assert weighed(pieces, facts).probability == 0.0
    certain = weighed([evidence(f"e{n}", "decisive") for n in range(400)], {f"e{n}": 2.0 for n in range(400)})
    assert certain.probability == 1.0


@pytest.mark.parametrize(
    ("probability", "word"),
    [
        (0.29, "unlikely"),
        (0.3, "possible"),
        (0.59, "possible"),
        (0.6, "likely"),
        (0.9, "near-certain"),
        (1.0, "near-certain"),
    ],
)
def test_a_confidence_is_called_by_the_highest_word_it_reaches(probability: float, word: str) -> None:
    assert SCALES.word(probability) == word


def test_the_word_of_a_prior_survives_the_way_through_log_odds() -> None:
    """Through log-odds, 0.6 may come back as 0.5999…"""
    for word, prior in SCALES.certainty.items():
        assert SCALES.word(weighed([], {}, when_true=word).probability) == word
        assert math.isclose(odds(prior), math.exp(math.log(odds(prior))))
