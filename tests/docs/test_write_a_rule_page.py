"""What docs/howto/write-a-rule.md shows works as it is written there."""

import datetime
import re
from pathlib import Path

import pytest

from engram_diagnose.cli import main
from engram_diagnose.diagnosing import diagnosis_document
from engram_diagnose.engine.diagnosis import Diagnosis, Subject, expert
from engram_diagnose.engine.facts.fact import Fact, point
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.engine.rule_tests import run_tests
from engram_diagnose.incidents import example_incident
from engram_diagnose.rulebase import load_rules
from engram_diagnose.rulecheck import check_rules

DAY = datetime.date(2026, 12, 1)
"""Before the overrides of the page expire."""

OURS = "site.fra1.importer-unbatched"
BUILT_IN = "storage.wal-write-amplification"
GENERAL = "storage.store-waits-for-wal"
STORE = scope_of({"operation": "store"})
INCIDENT = [
    Fact("op.latency.p99", point(0.03), scope=STORE),
    Fact("wal.bytes_written@rate_5m", point(60e6)),
    Fact("store.bytes@rate_5m", point(10e6)),
    Fact("wal.flush.p99", point(0.009)),
    Fact("store.rate", point(900.0)),
    Fact("wal.entries_per_flush", point(1.1)),
    Fact("config.wal.sync_mode", "immediate"),
]


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    """The page."""
    return (root / "docs" / "howto" / "write-a-rule.md").read_text(encoding="utf-8")


@pytest.fixture
def site(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files in `site-rules`, and the place to run commands from."""
    for name, text in re.findall(r"```yaml\n# (site-rules/[\w.-]+)\n(.*?)```", page, re.DOTALL):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"# {name}\n{text}", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")
    return tmp_path


def diagnosed(packs: list[Path]) -> Diagnosis:
    """The page's incident under the built-in rules and some packs."""
    return expert(load_rules(packs, today=DAY)).diagnose(INCIDENT, Subject())


def test_every_file_of_the_page_is_there(site: Path) -> None:
    found = sorted(path.name for path in (site / "site-rules").iterdir())
    assert found == ["accepted.yaml", "importer.yaml", "targets.yaml", "zfs.yaml"]


def test_the_files_load_without_errors(site: Path) -> None:
    checked = check_rules([site / "site-rules"])
    assert checked.errors == 0, [str(problem) for problem in checked.problems]


def test_the_tests_of_the_page_pass_and_unknown_is_tested_too(site: Path) -> None:
    loaded = load_rules([site / "site-rules"], today=DAY)
    changed = {OURS, "site.fra1.arc-thrash", *loaded.rules.overridden}
    results = run_tests(expert(loaded), [rule for name, rule in loaded.rules.rules.items() if name in changed])
    assert [f"{result.name}: {result.failure}" for result in results if result.failure] == []
    assert {result.rule for result in results} == changed
    assert sum("generated" in result.name for result in results if result.rule == OURS) == 3


def test_the_rule_changes_the_verdict(site: Path) -> None:
    before, after = diagnosed([]), diagnosed([site / "site-rules" / "importer.yaml"])
    assert before.causes[0].rule.id == BUILT_IN
    assert after.causes[0].rule.id == OURS
    assert [masked.cause.rule.id for masked in after.masked if OURS in masked.by] == [BUILT_IN, GENERAL]


def test_it_changes_the_verdict_of_the_incident_that_comes_with_the_tool(site: Path) -> None:
    incident = example_incident()
    before = diagnosis_document(incident, [])
    after = diagnosis_document(incident, [site / "site-rules" / "importer.yaml"])
    assert before["causes"][0]["rule"] == BUILT_IN
    assert after["causes"][0]["rule"] == OURS
    assert BUILT_IN in [masked["rule"] for masked in after["masked"]]


def test_the_typo_is_explained_as_the_page_shows(page: str, site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = site / "site-rules" / "importer.yaml"
    file.write_text(file.read_text().replace("- store.rate >", "- store.rat >"))
    shown = re.search(r"```text\n(.*?)```", page, re.DOTALL)
    assert shown is not None
    with pytest.raises(SystemExit) as left:
        main(["rules", "check", "--rules", "./site-rules/importer.yaml"])
    assert left.value.code == 2
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == shown[1].splitlines()[:3]
    # Which further names are near changes with the catalogue.
    assert said[3].startswith("  hint: did you mean store.rate")
    assert shown[1].splitlines()[3].startswith("  hint: did you mean store.rate")


def test_the_override_the_suppression_and_the_targets_take_effect(site: Path) -> None:
    loaded = load_rules([site / "site-rules"], today=DAY)
    rule = loaded.rules.rules[BUILT_IN]
    assert (rule.severity, rule.params["amp_max"].value.value) == ("info", 6)
    assert [item.rule for item in loaded.rules.suppressions] == ["host.huge-pages-off"]
    figures = {target.scope.get("operation"): target.target for target in loaded.catalogue.targets
               if target.name == "op.latency.p99" and len(target.scope.labels) == 1}  # fmt: skip
    assert (figures["recall"], figures["store"]) == (0.025, 0.02)


def test_after_its_last_day_an_override_no_longer_applies(site: Path) -> None:
    loaded = load_rules([site / "site-rules"], today=datetime.date(2027, 4, 1))
    assert loaded.rules.rules[BUILT_IN].severity == "warning"
    assert any("expired" in problem.message for problem in loaded.warnings)
