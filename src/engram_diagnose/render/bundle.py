"""
A bundle's contents in words: a heading, a table of sources, what is missing and why.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from engram_diagnose.render.neutral import clean

Json = Mapping[str, Any]
_UNITS: Final = ((1 << 20, "MiB"), (1 << 10, "KiB"))


def render_bundle(document: Json) -> str:
    """The document of `engram_diagnose.bundle_summary` as text."""
    shown = clean(document)
    lines = [*_heading(shown), "", *_table(shown["sources"])]
    if shown["missing"]:
        lines += ["", "missing", *(f"  {_gap(one)}" for one in shown["missing"])]
    return "\n".join(lines) + "\n"


def _heading(document: Json) -> list[str]:
    told = f" ({document['dialect_told']})" if document["dialect_told"] else ""
    where = "the server runs on it" if document["runs_here"] else "the server was not found on it"
    host = document["host"]
    packs = ", ".join(f"{name} {pack.get('version', '')}".strip() for name, pack in document["rules"].items())
    rows = [
        ("collected", f"{_instant(document['time'])} by {document['tool'] or 'an unnamed tool'}"),
        ("server", f"{document['instance'] or 'not named'}, dialect {document['dialect'] or 'not told'}{told}"),
        ("host", f"{host['name'] or 'not named'} ({host['id']}), {where}"),
        ("rules", packs or "none named"),
        ("redacted", "yes" if document["redacted"] else "no"),
        ("size", f"{_size(document['compressed_bytes'])}, {document['answers']} answers"),
        ("sha256", f"{document['sha256']} (matches)"),
    ]
    if document["past"]:
        rows.insert(1, ("of", "the past: of that instant only Prometheus could speak"))
    return [f"{name:<11}{text}" for name, text in rows]


def _table(sources: list[Json]) -> list[str]:
    width = max([len("source"), *(len(one["collector"]) for one in sources)])
    lines = [f"{'source':<{width}}  answers  missing       text"]
    for one in sources:
        gone = one["answers"] - one["answered"]
        lines.append(f"{one['collector']:<{width}}  {one['answers']:>7}  {gone:>7}  {_size(one['bytes']):>9}")
    return lines


def _gap(one: Json) -> str:
    detail = f": {one['detail']}" if one["detail"] else ""
    return f"{one['collector']} {one['name']}: {one['reason']}{detail}"


def _instant(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):
        return f"{seconds:g} s since the epoch"


def _size(count: int) -> str:
    for size, unit in _UNITS:
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"
