"""Which events are counted together, and how perf is told: groups into rounds, events into its words."""

from __future__ import annotations

from dataclasses import dataclass

from engram_diagnose.collectors.capture.event_tables import GENERIC, CountGroup, CountTable
from engram_diagnose.collectors.capture.pmu_probe import uncore_devices

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

CLOCK = "task-clock"
"""What needs no counter of the CPU: how long the server ran is counted in every round."""
_HOST_COUNTERS = 4
"""How many events a device beside the cores counts at once, at least: the memory controllers and fabrics have four."""


@dataclass(frozen=True)
class Asked:
    """An event as perf is asked for it, and what it will be called in the answer."""

    group: str
    alias: str
    term: str
    printed: str


@dataclass(frozen=True)
class Round:
    """Groups counted at the same time; `sets` are those that perf keeps together, one a group and device."""

    of_host: bool
    sets: tuple[tuple[Asked, ...], ...]

    @property
    def asked(self) -> list[Asked]:
        """Every event of it."""
        return [event for events in self.sets for event in events]

    @property
    def groups(self) -> list[str]:
        """The names of its groups, in order."""
        return list(dict.fromkeys(event.group for event in self.asked))

    def without(self, refused: Mapping[str, str]) -> Round:
        """The round without the events (by term) that are refused."""
        kept = (tuple(event for event in events if event.term not in refused) for events in self.sets)
        return Round(self.of_host, tuple(events for events in kept if events))

    def expression(self) -> str:
        """For perf's option -e: what belongs together in braces."""
        return ",".join("{" + ",".join(event.term for event in events) + "}" for events in self.sets)


def rounds(table: CountTable, devices: Mapping[str, int], core: str, *, user_only: bool, of_host: bool) -> list[Round]:
    """
    The groups of a table in rounds that the counters suffice for, in the order of the table.

    Each group is in the first round that has room. Those of devices that are not here are left out, those of the whole
    host too where `of_host` is false, and those of the cores where there is no `core`.
    """
    own = [group for group in table.groups if not group.of_host and (core or group.on == GENERIC)]
    packed = _packed(own, table.counters, table.fixed)
    found = [Round(False, tuple(_core_set(group, core, user_only) for group in groups)) for groups in packed]
    if of_host:
        present = [group for group in table.groups if group.of_host and uncore_devices(dict(devices), group.on)]
        for groups in _packed(present, _HOST_COUNTERS, frozenset(), by_device=True):
            sets = (_device_set(g, device) for g in groups for device in uncore_devices(dict(devices), g.on))
            found.append(Round(True, tuple(sets)))
    return found


def _packed(
    groups: Iterable[CountGroup], counters: int, fixed: frozenset[str], *, by_device: bool = False
) -> list[list[CountGroup]]:
    packed: list[list[CountGroup]] = []
    for group in groups:
        for together in packed:
            rivals = [g for g in together if not by_device or g.on == group.on]
            if _taken([*rivals, group], fixed) <= counters:
                together.append(group)
                break
        else:
            packed.append([group])
    return packed


def _taken(groups: Iterable[CountGroup], fixed: frozenset[str]) -> int:
    """How many counters these take: an event with a counter of its own takes one only when it is counted again."""
    names = [event for group in groups for _, event, _ in group.events]
    return len(names) - len(fixed & set(names))


def _core_set(group: CountGroup, core: str, user_only: bool) -> tuple[Asked, ...]:
    if group.on == GENERIC:
        suffix = ":u" if user_only else ""
        return tuple(Asked(group.name, alias, event + suffix, event) for alias, event, _ in group.events)
    return tuple(
        _named(group, alias, core, event, code, "u" if user_only else "") for alias, event, code in group.events
    )


def _device_set(group: CountGroup, device: str) -> tuple[Asked, ...]:
    return tuple(_named(group, alias, device, event, code, "") for alias, event, code in group.events)


def _named(group: CountGroup, alias: str, device: str, event: str, code: str, modifier: str) -> Asked:
    # Codes and a name of our own: so it matters neither which events this perf knows nor how it spells them.
    printed = f"{group.name}.{alias}"
    return Asked(group.name, alias, f"{device}/{code or event},name={printed}/{modifier}", printed)
