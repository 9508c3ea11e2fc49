"""The roofline's data: which figures are roofs, which are points, and how high each point could be."""

from typing import Any

import pytest

from engram_diagnose.kernels.measure.measurement import Measurement, Outcome, Unmeasured
from engram_diagnose.kernels.measure.roofline import OPERATIONS, Point, Roofline, intensity, roofline


def of(name: str, value: float, *, count: int = 1, **labels: str) -> Measurement:
    unit = "B/s" if name.startswith("stream") else "/s"
    return Measurement(name, unit, (value,), "higher", "stable", labels, count)


def a_host(*more: Outcome) -> list[Outcome]:
    return [
        of("peak.fma", 1.1e11, width="256 bit"),
        of("peak.fma", 2.0e11, width="512 bit"),
        of("stream.read", 1.5e10, threads="one", level="memory"),
        of("stream.read", 3e11, threads="one", level="L1"),
        of("stream.read", 1.5e11, threads="one", level="L2"),
        of("stream.triad", 1e10, threads="one"),
        of("similarity.rate", 4e6, layout="tiles", batch="1", level="memory"),
        of("similarity.rate", 2e6, layout="scalar", batch="1", level="L2"),
        of("similarity.rate", 1e8, layout="tiles", batch="16", level="L2"),
        of("similarity.rate", 5e7, layout="tiles", batch="2", level="L2"),
        of("similarity.rate", 4e7, layout="rows", batch="1", level="L1"),
        *more,
    ]


def made(*more: Outcome) -> Roofline:
    found = roofline(a_host(*more))
    assert found is not None
    return found


def test_the_peak_is_that_of_the_best_width() -> None:
    assert (made().peak, made().width) == (2e11, "512 bit")


def test_roofs_go_from_the_core_outwards() -> None:
    assert [(roof.level, roof.by, roof.bandwidth) for roof in made().roofs] == [
        ("L1", "stream.read", 3e11),
        ("L2", "stream.read", 1.5e11),
        ("memory", "stream.read", 1.5e10),
        ("memory", "stream.triad", 1e10),
    ]
    assert made().roofs[1].ridge(made().peak) == pytest.approx(4 / 3)


def test_points_are_similarities_in_operations_a_second() -> None:
    points = [(point.level, point.layout, point.batch, point.attained) for point in made().points]
    assert points == [
        ("L1", "rows", 1, 4e7 * 1536),
        ("L2", "scalar", 1, 2e6 * 1536),
        ("L2", "tiles", 2, 5e7 * 1536),
        ("L2", "tiles", 16, 1e8 * 1536),
        ("memory", "tiles", 1, 4e6 * 1536),
    ]


def test_a_vector_comes_once_from_its_level_for_all_queries() -> None:
    for level in ("L2", "L3", "memory"):
        for layout in ("scalar", "rows", "tiles"):
            assert [intensity(layout, batch, level, 8) for batch in (1, 8, 64)] == [0.5, 4, 32]


def test_from_the_first_level_comes_every_operand() -> None:
    assert intensity("rows", 1, "L1", 8) == intensity("rows", 64, "L1", 16) == 0.25
    assert intensity("tiles", 1, "L1", 8) == pytest.approx(OPERATIONS / (3072 * 1.125))
    assert intensity("tiles", 8, "L1", 16) > intensity("tiles", 8, "L1", 8) > intensity("tiles", 1, "L1", 8)


@pytest.mark.parametrize(
    ("level", "intensity_", "roof"),
    [("memory", 0.5, 7.5e9), ("L2", 1.0, 1.5e11), ("L2", 8.0, 2e11), ("L1", 0.25, 7.5e10)],
)
def test_a_point_could_be_as_high_as_its_level_or_the_core_allows(level: str, intensity_: float, roof: float) -> None:
    assert made().roof_of(Point("tiles", 1, level, intensity_, 1.0, "stable")) == roof


def test_a_level_that_was_not_read_has_no_roof() -> None:
    assert made().roof_of(Point("tiles", 1, "L3", 0.5, 1.0, "stable")) is None


@pytest.mark.parametrize(
    "other",
    [
        of("stream.read", 9e11, count=4, threads="all", level="memory"),
        of("stream.read", 9e11, threads="all", level="memory"),  # one CPU: said of both
        of("stream.copy", 9e11, threads="one"),
        of("similarity.rate", 9e9, count=4, layout="tiles", batch="1", level="memory"),
        of("latency.load", 1e-9, level="L1"),
        Unmeasured("stream.read", "not here", labels={"level": "L3"}),
    ],
)
def test_what_is_not_of_one_thread_is_left_out(other: Any) -> None:
    assert made(other) == made()


def test_the_order_of_the_measurements_does_not_matter() -> None:
    assert roofline(list(reversed(a_host()))) == made()


def test_there_is_no_roofline_without_a_peak() -> None:
    assert roofline([one for one in a_host() if one.name != "peak.fma"]) is None
