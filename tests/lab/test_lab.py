"""The whole lab in its process: what is stored is found, what was answered is kept, and the tool can look at it."""

import json
import os
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from fake_front import Client, request
from unknown_to_the_lab import NOT_KNOWN_TO_THE_LAB

from engram_diagnose.cli import group
from engram_diagnose.collectors.prometheus.facts import facts_of_scrapes
from engram_diagnose.lab.preload import texts
from engram_diagnose.lab.process import LabProcess
from engram_diagnose.rulebase import load_rules

pytestmark = pytest.mark.slow

QUICK = """\
[hnsw_index]
M = 8
ef_construction = 60
ef_search = 60
[storage]
hot_tier_size_mb = 64
warm_tier_size_mb = 64
"""
ONLY_WHERE_CLIENTS_TELL = {"client.retry_share"}
NOT_WITHOUT_CONSOLIDATION = {"consolidation.freshness", "consolidation.failure_share"}


def ask(url: str, *, method: str = "GET", body: Any = None, space: str = "") -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **({"X-Memory-Space": space} if space else {})}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers, method=method), timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def store(lab: LabProcess, text: str, *, space: str = "") -> str:
    status, told = ask(f"{lab.url}/api/v1/memories/remember", method="POST", body={"content": text}, space=space)
    assert status == 201, told
    return str(told["memory_id"])


def recall(lab: LabProcess, text: str, *, mode: str = "similarity", space: str = "") -> list[dict[str, Any]]:
    status, told = ask(f"{lab.url}/api/v1/memories/recall?query={quote(text)}&mode={mode}", space=space)
    assert status == 200, told
    return [memory for group in told["memories"].values() for memory in group]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    with LabProcess(QUICK, tmp_path_factory.mktemp("lab") / "lab", preload=1000) as there:
        yield there


def test_what_was_preloaded_is_found_by_its_own_text(lab: LabProcess) -> None:
    wanted = list(texts(1000))[::50]
    found = [recall(lab, text)[0] for text in wanted]
    assert [memory["score"] > 0.99 for memory in found].count(True) >= 19, found


def test_what_was_just_stored_is_found_at_once(lab: LabProcess) -> None:
    for number in range(20):
        text = f"zebra{number} quagga{number} okapi{number} giraffe{number}"
        name = store(lab, text)
        best = recall(lab, text)[0]
        assert best["memory_id"] == name
        assert best["score"] > 0.99
        assert ask(f"{lab.url}/api/v1/memories/{name}")[1]["content"] == text


@pytest.mark.parametrize("mode", ["similarity", "spreading", "hybrid"])
def test_every_mode_gives_memories_best_first(lab: LabProcess, mode: str) -> None:
    scores = [memory["score"] for memory in recall(lab, next(texts(1)), mode=mode)]
    assert len(scores) >= 5
    assert scores == sorted(scores, reverse=True)


def test_a_pattern_is_completed(lab: LabProcess) -> None:
    text = next(texts(1))
    half = " ".join(text.split()[: len(text.split()) // 2 + 1])
    status, told = ask(f"{lab.url}/api/v1/complete", method="POST", body={"content": half})
    assert status == 200
    assert sum(map(len, told["memories"].values())) >= 1


def test_spaces_are_kept_apart_and_removed(lab: LabProcess) -> None:
    store(lab, "a secret of one space alone", space="bench-one")
    store(lab, "something else entirely", space="bench-two")
    assert len(recall(lab, "a secret of one space alone", space="bench-two")) == 1
    assert ask(f"{lab.url}/api/v1/spaces/bench-one", method="DELETE")[0] == 200
    assert ask(f"{lab.url}/api/v1/memories/recall?query=x", space="bench-one")[0] == 404
    assert len(recall(lab, "something", space="bench-two")) == 1
    assert ask(f"{lab.url}/api/v1/spaces/bench-two", method="DELETE")[0] == 200


def test_its_threads_have_names_that_tell_what_they_do(lab: LabProcess) -> None:
    tasks = Path(f"/proc/{lab.pid}/task")
    names = {(tasks / task / "comm").read_text().strip() for task in os.listdir(tasks)}
    assert {"engram-lab", "engram-wal", "engram-recall-0", "engram-store-0"} <= names, names


def test_a_real_scrape_tells_every_fact_of_the_dialect_that_a_lab_can_know(lab: LabProcess) -> None:
    catalogue = load_rules(()).catalogue
    dialect = catalogue.dialects["guide"]
    scrapes = []
    for turn in range(2):
        for text in texts(30, seed=turn):
            store(lab, text)
            for mode in ("similarity", "spreading"):
                recall(lab, text, mode=mode)
            ask(f"{lab.url}/api/v1/complete", method="POST", body={"content": text})
        time.sleep(1.2)  # a flush of the log
        with urllib.request.urlopen(f"{lab.url}/metrics", timeout=10) as answer:  # Prometheus waits no longer
            text = answer.read()
        scrapes.append((time.time(), text))
    named = {source.fact + ("@rate_5m" if source.counter else "") for source in dialect.sources.values()}
    found = facts_of_scrapes(scrapes, dialect=dialect, catalogue=catalogue, wanted=sorted(named), host="lab")
    known = {fact.name.partition("@")[0] for fact in found if fact.value is not None}
    unknown = {source.fact for source in dialect.sources.values()} - known
    assert unknown - set(NOT_KNOWN_TO_THE_LAB) - ONLY_WHERE_CLIENTS_TELL <= NOT_WITHOUT_CONSOLIDATION


def test_the_tool_finds_the_lab_and_reads_its_settings(lab: LabProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    options = ["--metrics", f"{lab.url}/metrics", "--config", str(lab.config_path), "--data-dir", str(lab.data_dir),
               "--seconds", "2", "--format", "json"]  # fmt: skip
    done = CliRunner().invoke(group, ["run", *options])
    assert done.exit_code in (0, 1, 4), done.output
    told = done.stdout
    assert '"guide"' in told
    assert "engram-lab" in done.stderr or "engram-lab" in told


def test_more_at_once_than_it_takes_is_turned_away_and_nothing_else_happens(lab: LabProcess) -> None:
    wanted = request("GET", f"/api/v1/memories/recall?query={quote(next(texts(1)))}&mode=spreading&max_results=1")
    clients = [Client(lab.port, seconds=60) for _ in range(24)]
    for client in clients:
        client.send(wanted * 256)
    statuses = Counter(client.answer().status for client in clients for _ in range(256))
    assert set(statuses) <= {200, 503}
    assert statuses[200] >= 4096
    for client in clients:
        client.close()
    assert recall(lab, next(texts(1)))


def test_a_stop_in_the_middle_of_a_load_answers_what_came_in(lab: LabProcess) -> None:
    wanted = request("GET", f"/api/v1/memories/recall?query={quote(next(texts(1)))}&max_results=1")
    clients = [Client(lab.port, seconds=60).send(wanted * 60) for _ in range(16)]
    assert [client.answer().status for client in clients] == [200] * 16
    assert lab.stop() == 0
    statuses = Counter(client.answer().status for client in clients for _ in range(59))
    assert statuses == {200: 16 * 59}
    assert all(client.is_at_end() for client in clients)
    for client in clients:
        client.close()
    lab.start()
    assert recall(lab, next(texts(1)))


@pytest.mark.parametrize("mode", ["immediate", "batch"])
def test_what_was_answered_survives_a_clean_end_and_in_immediate_mode_a_kill(tmp_path: Path, mode: str) -> None:
    config = f"{QUICK}[wal]\nsync_mode = '{mode}'\n"
    lab = LabProcess(config, tmp_path / "lab")
    try:
        lab.start()
        stored = {store(lab, f"memory number{number} of mode{mode}"): number for number in range(50)}
        if mode == "immediate":
            lab.kill()
        else:
            assert lab.stop() == 0
        lab.start()
        for name, number in stored.items():
            assert ask(f"{lab.url}/api/v1/memories/{name}")[1]["content"] == f"memory number{number} of mode{mode}"
        assert recall(lab, f"memory number7 of mode{mode}")[0]["score"] > 0.99
        more = store(lab, "one more afterwards")
        assert more not in stored
    finally:
        lab.kill()


def test_settings_of_the_index_may_change_between_starts(lab: LabProcess, tmp_path: Path) -> None:
    with LabProcess(QUICK, tmp_path / "lab", preload=1000) as other:
        before = recall(other, next(texts(1)))[0]
        other.restart(QUICK.replace("M = 8", "M = 16"))
        assert recall(other, next(texts(1)))[0] == before
