"""`rules check` looks at the tables of hardware events too, and names the place of what is wrong."""

import json
from pathlib import Path

import pytest

from engram_diagnose.collectors.parse.event_table import EventTable
from engram_diagnose.collectors.parse.pmu import TABLE_FACTS
from engram_diagnose.engine.language.problem import Problems
from engram_diagnose.engine.language.schema import schema_problems
from engram_diagnose.engine.language.source import parse_document
from engram_diagnose.eventtables import event_documents, event_problems, event_tables
from engram_diagnose.rulecheck import check_rules

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "rules" / "events").glob("*.yaml"))
SCHEMA = json.loads((ROOT / "rules" / "schema" / "events-v1.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_table_is_what_its_schema_says_and_is_called_as_its_file(path: Path) -> None:
    root = parse_document(path.read_text(encoding="utf-8"), file=path.name, problems=Problems())
    assert root is not None
    assert schema_problems(root, SCHEMA) == []
    assert [table.name for table in event_tables({path.name: path.read_text(encoding="utf-8")})] == [path.stem]


def test_the_shipped_tables_are_without_problems() -> None:
    assert event_problems({path.name: path.read_text(encoding="utf-8") for path in SHIPPED}) == []


def test_a_broken_table_in_a_pack_is_said_with_file_line_and_column(tmp_path: Path) -> None:
    text = (ROOT / "rules" / "events" / "amd-zen-4.yaml").read_text(encoding="utf-8")
    broken = text.replace("table: amd-zen-4", "table: mine")
    broken = broken.replace("pipeline.instructions / pipeline.cycles", "1 / pipeline.cycels")
    (tmp_path / "mine.yaml").write_text(broken)
    checked = check_rules([tmp_path])
    found = [problem for problem in checked.problems if problem.mark.file.endswith("mine.yaml")]
    messages = {problem.message for problem in found if problem.severity == "error"}
    assert "facts > pmu.ipc > is: reads pipeline.cycels, which no group counts" in messages
    line = broken.splitlines()[found[0].mark.line - 1]
    assert "1 / pipeline.cycels" in line
    assert checked.loaded is None


def test_a_table_that_is_no_yaml_is_a_problem_and_the_others_are_read() -> None:
    good = SHIPPED[0].read_text(encoding="utf-8")
    texts = {"a.yaml": good, "b.yaml": "schema: engram-diagnose/events/v1\ngroups: {\n"}
    assert any(problem.mark.file == "b.yaml" for problem in event_problems(texts))
    assert event_documents(texts).keys() == {"a.yaml"}


def test_files_of_other_kinds_are_passed_over() -> None:
    assert event_documents({"rules.yaml": "schema: engram-diagnose/rules/v1\npack: x\n"}) == {}


# ── the page ─────────────────────────────────────────────────────────────────────────────────────

COLUMNS = {
    "Cascade Lake": ("intel-cascade-lake",),
    "Ice Lake": ("intel-ice-lake",),
    "Sapphire Rapids": ("intel-sapphire-rapids", "intel-emerald-rapids", "intel-granite-rapids"),
    "Zen 2": ("amd-zen-2",),
    "Zen 3": ("amd-zen-3",),
    "Zen 4": ("amd-zen-4", "amd-zen-5"),
    "Neoverse N1": ("arm-neoverse-n1",),
    "Neoverse V1": ("arm-neoverse-v1", "arm-neoverse-n2", "arm-neoverse-v2"),
    "x86": ("generic-x86",),
    "other": ("generic",),
}


def said_of(table: EventTable, fact: str) -> str:
    if fact in table.facts:
        return "proxy" if table.facts[fact].proxy_of else "yes"
    return "—" if fact in table.absent else "n/a"


def test_the_page_says_what_each_cpu_can_tell() -> None:
    tables = {table.name: table for table in event_tables({p.name: p.read_text(encoding="utf-8") for p in SHIPPED})}
    assert {name for names in COLUMNS.values() for name in names} == tables.keys()
    page = (ROOT / "docs" / "reference" / "hardware-events.md").read_text(encoding="utf-8")
    assert "| " + " | ".join(["Fact", *COLUMNS]) + " |" in page
    for fact in TABLE_FACTS:
        cells = [{said_of(tables[name], fact) for name in names} for names in COLUMNS.values()]
        assert all(len(cell) == 1 for cell in cells), fact
        row = " | ".join(cell.pop() for cell in cells)
        assert f"| [{fact}](facts.md#{fact.replace('.', '')}) | {row} |" in page
