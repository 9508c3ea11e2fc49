"""
The loads there are: what each asks of a server, and in which shares.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

STORE: Final = "store"
RECALL: Final = "recall"
MIXED: Final = "mixed"
TENANTS: Final = "multi-tenant"
BURST: Final = "burst"
RAMP: Final = "ramp"
SUITE: Final = "suite"

COMBINED: Final = (MIXED, TENANTS)
"""Loads of all operations together, held to what a set says of operations per second."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One load: whether it stores, recalls, or both; in several spaces; and what it is there to tell."""

    name: str
    stores: bool
    recalls: bool
    several_spaces: bool = False
    about: str = ""

    def mix(self, read_share: float) -> Mapping[str, float]:
        """The share of each operation."""
        if not self.recalls:
            return {STORE: 1.0}
        if not self.stores:
            return {RECALL: 1.0}
        return {RECALL: read_share, STORE: 1 - read_share}


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind(RAMP, True, True, about="faster and faster, until answers come late: the knee"),
        Kind(STORE, True, False, about="nothing but stores"),
        Kind(RECALL, False, True, about="nothing but recalls of what was stored"),
        Kind(MIXED, True, True, about="recalls and stores, as is usual"),
        Kind(TENANTS, True, True, several_spaces=True, about="the same in several memory spaces at once"),
        Kind(BURST, True, True, about="a few seconds of all that can be sent"),
    )
}
"""In the order in which a suite runs them: the ramp first, since its knee tells what the others can be offered."""
NAMES: Final = (*KINDS, SUITE)
