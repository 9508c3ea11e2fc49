"""
The tuned lab, with nothing planted, and clients on the cores that it leaves: what several benchmarks measure.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from engram_diagnose.bench.verdict import p99_limits
from engram_diagnose.cases.staging import beside
from engram_diagnose.demo.clients import LabClients, clients
from engram_diagnose.demo.pace import Pace
from engram_diagnose.demo.stage import CannotPlayError, Scene, healthy_config, lab, rooms
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.lab.fault import Fault, Load, Severity, Surroundings

GUIDE_RATE, CONNECTIONS, MEMORIES = 10_000, 64, 20_000
FIRST, FASTER, STEPS = 100.0, 1.25, 30
"""The first rate, from one to the next, and the most of them."""
WARMING, SERVED = 1.0, 0.99
"""Seconds before each look, and the share of what is offered that has to be answered."""
COARSE: Final = 2.0
"""How much faster the rates become until the first that is too much."""


@contextmanager
def tuned_lab(folder: Path, mix: Mapping[str, float], cores: int, loaded: Loaded) -> Iterator[LabClients]:
    """The lab's clients under a mix of operations, the lab on the first `cores`, those on the rest."""
    step, pace = Severity("plain"), Pace(memories=MEMORIES)
    fault = Fault("tuned", "A tuned lab", "healthy", "", (step,), Load(mix, 1.0, CONNECTIONS))
    scene = Scene(fault, step, pace, frozenset(sorted(os.sched_getaffinity(0))[:cores]))
    with rooms(folder, pace) as here:
        config = healthy_config(here.base, cores=cores)
        started = lab(here, scene, config, around=Surroundings(), memory=0, environment={})
        with started as (process, _), beside(cores), clients(process, scene, loaded) as loading:
            yield loading


def most(loading: LabClients, mix: Mapping[str, float], loaded: Loaded, *, seconds: float) -> tuple[float, float]:
    """The most operations a second that keep every P99 of the guide's, and the worst P99 there; zeros for none."""
    limits = p99_limits(loaded.catalogue, "target", mix)
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
