"""The load goes first: what it explains is nobody's merit."""

import pytest

from engram_diagnose.engine.advice.record import Verdict
from engram_diagnose.engine.comparison.effect import Effect
from engram_diagnose.engine.comparison.load import compare_load, under
from engram_diagnose.engine.comparison.outcome import level_of_each, overall
from engram_diagnose.engine.comparison.policy import Measure

RATE = Measure("rate", ("ops.rate",), 0.1, heavier=True)
MIX = Measure("mix", ("workload.read_share",), 0.05, absolute=True)
SIZE = Measure("size", ("index.nodes", "data.bytes"), 0.1, heavier=True)
THEN = {"ops.rate": 1000.0, "workload.read_share": 0.7, "index.nodes": 1e6, "data.bytes": 1e9}


def state(assumed: bool = False, **changes: float | None) -> str:
    now = {**THEN, **{key.replace("__", "."): value for key, value in changes.items()}}
    known = {key: value for key, value in now.items() if value is not None}
    return compare_load(THEN, known, (RATE, MIX, SIZE), assumed=assumed).state


def effect(verdict: Verdict) -> Effect:
    return Effect(verdict, 1.0, 2.0, 1.0, 0.5, 1.5)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "comparable"),
        ({"ops__rate": 1080.0}, "comparable"),
        ({"ops__rate": 1500.0}, "heavier"),
        ({"ops__rate": 500.0}, "lighter"),
        ({"ops__rate": 1500.0, "index__nodes": 2e6}, "heavier"),
        ({"ops__rate": 1500.0, "index__nodes": 5e5}, "different"),
        ({"workload__read_share": 0.72}, "comparable"),
        ({"workload__read_share": 0.9}, "different"),
        ({"workload__read_share": None}, "unknown"),
        ({"ops__rate": 1500.0, "workload__read_share": None}, "different"),
        ({"index__nodes": None}, "comparable"),
        ({"index__nodes": None, "data__bytes": 5e9}, "heavier"),
        ({"index__nodes": None, "data__bytes": None}, "unknown"),
    ],
)
def test_what_the_measures_come_to(changes: dict[str, float | None], expected: str) -> None:
    assert state(**changes) == expected  # type: ignore[arg-type]  # keywords of two kinds


@pytest.mark.parametrize(
    ("load", "verdict", "worsens", "expected"),
    [
        ({"ops__rate": 1500.0}, "improved", True, "improved"),
        ({"ops__rate": 1500.0}, "worse", True, "not comparable"),
        ({"ops__rate": 1500.0}, "improved", False, "not comparable"),
        ({"ops__rate": 500.0}, "worse", True, "worse"),
        ({"ops__rate": 500.0}, "improved", True, "not comparable"),
        ({"ops__rate": 500.0}, "no change", True, "not comparable"),
        ({"workload__read_share": 0.9}, "improved", True, "not comparable"),
        ({"workload__read_share": None}, "improved", True, "not comparable"),
        ({"ops__rate": 500.0}, "inconclusive", True, "inconclusive"),
        ({}, "improved", False, "improved"),
    ],
)
def test_only_what_the_load_speaks_against_stands_under_another_load(
    load: dict[str, float], verdict: Verdict, worsens: bool, expected: Verdict
) -> None:
    now = {**THEN, **{key.replace("__", "."): value for key, value in load.items()}}
    now = {key: value for key, value in now.items() if value is not None}
    found = under(compare_load(THEN, now, (RATE, MIX, SIZE)), effect(verdict), worsens=worsens)
    assert found.verdict == expected
    assert bool(found.note) == (bool(load) and verdict != "inconclusive")


def test_the_operators_word_makes_it_comparable_and_the_measures_still_say_what_they_say() -> None:
    load = compare_load(THEN, {**THEN, "ops.rate": 9000.0}, (RATE, MIX, SIZE), assumed=True)
    assert (load.state, load.assumed, load.measures[0].state) == ("comparable", True, "heavier")
    assert under(load, effect("worse"), worsens=True).verdict == "worse"


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        (["no change", "improved"], "improved"),
        (["improved", "worse"], "worse"),
        (["improved", "inconclusive"], "improved"),
        (["no change", "inconclusive"], "inconclusive"),
        (["no change", "no change"], "no change"),
        (["not comparable", "no change"], "no change"),
        (["not comparable"], "not comparable"),
        ([], "not comparable"),
    ],
)
def test_many_figures_are_one_verdict(verdicts: list[Verdict], expected: Verdict) -> None:
    assert overall(verdicts) == expected


def test_all_figures_together_keep_the_confidence() -> None:
    assert level_of_each(0.95, 1) == pytest.approx(0.95)
    assert level_of_each(0.95, 10) == pytest.approx(0.995)
    assert level_of_each(0.95, 0) == pytest.approx(0.95)
