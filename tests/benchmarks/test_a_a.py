"""A server compared with itself: the bound is exact, and a few real comparisons run."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from a_a import Alarms, outcomes, upper_bound


def fewer(alarms: int, comparisons: int, rate: float) -> float:
    """The chance of so few alarms or fewer."""
    return sum(math.comb(comparisons, k) * rate**k * (1 - rate) ** (comparisons - k) for k in range(alarms + 1))


@given(st.integers(1, 300).flatmap(lambda n: st.tuples(st.integers(0, n - 1), st.just(n))))
def test_at_the_bound_so_few_alarms_come_in_one_of_twenty_cases(counts: tuple[int, int]) -> None:
    alarms, comparisons = counts
    bound = upper_bound(alarms, comparisons)
    assert alarms / comparisons < bound <= 1
    assert fewer(alarms, comparisons, bound) == pytest.approx(0.05, abs=1e-4)


def test_of_nothing_but_alarms_nothing_bounds_the_rate() -> None:
    assert upper_bound(5, 5) == 1


def test_nine_alarms_in_two_hundred_keep_the_bar_and_ten_do_not() -> None:
    assert [outcomes(Alarms(200, alarms, 1600, 600))[0].met for alarms in (0, 9, 10)] == [True, True, False]


def test_fewer_comparisons_promise_nothing() -> None:
    line = outcomes(Alarms(199, 0, 1592, 600))[0]
    assert line.met is None
    assert "199 of 200" in line.noise


@pytest.mark.slow
def test_a_server_is_compared_with_itself_by_real_runs(root: Path) -> None:
    program = ("import json, a_a; found = a_a.compare_with_itself(1, seed=3); "
               "print(json.dumps([found.comparisons, found.pairs]))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], cwd=root / "benchmarks", capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert json.loads(done.stdout) == [1, 8]
