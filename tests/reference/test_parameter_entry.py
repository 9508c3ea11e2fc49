"""The page of the parameters says of each what it takes, what it costs, what fits, and who heeds it."""

import re
from pathlib import Path

import pytest

from engram_diagnose.reference.block import to_markdown
from engram_diagnose.reference.fact_entry import parameter_blocks
from engram_diagnose.reference.index import Index, index_of
from engram_diagnose.rulebase import load_rules


@pytest.fixture(scope="module")
def index() -> Index:
    return index_of(load_rules())


def entry(name: str, index: Index) -> str:
    """The Markdown of one setting."""
    return to_markdown(parameter_blocks(index.loaded.catalogue.parameters[name], index, level=2))


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "config.storage.hot_tier_size",
            [
                "Hot tier size. Memory for the hot tier",
                "- bytes, 16 MiB to 8 GiB; takes effect at the next restart",
                "- trade-off: a larger tier takes memory from the warm tier's page cache",
                "- turning it up lowers `op.latency.p99`",
                "- what fits: `clamp(floor((10 % * mem.usable) / 1 MiB) * 1 MiB, 256 MiB, 8 GiB)`, by [fit.hot-tier]",
                "- counts into the memory that all tiers and buffers share",
                "- engram-0.1: no key; ignored by this release",
                "- guide: `storage.hot_tier_size_mb` in MiB; no default is stated; also `hot_tier.size_mb`",
            ],
        ),
        ("config.storage.hot_tier_shards", ["- sizing raises it only"]),
        (
            "config.activation.max_traversal_depth",
            [
                "- what fits: `5`, the same for every host and workload, by [fit.traversal]",
                "- engram-0.1: no key: a constant of the release, 4; ignored by this release",
            ],
        ),
        (
            "config.wal.flush_interval",
            ['| workload.class is "write-heavy" | 5 s |', "a constant of the release, 10 ms; ignored by this release"],
        ),
        (
            "config.numa.socket_memory",
            ["`numa.socket_memory_mb` in MiB, in an array", "where numa.nodes is above 1, by [fit.numa-memory]"],
        ),
        (
            "config.lock_free.pool_chunk_size",
            ["`lock_free.memory_pool_chunk_kb` in KiB; no default is stated; a key in the guide's style"],
        ),
        (
            "config.persistence.hot_capacity",
            ["`persistence.hot_capacity`; no default is stated; read and not used, so ignored by this release"],
        ),
        ("config.router.request_timeout", ["`router.request_timeout_ms` in ms; unset it is 3,000 ms"]),
        ("host.thp_mode", ["a setting of the machine, not of the server", "Sizing leaves it alone"]),
    ],
)  # fmt: skip
def test_an_entry_says_what_there_is_to_say(index: Index, name: str, lines: list[str]) -> None:
    text = entry(name, index)
    assert [line for line in lines if line not in text.replace("\\", "")] == []


def test_every_entry_says_what_fits_or_why_nothing_is_sized(index: Index) -> None:
    for name, spec in index.loaded.catalogue.parameters.items():
        text = entry(name, index)
        assert ("hat fits" in text) != ("Sizing leaves it alone" in text), name
        assert "trade-off: " in text, name
        if spec.restart != "host":
            assert len(re.findall(r"^- (?:guide|engram-0\.1): ", text, re.MULTILINE)) == 2, name


def test_the_page_lists_who_heeds_a_setting(root: Path) -> None:
    page = (root / "docs" / "reference" / "parameters.md").read_text(encoding="utf-8")
    heeded = dict(re.findall(r"^\| \[([\w.]+)\].* \| ([\w., -]+) \|$", page, re.MULTILINE))
    assert heeded["config.hnsw.m"] == "guide"
    assert heeded["config.router.max_retries"] == "engram-0.1"
    assert heeded["config.persistence.hot_capacity"] == heeded["host.huge_pages"] == "none"
