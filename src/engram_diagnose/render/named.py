"""
Names in a diagnosis: what a reader may ask for, and what to say when there is no such thing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from engram_diagnose.render.neutral import visible

Json = Mapping[str, Any]

_HEADS: Final = (
    "symptoms", "causes", "experimental", "masked", "suppressed", "not_testable", "symptoms_not_tested", "symptoms_met",
    "ruled_out", "not_applicable", "derived",
)  # fmt: skip


class NotInDiagnosisError(ValueError):
    """A rule or fact that was asked for and that the diagnosis says nothing of."""


def rules_of(document: Json) -> set[str]:
    """The ids of all rules that the document speaks of."""
    found = {item["rule"] for key in _HEADS for item in document[key]}
    derived = {fact["source"] for fact in document["facts"] if fact["source"].startswith("rule ")}
    return found | {source.removeprefix("rule ") for source in derived} | set(document["rule_base"]["overrides"])


def rule_not_found(document: Json, rule: str) -> NotInDiagnosisError:
    """The error for a rule that is not there."""
    return _not_found("rule", rule, rules_of(document), "`engram-diagnose rules list` shows all rules")


def fact_not_found(document: Json, name: str) -> NotInDiagnosisError:
    """The error for a fact that is not there."""
    return _not_found("fact", name, facts_of(document), "no rule asked for it and no collector brought it")


def nothing_found(document: Json, name: str) -> NotInDiagnosisError:
    """The error for a name that is neither a rule nor a fact."""
    known = rules_of(document) | facts_of(document)
    return _not_found("rule or fact", name, known, "`engram-diagnose rules list` shows all rules")


def facts_of(document: Json) -> set[str]:
    """The names of all facts that the document speaks of, missing ones too."""
    return {fact["name"] for fact in document["facts"]} | {
        item["fact"].partition("{")[0] for item in all_missing(document)
    }


def causes_of(document: Json) -> Iterator[Json]:
    """Every cause that was concluded, ranked or not."""
    for key in ("causes", "experimental", "masked"):
        yield from document[key]


def pieces_of(cause: Json) -> Iterator[Json]:
    """Every piece of a cause's evidence."""
    for side in ("for", "against", "unknown"):
        yield from cause["evidence"][side]


def all_missing(document: Json) -> Iterator[Json]:
    """Every fact that something waits for, repeats included."""
    for item in (*document["not_testable"], *document["symptoms_not_tested"]):
        yield from item["missing"]
    for cause in causes_of(document):
        yield from cause["impact"]["missing"]
        for piece in pieces_of(cause):
            yield from piece["missing"]


def _not_found(kind: str, name: str, known: Iterable[str], otherwise: str) -> NotInDiagnosisError:
    # Late: it is read by nobody who spells well.
    from engram_diagnose.engine.language.problem import did_you_mean

    hint = did_you_mean(name, sorted(known)) or otherwise
    return NotInDiagnosisError(f"this diagnosis says nothing of a {kind} {visible(name[:200])}: {visible(hint)}")
