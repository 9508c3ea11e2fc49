"""
Rules and facts in lists: two lines each, so that titles have room at eighty columns, and as JSON.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from engram_diagnose.engine.facts.catalogue import FactSpec
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.engine.language.rule import Rule
from engram_diagnose.reference.block import wrapped
from engram_diagnose.reference.fact_entry import kind_words
from engram_diagnose.render.neutral import visible

Row = dict[str, Any]
_INDENT: Final = "    "


def rule_rows(loaded: Loaded, *, word: str = "", kind: str = "", tag: str = "") -> list[Row]:
    """The rules of one kind or tag whose id or title holds a word, by id; with those that a site turned off."""
    base = loaded.rules
    suppressed = {item.rule for item in base.suppressions}
    rows = [_rule_row(rule, base.overridden, suppressed) for rule in base.rules.values()]
    rows += [_disabled_row(name, note) for name, note in base.overridden.items() if name not in base.rules]
    wanted = [row for row in rows if (not kind or row["kind"] == kind) and (not tag or tag in row["tags"])]
    return sorted((row for row in wanted if _holds(row, word, "id", "title")), key=lambda row: row["id"])


def _rule_row(rule: Rule, overridden: Mapping[str, str], suppressed: set[str]) -> Row:
    return {
        "id": rule.id,
        "kind": rule.kind,
        "severity": rule.severity,
        "status": rule.status,
        "title": rule.title,
        "pack": rule.pack,
        "rev": rule.rev,
        "scope": list(rule.scope),
        "tags": list(rule.tags),
        "owner": rule.owner,
        "file": rule.mark.file,
        "line": rule.mark.line,
        "override": overridden.get(rule.id),
        "suppressed": rule.id in suppressed,
    }


def _disabled_row(name: str, note: str) -> Row:
    empty = dict.fromkeys(("kind", "severity", "title", "pack", "owner", "file"), "")
    return {"id": name, **empty, "status": "disabled", "rev": None, "scope": [], "tags": [], "line": None,
            "override": note, "suppressed": False}  # fmt: skip


def fact_rows(loaded: Loaded, *, word: str = "") -> list[Row]:
    """The facts, settings included, whose name or meaning holds a word, by name."""
    rows = [_fact_row(spec) for _, spec in sorted(loaded.catalogue.facts.items())]
    return [row for row in rows if _holds(row, word, "name", "doc")]


def _fact_row(spec: FactSpec) -> Row:
    return {
        "name": spec.name,
        "kind": spec.kind,
        "unit": spec.unit.symbol,
        "values": kind_words(spec),
        "scope": list(spec.scope),
        "history": spec.history,
        "counter": spec.counter,
        "origin": spec.origin,
        "doc": spec.doc,
        "get_by": spec.get_by,
    }


def _holds(row: Row, word: str, *keys: str) -> bool:
    return any(word.lower() in row[key].lower() for key in keys)


def rules_text(rows: Iterable[Row], *, width: int) -> str:
    """One rule in two lines: id, kind, severity and status; then its title and what a site made of it."""
    return "\n".join([_head("RULE", "KIND", "SEVERITY", "STATUS"), *(_rule_text(row, width) for row in rows)])


def _head(name: str, second: str, third: str, rest: str) -> str:
    return f"{name:<36} {second:<8} {third:<11} {rest}".rstrip()


def _rule_text(row: Row, width: int) -> str:
    marks = [] if row["status"] == "stable" else [row["status"]]
    marks += ["overridden"] if row["override"] and row["status"] != "disabled" else []
    marks += ["suppressed"] if row["suppressed"] else []
    head = _head(visible(row["id"]), row["kind"], row["severity"], ", ".join(marks))
    notes = [
        wrapped(visible(text), width, first=_INDENT, rest=_INDENT) for text in (row["title"], row["override"]) if text
    ]
    return "\n".join([head, *notes])


def facts_text(rows: Iterable[Row], *, width: int) -> str:
    """One fact in two lines: name, unit, scope and origin; then what it means."""
    return "\n".join([_head("FACT", "UNIT", "ORIGIN", "LABELS"), *(_fact_text(row, width) for row in rows)])


def _fact_text(row: Row, width: int) -> str:
    unit = row["unit"] or row["kind"]
    head = _head(visible(row["name"]), unit, row["origin"], " ".join(row["scope"]))
    return f"{head}\n{wrapped(visible(' '.join(row['doc'].split())), width, first=_INDENT, rest=_INDENT)}"
