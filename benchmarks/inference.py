"""
One diagnosis of a loaded rule base, against CLIPS on the same rules and facts.

Both start from the same Python facts and end with the set of ids of the rules that fire, which are compared before
anything is timed. Ours decides more on the way (refuted and unknown apart, in every scope) and keeps a firing of each.
"""

from collections.abc import Callable, Iterable
from functools import partial

import clips_engine
from built_in import builtin_expert, builtin_facts
from made import make_expert, make_facts, make_rules, names_of
from measure import interleaved
from outcome import Outcome, alone, compared

from engram_diagnose.engine.diagnosis import Expert, Subject
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.inference.compiled import CompiledRules
from engram_diagnose.engine.inference.run import infer

FACTS = 200
BARS = {60: 0.1, 5000: 1.0}
"""At most this share of the time of CLIPS, by number of rules."""


class DisagreementError(Exception):
    """Two engines came to different verdicts, so that comparing their times would say nothing."""


def run(*, quick: bool = False) -> list[Outcome]:
    """Made-up rule bases of each size against CLIPS, then the whole diagnosis, then the built-in rule base."""
    outcomes = []
    for size in BARS:
        outcomes += _against_clips(min(size, 300) if quick else size, BARS[size], quick=quick)
    return [*outcomes, *_built_in(quick=quick)]


def _against_clips(size: int, bar: float, *, quick: bool) -> list[Outcome]:
    names = names_of(FACTS)
    rules, facts = make_rules(size, names, seed=size), make_facts(names, seed=size, unknown=0)
    expert = make_expert(rules, names)
    sides = {
        "ours": verdicts_of(expert.compiled),
        "facts": clips_engine.with_facts(rules),
        "record": clips_engine.with_record(rules, names),
    }
    agree(sides, facts)
    agree({name: sides[name] for name in ("ours", "facts")}, make_facts(names, seed=size, unknown=0.2))
    timed: dict[str, Callable[[], object]] = {name: partial(side, facts) for name, side in sides.items()}
    timed["diagnose"] = lambda: expert.diagnose(facts, Subject())
    inner = 1 if size > 1000 or quick else 20
    times = interleaved(timed, repetitions=3 if quick else 41, inner=inner)
    label = f"{size:,} rules, {FACTS} facts"
    return [
        compared("inference", f"verdicts, {label}", times["ours"], "CLIPS, a fact each", times["facts"], bar=bar),
        compared("inference", f"verdicts, {label}", times["ours"], "CLIPS, one record", times["record"]),
        compared("inference", f"diagnosis, {label}", times["diagnose"], "CLIPS, a fact each", times["facts"]),
    ]


def verdicts_of(rules: CompiledRules) -> clips_engine.Run:
    """From facts to the ids of the rules that fire."""

    def run(facts: Iterable[Fact]) -> set[str]:
        return {firing.rule.id for firing in infer(rules, facts).firings if firing.outcome == "fires"}

    return run


def agree(sides: dict[str, clips_engine.Run], facts: list[Fact]) -> None:
    """Raise `DisagreementError` unless all sides fire the same rules, some and not all."""
    first, *others = ((name, side(facts)) for name, side in sides.items())
    for name, fired in others:
        if fired != first[1]:
            odd = ", ".join(sorted(fired ^ first[1])[:5])
            raise DisagreementError(f"{first[0]} and {name} decide differently: {odd}")
    if not first[1]:
        raise DisagreementError("no rule fires, so the sides were not compared")


def _built_in(*, quick: bool) -> list[Outcome]:
    """There is nothing to compare these with; they stand beside the made-up ones."""
    expert: Expert = builtin_expert()
    facts = builtin_facts(expert)
    label = f"built-in, {len(expert.loaded.rules.rules)} rules, {len(facts)} facts"
    sides: dict[str, Callable[[], object]] = {
        "verdicts": lambda: infer(expert.compiled, facts),
        "diagnosis": lambda: expert.diagnose(facts, Subject()),
    }
    times = interleaved(sides, repetitions=3 if quick else 41, inner=1 if quick else 5)
    return [alone("inference", f"{what}, {label}", taken) for what, taken in times.items()]
