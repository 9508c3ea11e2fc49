"""
A corpus from the lab: each fault at each severity on each host shape, so many times, and what is left of each without
one of its sources.

A case that is there is not made again, and each is written whole, so that making can be ended at any time and gone on
with later. The order goes round all faults before it repeats one: a corpus that was ended early is small, not lopsided.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from engram_diagnose import __version__
from engram_diagnose.cases.corpus import Case, cases_in, is_kept, keep
from engram_diagnose.cases.dropping import without
from engram_diagnose.cases.label import HEALTHY, LAB, Host, Label, Loaded, Visible
from engram_diagnose.collectors.bundle import content_digest
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.demo.felt import Felt
from engram_diagnose.engine.facts.instant import iso
from engram_diagnose.lab.fault import SEVERITIES, Fault, Hidden
from engram_diagnose.lab.faults import FAULTS

Say = Callable[[str], None]
_COUNTERS: Final = "perf"
_COUNTED: Final = "stat"
"""The collector of the CPU's own counters, and its answer that holds what was counted, by rounds."""


_OTHERS: Final = FAULTS["noisy-neighbour"].right
"""Rules that are true of every server on a host that others use."""


class NotMadeError(ValueError):
    """A case that could not be made here; says why."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A case to be made: a fault at a severity, on so many cores, for the so manieth time (from 1 on)."""

    fault: Fault
    severity: str
    cores: int
    number: int

    @property
    def shape(self) -> str:
        """The host's shape by its name."""
        return f"{self.cores}-core{'' if self.cores == 1 else 's'}"

    @property
    def name(self) -> str:
        """The case's name."""
        return f"{self.fault.name}.{self.severity}.{self.shape}.{self.number}"


@dataclass(frozen=True, slots=True)
class Collected:
    """
    What came of staging a case: the bundle, what clients did, the CPU's name, what of it was not possible, whether
    others used the host meanwhile, and what clients felt of the fault.
    """

    bundle: Bundle
    load: Loaded
    cpu: str = ""
    noise: str = ""
    seed: int = 0
    impossible: tuple[str, ...] = ()
    disturbed: bool = False
    felt: tuple[Felt, ...] = ()


class Stage(Protocol):
    """Whoever can plant a fault, load it and look at it."""

    def collected(self, planned: Planned) -> Collected:
        """Stage a case; raises `NotMadeError` where that cannot be."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be made: faults and severities by name (none: all), cores of hosts, repeats, sources to take away."""

    faults: Sequence[str] = ()
    severities: Sequence[str] = ()
    cores: Sequence[int] = ()
    repeat: int = 1
    without: Sequence[str] = ()


@dataclass(slots=True)
class Made:
    """What came of it: names of cases that were made, that were there, and that were not, with why."""

    made: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)


def planned(order: Order) -> Iterator[Planned]:
    """The cases of an order. Raises `ValueError` for a fault or a severity there is not."""
    for name in order.faults:
        if name not in FAULTS:
            raise NotMadeError(f"there is no fault {name!r}; there are {', '.join(FAULTS)}")
    severities = order.severities or SEVERITIES
    if unknown := [name for name in severities if name not in SEVERITIES]:
        raise NotMadeError(f"there is no severity {unknown[0]!r}; there are {', '.join(SEVERITIES)}")
    for number in range(1, order.repeat + 1):
        for severity in severities:
            for cores in order.cores:
                for name in order.faults or FAULTS:
                    yield Planned(FAULTS[name], severity, cores, number)


def make(order: Order, folder: Path, stage: Stage, *, say: Say) -> Made:
    """
    Make what of an order is not there yet.

    A case that cannot be made is told, and does not keep the next one from being made. Raises `OSError` where the
    folder cannot be written, and `NotMadeError` for an order that makes no sense.
    """
    found = Made()
    for one in list(planned(order)):
        if is_kept(folder, one.name):
            found.there.append(one.name)
            continue
        try:
            kept = keep(folder, *labelled(one, stage.collected(one)))
        except NotMadeError as error:
            found.failed.append((one.name, str(error)))
            say(f"{one.name}: not made: {error}")
            continue
        found.made.append(kept.label.name)
        say(f"{one.name}: made")
    found.made += derived(folder, order)
    return found


def derived(folder: Path, order: Order) -> list[str]:
    """Take the order's sources away from its cases that are there; gives the names of cases that were not yet."""
    wanted = {one.name for one in planned(order)}
    cases = [case for case in _listed(folder) if case.label.name in wanted]
    made = []
    for case in cases:
        missing = [source for source in order.without if not is_kept(folder, f"{case.label.name}.no-{source}")]
        bundle = case.read() if missing else None
        for source in missing:
            assert bundle is not None  # noqa: S101 -- something is missing
            label, left = without(case, bundle, source)
            made.append(keep(folder, label, left).label.name)
    return made


def _listed(folder: Path) -> list[Case]:
    return cases_in(folder) if any(folder.glob("*.label.json")) else []


# Labels


def labelled(planned: Planned, collected: Collected) -> tuple[Label, Bundle]:
    """
    A case's label and bundle. Raises `NotMadeError` where part of the fault could not be planted: what is labelled
    would not be there.
    """
    fault, bundle = planned.fault, collected.bundle
    if collected.impossible:
        raise NotMadeError("; ".join(collected.impossible))
    visible, why = visibility(fault, bundle)
    planted = parts_of(fault)
    label = Label(
        name=planned.name, faults=tuple(one.name for one in planted),
        families=tuple(dict.fromkeys(one.family for one in planted)) or (HEALTHY,),
        severity=planned.severity, causes=fault.causes, visible=visible, hidden_by=why,
        host=Host(planned.shape, planned.cores, cpu=collected.cpu), source=LAB, when=iso(bundle.time),
        bundle=f"{planned.name}.bundle", digest=content_digest(bundle), load=collected.load, noise=collected.noise,
        missing=fault.hidden.metrics + (("process",) if fault.hidden.process else ()), seed=collected.seed,
        version=__version__,
        true_besides=_OTHERS if collected.disturbed else frozenset(),
        felt=tuple((one.figure, one.healthy, one.sick) for one in collected.felt),
    )  # fmt: skip
    return label, bundle


def parts_of(fault: Fault) -> tuple[Fault, ...]:
    """The single faults that one is made of: itself, both of two, that behind a veil; none of a healthy server."""
    singles = [one for one in FAULTS.values() if len(one.causes) == 1 and one.hidden == Hidden()]
    return tuple(one for causes in fault.causes for one in singles if one.causes == (causes,))


def visibility(fault: Fault, bundle: Bundle) -> tuple[Visible, str]:
    """Whether a fault can be seen by what was collected, and what keeps it from it."""
    if fault.healthy:
        return "yes", ""
    if fault.hidden != Hidden():
        return "untold", "some of what would show it was kept from those who look"
    if fault.counters and not _has_counters(bundle):
        return "no", "only the CPU's own counters show it, and there are none here"
    return "yes", ""


def _has_counters(bundle: Bundle) -> bool:
    """Whether the CPU's own counters were counted; a virtual machine often has none."""
    bodies = [answer.body for answer in bundle.of(_COUNTERS) if answer.name == _COUNTED and answer.body]
    try:
        return any(json.loads(body).get("rounds") for body in bodies)
    except (ValueError, AttributeError, RecursionError):
        return False
