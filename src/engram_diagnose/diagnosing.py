"""
What the commands do: collect a bundle, read one, make the document of a diagnosis.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from engram_diagnose import __version__
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle, write_bundle
from engram_diagnose.collectors.bundle_format import HOST_ALONE, Bundle, BundleError
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.engine.diagnosis import Expert, expert
from engram_diagnose.engine.explanation.document import document
from engram_diagnose.engine.inference.firing import Decide, decide_with_closures
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.rulebase import load_rules, rule_digests
from engram_diagnose.session import asked_facts, diagnose_bundle

if TYPE_CHECKING:
    from engram_diagnose.collectors.gather import Request

__all__ = ["collect_bundle", "diagnosis_document", "evaluator", "read_bundle", "save_bundle", "sizing_bundle",
           "unanswered"]  # fmt: skip

Say = Callable[[str], None]


def collect_bundle(request: "Request", packs: Iterable[Path], *, say: Say, progress: Say) -> Bundle:
    """
    Collect what the rules in force need.

    Raises `NothingToCollectError`, `RuleBaseError`, or `click.UsageError` for a dialect there is not.
    """
    # What collects takes as long to import as what diagnoses, and a bundle needs none of it.
    from engram_diagnose.collectors.capture.ending import end_like_interrupted
    from engram_diagnose.discovery import discover

    end_like_interrupted()
    loaded = load_rules(packs, thorough=False)
    if request.dialect and request.dialect not in loaded.catalogue.dialects:
        known = ", ".join(sorted(loaded.catalogue.dialects))
        raise click.UsageError(f"--dialect: there is no dialect {request.dialect!r}; known: {known}")
    found = discover(request)
    for note in found.notes:
        say(note)
    bundle = _gathered(found.request, loaded, progress)
    if request.sizing and found.request != request and _knows_no_server(bundle):
        say("it knows of no Engram server")  # nobody named it either
        bundle = _gathered(request, loaded, progress)
    for note in (*looked_at(bundle), *unanswered(bundle)):
        say(note)
    return bundle


def sizing_bundle(request: "Request", packs: Iterable[Path], *, say: Say, progress: Say) -> Bundle:
    """
    As `collect_bundle`; but where neither a server nor anybody who knows of one is found, of this host alone, and
    without it (`--no-local`) of nothing: then only what the operator states counts.
    """
    return collect_bundle(replace(request, sizing=True), packs, say=say, progress=progress)


def _gathered(request: "Request", loaded: Loaded, progress: Say) -> Bundle:
    """What is diagnosed is what is kept: the bundle as it reads again."""
    from engram_diagnose.bounds import bounds_of
    from engram_diagnose.collectors.bundle_size import fitted
    from engram_diagnose.collectors.gather import gather

    bounds = bounds_of(loaded)
    bundle = gather(request, loaded.catalogue, asked_facts(loaded), now=time.time(), bounds=bounds,
                    tool=f"engram-diagnose {__version__}", rules=rule_digests(loaded), progress=progress)  # fmt: skip
    return read_bundle(encode_bundle(fitted(bundle, most=bounds.limits["bundle_bytes"])))


def _knows_no_server(bundle: Bundle) -> bool:
    """Whether Prometheus was asked in vain, and no process was found here either."""
    asked = [*bundle.of("prometheus"), *bundle.of("target")]
    return not any(answer.answered for answer in asked)


def save_bundle(path: str, bundle: Bundle, *, say: Say) -> bool:
    """
    Write a bundle and say so, or say why not: a diagnosis is not lost for want of space.

    One that holds no word of the server takes the place of no file: what is there may be the incident.
    """
    if not tells_of_the_server(bundle) and Path(path).is_file():
        say(f"engram-diagnose: nothing of the server was collected, so {path} is kept as it was")
        return False
    try:
        write_bundle(path, bundle)
    except BundleError as error:
        say(f"engram-diagnose: {error}")
        return False
    say(f"bundle written to {path}")
    return True


_OF_THE_SERVER: Final = frozenset({"bench", "prometheus", "exposition", "http", "process"})


def tells_of_the_server(bundle: Bundle) -> bool:
    """Whether anything was measured, its configuration apart; a host alone, for sizing, counts."""
    return bool(bundle.options.get(HOST_ALONE)) or any(
        answer.answered and answer.collector in _OF_THE_SERVER for answer in bundle.answers
    )


def looked_at(bundle: Bundle) -> list[str]:
    """Which local process was taken for the server, or which host for its own: a wrong one speaks as confidently."""
    if bundle.options.get(HOST_ALONE) is True:
        return [*_ALONE]
    targets = [answer for answer in bundle.of("target") if answer.answered]
    found = [json.loads(answer.body or "{}") for answer in targets]
    return [f"looked at process {target.get('pid')} ({target.get('name')}) on this host" for target in found]


_ALONE: Final = (
    "no server was found here; this host is taken for the one it will run on",
    "where a container or a service limits it, state --cores and --memory",
)
_ASKED: Final = {
    "prometheus": "Prometheus",
    "exposition": "the metrics",
    "http": "the server",
    "config": "the configuration",
    "target": "this host",
}
_UNSAID: Final = frozenset({"NOT_COLLECTED", "WINDOW_NOT_COLLECTED"})
"""Reasons of which the operator knows, for they are their own wishes."""


def unanswered(bundle: Bundle) -> list[str]:
    """
    A line for each source that was asked and gave nothing, with the reason.

    Nobody is told that there were no samples long before, nor which kernel files this machine lacks: what that leaves
    unknown stands in the diagnosis.
    """
    without = [answer for answer in bundle.answers if not answer.answered and answer.reason not in _UNSAID]
    if bundle.options.get(HOST_ALONE) is True:
        without = [answer for answer in without if answer.collector != "target"]  # `looked_at` says it
    asked = [answer for answer in without if answer.collector in _ASKED and not answer.name.startswith("before ")]
    gone = [f"this host: {answer.detail}" for answer in without if answer.reason == "TARGET_GONE"]
    return list(dict.fromkeys([*map(_line, asked), *gone]))


def _line(answer: Answer) -> str:
    name = "" if answer.collector in ("prometheus", "target") else f" ({answer.name})"
    return f"{_ASKED[answer.collector]}{name}: {answer.detail or answer.reason}"


def diagnosis_document(bundle: Bundle, packs: Iterable[Path], *, baseline: str | None = None, target_set: str = "",
                       engine: str = "closures") -> dict[str, Any]:  # fmt: skip
    """The diagnosis of a bundle under the rules in force, as a document."""
    loaded = load_rules(packs, thorough=False)
    ready = expert(loaded)
    better_days = read_bundle(baseline) if baseline else None
    decide = evaluator(engine, ready)
    return document(diagnose_bundle(bundle, ready, baseline=better_days, target_set=target_set, decide=decide))


def evaluator(name: str, ready: Expert) -> Decide:
    """An inference engine by its name; raises `EngineUnavailable` when it is not installed."""
    if name == "durable":
        from engram_diagnose.engine.inference.durable import DurableEvaluator

        return DurableEvaluator(ready.compiled).decide
    if name == "reference":
        from engram_diagnose.engine.inference.reference import decide_by_reference

        return decide_by_reference
    return decide_with_closures
