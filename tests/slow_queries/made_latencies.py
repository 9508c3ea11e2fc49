"""A bundle of an hour in which each operation and space has the latency and load that a test says."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer

AT = 1_700_000_000.0
EVERY = 30
BOUNDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0)


@dataclass(frozen=True)
class Made:
    """One operation in one space: seconds of latency and operations a second by the minute of the hour."""

    operation: str
    space: str = "default"
    latency: Callable[[float], float] = lambda minute: 0.002
    rate: Callable[[float], float] = lambda minute: 100.0


def steady(value: float) -> Callable[[float], float]:
    return lambda minute: value


def bundle_of(*made: Made, seconds: int = 3600, window: float = 3600.0,
              more: tuple[dict[str, Any], ...] = (), configuration: str = "") -> Bundle:  # fmt: skip
    series = [one for item in made for one in _histogram(item, seconds)]
    body = json.dumps({"status": "success", "data": {"resultType": "matrix", "result": [*series, *more]}})
    answer = Answer("prometheus", f"window {seconds}", AT, "db1:7432", body)
    settings = Answer("config", "/etc/engram/engram.toml", AT, "a1", configuration)
    options = {"window": window, "before": 3600.0}
    return Bundle(
        AT,
        dialect="guide",
        instance="db1:7432",
        host="a1",
        options=options,
        answers=(answer, settings) if configuration else (answer,),
    )


def _times(seconds: int) -> list[float]:
    return [AT - seconds + EVERY * index for index in range(seconds // EVERY + 1)]


def _histogram(made: Made, seconds: int) -> list[dict[str, Any]]:
    """Every operation of an interval falls into the bucket of that minute's latency."""
    times = _times(seconds)
    counts = dict.fromkeys((*map(str, BOUNDS), "+Inf"), 0.0)
    total, spent = 0.0, 0.0
    lines: dict[str, list[list[Any]]] = {bound: [] for bound in counts}
    sums, numbers = [], []
    for time in times:
        minute = (time - times[0]) / 60
        came, latency = made.rate(minute) * EVERY, made.latency(minute)
        total, spent = total + came, spent + came * latency
        for bound in counts:
            counts[bound] += came if float(bound) >= latency else 0.0
            lines[bound].append([time, str(counts[bound])])
        numbers.append([time, str(total)])
        sums.append([time, str(spent)])
    labels = {"operation": made.operation, "memory_space": made.space, "instance": "db1:7432", "job": "engram"}
    name = "engram_memory_operation_duration_seconds"
    found = [{"metric": {"__name__": f"{name}_bucket", "le": bound, **labels}, "values": values}
             for bound, values in lines.items()]  # fmt: skip
    found.append({"metric": {"__name__": f"{name}_count", **labels}, "values": numbers})
    found.append({"metric": {"__name__": f"{name}_sum", **labels}, "values": sums})
    return found


def gauge(name: str, value: float, seconds: int = 3600, **labels: str) -> dict[str, Any]:
    metric = {"__name__": name, "instance": "db1:7432", "job": "engram", **labels}
    return {"metric": metric, "values": [[time, str(value)] for time in _times(seconds)]}


def counter(name: str, per_second: float, seconds: int = 3600, **labels: str) -> dict[str, Any]:
    metric = {"__name__": name, "instance": "db1:7432", "job": "engram", **labels}
    times = _times(seconds)
    return {"metric": metric, "values": [[time, str((time - times[0]) * per_second)] for time in times]}
