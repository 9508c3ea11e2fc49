"""Labels and diagnosed cases made up for tests."""

from collections.abc import Sequence
from dataclasses import replace

from engram_diagnose.cases.judging import Judged, Named
from engram_diagnose.cases.label import HEALTHY, Host, Label, Visible
from engram_diagnose.engine.language.limits_reader import read_limits
from engram_diagnose.rulebase import load_rules

WAL = "storage.wal-write-amplification"
LIMITS = read_limits(load_rules(thorough=False).texts, "cases")


def label(name: str = "case", *, causes: Sequence[Sequence[str]] = ((WAL,),), families: Sequence[str] = ("log",),
          shape: str = "4-cores", visible: Visible = "yes", besides: Sequence[str] = ()) -> Label:  # fmt: skip
    """A label; healthy without causes."""
    return Label(
        name=name, faults=tuple(families) if causes else (), families=tuple(families) if causes else (HEALTHY,),
        severity="plain", causes=tuple(map(tuple, causes)), visible=visible, host=Host(shape, 4), source="lab",
        when="2026-11-22T10:00:00Z", bundle=f"{name}.bundle", digest="0" * 64, true_besides=frozenset(besides),
        version="0.1.0",
    )  # fmt: skip


def judged(of: Label, named: Sequence[tuple[str, float]] = (), *, not_testable: Sequence[str] = (),
           masked: Sequence[str] = (), state: str = "missed") -> Judged:  # fmt: skip
    """A diagnosis of it, with causes and their confidences in the order of their ranks."""
    causes = tuple(Named(rule, share, share, "warning") for rule, share in named)
    return Judged(of, causes, frozenset(masked), frozenset(), frozenset(not_testable), frozenset(), (), state)


def corpus(cases: int, *, right: float, said: float = 0.95) -> list[Judged]:
    """
    So many cases over several families and shapes, each with one cause called `said`; the share `right` names it.
    """
    families, shapes = ("log", "tiers", "threads", "completion", "disk", "index search", "locks", "simd"), (1, 2, 4)
    found = []
    for number in range(cases):
        family, cores = families[number % len(families)], shapes[number // len(families) % len(shapes)]
        shape = f"{cores}-core{'' if cores == 1 else 's'}"
        is_right = (number * 7919) % 1000 < right * 1000
        own = label(f"case-{number}", causes=((WAL,),), families=(family,), shape=shape)
        found.append(judged(own, [(WAL if is_right else "host.noisy-neighbour", said)]))
    return found


def moved(one: Label, **changes: object) -> Label:
    """The same with other values."""
    return replace(one, **changes)  # type: ignore[arg-type]  # names of the label's own fields
