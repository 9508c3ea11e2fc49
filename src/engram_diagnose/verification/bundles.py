"""
Bundles as one side of a comparison.

One bundle, or a few, are their windows. Of as many as the rules ask for in runs, each is one run: what differs between
hours then counts as noise, as it should.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.instances import USUAL_DIALECT
from engram_diagnose.collectors.reading import facts_of_bundle
from engram_diagnose.engine.comparison.policy import Policy
from engram_diagnose.engine.comparison.samples import Samples, median
from engram_diagnose.engine.explanation.wording import fact_text
from engram_diagnose.engine.facts.fact import Fact, Interval
from engram_diagnose.engine.facts.scope import INSTANCE, Scope
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.verification.side import Key, Kind, Side, Trait, joined
from engram_diagnose.verification.windows import Cut, Cutter

_UPTIME: Final = "process.uptime"
_VERSION: Final = "server.version"


@dataclass(frozen=True, slots=True)
class Kept:
    """A bundle and what it is called."""

    name: str
    bundle: Bundle


class BundleSides:
    """Makes sides of bundles, all of the same facts."""

    def __init__(self, loaded: Loaded, policy: Policy, names: Iterable[str]) -> None:
        self._loaded = loaded
        self._policy = policy
        self._names = frozenset(names)
        self.cutter = Cutter(loaded, self._names, policy.windows)

    def side(self, kept: Sequence[Kept], *, since: float = 0.0, span: float | None = None,
             kind: Kind = "bundle") -> Side:  # fmt: skip
        """
        One side of one bundle or more, of nothing before `since`.

        `span` are the seconds of each that count, the policy's unless it is said.
        """
        ordered = sorted(kept, key=lambda one: one.bundle.time)
        length = self._policy.windows.span if span is None else span
        cuts = [self.cutter.cut(one.bundle, since=since, span=length) for one in ordered]
        newest = ordered[-1].bundle
        facts = self._facts(newest)
        figures = self._figures(ordered, cuts)
        whole = [cut for cut in cuts if cut is not None and cut.figures]
        return Side(
            kind=kind,
            sources=tuple(one.name for one in ordered),
            instance=newest.instance,
            start=min((cut.start for cut in whole), default=ordered[0].bundle.time),
            end=newest.time,
            figures=figures,
            load=load_of(figures),
            traits=self._traits(newest, facts),
            window=max((cut.seconds for cut in whole), default=0.0),
            restarted=_started(newest, facts, cuts),
            notes=tuple(_notes(ordered, cuts)),
            beyond=frozenset(key for cut in whole for key in cut.beyond),
        )

    def _figures(self, kept: Sequence[Kept], cuts: Sequence[Cut | None]) -> dict[Key, Samples]:
        if len(kept) >= self._policy.least.runs:
            return self._runs(kept, cuts)
        keys = sorted({key for cut in cuts if cut is not None for key in cut.figures})
        figures = {key: joined(cut.stretches(key) for cut in cuts if cut is not None) for key in keys}
        if all(cut is None for cut in cuts):
            return self._runs(kept, cuts)
        return figures

    def _runs(self, kept: Sequence[Kept], cuts: Sequence[Cut | None]) -> dict[Key, Samples]:
        """Each bundle as one run: the median of its windows, or the one figure it has."""
        runs = [_medians(cut) if cut is not None else self._once(one.bundle)
                for one, cut in zip(kept, cuts, strict=True)]  # fmt: skip
        keys = sorted({key for run in runs for key in run})
        return {key: Samples(tuple(run[key] for run in runs if key in run), "runs") for key in keys}

    def _once(self, bundle: Bundle) -> dict[Key, float]:
        facts = facts_of_bundle(bundle, self._loaded.catalogue, self.cutter.measured)
        figures = {Key(fact.name, fact.scope): {0: _middle(fact.value)} for fact in facts
                   if isinstance(fact.value, tuple) and all(map(math.isfinite, fact.value))}  # fmt: skip
        found = self.cutter.derived(figures, bundle.time)
        return {key: values[0] for key, values in found.items() if key.on in self._names}

    def _facts(self, bundle: Bundle) -> dict[str, Fact]:
        """What the bundle says of the server, its settings and its host."""
        catalogue = self._loaded.catalogue
        wanted = {*catalogue.parameters, _UPTIME, _VERSION}
        facts = facts_of_bundle(bundle, catalogue, wanted)
        return {fact.name: fact for fact in facts if fact.known and fact.name in wanted and fact.scope == INSTANCE}

    def _traits(self, bundle: Bundle, facts: Mapping[str, Fact]) -> tuple[Trait, ...]:
        catalogue = self._loaded.catalogue
        host = (bundle.host_name or bundle.host) if bundle.options.get("local") is True else ""
        named = [Trait("instance", bundle.instance), Trait("host", host), Trait("dialect", bundle.dialect)]
        if _VERSION in facts:
            named.append(Trait("server version", str(facts[_VERSION].value)))
        dialect = catalogue.dialects.get(bundle.dialect, catalogue.dialects[USUAL_DIALECT])
        keys = [name for name in sorted(facts) if name in catalogue.parameters and name in dialect.keys]
        named += [Trait(dialect.keys[name].key or name, fact_text(facts[name].value, catalogue.spec(name)), name)
                  for name in keys]  # fmt: skip
        return tuple(trait for trait in named if trait.value)


def load_of(figures: Mapping[Key, Samples]) -> dict[str, float]:
    """The median of each figure of the whole server; where it is only known by part, the sum of the parts."""
    found: dict[str, float] = {}
    by_name: dict[str, dict[Scope, float]] = {}
    for key, samples in figures.items():
        if samples.values:
            by_name.setdefault(key.on, {})[key.scope] = samples.median
    for name, scopes in by_name.items():
        found[name] = scopes[INSTANCE] if INSTANCE in scopes else sum(scopes.values())
    return found


def _medians(cut: Cut) -> dict[Key, float]:
    return {key: median(list(values.values())) for key, values in cut.figures.items() if values}


def _middle(value: Interval) -> float:
    return (value[0] + value[1]) / 2


def _started(bundle: Bundle, facts: Mapping[str, Fact], cuts: Sequence[Cut | None]) -> float | None:
    uptime = facts[_UPTIME].value if _UPTIME in facts else None
    if isinstance(uptime, tuple):
        return bundle.time - uptime[0]
    last = cuts[-1]
    return last.reset if last is not None else None


def _notes(kept: Sequence[Kept], cuts: Sequence[Cut | None]) -> Iterable[str]:
    for one, cut in zip(kept, cuts, strict=True):
        if cut is None:
            yield f"{one.name} holds no raw samples of a Prometheus, and counts as one run"
        elif cut.reset is not None:
            yield f"{one.name}: the server started anew while it was watched; only what came after counts"
