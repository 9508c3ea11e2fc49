"""
Example configurations: what sizing advises for an empty file on the guide's reference host, each key with its reasons.
"""

import re
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, Final

from engram_diagnose.collectors.bundle_format import Bundle
from engram_diagnose.engine.advice.decision import Decision
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.engine.facts.unit import UNITS, format_value
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.tuning import Configuration, Tuning, Wish, digest, tune
from engram_diagnose.wizard.answers import WORKLOADS, stated_facts

DIALECT: Final = "guide"
HOST: Final = {"cores": 32.0, "memory": 128 * UNITS["GiB"].factor, "storage": "ssd", "numa_nodes": 2, "simd": "avx512"}
"""
The guide's reference hardware: 32 cores of a Xeon Gold 6258R, 128 GB, NVMe. It does not state the NUMA nodes: a
processor of that model has 28 cores, so there are two, and with them two nodes.
"""
OPTIONS: Final = "--cores 32 --memory 128GiB --storage ssd --numa-nodes 2 --simd avx512"
"""The same for the command line."""

_WIDTH: Final = 100
_HEADER: Final = re.compile(r"\[(.+)\]")
_LINE: Final = re.compile(r"([\w-]+) = ")
_PAGES: Final = "host.huge_pages"


def example_configurations(loaded: Loaded) -> dict[str, str]:
    """A file for each workload, by its name."""
    return {f"{workload}.toml": _example(workload, loaded) for workload in WORKLOADS}


def sized(workload: str, loaded: Loaded) -> Tuning:
    """What sizing advises for an empty file, by the operator's word alone: nothing is collected."""
    empty = Configuration(f"{workload}.toml", b"", digest(b""))
    wish = Wish(sizing=True, stated=stated_facts(workload=workload, **HOST))  # type: ignore[arg-type]  # by name
    return tune(Bundle(0.0, dialect=DIALECT), expert(loaded), empty, wish, now=0.0)


def _example(workload: str, loaded: Loaded) -> str:
    found = sized(workload, loaded)
    return "\n".join([*_head(workload, found), *_annotated(found)]) + "\n"


def _head(workload: str, found: Tuning) -> Iterator[str]:
    yield from _comment(f"Example configuration: {workload}, for the guide's reference host.")
    yield "#"
    yield from _comment(
        "32 cores (Xeon Gold 6258R, so AVX-512), 128 GiB, NVMe. The guide does not say how many NUMA nodes: two are "
        "taken, since one such processor has 28 cores."
    )
    yield from _comment(
        "The keys are those of the performance guide. The released server (0.1) ignores all of them without a word."
    )
    yield from _comment(f"{_budget(found)} {_host_settings(found)}".strip())
    yield "#"
    yield from _comment("Do not copy it to another host; have one made for it:")
    yield f"#   engram-diagnose tune --size --workload {workload} --config /etc/engram/engram.toml"
    yield from _comment("This file is made from the sizing tables, by:")
    yield "#   engram-diagnose rules docs --part operations docs/operations"
    yield ""


def _budget(found: Tuning) -> str:
    budget: Any = found.document["budget"]
    return f"Tiers and buffers together take {budget['total_text']} of the {budget['limit_text']} they may take."


def _host_settings(found: Tuning) -> str:
    """What goes with the file and does not stand in it."""
    pages = next((one for one in found.advice.of("advised") if one.name == _PAGES), None)
    if pages is None or not isinstance(pages.wanted, tuple):
        return ""
    return f"With it goes a setting of the machine: vm.nr_hugepages = {pages.wanted[0]:.0f}."


def _annotated(found: Tuning) -> Iterator[str]:
    """The file that sizing makes, each key under its comment."""
    decisions = {one.key.key: one for one in found.advice.of("advised") if one.key is not None}
    notes = {one["key"]: one["notes"] for group in found.document["groups"] for one in group["changes"]}
    table, below = "", False
    for written in found.result.decode("utf-8").splitlines():
        header, assignment = _HEADER.fullmatch(written), _LINE.match(written)
        table = f"{header[1]}." if header else table
        if assignment:
            yield from [""] if below else []
            key = table + assignment[1]
            yield from _why(decisions[key], notes[key])
        yield written
        below = assignment is not None


def _why(decision: Decision, notes: Iterable[str]) -> Iterator[str]:
    """Name, meaning, reason and cost."""
    spec, chosen = decision.parameter, decision.chosen
    yield from _comment(f"{spec.title[:1].upper()}{spec.title[1:]}{_in_words(decision)}")
    yield from _comment(spec.doc, "  ")
    yield from _comment(f"Why: {chosen.because or _lowered(chosen.title)} ({chosen.rule})", "  ")
    yield from _comment(f"Cost: {chosen.tradeoff or spec.tradeoff}", "  ")
    for note in notes:
        yield from _comment(f"Note: {note}", "  ")


def _lowered(title: str) -> str:
    """A title within a sentence; an abbreviation stays as it is."""
    return title if title[1:2].isupper() else f"{title[:1].lower()}{title[1:]}"


def _in_words(decision: Decision) -> str:
    """The value in larger units than the file's, where that says more."""
    key, wanted = decision.key, decision.wanted
    if key is None or not isinstance(wanted, tuple) or decision.parameter.unit.symbol not in ("B", "s"):
        return ""
    words = format_value(wanted[0], decision.parameter.unit)
    return "" if words.endswith(f" {key.unit.symbol}") else f": {words}"


def _comment(text: str, indent: str = "") -> list[str]:
    begin = f"# {indent}"
    return textwrap.wrap(text, _WIDTH, initial_indent=begin, subsequent_indent=begin, break_on_hyphens=False)
