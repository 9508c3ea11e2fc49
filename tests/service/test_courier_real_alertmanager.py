"""The courier and a real Alertmanager: our alert appears there, lives on, and goes."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from courier_stage import courier_of, to
from places import Book, alertmanager, eventually, free_port, place, sending


@pytest.mark.server
def test_in_a_real_alertmanager_our_alert_appears_lives_on_and_goes(book: Book, tmp_path: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    with place() as hook, alertmanager(tmp_path / "am", webhook=hook.url) as real:
        settings = to(dead, real.url, resolve_after=3)
        alert = book.alert()
        incident = book.fire(alert)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                book.diagnose(settings)
                courier.wake()
                await eventually(lambda: real.alerts(incident=incident), "our alert")
                (found,) = real.alerts(alertname="EngramDiagnosis")
                assert found["annotations"]["action"] == "Set storage.hot_tier_size_mb to 2048"
                assert found["annotations"]["confidence"] == "87 %"
                first = found["endsAt"]
                await eventually(lambda: real.alerts(incident=incident)[0]["endsAt"] > first, "a refresh")
                await asyncio.sleep(3)
                assert len(real.alerts(alertname="EngramDiagnosis")) == 1, "outlives its first end"
                await eventually(lambda: hook.told(), "Alertmanager to route it to people")
                book.resolve(alert)
                courier.wake()
                await eventually(lambda: not real.alerts(incident=incident), "our alert to go", seconds=5)

        asyncio.run(told())
        sent = [json.loads(got.body) for got in hook.told()]
    assert sent[0]["alerts"][0]["annotations"]["cause"] == "The hot tier is too small"
    assert {one["labels"]["alertname"] for got in sent for one in got["alerts"]} == {"EngramDiagnosis"}


@pytest.mark.server
def test_a_real_alertmanager_that_was_restarted_has_our_alert_again(book: Book, tmp_path: Path) -> None:
    settings = to(resolve_after=3)
    incident = ""

    async def told(url: str, happens: Callable[[], Any]) -> None:
        at = replace(settings, alertmanager=replace(settings.alertmanager, urls=(url,)))
        async with sending(courier_of(book, at)):
            await eventually(happens, "our alert")

    incident = book.fire(book.alert())
    book.diagnose(settings)
    for life in ("first", "second"):
        with alertmanager(tmp_path / life) as real:
            asyncio.run(told(real.url, lambda real=real: real.alerts(incident=incident)))


@pytest.mark.server
@pytest.mark.slow
def test_a_finding_is_in_alertmanagers_api_within_the_second(book: Book, tmp_path: Path) -> None:
    took: list[float] = []
    with alertmanager(tmp_path / "am") as real:
        settings = to(real.url)

        async def told() -> None:
            async with sending(courier_of(book, settings)) as courier:
                for number in range(100):
                    incident = book.fire(book.alert(instance=f"engram-{number}"))
                    book.diagnose(settings)
                    begun = time.monotonic()
                    courier.wake()
                    await eventually(lambda id=incident: real.alerts(incident=id), "our alert")
                    took.append(time.monotonic() - begun)

        asyncio.run(told())
    took.sort()
    print(f"finding to Alertmanager: p50 {took[50] * 1000:.0f} ms, p99 {took[98] * 1000:.0f} ms")
    assert took[98] < 1
