"""
Everything the catalogue says of a fact, a setting or a target, as blocks.
"""

import math
from collections.abc import Iterator
from typing import Final

from engram_diagnose.engine.facts.catalogue import (
    TARGET_SETS,
    ConfigKey,
    FactSpec,
    ParameterSpec,
    Source,
    TargetSpec,
)
from engram_diagnose.engine.facts.unit import BANDWIDTH, BYTES, RATE, TIME, format_value
from engram_diagnose.reference.block import Block, Code, Heading, Line, Paragraph, Part, Table, items, joined, line
from engram_diagnose.reference.formula_entry import formula_blocks, formula_lines
from engram_diagnose.reference.index import THIS_HOST, Index
from engram_diagnose.reference.rule_entry import links, rule_link

RESTARTS: Final = {
    "reload": "takes effect when the configuration is read again",
    "restart": "takes effect at the next restart",
    "reindex": "takes effect when the index is built anew",
    "host": "a setting of the machine, not of the server",
}
_ORIGINS: Final = {
    "perf": "hardware counters and profiles on the server's host: profile reads all of them, run what costs nothing",
    "kernels": "microbenchmarks of this host: kernels measures them and keeps them for a month",
    "alert": "the alerts that asked for a diagnosis, as the service takes them from Alertmanager",
    "operator": "what the operator says on the command line",
    "telemetry": "the bundle itself: what the answers hold and what they lack",
}
_UNITS: Final = {"": "a plain number", "%": "a share", "share": "a share", "count": "a count", "ratio": "a ratio",
                 "/h": "per hour"}  # fmt: skip
_BASE: Final = {TIME: "seconds", BYTES: "bytes", RATE: "per second", BANDWIDTH: "bytes per second"}


def fact_blocks(spec: FactSpec, index: Index, *, level: int) -> list[Block]:
    """A fact: meaning, unit, where it comes from, how to get it, and which rules read it."""
    return [Heading(spec.name, level), Paragraph((spec.doc,)), items(_fact_lines(spec, index))]


def _fact_lines(spec: FactSpec, index: Index) -> Iterator[Line]:
    yield (kind_words(spec), f"; {_scope(spec)}")
    yield _time(spec)
    if spec.raw and spec.raw != spec.name:
        yield ("counts as one measurement with every other fact from ", Code(spec.raw))
    yield from _provenance(spec, index)
    if spec.get_by:
        yield (f"to get it: {spec.get_by}",)
    for target in index.targets(spec.name):
        yield _target(target, spec)
    readers = index.readers.get(spec.name, ())
    yield ("read by: ", *links(readers)) if readers else ("no rule reads it yet",)


def kind_words(spec: FactSpec | ParameterSpec) -> str:
    """What values it takes: `seconds, at least 0`, `yes or no`, `one of batch, immediate`."""
    if spec.kind == "bool":
        return "yes or no"
    if spec.kind == "text":
        return f"one of {', '.join(spec.values)}" if spec.values else "a text"
    symbol = spec.unit.symbol
    unit = _UNITS.get(symbol) or _BASE.get(spec.unit.dimension) or symbol
    return f"{unit}{_range(spec)}"


def _range(spec: FactSpec | ParameterSpec) -> str:
    low, high = ("0" if end == 0 else format_value(end, spec.unit) for end in (spec.low, spec.high))
    if math.isfinite(spec.low) and math.isfinite(spec.high):
        return f", {low} to {high}"
    if math.isfinite(spec.low):
        return f", at least {low}"
    return f", at most {high}" if math.isfinite(spec.high) else ""


def _scope(spec: FactSpec) -> str:
    return f"may be said of each {' × '.join(spec.scope)}" if spec.scope else "said of the instance"


def _time(spec: FactSpec) -> Line:
    if spec.counter:
        return ("a counter: only its rate means anything, as ", Code(f"{spec.name}@rate_5m"))
    if spec.history:
        return ("has a history, so windows of it may be asked for, such as ", Code(f"{spec.name}@avg_5m"))
    return ("a snapshot: it has no windows",)


def _provenance(spec: FactSpec, index: Index) -> Iterator[Line]:
    if spec.source:
        yield (f"what it is read from: {spec.source}",)
    for dialect, source in index.sources(spec.name):
        yield (f"{dialect}: ", *source_line(source))
    if index.is_local(spec.name):
        yield (f"{THIS_HOST}: read from /proc and /sys, where the server runs on it",)
    if spec.origin in _ORIGINS:
        yield (_ORIGINS[spec.origin],)
    if spec.name in index.writers:
        yield ("given by ", rule_link(index.writers[spec.name]))


def source_line(source: Source) -> Line:
    """How a dialect publishes a fact."""
    ways = (("", source.promql), ("rate of ", source.counter), ("JSON ", source.json), ("HTTP ", source.http))
    named: list[Part] = []
    for word, text in ways:
        if text:
            named += [", or " if named else "", word, Code(text)]
    scope = f" (for {source.scope})" if source.scope.labels else ""
    notes = [scope, f" × {source.factor:.4g}" if source.factor != 1 else ""]
    notes.append(f"; stands in for {source.proxy_of}" if source.proxy_of else "")
    notes.append("; a name in the guide's style, which its text does not state" if source.invented else "")
    return (*named, "".join(notes))


# --- Settings -------------------------------------------------------------------------------------


def parameter_blocks(spec: ParameterSpec, index: Index, *, level: int) -> list[Block]:
    """A setting: values, where each dialect keeps it, what it does, which rules set and read it, and what fits."""
    head = Paragraph((f"{spec.title[:1].upper()}{spec.title[1:]}. {spec.doc}",))
    return [Heading(spec.name, level), head, items(_parameter_lines(spec, index)), *formula_blocks(spec, index)]


def _parameter_lines(spec: ParameterSpec, index: Index) -> Iterator[Line]:
    yield (f"{kind_words(spec)}; {RESTARTS[spec.restart]}",)
    if spec.tradeoff:
        yield (f"trade-off: {spec.tradeoff}",)
    for target, sign in spec.effects.items():
        yield ("turning it up ", "raises " if sign == "+" else "lowers ", Code(target))
    yield from formula_lines(spec, index)
    if spec.never_lower:
        yield ("sizing raises it only",)
    if spec.budget:
        yield ("counts into the memory that all tiers and buffers share",)
    for dialect, key in index.keys(spec.name) if spec.restart != "host" else ():
        yield (f"{dialect}: ", *(key_line(key, spec) if key else ("no key; ignored by this release",)))
    for title, names in (("set by: ", index.setters), ("read by: ", index.readers)):
        found = [name for name in names.get(spec.name, ()) if title != "read by: " or _reads(name, spec.name, index)]
        if found:
            yield (title, *links(found))


def _reads(rule: str, parameter: str, index: Index) -> bool:
    """Whether a rule does more with a setting than set it."""
    return rule not in index.setters.get(parameter, ())


def key_line(key: ConfigKey, spec: ParameterSpec) -> Line:
    """Where a dialect keeps a setting, in which unit, what holds when it is not set, and whether it is heeded."""
    default = key_default(key, spec)
    if not key.key:
        return (f"no key: a constant of the release{f', {default}' if default else ''}; ignored by this release",)
    unit = f" in {key.unit.symbol}" if key.unit.symbol not in ("", "count") else ""
    notes = [", in an array" if key.array else ""]
    notes.append(f"; unset it is {default}" if default else "; no default is stated")
    notes.append("; a key in the guide's style, which its text does not state" if key.invented else "")
    notes.append("; read and not used, so ignored by this release" if key.unused else "")
    aliases: Line = ("; also ", *joined(Code(alias) for alias in key.aliases)) if key.aliases else ()
    return (Code(key.key), f"{unit}{''.join(notes)}", *aliases)


def key_default(key: ConfigKey, spec: ParameterSpec) -> str:
    """What holds when a key is not set, in the unit of the file; empty where nobody says."""
    if key.default is None or isinstance(key.default, str):
        return key.default or ""
    if spec.kind == "bool":
        return "yes" if key.default else "no"
    unit = "" if key.unit.symbol == "count" else key.unit.symbol
    return f"{key.default:,g} {unit}".rstrip()


# --- Targets --------------------------------------------------------------------------------------


def target_blocks(name: str, index: Index, *, level: int) -> list[Block]:
    """What a figure should be, in each of the sets."""
    spec = index.loaded.catalogue.facts[name]
    rows = tuple(
        (line(target.doc), *(line(_figure(target, one, spec)) for one in TARGET_SETS)) for target in index.targets(name)
    )
    readers = index.readers.get(f"target.{name}", ())
    found: list[Block] = [Heading(f"target.{name}", level), Table(("What it speaks of", *TARGET_SETS), rows)]
    return [*found, items([("read by: ", *links(readers))])] if readers else found


def _target(target: TargetSpec, spec: FactSpec) -> Line:
    figures = [f"{one} {text}" for one in TARGET_SETS if (text := _figure(target, one, spec))]
    scope = f" {target.scope}" if target.scope.labels else ""
    return (f"target{scope} ({target.better} is better): {', '.join(figures)}",)


def _figure(target: TargetSpec, name: str, spec: FactSpec) -> str:
    figure = getattr(target, name)
    if figure is None:
        return ""
    return f"{'at most' if target.better == 'lower' else 'at least'} {format_value(figure, spec.unit)}"
