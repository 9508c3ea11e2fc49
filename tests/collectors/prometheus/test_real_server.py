"""
The evaluator against a real Prometheus that scrapes a real exporter.

The exporter plants what production does to series: resets, gaps, ends, failed scrapes, NaN, timestamps
of its own, label values of every kind, buckets that repeat or fall.
"""

import math
import random
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from engram_diagnose.collectors.prometheus.client import Found, Prometheus, PrometheusOptions, Refusal
from engram_diagnose.collectors.prometheus.evaluate import Evaluator
from engram_diagnose.collectors.prometheus.expression import selectors_in
from engram_diagnose.collectors.prometheus.functions import Semantics, semantics_of
from engram_diagnose.collectors.prometheus.labels import Labels, escaped, label, labels_of
from engram_diagnose.collectors.prometheus.promql import parse
from engram_diagnose.collectors.prometheus.series import SeriesStore, store_of_matrix
from engram_diagnose.engine.facts.fact import Reason

pytestmark = pytest.mark.server

LINES = (Path(__file__).parent / "expressions.txt").read_text().splitlines()
EXPRESSIONS = [line for line in LINES if not line.startswith("#")]
NOTHING = {
    'lab_connections{memory_space="no such"}',
    "no_such_metric",
    "histogram_quantile(0.5, lab_connections)",
}
SCRAPES = 18
LOOKBACK_SECONDS = 6
SPACES = ["default", "quiet", 'a "quoted" \\ one', "two\nlines", "😀 <b>bold</b> [red]", "é{}=,"]
BOUNDS = ["0.001", "0.005", "0.01", "0.05", "0.1", "+Inf"]


class Exporter:
    """What one scrape after the other says; every figure follows from the number of the scrape."""

    def __init__(self) -> None:
        self.scrape = 0
        self.random = random.Random(20260101)
        self.counters: dict[str, float] = {}
        self.started = time.time()

    def text(self) -> str | None:
        """The next scrape; None where it is to fail."""
        self.scrape += 1
        if self.scrape == 9:
            return None
        lines: list[str] = []
        for space in SPACES:
            lines += self._of_space(f'memory_space="{escaped(space)}"')
        lines += self._odd_ones()
        return "\n".join(lines) + "\n"

    def _count(self, series: str, most: float = 10) -> str:
        before = 0.0 if "operations" in series and self.scrape == 7 else self.counters.get(series, 0)
        self.counters[series] = before + self.random.uniform(0, most)
        return f"{series} {self.counters[series]!r}"

    def _of_space(self, space: str) -> list[str]:
        lines = []
        for operation in ("store", "recall"):
            labels = f'{{{space},operation="{operation}"}}'
            lines.append(self._count(f"lab_operations_total{labels}"))
            lines += self._histogram("lab_duration_seconds", labels)
        hits = self._count(f"lab_hits_total{{{space}}}")
        gauge = self.random.uniform(0, 10)
        memory = self.random.uniform(1e6, 1e7)
        lines += [hits, self._count(f"lab_requests_total{{{space}}}", 30)]
        lines += [f"lab_connections{{{space}}} {gauge}", f"lab_memory_bytes{{{space}}} {memory}"]
        return [*lines, f"lab_data_bytes{{{space}}} 4e6"]

    def _histogram(self, name: str, labels: str) -> list[str]:
        lines, count = [], 0.0
        for bound in BOUNDS:
            key = f'{name}_bucket{labels[:-1]},le="{bound}"}}'
            self._count(key, 5)
            count += self.counters[key]
            lines.append(f"{key} {count!r}")
        return [*lines, f"{name}_count{labels} {count!r}", self._count(f"{name}_sum{labels}", 0.5)]

    def _odd_ones(self) -> list[str]:
        odd, step = [], self.scrape
        odd.append(f"lab_nan {'NaN' if step % 3 == 0 else step}")
        odd.append(f"lab_start_time_seconds {self.started}")
        odd += ["lab_idle_hits_total 5", "lab_idle_requests_total 5"]
        odd += [f'lab_idle_seconds_bucket{{le="{bound}"}} 3' for bound in BOUNDS]
        odd += [f'lab_slow_seconds_bucket{{le="{bound}"}} {step}' for bound in BOUNDS[:-1]]
        odd.append(f'lab_slow_seconds_bucket{{le="+Inf"}} {step * 50}')
        for bound, count in (("0.1", 9), ("0.10", 4), ("0.5", 7), ("junk", 3), ("+Inf", 21)):
            odd.append(f'lab_crooked_seconds_bucket{{le="{bound}"}} {count * step}')
        if step % 4 != 0:
            odd += [f"lab_gappy {step}", f"lab_gappy_total {step * step}"]
        if step < 13:
            odd.append(f"lab_ends {step}")
        if step < 6:
            odd.append(f"lab_pushed {step} {int(time.time() * 1000) - 400}")
        return odd


class Handler(BaseHTTPRequestHandler):
    exporter: Exporter

    def do_GET(self) -> None:
        text = self.exporter.text()
        body = (text or "down").encode()
        self.send_response(200 if text else 500)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


CONFIGURATION = """
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
  - job_name: lab
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
  - job_name: other
    static_configs: [{{targets: ["127.0.0.1:1"]}}]
"""


@dataclass(frozen=True)
class Lab:
    """A Prometheus that has scraped the exporter for a while."""

    url: str
    instance: str
    found: Found
    now: float
    client: httpx.Client

    @property
    def semantics(self) -> Semantics:
        return replace(semantics_of(self.found.version), lookback_ms=LOOKBACK_SECONDS * 1000)

    def answers(self, query: str, at: float) -> dict[Labels, float]:
        """The server's own answer."""
        form = {"query": query, "time": f"{at:.3f}"}
        answer = self.client.post(f"{self.url}/api/v1/query", data=form).raise_for_status()
        data = answer.json()["data"]
        if data["resultType"] == "scalar":
            return {(): float(data["result"][1])}
        return {labels_of(item["metric"].items()): float(item["value"][1]) for item in data["result"]}

    def store(self, at: float) -> SeriesStore:
        names = {selector.name for text in EXPRESSIONS for selector in selectors_in(parse(text))}
        with Prometheus(PrometheusOptions(self.url)) as prometheus:
            body = prometheus.window({*names, "up"}, instance=self.instance, seconds=60, at=at)
        assert isinstance(body, str)
        return store_of_matrix(body)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@pytest.fixture(scope="module")
def exporter() -> Iterator[int]:
    Handler.exporter = Exporter()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def lab(exporter: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on the PATH (Debian: apt-get install prometheus)")
    folder, port = tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "prometheus.yml").write_text(CONFIGURATION.format(port=exporter))
    command = [binary, f"--config.file={folder}/prometheus.yml", "--log.level=warn",
               f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{port}",
               f"--query.lookback-delta={LOOKBACK_SECONDS}s"]  # fmt: skip
    with (folder / "log").open("w") as log, httpx.Client() as client:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            found = scraped(f"http://127.0.0.1:{port}", folder / "log")
            yield Lab(f"http://127.0.0.1:{port}", f"127.0.0.1:{exporter}", found, time.time(), client)
        finally:
            process.terminate()
            process.wait(20)


def scraped(url: str, log: Path) -> Found:
    """What the server has found, once it has scraped enough."""
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if Handler.exporter.scrape > SCRAPES:
            with Prometheus(PrometheusOptions(url)) as prometheus:
                found = prometheus.instances(["lab_connections"], at=time.time())
            assert isinstance(found, Found)
            return found
        time.sleep(0.25)
    raise AssertionError(f"Prometheus scraped too little: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module")
def evaluators(lab: Lab) -> dict[float, Evaluator]:
    """
    One for each instant: between scrapes, at a scrape to the millisecond, around the one that
    failed, and after `lab_pushed` fell out of the look-back.
    """
    (up,) = lab.store(lab.now).named("up")
    failed = up.times[up.values.index(0.0)] / 1000
    instants = [up.times[index] / 1000 for index in (-1, -2, -6)]
    instants += [lab.now - 0.5, lab.now - 3.217]
    instants += [failed, failed + 0.5, failed + 1.3, failed - 4.1]
    return {at: Evaluator(lab.store(at), lab.semantics) for at in instants}


def differences(ours: dict[Labels, float], theirs: dict[Labels, float]) -> list[Any]:
    if ours.keys() != theirs.keys():
        return [("labels", sorted(ours), sorted(theirs))]
    return [
        (labels, ours[labels], theirs[labels])
        for labels in ours
        if not math.isclose(ours[labels], theirs[labels], rel_tol=1e-9)
        and ours[labels] != theirs[labels]
        and not (math.isnan(ours[labels]) and math.isnan(theirs[labels]))
    ]


def only_of(instance: str, vector: dict[Labels, float]) -> dict[Labels, float]:
    """Without the series of the other target, which the raw query did not ask for."""
    return {labels: value for labels, value in vector.items() if label(labels, "instance") in ("", instance)}


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_an_expression_gives_what_the_server_gives(text: str, lab: Lab, evaluators: dict[float, Evaluator]) -> None:
    answered = 0
    for at, evaluator in evaluators.items():
        vector = evaluator.at(parse(text), round(at * 1000))
        ours = {sample.labels: sample.value for sample in vector}
        theirs = only_of(lab.instance, lab.answers(text, at))
        assert differences(ours, theirs) == [], f"{at:.3f}"
        answered += bool(theirs)
    assert (answered > 0) == (text not in NOTHING), "whether anything was compared"


def test_the_instance_is_found_with_the_version_of_its_prometheus(lab: Lab) -> None:
    (instance,) = lab.found.instances
    assert (instance.name, instance.job, instance.up) == (lab.instance, "lab", True)
    assert lab.found.version.count(".") == 2


def test_label_values_of_every_kind_survive_the_way(lab: Lab) -> None:
    series = lab.store(lab.now).named("lab_connections")
    assert {label(one.labels, "memory_space") for one in series} == set(SPACES)


def test_an_instance_that_is_not_there_has_no_samples(lab: Lab) -> None:
    with Prometheus(PrometheusOptions(lab.url)) as prometheus:
        for name in ("nobody:1", '"} or up{a="', "a\\", "😀\n"):
            answer = prometheus.window(["lab_connections"], instance=name, seconds=60, at=lab.now)
            assert isinstance(answer, Refusal)
            assert answer.reason is Reason.SOURCE_ABSENT


def test_a_query_that_the_server_refuses_is_a_refusal(lab: Lab) -> None:
    with Prometheus(PrometheusOptions(lab.url)) as prometheus:
        answer = prometheus.window(["x"], instance="", seconds=1e15, at=lab.now)
    assert isinstance(answer, Refusal)
    assert answer.reason is Reason.UNPARSED
    assert "400" in answer.detail
