"""
A Prometheus that answers with the incident that comes with the tool, as though it were happening at the time asked for.

Flushes are made slower than they were, so that the cause shows in the metrics alone, without the disk's own figures.

`python tests/service/replayed.py` prints its address and serves until it is ended.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from web_server import Reply, Silent, answering

from engram_diagnose.collectors.bundle import read_bundle

BUNDLE = Path(__file__).resolve().parents[2] / "src/engram_diagnose/incidents/wal-write-amplification.bundle"
CAUSE = "storage.wal-write-amplification"


class Recording:
    """
    The samples of the incident's instance, or the same for `every_instance`.

    `queries` are what was asked; while it is `down` it answers 503. `pods` are the series, as metric and
    instance, that have a pod's name as their label `pod`.
    """

    def __init__(self, *, every_instance: bool = False) -> None:
        bundle = read_bundle(BUNDLE)
        self.instance = bundle.instance
        self._time = bundle.time
        self._text = next(answer.body or "" for answer in bundle.of("prometheus") if answer.answered)
        self.queries: list[str] = []
        self.down = False
        self.pods: dict[str, list[tuple[str, str]]] = {}
        self._every_instance = every_instance

    @cached_property
    def _answer(self) -> Any:
        return json.loads(self._text)

    def answer(self, query: str, at: float) -> str:
        self.queries.append(query)
        if "pod=" in query:
            named = [one for pod, those in self.pods.items() if f'pod="{pod}"' in query for one in those]
            result = [
                {"metric": {"__name__": name, "instance": instance}, "value": [at, "1"]} for name, instance in named
            ]
            return _success("vector", result)
        if "last_over_time" in query:
            metrics = sorted({one["metric"]["__name__"] for one in self._answer["data"]["result"]})
            result = [{"metric": {"__name__": name, "instance": self.instance, "job": "engram"}, "value": [at, "1"]}
                      for name in metrics]  # fmt: skip
            return _success("vector", result)
        if not self._every_instance and f'instance="{self.instance}"' not in query:
            return _success("matrix", [])
        return json.dumps(self._answer | {"data": self._moved(at - self._time)})

    def _moved(self, by: float) -> Any:
        moved = [
            one | {"values": [[round(time + by, 3), _slowed(one["metric"], figure)] for time, figure in one["values"]]}
            for one in self._answer["data"]["result"]
        ]
        return self._answer["data"] | {"result": moved}


def _slowed(metric: Any, figure: str) -> str:
    """No flush takes less than 20 ms."""
    flushes = metric["__name__"] == "engram_wal_flush_duration_seconds_bucket"
    return "0" if flushes and float(metric["le"]) < 0.02 else figure


def _success(kind: str, result: object) -> str:
    return json.dumps({"status": "success", "data": {"resultType": kind, "result": result}})


@contextmanager
def replaying(*, every_instance: bool = False) -> Iterator[tuple[str, Recording]]:
    """Its address, and what it plays."""
    recording = Recording(every_instance=every_instance)

    def reply(_: str, asked: str) -> Reply:
        if not asked:
            return _json("{}", status=404)
        if recording.down:
            return _json("starting", status=503)
        form = parse_qs(asked)
        return _json(recording.answer(form["query"][0], float(form["time"][0])))

    with answering(reply, protocol="HTTP/1.1", by=Silent) as address:
        yield address, recording


def _json(body: str, *, status: int = 200) -> Reply:
    return Reply(body, status, "application/json")


if __name__ == "__main__":
    with replaying(every_instance=True) as (address, _):
        print(address, flush=True)
        threading.Event().wait()
