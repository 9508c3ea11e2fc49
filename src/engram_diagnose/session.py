"""
One diagnosis, from a bundle: the facts it holds, the rules in force, what they come to.
"""

import hashlib
from collections.abc import Iterable
from typing import Any

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.parse.configuration import modified_at
from engram_diagnose.collectors.reading import BEFORE, baseline_facts, facts_of_before, facts_of_bundle
from engram_diagnose.engine.diagnosis import Diagnosis, Expert, Subject
from engram_diagnose.engine.facts.catalogue import TARGET_SETS
from engram_diagnose.engine.facts.fact import Fact
from engram_diagnose.engine.inference.firing import Decide, decide_with_closures
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.stages import needs
from engram_diagnose.engine.ranking.change import LookBack


def wanted_facts(loaded: Loaded) -> frozenset[str]:
    """Every fact the loaded rules may ask for; it decides which metrics and windows are collected."""
    return frozenset(name for rule in loaded.rules.rules.values() for name in needs(rule))


def asked_facts(loaded: Loaded) -> frozenset[str]:
    """
    What is collected for the loaded rules: the facts they may ask for, and those of the quiet time before that tell
    what has moved since.
    """
    wanted, spec = wanted_facts(loaded), loaded.catalogue.spec
    with_history = (name for name in wanted if "@" not in name and (found := spec(name)) is not None and found.history)
    return wanted | {f"{name}{BEFORE}" for name in with_history}


def rule_digests(loaded: Loaded) -> dict[str, dict[str, Any]]:
    """Each pack's version, and one digest over every rule file in force."""
    digest = hashlib.sha256()
    for name in sorted(loaded.texts):
        digest.update(
            name.rpartition("/")[2].encode() + b"\0" + loaded.texts[name].encode("utf-8", "surrogatepass") + b"\0"
        )
    return {
        pack: {"version": version, "digest": digest.hexdigest()[:16]} for pack, version in loaded.rules.packs.items()
    }


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
    facts = facts_of_bundle(bundle, catalogue, wanted)
    if baseline is not None:
        facts += baseline_facts(facts_of_bundle(baseline, catalogue, _bases(wanted)))
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
    """The bundle's quiet time, where samples were collected of it."""
    if not any(answer.answered and answer.name.startswith("before") for answer in bundle.of("prometheus")):
        return None
    then = bundle.time - _number(bundle.options.get("before"))
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
