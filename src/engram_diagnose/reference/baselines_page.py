"""
What a server should reach, and what the lab did: the figures of the page on baselines, made from the rule base.

The rest of the page is written by hand and stays: only what stands between the two marks is made.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from engram_diagnose.engine.comparison.policy import Regression
from engram_diagnose.engine.explanation.wording import formula
from engram_diagnose.engine.facts.catalogue import TARGET_SETS, TargetSpec
from engram_diagnose.engine.facts.unit import format_value
from engram_diagnose.engine.language.comparison_reader import read_comparison
from engram_diagnose.engine.language.rule import Row, Rule
from engram_diagnose.reference.block import Block, Code, Heading, Line, Paragraph, Table, line, to_markdown
from engram_diagnose.reference.index import Index
from engram_diagnose.reference.marked import with_part
from engram_diagnose.reference.measured_baselines import FILE, Measured, parse_measured
from engram_diagnose.reference.rule_entry import fact_link, rule_link
from engram_diagnose.reference.words import one_line

PAGE: Final = "performance-baselines.md"
BEGIN: Final = "<!-- made by `engram-diagnose rules docs docs/reference` from rules/ and measured-on-the-lab.json -->"
NOT_YET: Final = "not yet measured"

_THROUGHPUT: Final = ("op.rate", "ops.rate", "ops.burst_rate", "client.connections")
_OWN: Final = "the server's own histogram, over the window"
_HOW: Final = {
    "op.latency": ("", "bench", ", response time; or the server's own histogram, over the window"),
    "op.rate": ("", "bench", " with a load of this operation alone"),
    "ops.rate": ("", "bench", " with the mixed load, or that of several tenants; the knee of a ramp"),
    "ops.burst_rate": ("", "bench --workload burst", ""),
    "client.connections": ("", "bench --connections 1000", ""),
    "data.overhead": ("the server's memory, by the data that it says it holds", "", ""),
    "cpu.busy": ("/proc of the server's process, or its own counter", "", ""),
    "mem.used_share": ("/proc/meminfo, or node_exporter", "", ""),
    "disk.iops": ("/proc/diskstats of the device under the data directory, or node_exporter", "", ""),
    "net.total_rate": ("/proc/net/dev, or node_exporter", "", ""),
    "scaling.efficiency": ("the knee of ", "bench --workload ramp", " with more cores, over that with fewer"),
    "activation.cache_hit_ratio": ("the server's counters, over the window", "", ""),
    "index.coverage": ("the server's own figure, where it has one", "", ""),
}
"""How each figure is measured, by its fact or the beginning of it."""
_LEVELS: Final = ("symptom.cpu-high", "symptom.memory-high", "symptom.disk-iops-high", "symptom.network-high")
_SENSES: Final = {"rise": "rises by more than", "fall": "falls by more than", "below": "is below", "above": "is above"}
_SIZES: Final = ("size.expected-latency", "size.expected-throughput", "size.expected-core-scaling",
                 "size.expected-tiers")  # fmt: skip


def baselines_page(written: str, index: Index, measured: str | None) -> str:
    """
    The page with its figures between its marks; below what is there where it has none.

    `measured` is the text of the file beside it, None where there is none. Raises `ValueError` when it cannot be read.
    """
    return with_part(written, to_markdown(list(_blocks(index, parse_measured(measured)))), begin=BEGIN)


def _blocks(index: Index, measured: Measured) -> Iterator[Block]:
    yield Heading("Latency", 3)
    yield from _targets(index, measured, lambda name: name.startswith("op.latency"))
    yield Heading("Throughput", 3)
    yield from _targets(index, measured, lambda name: name in _THROUGHPUT)
    yield Heading("Resources", 3)
    yield from _targets(index, measured, lambda name: not name.startswith("op.latency") and name not in _THROUGHPUT)
    yield Paragraph(line(_lab(measured)))
    yield Heading("Warning and critical", 3)
    yield _resources(index)
    yield Heading("Scaling and size", 3)
    yield from _sizes(index)
    yield Heading("Regressions", 3)
    yield _regressions(index)


def _lab(measured: Measured) -> str:
    if not measured.figures:
        return f"Nothing was measured on the lab yet: {FILE} beside this page holds no figure."
    return (
        f"Measured on the lab: {measured.what}; on {measured.host}; {measured.when}. The lab is no release of Engram: "
        "its figures show what the method reaches on that machine, and nothing of any other server."
    )


# Targets


def _targets(index: Index, measured: Measured, wanted: Callable[[str], bool]) -> Iterator[Block]:
    rows = tuple(_target(one, index, measured) for one in index.loaded.catalogue.targets if wanted(one.name))
    yield Table(("Figure", *TARGET_SETS, "measured on the lab", "what it speaks of", "how it is measured"), rows)


def _target(one: TargetSpec, index: Index, measured: Measured) -> tuple[Line, ...]:
    unit = index.loaded.catalogue.facts[one.name].unit
    limits = [getattr(one, name) for name in TARGET_SETS]
    sign = "≤" if one.better == "lower" else "≥"
    found = measured.figure(one.name, one.scope)
    lab = f"{format_value(found.value, unit)}, {found.note}".removesuffix(", ") if found else NOT_YET
    return (
        (fact_link(one.name, index), f"{one.scope}" if one.scope.labels else ""),
        *(line("" if limit is None else f"{sign} {format_value(limit, unit)}") for limit in limits),
        line(lab),
        line(one.doc),
        _how(one),
    )


def _how(one: TargetSpec) -> Line:
    if one.name.startswith("op.latency") and not _asked(one):
        return line(_OWN)
    before, command, after = next(
        words for start, words in _HOW.items() if one.name == start or one.name.startswith(f"{start}.")
    )
    return tuple(part for part in (before, Code(command) if command else "", after) if part)


def _asked(one: TargetSpec) -> bool:
    """Whether `bench` asks for it: stores, and recalls, whose hops a client cannot tell apart."""
    return one.scope.get("operation") in ("store", "recall") and not one.scope.get("hops")


# Levels, sizes, regressions


def _resources(index: Index) -> Table:
    return Table(
        ("Resource", "warning", "critical", "speaks of", "rules"), tuple(_levels(name, index) for name in _LEVELS)
    )


def _levels(name: str, index: Index) -> tuple[Line, ...]:
    first, second = index.loaded.rules.rules[name], index.loaded.rules.rules[f"{name}-critical"]
    critical = second.params["critical"]
    fact = next(iter(_facts(second)))
    at = f"> {formula(first.params['warning'].value)}" if "warning" in first.params else _own_target(fact, index)
    return (
        (fact_link(fact, index),),
        line(at),
        line(f"> {formula(critical.value)}"),
        line(critical.doc),
        (rule_link(first.id), ", ", rule_link(second.id)),
    )


def _facts(rule: Rule) -> Iterable[str]:
    from engram_diagnose.engine.language.stages import needs

    return sorted(name for name in needs(rule) if not name.startswith("target."))


def _own_target(fact: str, index: Index) -> str:
    spec = index.loaded.catalogue.facts[fact]
    figure = next((one.target for one in index.targets(fact) if one.target is not None), None)
    return "" if figure is None else f"> {format_value(figure, spec.unit)}"


def _sizes(index: Index) -> Iterator[Block]:
    for rule in (index.loaded.rules.rules[name] for name in _SIZES):
        yield Paragraph((rule_link(rule.id), f": {rule.reason}"))
        if rule.value is not None:
            yield Paragraph((fact_link(next(iter(rule.outputs.values())), index), " = ", Code(formula(rule.value))))
        else:
            yield Table(("When", "expected", "because"), tuple(_row(row, rule) for row in rule.rows))


def _row(row: Row, rule: Rule) -> tuple[Line, ...]:
    when = "else" if row.condition is None else one_line(row.condition)
    values = ", ".join(_settled(formula(value), rule) for value in row.values.values())
    return line(when), line(values), line(row.why)


def _settled(text: str, rule: Rule) -> str:
    """A row's value, its parameter spelled out."""
    parameter = rule.params.get(text.removeprefix("$"))
    return formula(parameter.value) if parameter else text


def _regressions(index: Index) -> Table:
    loaded = index.loaded
    policy = read_comparison(loaded.texts, loaded.catalogue, loaded.rules.rules)
    return Table(("Figure", "alert when it", "rule"), tuple(_regression(one, index) for one in policy.regressions))


def _regression(one: Regression, index: Index) -> tuple[Line, ...]:
    rule = index.loaded.rules.rules[one.rule]
    than = " of the baseline" if one.sense in ("rise", "fall") else ""
    said = f"{_SENSES[one.sense]} {formula(rule.params[one.limit].value)}{than}"
    return (fact_link(one.on, index),), line(said), (rule_link(rule.id),)
