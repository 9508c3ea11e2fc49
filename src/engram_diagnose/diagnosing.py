"""
What the commands do: collect a bundle, read one, make the document of a diagnosis.
"""

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from engram_diagnose import __version__
from engram_diagnose.collectors.bundle import read_bundle, write_bundle
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.gather import Request, gather
from engram_diagnose.discovery import discover
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.inference.firing import Decide, decide_with_closures
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules
from engram_diagnose.session import diagnose_bundle, rule_digests, wanted_facts

Say = Callable[[str], None]


def collect_bundle(request: Request, packs: Iterable[Path], *, say: Say, progress: Say, save: str | None = None) -> Bundle:
    """
    Collect what the rules in force need; with `save`, also write the bundle there.

    Raises `NothingToCollectError`, `BundleError` or `RuleBaseError`.
    """
    loaded = load_rules(packs)
    found = discover(request)
    for note in found.notes:
        say(note)
    bundle = gather(found.request, loaded.catalogue, wanted_facts(loaded), now=time.time(), tool=f"engram-diagnose {__version__}",
                    rules=rule_digests(loaded), progress=progress)  # fmt: skip
    if save:
        write_bundle(save, bundle)
        say(f"bundle written to {save}")
    return bundle


def diagnosis_document(bundle: Bundle, packs: Iterable[Path], *, baseline: str | None = None, target_set: str = "",
                       engine: str = "closures") -> dict[str, Any]:  # fmt: skip
    """The diagnosis of a bundle under the rules in force, as a document."""
    loaded = load_rules(packs)
    ready = expert(loaded)
    better_days = read_bundle(baseline) if baseline else None
    return document(diagnose_bundle(bundle, ready, baseline=better_days, target_set=target_set, decide=evaluator(engine, loaded)))


def evaluator(name: str, loaded: Loaded) -> Decide:
    """An inference engine by its name; raises `ValueError` when it is not installed."""
    if name == "durable":
        from engram_diagnose.engine.inference.durable import DurableEvaluator

        return DurableEvaluator().decide
    if name == "reference":
        from engram_diagnose.engine.inference.reference import decide_by_reference

        return decide_by_reference
    return decide_with_closures
