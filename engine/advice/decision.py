"""
One decision per parameter: everyone who asks for it meets here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from engram_diagnose.engine.advice.proposal import Proposal
from engram_diagnose.engine.facts.catalogue import ConfigKey, ParameterSpec
from engram_diagnose.engine.facts.fact import Value

Group = Literal["now", "next restart", "planned"]
Standing = Literal["advised", "ignored", "held", "unknown"]
GROUPS: Final[tuple[Group, ...]] = ("now", "next restart", "planned")
"""From what can be done and undone at once to what needs a plan."""

_SOONEST: Final[dict[str, Group]] = {"reload": "now", "host": "now", "restart": "next restart", "reindex": "planned"}
_CLOSE: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What is decided about one parameter, values in base units.

    `current` is the value in effect when it was measured. `chosen` decided it; `agreeing` ask for the same,
    `conflicting` for something else. Of the standings, only `advised` is to be done: `ignored` is not read by this
    release, `held` waits for the `reason` given, `unknown` cannot be computed. `notes` say what bounded the value; an
    `own` value is the operator's, and nothing cuts it.
    """

    parameter: ParameterSpec
    key: ConfigKey | None
    current: Value | None
    wanted: Value | None
    chosen: Proposal
    agreeing: tuple[Proposal, ...]
    conflicting: tuple[Proposal, ...]
    group: Group
    standing: Standing = "advised"
    reason: str = ""
    notes: tuple[str, ...] = ()
    own: bool = False

    @property
    def name(self) -> str:
        """The parameter's name."""
        return self.parameter.name


def group_of(parameter: ParameterSpec, when: str) -> Group:
    """When it can be done: not before the parameter's class allows, nor before the rule wants it."""
    soonest = _SOONEST[parameter.restart]
    wanted: Group = next((group for group in GROUPS if group == when), soonest)
    return max(soonest, wanted, key=GROUPS.index)


def same(one: Value | None, other: Value | None) -> bool:
    """Whether two values are alike, but for the last digits of a float."""
    if one is None or other is None or isinstance(one, str) or isinstance(other, str):
        return one == other
    return all(abs(a - b) <= _CLOSE * max(abs(a), abs(b)) or a == b for a, b in zip(one, other, strict=True))


def direction(before: Value | None, after: Value | None) -> int:
    """1 where a figure rises, -1 where it falls, 0 where neither can be said."""
    if before is None or after is None or isinstance(before, str) or isinstance(after, str):
        return 0
    if same(before, after):
        return 0
    return 1 if after[0] >= before[1] else -1 if after[1] <= before[0] else 0


def representable(value: Value | None, parameter: ParameterSpec, key: ConfigKey | None) -> Value | None:
    """
    The nearest value that the configuration can hold: sizes, counts and times are whole numbers of the key's unit.

    A figure below one unit becomes one. None for an interval, which no key can hold.
    """
    if value is None or isinstance(value, str):
        return value
    low, high = value
    if low != high:
        return None
    if parameter.kind == "bool" or parameter.unit.symbol not in ("B", "count", "s"):
        return value
    step = key.unit.factor if key is not None and key.unit.symbol else 1.0
    whole = max(1.0, float(round(low / step))) * step if low > 0 else 0.0
    return whole, whole


def split(proposals: Sequence[Proposal], chosen: Proposal) -> tuple[tuple[Proposal, ...], tuple[Proposal, ...]]:
    """The others that ask for the same value, and those that ask for another."""
    others = [proposal for proposal in proposals if proposal is not chosen]
    agreeing = tuple(one for one in others if same(one.wanted, chosen.wanted))
    return agreeing, tuple(one for one in others if one not in agreeing)
