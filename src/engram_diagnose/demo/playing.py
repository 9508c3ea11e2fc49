"""
The demo from its beginning to its end: plant, load, diagnose, patch, apply, restart, measure again, compare.
"""

import platform
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from engram_diagnose.applying import apply_now
from engram_diagnose.bench.comparing import Turns, compared, interleave
from engram_diagnose.collectors.bundle import write_bundle
from engram_diagnose.collectors.bundle_format import Bundle, BundleError
from engram_diagnose.demo import carrying, story
from engram_diagnose.demo.felt import figures_felt
from engram_diagnose.demo.outcome import Known
from engram_diagnose.demo.stage import (
    Clients,
    Rooms,
    Scene,
    beside_the_lab,
    healthy_config,
    lab,
    restart,
    rooms,
    sick_config,
)
from engram_diagnose.demo.telling import Teller
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.lab.fault import Surroundings
from engram_diagnose.lab.process import LabProcess
from engram_diagnose.patch.apply import AppliedFile
from engram_diagnose.rulebase import load_rules
from engram_diagnose.tuning import Tuning, Wish, application_of, configuration_of, tune
from engram_diagnose.verification.side import NothingToCompareError

Json = Mapping[str, Any]
MakeClients = Callable[[LabProcess, Scene, Loaded], Any]
"""Gives a context with the clients of a lab."""

_CARRIED: Final = "carried.json"
_ORDER: Final = 7
"""The seed of the order of the comparison's runs: the same demo twice is told the same way."""


@dataclass(frozen=True, slots=True)
class Playing:
    """What a demo needs: who shows it, who loads the lab, and where it may write."""

    tell: Teller
    base: Path
    make_clients: MakeClients
    save: Path | None = None


def play(playing: Playing, scene: Scene) -> Known:
    """
    Play a scene, and tell it. Ctrl-C ends it; what is known by then is told, and given back.

    Raises `CannotPlayError` where this machine cannot; whatever was started has ended by then.
    """
    known = Known(scene.fault)
    story.introduce(playing.tell, scene.fault, cores=scene.cores, memories=scene.pace.memories)
    story.planted(playing.tell, scene.changed, scene.environment, scene.severity.around)
    try:
        with rooms(playing.base, scene.pace) as here, beside_the_lab():
            _Play(playing, scene, known, here).all()
    except KeyboardInterrupt:
        story.interrupted(playing.tell, known)
        raise
    return known


class _Play:
    def __init__(self, playing: Playing, scene: Scene, known: Known, here: Rooms) -> None:
        self._tell = playing.tell
        self._playing = playing
        self._scene = scene
        self._known = known
        self._rooms = here
        self._loaded = load_rules((), thorough=False)
        self._wait = scene.pace.drain_seconds
        self._expert: Expert = expert(self._loaded)
        self._config = healthy_config(here.base, cores=scene.cores)

    def all(self) -> None:
        scene, tell = self._scene, self._tell
        tell.chapter("Start the lab with the fault in it, and load it")
        rate, memory = self._carried()
        rate = max(1.0, rate * scene.fault.load.rate * scene.severity.heavier)
        sick = sick_config(self._config, scene.changed)
        with self._lab(sick, memory) as (process, clients):
            self._before(process, clients, rate)

    # What the healthy lab carries

    def _carried(self) -> tuple[float, int]:
        """Operations a second, and bytes; found once on a machine."""
        scene, path = self._scene, self._rooms.base / _CARRIED
        key = carrying.key_of(scene.fault.load.mix, memories=scene.pace.memories, cores=scene.cores,
                              model=_processor())  # fmt: skip
        rate, memory = carrying.kept(path, key), carrying.kept(path, f"{key};bytes")
        if rate is None or memory is None:
            with self._lab(self._config, 0, healthy=True) as (process, clients):
                with self._tell.waiting("finding out, once, what this machine carries without the fault"):
                    rate = carrying.carried(
                        lambda offered: clients.offer(offered, scene.pace.probe_seconds, told="without the fault"),
                        first=scene.pace.probe_from,
                    )
                memory = float(_resident(process.pid))
            carrying.keep(path, key, rate)
            carrying.keep(path, f"{key};bytes", memory)
        return rate, round(memory)

    @contextmanager
    def _lab(self, config: str, memory: int, *, healthy: bool = False) -> Iterator[tuple[LabProcess, Clients]]:
        """The lab, and its clients."""
        scene = self._scene
        around = Surroundings() if healthy else scene.severity.around
        environment = {} if healthy else scene.environment
        with ExitStack() as stack:
            with self._tell.waiting("starting the lab") as words:
                process, ground = stack.enter_context(
                    lab(self._rooms, scene, config, around=around, memory=memory, environment=environment,
                        on_line=lambda line: words(_short(line)))
                )  # fmt: skip
            if ground.impossible:
                self._known.impossible = tuple(map(str, ground.impossible))
                for one in self._known.impossible:
                    self._tell.tell((one, "warning"))
            yield process, stack.enter_context(self._playing.make_clients(process, scene, self._loaded))

    # The sick server

    def _before(self, process: LabProcess, clients: Clients, rate: float) -> None:
        run, bundle = self._look(clients, rate, told="the faulty lab")
        story.measured(self._tell, "clients", run)
        self._tell.chapter("Ask what is wrong")
        found = self._tuned(bundle, process.config_path)
        self._known.before = document(found.diagnosis)
        self._known.felt = figures_felt(run, bundle, self._scene.fault.breaches, wait=self._wait)
        self._keep(bundle)
        story.diagnosed(self._tell, self._known.before)
        story.judged(self._tell, self._known)
        self._known.advice = found.document
        self._tell.chapter("What to change")
        story.advised(self._tell, found.document, self._scene.fault)
        if not found.changes:
            story.outside(self._tell, self._known.before, self._scene.fault)
            return
        self._apply(found, process)
        self._after(process, clients, rate, sick=found.configuration.content.decode())

    def _look(self, clients: Clients, rate: float, *, told: str) -> tuple[Json, Bundle]:
        pace = self._scene.pace
        with self._tell.waiting(f"loading {told} with {rate:,.0f} operations a second"):
            clients.offer(rate, pace.settle_seconds, told=told)
        with self._tell.waiting(f"loading {told}, and looking at it"):
            return clients.watched(rate, pace.look_seconds, told=told)

    def _tuned(self, bundle: Bundle, config: Path) -> Tuning:
        configuration = configuration_of(bundle, str(config))
        with self._tell.waiting("diagnosing"):
            return tune(bundle, self._expert, configuration, Wish(in_effect=True), now=time.time())

    def _keep(self, bundle: Bundle) -> None:
        if self._playing.save is None:
            return
        try:
            write_bundle(self._playing.save, bundle)
        except BundleError as error:
            self._tell.tell((str(error), "warning"))

    # Mended

    def _apply(self, found: Tuning, process: LabProcess) -> None:
        outcome = apply_now(application_of(found, at=time.time(), patch=""), process.config_path, found.result, None,
                            say=lambda text: self._tell.tell((text, "warning")))  # fmt: skip
        self._known.applied = isinstance(outcome, AppliedFile)
        self._tell.tell(("applied   ", "label"), ("to the lab's own file, as tune --apply does", ""), hang=10)

    def _after(self, process: LabProcess, clients: Clients, rate: float, *, sick: str) -> None:
        tell, mended = self._tell, process.config_path.read_text()
        tell.chapter("Restart it, and measure again")
        self._restart(process, mended)
        run, bundle = self._look(clients, rate, told="the mended lab")
        story.measured(tell, "clients", run)
        self._known.after = document(self._tuned(bundle, process.config_path).diagnosis)
        self._known.felt_after = figures_felt(run, bundle, self._scene.fault.breaches, wait=self._wait)
        story.finished(tell, self._known)
        tell.chapter("Compare, by turns")
        self._compare(process, clients, rate, {"before": sick, "after": mended})
        for sentence in story.compared(self._known):
            tell.tell(("measured  ", "label"), (sentence, ""), hang=10)

    def _restart(self, process: LabProcess, config: str) -> None:
        with self._tell.waiting("restarting the lab"):
            restart(process, config)

    def _compare(self, process: LabProcess, clients: Clients, rate: float, configs: Mapping[str, str]) -> None:
        pace = self._scene.pace
        with self._tell.waiting("comparing") as words:
            made = interleave(
                Turns(pace.runs, _ORDER, spare=pace.spare),
                switch=lambda side: restart(process, configs[side]),
                measure=lambda side: self._one(clients, rate, side),
                on_progress=lambda number, of, side: words(f"comparing: run {number} of {of}, {side}"),
            )
        self._known.runs = list(made.runs)
        if made.ended:
            raise KeyboardInterrupt
        policy = read_comparison(self._loaded.texts, self._loaded.catalogue, self._loaded.rules.rules)
        try:
            self._known.comparison = compared(made.benchmark("demo", "engram-diagnose"), policy, self._loaded.catalogue)
        except NothingToCompareError as error:
            self._tell.tell((f"nothing can be compared: {error}", "warning"))

    def _one(self, clients: Clients, rate: float, side: str) -> Json:
        pace = self._scene.pace
        clients.offer(rate, pace.settle_seconds / 2, told=side)
        return clients.offer(rate, pace.run_seconds, told=side)


def _processor() -> str:
    """What the CPU calls itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def _resident(pid: int) -> int:
    """Bytes of a process in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def _short(line: str) -> str:
    """A line of the lab as words to wait by."""
    return f"starting the lab: {line.removeprefix('engram-diagnose lab: ').strip()[:60]}"
