"""Times by bucket, against the list of all of them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bench.made import benchmark, run

from engram_diagnose.bench.sending.histogram import Histogram, bounds_of, bucket_of, merged
from engram_diagnose.verification.benchmark import read_benchmark

TIMES = st.lists(st.integers(0, 10**12), max_size=200)


def filled(times: list[int]) -> Histogram:
    histogram = Histogram()
    for one in times:
        histogram.add(one)
    return histogram


@given(st.integers(0, 2**62))
def test_a_time_lies_in_its_bucket_which_is_narrow(time: int) -> None:
    low, high = bounds_of(bucket_of(time))
    assert low <= time <= high
    assert high - low <= max(0, low * 0.008)
    assert bucket_of(high + 1) == bucket_of(time) + 1


@given(TIMES)
def test_quantiles_are_those_of_the_sorted_times_within_a_bucket(times: list[int]) -> None:
    histogram = filled(times)
    for share in (0.5, 0.9, 0.99, 0.999):
        found = histogram.quantile(share)
        if not times:
            assert found is None
            continue
        true = sorted(times)[max(0, -(-round(share * len(times) * 1000) // 1000) - 1)]
        assert found == pytest.approx(true / 1e9, rel=0.008, abs=1e-9)


@given(TIMES, TIMES)
def test_merged_histograms_are_that_of_all_times(some: list[int], others: list[int]) -> None:
    assert merged([filled(some), filled(others)]) == filled(some + others)


@given(TIMES)
def test_what_is_written_is_of_the_benchmark_format(times: list[int]) -> None:
    made: dict[str, Any] = run("store")
    document = filled(times).document()
    made["operations"]["store"] |= {"ok": len(times), "sent": len(times), "response": document, "service": document}
    read_benchmark("made", json.dumps(benchmark(made)).encode())
    assert sum(document["counts"]) == len(times)
    assert document["sum"] == pytest.approx(sum(times) / 1e9)
