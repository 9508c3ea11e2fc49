"""
The generated pages of docs/reference, made from the rule base: the same rules give the same bytes.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.engine.language.rule import KINDS, Rule
from engram_diagnose.reference.baselines_page import PAGE as BASELINES
from engram_diagnose.reference.baselines_page import baselines_page
from engram_diagnose.reference.block import (
    Block,
    Code,
    Heading,
    Line,
    Link,
    Paragraph,
    Table,
    items,
    joined,
    line,
    to_markdown,
)
from engram_diagnose.reference.fact_entry import (
    fact_blocks,
    key_line,
    kind_words,
    parameter_blocks,
    source_line,
    target_blocks,
)
from engram_diagnose.reference.files import read_file, stale_files, write_files
from engram_diagnose.reference.flowchart_page import flowchart_blocks, flowchart_pictures
from engram_diagnose.reference.formula_entry import formula_words
from engram_diagnose.reference.index import Index, index_of
from engram_diagnose.reference.measured_baselines import FILE as MEASURED
from engram_diagnose.reference.overhead_page import PAGE as OVERHEAD
from engram_diagnose.reference.overhead_page import overhead_page
from engram_diagnose.reference.rule_entry import fact_link, rule_blocks, rule_link
from engram_diagnose.reference.testable import ACCESSES, Cell, coverage_matrix

_TITLES: Final = {
    "symptom": "Symptoms: a target is missed",
    "cause": "Causes",
    "table": "Decision tables",
    "derive": "Derived facts",
}


def pages(index: Index) -> dict[str, str]:
    """Every page that is generated as a whole, and its pictures, by file name."""
    made = {name: [*_opening(title), *content(index)] for name, (title, content) in _PAGES.items()}
    return {name: to_markdown(blocks) for name, blocks in made.items()} | flowchart_pictures(index)


def _opening(title: str) -> list[Block]:
    command = Code("engram-diagnose rules docs docs/reference")
    note = ("This page is made from the rule base. After a change to rules/ run ", command, " rather than editing it.")
    return [Heading(title, 1), Paragraph(note)]


# --- Rules ----------------------------------------------------------------------------------------


def _rules_page(index: Index) -> Iterable[Block]:
    rules = index.loaded.rules.rules.values()
    yield Paragraph(
        (
            "Every rule with its mechanism, its conditions, its thresholds and its tests. How conditions and evidence "
            "become a confidence is explained in ",
            Link("confidence", "../explanation/confidence.md"),
            "; the language in ",
            Link("the rule language", "rule-language.md"),
            ". The same with the conditions as they are written, and with the tests: ",
            Code("engram-diagnose rules show ID"),
            ".",
        )
    )
    for kind in KINDS:
        of_kind = [rule for rule in rules if rule.kind == kind]
        yield Heading(_TITLES[kind], 2)
        yield Table(("Rule", "says", "severity", "status"), tuple(map(_rule_row, of_kind)))
        for rule in of_kind:
            yield from rule_blocks(rule, index, level=3, place=_file_of(rule), full=False)


def _rule_row(rule: Rule) -> tuple[Line, ...]:
    return (rule_link(rule.id),), line(rule.title), line(rule.severity), line(rule.status)


def _file_of(rule: Rule) -> Line:
    return (Link(rule.mark.file, f"../../{rule.mark.file}"),)


# --- The catalogue --------------------------------------------------------------------------------


def _facts_page(index: Index) -> Iterable[Block]:
    catalogue = index.loaded.catalogue
    yield Paragraph(
        (
            "What may be known about a server and its host: the names that rules use. Settings are facts as well, and "
            "stand in ",
            Link("parameters", "parameters.md"),
            ". A fact without a value says why, and how to get it.",
        )
    )
    groups: dict[str, list[str]] = {}
    for name in sorted(catalogue.facts):
        if name not in catalogue.parameters:
            groups.setdefault(name.partition(".")[0], []).append(name)
    for group, names in groups.items():
        yield Heading(group, 2)
        for name in names:
            yield from fact_blocks(catalogue.facts[name], index, level=3)


def _parameters_page(index: Index) -> Iterable[Block]:
    catalogue = index.loaded.catalogue
    yield Paragraph(
        (
            "The settings that advice may change, with the bounds within which it may. Each is a fact of the same "
            "name: what is configured.",
        )
    )
    yield Paragraph(
        (
            "A dialect that is not among those that heed a setting ignores it, whatever its file says. What fits is "
            "given by a rule of ",
            Link("the decision tables", "rules.md#decision-tables"),
            " or ",
            Link("the derived facts", "rules.md#derived-facts"),
            "; without one sizing leaves the setting alone.",
        )
    )
    rows = [((fact_link(name, index),), line(spec.title), line(kind_words(spec)), line(spec.restart),
             formula_words(spec, index), line(_heeded_by(name, index)))
            for name, spec in sorted(catalogue.parameters.items())]  # fmt: skip
    head = ("Setting", "what it is", "values", "takes effect at", "what fits", "heeded by")
    yield Table(head, tuple(rows))
    for _, spec in sorted(catalogue.parameters.items()):
        yield from parameter_blocks(spec, index, level=2)


def _heeded_by(name: str, index: Index) -> str:
    return ", ".join(dialect for dialect, key in index.keys(name) if key is not None and key.heeded) or "none"


def _targets_page(index: Index) -> Iterable[Block]:
    yield Paragraph(
        (
            "What the figures should be, in three named sets: ",
            Code("floor"),
            " is what the guide's benchmark script lets pass, ",
            Code("target"),
            " what its vision promises, ",
            Code("baseline"),
            " what its reference hardware reaches. ",
            Code("--targets"),
            " chooses one, and every verdict names it. A site pack sets its own figure for all three. A set that does "
            "not speak of a figure leaves it open, and what compares with it is then unknown.",
        )
    )
    for name in sorted({target.name for target in index.loaded.catalogue.targets}):
        yield from target_blocks(name, index, level=2)


def _dialects_page(index: Index) -> Iterable[Block]:
    yield Paragraph(
        (
            "Which names a release of the server uses for facts and settings. The dialect is told from the metrics "
            "that are there, or given by ",
            Code("--dialect"),
            ". What a dialect does not have is unknown with the reason that this server does not publish it.",
        )
    )
    for _, dialect in sorted(index.loaded.catalogue.dialects.items()):
        yield from _dialect_blocks(dialect, index)


def _dialect_blocks(dialect: Dialect, index: Index) -> Iterable[Block]:
    yield Heading(dialect.name, 2)
    yield Paragraph((dialect.title + ".",))
    yield items(_dialect_lines(dialect))
    yield Heading(f"Facts of {dialect.name}", 3)
    sources = sorted(dialect.sources.values(), key=lambda source: (source.fact, source.scope))
    yield Table(
        ("Fact", "source"), tuple(((fact_link(source.fact, index),), source_line(source)) for source in sources)
    )
    if dialect.keys:
        specs = index.loaded.catalogue.parameters
        keys = sorted(dialect.keys.items())
        yield Heading(f"Settings of {dialect.name}", 3)
        yield Table(("Setting", "key"), tuple(((fact_link(name, index),), key_line(key, specs[name]))
                                              for name, key in keys))  # fmt: skip


def _dialect_lines(dialect: Dialect) -> Iterable[Line]:
    yield ("metrics at ", Code(dialect.metrics_path), f", as {dialect.metrics_format}; port {dialect.default_port}")
    for title, names in (
        ("told by: ", dialect.detect),
        ("configuration: ", dialect.config_files),
        ("other keys it reads: ", dialect.known_keys),
    ):
        if names:
            yield (title, *joined(map(Code, names)))


# --- Coverage -------------------------------------------------------------------------------------


def _coverage_page(index: Index) -> Iterable[Block]:
    rules, catalogue = index.loaded.rules.rules, index.loaded.catalogue
    matrix = coverage_matrix(rules, catalogue)
    causes = [rule for rule in rules.values() if rule.kind == "cause"]
    yield Paragraph(
        (
            "Which causes can be tested at all, by what the server publishes and by how far one is let in. A cause "
            "counts when some values of the facts to be had would make its gate true; in one incident a fact to be "
            "had may still be unknown, and the report then says why.",
        )
    )
    yield items(_access_lines())
    yield Heading("How many", 2)
    dialects = sorted({cell.dialect for cell in matrix})
    counts = {(cell.dialect, cell.access): len(cell.testable) for cell in matrix}
    yield Table(("Dialect", *ACCESSES),
                tuple(((Code(name),), *(line(f"{counts[name, access]} of {len(causes)}") for access in ACCESSES))
                      for name in dialects))  # fmt: skip
    for name in dialects:
        yield Heading(f"Causes with {name}", 2)
        cells = [cell for cell in matrix if cell.dialect == name]
        yield Table(("Cause", *ACCESSES, "lacking even then"), tuple(_cause_row(rule.id, cells) for rule in causes))


def _access_lines() -> Iterable[Line]:
    yield (Code(ACCESSES[0]), ": Prometheus, or the server asked directly, and its configuration file")
    yield (Code(ACCESSES[1]), ": besides, the node exporter of the server's host in the same Prometheus (",
           Code("--node-instance"), ")")  # fmt: skip
    yield (Code(ACCESSES[2]), ": besides the metrics, the tool runs on the server's host and reads /proc and /sys")
    yield (Code(ACCESSES[3]), ": besides, hardware counters and what is traced, which ", Code("profile"),
           " reads where CPU, kernel and user allow it; the rules are ready for all of it")  # fmt: skip


def _cause_row(name: str, cells: list[Cell]) -> tuple[Line, ...]:
    marks = (line("yes" if name in cell.testable else "–") for cell in cells)
    last = cells[-1].lacking.get(name, ())
    return ((rule_link(name),), *marks, line(", ".join(last)))


_PAGES: Final[Mapping[str, tuple[str, Callable[[Index], Iterable[Block]]]]] = {
    "rules.md": ("Rules", _rules_page),
    "facts.md": ("Facts", _facts_page),
    "parameters.md": ("Parameters", _parameters_page),
    "targets.md": ("Targets", _targets_page),
    "dialects.md": ("Dialects", _dialects_page),
    "coverage.md": ("What can be tested", _coverage_page),
    "troubleshooting-flowchart.md": ("Troubleshooting flowchart", flowchart_blocks),
}


# --- Files ----------------------------------------------------------------------------------------


def stale_pages(folder: Path, index: Index) -> list[str]:
    """The generated pages that a folder lacks, or holds as they were before the rules changed."""
    return stale_files(folder, _files(folder, index))


def write_pages(folder: Path, index: Index) -> list[str]:
    """Write the pages that changed, and give their names. Raises `OSError` when the folder cannot be written."""
    return write_files(folder, _files(folder, index))


def _files(folder: Path, index: Index) -> dict[str, str]:
    """Every file that is made, the pages on overhead and on baselines with what is written by hand in them."""
    baselines = baselines_page(read_file(folder / BASELINES) or "", index, read_file(folder / MEASURED))
    return pages(index) | {OVERHEAD: overhead_page(read_file(folder / OVERHEAD) or ""), BASELINES: baselines}


__all__ = ["index_of", "pages", "stale_pages", "write_pages"]
