"""The server's configuration as facts."""

import pytest

from engram_diagnose.collectors.capture.answer import Answer
from engram_diagnose.collectors.parse.configuration import facts_of_configuration
from engram_diagnose.collectors.parse.toml_text import line_of_key
from engram_diagnose.engine.facts.catalogue import (
    Catalogue,
    ConfigKey,
    Dialect,
    Kind,
    ParameterSpec,
)
from engram_diagnose.engine.facts.fact import Fact, Reason, Status
from engram_diagnose.engine.facts.unit import UNITS


def parameter(name: str, kind: Kind, unit: str = "", values: tuple[str, ...] = ()) -> ParameterSpec:
    return ParameterSpec(name, kind, UNITS[unit], "", values=values)


CATALOGUE = Catalogue(
    {},
    {
        spec.name: spec
        for spec in (
            parameter("config.wal.buffer_size", "number", "B"),
            parameter("config.wal.flush_interval", "number", "s"),
            parameter("config.wal.sync_mode", "text", values=("batch", "immediate")),
            parameter("config.storage.use_huge_pages", "bool"),
            parameter("config.consolidation.batch_size", "number"),
            parameter("config.numa.socket_memory", "number", "B"),
        )
    },
    (),
)
KEYS = (
    ConfigKey("config.wal.buffer_size", "wal.buffer_size_mb", UNITS["MiB"], 64),
    ConfigKey("config.wal.flush_interval", "wal.flush_interval_ms", UNITS["ms"]),
    ConfigKey("config.wal.sync_mode", "wal.sync_mode", UNITS[""], "batch"),
    ConfigKey("config.storage.use_huge_pages", "storage.use_huge_pages", UNITS[""]),
    ConfigKey(
        "config.consolidation.batch_size",
        "consolidation.batch_size",
        UNITS[""],
        aliases=("consolidation.max_batch_size",),
    ),
    ConfigKey("config.numa.socket_memory", "numa.socket_memory_mb", UNITS["MiB"], array=True),
)
DIALECT = Dialect(
    name="guide",
    title="",
    detect=(),
    metrics_path="/metrics",
    metrics_format="prometheus",
    config_files=(),
    sources={},
    keys={key.parameter: key for key in KEYS},
    known_keys=("monitoring.*", "cluster.*"),
)


def facts_from(text: str | None, reason: str = "") -> dict[str, Fact]:
    answer = Answer("config", "/srv/config.toml", 5.0, "host-a", text, reason)
    return {fact.name: fact for fact in facts_of_configuration(answer, DIALECT, CATALOGUE)}


def detail(fact: Fact) -> str:
    assert fact.unknown is not None, fact
    return fact.unknown.detail


def test_values_are_in_base_units() -> None:
    facts = facts_from(
        '[wal]\nbuffer_size_mb = 128\nflush_interval_ms = 100\nsync_mode = "immediate"\n'
        "[storage]\nuse_huge_pages = true\n"
    )
    assert facts["config.wal.buffer_size"].value == (2.0**27, 2.0**27)
    assert facts["config.wal.flush_interval"].value == (0.1, 0.1)
    assert facts["config.wal.sync_mode"].value == "immediate"
    assert facts["config.storage.use_huge_pages"].value == (1.0, 1.0)
    fact = facts["config.wal.buffer_size"]
    assert fact.source == "/srv/config.toml: wal.buffer_size_mb"
    assert (fact.host, fact.time, fact.status) == ("host-a", 5.0, Status.MEASURED)


def test_a_key_that_is_not_set_has_the_recorded_default() -> None:
    fact = facts_from("")["config.wal.buffer_size"]
    assert fact.value == (2.0**26, 2.0**26)
    assert fact.status is Status.RECORDED
    assert fact.source == "built-in default of guide"


def test_a_key_without_value_and_default_is_unknown() -> None:
    fact = facts_from("")["config.wal.flush_interval"]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.SOURCE_ABSENT
    assert "wal.flush_interval_ms" in fact.get_by


def test_a_parameter_without_a_key_is_a_constant_that_needs_no_file() -> None:
    constant = ConfigKey("config.hnsw.m", "", UNITS["count"], 16)
    unsaid = ConfigKey("config.hnsw.max_m", "", UNITS["count"])
    keys = {key.parameter: key for key in (constant, unsaid)}
    release = Dialect("engram-0.1", "", (), "", "windowed-json", (), {}, keys)
    facts = {fact.name: fact for fact in facts_of_configuration(None, release, CATALOGUE)}
    assert facts["config.hnsw.m"].value == (16.0, 16.0)
    assert facts["config.hnsw.m"].status is Status.RECORDED
    unknown = facts["config.hnsw.max_m"].unknown
    assert unknown is not None
    assert unknown.reason is Reason.NOT_IN_DIALECT


def test_an_alias_is_the_key() -> None:
    facts = facts_from("[consolidation]\nmax_batch_size = 500\n")
    assert facts["config.consolidation.batch_size"].value == (500.0, 500.0)
    assert facts["telemetry.ignored_keys"].value == (0.0, 0.0)


def test_the_key_itself_goes_before_its_alias() -> None:
    facts = facts_from("[consolidation]\nmax_batch_size = 500\nbatch_size = 1000\n")
    assert facts["config.consolidation.batch_size"].value == (1000.0, 1000.0)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('buffer_size_mb = "128"', "config.wal.buffer_size"),
        ("buffer_size_mb = true", "config.wal.buffer_size"),
        ("buffer_size_mb = nan", "config.wal.buffer_size"),
        ("buffer_size_mb = [1]", "config.wal.buffer_size"),
        ("sync_mode = 1", "config.wal.sync_mode"),
        ('sync_mode = "sometimes"', "config.wal.sync_mode"),
    ],
)
def test_a_value_of_the_wrong_kind_names_key_and_line(line: str, name: str) -> None:
    fact = facts_from(f"# first\n[wal]\n{line}\n")[name]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED
    assert line.partition(" ")[0] in detail(fact)
    assert "line 3" in detail(fact)


@pytest.mark.parametrize("entries", ["[32768]", "[32768, 32768]", "[ # one a node\n32768,\n32768.0,\n]"])
def test_an_array_of_equal_entries_is_the_one_figure(entries: str) -> None:
    fact = facts_from(f"[numa]\nsocket_memory_mb = {entries}\n")["config.numa.socket_memory"]
    assert fact.value == (2.0**35, 2.0**35)


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ("[32768, 16384]", "its entries differ"),
        ("[]", "[] is not an array with an entry"),
        ("32768", "32768 is not an array with an entry"),
        ("[32768, true]", "True is not a number"),
        ("['a']", "'a' is not a number"),
        ("[[1]]", "[1] is not a number"),
        ("[nan, nan]", "nan is not a number"),
    ],
)
def test_an_array_that_is_no_one_figure_is_unknown_and_says_why(entries: str, why: str) -> None:
    fact = facts_from(f"[numa]\nsocket_memory_mb = {entries}\n")["config.numa.socket_memory"]
    assert fact.unknown is not None
    assert fact.unknown.reason is Reason.UNPARSED
    assert f"line 2: numa.socket_memory_mb: {why}" in detail(fact)


def test_a_number_is_no_truth() -> None:
    fact = facts_from("[storage]\nuse_huge_pages = 1\n")["config.storage.use_huge_pages"]
    assert not fact.known


def test_keys_that_the_server_reads_past_are_counted_and_named() -> None:
    facts = facts_from("[wal]\nbufer_size_mb = 64\n[monitoring]\nport = 1\n[x]\na.b = [1]\n")
    assert facts["telemetry.ignored_keys"].value == (2.0, 2.0)
    assert facts["telemetry.ignored_key_names"].value == "wal.bufer_size_mb, x.a.b"


def test_of_thousands_of_keys_that_are_ignored_some_are_named_and_all_are_counted() -> None:
    facts = facts_from("[x]\n" + "".join(f"key_{number:05} = 1\n" for number in range(20_000)))
    assert facts["telemetry.ignored_keys"].value == (20_000.0, 20_000.0)
    named = facts["telemetry.ignored_key_names"].value
    assert isinstance(named, str)
    assert named.startswith("x.key_00000, x.key_00001, ")
    assert named.endswith("x.key_00049 and 19,950 more")


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[wal]\nbuffer_size_mb = \n", "line 2"),
        ("<html>", "line 1"),
        ("[wal]\nname = 'caf\udce9'\n", "line 2, column 12"),
    ],
)
def test_what_is_not_toml_is_unparsed_with_line_and_column(text: str, place: str) -> None:
    facts = facts_from(text)
    assert not any(fact.known for fact in facts.values())
    assert place in detail(facts["config.wal.buffer_size"])
    assert "column" in detail(facts["telemetry.ignored_keys"])


def test_a_configuration_that_was_not_read_is_unknown_and_says_how_to_give_it() -> None:
    facts = facts_from(None, "PTRACE_DENIED")
    assert {fact.unknown.reason for fact in facts.values() if fact.unknown} == {Reason.PTRACE_DENIED}
    assert all("--config" in fact.get_by for fact in facts.values())
    never = facts_of_configuration(None, DIALECT, CATALOGUE)
    assert {fact.unknown.reason for fact in never if fact.unknown} == {Reason.NOT_COLLECTED}


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("[wal]\nsync_mode = 1", "wal.sync_mode", 2),
        ("wal.sync_mode = 1", "wal.sync_mode", 1),
        ("\nwal = { sync_mode = 1 }", "wal.sync_mode", 2),
        ("[a]\nsync_mode = 1\n[wal]\n'sync_mode' = 1", "wal.sync_mode", 4),
        ("[wal]", "wal.sync_mode", None),
    ],
)
def test_the_line_of_a_key_is_found(text: str, key: str, line: int | None) -> None:
    assert line_of_key(text, key) == line
