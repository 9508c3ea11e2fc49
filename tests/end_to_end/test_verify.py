"""
A fault that is there and then is not: `verify` over two windows of a real Prometheus.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from stage import ROOT, Said, engram_diagnose, folder_on_disk, free_port, planted, prometheus

pytestmark = [pytest.mark.server, pytest.mark.slow]

WARM_UP = 12.0
SPAN = 50.0
"""Seconds of one side: a dozen windows of four scrapes."""
FLUSH_SECONDS = 0.005
"""
What a flush takes longer than this disk needs: with the fault a store waits for those of all clients, some 0.3 s. How
long that is depends neither on the disk, nor on what else this machine does.
"""


@dataclass(frozen=True)
class Change:
    """When the server ran with the fault, and when without; and the Prometheus that knows both."""

    url: str
    instance: str
    faulty: tuple[float, float, float]
    mended: tuple[float, float]

    def verify(self, before: tuple[float, float], after: tuple[float, float], *options: str) -> Said:
        sides = ("--before", "/".join(map(str, before)), "--after", "/".join(map(str, after)))
        return engram_diagnose("verify", "--prometheus", self.url, *sides, *options)


@pytest.fixture(scope="module")
def change() -> Iterator[Change]:
    """One server, flushed on every write and then in batches, under clients that always ask again at once."""
    port = free_port()
    with folder_on_disk() as folder:
        instance = f"127.0.0.1:{port}"
        with prometheus(folder / "prometheus", {instance: instance}) as scraper:
            with planted(folder / "faulty", port=port, slower_flush=FLUSH_SECONDS) as server:
                config = server.config.read_text(encoding="utf-8")
                time.sleep(WARM_UP)
                start = time.time()
                time.sleep(2 * SPAN)
                faulty = (start, start + SPAN, time.time())
            (folder / "mended").mkdir()
            mended_config = config.replace('"immediate"', '"batch"').replace("interval_ms = 10", "interval_ms = 100")
            (folder / "mended" / Path(server.config).name).write_text(mended_config, encoding="utf-8")
            with planted(folder / "mended", port=port, slower_flush=FLUSH_SECONDS):
                time.sleep(WARM_UP)
                start = time.time()
                time.sleep(SPAN)
                yield Change(scraper.url, instance, faulty, (start, time.time()))


def test_a_mended_fault_is_an_improvement_although_more_is_asked_of_the_server(change: Change) -> None:
    said = change.verify(change.faulty[:2], change.mended, "--format", "json")
    assert said.code == 0, said.out + said.err
    schema = json.loads((ROOT / "rules" / "schema" / "verification-v1.json").read_text(encoding="utf-8"))
    Draft202012Validator(schema).validate(said.document)
    assert said.document["verdict"]["state"] == "improved"
    store = next(one for one in said.document["figures"]
                 if one["on"] == "op.latency.p99" and one["scope"]["operation"] == "store")  # fmt: skip
    assert store["verdict"] == "improved", store
    assert store["high"] < 0
    assert said.document["load"]["state"] in ("heavier", "comparable")
    assert said.document["before"]["samples"] >= 10


def test_the_other_way_round_is_no_improvement(change: Change) -> None:
    said = change.verify(change.mended, change.faulty[:2])
    assert said.code == 2
    assert "turned round" in said.err


def test_a_fault_that_stays_is_neither_better_nor_worse(change: Change) -> None:
    start, middle, end = change.faulty
    said = change.verify((start, middle), (middle, end), "--figure", "op.latency.p99{operation=store}")
    assert said.code in (0, 4), said.out
    assert not said.out.startswith("WORSE")


def test_a_time_of_which_nothing_is_known_is_said(change: Change) -> None:
    said = change.verify((change.faulty[0] - 9000, change.faulty[0] - 8000), change.mended)
    assert said.code == 3
    assert not said.has_traceback
