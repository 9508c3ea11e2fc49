"""The worker process: what it does with its pipes, its memory and its job."""

import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import planted_diagnoses
import pytest
from watching import accept, until

from engram_diagnose.history.incidents import IncidentStore, open_incidents
from engram_diagnose.service.order import (
    BEGIN,
    FINISH,
    ORPHANED,
    OUT_OF_MEMORY,
    REFUSED,
    STORELESS,
    WAKE,
    Order,
    backoff,
    packed,
)
from engram_diagnose.service.settings import MEBIBYTE, Alertmanager, Settings, Webhook, Worker

SETTINGS = Settings(worker=Worker(attempts=2, backoff_seconds=0.1, deadline_seconds=30))


class Running:
    """A worker process and both ends of its pipes."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process

    def tell(self, message: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(message)
        self.process.stdin.flush()

    def hear(self, event: str) -> Any:
        """The next event of that name."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            said = json.loads(line)
            if said["event"] == event:
                return said
        raise AssertionError(f"it ended with {self.process.wait()} before it said {event!r}")

    def code(self) -> int:
        return self.process.wait(20)


@contextmanager
def worker(database: Path, settings: Settings = SETTINGS, *, packs: tuple[Mapping[str, bytes], ...] = (),
           begin: bool = True) -> Iterator[Running]:  # fmt: skip
    here = str(Path(__file__).parent)
    process = subprocess.Popen(
        [sys.executable, "-m", "engram_diagnose.service.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": here, "MALLOC_ARENA_MAX": "2"},
    )  # fmt: skip
    running = Running(process)
    try:
        running.tell(packed(Order(settings, database, packs, planted_diagnoses.NAME)))
        if begin:
            running.tell(BEGIN)
        yield running
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "history.db"


@pytest.fixture
def store(database: Path) -> Iterator[IncidentStore]:
    with open_incidents(database) as opened:
        yield opened


def test_a_job_is_taken_diagnosed_and_kept(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "db1:7432")
    with worker(database) as running:
        assert running.hear("ready")["rules"] > 100
        assert running.hear("taken")["incident"] == incident
        assert running.hear("finished")["incident"] == incident
        running.hear("idle")
    finding = store.finding(incident)
    assert finding is not None
    assert finding.sentence == f"diagnosed by process {running.process.pid}"
    assert store.document(incident) == {"process": running.process.pid}
    assert store.bundle(incident) == incident.encode()


def test_what_is_to_be_sent_is_kept_with_the_diagnosis(database: Path, store: IncidentStore) -> None:
    accept(store, "db1:7432")
    told = replace(SETTINGS, alertmanager=Alertmanager(urls=("http://127.0.0.1:9093",)), webhook=Webhook("http://x/"))
    with worker(database, told) as running:
        assert running.hear("finished")["messages"] == 2
    assert sorted(message.channel for message in store.due(time.time() + 1)) == ["alertmanager", "webhook"]


def test_a_byte_wakes_it_sooner_than_it_would_look_itself(database: Path, store: IncidentStore) -> None:
    with worker(database) as running:
        running.hear("idle")
        took = []
        for number in range(3):
            accept(store, f"brief-{number}")
            start = time.monotonic()
            running.tell(WAKE)
            running.hear("finished")
            took.append(time.monotonic() - start)
            running.hear("idle")
    assert min(took) < 0.5, "from idle it is a second until it looks by itself"


def test_without_a_byte_it_looks_every_second(database: Path, store: IncidentStore) -> None:
    with worker(database) as running:
        running.hear("idle")
        accept(store, "brief-1")
        start = time.monotonic()
        running.hear("finished")
        assert time.monotonic() - start < 3


def test_it_takes_nothing_before_it_is_told_to_begin(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "db1:7432")
    with worker(database, begin=False) as running:
        running.hear("ready")
        running.tell(WAKE)
        time.sleep(0.3)
        assert store.finding(incident) is None
        running.tell(BEGIN)
        running.hear("finished")


def test_told_to_finish_it_ends_after_the_job_in_hand(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "slow-1")
    with worker(database) as running:
        running.hear("taken")
        (other,) = accept(store, "slow-2")
        running.tell(FINISH)
        assert running.code() == 0
    assert store.finding(incident) is not None
    assert store.job(other).state == "queued"  # type: ignore[union-attr]  # it was accepted


def test_when_the_pipe_ends_so_does_the_worker_even_amid_a_diagnosis(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "hang-1")
    with worker(database) as running:
        running.hear("taken")
        assert running.process.stdin is not None
        running.process.stdin.close()
        assert running.code() == ORPHANED
    job = store.job(incident)
    assert job is not None
    assert job.state == "running"
    assert [job.state for job in store.reclaim(time.time())] == ["queued"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_worker_dies_with_its_parent_although_the_pipe_stays_open(database: Path, tmp_path: Path) -> None:
    with open_incidents(database) as store:
        accept(store, "hang-1")
    order = tmp_path / "order"
    order.write_bytes(packed(Order(SETTINGS, database, (), planted_diagnoses.NAME)) + BEGIN)
    here, pipe = str(Path(__file__).parent), tmp_path / "pipe"
    os.mkfifo(pipe)
    program = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'engram_diagnose.service.worker']\n"
        f"child = subprocess.Popen(command, stdin=open({str(pipe)!r}))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              env={**os.environ, "PYTHONPATH": here})  # fmt: skip
    with open(pipe, "wb", buffering=0) as held:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        held.write(order.read_bytes())
        assert b'"taken"' in b"".join(iter_until(parent.stdout, b'"taken"'))
        parent.kill()
        parent.wait()
        until(lambda: not alive(child), "the worker to be gone")
    parent.stdout.close()


def iter_until(stream: Any, mark: bytes) -> Iterator[bytes]:
    for line in stream:
        yield line
        if mark in line:
            return


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def test_signals_that_a_terminal_sends_to_all_are_left_to_the_service(database: Path, store: IncidentStore) -> None:
    with worker(database) as running:
        running.hear("idle")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            running.process.send_signal(number)
        accept(store, "db1:7432")
        running.tell(WAKE)
        running.hear("finished")


# What goes wrong


def test_a_diagnosis_that_fails_is_tried_again_and_then_put_aside(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "broken-1")
    with worker(database) as running:
        first = running.hear("postponed")
        assert "a slip in a rule" in first["error"]
        assert "Traceback" in first["trace"]
        assert running.hear("parked")["attempt"] == 2
        accept(store, "db1:7432")
        running.tell(WAKE)
        running.hear("finished")
    job = store.job(incident)
    assert job is not None
    assert (job.state, job.attempts) == ("parked", 2)
    assert "KeyError: 'a slip in a rule'" in job.error
    assert store.finding(incident) is None


def test_what_cannot_be_had_now_is_asked_for_again_until_the_last_attempt(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "later-1")
    with worker(database) as running:
        postponed = running.hear("postponed")
        assert postponed["error"] == "Prometheus is starting"
        assert postponed["wait"] == pytest.approx(0.1)
        assert running.hear("finished")["incident"] == incident


def test_a_document_that_json_cannot_say_is_put_aside(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "unspeakable-1")
    with worker(database) as running:
        running.hear("parked")
    assert store.finding(incident) is None
    assert store.job(incident).state == "parked"  # type: ignore[union-attr]  # it was accepted


def test_memory_is_capped_and_the_process_ends(database: Path, store: IncidentStore) -> None:
    accept(store, "bomb-1")
    capped = replace(SETTINGS, worker=replace(SETTINGS.worker, memory_bytes=768 * MEBIBYTE))
    with worker(database, capped) as running:
        running.hear("out of memory")
        assert running.code() == OUT_OF_MEMORY


def test_a_job_that_was_given_to_another_is_not_kept_twice(database: Path, store: IncidentStore) -> None:
    (incident,) = accept(store, "slow-1")
    with worker(database) as running:
        running.hear("taken")
        store.reclaim(time.time(), not_before=time.time() + 60)
        assert running.hear("superseded")["incident"] == incident
    assert store.finding(incident) is None


def test_rules_that_cannot_be_used_are_refused_with_their_place(database: Path) -> None:
    with worker(database, packs=({"pack.yaml": b"rules: [{id: 7}]\n"},)) as running:
        assert "pack.yaml" in running.hear("refused")["error"]
        assert running.code() == REFUSED


def test_a_database_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    path.write_text("not a database, but a long enough text to be mistaken for one" * 100)
    with worker(path) as running:
        assert str(path) in running.hear("storeless")["error"]
        assert running.code() == STORELESS


def test_an_order_cut_short_is_no_order(database: Path) -> None:
    program = [sys.executable, "-m", "engram_diagnose.service.worker"]
    done = subprocess.run(program, input=packed(Order(SETTINGS, database))[:-9], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (ORPHANED, b"", b"")


# Waits


def test_each_wait_is_twice_the_one_before_and_an_hour_at_most() -> None:
    assert [backoff(5, attempt) for attempt in (1, 2, 3)] == [5, 10, 20]
    assert backoff(5, 10_000) == 3600


# Rules by the day


def test_rules_are_renewed_when_the_day_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    from engram_diagnose.service import worker as module

    made: list[datetime.date] = []
    days = iter([datetime.date(2026, 11, 22), datetime.date(2026, 11, 22), datetime.date(2026, 11, 23)])
    monkeypatch.setattr(module, "_today", lambda: next(days))
    monkeypatch.setattr(module, "_expert", lambda order, today: made.append(today))
    one = module._Worker(Order(SETTINGS, None), None, None, None, None)  # type: ignore[arg-type]  # nothing is said
    one._renew_rules()
    assert made == []
    one._renew_rules()
    assert made == [datetime.date(2026, 11, 23)]
