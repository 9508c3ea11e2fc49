"""
How long each part of the demo takes, and how much it loads: enough to see the fault, in about a minute.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Pace:
    """
    `memories` are there to begin with: past what the caches of a core hold, and linked in seconds the first time.
    `settle_seconds` of load go before each look, so that tiers and caches are as the load leaves them.
    `look_seconds` of load are looked at: the server's counters twice, and the host's meanwhile.
    `run_seconds` is one run of the comparison; of which there are `runs` a side, too few for a verdict, and told so.
    `spare` pairs of them are run again where the client was the bottleneck of one.
    `probe_seconds` is one rate while it is found out what the healthy lab carries, `probe_from` the first rate: so long
    that stores outlast the room for memories that are not linked yet.
    `drain_seconds` is how long answers are waited for after a load: a server that falls behind is seen to by then.
    `link_seconds` lie between storing what recalls are checked with and asking for it: what is not linked yet is
    compared one by one, and always found.
    `room_bytes` must be free for the scratch folder: data, log and index of the lab, and a copy to begin with.
    """

    memories: int = 12_000
    settle_seconds: float = 1.5
    look_seconds: float = 8.0
    run_seconds: float = 2.0
    runs: int = 3
    spare: int = 2
    probe_seconds: float = 3.0
    probe_from: float = 500.0
    drain_seconds: float = 0.5
    link_seconds: float = 3.0
    room_bytes: int = 1 << 30


USUAL: Final = Pace()
