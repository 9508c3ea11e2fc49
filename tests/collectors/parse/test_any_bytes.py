"""Any bytes to any parser raise nothing but our errors, and become unknown facts."""

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.capture.mounts import parse_mounts
from engram_diagnose.collectors.capture.process import sum_numa_maps
from engram_diagnose.collectors.capture.sockets import parse_listeners
from engram_diagnose.collectors.parse import (
    cgroup,
    cpu,
    disk,
    host,
    lines,
    memory,
    network,
    numa,
    pressure,
    process,
    smbios,
    threads,
)
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.endpoints import facts_of_endpoints, facts_of_health
from engram_diagnose.collectors.parse.engram_json import (
    facts_of_engram_json,
    parse_engram_metrics,
    parse_selector,
    split_labels,
)
from engram_diagnose.collectors.parse.figures import UnparsedError
from engram_diagnose.collectors.parse.json_text import parse_json
from engram_diagnose.collectors.parse.local import LOCAL_FACTS, facts_of_local
from engram_diagnose.collectors.parse.toml_text import line_of_key, parse_toml
from engram_diagnose.engine.facts.catalogue import Catalogue, ConfigKey, Dialect, Source
from engram_diagnose.engine.facts.unit import UNITS

PARSERS: list[Callable[[str], object]] = [
    cgroup.parse_levels,
    cgroup.cpu_quota,
    cgroup.memory_limit,
    cpu.parse_stat,
    cpu.node_cpus,
    disk.parse_diskstats,
    disk.parse_disks,
    host.parse_cpuinfo,
    host.parse_cache_size,
    lines.parse_tree,
    lines.parse_sizes,
    lines.parse_counts,
    lines.parse_list,
    lines.bracketed,
    network.parse_net_dev,
    network.parse_snmp,
    numa.node_count,
    numa.parse_node_bytes,
    pressure.parse_pressure,
    process.parse_process_stat,
    process.allowed_cpus,
    process.clock_ticks,
    process.uptime_seconds,
    smbios.parse_memory_devices,
    threads.coverage,
    threads.parse_tasks,
    threads.parse_states,
    parse_engram_metrics,
    parse_selector,
    split_labels,
    parse_json,
    parse_toml,
    parse_mounts,
    parse_listeners,
    sum_numa_maps,
]

DIALECT = Dialect(
    name="test",
    title="",
    detect=(),
    metrics_path="/metrics",
    metrics_format="windowed-json",
    config_files=(),
    sources={
        "a": Source("op.latency.p99", json="store_duration_seconds.p99"),
        "b": Source("tier.memories", http="/m#tier_counts.*"),
    },
    keys={"w": ConfigKey("config.wal.buffer_size", "wal.buffer_size_mb", UNITS["MiB"])},
)
RECIPES = [
    recipe
    for group in (
        cgroup.CGROUP,
        cpu.CPU,
        cpu.PROCESS_CPU,
        disk.DISK,
        host.HOST,
        memory.MEMORY,
        memory.PROCESS_MEMORY,
        network.NETWORK,
        numa.NUMA,
        pressure.PRESSURE,
        process.PROCESS,
        smbios.SMBIOS,
        threads.SCHEDULING,
    )
    for recipe in group
]
NAMES = sorted({n for r in RECIPES for n in (*r.pairs, *r.texts, *r.optional)} | {"cgroup/pressure"})

FIGURES = st.sampled_from(["0", "-1", "7", "99999999999999999999999", "1.5", "max", "NaN", "x"])
WORDS = st.sampled_from(
    ["cpu", "cpu0", "some", "full", "total=", "MemTotal:", "kB", "nr_periods", "Tcp:", "eth0:", "/",
     "0/cpu.max:", "1/memory.max:", "0/cpu.pressure:", "node0/cpulist:", "node0/meminfo:", "0-3", ",",
     "4/stat:4 (x)", "4/schedstat:", "name:sda", "queue/rotational:", "online:", "CLK_TCK", "[", "]",
     "Cpus_allowed_list:", "threads:", "0/pids.max:", "Max processes", "\t", "111b", "{", "}", '"', "snapshot",
     "=", "N0", "flags", ":", "(", ")", "\n", " "]
)  # fmt: skip
PLAUSIBLE = st.lists(st.one_of(FIGURES, WORDS), max_size=40).map(" ".join)
TEXTS = st.one_of(
    PLAUSIBLE,
    st.lists(st.one_of(FIGURES, WORDS), max_size=40).map("".join),
    st.binary(max_size=200).map(lambda data: data.decode("utf-8", "surrogateescape")),
)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(text=TEXTS)
def test_a_parser_raises_nothing_but_unparsed(parser: Callable[[str], object], text: str) -> None:
    with suppress(UnparsedError):
        parser(text)


@given(key=TEXTS, text=TEXTS)
def test_looking_for_a_keys_line_never_fails(key: str, text: str) -> None:
    line_of_key(text, key)


def answers(texts: list[str]) -> list[Answer]:
    """Every source twice, five seconds apart."""
    return [
        Answer("host", name, 10.0 + 5 * turn, "id", texts[(index + turn) % len(texts)])
        for index, name in enumerate(NAMES)
        for turn in (0, 1)
    ]


@given(texts=st.lists(TEXTS, min_size=1, max_size=6))
def test_the_local_facts_of_any_bytes_are_facts(texts: list[str]) -> None:
    facts = facts_of_local(answers(texts))
    assert {fact.name for fact in facts} == set(LOCAL_FACTS)


@given(text=TEXTS)
def test_the_servers_answers_of_any_bytes_are_facts(text: str) -> None:
    answer = Answer("http", "/m", 1.0, "", text)
    facts = facts_of_engram_json(answer, DIALECT)
    assert "op.latency.p99" in {fact.name for fact in facts}
    assert facts_of_endpoints([answer], DIALECT)
    assert [fact.name for fact in facts_of_health(answer)] == ["server.up", "server.version"]


@given(text=TEXTS)
def test_a_configuration_of_any_bytes_is_facts(text: str) -> None:
    answer = Answer("config", "/c.toml", 1.0, "", text)
    facts = facts_of_configuration(answer, DIALECT, Catalogue({}, {}, ()))
    assert "config.wal.buffer_size" in {fact.name for fact in facts}


@pytest.mark.parametrize("depth", [200, 100_000])
def test_deep_nesting_is_unparsed(depth: int) -> None:
    for text in ("[" * depth, '{"a":' * depth, "[" * depth + "]" * depth):
        try:
            parse_engram_metrics(text)
        except UnparsedError:
            continue
        pytest.fail(text[:10])


def test_deep_toml_is_facts() -> None:
    for text in ("a=" + "[" * 100_000, ".".join("a" * 30_000) + "=1", "[a" + ".a" * 5000 + "]\nb=1"):
        answer = Answer("config", "/c.toml", 1.0, "", text)
        facts = facts_of_configuration(answer, DIALECT, Catalogue({}, {}, ()))
        assert facts
