"""The page on baselines: its figures are those of the rule base, and pass and fail are what the command does."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from engram_diagnose.bench.document import STATES, State, Verdict
from engram_diagnose.cli.bench import command
from engram_diagnose.engine.facts.fact import Fact, Reason, Status, Unknown
from engram_diagnose.engine.facts.scope import scope_of
from engram_diagnose.reference.baselines_page import BEGIN, NOT_YET, PAGE, baselines_page
from engram_diagnose.reference.files import read_file
from engram_diagnose.reference.index import Index, index_of
from engram_diagnose.reference.marked import END
from engram_diagnose.reference.measured_baselines import (
    FILE,
    SCHEMA,
    entries_of_facts,
    measured_document,
    parse_measured,
)
from engram_diagnose.rulebase import load_rules

sys.path.append(str(Path(__file__).parents[1] / "bench"))
from made_report import operation, report, run

Json = dict[str, Any]


@pytest.fixture(scope="module")
def index() -> Index:
    return index_of(load_rules((), thorough=False))


@pytest.fixture(scope="module")
def page(root: Path) -> str:
    return (root / "docs" / "reference" / PAGE).read_text(encoding="utf-8")


def made(index: Index, figures: list[Json]) -> str:
    document = {"schema": SCHEMA, "what": "20,000 memories", "host": "4 CPUs", "when": "2026-11-22", "figures": figures}
    return baselines_page("", index, json.dumps(document))


def row(text: str, figure: str) -> list[str]:
    """The cells behind a figure's first row."""
    (line,) = [line for line in text.splitlines() if line.startswith("|") and f"{figure} |" in line][:1]
    return [cell.strip() for cell in line.split("|")[2:-1]]


# --- Made from the rule base ----------------------------------------------------------------------


def test_the_page_is_fresh(page: str, root: Path, index: Index) -> None:
    measured = read_file(root / "docs" / "reference" / FILE)
    assert baselines_page(page, index, measured) == page, "run: engram-diagnose rules docs docs/reference"


def test_every_target_stands_on_the_page_with_how_it_is_measured(page: str, index: Index) -> None:
    rows = [line for line in page.splitlines() if line.startswith("| [") and line.count("|") == 8]
    targets = index.loaded.catalogue.targets
    assert len(rows) == len(targets)
    for one in targets:
        (found,) = [line for line in rows if line.startswith(f"| [{one.name}](")
                    and line.partition(")")[2].startswith(f"{one.scope if one.scope.labels else ''} |")]  # fmt: skip
        assert found.split("|")[-2].strip()


@pytest.mark.parametrize(
    ("figure", "floor", "target", "baseline"),
    [
        ("{operation=recall}", "", "≤ 5 ms", "≤ 2 ms"),
        ("[ops.rate](facts.md#opsrate)", "", "≥ 10,000/s", "≥ 18,000/s"),
        ("[ops.burst_rate](facts.md#opsburst_rate)", "", "≥ 50,000/s", "≥ 50,000/s"),
        ("[data.overhead](facts.md#dataoverhead)", "", "≤ 2", ""),
    ],
)
def test_the_sets_are_those_of_the_guide(page: str, figure: str, floor: str, target: str, baseline: str) -> None:
    assert row(page, figure)[:3] == [floor, target, baseline]


@pytest.mark.parametrize(
    "said",
    [
        r"\> 70 % | \> 90 %",
        r"\> 80 % | \> 95 %",
        r"\> 500/s | \> 1,000/s",
        r"\> 125 MB/s | \> 250 MB/s",
        "`2 ms + (500 µs * log10(max(1, index.nodes)))`",
        "`30,000/s / (1 + (index.nodes / 1,000,000))`",
        "rises by more than 20 % of the baseline",
        "falls by more than 15 % of the baseline",
        "is below 70 %",
        "is above 2",
        "index.nodes is below 100,000",
    ],
)
def test_levels_sizes_and_regressions_are_those_of_the_rules(page: str, said: str) -> None:
    assert said in page.partition(BEGIN)[2].partition(END)[0]


def test_what_is_written_by_hand_stays(page: str, index: Index, root: Path) -> None:
    before, _, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    measured = read_file(root / "docs" / "reference" / FILE)
    assert baselines_page(f"{before}{BEGIN}\nold\n{END}{after}", index, measured) == page


# --- Pass and fail --------------------------------------------------------------------------------


def test_pass_and_fail_are_defined_for_every_state_and_exit_code(page: str) -> None:
    defined = page.partition("## Pass and fail")[2].partition("## How it is measured")[0]
    for state in (*STATES, "partly", "untested"):
        assert f"**{state}**" in defined, state
    from engram_diagnose.cli.bench import _CODES
    from engram_diagnose.cli.output import NOT_MEASURED

    for state in ("pass", "partly", "fail", "invalid", "untested"):
        (line,) = [line for line in defined.splitlines() if line.startswith(f"| **{state}** |")
                   and re.search(r"\| \d[^|]*\|$", line)]  # fmt: skip
        assert line.split("|")[-2].strip()[0] == str(_CODES.get(state, NOT_MEASURED))


def test_every_option_that_the_pages_name_is_there(root: Path, page: str) -> None:
    howto = (root / "docs" / "howto" / "benchmark-a-deployment.md").read_text(encoding="utf-8")
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    named = set(re.findall(r"--[a-z][\w-]+", howto + page)) - {"--port", "--targets", "--play", "--nthreads"}  # of others
    assert named - known == set()


# --- Measured on the lab --------------------------------------------------------------------------


def test_what_was_not_measured_says_so(index: Index) -> None:
    text = baselines_page("", index, None)
    assert text.count(NOT_YET) == len(index.loaded.catalogue.targets)
    assert "Nothing was measured on the lab yet" in text


def test_a_measured_figure_stands_beside_its_targets_with_its_load_and_the_host_below(index: Index) -> None:
    text = made(index, [{"on": "ops.rate", "scope": {}, "value": 6400.0, "note": "the knee"}])
    assert row(text, "[ops.rate](facts.md#opsrate)")[3] == "6,400/s, the knee"
    assert "Measured on the lab: 20,000 memories; on 4 CPUs; 2026-11-22." in text
    assert "no release of Engram" in text


def test_figures_come_from_valid_runs_of_the_load_that_the_sets_mean() -> None:
    alone = run(2, "recall", operations={"recall": operation(0.001)})
    alone["workload"]["mix"] = {"recall": 1.0}
    bad = run(3, "mixed", reasons=["client-cpu"], operations={"recall": operation(9.0)})
    document = measured_document([report(runs=(run(1, "mixed"), alone, bad))], what="w", host="h")
    found = parse_measured(json.dumps(document))
    recall = scope_of({"operation": "recall"})
    p99 = found.figure("op.latency.p99", recall)
    assert p99 is not None
    assert p99.value == pytest.approx(0.0356, rel=0.01)
    assert p99.note == "at 400/s offered"
    rate = found.figure("op.rate", recall)
    assert rate is not None
    assert rate.value == 200.0
    assert found.figure("op.rate", scope_of({"operation": "store"})) is None


def test_facts_of_the_server_fill_the_rows_that_no_load_of_bench_has(index: Index) -> None:
    targets = index.loaded.catalogue.targets
    several = scope_of({"operation": "activation", "hops": "multi", "space": "default"})
    facts = [
        Fact("op.latency.p99", (0.018, 0.020), scope=several),
        Fact("op.latency.p99", (0.001, 0.002), scope=scope_of({"operation": "activation", "hops": "single"})),
        Fact("disk.iops", (300.0, 300.0), scope=scope_of({"device": "nvme0n1"})),
        Fact("disk.iops", (2.0, 2.0), scope=scope_of({"device": "nvme1n1"})),
        Fact("cpu.busy", None, Status.UNKNOWN, unknown=Unknown(Reason.PTRACE_DENIED)),
        Fact("index.coverage", (0.97, 1.0)),
        Fact("wal.bytes_written", (1.0, 1.0)),
    ]
    entries = entries_of_facts(facts, targets, note="440 activations a second")
    measured = parse_measured(json.dumps(measured_document([], what="w", host="h", others=entries)))
    found = {(one.on, str(one.scope)): one.value for one in measured.figures}
    assert found == {
        ("op.latency.p99", str(scope_of({"operation": "activation"}))): 0.020,
        ("op.latency.p99", str(scope_of({"operation": "activation", "hops": "single"}))): 0.002,
        ("index.coverage", ""): 0.97,
        ("disk.iops", ""): 300.0,
    }


def test_of_the_rate_of_one_operation_the_highest_is_told_whatever_report_it_is_of() -> None:
    def alone(rate: float) -> Json:
        return run(1, "recall", operations={"recall": operation(0.001) | {"rate": rate}}) | {
            "workload": run()["workload"] | {"name": "recall", "mix": {"recall": 1.0}}
        }

    for rates in ((7300.0, 2000.0), (2000.0, 7300.0)):
        found = measured_document([report(runs=(alone(rate),)) for rate in rates], what="w", host="h")["figures"]
        assert [one["value"] for one in found if one["on"] == "op.rate"] == [7300.0]


def test_so_many_clients_are_a_figure_when_all_were_served() -> None:
    def of(state: State) -> Json:
        one = Verdict("recall", "client.connections", {}, "target", "higher", 1000.0, 1000.0, state)
        return measured_document([report(one, runs=(run(1, "recall"),))], what="w", host="h")

    assert [one["value"] for one in of("pass")["figures"] if one["on"] == "client.connections"] == [1000.0]
    assert [one for one in of("invalid")["figures"] if one["on"] == "client.connections"] == []


ENDLESS = {"on": "x", "scope": {}, "value": "NaN", "note": ""}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "{",
        '{"schema": "other"}',
        "[" * 50_000,
        json.dumps({"schema": SCHEMA, "what": "", "host": "", "when": "", "figures": [ENDLESS]}),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(text: str) -> None:
    with pytest.raises(ValueError, match=FILE):
        parse_measured(text)


def test_a_hostile_note_stays_in_its_cell(index: Index) -> None:
    text = made(index, [{"on": "ops.rate", "scope": {}, "value": 1.0, "note": "a | b <script> \x1b[31m"}])
    (line,) = [line for line in text.splitlines() if "script" in line]
    assert "<script" not in line
    assert "\x1b" not in line
    assert len(re.findall(r"(?<!\\)\|", line)) == 8
