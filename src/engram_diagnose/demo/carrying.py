"""
How much the healthy lab carries on this machine, which is what a fault's load is a share of.

Found once by offering more and more, and kept with what it depends on.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from engram_diagnose.collectors.whole_file import write_whole

Json = Mapping[str, Any]
Offer = Callable[[float], Json]
"""Offers that rate for a moment, and gives the run."""

KEEPS_UP: Final = 0.95
"""Of what is offered must be answered in the time, or a queue grows."""
_FASTER: Final = 2.0
_STEPS: Final = 8
_LOWEST: Final = 50.0


def carried(offer: Offer, *, first: float) -> float:
    """
    The highest rate that was served, in operations a second: twice as much is offered until it is too much.

    What was served of the rate that was too much counts as well, since it is the most there is.
    """
    rate, best = first, 0.0
    for _ in range(_STEPS):
        run = offer(rate)
        served = sum(one["rate"] for one in run["operations"].values())
        best = max(best, served)
        if served < KEEPS_UP * rate:
            break
        rate *= _FASTER
    return max(best, _LOWEST)


def key_of(mix: Mapping[str, float], *, memories: int, cores: int, model: str) -> str:
    """What the figure depends on: the load, the data, the machine."""
    shares = ",".join(f"{name}={share:g}" for name, share in sorted(mix.items()))
    return f"{shares};{memories};{cores};{model}"


def kept(path: Path, key: str) -> float | None:
    """The figure that was found before; None where there is none, or the file cannot be used."""
    found = _all(path).get(key)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) and found > 0 else None


def keep(path: Path, key: str, rate: float) -> None:
    """Remember a figure; where that cannot be written it is found again the next time."""
    text = json.dumps(_all(path) | {key: float(f"{rate:.6g}")}, indent=1, sort_keys=True)
    try:
        write_whole(path, text.encode() + b"\n")
    except (OSError, ValueError):
        return


def _all(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
