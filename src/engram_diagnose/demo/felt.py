"""
What clients feel of a fault: the figures that it is said to breach, beside the healthy lab's under the same load.

A fault of which nobody feels anything is no case: nothing is slow, and whoever finds no cause is right.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.parse.client_load import facts_of_client_load
from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.language.expression import Reference
from engram_diagnose.engine.language.parser import parse_reference


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


def figures_felt(bundle: Bundle, names: Iterable[str]) -> dict[str, float]:
    """What the bundle's clients measured of some figures (`op.latency.p99{operation=recall}`), the worst space each."""
    facts = facts_of_client_load(bundle.answers).felt
    found = {}
    for name in names:
        wanted = parse_reference(name)
        values = [fact.value[1] for fact in facts if _is(fact, wanted) and isinstance(fact.value, tuple)]
        if values:
            found[name] = max(values)
    return found


def _is(fact: Fact, wanted: Reference) -> bool:
    labels = dict(fact.scope.labels)
    return fact.name == wanted.name and all(labels.get(name) == value for name, value in wanted.labels)


def compared(healthy: Mapping[str, float], sick: Mapping[str, float], catalogue: Catalogue) -> tuple[Felt, ...]:
    """The figures that both sides have; a share is better when it is higher."""
    found = []
    for name in healthy.keys() & sick.keys():
        wanted = parse_reference(name)
        spec = next((one for one in catalogue.targets if one.name == wanted.name and
                     one.scope == scope_of(dict(wanted.labels))), None)  # fmt: skip
        kind = catalogue.spec(wanted.name)
        better = spec.better if spec else "higher" if kind is not None and kind.unit.symbol == "share" else "lower"
        found.append(Felt(name, healthy[name], sick[name], spec.target if spec else None, better))
    return tuple(sorted(found, key=lambda one: one.figure))
