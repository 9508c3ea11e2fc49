"""
What a benchmark will do, worked out before anything is sent: steps, rates, memory spaces, and how much it comes to.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from engram_diagnose.bench.guards import Address, GuardError, Size, require_within, space_name
from engram_diagnose.bench.verdict import p99_limits, set_limit
from engram_diagnose.bench.workloads import BURST, KINDS, RAMP, RECALL, STORE, SUITE, Kind
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.unit import UNITS, format_value

_STORE_BYTES: Final = 620
_RECALL_BYTES: Final = 320
"""What a store and a recall take of the wire, heading and body: an estimate that errs upwards."""
_QUALITY_BYTES: Final = 8000
_QUALITY: Final = "quality"
_LOOK: Final = "look"


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What the operator asked for; None and 0 stand for what the limits say.

    `workload` is one of `workloads.NAMES`, `targets` the set it is held to. `tag` tells this benchmark's memory spaces
    from those of others.
    """

    workload: str
    targets: str
    tag: str
    seed: int = 1
    rate: float | None = None
    seconds: float | None = None
    connections: int | None = None
    workers: int = 0
    memories: int | None = None
    spaces: int | None = None
    quality: bool = True
    warm: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """
    One load of the plan: `rate` operations a second over `seconds`.

    A ramp begins at its rate and goes on by itself; its seconds are those of each of its steps. `why` says where the
    rate comes from.
    """

    kind: Kind
    rate: float
    seconds: float
    spaces: tuple[str, ...]
    mix: Mapping[str, float]
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The whole benchmark.

    `memories` are stored into each of the spaces `seeded` before the first step, `spaces` are all that steps use. `p99`
    is the latency that ends a ramp, by operation, in seconds.
    """

    address: Address
    targets: str
    steps: tuple[Step, ...]
    spaces: tuple[str, ...]
    seeded: tuple[str, ...]
    quality_space: str
    look_space: str
    memories: int
    connections: int
    workers: int
    seed: int
    warm: bool
    p99: Mapping[str, float]
    size: Size

    @property
    def every_space(self) -> tuple[str, ...]:
        """Every memory space that is written to, in alphabetical order."""
        return tuple(sorted({*self.spaces, self.look_space, *([self.quality_space] if self.quality_space else [])}))


def planned(address: Address, wanted: Wanted, catalogue: Catalogue, limits: Mapping[str, float]) -> Plan:
    """
    The plan for what is wanted, with the caps of `limits` (those of `rules/catalogue/bench.yaml`) not yet looked at.

    Raises `GuardError` for an option beyond its own cap.
    """
    connections = wanted.connections or round(limits["connections"])
    memories = round(limits["memories"]) if wanted.memories is None else wanted.memories
    tenants = wanted.spaces or round(limits["tenants"])
    require_within("--connections", connections, limits["most_connections"])
    require_within("--memories", memories, limits["most_memories"])
    require_within("--spaces", tenants, limits["most_spaces"])
    kinds = list(KINDS.values()) if wanted.workload == SUITE else [KINDS[wanted.workload]]
    steps = tuple(_step(kind, wanted, catalogue, limits, tenants) for kind in kinds)
    recalls = any(kind.recalls for kind in kinds)
    if recalls and not memories:
        raise GuardError("recalls ask for what was stored before; give --memories a number above 0")
    plan = Plan(
        address=address,
        targets=wanted.targets,
        steps=steps,
        spaces=tuple(space for step in steps for space in step.spaces),
        seeded=tuple(space for step in steps for space in step.spaces if step.kind.recalls),
        quality_space=space_name(wanted.tag, _QUALITY) if wanted.quality and recalls else "",
        look_space=space_name(wanted.tag, _LOOK),
        memories=memories if recalls else 0,
        connections=connections,
        workers=wanted.workers,
        seed=wanted.seed,
        warm=wanted.warm,
        p99=p99_limits(catalogue, wanted.targets, (STORE, RECALL)),
        size=Size(0, 0, 0.0),
    )
    return replace(plan, size=_size(plan, limits))


def _step(kind: Kind, wanted: Wanted, catalogue: Catalogue, limits: Mapping[str, float], tenants: int) -> Step:
    mix = kind.mix(limits["read_share"])
    rate, why = _rate(kind, mix, wanted, catalogue, limits)
    seconds = _seconds(kind, wanted, limits)
    stored = rate * (seconds + (limits["warm_longest"] if wanted.warm else 0.0))
    # A space of its own for each load, so that none finds what another has stored; several for many stores.
    several = min(math.ceil(stored / limits["space_memories"]), round(limits["most_spaces"]))
    count = tenants if kind.several_spaces else 1 if kind.recalls else several
    names = [kind.name] if count == 1 else [f"{kind.name}-{number}" for number in range(1, count + 1)]
    return Step(kind, rate, seconds, tuple(space_name(wanted.tag, name) for name in names), mix, why)


def _seconds(kind: Kind, wanted: Wanted, limits: Mapping[str, float]) -> float:
    if kind.name == RAMP:
        return min(wanted.seconds or math.inf, limits["ramp_step"])
    if kind.name != BURST:
        return wanted.seconds or limits["seconds"]
    if wanted.seconds and wanted.workload == BURST:
        require_within("--seconds of a burst", wanted.seconds, limits["burst_longest"])
    return min(wanted.seconds or math.inf, limits["burst_seconds"])


def _rate(kind: Kind, mix: Mapping[str, float], wanted: Wanted, catalogue: Catalogue,
          limits: Mapping[str, float]) -> tuple[float, str]:  # fmt: skip
    """Operations a second to offer, and where the figure comes from."""
    if kind.name == RAMP:
        return limits["ramp_from"], "to the knee"
    if wanted.rate is not None and not (kind.name == BURST and wanted.workload == SUITE):
        return wanted.rate, "as asked"
    # Slightly more than the set asks for, so that what a passing server serves reaches it.
    over = limits["served_least"]
    for targets in dict.fromkeys((wanted.targets, "target")):
        found = set_rate(kind, mix, catalogue, targets)
        if found is not None:
            return math.ceil(found / over), f"as {targets} asks"
    raise GuardError(f"no set says how fast {kind.name} is to be; give --rate")


def set_rate(kind: Kind, mix: Mapping[str, float], catalogue: Catalogue, targets: str) -> float | None:
    """
    The operations a second that a set asks for under a load; None where it is silent.

    Of single operations: the rate at which none of them is asked for more than the set does; of a set that speaks of
    all together, the share that a single one has of the usual mix.
    """
    if kind.name == BURST:
        return set_limit(catalogue, targets, "ops.burst_rate")
    together = set_limit(catalogue, targets, "ops.rate")
    if len(mix) > 1 and together is not None:
        return together
    own = {name: set_limit(catalogue, targets, "op.rate", {"operation": name}) for name in mix}
    told = [rate / mix[name] for name, rate in own.items() if rate is not None]
    if told:
        return min(told)
    if together is None:
        return None
    usual = KINDS["mixed"].mix(0.7)
    return together * usual[next(iter(mix))]


def _size(plan: Plan, limits: Mapping[str, float]) -> Size:
    """What it comes to at most."""
    seeded = len(plan.seeded) * plan.memories
    parts = [(seeded, float(_STORE_BYTES), seeded / limits["seed_rate"])]
    for step in plan.steps:
        each = sum(share * (_STORE_BYTES if name == STORE else _RECALL_BYTES) for name, share in step.mix.items())
        count, seconds = _of_step(step, plan, limits)
        parts.append((count, each, seconds))
    if plan.quality_space:
        asked = round(limits["quality_memories"] + limits["quality_queries"])
        parts.append((asked, float(_QUALITY_BYTES), 2 * limits["quality_seconds"]))
    return Size(sum(count for count, _, _ in parts), round(sum(count * each for count, each, _ in parts)),
                sum(seconds for _, _, seconds in parts))  # fmt: skip


def _of_step(step: Step, plan: Plan, limits: Mapping[str, float]) -> tuple[int, float]:
    if step.kind.name == RAMP:
        rates = list(ramp_rates(limits))
        # Halving between two rates takes the steps of a binary search.
        halvings = math.ceil(math.log2((limits["ramp_factor"] - 1) / limits["ramp_within"]))
        lasting = (len(rates) + halvings) * step.seconds + (limits["warm_longest"] if plan.warm else 0.0)
        # It ends at the first rate that is too much: what comes before is less than as much again.
        return round(limits["ramp_most_rate"] * step.seconds * (halvings + 2)), lasting
    warm = limits["warm_longest"] if plan.warm and step.kind.name != BURST else 0.0
    return round(step.rate * (step.seconds + warm)), step.seconds + warm + 2 * limits["drain"]


def ramp_rates(limits: Mapping[str, float]) -> Iterator[float]:
    """The rates of a ramp as long as none is too much."""
    rate = limits["ramp_from"]
    while rate <= limits["ramp_most_rate"]:
        yield rate
        rate *= limits["ramp_factor"]


# Shown before anything is sent


def told(plan: Plan, *, server: str) -> list[str]:
    """The plan as lines for the operator; `server` is what is known of the server."""
    lines = [f"Plan for {server}, held to the set {plan.targets}:"]
    if plan.memories:
        where = "each of " if len(plan.seeded) > 1 else "the space "
        lines.append(f"  first        {plan.memories:,} memories in {where}{_listed(plan.seeded)}")
    lines += [f"  {step.kind.name:<13}{_load(step)}" for step in plan.steps]
    if plan.quality_space:
        lines.append("  quality      how many of the true nearest memories recalls find")
    size = format_value(float(plan.size.bytes), UNITS["B"])
    lines.append(f"  at most {plan.size.requests:,} requests, {size}, {_minutes(plan.size.seconds)}; "
                 f"{plan.connections} connections; seed {plan.seed}")  # fmt: skip
    lines.append(f"  it writes to {_listed(plan.every_space)} alone,")
    lines.append("  and removes what it stored at the end")
    return lines


def _load(step: Step) -> str:
    mix = ", ".join(f"{share:.0%} {name}" for name, share in step.mix.items())
    for_ = f"and up, {step.seconds:g} s each" if step.kind.name == RAMP else f"for {step.seconds:g} s"
    return f"{step.rate:,.0f}/s {for_}, {mix} ({step.why})"


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{len(names)} spaces, {names[0]} …"


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
