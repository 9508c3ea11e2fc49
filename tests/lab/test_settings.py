"""The lab's settings: what fits a host, what a file may say, and how it is told what is wrong."""

import contextlib
import tomllib
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engram_diagnose.engine.facts.catalogue import Dialect
from engram_diagnose.lab.host import Host, memory_mb, widest_simd
from engram_diagnose.lab.settings import Settings, SettingsError, address, fitting, key_names, parse_settings, written
from engram_diagnose.rulebase import load_rules

HOST = Host(cores=24, memory_mb=20 << 10, numa_nodes=2, avx="avx512", flash=True)
SMALL = Host(cores=2, memory_mb=1024, numa_nodes=1, avx="none", flash=False)


def parsed(text: str, host: Host = HOST) -> Settings:
    settings, warnings = parse_settings(text, where="engram.toml", host=host)
    assert not warnings
    return settings


def problems(text: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        parse_settings(text, where="engram.toml", host=HOST)
    return str(caught.value).splitlines()


@pytest.fixture(scope="module")
def guide() -> Dialect:
    return load_rules(()).catalogue.dialects["guide"]


def test_without_a_file_the_settings_are_the_wizards_for_the_host() -> None:
    fits = parsed("")
    assert fits == fitting(HOST)
    assert (fits.storage_hot_tier_size_mb, fits.storage_hot_tier_shards, fits.activation_prefetch_distance) == (
        2048,
        64,
        12,
    )
    assert (fits.hnsw_index_m, fits.hnsw_index_ef_construction, fits.hnsw_index_ef_search) == (24, 300, 150)
    assert (fits.wal_sync_mode, fits.wal_buffer_size_mb, fits.wal_flush_interval_ms) == ("batch", 64, 1000)
    assert (fits.thread_pools_recall_workers, fits.thread_pools_store_workers) == (24, 12)
    assert fits.numa_socket_memory_mb == (10240, 10240)


def test_a_small_host_gets_the_least_the_wizard_gives() -> None:
    fits = fitting(SMALL)
    assert (fits.storage_hot_tier_size_mb, fits.storage_hot_tier_shards, fits.thread_pools_store_workers) == (256, 4, 1)
    assert not fits.activation_simd_enabled
    assert (fits.wal_sync_mode, fits.storage_mmap_populate) == ("immediate", False)


def test_every_setting_of_the_guides_dialect_is_one_of_the_labs(guide: Dialect) -> None:
    assert set(key_names()) - {"server.http_bind"} == {setting.key for setting in guide.keys.values()}


@given(st.builds(Host, cores=st.integers(1, 256), memory_mb=st.integers(128, 1 << 21), numa_nodes=st.integers(1, 8),
                 avx=st.sampled_from(["none", "avx2", "avx512", "neon"]), flash=st.booleans()))  # fmt: skip
def test_the_file_that_is_written_gives_the_same_settings(host: Host) -> None:
    settings = fitting(host)
    assert parse_settings(written(settings), where="engram.toml", host=SMALL) == (settings, ())


def test_what_the_file_says_stands_and_the_rest_fits_the_host() -> None:
    settings = parsed("[wal]\nsync_mode = 'immediate'\nbuffer_size_mb = 0.5\n[hnsw_index]\nM = 8\n")
    assert (settings.wal_sync_mode, settings.wal_buffer_size_mb, settings.hnsw_index_m) == ("immediate", 0.5, 8)
    assert (settings.hnsw_index_max_m, settings.hnsw_index_max_m0) == (16, 16)
    assert settings.storage_hot_tier_shards == fitting(HOST).storage_hot_tier_shards


def test_budgets_may_stand_in_one_line_or_in_a_table_of_their_own() -> None:
    inline = parsed("[activation]\nvisit_budget_per_tier = { hot = 9, warm = 8, cold = 7 }\n")
    table = parsed("[activation.visit_budget_per_tier]\nhot = 9\nwarm = 8\ncold = 7\n")
    assert inline == table
    assert inline.activation_visit_budget_per_tier_warm == 8


def test_the_slow_query_scripts_names_are_taken_and_the_other_ones_go_before() -> None:
    assert parsed("[hot_tier]\nsize_mb = 512\n").storage_hot_tier_size_mb == 512
    both = "[consolidation]\nmax_batch_size = 7\nbatch_size = 9\n"
    assert parsed(both).consolidation_batch_size == 9
    other_order = "[consolidation]\nbatch_size = 9\nmax_batch_size = 7\n"
    assert parsed(other_order).consolidation_batch_size == 9


def test_unknown_keys_are_named_and_do_not_stop_the_start() -> None:
    text = "[storage]\nhot_tier_shards = 2\nlukewarm = true\n[extra]\nkey = 1\n"
    settings, warnings = parse_settings(text, where="engram.toml", host=HOST)
    assert settings.storage_hot_tier_shards == 2
    assert warnings == (
        "engram.toml:3: the lab does not know storage.lukewarm; it is ignored",
        "engram.toml:5: the lab does not know extra.key; it is ignored",
    )


def test_all_that_is_wrong_is_told_at_once_with_its_line() -> None:
    assert problems(
        "[storage]\nhot_tier_size_mb = '512'\nuse_huge_pages = 1\n[wal]\nsync_mode = 'never'\nbuffer_size_mb = nan\n"
        "[hnsw_index]\nM = true\nef_search = 0\n[server]\nhttp_bind = 'here'\n[numa]\nsocket_memory_mb = [1, 'a']\n"
    ) == [
        "engram.toml:2: storage.hot_tier_size_mb takes a number, not '512'",
        "engram.toml:3: storage.use_huge_pages takes true or false, not 1",
        "engram.toml:5: wal.sync_mode is one of batch, immediate, not 'never'",
        "engram.toml:6: wal.buffer_size_mb takes a number, not nan",
        "engram.toml:8: hnsw_index.M takes a whole number, not True",
        "engram.toml:9: hnsw_index.ef_search lies between 1 and 4096, not at 0",
        "engram.toml:11: server.http_bind is HOST:PORT, such as 127.0.0.1:7432, not 'here'",
        "engram.toml:13: numa.socket_memory_mb takes a list of whole numbers, not [1, 'a']",
    ]


def test_fewer_links_than_m_are_a_contradiction() -> None:
    assert problems("[hnsw_index]\nM = 32\nmax_m0 = 16\n") == [
        "engram.toml:3: hnsw_index.max_m0 is at least M, which is 32, not 16"
    ]


def test_a_section_where_a_value_belongs_is_a_problem_of_that_key() -> None:
    assert problems("[wal.sync_mode]\na = 1\n") == ["engram.toml:1: wal.sync_mode takes text, not {'a': 1}"]


@given(st.one_of(st.text(), st.binary().map(lambda raw: raw.decode("latin-1"))))
def test_any_text_gives_settings_or_problems_of_our_own(text: str) -> None:
    with contextlib.suppress(SettingsError):
        parse_settings(text, where="engram.toml", host=HOST)


def test_deep_nesting_is_told_rather_than_a_traceback() -> None:
    assert problems("a = " + "[" * 100_000)[0].startswith("engram.toml: not TOML")


def test_addresses_of_both_kinds_are_taken_apart() -> None:
    assert address(parsed("[server]\nhttp_bind = '0.0.0.0:80'\n")) == ("0.0.0.0", 80)
    assert address(parsed("[server]\nhttp_bind = '[::1]:7432'\n")) == ("::1", 7432)


def test_the_written_file_has_every_setting_once() -> None:
    document = tomllib.loads(written(fitting(HOST)))
    count = sum(len(section) for section in document.values())
    assert count == len(fields(Settings)) - 2  # the three budgets are one table


def test_memory_is_that_of_the_smallest_limit() -> None:
    assert memory_mb("MemTotal:  2097152 kB\n") == 2048
    assert memory_mb("MemTotal:  2097152 kB\n", "max", "1073741824\n") == 1024
    assert memory_mb("MemTotal:  2097152 kB\n", "9223372036854771712") == 2048
    assert memory_mb("") == 1024


def test_simd_is_the_widest_of_the_flags() -> None:
    assert widest_simd("processor: 0\nflags\t\t: fpu avx avx2 avx512f\n") == "avx512"
    assert widest_simd("flags : fpu avx avx2\n") == "avx2"
    assert widest_simd("Features : fp asimd\n") == "neon"
    assert widest_simd("") == "none"
