"""
What clients feel of a fault: the figures that it is said to breach, beside the healthy lab's under the same load.

A fault of which nobody feels anything is no case: nothing is slow, and whoever finds no cause is right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from engram_diagnose.bench.verdict import TAILS
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.parse.client_load import facts_of_client_load
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.parser import parse_reference

Json = Mapping[str, Any]
_LATENCY: Final = "op.latency."


@dataclass(frozen=True, slots=True)
class Felt:
    """One figure (seconds, or a share) as clients of the healthy lab and of the faulty one felt it, and its target."""

    figure: str
    healthy: float
    sick: float
    target: float | None = None
    better: str = "lower"

    def harms(self, least: float) -> bool:
        """Whether it misses its target, where there is one, and is worse than the healthy one by the share `least`."""
        if self.better == "higher":
            return self.sick < self.healthy * (1 - least) and (self.target is None or self.sick < self.target)
        return self.sick > self.healthy * (1 + least) and (self.target is None or self.sick > self.target)

    def __str__(self) -> str:
        healthy, sick = (f"{value:.1%}" if self.better == "higher" else f"{value * 1e3:.1f} ms"
                         for value in (self.healthy, self.sick))  # fmt: skip
        return f"{self.figure} is {sick}, and {healthy} without the fault"


def figures_felt(run: Json, bundle: Bundle, names: Iterable[str], *, wait: float) -> dict[str, float]:
    """
    What clients measured of some figures (`op.latency.p99{operation=recall}`, in seconds): response times of a run of
    the benchmark format, counted from when a request was due whatever became of it; and the worst recall quality.

    Where more fail than a quantile leaves beyond itself, it is one of those: `wait` at least, the seconds that answers
    are waited for when the last request is out, or the run's length where that is less.
    """
    facts = facts_of_client_load(bundle.answers).felt
    found = {}
    for name in names:
        wanted = parse_reference(name)
        operation = dict(wanted.labels).get("operation", "")
        if wanted.name.startswith(_LATENCY):
            entry, quantile = run["operations"].get(operation), wanted.name.removeprefix(_LATENCY)
            value = _response(entry, quantile, wait=min(wait, run["duration_seconds"])) if entry else None
        else:
            value = min((fact.value[0] for fact in facts if fact.name == wanted.name and isinstance(fact.value, tuple)),
                        default=None)  # fmt: skip
        if value is not None:
            found[name] = float(value)
    return found


def _response(entry: Json, quantile: str, *, wait: float) -> float | None:
    found: float | None = entry["response"]["quantiles"].get(quantile)
    failed = entry["sent"] - entry["ok"]
    return max(found or 0.0, wait) if failed > TAILS[quantile] * entry["sent"] else found


def compared(healthy: Mapping[str, float], sick: Mapping[str, float], catalogue: Catalogue) -> tuple[Felt, ...]:
    """The figures that both sides have; of all but latencies more is better."""
    found = []
    for name in sorted(healthy.keys() & sick.keys()):
        wanted = parse_reference(name)
        scope = scope_of(dict(wanted.labels))
        spec = next((one for one in catalogue.targets if (one.name, one.scope) == (wanted.name, scope)), None)
        better = "lower" if wanted.name.startswith(_LATENCY) else "higher"
        found.append(Felt(name, healthy[name], sick[name], spec.target if spec else None, better))
    return tuple(found)
