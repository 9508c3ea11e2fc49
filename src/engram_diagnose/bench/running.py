"""
A benchmark from its plan: seed, warm up, measure, look at the server meanwhile, ask how good recalls are.
"""

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from engram_diagnose.bench.advice import Observing, Wish
from engram_diagnose.bench.asking import Asking, NoAnswerError
from engram_diagnose.bench.loading import outcome_of
from engram_diagnose.bench.plans import Plan, Step, ramp_rates
from engram_diagnose.bench.quality import Quality, Stored, measured_quality, store_for_quality
from engram_diagnose.bench.results import Outcome, Setting, run_document
from engram_diagnose.bench.sending.processes import LaunchError, nothing
from engram_diagnose.bench.targets import memories_in
from engram_diagnose.bench.verdict import keeps_up, knee_of
from engram_diagnose.bench.warming import Warmed, warm_up
from engram_diagnose.bench.workloads import BURST, COMBINED, RAMP
from engram_diagnose.collectors.bundle_format import Bundle

Json = Mapping[str, Any]
Say = Callable[[str], None]
Stopped = Callable[[], bool]
_LOWEST: Final = 4
"""How often a ramp halves its first rate where even that is too much."""
_WELL: Final = 200
_PAUSE: Final = 0.5
"""Seconds between two rates of a ramp, in which a queue drains."""


class LoadFailedError(ValueError):
    """A load that could not even begin; says at what it failed, and what to do."""


class Loader(Protocol):
    """The load engine, as a benchmark uses it."""

    def seed(self, space: str, count: int, rate: float) -> Outcome:
        """Store the memories 0 to `count` - 1 into a space."""

    def load(self, step: Step, rate: float, seconds: float, *, told: str) -> Outcome:
        """Offer the load of a step; `told` is what progress calls it. Ends early when it is stopped."""

    def next_begin(self) -> threading.Event:
        """Set once the next load is under way."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A measured run, and what was seen of the server meanwhile: a bundle, or why there is none."""

    run: dict[str, Any]
    bundle: Bundle | str


@dataclass(slots=True)
class Done:
    """What came of a benchmark, as far as it went; `ended` says why it went no further."""

    seen: list[Seen] = field(default_factory=list)
    quality: Quality | None = None
    notes: list[str] = field(default_factory=list)
    ended: str = ""

    @property
    def runs(self) -> list[dict[str, Any]]:
        """Every run, in its order."""
        return [one.run for one in self.seen]


@dataclass(frozen=True, slots=True)
class Bench:
    """What a benchmark is made with; `wish` is None where nobody is to look at the server."""

    setting: Setting
    asking: Asking
    loader: Loader
    wish: Wish | None
    say: Say
    stopped: Stopped


def run_benchmark(bench: Bench) -> Done:
    """
    Make the plan's runs. What was measured until it ended early is kept, with the reason.

    Raises `LoadFailedError` where not even the seeding went well.
    """
    return _Running(bench).all()


def seeded(bench: Bench) -> None:
    """Store what a plan recalls; raises `LoadFailedError`."""
    _Running(bench).seed()


def measured_step(bench: Bench) -> tuple[dict[str, Any], str]:
    """
    One run of the only step of a plan, as it is: no warm-up, nobody looks at the server meanwhile; and why there is to
    be no further one, empty where there may.
    """
    running = _Running(bench)
    return running.single(), running.ended


class _Running:
    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._plan: Plan = bench.setting.plan
        self._limits = bench.setting.limits
        self._done = Done(notes=list(bench.setting.server.notes))
        self._knee: float | None = None

    def seed(self) -> None:
        self._seed()

    @property
    def ended(self) -> str:
        """Why nothing more can be sent; empty where it can."""
        return self._done.ended

    def single(self) -> dict[str, Any]:
        (step,) = self._plan.steps
        return self._load(step, step.rate, step.seconds, order=1, told=step.kind.name)

    def all(self) -> Done:
        stored = self._seed()
        for step in self._plan.steps:
            if self._is_over():
                break
            self._ramp(step) if step.kind.name == RAMP else self._step(step)
        if not self._is_over() and stored is not None:
            self._ask_quality(stored)
        return self._done

    def _is_over(self) -> bool:
        if self._bench.stopped() and not self._done.ended:
            self._done.ended = "stopped by hand"
        return bool(self._done.ended)

    # Before

    def _seed(self) -> Stored | None:
        plan, bench = self._plan, self._bench
        for space in plan.seeded:
            if self._is_over():
                return None
            bench.say(f"storing {plan.memories:,} memories in {space}")
            outcome = bench.loader.seed(space, plan.memories, self._limits["seed_rate"])
            if self._is_over():
                return None
            _check_seeded(outcome, space, self._limits)
        if not plan.quality_space or self._is_over():
            return None
        bench.say(f"storing memories with vectors in {plan.quality_space}")
        return store_for_quality(bench.asking, bench.setting.server.routes, plan.quality_space,
                                 count=round(self._limits["quality_memories"]), seed=plan.seed,
                                 until=self._until("quality_seconds"), clock=self._clock)  # fmt: skip

    def _until(self, limit: str) -> float:
        return time.monotonic() + self._limits[limit]

    def _clock(self) -> float:
        """The time; the end of it once somebody stopped the benchmark."""
        return math.inf if self._bench.stopped() else time.monotonic()

    # Single loads

    def _step(self, step: Step) -> None:
        step = self._bearable(step)
        warmed = self._warm(step) if self._plan.warm and step.kind.name != BURST else Warmed(True, 0)
        if warmed.ended or self._is_over():
            self._done.ended = self._done.ended or f"the warm-up of {step.kind.name} was ended early"
            return
        observing = self._look(step)
        run = self._run(step, step.rate, step.seconds, unstable=not warmed.stable)
        if observing and self._is_over():
            # Whoever stopped it does not wait for the rest of the window.
            self._done.seen.append(Seen(run, "the load was ended early"))
            return
        seen = observing.bundle() if observing else f"{step.kind.name}: it takes a load of {self._shortest():g} s"
        self._done.seen.append(Seen(run, seen))

    def _bearable(self, step: Step) -> Step:
        """The step at a rate the server can bear, where a ramp has told that rate already."""
        share = self._limits["knee_share"]
        if self._knee is None or step.kind.name not in COMBINED or step.rate <= self._knee or step.why == "as asked":
            return step
        rate = max(1.0, share * self._knee)
        self._done.notes.append(
            f"{step.kind.name}: {rate:,.0f}/s, {share:.0%} of the knee, were offered rather than {step.rate:,.0f}/s, "
            "which the ramp has shown to be too much: so its latency is that of operations, and not of a queue"
        )
        return replace(step, rate=rate)

    def _warm(self, step: Step) -> Warmed:
        self._bench.say(f"{step.kind.name}: warming up")

        def window(seconds: float) -> Json | None:
            run = self._load(step, step.rate, seconds, order=1, told=f"{step.kind.name}: warm-up")
            return None if self._is_over() else run

        warmed = warm_up(window, self._limits)
        if not warmed.stable and not warmed.ended:
            self._done.notes.append(
                f"{step.kind.name}: its figures had not settled after {warmed.windows} windows of warm-up"
            )
        return warmed

    def _look(self, step: Step) -> Observing | None:
        after = self._limits["collect_after"]
        seconds = step.seconds - after - self._limits["collect_margin"]
        if self._bench.wish is None or step.seconds < self._shortest():
            return None
        return Observing(self._bench.wish, seconds, after=after, begun=self._bench.loader.next_begin())

    def _shortest(self) -> float:
        """Seconds of a load beside which the server can be looked at."""
        return sum(self._limits[name] for name in ("collect_after", "collect_margin", "collect_least"))

    def _run(self, step: Step, rate: float, seconds: float, *, unstable: bool = False) -> dict[str, Any]:
        order = len(self._done.seen) + 1
        self._bench.say(f"{step.kind.name}: {rate:,.0f}/s for {seconds:g} s")
        return self._load(step, rate, seconds, order=order, told=step.kind.name, unstable=unstable)

    def _load(self, step: Step, rate: float, seconds: float, *, order: int, told: str,
              unstable: bool = False) -> dict[str, Any]:  # fmt: skip
        memories = self._memories()
        try:
            outcome = self._bench.loader.load(step, rate, seconds, told=told)
        except LaunchError as error:
            self._done.ended = f"{step.kind.name} at {rate:,.0f}/s could not be sent: {error}"
            outcome = outcome_of([nothing(str(error))], started=time.time(), workers=0)
        self._note_refused(outcome, step)
        if outcome.aborted and not self._is_over():
            self._aborted(f"{step.kind.name} at {rate:,.0f}/s: {outcome.aborted}")
        return run_document(outcome, step, self._bench.setting, rate=rate, order=order, memories=memories,
                            unstable=unstable)  # fmt: skip

    def _note_refused(self, outcome: Outcome, step: Step) -> None:
        made, planned = outcome.connected, self._plan.connections
        if made is None or made >= planned or outcome.aborted:
            return
        note = f"{step.kind.name}: only {made:,} of {planned:,} connections could be made, and its figures are of those"
        if note not in self._done.notes:  # warm-ups and steps of a ramp are many
            self._done.notes.append(note)

    def _aborted(self, why: str) -> None:
        """A server that is well again can be asked other things; one that is not ends the benchmark."""
        time.sleep(_PAUSE)
        try:
            well = self._bench.asking.get(self._bench.setting.server.routes.health[0]).status == _WELL
        except NoAnswerError as error:
            self._done.ended = f"{why}; {error}"
            return
        if well:
            self._done.notes.append(why)
        else:
            self._done.ended = f"{why}; since then it says of itself that it is not well"

    def _memories(self) -> int:
        """How many the server holds; 0 where it does not say."""
        try:
            reply = self._bench.asking.get(self._bench.setting.server.routes.counts)
        except NoAnswerError:
            return 0
        return (memories_in(reply.json) if reply.status == 200 else None) or 0

    # The ramp

    def _ramp(self, step: Step) -> None:
        self._bench.say(f"ramp: from {step.rate:,.0f}/s on, {step.seconds:g} s each")
        if self._plan.warm and self._warm(step).ended:
            self._done.ended = self._done.ended or "the warm-up of the ramp was ended early"
            return
        tried: list[dict[str, Any]] = []
        for rate in self._rates(step, tried):
            if self._is_over():
                break
            tried.append(self._try(step, rate))
        self._knee = knee_of(tried, self._limits, most_p99=self._plan.p99).rate
        if self._knee is not None:
            self._bench.say(f"ramp: the knee lies at {self._knee:,.0f}/s")

    def _try(self, step: Step, rate: float) -> dict[str, Any]:
        """A rate that is too much is tried once more: three seconds can be unlucky."""
        for attempt in (1, 2):
            run = self._run(step, rate, step.seconds)
            self._done.seen.append(Seen(run, "a step of a ramp"))
            if attempt == 2 or self._is_over() or self._good(run):
                break
            time.sleep(_PAUSE)
        return run

    def _good(self, run: Json) -> bool:
        return keeps_up(run, self._limits, most_p99=self._plan.p99)

    def _rates(self, step: Step, tried: Sequence[Json]) -> Iterator[float]:
        """Faster and faster until one is too much; then between that and the last good one."""
        low, high = 0.0, 0.0
        for rate in ramp_rates(self._limits):
            yield rate
            if not self._good(tried[-1]):
                high = rate
                break
            low = rate
        for _ in range(_LOWEST):
            if low or not high:
                break
            yield high / 2
            low, high = (high / 2, high) if self._good(tried[-1]) else (0.0, high / 2)
        while low and high > low * (1 + self._limits["ramp_within"]):
            middle = math.sqrt(low * high)
            yield middle
            low, high = (middle, high) if self._good(tried[-1]) else (low, middle)

    # After

    def _ask_quality(self, stored: Stored) -> None:
        bench = self._bench
        bench.say("recall: how many of the true nearest memories it finds")
        found = measured_quality(bench.asking, bench.setting.server.routes, stored, k=round(self._limits["results"]),
                                 count=round(self._limits["quality_queries"]), seed=self._plan.seed,
                                 until=self._until("quality_seconds"), clock=self._clock)  # fmt: skip
        if isinstance(found, str):
            self._done.notes.append(f"the quality of recalls was not measured: {found}")
            return
        self._done.quality = found
        for one in self._done.seen:
            if "recall" in one.run["operations"] and one.run["workload"]["name"] != RAMP:
                one.run["recall_quality"] = found.document


def _check_seeded(outcome: Outcome, space: str, limits: Mapping[str, float]) -> None:
    """Raises `LoadFailedError` where recalls would ask for what is not there."""
    operation = outcome.operations.get("store", {"sent": 0, "ok": 0, "errors": {}})
    failed, sent = sum(operation["errors"].values()), operation["sent"]
    if outcome.aborted or not sent or failed / sent > limits["errors_most"]:
        kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(operation["errors"].items()))
        why = "; ".join(part for part in (outcome.aborted, kinds) if part) or "nothing was sent"
        raise LoadFailedError(f"the memories to recall could not be stored in {space}: {why}; look at the server's "
                              "log, or give fewer --memories")  # fmt: skip
