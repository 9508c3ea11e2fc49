"""
What of docs/operations is made from the rule base: the settings on the tuning page, and the example configurations.

The rest of the tuning page is written by hand and stays, byte for byte: only what stands between the two marks is made.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from engram_diagnose.engine.facts.catalogue import ConfigKey, ParameterSpec
from engram_diagnose.reference.block import (
    Block,
    Code,
    Heading,
    Line,
    Link,
    Part,
    Table,
    joined,
    line,
    slug,
    to_markdown,
)
from engram_diagnose.reference.example_configuration import example_configurations
from engram_diagnose.reference.fact_entry import key_default, kind_words
from engram_diagnose.reference.files import read_file, stale_files, write_files
from engram_diagnose.reference.formula_entry import sized_by
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.marked import with_part

PAGE: Final = "performance-tuning.md"
FOLDER: Final = "configurations"
BEGIN: Final = "<!-- made by `engram-diagnose rules docs --part operations docs/operations`: edit rules/ instead -->"

_REFERENCE: Final = "../reference"
_GROUPS: Final = {
    "storage": "Storage",
    "tiers": "Tier thresholds",
    "activation": "Activation and SIMD",
    "hnsw": "HNSW index",
    "wal": "Write-ahead log",
    "threads": "Thread pools",
    "lock_free": "Lock-free structures",
    "numa": "NUMA",
    "consolidation": "Consolidation",
    "completion": "Pattern completion",
    "monitoring": "Monitoring",
    "features": "Feature flags",
    "persistence": "Persistence",
    "router": "Router",
    "host": "The machine",
}
_UNSAID: Final = ("", "count", "ratio", "share", "/h")
"""Units that say nothing more than the name of the key."""
_CLASSES: Final = {"reload": "reload", "restart": "restart", "reindex": "index rebuild", "host": "the machine"}


def operations_files(folder: Path, index: Index) -> dict[str, str]:
    """Every file that is made, by its name within `folder`; the page with what is written by hand in it."""
    configurations = example_configurations(index.loaded)
    return {PAGE: _page(read_file(folder / PAGE) or "", index)} | {
        f"{FOLDER}/{name}": text for name, text in configurations.items()
    }


def stale_operations(folder: Path, index: Index) -> list[str]:
    """The names of the files that differ from what would be made."""
    return stale_files(folder, operations_files(folder, index))


def write_operations(folder: Path, index: Index) -> list[str]:
    """Write the files that changed, and give their names. Raises `OSError` when the folder cannot be written."""
    return write_files(folder, operations_files(folder, index))


def _page(written: str, index: Index) -> str:
    """The page with the settings between its marks; below what is there where it has none."""
    return with_part(written, to_markdown(list(settings_blocks(index))), begin=BEGIN)


def settings_blocks(index: Index) -> Iterator[Block]:
    """A table of settings for each group, in the catalogue's order."""
    groups: dict[str, list[ParameterSpec]] = {}
    for name, spec in index.loaded.catalogue.parameters.items():
        groups.setdefault(_group(name), []).append(spec)
    dialects = _dialects(index)
    for group, specs in groups.items():
        keys = () if group == "host" else dialects
        yield Heading(_GROUPS.get(group, group), 3)
        head = ("Setting", *keys, "values", "what it is, and what fits", "read at", "raising it", "cost")
        yield Table(head, tuple(tuple(_row(spec, keys, index)) for spec in specs))


def _dialects(index: Index) -> list[str]:
    """Those that have a configuration, the one that heeds most settings first."""
    keys = {name: dialect.keys.values() for name, dialect in index.loaded.catalogue.dialects.items()}
    heeded = {name: sum(key.heeded for key in keys[name]) for name, _ in index.keys("")}
    return sorted(heeded, key=lambda name: (-heeded[name], name))


def _group(name: str) -> str:
    first, second, *_ = name.split(".")
    return second if first == "config" else first


def _row(spec: ParameterSpec, dialects: Iterable[str], index: Index) -> Iterator[Line]:
    keys = dict(index.keys(spec.name))
    yield (Link(spec.title, f"{_REFERENCE}/parameters.md#{slug(spec.name)}"),)
    for dialect in dialects:
        yield _key(keys.get(dialect), spec)
    yield line(kind_words(spec))
    yield _meaning(spec, index)
    yield line(_CLASSES[spec.restart])
    yield _effects(spec)
    yield line(spec.tradeoff)


def _key(key: ConfigKey | None, spec: ParameterSpec) -> Line:
    """The key with its unit and default; or that this release ignores the setting, and what it is then."""
    default = key_default(key, spec) if key is not None else ""
    if key is None or not key.key:
        return line(f"ignored by this release{f'; always {default}' if default else ''}")
    unit = f" in {key.unit.symbol}" if key.unit.symbol not in _UNSAID else ""
    notes = f"{', in an array' if key.array else ''}{f'; unset: {default}' if default else ''}"
    unused = "; ignored by this release: read and not used" if key.unused else ""
    also: Line = ("; also ", *joined(Code(alias) for alias in key.aliases)) if key.aliases else ()
    return (Code(key.key), f"{unit}{notes}{unused}", *also)


def _meaning(spec: ParameterSpec, index: Index) -> Line:
    rule = sized_by(spec, index)
    if rule is None:
        return line(spec.doc)
    found: list[Part] = [f"{spec.doc} By ", Link(rule.id, f"{_REFERENCE}/rules.md#{slug(rule.id)}")]
    return (*found, ". Sizing only raises it" if spec.never_lower else "")


def _effects(spec: ParameterSpec) -> Line:
    if not spec.effects:
        return line("depends on the load")
    words = [(" raises " if sign == "+" else " lowers ", Code(target)) for target, sign in spec.effects.items()]
    found: list[Part] = []
    for word, target in words:
        found += [f"{',' if found else ''}{word}", target]
    return tuple(found)
