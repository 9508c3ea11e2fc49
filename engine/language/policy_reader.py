"""
Nodes into the policy of advice.
"""

from collections.abc import Iterable
from typing import Final

from engram_diagnose.engine.advice.policy import Abort, Policy
from engram_diagnose.engine.facts.unit import NUMBER, TIME, Dimension
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import Mapping
from engram_diagnose.engine.language.vocabulary import Vocabulary

_KEYS: Final = (
    "least_confidence",
    "settled_for",
    "expires_after",
    "least_cases",
    "budget",
    "uptime",
    "startup",
    "abort",
)
_ABORT: Final = ("rise", "fall", "errors", "restart")


def read_policy(roots: Iterable[Mapping], vocabulary: Vocabulary, problems: Problems) -> Policy:
    """The policy of the one file that has it; without one every cause may advise, and nothing bounds it."""
    found: list[Policy] = []
    for root in roots:
        if found:
            problems.error(root.key_mark("schema"), "the policy of advice is given already", length=len("schema"))
        found.append(_policy(root, vocabulary, problems))
    return found[0] if found else Policy()


def _policy(root: Mapping, vocabulary: Vocabulary, problems: Problems) -> Policy:
    fields = Fields(root, "the file", problems)
    fields.only(("schema", *_KEYS))
    fields.need(*_KEYS)
    return Policy(
        least_confidence=_figure(fields, "least_confidence", NUMBER),
        settled_for=_figure(fields, "settled_for", TIME),
        expires_after=_figure(fields, "expires_after", TIME),
        least_cases=fields.integer("least_cases", 1),
        budget=_fact(fields, "budget", vocabulary),
        startup=_figure(fields, "startup", TIME),
        uptime=_fact(fields, "uptime", vocabulary),
        abort=_abort(fields),
    )


def _fact(fields: Fields, key: str, vocabulary: Vocabulary) -> str:
    name = fields.text(key)
    if name and vocabulary.spec(name) is None:
        fields.problems.error(fields.mark(key), f"unknown fact {name}", length=len(key))
    return name


def _figure(fields: Fields, key: str, dimension: Dimension) -> float:
    quantity = fields.quantity(key)
    if quantity is None:
        return 0.0
    if quantity.unit.dimension != dimension:
        fields.problems.error(fields.mark(key), f"{key} is {dimension}", length=len(key))
    return quantity.value


def _abort(fields: Fields) -> Abort:
    mapping = fields.mapping("abort")
    if mapping is None:
        return Abort()
    parts = Fields(mapping, "abort", fields.problems)
    parts.only(_ABORT)
    parts.need(*_ABORT)
    errors, restart = _figure(parts, "errors", NUMBER), _figure(parts, "restart", TIME)
    return Abort(parts.text("rise"), parts.text("fall"), errors, restart)
