"""
Held to what it promises, on systems that are made: identical ones seldom differ, and the interval holds the truth.

The figures are shares of many trials, with room for chance; the seeds are fixed.
"""

import math
import random
from collections import Counter

import pytest

from engram_diagnose.engine.comparison.effect import compare
from engram_diagnose.engine.comparison.outcome import level_of_each, overall
from engram_diagnose.engine.comparison.policy import Least
from engram_diagnose.engine.comparison.samples import Form, Samples

LEAST = Least(runs=8, windows=10, independent=2, apart=2)
TRIALS = 300
pytestmark = pytest.mark.slow


def system(noise: random.Random, count: int, *, alike: float = 0.0, level: float = 10.0, form: Form = "windows",
           skewed: bool = False) -> Samples:  # fmt: skip
    """Samples of one system, each `alike` its neighbour (correlation), with a standard deviation of 1."""
    value, values = noise.gauss(0, 1), []
    for _ in range(count + 30):
        value = alike * value + math.sqrt(1 - alike * alike) * noise.gauss(0, 1)
        values.append(level + (math.exp(value) / 2.16 if skewed else value))
    return Samples(tuple(values[30:]), form)


def verdicts(form: Form, count: int, alike: float, *, shift: float = 0.0, share: float = 0.0, skewed: bool = False,
             ratio: bool = False, level: float = 0.95) -> Counter[str]:  # fmt: skip
    noise = random.Random(f"{form} {count} {alike} {shift}")
    found: Counter[str] = Counter()
    for _ in range(TRIALS):
        before = system(noise, count, alike=alike, form=form, skewed=skewed)
        after = system(noise, count, alike=alike, form=form, skewed=skewed)
        after = Samples(tuple(value + shift for value in after.values), form)
        found[compare(before, after, better="lower", share=share, least=0.0, level=level, fewest=LEAST).verdict] += 1
    return found


@pytest.mark.parametrize(
    ("form", "count", "alike"),
    [("runs", 8, 0.0), ("runs", 12, 0.0), ("windows", 10, 0.0), ("windows", 30, 0.0), ("windows", 30, 0.5),
     ("windows", 60, 0.5), ("windows", 30, 0.8), ("windows", 60, 0.8), ("windows", 60, 0.9)],
)  # fmt: skip
def test_identical_systems_are_told_apart_in_about_one_of_twenty_comparisons_at_most(
    form: Form, count: int, alike: float
) -> None:
    found = verdicts(form, count, alike)
    assert (found["improved"] + found["worse"]) / TRIALS <= 0.07, found


@pytest.mark.parametrize(("form", "alike"), [("runs", 0.0), ("windows", 0.0), ("windows", 0.6)])
def test_skewed_figures_such_as_latencies_raise_no_more_false_alarms(form: Form, alike: float) -> None:
    for ratio in (False, True):
        found = verdicts(form, 20, alike, skewed=True, ratio=ratio)
        assert (found["improved"] + found["worse"]) / TRIALS <= 0.07, (ratio, found)


@pytest.mark.parametrize(("form", "alike"), [("runs", 0.0), ("windows", 0.0), ("windows", 0.5), ("windows", 0.8)])
def test_with_the_change_that_counts_false_alarms_are_rare(form: Form, alike: float) -> None:
    found = verdicts(form, 30, alike, share=0.05)
    assert (found["improved"] + found["worse"]) / TRIALS <= 0.05, found


@pytest.mark.parametrize(("form", "count", "alike"), [("runs", 8, 0.0), ("windows", 30, 0.0), ("windows", 30, 0.6)])
def test_the_interval_holds_the_true_change(form: Form, count: int, alike: float) -> None:
    noise = random.Random(7)
    held = 0
    for _ in range(TRIALS):
        before = system(noise, count, alike=alike, form=form)
        after = system(noise, count, alike=alike, form=form, level=12.0)
        effect = compare(before, after, better="lower", share=0, least=0, level=0.95, fewest=LEAST)
        assert effect.low is not None
        assert effect.high is not None
        held += effect.low <= 2.0 <= effect.high
    assert held / TRIALS >= 0.92


def test_twelve_figures_of_one_server_compared_with_itself_raise_no_more_alarms_than_one() -> None:
    noise = random.Random(11)
    alarms = 0
    for _ in range(60):
        pairs = [(system(noise, 30, alike=0.5), system(noise, 30, alike=0.5)) for _ in range(12)]
        effects = [compare(*pair, better="lower", share=0, least=0, level=level_of_each(0.95, 12), fewest=LEAST)
                   for pair in pairs]  # fmt: skip
        alarms += overall(effect.verdict for effect in effects) in ("improved", "worse")
    assert alarms <= 60 * 0.12


def test_a_change_that_is_there_is_found() -> None:
    assert verdicts("runs", 8, 0.0, shift=-4.0, share=0.1)["improved"] >= 0.95 * TRIALS
    assert verdicts("windows", 30, 0.5, shift=4.0, share=0.1)["worse"] >= 0.95 * TRIALS


def test_two_servers_that_hardly_vary_show_no_change() -> None:
    noise = random.Random(5)
    found = Counter(
        compare(*(Samples(tuple(10 + value / 1000 for value in system(noise, 20).values)) for _ in range(2)),
                better="lower", share=0.05, least=0, level=0.95, fewest=LEAST).verdict for _ in range(50)
    )  # fmt: skip
    assert found == {"no change": 50}
