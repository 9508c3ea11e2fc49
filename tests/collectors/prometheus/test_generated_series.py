"""
The evaluator against a real Prometheus, over many generated series.

Samples are pushed by remote write, so that they have the times, resets, gaps, NaN and stale markers that we choose,
and native histograms can be had without an exporter that speaks protobuf.
"""

import math
import random
import shutil
import socket
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import httpx
import pytest

from engram_diagnose.collectors.prometheus.client import Prometheus, PrometheusOptions, raw_query
from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.functions import Semantics, semantics_of
from engram_diagnose.collectors.prometheus.labels import Labels, labels_of
from engram_diagnose.collectors.prometheus.promql import parse
from engram_diagnose.collectors.prometheus.series import SeriesStore, store_of_matrix

pytestmark = pytest.mark.server

STALE = struct.pack("<Q", 0x7FF0000000000002)
"""The NaN that says that a series has ended."""
SPAN_SECONDS = 420
BOUNDS = ["0.001", "0.01", "0.1", "1", "10", "+Inf"]


# Protocol buffers, as far as remote write takes


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def zigzag(value: int) -> bytes:
    return varint(value << 1 ^ value >> 63)


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def block(number: int, body: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(body)) + body


def double(number: int, value: float | bytes) -> bytes:
    return varint(number << 3 | 1) + (value if isinstance(value, bytes) else struct.pack("<d", value))


def snappy(body: bytes) -> bytes:
    """The block format with nothing compressed."""
    pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
    return varint(len(body)) + b"".join(b"\xf4" + struct.pack("<H", len(piece) - 1) + piece for piece in pieces)


# Series


@dataclass
class Histogram:
    """
    A native histogram that grows.

    Its counts are whole: Prometheus 2.42 mixes series up as soon as one of them has histograms of floats, which no
    scrape gives.
    """

    schema: int
    zero_threshold: float
    zero: int = 0
    sum: float = 0.0
    positive: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)

    def encoded(self, time_ms: int) -> bytes:
        counts = self.zero + sum(self.positive.values()) + sum(self.negative.values())
        body = whole(1, counts) + double(3, self.sum) + varint(4 << 3) + zigzag(self.schema)
        body += double(5, self.zero_threshold) + whole(6, self.zero)
        body += self._buckets(self.negative, 8) + self._buckets(self.positive, 11)
        return body + whole(15, time_ms)

    def _buckets(self, counts: dict[int, int], number: int) -> bytes:
        spans = values = b""
        last, before = None, 0
        for index in sorted(counts):
            offset = index if last is None else index - last - 1
            spans += block(number, varint(1 << 3) + zigzag(offset) + whole(2, 1))
            values += zigzag(counts[index] - before)
            last, before = index, counts[index]
        return spans + (block(number + 1, values) if counts else b"")


Value = float | bytes | Histogram


@dataclass
class Pushed:
    labels: dict[str, str]
    samples: list[tuple[int, Value]]

    def encoded(self) -> bytes:
        labels = b"".join(block(1, block(1, name.encode()) + block(2, value.encode()))
                          for name, value in sorted(self.labels.items()))  # fmt: skip
        return block(1, labels + b"".join(self._sample(*sample) for sample in self.samples))

    def _sample(self, time_ms: int, value: Value) -> bytes:
        if isinstance(value, Histogram):
            return block(4, value.encoded(time_ms))
        if value == STALE and self.labels["__name__"].startswith("gen_native"):
            return block(4, double(3, STALE) + whole(1, 0) + whole(15, time_ms))
        return block(2, double(1, value) + whole(2, time_ms))


class Maker:
    """Targets that are scraped, now and then not, and what they publish; the same for the same seed."""

    def __init__(self, seed: int, end_ms: int) -> None:
        self.random = random.Random(seed)
        self.end_ms = end_ms

    def target(self, number: int) -> list[Pushed]:
        """One target with `up`: whatever a scrape does not see ends with a stale marker."""
        every = self.random.choice([5_000, 10_000, 15_000])
        start = self.end_ms - SPAN_SECONDS * 1000 + self.random.randrange(20_000)
        scrapes = [at + self.random.randrange(40) for at in range(start, self.end_ms, every)]
        failed = {at for at in scrapes if self.random.random() < self.random.choice([0, 0.1])}
        labels = {"instance": f"t{number}", "job": "generated"}
        up = Pushed({"__name__": "up", **labels}, [(at, float(at not in failed)) for at in scrapes])
        return [up, *(replace(one, labels={**one.labels, **labels}) for one in self._published(scrapes, failed))]

    def _published(self, scrapes: list[int], failed: set[int]) -> Iterator[Pushed]:
        gappy = self.random.choice([0, 0.05, 0.3])
        for name, values in (
            ("gen_total", self.counter(len(scrapes))),
            ("gen_gauge", self.gauge(len(scrapes))),
            ("gen_native_seconds", self.native(len(scrapes))),
        ):
            yield self._seen({"__name__": name}, scrapes, failed, values, gappy)
        for bound, values in self.classic(len(scrapes)):
            yield self._seen({"__name__": "gen_classic_seconds_bucket", "le": bound}, scrapes, failed, values, 0)

    def _seen(self, labels: dict[str, str], scrapes: list[int], failed: set[int], values: Iterable[Value],
              gappy: float) -> Pushed:  # fmt: skip
        samples: list[tuple[int, Value]] = []
        alive = False
        for at, value in zip(scrapes, values, strict=True):
            if at in failed or self.random.random() < gappy:
                samples += [(at, STALE)] if alive else []
                alive = False
            else:
                samples.append((at, value))
                alive = True
        return Pushed(labels, samples)

    def counter(self, count: int) -> list[float]:
        value = self.random.choice([0.0, 3.0, 1e9])
        most = self.random.choice([0.0, 0.5, 1000.0])
        resets = self.random.choice([0, 0.05, 0.3])
        found = []
        for _ in range(count):
            reset = self.random.random() < resets
            value = self.random.uniform(0, value / 2) if reset else value + self.random.uniform(0, most)
            found.append(value)
        return found

    def gauge(self, count: int) -> list[float]:
        odd = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-300, 1e300]
        strange = self.random.choice([0, 0, 0.2])
        return [
            self.random.choice(odd) if self.random.random() < strange else self.random.uniform(-50, 50)
            for _ in range(count)
        ]

    def classic(self, count: int) -> list[tuple[str, list[float]]]:
        columns: list[list[float]] = [[] for _ in BOUNDS]
        counts = [0.0] * len(BOUNDS)
        for _ in range(count):
            if self.random.random() < 0.05:
                counts = [0.0] * len(BOUNDS)
            for index in range(len(BOUNDS)):
                counts[index] += self.random.choice([0, 0, self.random.randrange(50)])
            total = 0.0
            for column, found in zip(columns, counts, strict=True):
                total += found
                column.append(total)
        return list(zip(BOUNDS, columns, strict=True))

    def native(self, count: int) -> list[Histogram]:
        """Growing, now and then reset, at times at another resolution."""
        current = self._fresh()
        found = []
        for _ in range(count):
            if self.random.random() < 0.07:
                current = self._fresh()
            current = self._grown(current)
            found.append(current)
        return found

    def _fresh(self) -> Histogram:
        """With an observation in a bucket and one at zero: the API does not tell the bounds of what is empty."""
        threshold = self.random.choice([2.938735877055719e-39, 0.0, 0.001])
        return Histogram(self.random.choice([-4, -1, 0, 2, 3, 8]), threshold, 1, 2.0, {3: 1})

    def _grown(self, before: Histogram) -> Histogram:
        after = replace(before, positive=dict(before.positive), negative=dict(before.negative))
        width = 2.0**after.schema
        for _ in range(self.random.randrange(6)):
            index = math.ceil(self.random.uniform(-9, 6) * width)
            if 2 ** (index / width) <= after.zero_threshold:  # that is what the zero bucket is for
                continue
            side = after.negative if self.random.random() < 0.1 else after.positive
            side[index] = side.get(index, 0) + self.random.randrange(1, 30)
            after.sum += self.random.uniform(0, 5)
        after.zero += self.random.choice([0, 0, 3])
        return after


# The server


@dataclass(frozen=True)
class Lab:
    url: str
    end: float
    semantics: Semantics
    client: httpx.Client

    def answers(self, query: str, at: float) -> dict[Labels, object]:
        answer = self.client.post(f"{self.url}/api/v1/query", data={"query": query, "time": f"{at:.3f}"})
        data = answer.raise_for_status().json()["data"]["result"]
        return {labels_of(item["metric"].items()): item for item in data}

    @cache  # noqa: B019  # one lab, and it lives as long as the tests
    def evaluator(self, at: float) -> Evaluator:
        return Evaluator(self.store(at), self.semantics)

    def store(self, at: float) -> SeriesStore:
        names = ["up", "gen_total", "gen_gauge", "gen_native_seconds", "gen_classic_seconds_bucket"]
        with Prometheus(PrometheusOptions(self.url)) as prometheus:
            body = prometheus.window(names, instance="", seconds=SPAN_SECONDS + 600, at=at)
        assert isinstance(body, str)
        return store_of_matrix(body)


TARGETS = 60


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on the PATH (Debian: apt-get install prometheus)")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text("{}\n")
    command = [binary, f"--config.file={folder}/prometheus.yml", "--log.level=warn",
               "--enable-feature=native-histograms",
               "--web.enable-remote-write-receiver", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address=127.0.0.1:{port}"]  # fmt: skip
    with (folder / "log").open("w") as log, httpx.Client() as client:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            yield pushed(url, client, folder / "log")
        finally:
            process.terminate()
            process.wait(20)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def pushed(url: str, client: httpx.Client, log: Path) -> Lab:
    """The server with everything in it."""
    end = int(time.time()) * 1000
    maker = Maker(20260101, end)
    series = [one for number in range(TARGETS) for one in maker.target(number)]
    body = snappy(b"".join(one.encoded() for one in series))
    wait_until_ready(url, client, log)
    headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
    answer = client.post(f"{url}/api/v1/write", content=body, headers=headers)
    assert answer.status_code == 204, answer.text
    version = client.get(f"{url}/api/v1/status/buildinfo").json()["data"]["version"]
    return Lab(url, end / 1000, semantics_of(version), client)


def wait_until_ready(url: str, client: httpx.Client, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if client.get(f"{url}/-/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-2000:])


WINDOWS = ["11s", "60s", "5m"]
OVER_RANGE = ["rate", "increase", "irate", "delta", "deriv", "changes", "resets", "avg_over_time", "min_over_time",
              "max_over_time", "sum_over_time", "count_over_time", "last_over_time"]  # fmt: skip
OF_FIGURES = [f"{function}({name}[{window}])" for function in OVER_RANGE for name in ("gen_total", "gen_gauge")
              for window in WINDOWS]  # fmt: skip
AT_ONCE = ["gen_total", "gen_gauge", "gen_total offset 47s", "sum(gen_gauge)", "sum by (job) (rate(gen_total[1m]))"]
CLASSIC = [f"histogram_quantile({q}, {inner})" for q in ("0", "0.5", "0.99", "1") for inner in (
    "rate(gen_classic_seconds_bucket[1m])",
    "sum by (le) (rate(gen_classic_seconds_bucket[5m]))",
    "gen_classic_seconds_bucket",
)]  # fmt: skip
READ_FROM = [*(f"{function}(gen_native_seconds[{window}])" for function in ("rate", "increase")
             for window in WINDOWS), "sum(rate(gen_native_seconds[1m]))"]  # fmt: skip
NATIVE = [
    # Not of 0, and not without a rate: there empty buckets decide in Prometheus 2, and such are not in its answer.
    *(f"histogram_quantile({q}, {inner})" for q in ("0.1", "0.5", "0.99", "1", "2", "-1") for inner in READ_FROM),
    "histogram_quantile(1e-9, rate(gen_native_seconds[1m]))",
    *(
        f"{part}({inner})"
        for part in ("histogram_count", "histogram_sum")
        for inner in (*READ_FROM, "gen_native_seconds", "sum(gen_native_seconds)")
    ),
]


@pytest.mark.parametrize("text", [*OF_FIGURES, *AT_ONCE, *CLASSIC, *NATIVE])
def test_generated_series_give_what_the_server_gives(text: str, lab: Lab) -> None:
    compared = 0
    for back in (0.0, 1.5, 33.333, 200.0):
        at = lab.end - back
        theirs = {labels: item["value"][1] for labels, item in lab.answers(text, at).items()}  # type: ignore[index]
        ours = {sample.labels: sample.value for sample in lab.evaluator(at).at(parse(text), round(at * 1000))}
        assert ours.keys() == theirs.keys(), f"{back} s before the end"
        assert {labels: (ours[labels], theirs[labels]) for labels in ours
                if not equal(ours[labels], float(theirs[labels]))} == {}, f"{back} s before the end"  # fmt: skip
        compared += len(ours)
    assert compared, "nothing was compared"


def equal(ours: float, theirs: float) -> bool:
    return math.isclose(ours, theirs, rel_tol=1e-9) or (math.isnan(ours) and math.isnan(theirs))


def test_native_histograms_come_whole_out_of_the_answer(lab: Lab) -> None:
    at = lab.end
    store = lab.store(at)
    assert sum(len(one.times) for one in store.native["gen_native_seconds"]) > 10 * TARGETS
    assert raw_query(["a"], instance="", seconds=1) == '{__name__=~"a"}[1s]'
