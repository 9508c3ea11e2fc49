"""docs/operations: what is made is fresh and is what sizing advises; the dashboard queries are valid."""

import json
import re
import shutil
import tomllib
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from stage import folder_on_disk, prometheus

from engram_diagnose.cli import main
from engram_diagnose.engine.language.loader import Loaded
from engram_diagnose.reference.example_configuration import OPTIONS, example_configurations
from engram_diagnose.reference.index import index_of
from engram_diagnose.reference.marked import END
from engram_diagnose.reference.tuning_page import BEGIN, PAGE, operations_files, stale_operations
from engram_diagnose.rulebase import load_rules
from engram_diagnose.wizard.answers import WORKLOADS

METRIC = re.compile(r"\b(?:[a-z]+_)+[a-z]+\b(?=[{\[\s)/]|$)")
RELEASED = "### The released server (0.1)"


@pytest.fixture(scope="module")
def operations(root: Path) -> Path:
    """The folder of the pages."""
    return root / "docs" / "operations"


@pytest.fixture(scope="module")
def page(operations: Path) -> str:
    """The tuning page."""
    return (operations / PAGE).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """The rules that come with the tool."""
    return load_rules()


def code_of(*arguments: str) -> int:
    """The exit code of a command."""
    try:
        main([*arguments])
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 0
    return 0


# --- What is made ---------------------------------------------------------------------------------


def test_what_is_made_is_fresh(operations: Path, loaded: Loaded) -> None:
    stale = stale_operations(operations, index_of(loaded))
    assert stale == [], "run: engram-diagnose rules docs --part operations docs/operations"


def test_the_command_writes_what_is_stale_and_leaves_what_is_written_by_hand(
    operations: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(operations, tmp_path / "operations")
    copy = tmp_path / "operations" / PAGE
    before, _, rest = copy.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(f"{END}\n")[2]
    copy.write_text(f"{before}{BEGIN}\nold\n{END}\n{after}by hand\n", encoding="utf-8")
    command = ["rules", "docs", "--part", "operations", str(copy.parent)]
    assert code_of(*command, "--check") == 1
    assert f"run engram-diagnose {' '.join(command)}" in capsys.readouterr().out
    assert code_of(*command) == 0
    assert code_of(*command, "--check") == 0
    assert copy.read_text(encoding="utf-8") == (operations / PAGE).read_text(encoding="utf-8") + "by hand\n"


def test_every_setting_stands_in_the_table_with_its_keys(page: str, loaded: Loaded) -> None:
    table = page.partition(BEGIN)[2].partition(END)[0]
    for name, spec in loaded.catalogue.parameters.items():
        row = next(line for line in table.splitlines() if f"parameters.md#{name.replace('.', '')})" in line)
        assert spec.tradeoff.partition(";")[0] in row
        for dialect in loaded.catalogue.dialects.values():
            key = dialect.keys.get(name)
            if key is not None and key.key:
                assert f"`{key.key}`" in row
        if name.startswith("config."):
            heeded = [one for one in ("guide", "engram-0.1")
                      if (key := loaded.catalogue.dialects[one].keys.get(name)) is not None and key.heeded]  # fmt: skip
            assert row.count("ignored by this release") == 2 - len(heeded)


def test_a_page_without_marks_gets_the_settings_at_its_end(loaded: Loaded, tmp_path: Path) -> None:
    (tmp_path / PAGE).write_text("# Ours\n")
    made = operations_files(tmp_path, index_of(loaded))[PAGE]
    assert made.startswith(f"# Ours\n\n{BEGIN}\n\n### Storage\n")
    assert made.endswith(f"{END}\n")


# --- The example configurations -------------------------------------------------------------------


@pytest.mark.parametrize("workload", WORKLOADS)
def test_an_example_is_what_tune_makes_of_an_empty_file(
    operations: Path, workload: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGRAM_DIAGNOSE_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", "")
    empty = tmp_path / "empty.toml"
    empty.touch()
    command = ["tune", "--size", "--workload", workload, *OPTIONS.split(), "--dialect", "guide", "--no-local",
               "--config", str(empty)]  # fmt: skip
    assert code_of(*command, "--format", "json") == 0
    changes = [one for group in json.loads(capsys.readouterr().out)["groups"] for one in group["changes"]]
    example = tomllib.loads((operations / "configurations" / f"{workload}.toml").read_text(encoding="utf-8"))
    advised = [one for one in changes if one["key"] is not None]
    assert set(flat(example)) == {one["key"] for one in advised}
    for one in advised:
        written = tomllib.loads(f"value = {one['write'].partition(' = ')[2]}")["value"]
        assert flat(example)[one["key"]] == (pytest.approx(written) if isinstance(written, float) else written)
    assert code_of(*command, "--apply") == 0
    assert tomllib.loads(empty.read_text(encoding="utf-8")) == example


def flat(table: dict[str, Any], above: str = "") -> dict[str, Any]:
    """A document by its dotted keys."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{above}{key}.") if isinstance(value, dict) else {above + key: value}
    return found


@pytest.mark.parametrize("workload", WORKLOADS)
def test_every_key_of_an_example_says_what_it_is_why_and_what_it_costs(loaded: Loaded, workload: str) -> None:
    lines = example_configurations(loaded)[f"{workload}.toml"].splitlines()
    keys = [number for number, line in enumerate(lines) if re.match(r"[\w-]+ = ", line)]
    assert len(keys) > 40
    for number in keys:
        start = next(at for at in range(number, 0, -1) if not lines[at - 1].startswith("#"))
        comment = "\n".join(lines[start:number])
        assert re.match(r"# [A-Z]", comment)
        assert "#   Why: " in comment
        assert "#   Cost: " in comment


def test_the_table_of_workloads_says_what_the_examples_hold(page: str, operations: Path) -> None:
    examples = {workload: tomllib.loads((operations / "configurations" / f"{workload}.toml").read_text())
                for workload in WORKLOADS}  # fmt: skip
    head = f"| | {' | '.join(WORKLOADS)} |"
    assert head in page
    rows = [[cell.strip() for cell in line.strip("|").split("|")]
            for line in page.partition(head)[2].split("\n\n")[0].splitlines()[2:]]  # fmt: skip
    by_title = {re.sub("`", "", cells[0]): cells[1:] for cells in rows}
    for at, workload in enumerate(WORKLOADS):
        index, log = examples[workload]["hnsw_index"], examples[workload]["wal"]
        pools, storage = examples[workload]["thread_pools"], examples[workload]["storage"]
        assert [cells[at] for cells in by_title.values()] == [
            f"{index['M']}, {index['ef_construction']}, {index['ef_search']}",
            f"{log['flush_interval_ms']}, {log['buffer_size_mb']}",
            f"{pools['recall_workers']}, {pools['store_workers']}",
            str(storage["cold_tier_compression_level"]),
            str(examples[workload]["consolidation"]["interval_seconds"]),
        ]


# --- The dashboard queries ------------------------------------------------------------------------


def queries(page: str) -> list[str]:
    """The queries of the page."""
    return [text.strip() for text in re.findall(r"```promql\n(.*?)```", page, re.DOTALL)]


def test_every_query_of_the_page_is_promql(page: str) -> None:
    assert len(queries(page)) > 12
    for query in [*queries(page), *re.findall(r"`(sum\(.+?)`", page)]:
        promql_parser.parse(query)


def test_every_query_aggregates_inside_and_none_takes_a_quantile_of_counters(page: str) -> None:
    for query in queries(page):
        assert not re.search(r"\)\s*by\s*\(", query), query
        assert "histogram_quantile" not in query or re.search(r"sum by \(le[^)]*\) \(rate\(", query), query


def test_the_queries_of_the_released_server_take_no_rates(page: str) -> None:
    released = queries(page.partition(RELEASED)[2])
    assert len(released) > 4
    assert [query for query in released if re.search(r"rate\(|increase\(|histogram_quantile", query)] == []


def test_every_metric_of_the_queries_is_one_a_dialect_has(page: str, root: Path) -> None:
    known = "\n".join(path.read_text(encoding="utf-8") for path in (root / "rules" / "dialects").glob("*.yaml"))
    named = {name for query in queries(page) for name in METRIC.findall(re.sub(r"by \([^)]*\)", "", query))}
    metrics = {name for name in named if name.startswith(("engram_", "activation_", "node_"))}
    assert len(metrics) > 15
    assert {name for name in metrics if not re.search(rf"\b{name}\b", known)} == set()


@pytest.mark.server
@pytest.mark.slow
def test_a_real_prometheus_takes_every_query(page: str) -> None:
    with folder_on_disk() as folder, prometheus(folder / "prometheus", {}) as scraper:
        for query in queries(page):
            scraper.value(query)  # raises where Prometheus answers 400
