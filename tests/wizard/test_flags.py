"""The answers as options."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from engram_diagnose.wizard.flags import answer_options, facts_of_options


@click.command()
@answer_options
def stating(**values: Any) -> None:
    for fact in facts_of_options(values):
        click.echo(f"{fact.name} {fact.value}")


def test_each_option_states_its_facts() -> None:
    found = CliRunner().invoke(stating, ["--workload", "balanced", "--cores", "2.5", "--memory", "1GiB", "--storage",
                                         "ssd", "--numa-nodes", "2", "--simd", "neon"])  # fmt: skip
    assert found.exit_code == 0
    assert found.output.splitlines() == [
        "workload.stated_class balanced",
        "host.cores (3.0, 3.0)",
        "cpu.available_cores (2.5, 2.5)",
        "mem.total (1073741824.0, 1073741824.0)",
        "cgroup.mem_limit (1073741824.0, 1073741824.0)",
        "storage.stated_kind ssd",
        "numa.nodes (2.0, 2.0)",
        "simd.isa neon",
        "simd.available (1.0, 1.0)",
    ]


def test_no_option_states_nothing() -> None:
    assert CliRunner().invoke(stating).output == ""


def test_variables_answer_too() -> None:
    found = CliRunner().invoke(stating, env={"ENGRAM_DIAGNOSE_NUMA_NODES": "2", "ENGRAM_DIAGNOSE_CORES": "8"})
    assert found.output.splitlines()[-1] == "numa.nodes (2.0, 2.0)"


@pytest.mark.parametrize(("option", "value", "message"), [
    ("--cores", "many", "write 24, or 2.5"),
    ("--memory", "64", "write it with its unit"),
    ("--numa-nodes", "1.5", "no whole number of NUMA nodes"),
    ("--workload", "reads", "'read-heavy'"),
    ("--storage", "nvme", "'ssd'"),
    ("--simd", "mmx", "'avx2'"),
])  # fmt: skip
def test_a_wrong_value_is_wrong_usage_and_says_what_is_right(option: str, value: str, message: str) -> None:
    found = CliRunner().invoke(stating, [option, value])
    assert found.exit_code == 2
    assert message in " ".join(found.output.split())
