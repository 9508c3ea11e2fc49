"""
What a tuned lab does on this machine, by cores: the most operations a second whose P99 keeps the guide's target, beside
the guide's 10,000 and beside what one core carries.

Clients run on the cores that the lab leaves, the last one at least; on a machine of few cores that bounds the lab.
Nothing is promised here: the guide's reference hardware has 16 cores, and what a small machine reaches is told so.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from outcome import Outcome

from engram_diagnose.bench.verdict import p99_limits
from engram_diagnose.cases.staging import beside
from engram_diagnose.demo.clients import LabClients, clients
from engram_diagnose.demo.pace import Pace
from engram_diagnose.demo.stage import CannotPlayError, Scene, healthy_config, lab, rooms
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.lab.fault import Fault, Load, Severity, Surroundings
from engram_diagnose.rulebase import load_rules

NAME = "lab_scaling"
LOADS: Final = {
    "recalls": {"recall": 1.0},
    "70 % recalls, 30 % stores": {"recall": 0.7, "store": 0.3},
    "activations": {"activation": 1.0},
}
GUIDE_RATE, CONNECTIONS, MEMORIES = 10_000, 64, 20_000
SECONDS, FIRST, FASTER, STEPS = 6.0, 100.0, 1.25, 30
"""Of one rate; the first one, from one to the next, and the most of them."""
WARMING, SERVED = 1.0, 0.99
"""Seconds before each look, and the share of what is offered that has to be answered."""
COARSE = 2.0
"""How much faster the rates become until the first that is too much."""


def run(*, quick: bool) -> list[Outcome]:
    """A line for each load and number of cores, with what the next slower rate's P99 was."""
    loaded = load_rules(thorough=False)
    own = len(os.sched_getaffinity(0))
    shapes = [1] if quick else sorted({1, 2, max(1, own - 1)} & set(range(1, max(2, own))))
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="lab-scaling-") as folder:
        for what, mix in LOADS.items() if not quick else [("recalls", LOADS["recalls"])]:
            alone = None
            for cores in shapes:
                rate, p99 = _most(Path(folder), mix, cores, loaded, seconds=1.0 if quick else SECONDS)
                found.append(Outcome(NAME, f"{what} a second on {cores} of {own} cores, P99 {p99 * 1e3:.1f} ms", rate,
                                     "the guide's 10,000 a second", GUIDE_RATE, "n"))  # fmt: skip
                if alone is None:
                    alone = rate
                elif alone:
                    found.append(Outcome(NAME, f"{what} a second on {cores} cores", rate, "one core", alone, "n"))
    return found


def _most(folder: Path, mix: Mapping[str, float], cores: int, loaded: Loaded, *, seconds: float) -> tuple[float, float]:
    """The most operations a second that keep every P99 of the guide's, and the worst P99 there; zeros for none."""
    step = Severity("plain")
    fault = Fault("tuned", "A tuned lab", "healthy", "", (step,), Load(mix, 1.0, CONNECTIONS))
    pace = Pace(memories=MEMORIES, look_seconds=seconds)
    scene = Scene(fault, step, pace, frozenset(sorted(os.sched_getaffinity(0))[:cores]))
    limits = p99_limits(loaded.catalogue, "target", mix)
    with rooms(folder, pace) as here:
        config = healthy_config(here.base, cores=cores)
        started = lab(here, scene, config, around=Surroundings(), memory=0, environment={})
        with started as (process, _), beside(cores), clients(process, scene, loaded) as loading:
            best, rate, faster = (0.0, 0.0), FIRST, COARSE
            for _ in range(STEPS):
                kept = _kept(loading, rate, seconds, limits)
                if kept is not None:
                    best = rate, kept
                elif faster == FASTER:
                    break
                else:
                    rate, faster = rate / COARSE, FASTER
                rate *= faster
            return best


def _kept(loading: LabClients, rate: float, seconds: float, limits: Mapping[str, float]) -> float | None:
    """The worst P99 under a rate, in seconds; None where one misses its limit, is not known, or not all was served."""
    try:
        loading.offer(rate, WARMING, told="warming up")
        run = loading.offer(rate, seconds, told="the tuned lab")
    except CannotPlayError:  # nothing was answered in time
        return None
    p99 = {name: one["response"]["quantiles"].get("p99") for name, one in run["operations"].items()}
    served = sum(one["rate"] for one in run["operations"].values())
    if served < SERVED * rate or any(p99.get(name) is None or p99[name] > limit for name, limit in limits.items()):
        return None
    return max(p99[name] for name in limits)
