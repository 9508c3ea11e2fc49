"""
The main job on real input: a process with a planted fault, a real Prometheus that scrapes it, the command line.
"""

import json
import os
import pty
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from stage import (
    COMMAND,
    ROOT,
    Planted,
    Said,
    Scraper,
    engram_diagnose,
    environment,
    folder_on_disk,
    free_port,
    planted,
    prometheus,
)

from engram_diagnose.collectors.gather import PRESENT

pytestmark = [pytest.mark.server, pytest.mark.slow]

WAL = "storage.wal-write-amplification"
HOSTILE = 'a"b\n<script>😀[red]\x1b[31m'
FAR_AWAY = "192.0.2.7:7432"


@dataclass(frozen=True)
class Incident:
    """A diagnosis of the planted fault, the bundle that was kept, and what was asked."""

    said: Said
    bundle: Path
    server: Planted
    scraper: Scraper
    time: float

    @property
    def document(self) -> Any:
        return self.said.document

    @property
    def cause(self) -> Any:
        return self.document["causes"][0]

    def facts(self, name: str) -> list[Any]:
        return [fact for fact in self.document["facts"] if fact["name"] == name]

    def fact(self, name: str) -> Any:
        (fact,) = self.facts(name)
        return fact


@pytest.fixture(scope="module")
def incident() -> Iterator[Incident]:
    with (
        folder_on_disk() as folder,
        planted(folder / "server", spaces=["default", HOSTILE]) as server,
        prometheus(folder / "prometheus", {server.instance: server.instance}) as scraper,
    ):
        scraper.wait_for("engram_wal_bytes_written_total", instance=server.instance, samples=15)
        bundle = folder / "incident.bundle"
        now = time.time()
        said = engram_diagnose("--prometheus", scraper.url, "--config", server.config, "--data-dir", server.folder,
                               "--seconds", "3", "--format", "json", "--save", bundle)  # fmt: skip
        yield Incident(said, bundle, server, scraper, now)


@pytest.fixture(scope="module")
def calm() -> Iterator[tuple[Planted, Scraper]]:
    """The same server without the fault, which this Prometheus also knows under the name of another host."""
    with (
        folder_on_disk() as folder,
        planted(folder / "server", fault="healthy") as server,
        prometheus(folder / "prometheus", dict.fromkeys((server.instance, FAR_AWAY), server.instance)) as scraper,
    ):
        for instance in (server.instance, FAR_AWAY):
            scraper.wait_for("engram_wal_bytes_written_total", instance=instance, samples=8)
        yield server, scraper


def ranked(document: Any) -> list[str]:
    return [cause["rule"] for cause in document["causes"]]


# The planted fault


def test_write_amplification_is_named_first_with_its_evidence(incident: Incident) -> None:
    assert incident.said.code == 1, incident.said.err
    assert (incident.cause["rule"], incident.cause["rank"]) == (WAL, 1)
    assert incident.cause["confidence"]["probability"] > 0.8
    assert "symptom.store-slow" in {symptom["rule"] for symptom in incident.cause["explains"]}
    assert "WAL bytes per stored byte" in incident.cause["gate"][0]["sentence"]
    read = {fact["name"]: fact for test in incident.cause["gate"] for fact in test["facts"]}
    assert read["config.wal.sync_mode"]["text"] == "immediate"
    assert read["wal.bytes_written@rate_5m"]["source"].startswith("sum(rate(engram_wal_bytes_written_total[")
    told = {verdict: {fact["name"]: fact for piece in pieces for test in piece["tests"] for fact in test["facts"]}
            for verdict, pieces in incident.cause["evidence"].items()}  # fmt: skip
    assert told["for"]["wal.entries_per_flush"]["status"] == "measured"
    # How often the device flushes, and who waits for it, depends on what else this machine does.
    weighed = told["for"] | told["against"]
    assert {"disk.flush_rate", "io.bytes_per_write", "psi.io_some_share"} <= weighed.keys()
    assert all(fact["source"] and fact["time"] and fact["host"] for fact in weighed.values())


def test_the_rates_are_those_of_the_time_that_is_known(incident: Incident) -> None:
    fact = incident.fact("store.rate")
    assert "samples reach back" in fact["quality"]
    assert 10 < fact["window_seconds"] < 60
    counter = "engram_store_operations_total[10m]"
    stores = incident.scraper.value(f"max_over_time({counter}) - min_over_time({counter})", at=incident.time)
    assert fact["value"] * fact["window_seconds"] == pytest.approx(stores, rel=0.4)
    assert incident.fact("wal.flush_rate")["value"] == pytest.approx(fact["value"], rel=0.05)


def test_this_hosts_figures_are_those_of_the_process_that_is_meant(incident: Incident) -> None:
    assert incident.fact("process.pid")["value"] == incident.server.process.pid
    hosts = {
        incident.fact(name)["host"]
        for name in ("process.pid", "sched.d_state_share", "store.rate", "psi.io_some_share")
    }
    assert len(hosts) == 1
    for name in (
        "sched.d_state_share",
        "sched.threads",
        "io.bytes_per_write",
        "cpu.busy",
        "psi.io_some_share",
        "mem.rss",
    ):
        assert incident.fact(name)["status"] == "measured", name
    assert all(fact["status"] == "measured" and fact["scope"]["device"] for fact in incident.facts("disk.flush_rate"))


def test_an_unknown_impact_is_called_unknown_with_what_is_missing(incident: Incident) -> None:
    impact = incident.cause["impact"]
    if not impact["known"]:
        assert (impact["low"], impact["high"]) == (0, 1)
        assert [missing["fact"] for missing in impact["missing"]] == ["host.attainable.fsync_p50"]


def test_what_could_not_be_tested_is_said_with_reasons(incident: Incident) -> None:
    untested = incident.document["not_testable"]
    assert untested
    assert all(item["missing"] or item["too_coarse"] for item in untested)
    assert all(missing["why"] and missing["reason"] for item in untested for missing in item["missing"])
    coverage = incident.document["coverage"]
    assert coverage["testable"] + len({item["rule"] for item in untested}) >= coverage["causes"] > 0


def test_the_advice_names_the_servers_keys(incident: Incident) -> None:
    written = {change["write"] for remedy in incident.cause["recommend"] for change in remedy["changes"]}
    assert 'wal.sync_mode = "batch"' in written


def test_figures_over_all_spaces_stand_beside_those_of_each(incident: Incident) -> None:
    scopes = [fact["scope"] for fact in incident.facts("op.latency.p99") if fact["scope"].get("operation") == "store"]
    assert {scope.get("space") for scope in scopes} == {None, "default", HOSTILE}
    assert incident.fact("ops.rate")["status"] == "measured"


# The bundle


def test_a_bundle_gives_the_live_diagnosis_to_the_byte(incident: Incident) -> None:
    again = engram_diagnose("run", "--bundle", incident.bundle, "--format", "json")
    assert (again.code, again.out) == (1, incident.said.out)


@pytest.mark.parametrize("engine", ["reference", pytest.param("durable", marks=pytest.mark.durable)])
def test_every_engine_says_the_same_of_it(incident: Incident, engine: str) -> None:
    assert (
        engram_diagnose("run", "--bundle", incident.bundle, "--format", "json", "--engine", engine).out
        == incident.said.out
    )


def test_a_hostile_space_name_shows_and_does_nothing(incident: Incident) -> None:
    text = engram_diagnose("run", "--bundle", incident.bundle, "--verbose").out
    assert "<script>😀[red]\\x1b[31m" in text
    markdown = engram_diagnose("run", "--bundle", incident.bundle, "--format", "markdown").out
    assert "script" in markdown
    assert not re.search(r"(?<!\\)<script", markdown)
    for out in (text, markdown, incident.said.out):
        assert "\x1b" not in out
        assert 'a"b\n<' not in out


def test_a_redacted_bundle_tells_the_same_and_names_nobody(incident: Incident, tmp_path: Path) -> None:
    redacted = tmp_path / "redacted.bundle"
    said = engram_diagnose("collect", "--prometheus", incident.scraper.url, "--config", incident.server.config,
                           "--seconds", "1", "--redact", "-o", redacted)  # fmt: skip
    assert said.code == 0, said.err
    again = engram_diagnose("run", "--bundle", redacted, "--format", "json")
    assert ranked(again.document)[0] == WAL
    assert os.uname().nodename not in re.findall(r"[\w.-]+", again.out)
    assert str(incident.server.config.parent) not in again.out


# Another time


def test_a_past_without_prometheus_is_refused() -> None:
    said = engram_diagnose("--server", "http://127.0.0.1:9", "--at", "2h")
    assert said.code == 3
    assert "only Prometheus knows the past" in said.err


# Site rules

OVERRIDE = """\
schema: engram-diagnose/rules/v1
pack: site.test
version: 1.0.0
requires: {{engine: ">=1.0", facts: ">=1"}}

overrides:
  - rule: storage.wal-write-amplification
    expect_rev: {rev}
    reason: the file system here multiplies every small write (OPS-1)
    owner: team-storage
    expires: 2099-12-31
    set: {{params.{param}: 20}}

rules:
  - id: site.test.many-clients
    rev: 1
    kind: cause
    title: More clients than this site plans for
    status: experimental
    severity: info
    owner: team-storage
    scope: instance
    when: client.connections > 50
    when_true: likely
    recommend:
      - investigate: Ask the teams which clients are new
        when: planned
    given: {{client.connections: 64}}
    tests:
      - fires
      - {{change: {{client.connections: 3}}, expect: refuted}}
"""


def test_a_rule_in_site_rules_changes_the_verdict_and_a_typo_is_explained(incident: Incident, tmp_path: Path) -> None:
    (tmp_path / "site-rules").mkdir()
    pack = tmp_path / "site-rules" / "storage.yaml"
    pack.write_text(OVERRIDE.format(rev=incident.cause["rev"], param="amp_max"))
    arguments = ["run", "--bundle", str(incident.bundle), "--format", "json", "--rules", "./site-rules"]
    said = engram_diagnose(*arguments, folder=tmp_path)
    assert said.code in (0, 1), said.err
    assert WAL not in ranked(said.document)
    assert WAL in [item["rule"] for item in said.document["ruled_out"]]
    assert "site.test.many-clients" in [cause["rule"] for cause in said.document["experimental"]]

    pack.write_text(OVERRIDE.format(rev=incident.cause["rev"], param="amp_mx"))
    typo = engram_diagnose(*arguments, folder=tmp_path)
    assert (typo.code, typo.out) == (2, "")
    assert re.search(r"site-rules/storage\.yaml:\d+:\d+", typo.err)
    assert "amp_max" in typo.err
    assert "^" in typo.err
    assert not typo.has_traceback


# The healthy server, and a bastion


def test_the_healthy_server_is_not_accused(calm: tuple[Planted, Scraper]) -> None:
    server, scraper = calm
    said = engram_diagnose("--prometheus", scraper.url, "--instance", server.instance, "--config", server.config,
                           "--data-dir", server.folder, "--seconds", "1", "--format", "json")  # fmt: skip
    assert said.code in (0, 1), said.err
    assert WAL not in ranked(said.document)
    assert WAL in [item["rule"] for item in said.document["ruled_out"]]
    assert "symptom.store-slow" in [item["rule"] for item in said.document["symptoms_met"]]


def test_two_instances_are_named_rather_than_guessed_between(calm: tuple[Planted, Scraper]) -> None:
    server, scraper = calm
    said = engram_diagnose("--prometheus", scraper.url, "--format", "json")
    assert said.code in (3, 4)
    assert "2 instances publish Engram metrics" in said.err
    assert server.instance in said.err
    assert FAR_AWAY in said.err
    assert "--instance" in said.err


def test_from_a_bastion_this_hosts_figures_are_never_the_servers(calm: tuple[Planted, Scraper], tmp_path: Path) -> None:
    server, scraper = calm
    said = engram_diagnose("--prometheus", scraper.url, "--instance", FAR_AWAY, "--data-dir", server.folder,
                           "--seconds", "1", "--format", "json", "--save", tmp_path / "b")  # fmt: skip
    assert said.code in (0, 1), said.err
    assert f"this host: {FAR_AWAY}" in said.err
    facts = said.document["facts"]
    local = [
        fact for fact in facts if fact["name"].startswith(("sched.", "disk.", "psi.", "process.pid", "mem.available"))
    ]
    assert local
    assert {fact["unknown"]["reason"] for fact in local if fact["name"].partition("@")[0] == fact["name"]} == {
        "OTHER_HOST"
    }
    assert {fact["host"] for fact in facts if fact["status"] == "measured"} == {FAR_AWAY}


# Things that end in the middle


def test_a_process_that_ends_meanwhile_leaves_its_figures_unknown() -> None:
    with folder_on_disk() as folder, planted(folder, fault="healthy", clients=4) as victim:
        arguments = ["--server", victim.url, "--seconds", "3", "--format", "json"]
        code, out, err = killed_while_watched(arguments, victim)
    document = json.loads(out)
    assert code in (0, 1, 4), err
    told = {fact["name"]: fact for fact in document["facts"]}
    assert told["sched.threads"]["unknown"]["reason"] == "TARGET_GONE"
    assert "ended while it was measured" in err
    assert told["host.cores"]["status"] == "measured"


def killed_while_watched(arguments: list[str], victim: Planted) -> tuple[int, str, str]:
    """Run the command with a terminal as its stderr, and kill the server when it says that it watches it."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, *arguments], cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=theirs
    ) as run:
        os.close(theirs)
        said = ""
        while "watching process" not in said:
            said += os.read(ours, 4096).decode()
        time.sleep(0.5)
        victim.process.send_signal(signal.SIGKILL)
        out = run.communicate(timeout=60)[0].decode()
        while chunk := _rest(ours):
            said += chunk
    os.close(ours)
    return run.returncode, out, said


def _rest(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode()
    except OSError:  # the other side is closed
        return ""


def test_a_prometheus_that_was_killed_is_an_error_with_a_next_step(calm: tuple[Planted, Scraper]) -> None:
    server, _ = calm
    with folder_on_disk() as folder, prometheus(folder / "p", {"a": server.instance}) as scraper:
        scraper.process.kill()
        scraper.process.wait()
        said = engram_diagnose("--prometheus", scraper.url, "--format", "json", "--no-local")
    assert said.code == 3
    assert "cannot be connected to" in said.err
    assert "check the address" in said.err
    assert not said.has_traceback


def test_nothing_at_the_address_is_said_so() -> None:
    said = engram_diagnose("--prometheus", f"http://127.0.0.1:{free_port()}", "--no-local")
    assert said.code == 3
    assert "cannot be connected to" in said.err
    assert not said.has_traceback


def test_a_past_instant_is_diagnosed_without_this_hosts_present(incident: Incident, tmp_path: Path) -> None:
    past = tmp_path / "past.bundle"
    at = incident.time - 3
    time.sleep(max(0.0, at + PRESENT + 2 - time.time()))
    said = engram_diagnose("--prometheus", incident.scraper.url, "--config", incident.server.config, "--format", "json",
                           "--at", f"{at:.0f}", "--save", past, "--seconds", "1")  # fmt: skip
    assert said.code == 1, said.err
    assert ranked(said.document)[0] == WAL
    assert said.document["subject"]["time"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(round(at)))
    told = {fact["name"]: fact for fact in said.document["facts"]}
    assert told["sched.threads"]["unknown"]["reason"] == "WINDOW_NOT_COLLECTED"
    assert told["store.rate"]["status"] == "measured"
