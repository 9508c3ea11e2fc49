"""
What may enter working memory: values of the kind the catalogue promises.

Rules are checked against the catalogue when they are loaded, and evaluated without a second look. So a bundle that was
edited, or a source that answers otherwise than it should, is met here.
"""

from dataclasses import replace

from engram_diagnose.engine.facts.catalogue import Kind
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Unknown


def admitted(fact: Fact, kind: Kind | None) -> Fact:
    """
    The fact, or an unknown one in its place when its value is not of its kind.

    A name that is not in the catalogue has no kind, and no rule reads it.
    """
    value = fact.value
    if value is None or kind is None:
        return fact
    if isinstance(value, str):
        return fact if kind == "text" else _refused(fact, f"it is the text {value[:40]!r}, not a figure")
    if kind == "text":
        return _refused(fact, f"it is the figure {value[0]!r}, not a text")
    return fact if value[0] <= value[1] else _refused(fact, f"{value[0]!r} to {value[1]!r} is no interval")


def _refused(fact: Fact, detail: str) -> Fact:
    unknown = Unknown(Reason.UNPARSED, detail)
    return replace(fact, value=None, status=Status.UNKNOWN, unknown=unknown, proxy_of="")
