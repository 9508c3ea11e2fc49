"""The pages on finding what is slow: every command works, every query is PromQL, every figure is the rules' own."""

import re
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import promql_parser
import pytest
from stage import Planted, Scraper, folder_on_disk, planted, prometheus
from transcript import Shell, Step, fences, shows, steps

from engram_diagnose.cli import COMMANDS
from engram_diagnose.engine.diagnosis import expert
from engram_diagnose.reference.block import to_text
from engram_diagnose.reference.index import Index, index_of
from engram_diagnose.reference.rule_entry import rule_blocks
from engram_diagnose.render.slow_queries import render_slow_queries
from engram_diagnose.rulebase import load_rules
from engram_diagnose.slow_queries.analysis import analyse

sys.path.append(str(Path(__file__).parent.parent / "slow_queries"))
from made_latencies import Made, bundle_of, gauge, steady

SLOW, CHECKLIST = "howto/identify-slow-queries.md", "howto/performance-debugging-checklist.md"
PAGES = (SLOW, CHECKLIST)
MAY_LACK = ("curl", "jq")
"""What a reader has and a test machine may not."""
ENOUGH = 20
"""Samples, at one a second, of which a look-back has something to say."""
ANSWERS = {0, 1, 4}
"""Done, findings, and nothing could be told: what a command may say of a server that was only just started."""
RULE = re.compile(r"\[[a-z0-9.-]+\]\(\.\./reference/rules\.md#([\w-]+)\)")


def text_of(root: Path, page: str) -> str:
    return (root / "docs" / page).read_text(encoding="utf-8")


def lacks(step: Step) -> bool:
    return any(shutil.which(name) is None for name in MAY_LACK if re.search(rf"\b{name} ", step.commands))


@pytest.fixture(scope="module")
def index() -> Index:
    """The rule base, seen from its facts."""
    return index_of(load_rules())


# --- The commands ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_works_in_order_and_prints_what_the_page_shows(root: Path, page: str, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    found = [step for step in steps(text_of(root, page)) if not step.needs_server]
    assert len(found) > 4
    for step in found:
        code, out = shell.run(step.commands)
        assert code == step.code, f"line {step.line}: {step.commands}\n{out}"
        assert step.shown is None or shows(step.shown, out), f"line {step.line}: {step.commands}\n{out}"


@dataclass(frozen=True)
class Stage:
    """A slow server on this host, and a Prometheus that scrapes it."""

    server: Planted
    scraper: Scraper

    def put(self, commands: str) -> str:
        """Commands of a page, for this server, which has only just begun to run."""
        named = re.sub(r"--at \S+Z", "--at 5s", commands.replace("http://prometheus.example:9090", self.scraper.url))
        return named.replace("engram-7:7432", self.server.instance).replace("--port 7432", f"--port {self.server.port}")


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """A server of the guide's dialect, once Prometheus has something of it."""
    with (
        folder_on_disk() as folder,
        planted(folder / "server") as server,
        prometheus(folder / "prometheus", {server.instance: server.instance}) as scraper,
    ):
        scraper.wait_for("engram_wal_bytes_written_total", instance=server.instance, samples=ENOUGH)
        yield Stage(server, scraper)


@pytest.mark.server
@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_command_for_a_server_works_on_one(root: Path, page: str, stage: Stage, tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    prepared(shell, stage)
    found = [step for step in steps(text_of(root, page)) if step.needs_server]
    assert len(found) > 2
    for step in found:
        if lacks(step):
            continue
        for line in lines(step.commands):
            code, out = shell.run(stage.put(line))
            assert code in ANSWERS, f"line {step.line}: {line}\n{out}"
            assert "Traceback" not in out


def lines(commands: str) -> list[str]:
    """The commands of a block one by one, since each may end with findings."""
    return [line for line in commands.replace("\\\n", " ").splitlines() if line.strip()]


def prepared(shell: Shell, stage: Stage) -> None:
    """The example that pages unpack, an `ssh` that stays here, and the server's own configuration."""
    code, out = shell.run("engram-diagnose demo --save .\n")
    assert code == 0, out
    ssh = shell.folder / ".tools" / "ssh"
    ssh.write_text('#!/bin/sh\nshift\nexec "$@"\n')
    ssh.chmod(0o755)
    shutil.copy(stage.server.config, shell.folder / "engram.toml")


@pytest.mark.parametrize("page", PAGES)
def test_every_command_that_a_page_names_is_one(root: Path, page: str) -> None:
    named = set(re.findall(r"engram-diagnose ([a-z][a-z-]+)", text_of(root, page)))
    assert len(named) > 3
    assert named - set(COMMANDS) == set()


# --- The queries ----------------------------------------------------------------------------------


def queries(page: str) -> list[str]:
    """The queries of a page: blocks of PromQL, and those that its commands send."""
    blocks = [fence.text for fence in fences(page) if fence.language == "promql"]
    return [*blocks, *re.findall(r"--data-urlencode 'query=([^']+)'", page)]


def test_every_query_of_the_page_is_promql_of_rates_aggregated_inside(root: Path) -> None:
    found = queries(text_of(root, SLOW))
    assert len(found) > 9
    for query in found:
        promql_parser.parse(query)
        assert not re.search(r"\)\s*by\s*\(", query), query
        assert query.count("histogram_quantile(") == len(re.findall(r"sum by \(le[^)]*\) \(rate\(", query)), query


def test_every_metric_of_the_queries_is_one_that_the_guides_dialect_has(root: Path) -> None:
    known = (root / "rules" / "dialects" / "guide.yaml").read_text(encoding="utf-8")
    named = {name for query in queries(text_of(root, SLOW)) for name in re.findall(r"\bengram_\w+", query)}
    assert len(named) > 5
    assert {name for name in named if name not in known} == set()


@pytest.mark.server
@pytest.mark.slow
def test_a_real_prometheus_takes_every_query(root: Path, stage: Stage) -> None:
    for query in queries(text_of(root, SLOW)):
        stage.scraper.value(query)  # raises where Prometheus answers 400


# --- What they say --------------------------------------------------------------------------------


def patterned() -> str:
    """What is printed of slowness with every pattern: it comes with the load, in large spaces, in recalls alone."""
    spaces = {"a": 0.003, "b": 0.015, "c": 0.03, "d": 0.07, "e": 0.3}
    recalls = [Made("recall", space, steady(latency)) for space, latency in spaces.items()]
    recalls[2] = Made("recall", "c", lambda minute: 0.03 if 40 < minute <= 50 else 0.002,
                      lambda minute: 300.0 if 40 < minute <= 50 else 100.0 + minute)  # fmt: skip
    recalls[3] = Made("recall", "d", lambda minute: 0.004 * (1 + minute / 4), lambda minute: 100 + 40 * minute)
    stores = [Made("store", space) for space in spaces]
    counts = [gauge("engram_graph_nodes", 10.0**position, memory_space=space) for position, space in enumerate(spaces)]
    document = analyse(bundle_of(*recalls, *stores, more=tuple(counts)), expert(load_rules()))
    return " ".join(render_slow_queries(document).split())


def test_the_page_shows_each_pattern_in_the_tools_own_words(root: Path) -> None:
    table = text_of(root, SLOW).partition("| Pattern |")[2].partition("\n\n")[0]
    shown = re.findall(r"`(time|load|size|operation)` … `([^`]+)`", table)
    assert [name for name, _ in shown] == ["time", "load", "size", "operation"]
    printed = patterned()
    for name, words in shown:
        wanted = ".*".join(re.escape(part) for part in f"{name} {words}".split("…"))
        assert re.search(wanted, printed), f"{name}: {words}\n{printed}"


def test_the_options_that_the_page_explains_have_the_defaults_that_it_states(root: Path, index: Index) -> None:
    from engram_diagnose.engine.language.limits_reader import read_limits

    limits = read_limits(index.loaded.texts, "slow-queries")
    assert (limits["over"], limits["since"], limits["window"], limits["longest"]) == (0.01, 3600, 300, 86400)
    page = text_of(root, SLOW)
    assert "| 10 ms, the guide's target for a recall |" in page
    assert "| 1 h; from 5 min to 24 h |" in page


def rows(page: str) -> list[tuple[str, str, str]]:
    """The rows of the checklist's tables: facts, what to look for, rules."""
    return [(cells[0], cells[1], cells[2]) for line in page.splitlines()
            if line.startswith("| ") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
            and "`" in cells[0]]  # fmt: skip


def test_every_row_of_the_checklist_names_a_rule_that_reads_the_fact_with_that_limit(root: Path, index: Index) -> None:
    found = rows(text_of(root, CHECKLIST))
    assert len(found) > 25
    anchors = {re.sub(r"[^\w\- ]", "", name.lower()): name for name in index.loaded.rules.rules}
    for facts, limit, rules in found:
        for anchor in RULE.findall(rules):
            rule = index.loaded.rules.rules[anchors[anchor]]
            said = to_text(rule_blocks(rule, index, level=3, place=()), width=10_000)
            for fact in re.findall(r"`([a-z_.0-9]+)`", facts):
                assert rule.id in index.readers.get(fact, ()) or fact in said, f"{rule.id} does not read {fact}"
            for figure in re.findall(r"\d[\d,.]*(?: ?(?:%|ms|MiB|/s))?", limit):
                assert figure in said or "target" in limit, f"{rule.id} knows no {figure}"


def test_the_checklist_stands_in_the_guides_order(root: Path) -> None:
    headings = re.findall(r"^## \d\. (.+)$", text_of(root, CHECKLIST), re.MULTILINE)
    assert headings == ["System resources", "Cache efficiency", "Memory access patterns", "Application metrics",
                        "Thread behaviour"]  # fmt: skip


def test_every_root_cause_of_the_guide_has_a_rule_a_fix_and_a_verification(root: Path, index: Index) -> None:
    table = text_of(root, SLOW).partition("| Root cause |")[2].partition("\n\n")[0]
    found = {cells[0]: cells[1:] for line in table.splitlines()[2:]
             if (cells := [cell.strip() for cell in line.strip("|").split("|")])}  # fmt: skip
    assert list(found) == ["Low cache hits", "Missing indices", "I/O bottleneck", "Lock contention"]
    keys = {key.key for key in index.loaded.catalogue.dialects["guide"].keys.values()}
    for rules, fix, verification in found.values():
        assert RULE.search(rules)
        assert set(re.findall(r"--only ([\w.]+)", fix)) <= keys
        assert set(re.findall(r"`([a-z_]+\.[a-z_.]+)`", verification)) <= set(index.loaded.catalogue.facts)
