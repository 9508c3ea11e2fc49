"""A load from several machines: a real Dask scheduler with two workers, and what can be wrong with one."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.bench.sending.sent import task
from tests.bench.sending.targets import Target, answer, says

from engram_diagnose import __version__
from engram_diagnose.bench.loading import outcome_of
from engram_diagnose.bench.results import Outcome
from engram_diagnose.bench.sending import cluster as module
from engram_diagnose.bench.sending.cluster import Cluster, ClusterError, Machine, ahead
from engram_diagnose.bench.sending.processes import LaunchError, send
from engram_diagnose.bench.sending.task import Progress

pytest.importorskip("distributed")
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("cluster")]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


@contextmanager
def started(*words: str) -> Iterator[psutil.Process]:
    """A command of Dask, ended with all that it has started."""
    command = [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield psutil.Process(process.pid)
        finally:
            with suppress(psutil.NoSuchProcess):
                for child in psutil.Process(process.pid).children(recursive=True):
                    child.kill()
            process.kill()


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a scheduler with two workers, each of one thread."""
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    with started("dask_scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"):
        workers = ("dask_worker", address, "--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--no-nanny")
        with started(*workers), started(*workers):
            wait_for(address, workers=2)
            yield address


def wait_for(address: str, *, workers: int) -> None:
    from distributed import Client

    until = time.monotonic() + 60.0
    while True:
        try:
            connect: Any = Client
            with connect(address, timeout=5.0, set_as_default=False) as client:
                client.wait_for_workers(workers, timeout=30.0)
            return
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.2)


def load(address: str, port: int, *, workers: int = 2, seconds: float = 1.0, stopping: threading.Event | None = None,
         on_progress: Any = lambda so_far: None) -> Outcome:  # fmt: skip
    tasks = [task(port, worker=number, workers=workers, seconds=seconds, connections=4) for number in range(workers)]
    with Cluster(address) as cluster:
        results = send(tasks, stopping or threading.Event(), on_progress, launcher=cluster)
    return outcome_of(results, started=0.0, workers=workers)


def senders() -> list[int]:
    return [one.pid for one in psutil.process_iter(["cmdline"])
            if "engram_diagnose.bench.sending.worker" in (one.info["cmdline"] or ())
            and any("dask_worker" in " ".join(parent.cmdline()) for parent in one.parents())]  # fmt: skip


def test_machines_share_a_load_that_begins_at_once_and_their_figures_are_one(scheduler: str) -> None:
    with Target(says(answer())) as target:
        found = load(scheduler, target.port, workers=3)
        assert len(target.requests) == 200
        lasted = target.arrivals[-1] - target.arrivals[0]
    recall = found.operations["recall"]
    assert (recall["sent"], recall["ok"], recall["errors"]) == (200, 200, {})
    assert sum(recall["response"]["counts"]) == 200
    assert (found.aborted, found.delivered) == ("", 1.0)
    assert lasted < 1.5  # interleaved from one instant on, and not one after the other
    assert senders() == []


def test_the_machines_of_a_cluster_are_told_and_each_takes_part(scheduler: str) -> None:
    with Cluster(scheduler) as cluster:
        assert cluster.hosts == (socket.gethostname(),)
        assert cluster.places == (2, 2)


def test_a_load_that_is_stopped_keeps_what_it_has(scheduler: str) -> None:
    stopping = threading.Event()

    def stop(so_far: Progress) -> None:
        if so_far.ok > 80:
            stopping.set()

    with Target(says(answer())) as target:
        found = load(scheduler, target.port, seconds=60.0, stopping=stopping, on_progress=stop)
    assert found.aborted == "stopped by hand"
    assert 80 < found.operations["recall"]["ok"] < 2000
    assert senders() == []


def test_a_sender_that_dies_on_its_machine_ends_the_load(scheduler: str) -> None:
    def kill(so_far: Progress) -> None:
        if so_far.ok > 80 and len(senders()) == 2:
            os.kill(senders()[0], signal.SIGKILL)

    with Target(says(answer())) as target:
        found = load(scheduler, target.port, seconds=60.0, on_progress=kill)
    assert "a worker of the client ended by itself" in found.aborted
    assert found.operations["recall"]["ok"] > 20


def test_a_load_ends_with_whoever_asked_for_it(scheduler: str, root: Path) -> None:
    """Nobody is left who sends when the process that holds the figures was killed."""
    with Target(says(answer())) as target:
        code = ("import sys; sys.path.insert(0, sys.argv[3])\nfrom tests.bench.sending import test_cluster\n"
                "test_cluster.load(sys.argv[1], int(sys.argv[2]), seconds=120.0)")  # fmt: skip
        with subprocess.Popen([sys.executable, "-c", code, scheduler, str(target.port), str(root)]) as asking:
            until = time.monotonic() + 30.0
            while len(target.requests) < 20 and time.monotonic() < until:
                time.sleep(0.1)
            assert senders()
            asking.kill()
        until = time.monotonic() + 60.0
        while senders() and time.monotonic() < until:
            time.sleep(0.2)
        assert senders() == []


def test_a_cluster_that_is_gone_before_a_load_says_so() -> None:
    address = f"tcp://127.0.0.1:{free_port()}"
    with started("dask_scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"):
        with started("dask_worker", address, "--nthreads", "1", "--no-dashboard", "--no-nanny"):
            wait_for(address, workers=1)
            cluster = Cluster(address)
        with cluster, pytest.MonkeyPatch.context() as patch, Target(says(answer())) as target:
            patch.setattr(module, "_ANSWERS_WITHIN", 1.0)
            with pytest.raises(LaunchError, match=r"the Dask worker .* could not start to send"):
                send([task(target.port, seconds=1.0)], threading.Event(), lambda so_far: None, launcher=cluster)
            assert cluster.places == (1, 1)
    assert clients_left_open() == []


# --- What can be wrong ----------------------------------------------------------------------------


def test_no_scheduler_says_how_to_start_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWERS_WITHIN", 0.5)
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:.*`dask scheduler`"):
        Cluster(f"tcp://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("address", ["", "not an address", "ftp://host:1", "127.0.0.1:port", "tls://127.0.0.1:1"])
def test_what_is_no_address_is_refused(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setattr(module, "_ANSWERS_WITHIN", 0.5)
    with pytest.raises(ClusterError):
        Cluster(address)
    assert clients_left_open() == []


def clients_left_open() -> list[Any]:
    """Each would close whenever it is collected, and hold up whatever client begins then."""
    from distributed import Client

    return [one for one in gc.get_objects() if type(one) is Client and one.status not in ("closed", "newly-created")]


class Client:
    """A cluster whose workers answer what a test says."""

    def __init__(self, said: dict[str, Any]) -> None:
        self.said = said

    def run(self, function: Any, *, on_error: str) -> dict[str, Any]:
        return self.said

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "has no workers"),
        ({"tcp://b:1": ModuleNotFoundError("No module named 'engram_diagnose'")}, "tcp://b:1 cannot send: ModuleNotFo"),
        ({"tcp://b:1": Machine("b", "0.0.9")}, f"has engram-diagnose 0.0.9, and this is {__version__}"),
    ],
)
def test_a_machine_that_cannot_send_is_named(monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], told: str) -> None:
    monkeypatch.setattr(module, "_connected", lambda address: Client(said))
    with pytest.raises(ClusterError, match=told):
        Cluster("tcp://a:8786")


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'engram-diagnose\[cluster\]'"):
        Cluster("tcp://a:8786")


def test_the_quickest_answer_tells_how_far_a_clock_is_ahead() -> None:
    answers = iter([0.02, 0.0, 0.01] * 3)

    def now() -> int:
        time.sleep(next(answers))
        return time.monotonic_ns() + 5_000_000_000

    there, slowest = ahead(now)
    assert there == pytest.approx(5_000_000_000, abs=2_000_000)
    assert slowest >= 0.02
