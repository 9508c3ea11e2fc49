"""
Taking away what a load stored: its own memory spaces, and no others.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engram_diagnose.bench.asking import Asking, NoAnswerError
from engram_diagnose.bench.guards import is_ours
from engram_diagnose.bench.preflight import remove_space
from engram_diagnose.bench.targets import Routes

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Remains:
    """A memory space that is still there, and why."""

    space: str
    reason: str


def clean_up(asking: Asking, routes: Routes, spaces: Iterable[str], *, offered: bool) -> list[Remains]:
    """
    Remove the memory spaces of a load, each tried once, until the server gives no answer; gives those
    that remain. `offered` says whether the server is
    known to remove spaces.

    Interrupted, it gives up: what it has not come to remains. Whatever is no `bench-` space is never touched.
    """
    left = sorted({space for space in spaces if is_ours(space)})
    remains: list[Remains] = []
    for place, space in enumerate(left):
        try:
            reason = remove_space(asking, routes, space, offered=offered)
        except KeyboardInterrupt:
            return remains + [Remains(one, "interrupted") for one in left[place:]]
        except NoAnswerError as error:  # who does not answer one will not answer the next
            return remains + [Remains(one, str(error)) for one in left[place:]]
        if reason:
            remains.append(Remains(space, reason))
    return remains


def told(remains: Iterable[Remains], *, url: str, routes: Routes) -> list[str]:
    """What remains, a line for each reason, with how to take it away by hand where that is possible."""
    by_reason: dict[str, list[str]] = {}
    for one in remains:
        by_reason.setdefault(one.reason, []).append(one.space)
    lines = []
    for reason, spaces in by_reason.items():
        by_hand = f"; by hand: curl -X DELETE {url}{routes.spaces.replace('{name}', spaces[0])}"
        offered = "no removal" not in reason
        lines.append(f"what the load stored is still in {', '.join(spaces)} ({reason}){by_hand if offered else ''}")
    return lines
