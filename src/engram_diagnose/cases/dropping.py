"""
Cases derived from others by taking sources away: what is left must be told as well, or admitted to be unknown.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from engram_diagnose.cases.corpus import Case
from engram_diagnose.cases.label import Label
from engram_diagnose.collectors.bundle import content_digest
from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.collectors.capture.answer import Answer

_WHY: Final = "SOURCE_ABSENT"
_ELSEWHERE: Final = frozenset({"bench", "collection", "config", "exposition", "http", "prometheus", "recalls"})
"""Collectors that need not stand on the server's machine."""

SOURCES: Final[Mapping[str, Callable[[Answer], bool]]] = {
    "host": lambda answer: answer.collector not in _ELSEWHERE,
    "config": lambda answer: answer.collector == "config",
    "metrics": lambda answer: answer.collector in ("exposition", "prometheus"),
}
"""What can be taken away, by name: all of this machine, the configuration, the server's metrics."""


def without(case: Case, bundle: Bundle, source: str) -> tuple[Label, Bundle]:
    """
    A case without one of its sources, with a label that leaves open whether its fault can still be seen.

    Raises `ValueError` for a source that cannot be taken away.
    """
    if source not in SOURCES:
        raise ValueError(f"{source!r} cannot be taken away; there are {', '.join(SOURCES)}")
    gone = SOURCES[source]
    left = replace(bundle, answers=tuple(_emptied(one) if gone(one) else one for one in bundle.answers))
    label = case.label
    name = f"{label.name}.no-{source}"
    made = replace(
        label, name=name, bundle=f"{name}.bundle", digest=content_digest(left), of=label.name,
        missing=(*label.missing, source), visible=label.visible if label.healthy else "untold",
        hidden_by="" if label.healthy else f"the source {source} was taken away",
    )  # fmt: skip
    return made, left


def _emptied(answer: Answer) -> Answer:
    return replace(answer, body=None, reason=_WHY, detail="taken away to make a case of what is left")
