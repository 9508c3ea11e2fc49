"""What a measurement says of its figures."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.kernels.measure.measurement import Better, Measurement, quantile

FIGURES = st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=30)


def a_measurement(*values: float, better: Better = "higher") -> Measurement:
    return Measurement("some.figure", "B/s", values, better, "stable")


@given(values=FIGURES, share=st.floats(0, 1))
def test_quantiles_are_those_of_numpy(values: list[float], share: float) -> None:
    expected = float(np.quantile(values, share, method="linear"))
    assert quantile(values, share) == pytest.approx(expected, rel=1e-9, abs=1e-3)


@given(values=FIGURES)
def test_quartiles_enclose_the_median_and_half_of_the_figures(values: list[float]) -> None:
    one = a_measurement(*values)
    low, high = one.quartiles
    assert min(values) <= low <= one.median <= high <= max(values)
    assert sum(low <= value <= high for value in values) * 2 >= len(values) - 2


def test_what_is_attained_is_the_quartile_on_the_worse_side() -> None:
    assert a_measurement(1, 2, 3, 4, 5).attained == 2
    assert a_measurement(1, 2, 3, 4, 5, better="lower").attained == 4


@given(values=st.lists(st.floats(0.001, 1e12), min_size=1, max_size=30))
def test_three_repeats_of_four_attain_it(values: list[float]) -> None:
    high, low = a_measurement(*values), a_measurement(*values, better="lower")
    assert sum(value >= high.attained for value in values) * 4 >= 3 * len(values) - 3
    assert sum(value <= low.attained for value in values) * 4 >= 3 * len(values) - 3


def test_spread_is_the_distance_of_the_quartiles_as_a_share_of_the_median() -> None:
    assert a_measurement(90, 95, 100, 105, 110).spread == pytest.approx(0.1)
    assert a_measurement(-90, -95, -100, -105, -110).spread == pytest.approx(0.1)
    assert a_measurement(5).spread == 0
    assert a_measurement(0, 0).spread == 0
    assert a_measurement(-1, 0, 1).spread == math.inf


@pytest.mark.parametrize("values", [(), (math.nan,), (1.0, math.inf), (1.0, -math.inf)])
def test_figures_that_are_none_are_refused_by_name(values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"some\.figure"):
        a_measurement(*values)
