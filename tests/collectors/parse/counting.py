"""A CPU that counts as planted: what capture would hand over for a table of events, without such a CPU."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.event_tables import CountTable, Cpu, table_for
from engram_diagnose.collectors.capture.perf_plan import Round, rounds
from engram_diagnose.collectors.parse.event_table import EventTable
from engram_diagnose.collectors.parse.events import read_tables
from engram_diagnose.collectors.parse.pmu import TABLE_FACTS
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.source import parse_document, plain

RULES = Path(__file__).parents[3] / "rules" / "events"
DATA = Path(__file__).parents[2] / "data" / "counters"
SECONDS = 2.0
DEVICES = {
    "cpu": 4,
    "uncore_imc_0": 20,
    "uncore_imc_1": 21,
    "amd_l3": 10,
    "amd_df": 11,
    "amd_umc_0": 12,
    "arm_cmn_0": 13,
}

MILLIONS = {
    "instructions": 4000, "cycles": 2000, "clocks": 2000, "all": 1000, "missed": 50, "branches": 1000,
    "references": 800, "misses": 200, "l1_misses": 120, "l2_misses": 40, "loads": 300, "stores": 100, "l1": 120,
    "l2": 40, "walks": 8, "local": 60, "remote": 20, "packed": 900, "scalar": 300, "scalable": 300, "backend": 600,
    "memory": 300, "retired": 400, "total": 700, "one_port": 200, "two_ports": 100, "undelivered": 1500, "issued": 2500,
    "recovery": 100, "reads": 500, "writes": 250, "near_memory": 60, "far_memory": 20, "near_cache": 12, "far_cache": 8,
    "accesses": 800, "packed128": 100, "packed256": 200, "packed512": 600, "requests": 700,
}  # fmt: skip
"""What each count comes to, in millions, by what the tables call it; a figure at the end of a name is its instance."""


def documents() -> dict[str, Any]:
    """The tables as they are shipped, by file name."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in sorted(RULES.glob("*.yaml"))}
    roots = {name: parse_document(text, file=name, problems=Problems()) for name, text in texts.items()}
    return {name: plain(root) for name, root in roots.items() if root is not None}


DOCUMENTS = documents()
TABLES = {table.name: table for table in read_tables(DOCUMENTS, facts=TABLE_FACTS)}


def capture_table(name: str) -> CountTable:
    """What capture reads of a table, however its CPU is recognised."""
    found = table_for(Cpu(arch="any"), {name: {**DOCUMENTS[f"{name}.yaml"], "cpus": [{"arch": "any"}]}})
    assert found is not None
    return found


def planted(alias: str) -> float:
    """How often an event of that name is counted on each device."""
    return 1e6 * MILLIONS.get(alias, MILLIONS.get(alias.rstrip("01"), 50))


def printed_line(event: str, value: float | str, *, share: float = 100.0) -> str:
    """One line as perf 6.12 prints it."""
    text = value if isinstance(value, str) else f"{value:.6f}"
    return (
        f'{{"counter-value" : "{text}", "unit" : "", "event" : "{event}", "event-runtime" : 2000000000, '
        f'"pcnt-running" : {share:.2f}, "metric-value" : "0.000000", "metric-unit" : ""}}'
    )


def run_of(each: Round, changes: Mapping[str, float | str] | None = None, *, share: float = 100.0) -> dict[str, object]:
    """One round as it stands in the body; `changes` by "group.alias"."""
    lines = [] if each.of_host else [printed_line("task-clock", 1900.0)]
    for asked in each.asked:
        value = (changes or {}).get(f"{asked.group}.{asked.alias}", planted(asked.alias))
        lines.append(printed_line(asked.printed, value, share=share))
    return {
        "of_host": each.of_host,
        "seconds": SECONDS,
        "form": "json",
        "asked": [[asked.group, asked.alias, asked.printed] for asked in each.asked],
        "output": "".join(f"{line}\n" for line in lines),
        "reason": "",
        "detail": "",
    }


def stat_answer(
    table: EventTable, /, changes: Mapping[str, float | str] | None = None, *, share: float = 100.0, **body: object
) -> Answer:
    """What `perf stat` counted by a table, as an answer."""
    runs = [run_of(each, changes, share=share) for each in all_rounds(table)]
    whole = {"version": "6.12", "table": table.name, "rounds": runs, "refused": {}, "left_out": {}, **body}
    return Answer("perf", "stat", 100.0, "h", json.dumps(whole))


def all_rounds(table: EventTable) -> list[Round]:
    """The rounds in which capture counts a table on a machine that has all devices."""
    return rounds(capture_table(table.name), DEVICES, "cpu", user_only=False, of_host=True)


def probe_answer(table: str = "", /, opens: Mapping[str, str] | None = None, **fields: object) -> Answer:
    """What the probe found: everything is allowed but for `opens`."""
    asked = ("software_user", "software", "cycles_user", "cycles", "target_software", "target_cycles", "host_software")
    body = {
        "opens": {**dict.fromkeys(asked, ""), **(opens or {})},
        "paranoid": "2",
        "seccomp": "0",
        "table": table,
        "width": 8,
        "smt": True,
        "nodes": 2,
        **fields,
    }
    return Answer("perf", "probe", 99.0, "h", json.dumps(body))
