"""
Nodes into kinds of functions. Read when a CPU profile is: a diagnosis without one does not need them.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from engram_diagnose.engine.facts.catalogue import Catalogue
from engram_diagnose.engine.facts.symbols import SymbolKind
from engram_diagnose.engine.language import source as yaml_source
from engram_diagnose.engine.language.deferred import deferred_file, schema_of
from engram_diagnose.engine.language.fields import Fields
from engram_diagnose.engine.language.problem import Mark, Problems, TooManyProblems, did_you_mean

_KEYS: Final = ("names", "unless", "kernel", "reason")
_NOTHING: Final = re.compile(r"(?!)")


def read_symbols(texts: Mapping[str, str], catalogue: Catalogue) -> tuple[SymbolKind, ...]:
    """
    The kinds in the one file of `texts` (by file name) that has them, by fact; a later file takes the place of an
    earlier one.

    Raises `RuleBaseError` with every problem of it at its place.
    """
    problems = Problems()
    kinds: list[SymbolKind] = []
    with suppress(TooManyProblems):
        name = deferred_file(texts, "symbols")
        if not name:
            problems.error(Mark("rules", 1, 1), f"no file with schema {schema_of('symbols')}",
                           hint="the installation is incomplete: install the package again")  # fmt: skip
        root = yaml_source.parse_document(texts[name], file=name, problems=problems) if name else None
        kinds = _kinds(Fields(root, "the file", problems), catalogue, problems) if root is not None else []
    problems.raise_errors()
    return tuple(sorted(kinds, key=lambda kind: kind.fact))


def _kinds(root: Fields, catalogue: Catalogue, problems: Problems) -> list[SymbolKind]:
    root.only(("schema", "symbols"))
    root.need("schema", "symbols")
    node = root.mapping("symbols") or yaml_source.Mapping("", 1, 1)
    for fact in node.values:
        if fact not in catalogue.facts:
            problems.error(node.key_mark(fact), f"unknown fact {fact}", hint=did_you_mean(fact, catalogue.facts),
                           length=len(fact))  # fmt: skip
    return [_kind(fact, entry, problems) for fact, entry in node.values.items()]


def _kind(fact: str, entry: yaml_source.Node, problems: Problems) -> SymbolKind:
    if not isinstance(entry, yaml_source.Mapping):
        problems.error(entry.mark, f"{fact} must be a mapping, not {yaml_source.describe(entry)}")
        return SymbolKind(fact, _NOTHING)
    fields = Fields(entry, fact, problems)
    fields.only(_KEYS)
    fields.need("names", "reason")
    fields.text("reason")
    names, unless = _pattern(fields, "names", problems), _pattern(fields, "unless", problems)
    return SymbolKind(fact, names or _NOTHING, unless, fields.truth("kernel", False))


def _pattern(fields: Fields, key: str, problems: Problems) -> re.Pattern[str] | None:
    """One pattern that finds what any of the list finds."""
    found = []
    for scalar in fields.scalars(key):
        try:
            re.compile(f"(?:x)|(?:{scalar.text})")
        except re.error as error:
            problems.error(scalar.mark, f"{scalar.text!r} is no regular expression: {error}", length=len(scalar.text))
        else:
            found.append(f"(?:{scalar.text})")
    return re.compile("|".join(found)) if found else None
