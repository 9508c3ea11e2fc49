"""Several workers as one load: started together, ended together, their figures merged."""

import os
import signal
import socket
import threading
import time

import psutil
import pytest
from tests.bench.sending.sent import task
from tests.bench.sending.targets import Target, answer, says

from engram_diagnose.bench.loading import outcome_of
from engram_diagnose.bench.results import Outcome
from engram_diagnose.bench.sending.processes import send
from engram_diagnose.bench.sending.task import Progress, Result, Task, Told

OVERLOADED = answer(503, b"{}")


def tasks(port: int, *, workers: int = 2, seconds: float = 1.0) -> list[Task]:
    return [task(port, worker=number, workers=workers, seconds=seconds, connections=4) for number in range(workers)]


def load(given: list[Task], stopping: threading.Event | None = None, on_progress=lambda so_far: None) -> Outcome:  # type: ignore[no-untyped-def]
    return outcome_of(send(given, stopping or threading.Event(), on_progress), started=0.0, workers=len(given))


def own_workers() -> list[int]:
    """The processes that this one has started to send."""
    found = [one.pid for one in psutil.Process().children() if "sending.worker" in " ".join(one.cmdline())]
    return sorted(found)


def test_workers_share_a_load_and_their_figures_are_one() -> None:
    with Target(says(answer())) as target:
        found = load(tasks(target.port, workers=3))
        assert len(target.requests) == 200
    recall = found.operations["recall"]
    assert (recall["sent"], recall["ok"], recall["errors"]) == (200, 200, {})
    assert sum(recall["response"]["counts"]) == sum(recall["service"]["counts"]) == sum(recall["lag"]["counts"]) == 200
    assert found.timeline is not None
    assert sum(point["ok"] for point in found.timeline["points"]) == 200
    assert (found.aborted, found.delivered) == ("", 1.0)
    assert own_workers() == []


@pytest.mark.parametrize(("cpu", "delivered"), [(0.2, 1.0), (0.97, 0.6)])
def test_what_was_never_sent_was_not_delivered_where_the_worker_was_busy(cpu: float, delivered: float) -> None:
    """With time to spare it was the server that let no connection become free."""
    told = Told(sent=500, ok=100, errors={"not-served": 400})
    results = [Result((("recall", told),), {}, 500, 1.0, cpu), Result((("recall", Told(500, 500)),), {}, 500, 1.0, 0.2)]
    assert outcome_of(results, started=0.0, workers=2, busy=0.85).delivered == pytest.approx(delivered)


def test_a_load_that_is_stopped_keeps_what_it_has() -> None:
    stopping = threading.Event()

    def stop(so_far: Progress) -> None:
        if so_far.ok > 80:
            stopping.set()

    with Target(says(answer())) as target:
        began = time.monotonic()
        found = load(tasks(target.port, seconds=60.0), stopping, stop)
    assert time.monotonic() - began < 10.0
    assert found.aborted == "stopped by hand"
    assert 80 < found.operations["recall"]["ok"] < 1000
    assert found.operations["recall"]["errors"] == {}
    assert own_workers() == []


def test_a_worker_that_is_killed_is_missed_and_the_others_figures_kept() -> None:
    def kill(so_far: Progress) -> None:
        if so_far.ok > 80 and len(own_workers()) == 2:
            os.kill(own_workers()[0], signal.SIGKILL)

    with Target(says(answer())) as target:
        began = time.monotonic()
        found = load(tasks(target.port, seconds=60.0), on_progress=kill)
    assert time.monotonic() - began < 10.0
    assert "a worker of the client ended by itself" in found.aborted
    assert found.operations["recall"]["ok"] > 20


def test_ctrl_c_reaches_no_worker_by_itself() -> None:
    """A terminal sends it to the foreground group: the parent alone is to end the load."""
    signalled: list[int] = []

    def interrupt(so_far: Progress) -> None:
        if not signalled:
            signalled.extend(own_workers())
            assert all(os.getpgid(pid) != os.getpgid(0) for pid in signalled)
            for pid in signalled:
                os.kill(pid, signal.SIGINT)

    with Target(says(answer())) as target:
        found = load(tasks(target.port), on_progress=interrupt)
    assert len(signalled) == 2
    assert (found.aborted, found.operations["recall"]["ok"]) == ("", 200)


def test_the_reason_why_one_worker_ended_is_the_loads() -> None:
    with Target(says(OVERLOADED)) as target:
        found = load(tasks(target.port, seconds=60.0))
        arrivals = target.arrivals
    assert found.aborted.startswith("every request failed for ")
    assert "http-503" in found.aborted
    assert arrivals[-1] - arrivals[0] < 2.0
    assert found.operations["recall"]["ok"] == 0


def test_a_load_without_a_server_says_so() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = load(tasks(free.getsockname()[1]))
    assert found.aborted == "no connection could be made (refused)"
    assert found.operations == {}
