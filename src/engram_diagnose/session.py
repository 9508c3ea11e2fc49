"""
One diagnosis, from a bundle: the facts it holds, the rules in force, what they come to.
"""

from collections.abc import Iterable
from typing import Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.parse.configuration import modified_at
from engram_diagnose.collectors.parse.knowledge import NO_KNOWLEDGE, Knowledge
from engram_diagnose.collectors.reading import BEFORE, baseline_facts, facts_of_before, facts_of_bundle
from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject
from engram_diagnose.engine.facts.catalogue import TARGET_SETS, split_window
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.inference.firing import Decide, decide_with_closures
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.stages import needs
from engram_diagnose.engine.ranking.change import LookBack

_OTHER_TIMES: Final = ("before", "baseline")
_LONGEST_LOOK_BACK: Final = 300.0
"""Seconds: a quiet time that took half an hour of samples would double what Prometheus is asked for."""


def wanted_facts(loaded: Loaded) -> frozenset[str]:
    """Every fact the loaded rules may ask for; it decides which metrics and windows are collected."""
    return frozenset(name for rule in loaded.rules.rules.values() for name in needs(rule))


def asked_facts(loaded: Loaded) -> frozenset[str]:
    """
    What is collected for the loaded rules: the facts they may ask for, and those of the quiet time before that tell
    what has moved since.
    """
    wanted = wanted_facts(loaded)
    return wanted | {f"{name}{BEFORE}" for name in wanted if _looked_back_at(name, loaded)}


def _looked_back_at(name: str, loaded: Loaded) -> bool:
    """Whether a fact is asked of the quiet time as well: one with a history, over no more than a short window."""
    base, window = split_window(name)
    spec = loaded.catalogue.spec(base)
    short = window is None or (window.kind not in _OTHER_TIMES and window.seconds <= _LONGEST_LOOK_BACK)
    return spec is not None and spec.history and short


def facts_of(bundle: Bundle, loaded: Loaded) -> list[Fact]:
    """The facts that the loaded rules may ask for, as a bundle tells them."""
    return facts_of_bundle(bundle, loaded.catalogue, wanted_facts(loaded), knowledge=knowledge(bundle, loaded))


def knowledge(bundle: Bundle, loaded: Loaded) -> Knowledge:
    """What of the rules tells how to read a bundle's counters and profile; nothing where it has none."""
    asked = {answer.collector for answer in bundle.answers}
    if not asked & {"perf", "profile"}:
        return NO_KNOWLEDGE
    from engram_diagnose.engine.language.symbols_reader import read_symbols
    from engram_diagnose.eventtables import event_tables

    kinds = read_symbols(loaded.texts, loaded.catalogue) if "profile" in asked else ()
    return Knowledge(event_tables(loaded.texts) if "perf" in asked else (), kinds)


def diagnose_bundle(
    bundle: Bundle,
    expert: Expert,
    *,
    baseline: Bundle | None = None,
    target_set: str = "",
    stated: Iterable[Fact] = (),
    decide: Decide = decide_with_closures,
) -> Diagnosis:
    """
    Diagnose a bundle. The same bundle, rules and options give the same diagnosis to the last bit.

    `target_set` replaces the set the bundle was collected for; `stated` facts stand above what was measured.
    """
    wanted, catalogue = wanted_facts(expert.loaded), expert.loaded.catalogue
    facts = facts_of(bundle, expert.loaded)
    if baseline is not None:
        known = knowledge(baseline, expert.loaded)
        facts += baseline_facts(facts_of_bundle(baseline, catalogue, _bases(wanted), knowledge=known))
    facts += stated
    subject = subject_of(bundle, target_set)
    return expert.diagnose(facts, subject, decide=decide, look_back=_look_back(bundle, expert.loaded))


def subject_of(bundle: Bundle, target_set: str = "") -> Subject:
    """What a bundle is of; `target_set` replaces the set that it was collected for."""
    return Subject(
        bundle.instance,
        # Whoever asks from elsewhere is not where the server runs.
        (bundle.host_name or bundle.host) if bundle.options.get("local") is True else "",
        bundle.time,
        bundle.dialect,
        next((name for name in (target_set, bundle.targets_set) if name in TARGET_SETS), "target"),
    )


def _look_back(bundle: Bundle, loaded: Loaded) -> LookBack | None:
    """The bundle's quiet time, where samples were collected of it, and it says how long before that was."""
    if not any(answer.answered and answer.name.startswith("before") for answer in bundle.of("prometheus")):
        return None
    earlier = _number(bundle.options.get("before"))
    if not 0 < earlier < bundle.time:
        return None
    then = bundle.time - earlier
    modified = next((modified_at(answer) for answer in bundle.of("config") if answer.answered), None)
    return LookBack(
        then,
        lambda names: facts_of_before(bundle, loaded.catalogue, names),
        settings_stood=modified is None or modified < then,
        measures=read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules).load,
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def _bases(wanted: Iterable[str]) -> frozenset[str]:
    return frozenset(name.removesuffix("@baseline") for name in wanted)
