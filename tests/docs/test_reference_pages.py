"""The written pages of the reference say what is there: rules, options, exit codes, the bundle's form."""

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from engram_diagnose.cli import COMMANDS, group
from engram_diagnose.cli.output import CLEAN, FINDINGS, NOT_COLLECTED, NOT_MEASURED, USAGE
from engram_diagnose.collectors.bundle import encode_bundle, read_bundle
from engram_diagnose.collectors.bundle_format import LIMITS, Bundle
from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.rulebase import load_rules

WRITTEN = ("knowledge-map.md", "scripts.md")
RULE_LINK = re.compile(r"\[([a-z0-9]+\.[a-z0-9-]+)\]\(rules\.md#([\w-]+)\)")

# What the guide has, by the words of the page: each needs a rule.
ITEMS = (
    "Pattern 1, cache-line bouncing",
    "Pattern 2, NUMA memory stalls",
    "Pattern 3, SIMD underutilisation",
    "Pattern 4, WAL write amplification",
    "Pattern 5, lock contention in the hot tier",
    "Cache misses above 10 %",
    "Memory bandwidth above 80 % of what is possible",
    "NUMA remote accesses",
    "Lock contention above 1 ms on average",
    "SIMD utilisation below 50 %",
    "High recall latency",
    "Hot tier too small",
    "Poor index configuration",
    "Cache thrash",
    "Memory bandwidth saturation",
    "Lock contention, busy CPUs and low throughput",
    "Slow store",
    "Activation: cache hit ratio",
    "Recall: HNSW parameters and connectivity",
    "Store: slow WAL flushes",
    "Consolidation",
    "Pattern completion",
    "HNSW matrix",
    "Lock-free settings",
    "Traversal depth and visit budgets",
    "NUMA settings",
    "SIMD settings and batch range",
    "Log segments and cold tier compression",
    "Consolidation and background work",
    "Monitoring",
    "Workload classification",
    "Hot to warm: under 10 accesses an hour",
    "Warm to cold: under 1 access a day",
    "Cold to warm: over 5 accesses an hour",
    "Warm to hot: over 20 accesses an hour",
    "CPU usage",
    "Memory usage",
    "Disk IOPS",
    "Network",
    "Latency by number of nodes",
    "Throughput by number of nodes",
    "P99 more than 20 % above the baseline",
    "Throughput more than 15 % below the baseline",
    "Cache hit rate below 70 %",
    "Memory above twice the data",
    "Surge, worse in peak hours",
    "One noisy memory space",
    "Retry storm",
    "Intel Xeon",
    "AMD EPYC",
    "ARM Graviton",
    "CPU quota throttling",
    "Run-queue starvation",
    "Swap",
    "Steal",
    "Disk saturation",
    "Transparent huge pages off",
    "Memory limit",
    "Metric updates dropped",
    "Metric absent",
    "Dialect mismatch",
    "Configuration keys the server ignores",
    "1. System resources",
    "2. Cache efficiency",
    "3. Memory access patterns",
    "4. Application metrics",
    "5. Thread behaviour",
    "Low cache hits",
    "Missing indices",
    "I/O bottleneck",
    "Example 1, cache misses",
    "Example 2, NUMA",
    "Example 3, SIMD",
)


@pytest.fixture(scope="module")
def reference(root: Path) -> Path:
    """The folder of the pages."""
    return root / "docs" / "reference"


def rows(page: Path) -> dict[str, str]:
    """The rows of a page's tables by their first cell; rows of one name are put together."""
    found: dict[str, str] = {}
    for first, rest in re.findall(r"^\| (.+?) \| (.+) \|$", page.read_text(encoding="utf-8"), re.MULTILINE):
        found[first] = found.get(first, "") + rest
    return found


# --- The knowledge map ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITTEN)
def test_every_rule_that_a_page_names_exists(reference: Path, name: str) -> None:
    named = {rule for rule, _ in RULE_LINK.findall((reference / name).read_text(encoding="utf-8"))}
    assert len(named) > 20
    assert named - set(load_rules().rules.rules) == set()


@pytest.mark.parametrize("item", ITEMS)
def test_every_item_of_the_guide_has_a_rule(reference: Path, item: str) -> None:
    assert RULE_LINK.search(rows(reference / "knowledge-map.md")[item])


def test_every_level_of_the_resource_table_has_a_rule(reference: Path) -> None:
    table = rows(reference / "knowledge-map.md")
    for item in ("CPU usage", "Memory usage", "Disk IOPS", "Network"):
        warning, critical = table[item].split(" | ")[:2]
        assert "-critical](" not in warning
        assert "-critical](" in critical


def test_no_symptom_and_no_cause_is_missing_from_the_map(reference: Path) -> None:
    named = {rule for rule, _ in RULE_LINK.findall((reference / "knowledge-map.md").read_text(encoding="utf-8"))}
    rules = {rule.id for rule in load_rules().rules.rules.values() if rule.kind in ("symptom", "cause")}
    assert rules - named == set()


def test_facts_that_the_scripts_page_names_exist(reference: Path) -> None:
    text = (reference / "scripts.md").read_text(encoding="utf-8")
    catalogue = load_rules().catalogue
    groups = {name.partition(".")[0] for name in catalogue.facts}
    named = {name for name in re.findall(r"`([a-z]+\.[a-z0-9_.]+)`", text) if name.partition(".")[0] in groups}
    assert len(named) > 20
    assert named - set(catalogue.facts) == set()


# --- Options --------------------------------------------------------------------------------------


def options(command: click.Command) -> Iterator[click.Option]:
    """The options of a command and of those below it."""
    yield from (parameter for parameter in command.params if isinstance(parameter, click.Option))
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from options(below)


def test_the_page_lists_exactly_the_variables_that_stand_for_options(reference: Path) -> None:
    text = (reference / "exit-codes-and-environment.md").read_text(encoding="utf-8")
    there = {(str(option.envvar), option.opts[0]) for option in options(group) if option.envvar}
    assert set(re.findall(r"^\| `(ENGRAM_DIAGNOSE_\w+)` \| `(--[\w-]+)` \|", text, re.MULTILINE)) == there


def test_every_command_and_option_in_an_example_exists(root: Path) -> None:
    known = {name for option in options(group) for name in (*option.opts, *option.secondary_opts)} | {"--help"}
    pages = [root / "README.md", *sorted((root / "docs").rglob("*.md"))]
    for page in pages:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                for called in re.findall(r"engram-diagnose( [^#|>]*)", line.partition(" # ")[0]):
                    words = called.split()
                    assert not words or words[0].startswith("-") or words[0] in COMMANDS, f"{page}: {line}"
                    assert {word for word in words if word.startswith("--")} - known == set(), f"{page}: {line}"


@pytest.mark.parametrize("code", [CLEAN, FINDINGS, USAGE, NOT_COLLECTED, NOT_MEASURED])
def test_every_exit_code_is_explained(reference: Path, code: int) -> None:
    assert str(code) in rows(reference / "exit-codes-and-environment.md")


def test_the_settings_file_of_the_page_is_accepted(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (reference / "exit-codes-and-environment.md").read_text(encoding="utf-8")
    match = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert match is not None
    file = tmp_path / "config.toml"
    file.write_text(match[1])
    monkeypatch.setenv("ENGRAM_DIAGNOSE_SETTINGS", str(file))
    with pytest.raises(SystemExit) as left:
        group.main(["rules", "--help"], prog_name="engram-diagnose")
    assert left.value.code == 0


# --- The bundle -----------------------------------------------------------------------------------


def test_the_bundle_of_the_page_has_the_form_of_real_ones(reference: Path) -> None:
    text = (reference / "bundle.md").read_text(encoding="utf-8")
    manifest, answer = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    end = json.dumps({"end": 1, "sha256": ""})
    real = read_bundle(encode_bundle(Bundle(0.0, answers=(Answer("host", "x", 0.0, "h", "b", "", ""),))))
    lines = encode_bundle_lines(real)
    assert [set(json.loads(line)) for line in lines] == [set(manifest), set(answer), set(json.loads(end))]
    assert f"{LIMITS.compressed_bytes >> 20} MiB compressed, {LIMITS.bytes >> 20} MiB unpacked" in text
    assert f"{LIMITS.records:,} answers, {LIMITS.nesting} levels" in text


def encode_bundle_lines(bundle: Bundle) -> list[str]:
    """The lines of a bundle's file."""
    return gzip.decompress(encode_bundle(bundle)).decode().splitlines()
