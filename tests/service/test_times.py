"""Times are written in one way wherever they go."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.service.times import instant


@pytest.mark.parametrize(("seconds", "said"), [
    (1_700_000_000.25, "2023-11-14T22:13:20.250Z"), (0.0, "1970-01-01T00:00:00.000Z"),
    (1e300, "9999-12-31T23:59:59.999Z"), (-1e300, "0001-01-01T00:00:00.000Z"),
    (float("nan"), "1970-01-01T00:00:00.000Z"),
    (float("inf"), "9999-12-31T23:59:59.999Z"),
])  # fmt: skip
def test_a_time_is_told_as_alertmanager_and_programs_read_it(seconds: float, said: str) -> None:
    assert instant(seconds) == said


@given(st.floats(), st.floats())
def test_texts_are_in_the_order_of_the_times(first: float, second: float) -> None:
    if first <= second:
        assert instant(first) <= instant(second)
