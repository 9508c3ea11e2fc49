"""
The lab's clients: the benchmark's load engine with a fault's mix of operations, and the collectors beside it.
"""

import json
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlencode

from engram_diagnose.bench.advice import Observing, Wish, client_record, with_load
from engram_diagnose.bench.asking import Asking
from engram_diagnose.bench.guards import Size, checked_address
from engram_diagnose.bench.loading import EngineLoader, zipf_picks
from engram_diagnose.bench.plans import Plan, Step
from engram_diagnose.bench.preflight import Server
from engram_diagnose.bench.quality import Quality, measured_quality, store_for_quality
from engram_diagnose.bench.results import Setting, run_document
from engram_diagnose.bench.sending.task import Kind
from engram_diagnose.bench.targets import ROUTES
from engram_diagnose.bench.verdict import p99_limits
from engram_diagnose.bench.workloads import Kind as Workload
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.gather import Request
from engram_diagnose.demo.stage import CannotPlayError, Scene
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.lab.fault import Load
from engram_diagnose.lab.preload import texts as preloaded
from engram_diagnose.lab.process import LabProcess

Json = Mapping[str, Any]
SPACE: Final = "default"
"""Where the lab's memories are that it begins with."""
_QUALITY_SPACE: Final = "bench-quality"
_TARGETS: Final = "target"
_SEED: Final = 1
_ASKED_WORDS: Final = 4
_COMPLETED_WORDS: Final = 2
_SIGNS: Final[Mapping[str, tuple[bytes, ...]]] = {"pattern_completion": (b"{",)}
_FOUND: Final = (b'"memories"', b'"results"')
_OK: Final = frozenset({200})


class LabClients:
    """Loads one lab with one load; used through `clients`."""

    def __init__(self, process: LabProcess, scene: Scene, loaded: Loaded, *, stopping: threading.Event) -> None:
        self._process = process
        self._scene = scene
        self._loaded = loaded
        self._load = scene.fault.load
        self._limits = {**read_limits(loaded.texts, "bench"), "drain": scene.pace.drain_seconds}
        self._setting = _setting(process, scene, loaded, self._limits)
        self._loader = _Loader(self._setting, self._load, scene.pace.memories, stopping)

    def offer(self, rate: float, seconds: float, *, told: str) -> Json:
        """A run of the benchmark format; raises `CannotPlayError` where nothing good came of it."""
        step = _step(self._load, rate, seconds)
        outcome = self._loader.load(step, rate, seconds, told=told)
        if not outcome.operations:
            raise CannotPlayError(f"{told} could not be loaded: {outcome.aborted or 'nothing was answered'}")
        return run_document(outcome, step, self._setting, rate=rate, order=1, memories=self._scene.pace.memories)

    def watched(self, rate: float, seconds: float, *, told: str) -> tuple[Json, Bundle]:
        """The same, with the bundle of what was seen of the server meanwhile."""
        wish = Wish(self._request(), self._loaded)
        quality = self._quality() if self._load.quality else None
        after = self._limits["collect_after"]
        observing = Observing(wish, max(1.0, seconds - after - self._limits["collect_margin"]), after=after,
                              begun=self._loader.next_begin())  # fmt: skip
        run = self.offer(rate, seconds, told=told)
        record = client_record(run, self._limits, quality=quality)
        server = self._setting.server
        bundle = with_load(observing.bundle(), record, wish, at=time.time(), address=server.address,
                           dialect=server.dialect)  # fmt: skip
        return run, bundle

    def _request(self) -> Request:
        process = self._process
        hidden = self._scene.fault.hidden.process
        return Request(
            metrics_url=f"{process.url}/metrics",
            config_file=str(process.config_path),
            data_dir="" if hidden else str(process.data_dir),
            pid=None if hidden else process.pid,
            dialect="guide",
            local=not hidden,
            target_set=_TARGETS,
        )

    def _quality(self) -> Quality | None:
        """How many of the true nearest memories recalls find; None where that could not be asked."""
        limits, routes = self._limits, self._setting.server.routes
        until = time.monotonic() + limits["quality_seconds"]
        with Asking(self._setting.plan.address, token="", wait=limits["preflight_wait"]) as asking:
            stored = store_for_quality(asking, routes, _QUALITY_SPACE, count=round(limits["quality_memories"]),
                                       seed=_SEED, until=until)  # fmt: skip
            time.sleep(self._scene.pace.link_seconds)
            found = measured_quality(asking, routes, stored, k=round(limits["results"]),
                                     count=round(limits["quality_queries"]), seed=_SEED, until=until)  # fmt: skip
            asking.delete(routes.spaces.format(name=_QUALITY_SPACE))
        return found if isinstance(found, Quality) else None


@contextmanager
def clients(process: LabProcess, scene: Scene, loaded: Loaded) -> Iterator[LabClients]:
    """The clients of a lab; a load that is under way ends with the context."""
    stopping = threading.Event()
    try:
        yield LabClients(process, scene, loaded, stopping=stopping)
    finally:
        stopping.set()


def _setting(process: LabProcess, scene: Scene, loaded: Loaded, limits: Mapping[str, float]) -> Setting:
    address = checked_address(process.url)
    load = scene.fault.load
    plan = Plan(
        address=address, targets=_TARGETS, steps=(), spaces=(SPACE,), seeded=(), quality_space="", look_space="",
        memories=scene.pace.memories, connections=load.connections, workers=0, seed=_SEED, warm=False,
        p99=p99_limits(loaded.catalogue, _TARGETS, tuple(load.mix)), size=Size(0, 0, 0.0),
    )  # fmt: skip
    server = Server(address.authority, "guide", "", ROUTES["guide"], scene.pace.memories, removes_spaces=True)
    return Setting(plan, server, limits)


def _step(load: Load, rate: float, seconds: float) -> Step:
    workload = Workload("demo", "store" in load.mix, "recall" in load.mix)
    return Step(workload, rate, seconds, (SPACE,), load.mix, "a share of what the healthy lab carries")


class _Loader(EngineLoader):
    """The benchmark's loader with two more operations, and questions about what the lab began with."""

    def __init__(self, setting: Setting, load: Load, memories: int, stopping: threading.Event) -> None:
        super().__init__(setting, token="", stopping=stopping, progress=lambda _: None)
        self._questions = [words.split()[:_ASKED_WORDS] for words in preloaded(memories)]
        self._skew = load.skew

    def _kind(self, name: str, space: str) -> Kind:
        if (name, space) not in self._ready and name != "store":
            asked = tuple(self._ask(name, space, words) for words in self._questions)
            self._ready[name, space] = Kind(name, asked, _OK, _SIGNS.get(name, _FOUND))
        return super()._kind(name, space)

    def _ask(self, name: str, space: str, words: Sequence[str]) -> bytes:
        routes, results = self._setting.server.routes, round(self._limits["results"])
        if name == "pattern_completion":
            body = {"query": " ".join(words[:_COMPLETED_WORDS]), "memory_space_id": space}
            return self._request("POST", routes.complete, space, json.dumps(body, separators=(",", ":")).encode())
        mode = {"mode": "spreading"} if name == "activation" else {}
        query = urlencode({"query": " ".join(words), "max_results": results, **mode}, quote_via=quote)
        return self._request("GET", f"{routes.recall}?{query}", space, b"")

    def _picks(self) -> Sequence[int]:
        return zipf_picks(len(self._questions), self._skew, seed=_SEED)
