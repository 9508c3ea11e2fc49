"""A lab, clients and a teller that only pretend, around the incident that comes with the tool."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.bench.sending.histogram import Histogram
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.demo import playing
from engram_diagnose.demo.pace import Pace
from engram_diagnose.demo.stage import Scene, scene_of
from engram_diagnose.demo.telling import Terminal
from engram_diagnose.incidents import example_incident, save_example
from engram_diagnose.lab.faults import fault_named
from engram_diagnose.lab.planting import Ground, Impossible

_REQUESTS = 2000
PACE = Pace(memories=100, room_bytes=1)
Json = Mapping[str, Any]


@dataclass
class PretendedLab:
    """Where its configuration is, and which ones it was started with."""

    config_path: Path
    pid: int
    started_with: list[str] = field(default_factory=list)

    def stop(self) -> None:
        return

    def restart(self, config: str) -> None:
        self.config_path.write_text(config)
        self.started_with.append(config)

    @property
    def is_batching(self) -> bool:
        return 'sync_mode = "batch"' in self.config_path.read_text()


def run_of(rate: float, p99: float) -> dict[str, Any]:
    """A run of the benchmark format: stores alone, all of them answered."""
    histogram = Histogram()
    for _ in range(_REQUESTS):
        histogram.add(int(p99 * 1e9))
    told = histogram.document()
    operation = {"sent": _REQUESTS, "ok": _REQUESTS, "errors": {}, "rate": rate,
                 "response": told, "service": told, "lag": told}  # fmt: skip
    return {
        "started": "2026-11-22T12:00:00.000Z",
        "duration_seconds": _REQUESTS / rate,
        "order": 1,
        "side": "",
        "workload": {"name": "demo", "mix": {"store": 1.0}, "loop": "open", "offered_rate": rate, "clients": 4,
                     "dataset": {"memories": 100}, "dimension": 768, "spaces": ["default"]},
        "server": {"address": "127.0.0.1:1", "version": "", "dialect": "guide", "configuration": ""},
        "client": {"host": "here", "workers": 1},
        "validity": {"valid": True, "lag_p99_seconds": 0.0001, "delivered_share": 1.0, "worker_cpu_share": 0.1,
                     "reasons": []},
        "operations": {"store": operation},
    }  # fmt: skip


@dataclass
class PretendedClients:
    """Stores take 200 ms while every write is flushed, else 2 ms; and only so many are served."""

    lab: PretendedLab
    bundle: Bundle
    on_offer: Callable[[], None] = lambda: None

    def offer(self, rate: float, seconds: float, *, told: str) -> Json:
        self.on_offer()
        return run_of(min(rate, 5000.0), 0.002 if self.lab.is_batching else 0.2)

    def watched(self, rate: float, seconds: float, *, told: str) -> tuple[Json, Bundle]:
        return self.offer(rate, seconds, told=told), self.bundle


@dataclass
class Stage:
    """What a test plays on: run it with `play`, then read what was told."""

    playing: playing.Playing
    labs: list[PretendedLab]
    out: io.StringIO
    err: io.StringIO
    on_offer: list[Callable[[], None]]

    def play(self, name: str = "fsync-per-write") -> Any:
        return playing.play(self.playing, scene(name))

    @property
    def told(self) -> str:
        return self.out.getvalue()


def scene(name: str) -> Scene:
    return scene_of(fault_named(name), "plain", PACE)


@pytest.fixture
def impossible() -> list[Impossible]:
    """What cannot be planted here."""
    return []


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, impossible: list[Impossible]) -> Stage:
    example = tmp_path / "example"
    save_example(example)
    labs: list[PretendedLab] = []
    out, err = io.StringIO(), io.StringIO()
    hook: list[Callable[[], None]] = [lambda: None]

    @contextmanager
    def pretended(rooms: Any, scene: Scene, config: str, **_: Any) -> Iterator[Any]:
        lab = PretendedLab(rooms.scratch / "engram.toml", pid=1)
        lab.config_path.write_text((example / "engram.toml").read_text())
        labs.append(lab)
        yield lab, Ground(impossible=tuple(impossible))

    @contextmanager
    def clients(lab: PretendedLab, *_: Any) -> Iterator[PretendedClients]:
        yield PretendedClients(lab, example_incident(), lambda: hook[0]())

    monkeypatch.setattr(playing, "lab", pretended)
    terminal = Terminal(80, out=out, err=err)
    made = playing.Playing(terminal, tmp_path / "base", clients, tmp_path / "kept.bundle")
    return Stage(made, labs, out, err, hook)
