"""The supervisor keeps one worker at work, whatever becomes of it: real processes, killed, hung and out of memory."""

import asyncio
import io
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import planted_diagnoses
import pytest
from replayed import CAUSE, replaying
from watching import accept

from engram_diagnose.history.incidents import IncidentStore, Search, StoreError, open_incidents
from engram_diagnose.history.model import JobState
from engram_diagnose.service.log import Log
from engram_diagnose.service.reading import SettingsError, read_settings
from engram_diagnose.service.settings import MEBIBYTE, Prometheus, Settings, Worker
from engram_diagnose.service.supervisor import Supervisor, WorkerError

SETTINGS = Settings(worker=Worker(attempts=2, backoff_seconds=0.05, deadline_seconds=10, memory_bytes=2048 * MEBIBYTE))
BROKEN = "rules: [{id: 7}]\n"
GOOD = """\
schema: engram-diagnose/rules/v1
pack: site
version: "1"
rules: []
"""


@dataclass
class Stage:
    """A supervisor at work, its database, and what it logged."""

    supervisor: Supervisor
    store: IncidentStore
    log: io.StringIO
    events: list[str]

    def accept(self, *instances: str) -> list[str]:
        incidents = accept(self.store, *instances)
        self.supervisor.wake()
        return incidents

    def job(self, incident: str) -> tuple[JobState, int, str]:
        job = self.store.job(incident)
        assert job is not None
        return job.state, job.attempts, job.error

    def done(self, *incidents: str) -> bool:
        return all(self.job(incident)[0] == "done" for incident in incidents)

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.log.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]


@asynccontextmanager
async def at_work(database: Path, settings: Settings = SETTINGS, *, planted: bool = True) -> AsyncIterator[Stage]:
    log, events = io.StringIO(), list[str]()
    supervisor = Supervisor(settings, database, Log(log), heard=lambda event: events.append(event["event"]),
                            diagnose=planted_diagnoses.NAME if planted else "")  # fmt: skip
    with open_incidents(database) as store:
        await supervisor.start()
        try:
            yield Stage(supervisor, store, log, events)
        finally:
            await supervisor.stop()


async def eventually(happens: Callable[[], bool], what: str, *, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not happens():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        await asyncio.sleep(0.01)


Body = Callable[[Path], Coroutine[Any, Any, None]]


def in_a_loop(body: Body) -> Callable[[Path, pytest.MonkeyPatch], None]:
    """A test that is a coroutine; the worker finds the planted diagnoses beside it."""

    def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
        asyncio.run(body(tmp_path / "history.db"))

    run.__name__, run.__doc__ = body.__name__, body.__doc__
    return run


@in_a_loop
async def test_jobs_are_done_as_they_come(database: Path) -> None:
    async with at_work(database) as stage:
        first, second = stage.accept("db1:7432", "db2:7432")
        await eventually(lambda: stage.done(first, second), "both diagnoses")
        # The store knows before the supervisor has read what the worker says of it.
        await eventually(lambda: stage.supervisor.state.finished == 2, "both to be told")
        await eventually(lambda: stage.supervisor.state.state == "idle", "the worker to rest")
        assert stage.supervisor.state.ready
        assert stage.events.count("finished") == 2
    assert stage.supervisor.state.state == "stopped"


@in_a_loop
async def test_a_real_diagnosis_is_kept_and_told(database: Path) -> None:
    with replaying() as (url, recording):
        async with at_work(database, replace(SETTINGS, prometheus=Prometheus(url)), planted=False) as stage:
            await eventually(lambda: stage.supervisor.state.state == "idle", "the worker")
            (incident,) = stage.accept(recording.instance)
            await eventually(lambda: stage.supervisor.state.finished == 1, "the diagnosis")
            finding = stage.store.finding(incident)
            assert finding is not None
            assert finding.rule == CAUSE
            assert stage.logged("worker finished")[0]["rule"] == CAUSE


# Death


@in_a_loop
async def test_a_worker_that_is_killed_is_replaced_and_its_job_done_again(database: Path) -> None:
    async with at_work(database) as stage:
        (incident,) = stage.accept("slow-1")
        await eventually(lambda: stage.supervisor.state.incident == incident, "the job to be taken")
        killed = stage.supervisor.state.pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: stage.done(incident), "the diagnosis")
        assert stage.job(incident) == ("done", 2, "")
        assert stage.supervisor.state.pid != killed
        assert stage.supervisor.state.crashed == 1
        (line,) = stage.logged("worker ended")
        assert (line["reason"], line["incident"]) == ("it was killed by SIGKILL", incident)


@pytest.mark.slow
@in_a_loop
async def test_killed_at_random_instants_no_job_is_lost_or_done_twice(database: Path) -> None:
    chance = random.Random(20_261_122)
    patient = replace(SETTINGS, worker=replace(SETTINGS.worker, attempts=100, backoff_seconds=0.01))
    async with at_work(database, patient) as stage:
        incidents: list[str] = []
        for round_ in range(12):
            incidents += stage.accept(*(f"brief-{round_}-{number}" for number in range(20)))
            await asyncio.sleep(chance.uniform(0, 0.15))
            killed = stage.supervisor.state.pid
            os.kill(killed, signal.SIGKILL)
            await eventually(lambda: stage.supervisor.state.pid not in (0, killed), "another worker")  # noqa: B023
        await eventually(lambda: stage.done(*incidents), "every diagnosis", seconds=60)
        assert len(set(incidents)) == 240


@in_a_loop
async def test_a_job_that_kills_its_worker_is_put_aside_and_the_others_go_on(database: Path) -> None:
    async with at_work(database) as stage:
        (poison,) = stage.accept("crash-1")
        (other,) = stage.accept("db1:7432")
        await eventually(lambda: stage.job(poison)[0] == "parked", "the poisonous job to be put aside")
        await eventually(lambda: stage.done(other), "the other job")
        state, attempts, error = stage.job(poison)
        assert (state, attempts) == ("parked", 2)
        assert "it was killed by SIGABRT" in error
        assert stage.supervisor.state.parked == 1
        assert "Fatal Python error: Aborted" in stage.logged("worker ended")[0]["said"]
        assert [listed.incident.id for listed in stage.store.search(Search(state="parked")).items] == [poison]


@in_a_loop
async def test_a_hung_diagnosis_is_ended_and_put_aside(database: Path) -> None:
    hasty = replace(SETTINGS, worker=replace(SETTINGS.worker, deadline_seconds=1.5, attempts=1))
    async with at_work(database, hasty) as stage:
        (stuck,) = stage.accept("hang-1")
        (other,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(other), "the other job")
        assert stage.job(stuck)[0] == "parked"
        assert "it did not answer for 1.5 s" in stage.job(stuck)[2]
        assert stage.supervisor.state.hung == 1


@in_a_loop
async def test_a_worker_that_is_stopped_while_idle_is_replaced(database: Path) -> None:
    hasty = replace(SETTINGS, worker=replace(SETTINGS.worker, deadline_seconds=1.5))
    async with at_work(database, hasty) as stage:
        await eventually(lambda: stage.supervisor.state.ready, "the worker")
        frozen = stage.supervisor.state.pid
        os.kill(frozen, signal.SIGSTOP)
        await eventually(lambda: stage.supervisor.state.pid not in (0, frozen), "another worker")
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "the job")


@in_a_loop
async def test_an_idle_worker_shows_that_it_lives(database: Path) -> None:
    hasty = replace(SETTINGS, worker=replace(SETTINGS.worker, deadline_seconds=1.5))
    async with at_work(database, hasty) as stage:
        pid = stage.supervisor.state.pid
        await asyncio.sleep(3.5)
        assert (stage.supervisor.state.pid, stage.supervisor.state.crashed) == (pid, 0)


@in_a_loop
async def test_a_diagnosis_that_takes_all_memory_is_put_aside(database: Path) -> None:
    capped = replace(SETTINGS, worker=replace(SETTINGS.worker, memory_bytes=768 * MEBIBYTE))
    async with at_work(database, capped) as stage:
        (bomb,) = stage.accept("bomb-1")
        await eventually(lambda: stage.job(bomb)[0] == "parked", "the bomb to be put aside")
        assert "it used more than the 768 MiB it may have" in stage.job(bomb)[2]
        (other,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(other), "the other job")


@in_a_loop
async def test_the_least_memory_that_may_be_set_is_enough_for_a_diagnosis(database: Path) -> None:
    path = database.with_name("serve.toml")
    with replaying() as (url, recording):
        least, text = 256 * MEBIBYTE, f'[prometheus]\nurl = "{url}"\n[worker]\nmemory_bytes = '
        path.write_text(f"{text}{least - 1}\n")
        with pytest.raises(SettingsError, match=f"worker.memory_bytes must be a whole number from {least}"):
            read_settings(path)
        path.write_text(f"{text}{least}\n")
        async with at_work(database, read_settings(path), planted=False) as stage:
            (incident,) = stage.accept(recording.instance)
            await eventually(lambda: stage.done(incident), "the diagnosis", seconds=60)
            assert stage.supervisor.state.crashed == 0


@in_a_loop
async def test_a_job_put_aside_and_released_is_tried_again(database: Path) -> None:
    async with at_work(database) as stage:
        (incident,) = stage.accept("broken-1")
        await eventually(lambda: stage.job(incident)[0] == "parked", "the job to be put aside")
        assert stage.store.release(incident)
        stage.supervisor.wake()
        await eventually(lambda: stage.supervisor.state.parked == 2, "it to be put aside again")
        assert stage.job(incident)[:2] == ("parked", 2)


@in_a_loop
async def test_a_job_in_hand_is_not_forgotten_while_the_database_cannot_be_written(database: Path) -> None:
    from engram_diagnose.service import supervisor as module

    refused = iter(range(3))

    def opened(path: Path | None) -> IncidentStore:
        if next(refused, None) is not None:
            raise StoreError("the disk is full; make room")
        return open_incidents(path)

    async with at_work(database) as stage:
        (incident,) = stage.accept("slow-1")
        await eventually(lambda: stage.supervisor.state.incident == incident, "the job to be taken")
        module.open_incidents = opened
        try:
            os.kill(stage.supervisor.state.pid, signal.SIGKILL)
            await eventually(lambda: stage.done(incident), "the diagnosis")
        finally:
            module.open_incidents = open_incidents
        assert "the disk is full" in stage.logged("worker not replaced")[0]["reason"]


# Starting and stopping


@in_a_loop
async def test_what_was_in_hand_when_the_service_ended_is_done_after_the_next_start(database: Path) -> None:
    with open_incidents(database) as store:
        (incident,) = accept(store, "db1:7432")
        assert store.take_job(time.time()) is not None
    async with at_work(database) as stage:
        await eventually(lambda: stage.done(incident), "the diagnosis")


@in_a_loop
async def test_what_the_service_never_survived_is_put_aside_in_the_end(database: Path) -> None:
    with open_incidents(database) as store:
        (incident,) = accept(store, "db1:7432")
        for _ in range(SETTINGS.worker.attempts * 4):
            store.reclaim(time.time())
            assert store.take_job(time.time()) is not None
    async with at_work(database) as stage:
        assert stage.job(incident)[0] == "parked"
        assert "the service ended" in stage.job(incident)[2]


@in_a_loop
async def test_stopping_lets_the_job_in_hand_be_done(database: Path) -> None:
    async with at_work(database) as stage:
        (incident,) = stage.accept("slow-1")
        await eventually(lambda: stage.supervisor.state.incident == incident, "the job to be taken")
        await stage.supervisor.stop()
        assert stage.job(incident) == ("done", 1, "")


@in_a_loop
async def test_a_job_that_stopping_breaks_off_keeps_its_attempts(database: Path) -> None:
    from engram_diagnose.service import supervisor as module

    async with at_work(database) as stage:
        (incident,) = stage.accept("hang-1")
        await eventually(lambda: stage.supervisor.state.incident == incident, "the job to be taken")
        usual, module._STOP_SECONDS = module._STOP_SECONDS, 0.2  # type: ignore[misc]
        try:
            await stage.supervisor.stop()
        finally:
            module._STOP_SECONDS = usual  # type: ignore[misc]
        assert stage.job(incident)[:2] == ("queued", 0)


@in_a_loop
async def test_broken_rules_stop_the_start_with_their_place(database: Path) -> None:
    pack = database.with_name("pack.yaml")
    pack.write_text(BROKEN)
    supervisor = Supervisor(replace(SETTINGS, rules=(pack,)), database, Log(io.StringIO()))
    with pytest.raises(WorkerError, match=r"pack\.yaml"):
        await supervisor.start()
    pack.unlink()
    with pytest.raises(WorkerError, match=r"pack\.yaml"):
        await supervisor.start()


@in_a_loop
async def test_a_database_that_cannot_be_used_stops_the_start(database: Path) -> None:
    database.write_text("no database" * 500)
    with pytest.raises(StoreError, match=r"history\.db"):
        await Supervisor(SETTINGS, database, Log(io.StringIO())).start()


# Reload


@in_a_loop
async def test_a_reload_brings_new_rules_and_a_new_worker(database: Path) -> None:
    pack = database.with_name("pack.yaml")
    pack.write_text(GOOD)
    async with at_work(database, replace(SETTINGS, rules=(pack,))) as stage:
        before = stage.supervisor.state
        assert before.packs["site"] == "1"
        pack.write_text(GOOD.replace('"1"', '"2"'))
        assert await stage.supervisor.reload() is None
        after = stage.supervisor.state
        assert after.packs["site"] == "2"
        assert after.pid != before.pid
        assert after.crashed == 0
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "a diagnosis by the new worker")
        finding = stage.store.finding(incident)
        assert finding is not None
        assert finding.sentence == f"diagnosed by process {after.pid}"


@in_a_loop
async def test_broken_rules_keep_the_old_worker_and_are_told(database: Path) -> None:
    pack = database.with_name("pack.yaml")
    pack.write_text(GOOD)
    async with at_work(database, replace(SETTINGS, rules=(pack,))) as stage:
        pid = stage.supervisor.state.pid
        pack.write_text(BROKEN)
        problem = await stage.supervisor.reload()
        assert problem is not None
        assert "pack.yaml" in problem
        assert stage.supervisor.state.reload_problem == problem
        assert stage.supervisor.state.pid == pid
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "a diagnosis by the old worker")


@in_a_loop
async def test_after_a_crash_the_rules_in_force_hold_whatever_stands_in_the_files(database: Path) -> None:
    pack = database.with_name("pack.yaml")
    pack.write_text(GOOD)
    async with at_work(database, replace(SETTINGS, rules=(pack,))) as stage:
        pack.write_text(BROKEN)
        killed = stage.supervisor.state.pid
        os.kill(killed, signal.SIGKILL)
        await eventually(lambda: stage.supervisor.state.pid not in (0, killed), "another worker")
        assert stage.supervisor.state.packs["site"] == "1"


@in_a_loop
async def test_during_a_reload_the_job_in_hand_is_done_once_and_by_one(database: Path) -> None:
    async with at_work(database) as stage:
        incidents = stage.accept(*(f"slow-{number}" for number in range(3)))
        await eventually(lambda: stage.supervisor.state.incident != "", "the first job to be taken")
        assert await stage.supervisor.reload() is None
        await eventually(lambda: stage.done(*incidents), "every diagnosis")
        assert [stage.job(incident)[1] for incident in incidents] == [1, 1, 1]


@in_a_loop
async def test_a_reload_ends_a_worker_that_hangs(database: Path) -> None:
    hasty = replace(SETTINGS, worker=replace(SETTINGS.worker, deadline_seconds=2, attempts=1))
    async with at_work(database, hasty) as stage:
        (stuck,) = stage.accept("hang-1")
        await eventually(lambda: stage.supervisor.state.incident == stuck, "the job to be taken")
        assert await stage.supervisor.reload() is None
        assert stage.job(stuck)[0] == "parked"
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "the other job")


async def stopped_while_reloading(database: Path, *, cancelled: bool) -> None:
    from engram_diagnose.service import supervisor as module

    async with at_work(database, replace(SETTINGS, worker=replace(SETTINGS.worker, deadline_seconds=60))) as stage:
        (stuck,) = stage.accept("hang-1")
        await eventually(lambda: stage.supervisor.state.incident == stuck, "the job to be taken")
        usual, module._STOP_SECONDS = module._STOP_SECONDS, 0.5  # type: ignore[misc]
        try:
            reloading = asyncio.create_task(stage.supervisor.reload())
            await eventually(lambda: len(stage.logged("worker ready")) == 2, "the new worker")
            await asyncio.sleep(0.1)
            if cancelled:
                reloading.cancel()
            begun = time.monotonic()
            await stage.supervisor.stop()
            assert time.monotonic() - begun < 5
        finally:
            module._STOP_SECONDS = usual  # type: ignore[misc]
        for line in stage.logged("worker ready"):
            with pytest.raises(ProcessLookupError):
                os.kill(line["pid"], 0)
        assert stage.job(stuck)[:2] == ("queued", 0)
        if not cancelled:
            assert await reloading == "the service stops"
        assert await stage.supervisor.reload() == "the service stops"
        assert stage.supervisor.state.state == "stopped"


@in_a_loop
async def test_stopping_during_a_reload_ends_both_workers_soon(database: Path) -> None:
    await stopped_while_reloading(database, cancelled=False)


@in_a_loop
async def test_stopping_ends_both_workers_though_whoever_asked_for_the_reload_is_gone(database: Path) -> None:
    await stopped_while_reloading(database, cancelled=True)


@in_a_loop
async def test_stopping_while_the_new_worker_comes_up_ends_it_as_well(database: Path) -> None:
    async with at_work(database) as stage:
        started = stage.supervisor.state.started
        reloading = asyncio.create_task(stage.supervisor.reload())
        await eventually(lambda: stage.supervisor.state.started > started, "the new worker to be started")
        begun = time.monotonic()
        await stage.supervisor.stop()
        assert time.monotonic() - begun < 5
        assert await reloading == "the service stops"


@in_a_loop
async def test_what_refuses_last_keeps_the_old_rules_and_settings(database: Path) -> None:
    pack = database.with_name("pack.yaml")
    pack.write_text(GOOD)
    async with at_work(database, replace(SETTINGS, rules=(pack,))) as stage:
        problem = await stage.supervisor.reload(SETTINGS, seal=lambda: "the certificate is gone")
        assert problem == "the certificate is gone"
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "a diagnosis")
        assert stage.supervisor.state.packs["site"] == "1"
        assert stage.supervisor.state.crashed == 0


@in_a_loop
async def test_a_reload_queues_again_what_a_full_disk_kept_before_a_worker_takes_jobs(database: Path) -> None:
    from engram_diagnose.service import supervisor as module

    def refused(_: Path | None) -> IncidentStore:
        raise StoreError("the disk is full; make room")

    async with at_work(database) as stage:
        (incident,) = stage.accept("slow-1")
        await eventually(lambda: stage.supervisor.state.incident == incident, "the job to be taken")
        usual, module._FIRST_PAUSE_SECONDS = module._FIRST_PAUSE_SECONDS, 30.0  # type: ignore[misc]
        module.open_incidents = refused
        try:
            os.kill(stage.supervisor.state.pid, signal.SIGKILL)
            await eventually(lambda: stage.supervisor.state.state == "waiting", "its end to be noticed")
            problem = await stage.supervisor.reload()
            assert problem is not None
            assert "the disk is full" in problem
            assert not stage.supervisor.state.ready
            module.open_incidents = open_incidents
            assert await stage.supervisor.reload() is None
            await eventually(lambda: stage.done(incident), "the diagnosis")
        finally:
            module.open_incidents = open_incidents
            module._FIRST_PAUSE_SECONDS = usual  # type: ignore[misc]
        assert len(stage.logged("job queued again")) == 1


@in_a_loop
async def test_a_worker_that_cannot_come_up_is_tried_again_less_and_less_often(database: Path) -> None:
    async with at_work(database) as stage:
        for _ in range(2):
            await eventually(lambda: stage.supervisor.state.ready, "a worker")
            os.kill(stage.supervisor.state.pid, signal.SIGKILL)
            await eventually(lambda: not stage.supervisor.state.ready, "it to be noticed")
        (incident,) = stage.accept("db1:7432")
        await eventually(lambda: stage.done(incident), "the job")
