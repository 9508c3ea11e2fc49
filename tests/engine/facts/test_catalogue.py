"""Names with windows: what may be asked of a fact."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.catalogue import (
    BASELINE,
    BEFORE,
    Catalogue,
    FactSpec,
    Window,
    split_window,
)
from engram_diagnose.engine.facts.unit import BANDWIDTH, RATE, UNITS

CATALOGUE = Catalogue(
    {
        spec.name: spec
        for spec in (
            FactSpec("cpu.busy", "number", UNITS["share"], "", history=True, low=0, high=1, raw="cpu-time"),
            FactSpec("wal.bytes_written", "number", UNITS["B"], "", history=True, counter=True, low=0),
            FactSpec("host.cores", "number", UNITS["cores"], "", low=1),
            FactSpec("server.up", "bool", UNITS[""], "", history=True, low=0, high=1),
        )
    },
    {},
    (),
)


@pytest.mark.parametrize(
    ("name", "base", "window"),
    [
        ("cpu.busy", "cpu.busy", None),
        ("cpu.busy@avg_5m", "cpu.busy", Window("avg", 300.0)),
        ("cpu.busy@min_30s", "cpu.busy", Window("min", 30.0)),
        ("cpu.busy@max_2h", "cpu.busy", Window("max", 7200.0)),
        ("wal.bytes_written@rate_5m", "wal.bytes_written", Window("rate", 300.0)),
        ("cpu.busy@slope_30m", "cpu.busy", Window("slope", 1800.0)),
        ("cpu.busy@before", "cpu.busy", BEFORE),
        ("cpu.busy@baseline", "cpu.busy", BASELINE),
    ],
)
def test_a_window_is_split_off(name: str, base: str, window: Window | None) -> None:
    assert split_window(name) == (base, window)


@pytest.mark.parametrize("name", ["a@", "a@avg", "a@avg_5", "a@avg_5d", "a@p99_5m", "a@avg_-5m", "a@after", "@", ""])
def test_what_is_no_window_stays_in_the_name(name: str) -> None:
    assert split_window(name) == (name, None)


@given(st.text(max_size=20))
def test_any_text_is_split_without_harm(text: str) -> None:
    base, window = split_window(text)
    assert window is not None or base == text


@pytest.mark.parametrize("name", ["cpu.busy@avg_5m", "cpu.busy@before", "host.cores@baseline", "cpu.busy"])
def test_windows_that_can_be_asked_for(name: str) -> None:
    spec = CATALOGUE.spec(name)
    assert spec is not None
    assert spec.name == name


@pytest.mark.parametrize("name", ["host.cores@avg_5m", "host.cores@before", "cpu.bsy@avg_5m", "cpu.busy@avg_5"])
def test_a_snapshot_has_no_windows_but_its_baseline(name: str) -> None:
    assert CATALOGUE.spec(name) is None


def test_a_rate_is_in_its_unit_per_second() -> None:
    spec = CATALOGUE.spec("wal.bytes_written@rate_5m")
    assert spec is not None
    assert spec.unit.dimension == BANDWIDTH
    assert not spec.counter
    assert (spec.low, spec.high) == (0, float("inf"))


def test_a_slope_may_fall_and_has_no_bounds() -> None:
    spec = CATALOGUE.spec("cpu.busy@slope_30m")
    assert spec is not None
    assert spec.unit.dimension == RATE
    assert (spec.low, spec.high) == (float("-inf"), float("inf"))


def test_a_window_keeps_the_bounds_and_the_source() -> None:
    spec = CATALOGUE.spec("cpu.busy@max_5m")
    assert spec is not None
    assert (spec.low, spec.high, spec.raw) == (0, 1, "cpu-time")
