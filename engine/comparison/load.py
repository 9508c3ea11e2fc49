"""
Was the load alike? A server that is asked for less is faster, and nothing was gained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from engram_diagnose.engine.comparison.policy import Measure

if TYPE_CHECKING:
    from engram_diagnose.engine.comparison.effect import Effect

Alike = Literal["comparable", "heavier", "lighter", "different", "unknown"]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measure of the load on both sides, in base units; `on` is the fact that both know, empty when none is."""

    measure: Measure
    on: str
    before: float | None
    after: float | None
    state: Alike

    @property
    def known(self) -> bool:
        """Whether both sides know it."""
        return self.state != "unknown"


@dataclass(frozen=True, slots=True)
class Load:
    """All measures, and what they come to. `assumed` tells that the operator vouches for it."""

    measures: tuple[Measured, ...]
    state: Alike
    assumed: bool = False


def compare_load(before: Mapping[str, float], after: Mapping[str, float], measures: Sequence[Measure], *,
                 assumed: bool = False) -> Load:  # fmt: skip
    """
    Compare figures of the load, by fact.

    `heavier` and `lighter` only where every measure that is not alike points the same way; `unknown` when a measure is
    not known and none differs. With `assumed` it is comparable, and the measures still say what they say.
    """
    found = tuple(_measured(before, after, measure) for measure in measures)
    return Load(found, "comparable" if assumed else _state([one.state for one in found]), assumed)


def _measured(before: Mapping[str, float], after: Mapping[str, float], measure: Measure) -> Measured:
    on = next((name for name in measure.facts if name in before and name in after), "")
    if not on:
        return Measured(measure, "", None, None, "unknown")
    then, now = before[on], after[on]
    allowed = measure.tolerance * (1.0 if measure.absolute else max(abs(then), abs(now)))
    if abs(now - then) <= allowed:
        return Measured(measure, on, then, now, "comparable")
    state: Alike = "different" if not measure.heavier else "heavier" if now > then else "lighter"
    return Measured(measure, on, then, now, state)


def _state(states: Sequence[Alike]) -> Alike:
    differing = {state for state in states if state not in ("comparable", "unknown")}
    if not differing:
        return "unknown" if "unknown" in states else "comparable"
    if "unknown" in states or len(differing) > 1:
        return "different"
    return differing.pop()


def under(load: Load, effect: "Effect", *, worsens: bool) -> "Effect":
    """
    The effect as the load lets it stand.

    Where a heavier load can only make a figure worse (`worsens`), an improvement under a heavier load is one all the
    more, and so is a loss under a lighter one. Everything else needs a comparable load.
    """
    if load.state == "comparable" or effect.verdict == "inconclusive":
        return effect
    kept = {"heavier": "improved", "lighter": "worse"}.get(load.state)
    if worsens and effect.verdict == kept:
        return replace(effect, note=f"although the load was {load.state}")
    why = {"unknown": "the load is not known", "heavier": "the load was heavier", "lighter": "the load was lighter"}
    return replace(effect, verdict="not comparable", note=why.get(load.state, "the load was another"))
