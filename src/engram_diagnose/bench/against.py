"""
One benchmark beside another: a saved one as a note, or a second server by turns as a comparison with a verdict.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from engram_diagnose.bench.asking import Asking
from engram_diagnose.bench.cleaning import clean_up
from engram_diagnose.bench.cleaning import told as told_remains
from engram_diagnose.bench.command import Order, called, digest, launching, require_dialect, show, stopping
from engram_diagnose.bench.comparing import SideName, Turns, compared, interleave
from engram_diagnose.bench.guards import GuardError, Size, checked_address, require_bounds, require_confirmation
from engram_diagnose.bench.loading import EngineLoader
from engram_diagnose.bench.plans import Plan, planned
from engram_diagnose.bench.preflight import Server, look_at
from engram_diagnose.bench.results import TOOL, Setting
from engram_diagnose.bench.running import Bench, measured_step, seeded
from engram_diagnose.bench.workloads import RAMP, SUITE
from engram_diagnose.collectors.instances import interfaces
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules
from engram_diagnose.verification.side import NothingToCompareError

Say = Callable[[str], None]
Json = Mapping[str, Any]
_SPARE: Final = 4
"""Further pairs where runs were INVALID."""
_MOST_NOTES: Final = 12


# A saved one


def beside(before: Json, now: Json, packs: Sequence[Path], *, name: str) -> list[str]:
    """
    Notes on how the figures of two reports differ, load by load: a single run a side, which is no verdict.

    Loads that only one of them has are left out.
    """
    loaded = load_rules(packs, thorough=False)
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    notes = []
    for workload, (old, new) in _pairs(before["benchmark"]["runs"], now["benchmark"]["runs"]).items():
        both = {"schema": now["benchmark"]["schema"], "name": name, "tool": TOOL,
                "runs": [{**old, "order": 1, "side": "before"}, {**new, "order": 2, "side": "after"}]}  # fmt: skip
        if not (old["validity"]["valid"] and new["validity"]["valid"]):
            notes.append(f"{workload}: not compared with {name}, since one of the two runs was INVALID")
            continue
        figures = compared(json.loads(json.dumps(both)), policy, loaded.catalogue)["figures"]
        told = [f"{_called(one)} {one['before_text']} to {one['after_text']} ({one['change_text']})"
                for one in figures if one["change"] is not None]  # fmt: skip
        notes.append(
            f"{workload}, {name} to now, one run a side and so no verdict: {'; '.join(told) or 'nothing to compare'}"
        )
    if not notes:
        notes.append(f"{name} has no load that was run now: nothing is compared with it")
    return notes[:_MOST_NOTES]


def _pairs(before: Sequence[Json], now: Sequence[Json]) -> dict[str, tuple[Json, Json]]:
    old = {run["workload"]["name"]: run for run in before if run["workload"]["name"] != RAMP}
    new = {run["workload"]["name"]: run for run in now if run["workload"]["name"] != RAMP}
    return {name: (old[name], new[name]) for name in new if name in old}


def _called(figure: Json) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in figure["scope"].items())
    return f"{figure['on']}{{{labels}}}" if labels else str(figure["on"])


# Another server, by turns


def alternated(order: Order, other: str, packs: Sequence[Path], *, runs: int, say: Say,
               progress: Say) -> dict[str, Any] | None:  # fmt: skip
    """
    The comparison of two servers under one load by turns, as a verification document: `other` before, this one after;
    None where only the plan was wanted.

    Both are guarded, seeded and cleaned as one alone is. Raises as `command.benchmarked` does, and `GuardError` for a
    load that is no single one.
    """
    if order.wanted.workload in (SUITE, RAMP):
        raise GuardError(f"two servers are compared under one load, and {order.wanted.workload} is several: "
                         "name another with --workload")  # fmt: skip
    loaded = load_rules(packs, thorough=False)
    limits = read_limits(loaded.texts, "bench")
    require_dialect(order.dialect, loaded)
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    wanted = replace(order.wanted, quality=False, seconds=order.wanted.seconds or limits["side_seconds"])
    urls: dict[SideName, str] = {"before": other, "after": order.url}
    known = interfaces(loaded.catalogue.dialects)
    plans = {side: planned(checked_address(url), wanted, loaded.catalogue, limits) for side, url in urls.items()}
    with stopping(say) as stop, ExitStack() as stack:
        benches: dict[SideName, Bench] = {}
        for side, plan in plans.items():
            if order.dry or not plan.address.is_this_machine:
                show(plan, f"{side}, {runs} runs: {plan.address.authority}", say)
        if order.dry:
            return None
        require_confirmation([plan.address for plan in plans.values()], order.confirmed)
        for plan in plans.values():
            _require_bounds(plan, runs, limits)
        launcher = stack.enter_context(launching(order.cluster, [plan.address for plan in plans.values()], say))
        for side, plan in plans.items():
            asking = stack.enter_context(Asking(plan.address, token=order.token, wait=limits["preflight_wait"]))
            server = look_at(asking, known, dialect=order.dialect, space=plan.look_space)
            stack.callback(_clean, asking, plan, server, say)
            say(f"{side}: {called(server)}")
            setting = Setting(plan, server, limits, digest(order.config_file) if side == "after" else "",
                              launcher.hosts)  # fmt: skip
            loader = EngineLoader(setting, token=order.token, stopping=stop.event, progress=progress,
                                  launcher=launcher)  # fmt: skip
            benches[side] = Bench(setting, asking, loader, None, say, stop.event.is_set)
            seeded(benches[side])

        over: list[str] = []

        def measure(side: SideName) -> Json:
            run, ended = measured_step(benches[side])
            over.extend([f"{side}: {ended}"] if ended else [])
            return run

        found = interleave(
            Turns(runs, order.wanted.seed, _SPARE), switch=lambda side: None, measure=measure,
            on_progress=lambda number, all_, side: progress(f"run {number} of {all_}: {side}"),
            stop=lambda: stop.event.is_set() or bool(over),
        )  # fmt: skip
    why = over[0] if over and not stop.event.is_set() else found.ended
    made = found.benchmark(f"{other} against {order.url}", TOOL)
    try:
        return compared(made, policy, loaded.catalogue, notes=[why] if why else [])
    except NothingToCompareError as error:
        raise NothingToCompareError(f"{why}; {error}" if why else str(error)) from None


def _require_bounds(plan: Plan, runs: int, limits: Mapping[str, float]) -> None:
    all_ = Size(plan.size.requests * runs, plan.size.bytes * runs, plan.steps[0].seconds * (runs + _SPARE))
    require_bounds(all_, limits)


def _clean(asking: Asking, plan: Plan, server: Server, say: Say) -> None:
    remains = clean_up(asking, server.routes, plan.every_space, offered=server.removes_spaces)
    for line in told_remains(remains, url=plan.address.url, routes=server.routes):
        say(line)
