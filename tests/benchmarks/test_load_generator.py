"""The truth that the load generator is held to."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
from load_generator import true_quantile


def test_a_tenth_of_all_requests_waits_up_to_a_second() -> None:
    truth = true_quantile(0.99, rate=2000, count=20_000, start=100.0, stall=(104.0, 105.0))
    assert truth == pytest.approx(0.9, abs=0.001)


def test_a_stall_shorter_than_the_tail_is_not_seen_in_it() -> None:
    assert true_quantile(0.99, rate=1000, count=10_000, start=0.0, stall=(5.0, 5.05)) == 0.0


@given(st.floats(0.0, 8.0), st.floats(0.2, 2.0))
def test_where_in_the_run_a_stall_lies_changes_nothing(at: float, lasting: float) -> None:
    truth = true_quantile(0.99, rate=500, count=5_000, start=0.0, stall=(at, at + lasting))
    assert truth == pytest.approx(lasting - 0.1, abs=0.01)
