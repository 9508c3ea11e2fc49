"""The text format."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.prometheus.exposition import TextSample, _Known, _sample_of, parse_exposition
from engram_diagnose.collectors.prometheus.labels import escaped, labels_of

SCRAPE = r"""
# HELP engram_spreading_activations_total Activations, with a "quote" and a \\ in the help
# TYPE engram_spreading_activations_total counter
engram_spreading_activations_total 1080
# TYPE engram_spreading_latency_hot_seconds histogram
engram_spreading_latency_hot_seconds_bucket{le="0.00002"} 0
engram_spreading_latency_hot_seconds_bucket{le="0.0000287"} 29
engram_spreading_latency_hot_seconds_bucket{le="0.0000287"} 30
engram_spreading_latency_hot_seconds_bucket{le="+Inf"} 30
# an ordinary comment
TAB spaced  {  a = "b" , c="d" , }   1.5e-3   1700000000123
""".replace("TAB", "\t")


def sample(name: str, value: float, at: int | None = None, **labels: str) -> TextSample:
    return TextSample(labels_of([("__name__", name), *labels.items()]), value, at)


def test_a_scrape_becomes_samples_and_types() -> None:
    found = parse_exposition(SCRAPE)
    bucket = "engram_spreading_latency_hot_seconds_bucket"
    assert found.samples == [
        sample("engram_spreading_activations_total", 1080),
        sample(bucket, 0, le="0.00002"),
        sample(bucket, 29, le="0.0000287"),
        sample(bucket, 30, le="+Inf"),
        sample("spaced", 0.0015, 1700000000123, a="b", c="d"),
    ]
    assert found.types["engram_spreading_latency_hot_seconds"] == "histogram"
    assert found.quality == ["1 lines repeat a series; the first one counts"]


def test_openmetrics_is_read_too() -> None:
    found = parse_exposition(
        "# TYPE x counter\n# UNIT x seconds\n"
        'x_total{a="b"} 17.0 1520879607.789 # {trace_id="K x"} 0.67 1520879607.7\n'
        'x_bucket{le="1"} 2 # {} 0.5\n# EOF\n'
    )
    assert found.samples == [
        sample("x_total", 17, 1520879607789, a="b"),
        sample("x_bucket", 2, le="1"),
    ]
    assert found.junk == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [("NaN", math.nan), ("+Inf", math.inf), ("-Inf", -math.inf), ("1e+06", 1e6), ("-.5", -0.5)],
)
def test_values_are_read_as_prometheus_writes_them(text: str, expected: float) -> None:
    (found,) = parse_exposition(f"x {text}").samples
    assert found.value == expected or math.isnan(found.value) == math.isnan(expected)


@pytest.mark.parametrize(
    "line",
    ["x", "x ", "{} 1", "1x 2", "x 1_0", "x 0x1f", "x １", "x 1 2 3", "x 1 1.5", 'x{a="b} 1',
     'x{a="b"', 'x{a=b} 1', 'x{a="b"c="d"} 1', 'x{a="1",a="2"} 1', 'x{__name__="y"} 1',
     'x{a-b="c"} 1', "x{,} 1", "<html>", "x 1 99999999999999999999", 'x{a="b"} one',
     "x" + "9" * 500 + "{"],
)  # fmt: skip
def test_a_line_that_is_none_is_counted_and_shown(line: str) -> None:
    found = parse_exposition(f"good 1\n{line}\nalso_good 2\n")
    assert [name for ((_, name), *_), *_ in found.samples] == ["good", "also_good"]
    assert found.junk == 1
    assert "line 2: " in found.quality[0]


def test_bytes_that_are_no_utf8_cost_their_line_alone() -> None:
    found = parse_exposition(b'x{a="\xff"} 1\ny{a="\xc3\xa9"} 2\n')
    assert found.samples == [sample("y", 2, a="é")]
    assert "\\udcff" in found.examples[0]


def test_a_label_without_value_is_no_label() -> None:
    assert parse_exposition('x{a=""} 1').samples == [sample("x", 1)]


@given(st.text())
def test_any_label_value_survives(value: str) -> None:
    (found,) = parse_exposition(f'x{{a="{escaped(value)}"}} 1').samples
    assert found == sample("x", 1, a=value)


@given(st.one_of(st.binary(), st.text()))
def test_nothing_makes_it_raise(text: str | bytes) -> None:
    found = parse_exposition(text)
    assert all(note.isprintable() for note in found.quality)


PIECES = st.sampled_from(["x", "{", "}", 'a="', '"', ",", "\\", " ", "1", "# ", "TYPE ", "\n", "="])


@given(st.lists(PIECES, max_size=60).map("".join))
def test_nothing_like_a_scrape_makes_it_raise(text: str) -> None:
    parse_exposition(text)


def test_hostile_lines_take_no_time() -> None:
    start = time.monotonic()
    for line in ("x{" + 'a="b",' * 50_000, 'x{a="' + "\\\\" * 100_000, "x" * 500_000, "x{" * 100_000):
        parse_exposition(line)
    assert time.monotonic() - start < 5


LABEL_PIECES = st.sampled_from(
    ["x", "y", "{", "}", 'a="b"', 'le="1"', 'a="', '"', ",", '",', '""', "} ", " ", "1", "\\", "=", "__name__"]
)


@given(st.lists(LABEL_PIECES, min_size=1, max_size=12).map("".join))
def test_what_is_read_the_short_way_is_what_the_long_way_gives(line: str) -> None:
    known = _Known()
    for _ in range(2):  # the second time everything was read before
        short = known.sample(line)
        assert short is None or short == _sample_of(line, open_metrics=False)


@pytest.mark.parametrize("line", ['x{a="b",le="1"} 5', 'x{le="1"} NaN', 'x_bucket{b="2",a="1, {}"} 1e3'])
def test_what_servers_write_is_read_the_short_way(line: str) -> None:
    found = _Known().sample(line)
    assert found is not None
    assert repr(found) == repr(_sample_of(line, open_metrics=False))
