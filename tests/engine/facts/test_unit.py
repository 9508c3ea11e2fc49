"""Figures with units: read to the last bit, printed as an operator writes them."""

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.unit import (
    BANDWIDTH,
    BYTES,
    NUMBER,
    RATE,
    TIME,
    UNITS,
    Dimension,
    format_value,
    parse_quantity,
)


@pytest.mark.parametrize(
    ("text", "value", "dimension"),
    [
        ("70%", 0.7, NUMBER),
        ("9.3ms", 0.0093, TIME),
        ("0.1 %", 0.001, NUMBER),
        ("1e-05 s", 1e-05, TIME),
        ("5ms", 0.005, TIME),
        ("250 us", 0.00025, TIME),
        ("250 µs", 0.00025, TIME),
        ("3m", 180.0, TIME),
        ("64 MiB", 64 * 2.0**20, BYTES),
        ("1.5GB", 1.5e9, BYTES),
        ("20 GB/s", 20e9, BANDWIDTH),
        ("1 Gbit/s", 125e6, BANDWIDTH),
        ("1000/s", 1000.0, RATE),
        ("6/min", 0.1, RATE),
        ("360/h", 0.1, RATE),
        ("7 ns", 7e-9, TIME),
        ("0.3 GB", 3e8, BYTES),
        ("2.5 GHz", 2.5e9, RATE),
        ("1_000_000", 1e6, NUMBER),
        ("-3", -3.0, NUMBER),
        (".5", 0.5, NUMBER),
        ("12 cores", 12.0, NUMBER),
    ],
)
def test_a_figure_is_read_exactly(text: str, value: float, dimension: Dimension) -> None:
    quantity = parse_quantity(text)
    assert quantity.value == value
    assert quantity.unit.dimension == dimension


@given(st.integers(0, 100_000))
def test_percentages_are_the_nearest_floats(hundredths: int) -> None:
    """`0.57 * 100` is 56.99…; a threshold of 57 % must be 0.57 all the same."""
    assert parse_quantity(f"{hundredths / 100}%").value == float(f"{hundredths}e-4")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a figure with a unit"),
        ("five ms", "not a figure with a unit"),
        ("5 ms 3", "not a figure with a unit"),
        ("nan", "not a figure with a unit"),
        ("5 parsecs", "'parsecs' is not a unit"),
        ("5 MS", "'MS' is not a unit"),
        ("1e999", "too large"),
        ("1e999 ms", "too large"),
        ("1e99999999999 %", "too large"),
        ("1e99999999999999999999999 %", "too large"),
        ("٣ms", "not a figure"),
        ("1:30", "not a figure"),
    ],
)
def test_what_is_no_figure_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_quantity(text)


@given(st.text(max_size=12))
def test_any_text_is_a_figure_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert math.isfinite(parse_quantity(text).value)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0093, "s", "9.3 ms"),
        (0.00025, "s", "250 µs"),
        (2e-9, "s", "2 ns"),
        (90.0, "s", "1.5 min"),
        (7200.0, "s", "2 h"),
        (0.0, "s", "0 ns"),
        (64 * 2.0**20, "B", "64 MiB"),
        (20e9, "B/s", "20 GB/s"),
        (1200.0, "/s", "1,200/s"),
        (0.712, "share", "71.2 %"),
        (0.7, "%", "70 %"),
        (1.0, "share", "100 %"),
        (8.0, "cores", "8 cores"),
        (3.14159, "ratio", "3.14"),
        (2.5e9, "Hz", "2.5 GHz"),
        (1234567.0, "count", "1,234,567"),
        (0.0, "count", "0"),
        (-0.005, "s", "-5 ms"),
        (1e-12, "ratio", "1e-12"),
        (math.inf, "s", "∞"),
        (-math.inf, "s", "-∞"),
        (math.nan, "s", "NaN"),
        (1e308, "share", "∞ %"),
    ],
)
def test_a_figure_is_printed_as_an_operator_writes_it(value: float, unit: str, text: str) -> None:
    assert format_value(value, UNITS[unit]) == text


ROUND = st.sampled_from(["s", "B", "B/s", "/s", "share", "count", "Hz", "cores"])


@given(st.floats(1e-6, 1e11), ROUND)
def test_what_is_printed_can_be_read_back_to_three_figures(value: float, unit: str) -> None:
    printed = format_value(value, UNITS[unit])
    read = parse_quantity(printed.replace(",", ""))
    assert read.unit.dimension == UNITS[unit].dimension
    assert math.isclose(read.value, value, rel_tol=6e-3)


@given(st.floats(allow_nan=True, allow_infinity=True), st.sampled_from(sorted(UNITS)))
def test_every_figure_can_be_printed(value: float, unit: str) -> None:
    assert format_value(value, UNITS[unit])


def test_dimensions_multiply_and_divide() -> None:
    assert BYTES / TIME == BANDWIDTH
    assert BANDWIDTH * TIME == BYTES
    assert TIME / TIME == NUMBER
    assert str(Dimension(seconds=-2)) == "s^-2·B^0"


def test_the_unit_of_a_rate_keeps_the_factor() -> None:
    assert UNITS["MiB"].per_second().dimension == BANDWIDTH
    assert UNITS["MiB"].per_second().factor == 2.0**20
