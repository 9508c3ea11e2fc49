"""The roofline of a record is the one of what was measured."""

import itertools

import pytest
from made_record import LEVELS, one, part, record, similarity, stream, whole

from engram_diagnose.attaining.roofs import intensity, roofline_of
from engram_diagnose.kernels.measure import roofline as measured
from engram_diagnose.kernels.measure.measurement import Measurement


def as_measured(entry: dict) -> Measurement:
    return Measurement(entry["name"], entry["unit"], (entry["median"],), entry["better"], entry["stability"],
                       entry["labels"], entry["threads"])  # fmt: skip


@pytest.mark.parametrize("layout", ["scalar", "rows", "tiles"])
def test_intensities_are_those_of_what_was_measured(layout: str) -> None:
    for batch, level, lanes in itertools.product((1, 2, 4, 8, 16, 32, 64), ("L1", "L2", "L3", "memory"), (4, 8, 16)):
        assert intensity(layout, batch, level, lanes) == measured.intensity(layout, batch, level, lanes)


def test_peak_roofs_and_points_are_those_of_what_was_measured() -> None:
    made = whole()
    outcomes = [as_measured(entry) for each in made["parts"] for entry in each["measurements"]]
    found, wanted = roofline_of(made), measured.roofline(outcomes)
    assert found is not None
    assert wanted is not None
    assert found.peak == wanted.peak
    assert [(roof.level, roof.bytes_per_second) for roof in found.roofs] == [
        (roof.level, roof.bandwidth) for roof in wanted.roofs if roof.by == "stream.read"
    ]
    points = {(point.layout, point.level, point.batch): (point.intensity, point.attained) for point in wanted.points}
    assert {
        (point.layout, point.level, point.batch): (point.intensity, point.flops) for point in found.points
    }.items() <= (points.items())


def test_of_each_layout_and_level_a_single_query_and_the_furthest_batch_are_told() -> None:
    found = roofline_of(whole())
    assert found is not None
    assert [(point.level, point.batch) for point in found.points if point.layout == "tiles"] == [
        (level, batch) for level in LEVELS for batch in (1, 8)
    ]
    assert len([point for point in found.points if point.layout == "rows"]) == len(LEVELS)


def test_without_peak_or_bandwidth_there_is_none() -> None:
    assert roofline_of(record(stream(), similarity())) is None
    assert roofline_of(record(part("peak", [one("peak.fma", "/s", 92e9)]), similarity())) is None


def test_labels_that_are_no_figures_do_not_matter() -> None:
    odd = [one("peak.fma", "/s", 92e9, labels={"width": "²"}), one("stream.read", "B/s", 1e9, labels={"level": "L1"}),
           one("similarity.rate", "/s", 1e6, labels={"batch": "-1"})]  # fmt: skip
    found = roofline_of(record(part("peak", odd)))
    assert found is not None
    assert [point.batch for point in found.points] == [1]
