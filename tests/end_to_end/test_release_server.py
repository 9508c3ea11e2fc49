"""The released server, asked directly: its JSON metrics, its settings that it ignores, and what it cannot tell."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from stage import Planted, Said, engram_diagnose, folder_on_disk, planted, until

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Asked:
    """A server of the release, and what a diagnosis of it said."""

    server: Planted
    said: Said

    @property
    def document(self) -> Any:
        return self.said.document

    def fact(self, name: str, **scope: str) -> Any:
        (fact,) = [one for one in self.document["facts"] if one["name"] == name and one["scope"] == scope]
        return fact


@pytest.fixture(scope="module")
def release() -> Iterator[Asked]:
    with (
        folder_on_disk() as folder,
        planted(folder / "server", dialect="engram-0.1", home=folder / "settings") as server,
    ):
        started = [0]
        until(lambda: started.append(1) or len(started) > 30, "a little load", seconds=10)
        said = engram_diagnose("--server", server.url, "--seconds", "1", "--format", "json")
        yield Asked(server, said)


def test_its_dialect_is_detected(release: Asked) -> None:
    assert release.said.code in (0, 1), release.said.err
    assert release.document["subject"]["dialect"] == "engram-0.1"
    assert release.fact("telemetry.dialect_mismatch")["value"] == 0
    assert release.fact("telemetry.schema_version")["value"] == "1.1.0"
    assert release.fact("server.version")["value"] == "0.1.4"


def test_store_latency_comes_from_the_p99_of_its_json(release: Asked) -> None:
    fact = release.fact("op.latency.p99", operation="store")
    assert fact["source"] == "five_minutes:store_duration_seconds.p99"
    assert 0.001 < fact["value"] < 1


def test_its_text_view_and_its_tiers_are_read_as_well(release: Asked) -> None:
    assert release.fact("consolidation.freshness")["status"] == "measured"
    assert release.fact("tier.memories", tier="hot")["value"] > 0
    assert release.fact("index.nodes")["value"] > 0


def test_recall_latency_is_unknown_rather_than_good(release: Asked) -> None:
    untested = {item["rule"] for item in release.document["symptoms_not_tested"]}
    assert "symptom.recall-slow" in untested


def test_its_settings_are_found_through_its_process_and_ignored_ones_named(release: Asked) -> None:
    assert release.fact("telemetry.ignored_key_names")["value"] == "wal.flush_interval_ms, wal.sync_mode"
    assert str(release.server.config) in release.fact("telemetry.ignored_keys")["source"]
    assert "telemetry.config-keys-ignored" in [cause["rule"] for cause in release.document["causes"]]


def test_its_built_in_settings_are_recorded_and_advice_on_them_is_marked(release: Asked) -> None:
    mode = release.fact("config.wal.sync_mode")
    assert (mode["value"], mode["status"]) == ("batch", "recorded")
    changes = [
        change for cause in release.document["causes"] for remedy in cause["recommend"] for change in remedy["changes"]
    ]
    assert all(change["ignored_by_release"] and change["write"] is None for change in changes)


def test_advice_that_the_release_ignores_says_so(release: Asked, tmp_path: Any) -> None:
    """A cause of the site's own concludes, so that there is advice for certain."""
    (tmp_path / "rule.yaml").write_text(SITE_RULE)
    said = engram_diagnose("--server", release.server.url, "--seconds", "1", "--rules", tmp_path / "rule.yaml")
    assert "ignored by this release" in said.out or "this release ignores" in said.out
    assert not said.has_traceback


SITE_RULE = """\
schema: engram-diagnose/rules/v1
pack: site.release
version: 1.0.0
requires: {engine: ">=1.0", facts: ">=1"}
rules:
  - id: site.release.stores
    rev: 1
    kind: cause
    title: Stores come in
    status: stable
    severity: info
    owner: team
    scope: instance
    reason: A rule that holds wherever something is stored.
    when: store.rate > 0
    when_true: likely
    recommend:
      - set: {config.wal.buffer_size: 64 MiB}
        when: next restart
        tradeoff: memory
        because: to see what is said of it
    given: {store.rate: 5/s}
    tests:
      - fires
      - {change: {store.rate: 0/s}, expect: refuted}
"""


def test_the_process_behind_the_port_is_measured_too(release: Asked) -> None:
    assert release.fact("process.pid")["value"] == release.server.process.pid
    assert release.fact("sched.threads")["value"] > 10


def test_without_an_address_the_process_is_asked_on_its_port(release: Asked) -> None:
    said = engram_diagnose("--pid", str(release.server.process.pid), "--instance", release.server.instance,
                           "--seconds", "1", "--format", "json")  # fmt: skip
    assert said.document["subject"]["dialect"] == "engram-0.1", said.err
    told = {fact["name"]: fact for fact in said.document["facts"]}
    assert told["store.rate"]["status"] == "measured"
    assert told["server.up"]["value"] == 1
