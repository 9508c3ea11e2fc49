"""
Where a server of each dialect is asked for what, and how its answers are read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.collectors.capture.interface import USUAL_DIALECT


@dataclass(frozen=True, slots=True)
class Routes:
    """
    The paths of one dialect's HTTP interface.

    `health` are tried in their order; `spaces` removes a memory space, `{name}` standing for it; empty paths are not
    offered. `complete` is pattern completion, `counts` tells how many memories there are.
    """

    dialect: str
    health: tuple[str, ...] = ("/health", "/api/v1/system/health")
    remember: str = "/api/v1/memories/remember"
    recall: str = "/api/v1/memories/recall"
    complete: str = "/api/v1/complete"
    counts: str = "/api/v1/memories?limit=0"
    spaces: str = "/api/v1/spaces/{name}"
    space_header: str = "X-Memory-Space"


ROUTES: Final[Mapping[str, Routes]] = {name: Routes(name) for name in ("guide", "engram-0.1")}
"""The guide names the release's paths for what it loads; where they part, they part here."""


def routes_of(dialect: str) -> Routes:
    """The routes of a dialect; those of the usual one where it is not known."""
    return ROUTES.get(dialect, ROUTES[USUAL_DIALECT])


# What answers say


def stored_id(document: Any) -> str | None:
    """The id of a memory that was stored, "" where the server tells none; None for what is no answer to a store."""
    if not isinstance(document, dict):
        return None
    for name in ("memory_id", "id"):
        if isinstance(document.get(name), str | int) and not isinstance(document.get(name), bool):
            return str(document[name])
    return "" if document.get("status") or document.get("success") else None


def recalled(document: Any) -> list[Mapping[str, Any]] | None:
    """
    The memories of a recall's answer, in its order; None for what is no answer to a recall.

    `memories` is a list, or as the release has it lists by how vivid they are:
    `{"memories": {"vivid": […], "associated": […], "reconstructed": […]}}`.
    """
    found = document.get("memories", document.get("results")) if isinstance(document, dict) else None
    if isinstance(found, dict):
        groups = list(_groups(found))
        return None if any(not isinstance(one, list) for one in groups) else _entries(e for one in groups for e in one)
    return _entries(found) if isinstance(found, list) else None


def _groups(found: Mapping[str, Any]) -> Iterator[Any]:
    first = ("vivid", "associated", "reconstructed")
    yield from (found[name] for name in first if name in found)
    yield from (found[name] for name in found if name not in first)


def _entries(listed: Iterable[Any]) -> list[Mapping[str, Any]] | None:
    entries = list(listed)
    return entries if all(isinstance(one, dict) for one in entries) else None


def names_of(entry: Mapping[str, Any]) -> frozenset[str]:
    """What a recalled memory can be told by: its id, and its content."""
    told = (entry.get(name) for name in ("memory_id", "id", "content"))
    return frozenset(str(one) for one in told if isinstance(one, str | int) and not isinstance(one, bool))


def memories_in(document: Any) -> int | None:
    """How many memories a server says it holds (`tier_counts.total`, else the sum); None where it is silent."""
    counts = document.get("tier_counts") if isinstance(document, dict) else None
    if not isinstance(counts, dict):
        return None
    figures = {name: value for name, value in counts.items()
               if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e15}  # fmt: skip
    if "total" in figures:
        return int(figures["total"])
    return int(sum(figures.values())) if figures else None
