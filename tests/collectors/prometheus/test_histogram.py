"""Quantiles of classic histograms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.histogram import (
    BEYOND_LAST,
    NO_INFINITE_BUCKET,
    NO_OBSERVATIONS,
    NOT_MONOTONIC,
    Bucket,
    quantile,
)
from engram_diagnose.collectors.prometheus.labels import labels_of
from engram_diagnose.collectors.prometheus.promql import parse
from engram_diagnose.collectors.prometheus.series import Series, store_of

INF = math.inf


def test_a_quantile_is_interpolated_and_carries_its_bucket() -> None:
    found = quantile(0.9, [(1.0, 50.0), (2.0, 100.0), (INF, 100.0)])
    assert found.value == pytest.approx(1.8)
    assert found.bucket is not None
    assert found.bucket.interval() == (math.nextafter(1.0, INF), 2.0)


def test_the_first_bucket_starts_at_zero() -> None:
    found = quantile(0.5, [(4.0, 10.0), (INF, 10.0)])
    assert found.value == 2.0
    assert found.bucket is not None
    assert found.bucket.interval() == (0.0, 4.0)


def test_a_first_bucket_below_zero_has_no_lower_end() -> None:
    found = quantile(0.5, [(-1.0, 10.0), (INF, 10.0)])
    assert found.value == -1.0
    assert found.bucket is not None
    assert found.bucket.interval() == (-INF, -1.0)


def test_beyond_the_last_bucket_only_a_lower_bound_is_known() -> None:
    found = quantile(0.99, [(1.0, 50.0), (2.0, 90.0), (INF, 100.0)])
    assert found.value == 2.0
    assert found.notes == {BEYOND_LAST}
    assert found.bucket is not None
    assert found.bucket.interval() == (math.nextafter(2.0, INF), INF)


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ([(1.0, 0.0), (INF, 0.0)], NO_OBSERVATIONS),
        ([(1.0, math.nan), (INF, math.nan)], NO_OBSERVATIONS),
        ([(1.0, 5.0), (2.0, 6.0)], NO_INFINITE_BUCKET),
        ([(INF, 6.0)], NO_INFINITE_BUCKET),
        ([], NO_INFINITE_BUCKET),
    ],
)
def test_a_histogram_that_says_nothing_is_nan_with_its_reason(counts: list[tuple[float, float]], note: str) -> None:
    found = quantile(0.5, counts)
    assert math.isnan(found.value)
    assert note in found.notes
    assert found.bucket is None


def test_falling_counts_are_raised_and_noted_and_repeated_bounds_add_up() -> None:
    found = quantile(0.5, [(1.0, 60.0), (2.0, 40.0), (INF, 100.0)])
    assert found.notes == {NOT_MONOTONIC}
    assert found.value == pytest.approx(50 / 60)
    assert quantile(0.5, [(1.0, 5.0), (1.0, 5.0), (INF, 10.0)]).value == pytest.approx(0.5)


def test_rounding_in_sums_is_no_fall() -> None:
    found = quantile(1.0, [(1.0, 0.1 + 0.2), (2.0, 0.3), (INF, 0.1 + 0.2)])
    assert found.notes == frozenset()
    assert found.value == 1.0


def test_quantiles_outside_of_0_and_1_are_infinite() -> None:
    assert quantile(-1, [(1.0, 1.0), (INF, 1.0)]).value == -INF
    assert quantile(2, [(1.0, 1.0), (INF, 1.0)]).value == INF
    assert math.isnan(quantile(math.nan, [(1.0, 1.0), (INF, 1.0)]).value)


def bucket_of(text: str) -> Bucket | None:
    """The bucket that one expression carries over a histogram whose P90 lies in (1, 2]."""
    store = store_of(
        Series(labels_of([("__name__", "h"), ("le", bound)]), [0], [count])
        for bound, count in (("1", 50.0), ("2", 100.0), ("+Inf", 100.0), ("junk", 5.0))
    )
    (sample,) = Evaluator(store).at(parse(text), 0)
    return sample.bucket


def test_the_bucket_goes_through_a_number_and_through_nothing_else() -> None:
    assert bucket_of("histogram_quantile(0.9, h)") == Bucket(1.0, 2.0)
    assert bucket_of("1000 * histogram_quantile(0.9, h)") == Bucket(1000.0, 2000.0)
    assert bucket_of("histogram_quantile(0.9, h) / 4") == Bucket(0.25, 0.5)
    turned = bucket_of("-histogram_quantile(0.9, h)")
    assert turned is not None
    assert turned.interval() == (-2.0, math.nextafter(-1.0, -INF))
    for text in ("histogram_quantile(0.9, h) + 1", "max(histogram_quantile(0.9, h))",
                 "histogram_quantile(0.9, h) * 0", "1 / histogram_quantile(0.9, h)"):  # fmt: skip
        assert bucket_of(text) is None


COUNTS = st.lists(st.tuples(st.sampled_from([-1.0, 0.0, 0.1, 1.0, 5.0, INF, math.nan]) | st.floats(), st.floats()))


@given(st.floats(), COUNTS)
def test_no_counts_make_it_raise(q: float, counts: list[tuple[float, float]]) -> None:
    found = quantile(q, counts)
    assert isinstance(found.value, float)


@given(
    st.floats(0, 1),
    st.lists(st.integers(0, 50), min_size=2, max_size=8).filter(lambda steps: sum(steps) > 0),
)
def test_the_figure_lies_in_its_bucket(q: float, steps: list[int]) -> None:
    bounds = [*(0.5 * 2**index for index in range(len(steps) - 1)), INF]
    cumulative = [float(sum(steps[: index + 1])) for index in range(len(steps))]
    found = quantile(q, zip(bounds, cumulative, strict=True))
    if found.bucket is None or math.isnan(found.value):
        return
    low, high = found.bucket.low, found.bucket.high
    assert low * (1 - 1e-12) <= found.value <= high * (1 + 1e-12)
