"""
Which rule language and which catalogue a pack was written for: `requires: {engine: ">=1.0", facts: ">=1"}`.
"""

import operator
import re
from collections.abc import Callable
from typing import Final

from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import Mapping, Scalar

ENGINE_VERSION: Final = "1.0"
"""Of the rule language: the first figure moves when a rule that was right becomes wrong."""

FACTS_VERSION: Final = "1"
"""Of the catalogue: it moves when a fact is renamed, removed, or given another unit."""

_SUPPORTED: Final = {"engine": ENGINE_VERSION, "facts": FACTS_VERSION}
_BOUND: Final = re.compile(r"(>=|<=|==|>|<)\s*(\d{1,6}(?:\.\d{1,6}){0,3})")
_OPERATORS: Final[dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]]] = {
    ">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt,
}  # fmt: skip


def check_requires(root: Mapping, problems: Problems) -> None:
    """Complain when a pack needs a rule language or a catalogue that this one is not."""
    mapping = Fields(root, "the file", problems).mapping("requires")
    if mapping is None:
        return
    fields = Fields(mapping, "requires", problems)
    fields.only(_SUPPORTED)
    for key, version in _SUPPORTED.items():
        node = fields.scalar(key)
        if node is not None:
            _check(key, version, node, problems)


def _check(key: str, version: str, node: Scalar, problems: Problems) -> None:
    bounds = [_BOUND.fullmatch(part.strip()) for part in node.text.split(",")]
    if None in bounds:
        problems.error(
            node.mark, f"{key} is required as bounds such as '>=1.0, <2', not {node.text!r}", length=len(node.text)
        )
    elif not all(_OPERATORS[bound[1]](_parsed(version), _parsed(bound[2])) for bound in bounds if bound):
        what = "rule language" if key == "engine" else "catalogue of facts"
        problems.error(
            node.mark,
            f"this file needs {key} {node.text}, and the {what} here is {version}",
            length=len(node.text),
            hint="use the engram-diagnose release this pack was written for, or the pack's version for this one",
        )


def _parsed(version: str) -> tuple[int, ...]:
    figures = [int(part) for part in version.split(".")]
    return tuple(figures + [0] * (4 - len(figures)))
